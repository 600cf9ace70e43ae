"""Logs: what stands in a line, for machines and for people."""

from __future__ import annotations

import io
import json
import logging

import pytest

from storage.settings import Settings
from worker import logs

log = logging.getLogger("test.room")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def root_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_for_machines_is_one_json_object(capsys):
    written = io.StringIO()
    logs.configure(Settings().log, written)
    with logs.log_context(job_id="job_1", attempt=2):
        log.info("one of %d", 2, extra={"seconds": 1.5})
        try:
            raise KeyError("lost")
        except KeyError:
            log.exception("two\nlines")
    log.info("after")
    first, second, third = (json.loads(line) for line in written.getvalue().splitlines())
    assert list(first)[:4] == ["time", "level", "logger", "message"]
    assert (first["level"], first["logger"], first["message"]) == ("info", "test.room", "one of 2")
    assert (first["job_id"], first["attempt"], first["seconds"]) == ("job_1", 2, 1.5)
    assert "KeyError" in second["exception"] and second["job_id"] == "job_1"
    assert "job_id" not in third


def test_on_a_terminal_lines_are_for_people():
    screen = Terminal()
    logs.configure("auto", screen)
    with logs.log_context(job_id="job_1"):
        log.warning("careful")
    assert "careful" in screen.getvalue() and "job_1" in screen.getvalue()
    assert not screen.getvalue().startswith("{")


def test_a_style_can_be_asked_for():
    screen, file = Terminal(), io.StringIO()
    logs.configure("json", screen)
    log.info("x")
    logs.configure("human", file)
    log.info("y")
    assert json.loads(screen.getvalue())["message"] == "x"
    assert "y" in file.getvalue() and not file.getvalue().startswith("{")


def test_a_thread_carries_what_was_bound_where_it_was_made():
    written = io.StringIO()
    logs.configure("json", written)
    with logs.log_context(job_id="job_1"):
        thread = logs.context_thread(lambda: log.info("beat"), "lease")
    thread.start()
    thread.join()
    assert json.loads(written.getvalue())["job_id"] == "job_1"


def test_lines_of_a_job_name_it_and_its_attempt(house):
    written = io.StringIO()
    logs.configure("json", written)
    subject = house.submit_subject(previews=True)
    house.work()
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    told = {
        (line["job_id"], line["kind"], line["attempt"]) for line in lines if line["logger"] == "worker.jobs.pipeline"
    }
    made = house.subject(subject).jobs
    assert told == {(job.id, job.kind, 1) for job in made}
