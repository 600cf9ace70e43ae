"""Clients: they hold the service to its word. What was answered with 202 is written down, and what is served is checked."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.chaos.core import order, rendered
from benchmarks.chaos.stage import Servers, Stage

POLL_S = 1.0
SUBJECT = {"name": "Ada", "preset": "draft", "consent": "Ada, today"}


@dataclass
class Ledger:
    """What the service has answered to all clients."""

    promised: dict[str, str] = field(default_factory=dict)
    """Kind of job, by the id of every job that was answered with 202."""
    served: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the file, by the id of the video."""
    damaged: list[str] = field(default_factory=list)
    """What was served and should not have been."""
    counts: Counter[str] = field(default_factory=Counter)
    """Answers by kind: `answered`, `refused` (5xx), `broken` (no answer, or one that broke off), `files`."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        """One more of these."""
        with self.lock:
            self.counts[what] += 1

    def promise(self, job: dict[str, Any]) -> None:
        """A job that was answered with 202."""
        with self.lock:
            self.promised[job["id"]] = job["kind"]

    def serve(self, video_id: str, content: bytes, expected: bytes, etag: str) -> None:
        """A file that was served whole, by the word of its Content-Length."""
        sha256 = hashlib.sha256(content).hexdigest()
        with self.lock:
            if content != expected:
                self.damaged.append(f"{video_id}: {len(content)} bytes that are not the {len(expected)} expected")
            elif etag != f'"{sha256}"':
                self.damaged.append(f"{video_id}: served under the digest {etag}")
            elif self.served.setdefault(video_id, sha256) != sha256:
                self.damaged.append(f"{video_id}: changed after it was ready")


class Client:
    """One client of the API at `url`. Whatever fails for a passing reason is None, and tried again by who needs it."""

    def __init__(self, url: str, ledger: Ledger | None = None):
        self.ledger = ledger or Ledger()
        self._http = httpx.Client(base_url=url, timeout=30)
        self._audio: dict[str, bytes] = {}

    def subject(self, **orders: Any) -> dict[str, Any] | None:
        """Sends a reference video that makes the core do this; the subject that was answered."""
        return self._submit("/v1/subjects", SUBJECT, {"video": ("ada.mp4", order(**orders))}, orders)

    def video(self, subject_id: str, **orders: Any) -> dict[str, Any] | None:
        """Sends an audio that makes the core do this; the video that was answered."""
        return self._submit("/v1/videos", {"subject_id": subject_id}, {"audio": ("say.wav", order(**orders))}, orders)

    def read(self, path: str) -> dict[str, Any] | None:
        """A document."""
        answer = self._send("GET", path)
        return answer.json() if answer is not None and answer.is_success else None

    def cancel(self, job_id: str) -> bool:
        """Whether the job was cancelled."""
        answer = self._send("POST", f"/v1/jobs/{job_id}/cancel")
        return answer is not None and answer.is_success

    def fetch(self, video_id: str, audio: bytes) -> bool:
        """Downloads the file and checks it; False where it was not served."""
        answer = self._send("GET", f"/v1/videos/{video_id}/file")
        if answer is None or answer.status_code == 409:  # not ready
            return False
        if answer.status_code != 200:
            with self.ledger.lock:
                self.ledger.damaged.append(f"{video_id}: {answer.status_code} {answer.text[:200]}")
            return False
        self.ledger.serve(video_id, answer.content, rendered(audio), answer.headers["etag"])
        self.ledger.count("files")
        return True

    def fetch_own(self) -> int:
        """Downloads every video that this client has sent for, once more; returns how many were served."""
        return sum(self.fetch(video_id, audio) for video_id, audio in self._audio.items())

    def close(self) -> None:
        """The end of it."""
        self._http.close()

    def _submit(self, path: str, data: dict[str, str], files: dict[str, Any], orders: Any) -> dict[str, Any] | None:
        answer = self._send("POST", path, data=data, files=files)
        if answer is None or answer.status_code != 202:
            return None
        owner = answer.json()
        for job in owner.get("jobs") or [owner["job"]]:
            self.ledger.promise(job)
        if "job" in owner:
            self._audio[owner["id"]] = order(**orders)
        return owner

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        try:
            answer = self._http.request(method, path, **more)
        except httpx.TransportError:
            self.ledger.count("broken")
            return None
        self.ledger.count("refused" if answer.status_code >= 500 else "answered")
        return None if answer.status_code >= 500 else answer


class Crowd:
    """Clients that live side by side: each sends a subject, waits for it, has it say something, and looks at the file."""

    def __init__(self, url: str, size: int, *, subject: dict[str, Any], audio: dict[str, Any], videos: int):
        self.ledger = Ledger()
        self.subject, self.audio, self.videos = subject, audio, videos
        self.clients = [Client(url, self.ledger) for _ in range(size)]
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._live, args=(client,)) for client in self.clients]
        for thread in self._threads:
            thread.start()

    def leave(self) -> None:
        """They send nothing new any more."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def fetch_all(self) -> int:
        """Every video once more; returns how many were served."""
        return sum(client.fetch_own() for client in self.clients)

    def close(self) -> None:
        """The end of all of them."""
        self.leave()
        for client in self.clients:
            client.close()

    def _live(self, client: Client) -> None:
        while not self._over.is_set():
            subject = client.subject(**self.subject)
            if subject is None or self._outcome(client, f"/v1/subjects/{subject['id']}") != "ready":
                self._over.wait(POLL_S)
                continue
            sent = [client.video(subject["id"], **self.audio) for _ in range(self.videos)]
            for video in filter(None, sent):
                self._outcome(client, f"/v1/videos/{video['id']}")

    def _outcome(self, client: Client, path: str) -> str | None:
        """The state in which the subject or video ends; of a video the file is asked for all the time."""
        while not self._over.is_set():
            owner = client.read(path)
            if path.startswith("/v1/videos/"):
                client.fetch(path.split("/")[-1], order(**self.audio))
            if owner is not None and owner["state"] in ("ready", "failed", "cancelled"):
                return owner["state"]
            time.sleep(POLL_S)
        return None


@contextmanager
def staged(on: Servers, folder: Path, **settings: Any) -> Iterator[tuple[Stage, Client]]:
    """A stage with an API, and a client of it."""
    with closing(Stage(on, folder, **settings)) as stage, closing(Client(stage.api())) as client:
        yield stage, client
