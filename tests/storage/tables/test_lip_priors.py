"""Priors of lips: who may be learnt from, which prior is in use, and what a revocation ends."""

from __future__ import annotations

import io
from datetime import timedelta
from functools import partial

import pytest

from storage import object_places
from storage.database.models import LipPrior, Subject, new_id, now
from storage.errors import LipPriorRefused
from storage.objects.base import ANY_AGE_S
from storage.tables import lip_priors

FIGURES = {when: {"correlation": 0.5, "amplitude": 0.6} for when in ("before", "after")}


def add_subject(database, owner="ann", **values):
    with database.session() as session:
        row = Subject(
            **{
                "id": new_id("sub"),
                "owner": owner,
                "name": "Ann",
                "state": "ready",
                "preset": "draft",
                "consent": "Ann, today",
                "source_key": "s",
                "dataset_key": "d",
                "may_improve_others": True,
            }
            | values
        )
        session.add(row)
        session.flush()
        return row.id


def change(database, subject_id, **values):
    with database.session() as session:
        for name, value in values.items():
            setattr(session.get(Subject, subject_id), name, value)


def ask(database, function, *arguments):
    with database.session() as session:
        return function(session, *arguments)


def learn(database, store, people):
    """Orders a prior and adopts it, as a worker does."""
    assert ask(database, lip_priors.request)[1]
    row = ask(database, lip_priors.claim)
    stored = store.put(f"{lip_priors.PREFIX}{row.version}-{row.attempt}-ab.safetensors", io.BytesIO(b"weights"))
    told = dict.fromkeys(people, FIGURES)
    assert ask(database, lip_priors.adopt, row, told, FIGURES, stored)
    return row.version


def current(database):
    row = ask(database, lip_priors.current)
    return row and row.version


def test_only_subjects_whose_consent_allows_it_are_learnt_from(database):
    ann, bob = add_subject(database, footage_sha256="a"), add_subject(database, owner="bob")
    again = add_subject(database, footage_sha256="a")  # such as with another preset
    add_subject(database, may_improve_others=False)
    add_subject(database, dataset_key=None)
    for name in ("withdrawn_at", "deleted_at", "trashed_until"):
        add_subject(database, **{name: now()})
    assert ask(database, lip_priors.sources) == {ann: "d", bob: "d"}
    change(database, ann, may_improve_others=False)
    assert set(ask(database, lip_priors.sources)) == {bob, again}
    change(database, again, may_improve_others=False)
    with pytest.raises(LipPriorRefused, match="1 subjects may"):
        ask(database, lip_priors.request)


def test_a_prior_is_learnt_once_from_the_same_subjects(database, store):
    people = [add_subject(database) for _ in range(2)]
    version = learn(database, store, people)
    assert current(database) == version
    row, new = ask(database, lip_priors.request)
    assert (row.version, new) == (version, False)
    add_subject(database)
    row, new = ask(database, lip_priors.request)
    assert new and ask(database, lip_priors.request)[0].version == row.version


@pytest.mark.parametrize("how", [{"may_improve_others": False}, {"withdrawn_at": now()}, {"deleted_at": now()}])
def test_a_revocation_ends_the_use_at_once_and_orders_a_prior_of_the_others(database, store, how):
    people = [add_subject(database) for _ in range(3)]
    version = learn(database, store, people)
    (key,) = store.keys(older_than_s=ANY_AGE_S, prefix=lip_priors.PREFIX)
    assert not ask(database, lip_priors.due)
    change(database, people[0], **how)
    assert current(database) is None
    assert ask(database, lip_priors.due)
    assert ask(database, lip_priors.enforce, store) == [version]
    assert not store.exists(key)
    ordered, dropped = ask(database, lip_priors.listed)
    assert (ordered.state, dropped.state, dropped.people, dropped.current) == ("queued", "dropped", {}, False)


def test_a_prior_is_not_used_while_a_person_is_in_the_trash(database, store):
    people = [add_subject(database) for _ in range(2)]
    version = learn(database, store, people)
    change(database, people[0], trashed_until=now())
    assert current(database) is None and not ask(database, lip_priors.due)
    change(database, people[0], trashed_until=None)
    assert current(database) == version


def test_of_two_that_were_chosen_at_the_same_time_the_latest_is_used(database, store):
    people = [add_subject(database) for _ in range(2)]
    first = learn(database, store, people)
    second = learn(database, store, [*people, add_subject(database)])
    with database.session() as session:
        session.get(LipPrior, first).current = True
    assert current(database) == second
    ask(database, lip_priors.use, first)
    assert [row.current for row in ask(database, lip_priors.listed)] == [False, True]


def test_a_new_prior_that_falls_behind_the_one_in_use_is_noticed(database, store):
    def told(correlation):
        return {when: {"correlation": correlation, "amplitude": 0.6} for when in ("before", "after")}

    people = [add_subject(database) for _ in range(2)]
    assert not ask(database, lip_priors.falls_behind, dict.fromkeys(people, told(0.1)))  # none is in use
    learn(database, store, people)  # with .5
    new = add_subject(database)
    assert not ask(database, lip_priors.falls_behind, {new: told(0.1), people[0]: told(0.495), people[1]: None})
    assert ask(database, lip_priors.falls_behind, {new: told(0.9), people[0]: told(0.47), people[1]: told(0.5)})


def test_when_too_few_remain_nothing_is_ordered(database, store):
    people = [add_subject(database) for _ in range(2)]
    version = learn(database, store, people)
    change(database, people[0], may_improve_others=False)
    assert ask(database, lip_priors.enforce, store) == [version]
    assert [row.state for row in ask(database, lip_priors.listed)] == ["dropped"]


def test_who_revokes_while_it_is_learnt_is_not_adopted(database, store):
    people = [add_subject(database) for _ in range(3)]
    ask(database, lip_priors.request)
    row = ask(database, lip_priors.claim)
    change(database, people[0], may_improve_others=False)
    stored = store.put(f"{lip_priors.PREFIX}1", io.BytesIO(b"weights"))
    assert not ask(database, lip_priors.adopt, row, dict.fromkeys(people, FIGURES), FIGURES, stored)
    assert current(database) is None
    assert ask(database, lip_priors.claim).version == row.version  # it is learnt again, from the others
    with database.session(write=False) as session:
        assert object_places.unneeded(session, [stored.key]) == [stored.key]


def test_a_lost_worker_s_prior_is_learnt_by_another_three_times(database):
    for _ in range(2):
        add_subject(database)
    ask(database, lip_priors.request)
    for attempt in range(1, lip_priors.MAX_ATTEMPTS + 1):
        row = ask(database, lip_priors.claim)
        assert row.attempt == attempt and ask(database, lip_priors.claim) is None
        with database.session() as session:
            session.get(LipPrior, row.version).lease_until = now() - timedelta(seconds=1)
    assert ask(database, lip_priors.claim) is None
    (row,) = ask(database, lip_priors.listed)
    assert (row.state, row.error["code"]) == ("failed", "worker_lost")
    assert not ask(database, lip_priors.renew, row)


def test_an_operator_chooses_and_drops(database, store):
    people = [add_subject(database) for _ in range(2)]
    first = learn(database, store, people)
    second = learn(database, store, [*people, add_subject(database)])
    ask(database, lip_priors.use, first)
    assert current(database) == first
    ask(database, lip_priors.use, lip_priors.SHIPPED)
    assert current(database) is None
    ask(database, lip_priors.use, second)
    ask(database, lip_priors.drop, store, second)
    assert current(database) is None
    for version in (second, 99):
        with pytest.raises(LipPriorRefused):
            ask(database, lip_priors.use, version)
    keys = list(store.keys(older_than_s=ANY_AGE_S, prefix=lip_priors.PREFIX))
    with database.session(write=False) as session:
        assert len(keys) == 1 and object_places.named_keys(session) >= set(keys)
        assert object_places.unneeded(session, keys) == []


def test_what_is_unused_for_the_time_of_the_trash_is_deleted(database, store):
    people = [add_subject(database) for _ in range(2)]
    first, second, third = (learn(database, store, [*people, add_subject(database)]) for _ in range(3))
    ask(database, lip_priors.use, second)
    with database.session() as session:
        session.get(LipPrior, first).unused_since = None  # an earlier version did not note it
    keys = {row.version: row.object_key for row in ask(database, lip_priors.listed)}
    assert ask(database, partial(lip_priors.expire, kept_s=60), store) == []
    ask(database, lip_priors.use, first)
    ask(database, lip_priors.use, second)  # an operator may go back meanwhile
    with database.session() as session:
        for row in session.query(LipPrior):
            row.unused_since = row.unused_since and now() - timedelta(seconds=61)
    assert ask(database, partial(lip_priors.expire, kept_s=60), store) == [first]
    assert not store.exists(keys[first]) and store.exists(keys[second])
    assert current(database) == second
    assert [row.version for row in ask(database, lip_priors.listed)] == [third, second], "no version is given again"


def test_the_latest_people_take_part(database, monkeypatch):
    monkeypatch.setattr(lip_priors, "MAX_PEOPLE", 2)
    people = [add_subject(database) for _ in range(3)]
    assert list(ask(database, lip_priors.sources)) == sorted(people)[1:]
