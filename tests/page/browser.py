"""Where a Chromium is, and getting one: `python -m tests.page.browser`, which `make env` runs.

ADNERF_CHROMIUM names one; else the system's is taken, or the one that `playwright install` has fetched. Where there is none,
Debian's and Ubuntu's package is installed if this user may, and else Playwright's own build.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = (
    "there is no Chromium to test the page with: `apt-get install chromium`, or `.venv/bin/playwright install chromium`, "
    "or set ADNERF_CHROMIUM to one"
)
WAYS = (
    ("apt-get", "-qq", "update"),
    ("apt-get", "-qq", "install", "--yes", "--no-install-recommends", "chromium"),
    (sys.executable, "-m", "playwright", "install", "chromium"),
)
PATIENCE_S = 600


def find() -> str | None:
    """The path of a Chromium, or None."""
    if given := os.environ.get("ADNERF_CHROMIUM"):
        return given
    if found := next(filter(None, map(shutil.which, NAMES)), None):
        return found
    with sync_playwright() as playwright:
        fetched = playwright.chromium.executable_path
    return fetched if Path(fetched).exists() else None


def install() -> str | None:
    """Gets a Chromium by the first way that leads to one; its path, or None."""
    for command in WAYS:
        if command[0] == "apt-get" and (os.geteuid() != 0 or not shutil.which("apt-get")):
            continue
        try:
            subprocess.run(command, timeout=PATIENCE_S, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            continue
        if found := find():
            return found
    return None


if __name__ == "__main__":
    print(find() or install() or f"Tests of the page will be skipped: {MISSING}.")
