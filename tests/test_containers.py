"""Checks of the container files. No Docker engine is needed: the files are parsed, and their commands are passed to the parser."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.main import get_command

from storage.settings import PREFIX, Settings, variable_name
from tests.requirements import closure
from worker.__main__ import app
from worker.broker import QUEUES

ROOT = Path(__file__).parent.parent
COMPOSE_FILES = ("docker-compose.yml", "docker-compose.cluster.yml")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
CLUSTER = yaml.safe_load((ROOT / "docker-compose.cluster.yml").read_text())["services"]
ONE_SHOT = ("migrations",)
"""Services that end when their work is done."""
FILES = ("Dockerfile", "Dockerfile.gpu")
OWN_SERVERS = ("DATABASE_URL", "BROKER_URL", "STORE_URL", "S3_ENDPOINT_URL")
"""Variables of .env that are empty for the servers in containers."""
PINNED_IMAGE = re.compile(r"[\w./-]+:v?\d+\.[\w.-]+")
"""An image with a tag that contains at least a major and a minor version."""


def instructions(name: str) -> list[tuple[str, str]]:
    """Returns the instructions of a Dockerfile: (keyword, arguments on one line)."""
    text = re.sub(r"^#.*\n", "", (ROOT / name).read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def example() -> dict[str, str]:
    """Returns the variables of .env.example."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_the_compose_file_is_valid(name):
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", name]
    checked = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def resolved(text: str) -> str:
    """Returns a value of the Compose file as it is with .env.example."""
    return re.sub(r"\$\{(\w+):-[^}]*\}", lambda match: example()[match[1]], str(text))


def test_the_compose_file_has_all_services():
    assert set(SERVICES) == {
        "migrations", "api", "beat", "worker-cpu", "worker-gpu", "postgres", "redis", "store",
    }  # fmt: skip


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_hardened(name):
    service = SERVICES[name]
    assert not service.get("privileged") and not service.get("cap_add")
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True and service["deploy"]["resources"]["limits"]["pids"] > 0
    assert "/tmp:size=256m" in service["tmpfs"] and all(":size=" in mount for mount in service["tmpfs"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    if "build" not in service:  # the Dockerfiles of our own images set the user
        assert service["user"].split(":")[0] not in ("root", "0")


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in ONE_SHOT])
def test_a_service_has_a_health_check_a_restart_policy_and_limits(name):
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    limits = service["deploy"]["resources"]["limits"]
    assert limits["memory"] and float(resolved(limits["cpus"])) <= 1  # Docker refuses more CPUs than the machine has
    mounts = {volume.split(":")[0] for volume in service["volumes"]}
    assert mounts <= set(COMPOSE["volumes"])


def test_migrations_run_once_before_the_other_services():
    migrations = SERVICES["migrations"]
    assert migrations["restart"] == "on-failure"
    for name in ("api", "beat", "worker-cpu", "worker-gpu"):
        needs = SERVICES[name]["depends_on"]
        assert needs["migrations"]["condition"] == "service_completed_successfully"
        assert all(needs[server]["condition"] == "service_healthy" for server in ("postgres", "redis", "store"))


def test_images_are_pinned():
    bases = {rest.split()[0] for name in FILES for word, rest in instructions(name) if word == "FROM"} - {"${BASE}"}
    bases |= {
        rest.removeprefix("BASE=") for name in FILES for word, rest in instructions(name) if rest.startswith("BASE=")
    }
    bases |= {service["build"]["args"]["BASE"] for service in SERVICES.values() if "args" in service.get("build", {})}
    assert len(bases) == 3
    servers = {service["image"] for service in SERVICES.values() if "build" not in service}
    for image in bases | servers:
        assert PINNED_IMAGE.fullmatch(image), image


@pytest.mark.parametrize("name", FILES)
def test_an_image_runs_as_an_unprivileged_user_and_contains_no_secret(name):
    steps = instructions(name)
    stages = [index for index, (word, _) in enumerate(steps) if word == "FROM"]
    final = dict(steps[stages[-1] :])  # the last instruction of each keyword is the effective one
    assert final["USER"].isdecimal() and int(final["USER"]) > 0
    assert "HEALTHCHECK" in final
    assert not any(word == "ADD" for word, _ in steps)
    assert not re.search(r"SECRET|PASSWORD|TOKEN", " ".join(rest for word, rest in steps if word in ("ENV", "ARG")))


def test_only_the_images_of_workers_have_torch_and_the_one_for_cpus_no_cuda():
    installed = {name: " ".join(rest for word, rest in instructions(name) if word == "RUN") for name in FILES}
    assert "torch" not in installed["Dockerfile"] and "[worker]" not in installed["Dockerfile"]
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"TORCH := (.*)", makefile)[1] in (ROOT / "constraints.txt").read_text().splitlines()
    arguments = SERVICES["worker-cpu"]["build"]["args"]
    assert arguments["COMPILER"] == ""
    assert arguments["TORCH_INDEX"] == re.search(r"CPU_INDEX := (.*)", makefile)[1] and "cuda" not in arguments["BASE"]
    assert "args" not in SERVICES["worker-gpu"]["build"]


@pytest.mark.parametrize("name", FILES)
def test_dependencies_are_installed_before_the_code_and_from_the_constraints(name):
    steps = [rest for word, rest in instructions(name) if word in ("COPY", "RUN")]
    code = steps.index(". .")
    before, after = steps[:code], steps[code + 1]
    assert "pyproject.toml constraints.txt ./" in before
    assert after == "/opt/venv/bin/pip install --no-deps --force-reinstall ."
    commands = [command for step in before for command in step.split("&&") if "pip install" in command]
    assert commands and all("--constraint constraints.txt" in each for each in commands)


def test_the_build_context_contains_the_copied_files_and_no_others():
    included = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert all((ROOT / path).exists() for path in included)
    assert {"pyproject.toml", "setup.py", "constraints.txt", "alembic", "api", "worker", "storage"} <= included
    assert not {".env", ".git", "data", "tests"} & included


def test_the_pinned_versions_meet_the_requirements():
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    for text in requires("adnerf"):
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": "worker"}):
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), text


def test_every_package_that_the_images_install_is_pinned():
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    installed = closure(distribution("adnerf"), "worker") | {"hibari-tts"}
    assert installed - pinned == {"adnerf"}
    assert {"nvidia-cudnn-cu13", "nvidia-nvjitlink", "cuda-bindings", "triton"} <= pinned  # of torch for CUDA


def test_all_variables_are_settings_and_secrets_have_no_default():
    known = {variable_name(field) for field in Settings.model_fields}
    text = "".join((ROOT / name).read_text() for name in COMPOSE_FILES)
    for service in SERVICES.values():
        ours = {name for name in service.get("environment", {}) if name.startswith(PREFIX)}
        assert ours <= known
    values = example()
    variables = dict(re.findall(r"\$\{(\w+):?([-?])", text))
    assert set(variables) == set(values)
    assert {name for name, operator in variables.items() if operator == "?"} == {
        "POSTGRES_PASSWORD",
        "S3_ACCESS_KEY",
        "S3_SECRET_KEY",
        "WEBHOOK_KEY",
        "REDIS_PASSWORD",
    }
    for name, default in re.findall(r"\$\{(\w+):?-([^}]*)\}", text):
        assert values[name] == ("" if name in OWN_SERVERS else default), name
    assert not any(values[name] for name, operator in variables.items() if operator == "?")
    for name in (".env", "adnerf.env"):
        assert subprocess.run(["git", "check-ignore", "--quiet", name], cwd=ROOT).returncode == 0


def test_all_settings_can_be_given_to_the_processes_that_have_more_than_the_database_s():
    for name, service in SERVICES.items():
        given = service.get("env_file", [])
        assert given == [{"path": "adnerf.env", "required": False}] * (
            name in ("api", "beat", "worker-cpu", "worker-gpu")
        )


@pytest.mark.parametrize(
    "words",
    [SERVICES[name]["command"] for name in SERVICES if "build" in SERVICES[name]]
    + [SERVICES[name]["healthcheck"]["test"][1:] for name in ("worker-cpu", "worker-gpu")]
    + [json.loads(dict(instructions(name))["CMD"]) for name in FILES],
    ids=shlex.join,
)
def test_commands_are_valid(words):
    words = [example()["CPU_QUEUES"] if word.startswith("${") else word for word in words]
    assert words[0] == "adnerf"
    program = get_command(app)
    name, subcommand, arguments = program.resolve_command(program.make_context("adnerf", words[1:]), words[1:])
    assert subcommand.make_context(name, arguments).params


def test_the_workers_serve_all_queues():
    served = " ".join(" ".join(SERVICES[name]["command"]) for name in ("worker-cpu", "worker-gpu"))
    served = served.replace("${CPU_QUEUES:-cpu}", example()["CPU_QUEUES"])
    assert set(QUEUES.values()) == set(re.split(r"[ ,]+", served)) & set(QUEUES.values())
    (device,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia" and device["capabilities"] == ["gpu"]
    assert device["count"] == "${GPU_COUNT:-all}" and example()["GPU_COUNT"] == "all"


def test_a_process_gets_the_secrets_that_it_needs_and_no_others():
    secrets = {name: set() for name in SERVICES}
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if variable.startswith(PREFIX):
                secrets[name] |= set(re.findall(r"\$\{(\w+):\?", value))
    every = {"POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY", "WEBHOOK_KEY"}
    assert secrets["migrations"] == secrets["beat"] == {"POSTGRES_PASSWORD"}
    assert secrets["api"] == secrets["worker-cpu"] == secrets["worker-gpu"] == every
    signing = {name for name, service in SERVICES.items() if "ADNERF_SIGNING_DIR" in service.get("environment", {})}
    assert signing == {name for name, service in SERVICES.items() if "signing:/signing" in service.get("volumes", [])}


def test_the_workers_that_render_have_the_fonts_that_messages_name_and_take_folders_of_the_operators():
    (packages,) = re.findall(r"apt-get install .*? (python3 [\w $-]+?) &&", dict(instructions("Dockerfile.gpu"))["RUN"])
    named = re.findall(r"apt install ([\w-]+)", (ROOT / "adnerf_core/synthesis/fonts.py").read_text())
    assert set(named) == {"libfribidi0", "fonts-noto-cjk"} and set(named) <= set(packages.split())
    folders = {"ADNERF_FONTS_DIR": "${FONTS_DIR:-}", "ADNERF_VOICES_DIR": "${VOICES_DIR:-}"}
    for name, service in SERVICES.items():
        given = {key: value for key, value in service.get("environment", {}).items() if key in folders}
        assert given == (folders if name in ("worker-cpu", "worker-gpu") else {}), name


def test_triton_finds_a_compiler_and_a_folder_from_which_it_may_load_what_it_compiles():
    """gcc itself, the C library's headers, and Python's; Docker mounts the tmpfs of /tmp with `noexec`."""
    steps = instructions("Dockerfile.gpu")
    arguments = dict(rest.split("=", 1) for word, rest in steps if word == "ARG")
    assert set(shlex.split(arguments["COMPILER"])[0].split()) == {"gcc", "libc6-dev", "libpython3-dev"}
    final = dict(steps)
    assert "$COMPILER" in final["RUN"]
    cache = re.search(r"TRITON_CACHE_DIR=(\S+)", final["ENV"])[1]
    assert Path(cache).is_relative_to(final["VOLUME"]) and "worker-gpu:/data" in SERVICES["worker-gpu"]["volumes"]


def test_scaling_survives_the_next_start():
    """`up --scale` is forgotten by the next `up`; a variable of .env is not."""
    for name, variable in (("worker-cpu", "CPU_WORKERS"), ("worker-gpu", "GPU_WORKERS")):
        assert SERVICES[name]["deploy"]["replicas"] == f"${{{variable}:-1}}"


def test_other_machines_reach_the_servers_by_a_password_alone():
    assert set(CLUSTER) <= set(SERVICES)
    command = CLUSTER["redis"]["command"]
    assert command[: len(SERVICES["redis"]["command"])] == SERVICES["redis"]["command"]
    assert command[-2] == "--requirepass"
    for name in ("migrations", "api", "beat", "worker-gpu"):
        assert CLUSTER[name]["networks"] == ["outside"]
    assert "outside" in SERVICES["worker-cpu"]["networks"]


def test_the_servers_are_reachable_inside_the_network_only():
    assert COMPOSE["networks"]["backend"]["internal"] is True
    for name in ("postgres", "redis"):
        assert SERVICES[name]["networks"] == ["backend"] and "ports" not in SERVICES[name]
    for name, service in [*SERVICES.items(), *CLUSTER.items()]:
        for port in service.get("ports", []):
            variable = re.match(r"\$\{(\w+):", port)[1]
            assert example()[variable].partition(":")[0] == "127.0.0.1", name
