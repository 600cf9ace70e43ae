"""The samples to try the service with."""

from __future__ import annotations

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
