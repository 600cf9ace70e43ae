"""Writes constraints.txt: the versions of this environment, and of what PyPI's torch for CUDA needs beside it.

    python -m tests.constraints

The images install no other versions. torch pins most of its CUDA libraries itself, but not all of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.utils import canonicalize_name

FILE = Path(__file__).parents[1] / "constraints.txt"
HEAD = "# The versions that the images install: those that the tests ran with. Written by `make constraints`."


def installed() -> dict[str, str]:
    """Returns the version of every package of this environment; a build for the CPU counts as the version that it is."""
    lines = _pip("freeze", "--all", "--exclude-editable", "--exclude", "pip").splitlines()
    pairs = [line.split("==") for line in lines if "==" in line]
    return {canonicalize_name(name): version.partition("+")[0] for name, version in pairs}


def needed_for_cuda(versions: dict[str, str]) -> dict[str, str]:
    """Returns the packages that PyPI's build of torch needs, in the given versions and otherwise in the newest ones."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(f"{name}=={version}" for name, version in versions.items()))
        file.flush()
        options = ("--dry-run", "--quiet", "--ignore-installed", "--report", "-", "--constraint", file.name)
        report = json.loads(_pip("install", *options, "torch", PIP_CONFIG_FILE=os.devnull, PIP_FIND_LINKS=""))
    packages = [package["metadata"] for package in report["install"]]
    return {canonicalize_name(package["name"]): package["version"] for package in packages}


def _pip(*arguments: str, **environment: str) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    versions = installed()
    versions |= needed_for_cuda(versions)
    FILE.write_text("\n".join([HEAD, *(f"{name}=={versions[name]}" for name in sorted(versions))]) + "\n")
    print(f"{len(versions)} versions are in {FILE.name}.")
