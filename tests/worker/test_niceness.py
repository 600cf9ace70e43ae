"""The priority of a process is lowered also where Linux schedules each session as one."""

import os
import subprocess
import sys

import pytest

from worker.niceness import AUTOGROUP

LOWERED = "import os; from worker.niceness import *; be_nice(3); print(os.nice(0)); print(AUTOGROUP.read_text() if AUTOGROUP.exists() else '')"


def of_session(text):
    """The niceness in what AUTOGROUP says of a session, which also names it; None where a session is not scheduled as one."""
    return int(text.split()[-1]) if text.strip() else None


@pytest.mark.parametrize("leads", [True, False])
def test_a_process_lowers_its_session_only_if_it_leads_it(leads):
    before = AUTOGROUP.read_text() if AUTOGROUP.exists() else ""
    said = subprocess.check_output([sys.executable, "-c", LOWERED], start_new_session=leads, text=True)
    niceness, session = said.split("\n", maxsplit=1)
    assert int(niceness) == os.nice(0) + 3
    assert of_session(session) in (3 if leads else of_session(before), None)
    assert (AUTOGROUP.read_text() if AUTOGROUP.exists() else "") == before
