"""Clients of the service that record every job of a 202 response and check every file that they download."""

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
from benchmarks.chaos.service import Servers, Service

POLL_S = 1.0
"""Seconds between two requests for the same resource."""
SUBJECT = {"name": "Ada", "preset": "draft", "consent": "Ada, today"}
"""Form fields of POST /v1/subjects."""


@dataclass
class Ledger:
    """Records the responses of the service to all clients. Thread-safe."""

    promised: dict[str, str] = field(default_factory=dict)
    """Kinds of all jobs of 202 responses, by job id."""
    served: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each downloaded file, by video id."""
    damaged: list[str] = field(default_factory=list)
    """Descriptions of wrong downloads."""
    counts: Counter[str] = field(default_factory=Counter)
    """Number of responses by kind: `answered`, `refused` (5xx), `broken` (no or an incomplete response), `files`."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, kind: str) -> None:
        """Counts a response of this kind."""
        with self.lock:
            self.counts[kind] += 1

    def promise(self, job: dict[str, Any]) -> None:
        """Records a job of a 202 response."""
        with self.lock:
            self.promised[job["id"]] = job["kind"]

    def serve(self, video_id: str, content: bytes, expected: bytes, etag: str) -> None:
        """Checks and records a complete download.

        Args:
            video_id: the video.
            content: the downloaded file.
            expected: the file that the stub core renders.
            etag: the response's ETag, which must be the SHA-256 of the file.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        with self.lock:
            if content != expected:
                self.damaged.append(f"{video_id}: {len(content)} bytes that are not the {len(expected)} expected")
            elif etag != f'"{sha256}"':
                self.damaged.append(f"{video_id}: served under the digest {etag}")
            elif self.served.setdefault(video_id, sha256) != sha256:
                self.damaged.append(f"{video_id}: changed after it was ready")


class Client:
    """A client of the API at `url`. Methods return None after a temporary failure; the caller tries again if it needs to."""

    def __init__(self, url: str, ledger: Ledger | None = None):
        self.ledger = ledger or Ledger()
        self._http = httpx.Client(base_url=url, timeout=30)
        self._audio: dict[str, bytes] = {}

    def subject(self, **orders: Any) -> dict[str, Any] | None:
        """Sends a reference video with these orders for the stub core (see core.py); returns the subject."""
        return self._submit("/v1/subjects", SUBJECT, {"video": ("ada.mp4", order(**orders))}, orders)

    def video(self, subject_id: str, **orders: Any) -> dict[str, Any] | None:
        """Sends an audio file with these orders for the stub core; returns the video."""
        return self._submit("/v1/videos", {"subject_id": subject_id}, {"audio": ("say.wav", order(**orders))}, orders)

    def read(self, path: str) -> dict[str, Any] | None:
        """Returns the JSON document at `path`."""
        response = self._send("GET", path)
        return response.json() if response is not None and response.is_success else None

    def cancel(self, job_id: str) -> bool:
        """Cancels a job; returns whether that succeeded."""
        response = self._send("POST", f"/v1/jobs/{job_id}/cancel")
        return response is not None and response.is_success

    def retry(self, job_id: str) -> bool:
        """Queues a failed or cancelled job again; returns whether that succeeded."""
        response = self._send("POST", f"/v1/jobs/{job_id}/retry")
        return response is not None and response.is_success

    def fetch(self, video_id: str, audio: bytes) -> bool:
        """Downloads and checks the file of a video; returns False if it was not served. `audio` is the audio that was sent for it."""
        response = self._send("GET", f"/v1/videos/{video_id}/file")
        if response is None or response.status_code == 409:  # not ready
            return False
        if response.status_code != 200:
            with self.ledger.lock:
                self.ledger.damaged.append(f"{video_id}: {response.status_code} {response.text[:200]}")
            return False
        self.ledger.serve(video_id, response.content, rendered(audio), response.headers["etag"])
        self.ledger.count("files")
        return True

    def fetch_own(self) -> int:
        """Downloads all videos that this client has requested; returns how many were served."""
        return sum(self.fetch(video_id, audio) for video_id, audio in self._audio.items())

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _submit(self, path: str, data: dict[str, str], files: dict[str, Any], orders: Any) -> dict[str, Any] | None:
        response = self._send("POST", path, data=data, files=files)
        if response is None or response.status_code != 202:
            return None
        resource = response.json()
        for job in resource.get("jobs") or [resource["job"]]:
            self.ledger.promise(job)
        if "job" in resource:
            self._audio[resource["id"]] = order(**orders)
        return resource

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        try:
            response = self._http.request(method, path, **more)
        except httpx.TransportError:
            self.ledger.count("broken")
            return None
        self.ledger.count("refused" if response.status_code >= 500 else "answered")
        return None if response.status_code >= 500 else response


class Crowd:
    """Clients in parallel threads: each sends a subject, waits until it is ready, requests videos, and downloads their files.

    Args:
        url: of the API.
        size: number of clients.
        subject, audio: orders for the stub core.
        videos: number of videos of each subject.
    """

    def __init__(self, url: str, size: int, *, subject: dict[str, Any], audio: dict[str, Any], videos: int):
        self.ledger = Ledger()
        self.subject, self.audio, self.videos = subject, audio, videos
        self.clients = [Client(url, self.ledger) for _ in range(size)]
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._send_until_stopped, args=(client,)) for client in self.clients]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Waits until the clients have stopped sending; their connections stay open."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def fetch_all(self) -> int:
        """Downloads all videos of all clients again; returns how many were served."""
        return sum(client.fetch_own() for client in self.clients)

    def close(self) -> None:
        """Stops the clients and closes their connections."""
        self.stop()
        for client in self.clients:
            client.close()

    def _send_until_stopped(self, client: Client) -> None:
        while not self._stopping.is_set():
            subject = client.subject(**self.subject)
            if subject is None or self._wait_for_end(client, f"/v1/subjects/{subject['id']}") != "ready":
                self._stopping.wait(POLL_S)
                continue
            videos = [client.video(subject["id"], **self.audio) for _ in range(self.videos)]
            for video in filter(None, videos):
                self._wait_for_end(client, f"/v1/videos/{video['id']}")

    def _wait_for_end(self, client: Client, path: str) -> str | None:
        """Returns the final state of a subject or video, None if the clients are stopped; requests a video's file in between."""
        while not self._stopping.is_set():
            resource = client.read(path)
            if path.startswith("/v1/videos/"):
                client.fetch(path.split("/")[-1], order(**self.audio))
            if resource is not None and resource["state"] in ("ready", "failed", "cancelled"):
                return resource["state"]
            time.sleep(POLL_S)
        return None


@contextmanager
def running_service(backends: Servers, folder: Path, **settings: Any) -> Iterator[tuple[Service, Client]]:
    """Yields a service with a running API, and a client of it."""
    with closing(Service(backends, folder, **settings)) as service, closing(Client(service.api())) as client:
        yield service, client
