"""Looks up known vulnerabilities of the versions in constraints.txt, which the container images install (`make check`).

    python -m tests.audit [--strict]

Exit status 1: there is a known vulnerability. Packages that could not be looked up are reported, and with --strict they give 1, too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def look_up() -> tuple[list[dict], str]:
    """Runs pip-audit; returns its result for each package, and its messages."""
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    result = subprocess.run(
        [*command, "--format", "json", "--requirement", ROOT / "constraints.txt"], capture_output=True, text=True
    )
    return (json.loads(result.stdout)["dependencies"] if result.stdout.strip() else []), result.stderr


def verdict(packages: list[dict], messages: str, *, strict: bool) -> tuple[int, list[str]]:
    """Returns the exit status and the lines to print.

    Args:
        packages: pip-audit's result for each package; empty if it has failed.
        messages: pip-audit's messages, for the reason of a failure.
        strict: whether a package that could not be looked up gives exit status 1.
    """
    lines = [
        f"{package['name']} {package['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no version'}"
        for package in packages
        for flaw in package.get("vulns", [])
    ]
    status = 1 if lines else 0
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped or not packages:
        which = f"{len(skipped)} of {len(packages)} packages" if packages else "all packages"
        all_skipped = len(skipped) == len(packages) > 0
        why = packages[0]["skip_reason"] if all_skipped else ", ".join(skipped) or messages.strip()
        lines.append(f"NOT AUDITED: {which} could not be looked up; is PyPI's vulnerability service reachable? ({why})")
        status = 1 if strict else status
    return status, lines or [f"{len(packages)} packages: no known vulnerability"]


if __name__ == "__main__":
    status, lines = verdict(*look_up(), strict="--strict" in sys.argv)
    print("\n".join(lines))
    sys.exit(status)
