"""A video that is watched while it is rendered, with the client and with the command."""

from __future__ import annotations

import pytest

from adnerf_client import JobFailed
from adnerf_client.errors import BadUse
from tests.client.test_commands import adnerf, started  # noqa: F401 (the first is a fixture)


def test_a_video_is_watched_while_it_is_rendered(service, client):
    service.start_worker()
    subject = service.ready_subject(client)
    frames = [2, 25, 25, 9]
    video = client.videos.create(subject, service.file("say.wav", steps=4, pause=0.8, watch=frames))
    watched = client.videos.watch(video)
    assert next(watched) == b"header"
    assert client.videos.get(video).state == "rendering"
    assert [piece[:8] for piece in watched] == [b"piece %d " % k for k in range(4)]
    assert client.wait(video).frames == sum(frames)
    silent = client.wait(client.videos.create(subject, duration_s=2))
    with pytest.raises(BadUse, match="not any more"):
        next(client.videos.watch(silent))
    refused = client.videos.create(subject, service.file("no.wav", at={"1": "crash"}))
    with pytest.raises(JobFailed):
        list(client.videos.watch(refused))


def test_a_video_is_watched_by_a_player_until_it_is_closed(service, client, adnerf):  # noqa: F811
    service.start_worker()
    subject = service.ready_subject(client)
    frames = [2, *[25] * 12]
    video = client.videos.create(subject, service.file("say.wav", steps=len(frames), pause=0.2, watch=frames))
    watching = started(service, "videos", "watch", video.id)
    assert watching.stdout.read(12) == "headerpiece "
    watching.stdout.close()
    assert watching.wait(60) == 0 and watching.stderr.read() == ""
    watching.stderr.close()
    status, out, _ = adnerf("videos", "watch", video.id)
    assert status == 0 and out.startswith("headerpiece 0 ") and "piece 12 " in out
