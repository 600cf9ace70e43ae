"""A failed lookup of vulnerabilities is reported, and differs from a lookup without results."""

from __future__ import annotations

import re

import pytest

from tests.audit import verdict

SOUND = {"name": "celery", "version": "5.7.0", "vulns": []}
VULNERABLE = {"name": "rich", "version": "13", "vulns": [{"id": "PYSEC-1", "fix_versions": ["14"]}]}
SKIPPED = {"name": "torch", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "status", "strict_status", "pattern"),
    [
        ([SOUND], 0, 0, "no known vulnerability"),
        ([SOUND, VULNERABLE], 1, 1, "rich 13: PYSEC-1, fixed in 14"),
        ([SOUND, SKIPPED], 0, 1, "NOT AUDITED: 1 of 2 packages .* (torch)"),
        ([VULNERABLE, SKIPPED], 1, 1, "PYSEC-1"),
        ([SKIPPED], 0, 1, "NOT AUDITED: 1 of 1 packages .* (not found)"),
        ([], 0, 1, "NOT AUDITED: all packages .* (no network)"),
    ],
)
def test_vulnerabilities_and_failed_lookups_are_reported(packages, status, strict_status, pattern):
    for strict, expected in ((False, status), (True, strict_status)):
        outcome, lines = verdict(packages, "no network\n", strict=strict)
        assert outcome == expected
        assert re.search(pattern.replace("(", r"\(").replace(")", r"\)"), "\n".join(lines))
