"""`make env` chooses torch's build, and installs nothing for the tests; pip and Python are stand-ins that write down what they are asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
DRIVER = Path("/proc/driver/nvidia/version")


@pytest.fixture
def make(tmp_path):
    """Runs make in a folder with a finished .venv of stand-ins; returns what pip was asked for, line by line, and the output.

    pip fails if it is to use the index `away`.
    """
    for name in ("Makefile", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv/lib/python3.11/site-packages/torch/test").mkdir(parents=True)
    programs = {
        "pip": f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncase "$*" in *$AWAY*) exit 1;; esac\n',
        "nvidia-smi": "#!/bin/sh\n",
        "python": "#!/bin/sh\n",
    }
    for name, text in programs.items():
        folder = tmp_path / ("driver" if name == "nvidia-smi" else ".venv/bin")
        folder.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)

    def make(*words, driver=False, away="nothing is away"):
        path = f"{tmp_path}/driver:{os.environ['PATH']}" if driver else os.environ["PATH"]
        ran = subprocess.run(
            ["make", "PYTHON=true", *words],
            cwd=tmp_path,
            env={"PATH": path, "AWAY": away},
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr
        return (tmp_path / "asked").read_text().splitlines(), ran.stdout

    return make


@pytest.mark.skipif(DRIVER.exists() or shutil.which("nvidia-smi") is not None, reason="this machine has a driver")
def test_without_a_driver_torch_is_built_for_the_cpu(make, tmp_path):
    (torch, *others), _ = make("env")
    assert f"--index-url {CPU_INDEX}" in torch and "--retries 0" in torch and "torch==" in torch
    assert not any(CPU_INDEX in line for line in others)  # everything else comes from pip's own index
    assert not (tmp_path / ".venv/lib/python3.11/site-packages/torch/test").exists()


def test_an_index_that_is_away_is_replaced_by_pip_s_own(make):
    (first, second, *_), output = make("env", f"TORCH_INDEX={CPU_INDEX}", away="--index-url")
    assert "--index-url" in first and "--index-url" not in second and "torch==" in second
    assert f"{CPU_INDEX} has no torch==" in output


@pytest.mark.parametrize(("words", "driver"), [((), True), (("TORCH_INDEX=",), False)])
def test_with_a_driver_or_by_request_torch_comes_from_pip_s_own_index(make, words, driver):
    (torch, *_), _ = make("env", *words, driver=driver)
    assert "torch==" in torch and "--index-url" not in torch


def test_running_installs_no_tools_of_the_tests(make):
    asked, _ = make("demo")
    assert not any("dev" in line or "nanio" in line for line in asked)
    asked, _ = make("test")
    assert any(line.endswith("-e .[dev]") for line in asked) and any("nanio" in line for line in asked)
