"""A lookup of vulnerabilities that did not happen is not taken for one that found none."""

from __future__ import annotations

import re

import pytest

from tests.audit import verdict

WELL = {"name": "celery", "version": "5.7.0", "vulns": []}
FLAWED = {"name": "rich", "version": "13", "vulns": [{"id": "PYSEC-1", "fix_versions": ["14"]}]}
SKIPPED = {"name": "torch", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("found", "status", "strictly", "told"),
    [
        ([WELL], 0, 0, "no known vulnerability"),
        ([WELL, FLAWED], 1, 1, "rich 13: PYSEC-1, fixed in 14"),
        ([WELL, SKIPPED], 0, 1, "NOT AUDITED: 1 of 2 packages .* (torch)"),
        ([FLAWED, SKIPPED], 1, 1, "PYSEC-1"),
        ([SKIPPED], 0, 1, "NOT AUDITED: 1 of 1 packages .* (not found)"),
        ([], 0, 1, "NOT AUDITED: all packages .* (no network)"),
    ],
)
def test_what_is_told(found, status, strictly, told):
    for strict, expected in ((False, status), (True, strictly)):
        outcome, lines = verdict(found, "no network\n", strict=strict)
        assert outcome == expected
        assert re.search(told.replace("(", r"\(").replace(")", r"\)"), "\n".join(lines))
