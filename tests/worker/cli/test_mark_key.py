"""A worker whose mark.key is not the service's refuses to start, and none is made where videos bear marks already."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from storage.database.models import Identity, Video
from storage.errors import BadCertificate
from storage.tables import identity
from worker.__main__ import main
from worker.processes import supervisor
from worker.provenance.mark_key import MARK_KEY, load_mark_key, require_mark_key


@pytest.fixture
def elsewhere(house, tmp_path):
    """The settings of a second worker with a data folder of its own, on the same database."""
    return house.settings.replace(data_dir=tmp_path / "second", database_url=house.settings.database)


def test_workers_with_one_key_start(house, elsewhere):
    require_mark_key(house.settings)
    require_mark_key(house.settings)
    require_mark_key(elsewhere.replace(signing_dir=str(house.settings.signing)))


def test_a_worker_without_the_service_s_key_makes_none(house, elsewhere):
    require_mark_key(house.settings)
    with pytest.raises(BadCertificate, match="missing") as refused:
        require_mark_key(elsewhere)
    assert not elsewhere.signing.exists()
    assert "ADNERF_SIGNING_DIR" in refused.value.remedy and "adopt-mark-key" in refused.value.remedy


def test_a_service_of_an_earlier_version_keeps_its_key(house):
    """Its database has no fingerprint, but videos with marks."""
    house.submit_video(house.ready_subject().id)
    house.work()
    with house.database.session() as session:
        session.execute(update(Video).values(mark=1))
        session.execute(update(Identity).values(mark_key_sha256=None))
        assert identity.has_marks(session)
    with pytest.raises(BadCertificate, match="missing"):
        require_mark_key(house.settings)
    load_mark_key(house.settings)  # as if it were there
    require_mark_key(house.settings)


@pytest.mark.parametrize("command", ["worker", "serve"])
def test_a_worker_with_another_key_says_so_and_ends(house, elsewhere, command, monkeypatch, capsys):
    require_mark_key(house.settings)
    load_mark_key(elsewhere)
    monkeypatch.setenv("ADNERF_DATABASE_URL", elsewhere.database_url)
    started = []
    monkeypatch.setattr(supervisor, "supervise", lambda *_: started.append(True) or 0)
    assert main([command, "--data-dir", str(elsewhere.data_dir)]) == 1
    told = capsys.readouterr().err
    assert "is not the key" in told and "adnerf adopt-mark-key" in told and not started


def test_a_lost_key_can_be_replaced(house, elsewhere, monkeypatch, capsys):
    require_mark_key(house.settings)
    monkeypatch.setenv("ADNERF_DATABASE_URL", elsewhere.database_url)
    assert main(["adopt-mark-key", "--data-dir", str(elsewhere.data_dir)]) == 0
    assert str(elsewhere.signing) in capsys.readouterr().out
    require_mark_key(elsewhere)
    with pytest.raises(BadCertificate, match="is not the key"):
        require_mark_key(house.settings)


def test_a_database_server_that_is_away_stops_no_worker(settings):
    require_mark_key(settings.replace(database_url="postgresql+psycopg://nobody@127.0.0.1:1/none"))
    assert not (settings.signing / MARK_KEY).exists()
