"""The wheel, installed outside the checkout: with the base dependencies alone, and with those of workers.

In place of an environment of its own, which takes minutes to make, it is installed in a folder before this environment's packages.
The packages that the base dependencies do not bring along cannot be imported there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import httpx
import pytest
from packaging.utils import canonicalize_name

from tests.requirements import closure
from tests.servers import free_port

ROOT = Path(__file__).parents[1]
SOURCES = ("adnerf", "adnerf_client", "adnerf_core", "alembic", "api", "storage", "worker")
BUILT_FROM = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md")
WITHOUT = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def find_others(cls, name, path=None, target=None):
    return None if name.partition(".")[0] in {names} else find(name, path, target)
PathFinder.find_spec = classmethod(find_others)
"""
"""A sitecustomize.py in whose processes these packages are not installed."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the checkout."""
    copy, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, copy)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", out, copy)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with the wheel installed in it."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-compile", "--target", folder, wheel)
    return folder


@pytest.fixture(scope="module")
def base(installed, tmp_path_factory):
    """A folder for the search path in which only the base dependencies can be imported."""
    (own,) = distributions(name="adnerf", path=[str(installed)])
    allowed = closure(own)
    names = {
        name
        for name, owners in packages_distributions().items()
        if not {canonicalize_name(owner) for owner in owners} & allowed
    }
    assert {"torch", "numpy", "cv2", "c2pa"} <= names and not {"fastapi", "celery", "typer"} & names
    folder = tmp_path_factory.mktemp("base")
    (folder / "sitecustomize.py").write_text(WITHOUT.format(names=names))
    return folder


def pip(*words):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    subprocess.run(command, check=True, cwd="/")


def environment(*folders: Path, **variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ADNERF_")}
    return kept | {"PYTHONPATH": os.pathsep.join(map(str, folders)), "OMP_NUM_THREADS": "1"} | variables


def run(folders, *words, cwd, status=0, **variables) -> str:
    command = [sys.executable, *words]
    ran = subprocess.run(
        command, cwd=cwd, env=environment(*folders, **variables), capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == status and "Traceback" not in ran.stderr, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


@contextmanager
def running(folders, *words, cwd, **variables):
    """A process of the installed package; yields it, and ends it in order."""
    process = subprocess.Popen([sys.executable, *words], cwd=cwd, env=environment(*folders, **variables))
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def until(condition, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)
    return value


def answer(url: str) -> httpx.Response | None:
    try:
        return httpx.get(url, timeout=10)
    except httpx.TransportError:
        return None


def test_the_wheel_contains_every_file_of_the_packages_and_nothing_else(wheel):
    listed = subprocess.run(["git", "ls-files", *SOURCES], cwd=ROOT, capture_output=True, text=True, check=True)
    expected = {path.replace("alembic/", "storage/database/scripts/", 1) for path in listed.stdout.split()}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        described = archive.read(metadata).decode()
    assert names == expected
    assert "Requires-Python: >=3.11" in described and "License-Expression: Apache-2.0" in described
    assert "Description-Content-Type: text/markdown" in described


def test_the_base_dependencies_are_enough_for_all_but_the_worker(installed, base, tmp_path):
    folders, tell = (base, installed), "import sys; print(sys.modules['storage'].__path__, 'torch' in sys.modules)"
    where = run(folders, "-c", f"import adnerf.__main__, worker.__main__, api.app; {tell}", cwd=tmp_path)
    assert str(installed) in where and str(ROOT) not in where and "False" in where
    for words in (("--help",), ("api", "--help"), ("beat", "--help")):
        assert "Usage: adnerf" in run(folders, "-m", "adnerf", *words, cwd=tmp_path)
    assert "Usage: python -m adnerf_core" in run(folders, "-m", "adnerf_core", "--help", cwd=tmp_path)
    refusal = run(folders, "-m", "adnerf_core", "train", str(tmp_path), "--out", "run", cwd=tmp_path, status=1)
    assert "There is no numpy: pip install 'adnerf[worker]'" in refusal
    run(folders, "-m", "adnerf", "migrate", cwd=tmp_path)
    for command in ("serve", "worker"):
        assert "pip install 'adnerf[worker]'" in run(folders, "-m", "adnerf", command, cwd=tmp_path, status=1)
    run(folders, "-m", "adnerf", "keys", "create", "--name", "first", "--scopes", "read,admin", cwd=tmp_path)
    port = str(free_port())
    with running(folders, "-m", "adnerf", "api", "--port", port, cwd=tmp_path):
        until(lambda: answer(f"http://127.0.0.1:{port}/healthz"))
        assert "<title>" in answer(f"http://127.0.0.1:{port}/").text
        assert answer(f"http://127.0.0.1:{port}/v1/subjects").status_code == 401


def test_beat_needs_the_base_dependencies_alone(installed, base, tmp_path, redis_server):
    run((base, installed), "-m", "adnerf", "migrate", cwd=tmp_path)
    with running((base, installed), "-m", "adnerf", "beat", cwd=tmp_path, ADNERF_BROKER_URL=redis_server.url):
        until(lambda: (tmp_path / "data" / "beat").exists())


def test_the_wheel_serves_outside_the_checkout(installed, tmp_path):
    port = str(free_port())
    with running((installed,), "-m", "adnerf", "serve", "--port", port, cwd=tmp_path):
        ready = until(
            lambda: (told := answer(f"http://127.0.0.1:{port}/readyz")) and told.json()["status"] == "ready" and told
        )
    assert json.loads(ready.text)["workers"] in (1, 2)  # the second of the two may still be loading
    assert (tmp_path / "data" / "adnerf.db").exists()
