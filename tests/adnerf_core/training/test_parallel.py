"""Parts of a step in threads: the same gradients as one after the other."""

import platform
import resource
import threading

import pytest
import torch

from adnerf_core.data.dataset import SubjectDataset
from adnerf_core.training import parallel
from adnerf_core.training.gradients import MIN_THREAD_RAYS, StepGradients
from adnerf_core.training.parallel import keep_freed_memory, map_in_threads, single_threaded_operators
from adnerf_core.training.talking_head_task import TalkingHeadTask
from tests.adnerf_core.toy import SHORT


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parallel, "usable_cores", lambda: 2)


def test_items_are_computed_at_the_same_time_and_returned_in_order(two_cores):
    both = threading.Barrier(2, timeout=60)

    def wait_for_the_other(item: int) -> int:
        both.wait()
        return item * 2

    assert map_in_threads(wait_for_the_other, [1, 2]) == [2, 4]


def test_an_error_in_a_thread_is_raised(two_cores):
    with pytest.raises(ZeroDivisionError):
        map_in_threads(lambda item: 1 // item, [1, 0])


def test_gradients_do_not_depend_on_threads(toy_dataset: SubjectDataset, two_cores):
    gradients = []
    # The second config has no threads; the batch has the rays of the first.
    for rays in (MIN_THREAD_RAYS, MIN_THREAD_RAYS - 1):
        task = TalkingHeadTask(toy_dataset, SHORT.model_copy(update={"rays": MIN_THREAD_RAYS}))
        task.load_frames({})
        for phase in task.phases:
            task.model.requires_grad_(False)
            phase.make_optimizer()
            result = StepGradients(phase, SHORT.model_copy(update={"rays": rays})).add(phase.sample(3), 3)
            gradients.append({name: p.grad for name, p in task.model.named_parameters() if p.grad is not None})
            assert float(result.loss) > 0
    threads, alone = gradients[:2], gradients[2:]
    for one, other in zip(threads, alone, strict=True):
        assert one.keys() == other.keys() and len(one) > 3
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is a function of glibc")
def test_freed_memory_is_used_again_without_page_faults():
    def allocate() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        tensors = [torch.ones(5 << 20) for _ in range(3)]  # 20 MB each: 15,000 pages of 4 KiB together
        assert all(tensor[-1] == 1 for tensor in tensors)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    keep_freed_memory()
    allocate()
    assert allocate() < 8_000


def test_operators_keep_to_one_thread_for_the_time_of_a_training():
    threads = torch.get_num_threads()
    with single_threaded_operators():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == threads
