"""What the documents tell people to type, set and read exists: commands and options, modules, settings, files, addresses."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from standardwebhooks.webhooks import WebhookVerificationError
from starlette.routing import Match
from typer.core import TyperGroup
from typer.main import get_command

import adnerf.__main__
import adnerf_core.cli
from api.app import create_app
from storage.database.models import Webhook
from storage.settings import Settings
from worker.webhooks.signing import WebhookSigner

ROOT = Path(__file__).parents[1]
DOCUMENTS = {path.name: path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]}
"""All but the decisions and the changelog, which also tell of what is no more."""
PROGRAMS = {"adnerf": get_command(adnerf.__main__.app), "adnerf_core": get_command(adnerf_core.cli.app)}
SOURCES = "".join(
    path.read_text()
    for folder in ("storage", "worker", "api", "adnerf", "adnerf_client", "adnerf_core", "tests", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
) + "".join((ROOT / name).read_text() for name in ("Makefile", "Dockerfile.gpu"))
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def typed(text: str) -> Iterator[list[str]]:
    """Yields the commands in blocks of shell, as words: without comments, cut at pipes, and `[...]`, which may be left out, left out."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;()<>")
            lexer.whitespace_split = True
            words: list[str] = []
            for word in [*lexer, ";"]:
                if set(word) <= set("|&;()<>"):
                    if words:
                        yield words
                    words = []
                elif not re.fullmatch(r"\[[A-Z]+\]", word):
                    words.append(word)


def mentioned(text: str) -> Iterator[list[str]]:
    """Yields what stands in `...` within sentences and tables, as words."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for code in re.findall(r"`([^`\n]+)`", prose):
        if code.count("'") % 2 == 0 and code.count('"') % 2 == 0:
            yield shlex.split(code)


def of_program(words: list[str]) -> tuple[str, list[str]] | None:
    """Returns the program of PROGRAMS that `words` start, perhaps in a container, and its arguments; None if they start another."""
    if words[0] in ("docker", "sudo"):  # what follows the service, or `-u USER`
        words = words[words.index("api") + 1 :] if "api" in words else words[3:] if words[0] == "sudo" else []
    words = words[words[:1] == ["until"] :]
    if words and Path(words[0]).name == "adnerf":
        return "adnerf", words[1:]
    return ("adnerf_core", words[3:]) if words[1:3] == ["-m", "adnerf_core"] else None


def check(program: str, words: list[str], whole: bool) -> None:
    """Parses a command line as the program would. Of one that is only mentioned, the command and its options must exist."""
    command = PROGRAMS[program]
    while isinstance(command, TyperGroup) and words and not words[0].startswith(("-", "...")):
        found = command.get_command(command.make_context(program, list(words), resilient_parsing=True), words[0])
        assert found is not None, f"{program} has no command {words[0]}"
        command, words = found, words[1:]
    if whole and not isinstance(command, TyperGroup):
        assert command.make_context(program, list(words)).params is not None
    options = {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}
    asked = {word.partition("=")[0] for word in words if word.startswith("--")} - {"--help", "--version"}
    assert asked <= options, f"{program} {command.name} has no {asked - options}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_parse(name):
    for words in typed(DOCUMENTS[name]):
        if ours := of_program(words):
            check(*ours, whole=True)
    for words in mentioned(DOCUMENTS[name]):
        if words and (ours := of_program(words)):
            check(*ours, whole=False)


def services_of(words: list[str]) -> set[str]:
    """Returns the services that a command of Compose names."""
    command = next((word for word in words if word in ("up", "build", "exec", "run", "cp")), None)
    rest = words[words.index(command) + 1 :] if command else []
    while "--volume" in rest:
        del rest[rest.index("--volume") : rest.index("--volume") + 2]
    named = [word for word in rest if not word.startswith("-") and word != "..."]
    if command == "cp":
        return {word.partition(":")[0] for word in named if ":" in word}
    return set(named[:1] if command in ("exec", "run") else named)


def test_modules_targets_and_services_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for text in DOCUMENTS.values():
        for words in [*typed(text), *mentioned(text)]:
            if (
                words[1:2] == ["-m"]
                and Path(words[0]).name == "python"
                and (ROOT / words[2].partition(".")[0]).is_dir()
            ):
                assert find_spec(words[2]), words
            if words[:1] == ["make"] and len(words) > 1:
                named = [word for word in words[1:] if "=" not in word and word != "..."]
                assert set(named) <= targets, words
            if words[:2] == ["docker", "compose"] or words[:1] == ["$COMPOSE"]:
                services = services_of(words)
                assert services <= set(SERVICES), words


@pytest.mark.parametrize("name", DOCUMENTS)
def test_variables_exist(name):
    """Settings of the service, of clients and of the tests; in capitals without ADNERF_, those of .env."""
    for variable in set(re.findall(r"ADNERF_[A-Z0-9_]*[A-Z0-9]", DOCUMENTS[name])):
        field = variable.removeprefix("ADNERF_").lower()
        assert field in Settings.model_fields or variable in SOURCES, variable
    if name == "operations.md":
        example = (ROOT / ".env.example").read_text()
        for variable in re.findall(r"^([A-Z][A-Z0-9_]+)=", DOCUMENTS[name], re.MULTILINE):
            assert f"{variable}=" in example or variable in ("API", "COMPOSE"), variable


def headings(path: Path) -> set[str]:
    """Returns the anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda path: path.name
)
def test_links_and_files_lead_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"https?:|mailto:", target):
            file, _, anchor = target.partition("#")
            there = (path.parent / file).resolve() if file else path
            assert there.exists(), target
            assert not anchor or anchor in headings(there), target
    if path.parent.name != "decisions":
        folders = "docs|tests|storage|worker|api|adnerf|adnerf_core|adnerf_client|benchmarks"
        files = re.findall(rf"`((?:{folders})/[\w/.-]+)`", text)
        assert not [file for file in files if not (ROOT / file).exists() and "/results/" not in file]


@pytest.fixture(scope="module")
def exists(tmp_path_factory):
    """Whether the API has an address, for whatever method."""
    routes = create_app(Settings(data_dir=tmp_path_factory.mktemp("data"))).routes

    def exists(path: str) -> bool:
        scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
        return any(route.matches(scope)[0] is not Match.NONE for route in routes)

    assert not exists("/v1/nothing")
    return exists


@pytest.mark.parametrize("name", DOCUMENTS)
def test_addresses_exist(name, exists):
    """Every `/v1/...` and `$API/...`; ids, names in braces and names after a dollar stand for any."""
    text = re.sub(r"\$(API|URL/v1|OTHER/v1)/", "/v1/", DOCUMENTS[name])
    text = re.sub(r"\{\w+\}|\$\w+|\b[a-z]{3}_\.\.\.", "x", text)
    addresses = set(re.findall(r"(?<![\w.])/v1/[\w./-]*\w", text))
    assert not [address for address in addresses if not exists(address)]


def test_the_receiver_of_webhooks_takes_what_the_service_sends_once(capsys):
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENTS["webhooks.md"], re.DOTALL)
    signer, row = WebhookSigner("k" * 32), Webhook(id="whk_1", generation=1)
    names = {"__name__": "receiver"}
    exec(program.replace("whsec_...", signer.secret(row)), names)
    body = json.dumps({"type": "video.ready", "data": {"id": "vid_1"}})
    receiver = names["app"].test_client()
    for _ in range(2):
        headers = signer.headers(row, "msg_1", datetime.now(UTC), body)
        assert receiver.post("/hooks/adnerf", data=body, headers=headers).status_code == 204
    assert capsys.readouterr().out == "video.ready vid_1\n"
    wrong = signer.headers(row, "msg_2", datetime.now(UTC), "{}")
    with pytest.raises(WebhookVerificationError):
        receiver.application.testing = True
        receiver.post("/hooks/adnerf", data=body, headers=wrong)
