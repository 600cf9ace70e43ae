"""`adnerf prior` says what trainings start from now."""

from __future__ import annotations

from contextlib import closing

from storage.database import migrations
from storage.database.engine import Database
from storage.database.models import now
from storage.objects.local import LocalStore
from tests.storage.tables.test_lip_priors import add_subject, change, learn
from worker.__main__ import main


def test_the_list_ends_with_what_trainings_start_from(settings, capsys):
    def told():
        assert main(["prior", "list", "--data-dir", str(settings.data_dir)]) == 0
        return capsys.readouterr().out

    with closing(Database(settings.database)) as database:
        migrations.upgrade(database)
        assert told() == "Trainings start from the shipped prior.\n"
        people = [add_subject(database) for _ in range(2)]
        version = learn(database, LocalStore(settings.objects), people)
        assert told().endswith(f"Trainings start from version {version}.\n")
        change(database, people[0], trashed_until=now())
        assert "shipped prior instead of version 1: one of its people is in the trash" in told()
        change(database, people[0], trashed_until=None, may_improve_others=False)
        assert "instead of version 1: one of its people may not be learnt from any more" in told()
        assert main(["prior", "use", "0", "--data-dir", str(settings.data_dir)]) == 0
        assert capsys.readouterr().out == "Trainings start from the shipped prior.\n"
        version_dropped = ["prior", "drop", str(version), "--data-dir", str(settings.data_dir)]
        assert main(version_dropped) == 0
        assert capsys.readouterr().out == "Version 1 is dropped. Trainings start from the shipped prior.\n"
        version_dropped[2] = "0"
        assert main(version_dropped) == 1
        assert "shipped prior, which is always there" in capsys.readouterr().err
