"""A worker learns priors of lips beside its jobs; trainings start from the one in use."""

import secrets

import pytest

from api.services import subjects
from storage.objects.base import ANY_AGE_S
from storage.tables import lip_priors
from tests.worker import stub_core
from worker.cli import priors
from worker.jobs import prior_learner
from worker.jobs.prior_learner import PriorLearner
from worker.sweeper import Sweeper


@pytest.fixture
def learner(house):
    worker = house.worker()
    yield PriorLearner(worker.pipeline, worker.stopping)
    worker.lock.release()
    worker.database.close()


def ask(house, function, *arguments):
    with house.database.session() as session:
        return function(session, *arguments)


def person(house, **train):
    """A subject whose consent lets others be learnt from it; `train` are orders to the stub core."""
    return house.ready_subject(
        may_improve_others=True, train=train, words=secrets.token_hex(4)
    )  # each has other footage


def delete(house, subject):
    house.write(subjects.delete_subject, house.store, subject.id)


def stored(house):
    return list(house.store.keys(older_than_s=ANY_AGE_S, prefix=lip_priors.PREFIX))


def test_a_prior_is_learnt_used_for_trainings_and_ended_by_a_revocation(house, learner):
    learner.learn_pending()  # nothing is ordered
    people = [person(house) for _ in range(3)]
    assert people[0].lip_prior is None
    ask(house, lip_priors.request)
    learner.learn_pending()
    (row,) = ask(house, lip_priors.listed)
    assert (row.state, row.current, set(row.people)) == ("adopted", True, {person.id for person in people})
    assert stored(house) == [row.object_key] and row.sha256[:12] in row.object_key
    trained = house.ready_subject()
    assert f"{lip_priors.PREFIX}{trained.lip_prior}.safetensors" == row.object_key
    delete(house, people[0])
    assert house.ready_subject().lip_prior is None
    learner.learn_pending()
    again, dropped = ask(house, lip_priors.listed)
    assert (again.state, dropped.state) == ("adopted", "dropped")
    assert set(again.people) == {person.id for person in people[1:]}
    assert stored(house) == [again.object_key]
    assert house.ready_subject().lip_prior != trained.lip_prior


def test_one_that_is_no_better_is_not_adopted(house, learner):
    for better in (True, False):
        person(house, better=better)
    ask(house, lip_priors.request)
    learner.learn_pending()
    (row,) = ask(house, lip_priors.listed)
    assert (row.state, row.figures["after"]["correlation"], stored(house)) == ("rejected", 0.6, [])
    assert house.ready_subject().lip_prior is None


def test_a_failure_and_a_drop_end_the_work_and_a_stop_puts_it_back(house, learner, monkeypatch):
    monkeypatch.setattr(prior_learner, "RENEW_S", 0.0)
    crashing = person(house, learn={"at": {"0": "crash"}})
    person(house)
    ask(house, lip_priors.request)
    learner.learn_pending()
    (failed,) = ask(house, lip_priors.listed)
    assert (failed.state, failed.error["code"]) == ("failed", "internal_error")

    delete(house, crashing)
    person(house)
    ask(house, lip_priors.request)
    monkeypatch.setitem(stub_core.ACTIONS, "crash", learner.stopping.set)
    person(house, learn={"at": {"0": "crash"}})
    learner.learn_pending()
    row = ask(house, lip_priors.listed)[0]
    assert (row.state, row.attempt) == ("queued", 0)

    learner.stopping.clear()
    monkeypatch.setitem(stub_core.ACTIONS, "crash", lambda: ask(house, lip_priors.drop, house.store, row.version))
    learner.learn_pending()
    assert ask(house, lip_priors.listed)[0].state == "dropped" and stored(house) == []


def test_a_revocation_while_a_prior_is_fetched_comes_in_time_for_the_training(house, learner, monkeypatch):
    people = [person(house) for _ in range(2)]
    ask(house, lip_priors.request)
    learner.learn_pending()
    subject, worker = house.submit_subject(), house.worker()
    fetch = worker.pipeline.store.fetch

    def fetch_slowly(key, path):
        fetch(key, path)
        if key.startswith(lip_priors.PREFIX):
            delete(house, people[0])

    monkeypatch.setattr(worker.pipeline.store, "fetch", fetch_slowly)
    while worker.run_next():
        pass
    worker.close()
    trained = house.subject(subject)
    assert (trained.state, trained.lip_prior) == ("ready", None)


def test_a_job_that_ends_its_process_costs_no_attempt_of_the_prior(house, learner, monkeypatch):
    for orders in ({"learn": {"at": {"0": "crash"}}}, {}):
        person(house, **orders)
    ask(house, lip_priors.request)

    def end_process():
        learner.pipeline.leave_notes()
        raise SystemExit

    monkeypatch.setitem(stub_core.ACTIONS, "crash", end_process)
    with pytest.raises(SystemExit):
        learner.learn_pending()
    assert ask(house, lip_priors.listed)[0].state == "running"
    Sweeper(house.settings, house.database).sweep()
    row = ask(house, lip_priors.listed)[0]
    assert (row.state, row.attempt) == ("queued", 0)


def test_damaged_datasets_and_priors_are_left_out(house, learner):
    people = [person(house) for _ in range(3)]
    house.store.delete(people[0].dataset_key)
    ask(house, lip_priors.request)
    learner.learn_pending()
    (row,) = ask(house, lip_priors.listed)
    assert row.people[people[0].id] is None and row.people[people[1].id] is not None
    assert "2 people" in priors._line(row) and "correlation 0.500 -> 0.600" in priors._line(row)
    assert not ask(house, lip_priors.request)[1]  # nothing has changed
    (house.store.root / row.object_key).write_bytes(b"of another version")
    assert house.ready_subject().lip_prior is None
