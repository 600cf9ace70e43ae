"""Waiting OpenMP threads sleep, unless the environment says otherwise."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("command", [("adnerf_core", "--help"), ("worker", "keys", "list")])
@pytest.mark.parametrize(("environment", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_openmp_threads_sleep_unless_the_environment_says_otherwise(command, environment, policy, tmp_path):
    code = (
        f"import runpy, sys; sys.argv = {list(command)}\n"
        "try: runpy.run_module(sys.argv[0], run_name='__main__')\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules, 'torch was loaded before the policy was set'\n"
        "import torch"
    )
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    # With OMP_DISPLAY_ENV, OpenMP prints its settings when torch loads it.
    variables = inherited | {"OMP_DISPLAY_ENV": "TRUE", "ADNERF_DATA_DIR": str(tmp_path)} | environment
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert f"OMP_WAIT_POLICY = '{policy}'" in done.stderr
