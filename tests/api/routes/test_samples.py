"""The samples to try the service with."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from api.services import samples
from tests.api.conftest import check_problem


def test_samples_are_made_once_and_missing_where_the_demo_is(client, settings, monkeypatch, caplog):
    caplog.set_level("INFO")  # as a service logs: the name of the path's parameter must not be one of logging's own
    made = []
    monkeypatch.setattr(
        samples,
        "_make",
        lambda folder: (made.append(folder), folder.mkdir(), (folder / "speech.wav").write_bytes(b"RIFF")),
    )
    for _ in range(2):
        answer = client.get("/v1/samples/speech")
        assert (answer.headers["content-type"], answer.content) == ("audio/wav", b"RIFF")
    assert made == [settings.data_dir / "samples"]
    monkeypatch.undo()
    (settings.data_dir / "samples").rename(settings.data_dir / "gone")
    monkeypatch.setattr(samples, "find_spec", lambda name: None)
    assert client.get("/v1/samples").json() == {"available": False}
    check_problem(client.get("/v1/samples/person"), "not_found")


def test_processes_that_make_the_samples_at_once_make_them_once_and_clear_what_a_killed_one_left(tmp_path, monkeypatch):
    made = []

    def draw(command, **_):
        made.append(Path(command[-1]))
        made[-1].mkdir()
        (made[-1] / "person.mp4").touch()
        time.sleep(0.1)

    monkeypatch.setattr(samples, "available", lambda: True)
    monkeypatch.setattr(samples.subprocess, "run", draw)
    (tmp_path / ".samples-left" / "samples").mkdir(parents=True)
    with ThreadPoolExecutor(2) as processes:
        list(processes.map(samples._make, [tmp_path / "samples"] * 2))
    assert len(made) == 1 and [each.name for each in (tmp_path / "samples").iterdir()] == ["person.mp4"]
    assert sorted(each.name for each in tmp_path.iterdir()) == [".samples-lock", "samples"]
