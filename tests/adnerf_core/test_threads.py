"""Waiting OpenMP threads sleep, unless the environment says otherwise; and a thread works ahead."""

import os
import subprocess
import sys
import threading

import pytest

from adnerf_core.threads import ahead


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


def test_items_are_drawn_ahead_by_another_thread_in_their_order():
    drawn, three = [], threading.Event()

    def items():
        for number in range(6):
            drawn.append((number, threading.current_thread() is threading.main_thread()))
            if number == 2:
                three.set()
            yield number
        raise ValueError("the last")

    found = ahead(items(), 3)
    assert three.wait(10), "before anybody asks"
    assert [next(found) for _ in range(6)] == list(range(6))
    assert drawn == [(number, False) for number in range(6)]
    with pytest.raises(ValueError, match="the last"):
        next(found)
    assert list(ahead([], 3)) == []


def test_what_is_not_needed_any_more_is_not_drawn():
    before = threading.active_count()
    found = ahead(iter(int, 1), 2)
    next(found)
    found.close()
    assert threading.active_count() == before
