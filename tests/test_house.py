"""The house rules that a machine can check: arrows between the rooms, style, and what loads what."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from storage.settings import Settings, environment_of

ROOT = Path(__file__).parent.parent
ROOMS = ("adnerf_core", "storage", "worker", "api", "adnerf")


def sources(*rooms):
    return [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]


def _name(path):
    return str(path.relative_to(ROOT))


def test_the_arrows_between_the_rooms():
    # A process of its own: in ours, import-linter would switch off the loggers that later tests listen to.
    lint = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))",
    ]
    checked = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_style():
    checked = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("path", [path for path in sources(*ROOMS) if path.name == "__init__.py"], ids=_name)
def test_a_package_is_a_docstring(path):
    (docstring,) = ast.parse(path.read_text()).body
    assert isinstance(docstring.value.value, str)


@pytest.mark.parametrize(
    ("phrase", "owner", "rooms"),
    [
        ("os.environ", "storage/settings.py", ("storage", "worker", "api")),
        (".commit()", "storage/database/engine.py", ("storage", "worker", "api")),
        ("update(Job)", "storage/tables/jobs.py", ("storage", "worker", "api")),
    ],
)
def test_some_things_have_one_place(phrase, owner, rooms):
    found = {_name(path) for path in sources(*rooms) if phrase in path.read_text()}
    assert found == {owner}


@pytest.mark.parametrize("broker", ["", "redis://127.0.0.1:1/0"])
def test_the_api_starts_quickly_and_without_torch(broker, tmp_path):
    """Also with a broker, which is not there: only then is Celery loaded."""
    program = (
        "import sys, time, api.app\n"
        "api.app.create_app()\n"
        f"assert ('celery' in sys.modules) is {bool(broker)}\n"
        "print(time.process_time(), sorted({'torch', 'mediapipe', 'cv2', 'scipy'} & set(sys.modules)))"
    )
    environment = environment_of(Settings(data_dir=tmp_path, broker_url=broker))
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    seconds, _, loaded = ran.stdout.partition(" ")
    assert loaded.strip() == "[]"
    assert float(seconds) < 4.0, "CPU seconds to import the API"  # 1.1 to 1.4 on a quiet core; busy neighbours slow it
