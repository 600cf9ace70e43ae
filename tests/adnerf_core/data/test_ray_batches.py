"""Ray batches: drawn by seed and step alone, from the training part, showing the footage or the background."""

import numpy as np
import pytest
import torch

from adnerf_core.data.dataset import SubjectDataset
from adnerf_core.data.ray_batches import RayBatchSampler, blink_weights
from adnerf_core.data.region_labels import BACKGROUND, HEAD
from adnerf_core.data.training_frames import TrainingFrames
from tests.adnerf_core.toy import FRAMES, HELD_OUT_FROM


@pytest.fixture
def frames(toy_dataset: SubjectDataset) -> TrainingFrames:
    return TrainingFrames(toy_dataset, 48, np.zeros((FRAMES, 6), np.float32), "cpu")


def test_rays_of_a_step_depend_on_seed_and_step_alone(frames: TrainingFrames):
    sampler = RayBatchSampler(frames, rays=64, frames_per_step=4, seed=0)
    one, again, other = (sampler.head_batch(step) for step in (5, 5, 6))
    assert torch.equal(one.pixels, again.pixels) and torch.equal(one.target, again.target)
    assert not torch.equal(one.pixels, other.pixels)


def test_rays_show_the_footage_or_the_background(frames: TrainingFrames, toy_dataset: SubjectDataset):
    batch = RayBatchSampler(frames, rays=256, frames_per_step=4, seed=0).head_batch(5)
    head, empty = (batch.label == HEAD).nonzero()[0, 0], batch.label == BACKGROUND
    row, col = batch.pixels[head].long().tolist()
    picture = toy_dataset.picture(int(batch.frame_numbers[batch.frame_index[head]]), 48)
    assert torch.equal((batch.target[head] * 255).round(), torch.from_numpy(picture)[row, col].float())
    assert torch.equal(batch.target[empty], batch.background[empty])
    assert float(batch.background[empty].std()) > 0.2  # noise, not the plate


def test_patches_are_whole_and_lie_in_the_picture(frames: TrainingFrames):
    sampler = RayBatchSampler(frames, rays=1024, frames_per_step=4, seed=0)
    assert sampler.patch_size == 16
    for step in range(20):
        batch = sampler.head_batch(step, patches=True)
        pixels = batch.pixels.view(4, 16, 16, 2)
        assert (pixels.diff(dim=1)[..., 0] == 1).all() and (pixels.diff(dim=2)[..., 1] == 1).all()
        assert pixels.min() >= 0.5 and pixels.max() <= 47.5 and len(batch.frame_index) == 1024


def test_the_lips_region_has_the_pixels_of_the_stored_frames(toy_dataset: SubjectDataset):
    """A run at half the size of the dataset: patches at the mouth have half the distance of others, and the stored colours."""
    frames = TrainingFrames(toy_dataset, 24, np.zeros((FRAMES, 6), np.float32), "cpu")
    sampler = RayBatchSampler(frames, rays=64, frames_per_step=4, seed=0)
    distances = set()
    for step in range(20):
        batch = sampler.head_batch(step, patches=True)
        patches, targets = batch.pixels.view(4, 4, 4, 2), batch.target.view(4, 4, 4, 3)
        for i, frame in enumerate(batch.frame_numbers.tolist()):
            distance = float(patches[i, 1, 0, 0] - patches[i, 0, 0, 0])
            distances.add(distance)
            picture = torch.from_numpy(toy_dataset.picture(frame, round(24 / distance)))
            row, col = (patches[i] / distance).long().unbind(-1)
            shown = batch.label.view(4, 4, 4)[i] == HEAD
            assert torch.equal((targets[i] * 255).round()[shown], picture[row, col].float()[shown])
    assert distances == {1.0, 0.5}


def test_half_a_batch_has_half_the_frames_and_their_rays(frames: TrainingFrames):
    batch = RayBatchSampler(frames, rays=64, frames_per_step=4, seed=0).head_batch(5)
    first, second = batch.halves()
    assert torch.equal(torch.cat([first.frame_numbers, second.frame_numbers]), batch.frame_numbers)
    assert torch.equal(second.poses[second.frame_index], batch.poses[batch.frame_index[32:]])
    assert torch.equal(torch.cat([first.target, second.target]), batch.target)


def test_shut_eyes_are_drawn_more_often_and_outliers_never():
    weights = blink_weights(torch.tensor([1.0, 0.0, -1.0, -1.0]), torch.tensor([0, 1, 2]))
    assert torch.allclose(weights, torch.tensor([0.01**3, 0.5**3, 1.0, 0.0]))


def test_training_reads_nothing_of_the_held_out_part(frames: TrainingFrames):
    assert int(frames.frame_numbers.max()) < HELD_OUT_FROM
