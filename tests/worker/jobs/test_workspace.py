"""Scratch folders: taken over by the next attempt, packed and unpacked whole, tidied."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from storage.errors import ObjectDamaged, ObjectMissing, StoreFull
from storage.objects.local import LocalStore
from worker.jobs.workspace import DOOMED, Workspace


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work", LocalStore(tmp_path / "objects"))


def attempt_at(workspace, number, job="job_1"):
    return workspace.attempt(SimpleNamespace(id=job, attempt=number))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fill(folder):
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "sub" / "b.txt").write_text("b")
    return folder


def test_an_attempt_takes_over_what_stands(workspace):
    first = attempt_at(workspace, 1)
    (first / "half").write_text("done")
    second = attempt_at(workspace, 2)
    assert (second / "half").read_text() == "done"
    assert not first.exists()  # a process thought dead can no longer write into the work of its successor
    assert names(second.parent) == ["2"]


def test_what_was_overtaken_on_another_machine_is_not_taken_over(workspace):
    (attempt_at(workspace, 1) / "half").write_text("done")
    third = attempt_at(workspace, 3)
    assert names(third) == []
    assert names(third.parent) == ["3"]


def test_the_same_attempt_finds_its_folder(workspace):
    (attempt_at(workspace, 1) / "half").write_text("done")
    assert names(attempt_at(workspace, 1)) == ["half"]


def test_clearing_leaves_the_other_jobs(workspace):
    attempt_at(workspace, 1), attempt_at(workspace, 1, "job_2")
    workspace.clear(SimpleNamespace(id="job_1", attempt=1))
    assert names(workspace.jobs) == ["job_2"]


def test_clearing_leaves_the_attempt_that_has_taken_the_job_over(workspace):
    first = attempt_at(workspace, 1)
    (first / "checkpoint").write_text("hours of work")
    second = attempt_at(workspace, 2)
    workspace.clear(SimpleNamespace(id="job_1", attempt=1))
    assert names(second) == ["checkpoint"]


def test_an_attempt_begins_while_the_one_before_removes_the_jobs_folder(workspace, monkeypatch):
    rename, removed = Path.rename, []

    def removing(self, target):
        if not removed:
            removed.append(self.parent)
            self.parent.rmdir()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", removing)
    assert names(attempt_at(workspace, 2)) == []
    assert removed == [workspace.jobs / "job_1"]


def test_a_folder_that_is_being_cleared_is_not_taken_over_in_parts(workspace, monkeypatch):
    fill(attempt_at(workspace, 1))
    rmtree, taken = shutil.rmtree, []

    def taking_over(path, **options):
        taken.append(names(attempt_at(workspace, 2)))
        rmtree(path, **options)

    monkeypatch.setattr(shutil, "rmtree", taking_over)
    workspace.clear(SimpleNamespace(id="job_1", attempt=1))
    assert taken == [[]]
    assert names(workspace.jobs) == ["job_1"] and names(workspace.jobs / "job_1") == ["2"]


def test_a_late_attempt_leaves_the_later_one(workspace):
    (attempt_at(workspace, 2) / "checkpoint").write_text("hours of work")
    late = attempt_at(workspace, 1)
    assert names(late) == [] and names(late.parent) == ["1", "2"]
    assert names(late.parent / "2") == ["checkpoint"]


def test_what_is_pushed_comes_back_without_what_is_skipped(workspace, tmp_path):
    workspace.upload_folder(fill(tmp_path / "run"), "runs/1", skip=("a.txt",))
    assert names(workspace.cached_folder("runs/1")) == ["sub"]
    workspace.upload_folder(tmp_path / "run", "runs/2")
    folder = workspace.cached_folder("runs/2")
    assert (folder / "a.txt").read_text() + (folder / "sub" / "b.txt").read_text() == "ab"
    assert names(tmp_path) == ["objects", "run", "work"]


def test_an_object_is_unpacked_once(workspace, tmp_path):
    workspace.upload_folder(fill(tmp_path / "run"), "runs/1")
    folder = workspace.cached_folder("runs/1")
    workspace.store.delete("runs/1")
    assert workspace.cached_folder("runs/1") == folder
    with pytest.raises(ObjectMissing):
        workspace.cached_folder("runs/2")


def test_a_folder_that_was_just_pushed_can_be_kept(workspace, tmp_path):
    folder = fill(tmp_path / "run")
    workspace.cache_folder(folder, "runs/1")
    assert not folder.exists()
    assert names(workspace.cached_folder("runs/1")) == ["a.txt", "sub"]


def test_a_damaged_object_leaves_no_half_folder(workspace, tmp_path):
    workspace.upload_folder(fill(tmp_path / "run"), "runs/1")
    path = workspace.store.root / "runs" / "1"
    path.write_bytes(path.read_bytes().replace(b"b", b"c", 1))
    with pytest.raises(ObjectDamaged, match="damaged"):
        workspace.cached_folder("runs/1")
    assert names(workspace.cache) == []


def test_a_full_disk_is_named(workspace, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    fill(tmp_path / "run")
    monkeypatch.setattr("zipfile.ZipFile.write", full)
    with pytest.raises(StoreFull):
        workspace.upload_folder(tmp_path / "run", "runs/1")
    assert names(tmp_path) == ["run", "work"] and names(workspace.unfinished) == []


def test_what_a_killed_process_has_left_goes_at_once_and_that_of_a_living_one_stays(workspace):
    code = (
        "import sys, time; from worker.jobs.workspace import Workspace\n"
        "with Workspace(sys.argv[1], None).temporary() as path:\n"
        "    path.write_bytes(b'a voice'); print('there', flush=True); time.sleep(600)"
    )
    killed = subprocess.Popen([sys.executable, "-c", code, workspace.jobs.parent], stdout=subprocess.PIPE)
    killed.stdout.readline()
    (folder,) = workspace.unfinished.iterdir()
    workspace.remove_abandoned()
    assert (folder / "content").read_bytes() == b"a voice"
    killed.kill()
    killed.communicate()
    (workspace.jobs / f"{DOOMED}1").mkdir(parents=True)
    with workspace.temporary() as path:
        path.mkdir()
        workspace.remove_abandoned()
        assert path.exists() and not folder.exists() and names(workspace.jobs) == []
    assert names(workspace.unfinished) == []


def test_what_is_wanted_and_what_was_only_just_made_stays(workspace, tmp_path):
    attempt_at(workspace, 1), attempt_at(workspace, 1, "job_2")
    for key in ("runs/1", "runs/2"):
        workspace.cache_folder(fill(tmp_path / "run"), key)
    new, old = workspace.cache / ".new", workspace.cache / ".old"
    new.mkdir(), old.mkdir()
    os.utime(old, (0, time.time() - 7200))
    (gone := workspace.cache / ".gone").symlink_to("nowhere")  # as an entry that is removed while entries are listed
    entries = workspace.entries()
    attempt_at(workspace, 1, "job_3")
    workspace.remove(entries, but_jobs=["job_2"], but_keys=["runs/2", "runs/3"])
    assert names(workspace.jobs) == ["job_2", "job_3"]
    gone.unlink()
    assert names(workspace.cache) == [".new", "runs+2"]
