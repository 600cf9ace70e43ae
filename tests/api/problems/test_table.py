"""The table of problems holds every code that can reach a client, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import api
from api.problems.problems import _CODE_BY_STATUS
from api.problems.table import PROBLEMS
from storage.errors import ServiceFault, StorageError

LITERAL = re.compile(r'\bProblem\(\s*"(\w+)"')
SOURCES = Path(api.__file__).parent.rglob("*.py")


def leaves(base: type[StorageError]) -> set[type[StorageError]]:
    children = base.__subclasses__()
    return {base} if not children else set().union(*map(leaves, children))


def test_every_code_that_can_reach_a_client_is_in_the_table_and_no_other():
    of_storage = {error.code for error in leaves(StorageError) if not issubclass(error, ServiceFault)}
    of_the_api = {code for source in SOURCES for code in LITERAL.findall(source.read_text())}
    assert set(PROBLEMS) == of_storage | of_the_api | set(_CODE_BY_STATUS.values())


def test_an_error_of_storage_and_its_problem_have_the_same_remedy():
    for error in leaves(StorageError):
        if error.code in PROBLEMS:
            assert PROBLEMS[error.code].remedy == error.remedy
            assert "remedy" in vars(error), f"{error.__name__} has no remedy of its own"


def test_titles_are_phrases_and_the_rest_are_sentences():
    for code, problem in PROBLEMS.items():
        assert not problem.title.endswith("."), code
        assert problem.remedy.endswith(".") and problem.explanation.endswith("."), code
