"""Processes for tests: `worker` and `serve` with the stub core, `drawing_worker` with one whose videos can be played, `real_worker` with the
real one and a tiny training; and `supervise MODULE ARGUMENT...`, a module under a supervisor.

Settings come by the environment, as for the real command.
"""

from __future__ import annotations

import dataclasses
import logging
import sys

from storage.settings import load
from tests.worker.stub_core import CORE
from worker.jobs.core_functions import CoreFunctions, load_core
from worker.processes.polling import run_worker
from worker.processes.supervisor import single_instance, supervise

TINY = {"size": 48, "audio_steps": 20, "head_steps": 60, "torso_steps": 200, "rays": 256, "checkpoint_every": 10}


def tiny_core() -> CoreFunctions:
    """The real core, but for a training that only goes through the motions."""
    from adnerf_core.training import pose_refinement, torso_refinement  # loads torch

    core = load_core()
    pose_refinement.RAYS = torso_refinement.PIXELS = 16  # else they would take most of the time

    def train(dataset, run, config, progress):
        return core.train(dataset, run, config.model_copy(update=TINY), progress)

    return dataclasses.replace(core, train=train)


def drawing_core() -> CoreFunctions:
    """The core of the page's tests."""
    from tests.page.core import CORE  # loads OpenCV

    return CORE


CORES = {"worker": lambda: CORE, "drawing_worker": drawing_core, "real_worker": tiny_core}
"""The cores of workers, by the name of the process."""


if __name__ == "__main__":
    what = sys.argv[1]
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {what} %(message)s")
    settings = load()
    if what == "serve":
        with single_instance(settings):
            sys.exit(supervise(settings, {"worker": [sys.executable, "-m", __spec__.name, "worker"]}))
    if what == "supervise":
        sys.exit(supervise(settings, {sys.argv[2]: [sys.executable, "-m", *sys.argv[2:]]}))
    run_worker(settings, CORES[what]())
