"""GPUs are shared out among real worker processes. A script in place of nvidia-smi lists them; no GPU is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack

import pytest

from storage.database.engine import Database
from storage.settings import CUDA_DEVICES, Settings, environment_of
from tests.tables import create_tables
from worker import gpus

TWO = """GPU 0: NVIDIA H200 (UUID: GPU-aaaaaaaa-0000)
GPU 1: NVIDIA H200 (UUID: GPU-bbbbbbbb-1111)
"""
DIVIDED = """GPU 0: NVIDIA H200 (UUID: GPU-aaaaaaaa-0000)
  MIG 1g.18gb     Device  0: (UUID: MIG-cccccccc-2222)
  MIG 1g.18gb     Device  1: (UUID: MIG-dddddddd-3333)
GPU 1: NVIDIA H200 (UUID: GPU-bbbbbbbb-1111)
"""
WORKER = """
import dataclasses, os, sys
from storage.settings import load
from tests.worker.stub_core import CORE
from worker.processes.polling import PollingWorker

def gpu():  # what CUDA would read when it is first used
    return {"name": os.environ.get("CUDA_VISIBLE_DEVICES", "any"), "memory_bytes": 1, "used_bytes": 0}

worker = PollingWorker(load(), dataclasses.replace(CORE, gpu=gpu), sys.argv[1].split(","))
print(worker.core.gpu()["name"], flush=True)
sys.stdin.read()
worker.close()
"""


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Puts a program nvidia-smi that prints a text first on PATH."""
    monkeypatch.delenv(CUDA_DEVICES, raising=False)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    def write(text, status=0):
        program = tmp_path / "bin" / "nvidia-smi"
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\nexit {status}\n")
        program.chmod(0o755)

    return write


@pytest.fixture
def start(tmp_path):
    """Starts a worker process; it stays until its stdin ends. Returns the process and the GPU that it sees."""
    settings = Settings(data_dir=tmp_path / "data", device="cuda")
    database = Database(settings.database)
    create_tables(database)
    database.close()
    with ExitStack() as stack:

        def start(kinds="train,render", **variables):
            process = subprocess.Popen(
                [sys.executable, "-c", WORKER, kinds],
                env=environment_of(settings) | variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process, process.stdout.readline().strip()

        yield start


def test_each_worker_takes_a_gpu_of_its_own_and_a_killed_one_gives_it_back(start, nvidia_smi):
    nvidia_smi(TWO)
    first, one = start()
    second, two = start()
    assert (one, two) == ("GPU-aaaaaaaa-0000", "GPU-bbbbbbbb-1111")
    first.kill()
    first.wait()
    _, three = start()
    assert three == one
    _, errors = second.communicate("")  # an orderly end
    assert "shared" not in errors
    _, four = start()
    assert four == two
    fifth, five = start()  # more workers than GPUs: the first is shared
    assert five == one
    _, errors = fifth.communicate("")
    assert "shared by 2 workers" in errors and "one worker for each GPU" in errors


def test_what_an_operator_has_chosen_is_respected(start, nvidia_smi):
    nvidia_smi(TWO)
    assert start(CUDA_VISIBLE_DEVICES="1")[1] == "1"
    assert start(CUDA_VISIBLE_DEVICES="")[1] == ""
    assert start(ADNERF_DEVICE="cpu")[1] == "any"
    assert start("preprocess")[1] == "any"


def test_the_parts_of_a_divided_gpu_are_listed_in_its_place(nvidia_smi):
    nvidia_smi(DIVIDED)
    assert gpus.list_gpus() == ["MIG-cccccccc-2222", "MIG-dddddddd-3333", "GPU-bbbbbbbb-1111"]
    nvidia_smi("No devices were found\n")
    assert gpus.list_gpus() == []


def test_a_driver_that_does_not_answer_is_a_warning(nvidia_smi, tmp_path, caplog):
    nvidia_smi("Failed to initialize NVML: Driver/library version mismatch\n", status=18)
    assert gpus.take_gpu(Settings(data_dir=tmp_path)) is None
    assert "nvidia-smi" in caplog.text and CUDA_DEVICES not in os.environ
