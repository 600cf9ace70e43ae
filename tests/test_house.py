"""Rules of the code base that a machine can check: imports between packages, style, and loaded libraries."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from storage.settings import Settings, environment_of

ROOT = Path(__file__).parent.parent
PACKAGES = ("adnerf_core", "storage", "worker", "api", "adnerf")


def sources(*packages):
    """Returns the Python files of the packages."""
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def _name(path):
    return str(path.relative_to(ROOT))


def test_imports_follow_the_contracts():
    # In a process of its own: import-linter disables loggers that later tests use.
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))",
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_code_passes_the_linter():
    result = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", [path for path in sources(*PACKAGES) if path.name == "__init__.py"], ids=_name)
def test_an_init_file_holds_a_docstring_only(path):
    (docstring,) = ast.parse(path.read_text()).body
    assert isinstance(docstring.value.value, str)


@pytest.mark.parametrize(
    ("phrase", "owner", "packages"),
    [
        ("os.environ", "storage/settings.py", ("storage", "worker", "api")),
        (".commit()", "storage/database/engine.py", ("storage", "worker", "api")),
        ("update(Job)", "storage/tables/jobs.py", ("storage", "worker", "api")),
    ],
)
def test_some_operations_occur_in_one_file_only(phrase, owner, packages):
    files = {_name(path) for path in sources(*packages) if phrase in path.read_text()}
    assert files == {owner}


@pytest.mark.parametrize("broker", ["", "redis://127.0.0.1:1/0"])
def test_the_api_starts_quickly_and_without_torch(broker, tmp_path):
    """Celery is loaded only if a broker is set, which may be unreachable."""
    program = (
        "import sys, time, api.app\n"
        "api.app.create_app()\n"
        f"assert ('celery' in sys.modules) is {bool(broker)}\n"
        "print(time.process_time(), sorted({'torch', 'ai_edge_litert', 'cv2', 'scipy'} & set(sys.modules)))"
    )
    environment = environment_of(Settings(data_dir=tmp_path, broker_url=broker))
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    seconds, _, loaded = result.stdout.partition(" ")
    assert loaded.strip() == "[]"
    assert float(seconds) < 4.0, "CPU seconds to import the API"  # 1.1 to 1.4 on an idle machine, more on a busy one
