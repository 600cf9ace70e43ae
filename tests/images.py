"""Builds the images and runs them with Compose once, from nothing to a service that is ready (`make images-check`).

    python -m tests.images [VIDEO AUDIO]

With footage and speech, it also trains a subject (preset `draft`) and downloads a video of it. It needs a container engine with Compose,
and registries for the base images; without an engine it says so, and ends with status 1, because nothing was checked. The project has a
name, volumes, ports and secrets of its own, and is removed at the end.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from adnerf_client import AdnerfError, Client
from tests.servers import free_port

ROOT = Path(__file__).parents[1]
PROJECT = "adnerf-images-check"
READY_S = 600.0
"""Seconds from the start of the containers until all are healthy: a worker loads torch, on machines that are slow."""
BUILD_S = 3600.0
"""Seconds that one command of Compose may take: a build downloads torch, a start waits for services that may never be ready."""
OURS = ("api", "beat", "worker-cpu")


class Compose:
    """The project, with the settings of an .env of its own."""

    def __init__(self, folder: Path):
        self.api_port, self.store_port = free_port(), free_port()
        names = ("POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY", "WEBHOOK_KEY")
        values = {name: secrets.token_hex(24) for name in names} | {
            "CPU_QUEUES": "cpu,gpu_train,gpu_render",
            "API_LISTEN": f"127.0.0.1:{self.api_port}",
            "S3_LISTEN": f"127.0.0.1:{self.store_port}",
            "S3_PUBLIC_URL": f"http://127.0.0.1:{self.store_port}",
        }
        self.env = folder / "env"
        self.env.write_text("".join(f"{name}={value}\n" for name, value in values.items()))

    def run(self, *words: str, output: bool = False) -> str:
        """Runs `docker compose ...`; returns its output. Raises SubprocessError if it fails, or takes longer than BUILD_S."""
        print("$ docker compose", *words, flush=True)
        command = ["docker", "compose", "--project-name", PROJECT, "--env-file", self.env, *words]
        pipe = subprocess.PIPE if output else None
        return subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=pipe, timeout=BUILD_S).stdout

    def states(self) -> dict[str, str]:
        """Returns the state of every container by its service: `healthy`, or what else it is."""
        lines = self.run("ps", "--all", "--format", "json", output=True).splitlines()
        rows = [json.loads(line) for line in lines]
        return {row["Service"]: row["Health"] or f"{row['State']} {row['ExitCode']}" for row in rows}


def engine_missing() -> str:
    """Returns why there is no engine; empty if there is one."""
    if shutil.which("docker") is None:
        return "there is no `docker` on this machine"
    for words in (("info",), ("compose", "version")):
        asked = subprocess.run(["docker", *words], capture_output=True, text=True)
        if asked.returncode != 0:
            return f"`docker {' '.join(words)}` fails: {asked.stderr.strip().splitlines()[-1:]}"
    return ""


def check(compose: Compose) -> str:
    """Follows docs/operations.md, "With containers". Raises AssertionError, CalledProcessError or TimeoutError.

    Returns:
        The token of a key.
    """
    compose.run("build")
    token = compose.run(
        "run", "--rm", "api", "adnerf", "keys", "create", "--name", "first", "--scopes", "read,write,admin", output=True
    ).split()[-1]
    compose.run("up", "--detach")
    deadline = time.monotonic() + READY_S
    while not set((states := compose.states()).values()) <= {"healthy", "exited 0"}:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all containers are healthy: {states}")
        time.sleep(5)
    assert states["migrations"] == "exited 0" and all(states[name] == "healthy" for name in OURS), states
    with httpx.Client(base_url=f"http://127.0.0.1:{compose.api_port}", timeout=30) as client:
        ready = client.get("/readyz").json()
        assert ready["status"] == "ready", ready
        headers = {"Authorization": f"Bearer {token}"}
        assert client.get("/v1/subjects").status_code == 401
        upload = {"video": ("a.mp4", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(6000))}
        data = {"name": "Ann", "consent": "Ann agreed"}
        sent = client.post("/v1/subjects", headers=headers, data=data, files=upload)
        assert sent.status_code == 202, sent.text  # stored in the bucket; what it is, the worker will say
        subject = sent.json()["links"]["self"]
        while (state := client.get(subject, headers=headers).json()["state"]) != "failed":
            if time.monotonic() > deadline:
                raise TimeoutError(f"the worker has not refused a file that is no video: {state}")
            time.sleep(2)
    for name in OURS:
        compose.run("exec", "-T", name, "sh", "-c", "! touch /x 2>/dev/null && test $(id -u) = 10001")
    return token


def make_a_video(compose: Compose, token: str, footage: Path, speech: Path, folder: Path) -> None:
    """Does the main job in the containers, and checks that the service knows the video as its own.

    Raises:
        AdnerfError, AssertionError.
    """
    with Client(f"http://127.0.0.1:{compose.api_port}", api_key=token) as adnerf:
        subject = adnerf.wait(adnerf.subjects.create(footage, name="Ann", consent="Ann agreed", preset="draft"))
        video = adnerf.wait(adnerf.videos.create(subject, speech))
        path = adnerf.videos.download(video, folder / "said.mp4")
        print(f"{video.duration_s:.1f} s, {path.stat().st_size} bytes, held-out PSNR {subject.quality.psnr:.1f} dB")
        assert adnerf.verify(path).made_here


def main(files: Sequence[str]) -> int:
    """Returns the exit status: 0 if all was checked and is right. `files`: none, or footage and speech."""
    if why := engine_missing():
        print(f"NOT CHECKED: {why}. Install Docker with Compose 2.24 or newer, and start it.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        compose = Compose(Path(folder))
        try:
            token = check(compose)
            if files:
                make_a_video(compose, token, *map(Path, files), Path(folder))
            compose.run("images")
        except (AdnerfError, AssertionError, subprocess.SubprocessError, TimeoutError) as error:
            compose.run("logs", "--tail", "30")
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
        finally:
            compose.run("down", "--volumes", "--remove-orphans")
    print("The images build, and the service in them is ready.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
