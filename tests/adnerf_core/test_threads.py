"""Threads that wait leave the core to others."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("command", [("adnerf_core", "--help"), ("worker", "keys", "list")])
@pytest.mark.parametrize(("given", "told"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_torch_is_told_to_sleep_unless_somebody_says_otherwise(command, given, told, tmp_path):
    code = (
        f"import runpy, sys; sys.argv = {list(command)}\n"
        "try: runpy.run_module(sys.argv[0], run_name='__main__')\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules, 'too late to tell it'\n"
        "import torch"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {
        "OMP_DISPLAY_ENV": "TRUE",
        "ADNERF_DATA_DIR": str(tmp_path),
    } | given  # OpenMP says what it has heard
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert f"OMP_WAIT_POLICY = '{told}'" in done.stderr
