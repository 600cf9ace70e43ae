"""The program of the commands: what it loads, its help, and completion in shells."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adnerf.__main__ import main

ROOT = Path(__file__).parents[2]


def test_help_loads_little_and_names_every_command():
    program = (
        "import sys\nfrom adnerf.__main__ import main\n"
        "main(['subjects', 'list', '--help'])\n"
        "print(sorted({'torch', 'sqlalchemy', 'celery', 'httpx', 'pydantic'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"
    ran = subprocess.run(
        [sys.executable, "-m", "adnerf", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert all(
        f"  {word} " in ran.stdout for word in ("subjects", "videos", "jobs", "uploads", "verify", "serve", "worker")
    )


def test_a_command_for_users_loads_neither_database_nor_queue():
    program = (
        "import sys\nfrom adnerf.__main__ import main\n"
        "assert main(['jobs', 'list', '--url', 'nonsense']) == 1\n"
        "print(sorted({'torch', 'sqlalchemy', 'celery', 'storage', 'api'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        (["sub"], ["subjects"]),
        (["subjects", "cre"], ["create"]),
        (["videos", "create", "--form"], ["--format"]),
        (["completion", "z"], ["zsh"]),
        (["serve", "--po"], ["--port"]),
        (["verify", "foun"], []),  # nothing of its own: then the shell completes the names of files
    ],
)
def test_bash_completes(line, completed, bash_completion, tmp_path):
    (tmp_path / "adnerf").write_text(f"#!/bin/sh\nexec {sys.executable} -m adnerf\n")
    (tmp_path / "adnerf").chmod(0o755)
    script = (
        f"{bash_completion}\nCOMP_WORDS=(adnerf {' '.join(line)}); COMP_CWORD={len(line)}\n"
        '_adnerf_completion adnerf; printf "%s\\n" "${COMPREPLY[@]}"; complete -p adnerf'
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ran = subprocess.run(["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    *words, registered = ran.stdout.splitlines()
    assert [word for word in words if word] == completed
    assert registered == "complete -o default -F _adnerf_completion adnerf"


@pytest.fixture(scope="module")
def bash_completion():
    """The script that `adnerf completion bash` prints."""
    command = [sys.executable, "-m", "adnerf", "completion", "bash"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_completion_knows_zsh_and_refuses_an_unknown_shell(capsys):
    assert main(["completion", "zsh"]) == 0
    assert "compdef _adnerf_completion adnerf" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["completion", "tcsh"])
    assert "'bash', 'zsh'" in capsys.readouterr().err
