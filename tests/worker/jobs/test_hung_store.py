"""A cancelled job frees its worker although its object store does not answer at all."""

from __future__ import annotations

import threading
import time

import pytest

from api.services import jobs as job_service
from tests.worker.conftest import House


@pytest.fixture
def house(settings, s3_settings):
    house = House(settings.replace(**s3_settings))
    yield house
    house.close()


def test_a_cancel_frees_the_worker_while_the_store_hangs(house, s3_server):
    subject = house.submit_subject(steps=20, pause=0.05)
    worker = house.worker()
    working = threading.Thread(target=worker.run_next)
    working.start()
    (job,) = house.subject(subject).jobs
    house.until(lambda: house.job(job).progress > 0)
    s3_server.freeze()
    try:
        house.until(lambda: house.job(job).stage == "store")
        time.sleep(0.5)  # the request has been sent
        house.write(job_service.cancel_job, job.id)
        working.join(5)
        assert not working.is_alive()
        assert house.job(job).state == "cancelled"
        assert not (worker.pipeline.workspace.jobs / job.id).exists()
    finally:
        s3_server.thaw()
        working.join()
    for thread in threading.enumerate():
        if thread.name.startswith("store of"):
            thread.join()  # it ends by itself as soon as the store answers
    worker.lock.release()
    worker.database.close()
