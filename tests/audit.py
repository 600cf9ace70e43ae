"""Looks up known vulnerabilities of the versions in constraints.txt, which the images install (`make check`).

    python -m tests.audit [--strict]

Exit status 1 where one is known. Where packages could not be looked up, says so loudly; with --strict, that is 1 too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def look_up() -> tuple[list[dict], str]:
    """What pip-audit found of each package, and what it said besides."""
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    done = subprocess.run(
        [*command, "--format", "json", "--requirement", ROOT / "constraints.txt"], capture_output=True, text=True
    )
    return (json.loads(done.stdout)["dependencies"] if done.stdout.strip() else []), done.stderr


def verdict(found: list[dict], said: str, *, strict: bool) -> tuple[int, list[str]]:
    """The exit status, and what to tell."""
    lines = [
        f"{package['name']} {package['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no version'}"
        for package in found
        for flaw in package.get("vulns", [])
    ]
    status = 1 if lines else 0
    skipped = [package["name"] for package in found if "skip_reason" in package]
    if skipped or not found:
        which = f"{len(skipped)} of {len(found)} packages" if found else "all packages"
        why = found[0].get("skip_reason", "") if len(skipped) == len(found) > 0 else ", ".join(skipped) or said.strip()
        lines.append(f"NOT AUDITED: {which} could not be looked up; is PyPI's vulnerability service reachable? ({why})")
        status = 1 if strict else status
    return status, lines or [f"{len(found)} packages: no known vulnerability"]


if __name__ == "__main__":
    status, lines = verdict(*look_up(), strict="--strict" in sys.argv)
    print("\n".join(lines))
    sys.exit(status)
