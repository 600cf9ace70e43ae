"""What belongs to no single resource: documentation, the shape of errors, what the process loads."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from adnerf_core import errors as core
from api.problems.table import PROBLEMS
from api.responses import serializers
from api.schemas.problem_details import ProblemDetails
from storage.errors import BadCertificate
from storage.tables import jobs
from tests.api.conftest import check_problem
from worker.provenance import inspection

ROOT = Path(__file__).resolve().parents[2]


def test_the_framework_s_own_errors_are_problems(client):
    check_problem(client.get("/v2"), "not_found")
    for method, path, allowed in (
        ("PUT", "/v1/subjects", "GET, HEAD, POST"),
        ("POST", "/v1/subjects/sub_0", "GET, HEAD, PATCH, DELETE"),
        ("DELETE", "/v1/videos/vid_0/file", "GET, HEAD"),
        ("GET", "/v1/jobs/job_0/cancel", "POST"),
    ):
        answer = client.request(method, path)
        check_problem(answer, "method_not_allowed")
        assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("secret"), "internal_error"),
        (OSError(5, "secret"), "internal_error"),
        (OSError(28, "No space left on device"), "disk_full"),
        (OperationalError("SELECT", {}, Exception("secret: database is locked")), "unavailable"),
    ],
)
def test_a_fault_of_the_service_is_a_problem_without_secrets(client, monkeypatch, error, code):
    def broken(*_):
        raise error

    monkeypatch.setattr(serializers, "subjects", broken)
    answer = client.get("/v1/subjects")
    check_problem(answer, code)
    assert "secret" not in answer.text


def test_the_documentation_is_there(client):
    assert "swagger" in client.get("/docs").text


def test_the_type_of_a_problem_leads_to_its_description(client):
    body = check_problem(client.get("/v1/jobs/job_0"), "not_found")
    page, _, place = body["type"].partition("#")
    assert f'id="{place}"' in client.get(page).text
    told = client.get(page)
    sections = set(re.findall(r'<section id="([\w-]+)">', told.text))
    assert {each for each in sections if not each.startswith("job-")} == set(PROBLEMS)
    assert {"job-no_face_found", "job-worker_lost", "job-out_of_memory"} <= sections
    style = re.search("<style>(.*)</style>", told.text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in told.headers["content-security-policy"]  # or browsers would show it bare


def test_openapi_types_every_answer(client):
    described = client.get("/openapi.json").json()
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(described)))
    assert references <= set(described["components"]["schemas"])
    assert not {"HTTPValidationError", "ValidationError"} & set(described["components"]["schemas"])
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"] and operation["description"], where
            for status, answer in operation["responses"].items():
                if status[0] in "45":
                    (media_type,) = answer["content"]
                    assert media_type == "application/problem+json", where
                    for code, example in answer["content"][media_type]["examples"].items():
                        ProblemDetails.model_validate(example["value"])
                        assert (example["value"]["code"], example["value"]["status"]) == (code, int(status))
                elif method != "head" and status not in ("204", "304", "307"):
                    assert answer["content"], f"{where} {status}"


def test_openapi_describes_the_forms(client):
    paths = client.get("/openapi.json").json()["paths"]
    form = paths["/v1/subjects"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    texts = {"upload_id", "name", "preset", "audio_track", "consent", "consent_by", "consent_upload_id", "face"}
    texts |= {"may_improve_others"}
    assert set(form["properties"]) == {"video", "consent_clip", "sample"} | texts
    assert form["properties"]["audio_track"]["type"] == "integer"
    assert set(form["required"]) == {"consent"}
    assert form["oneOf"] == [{"required": ["video"]}, {"required": ["upload_id"]}, {"required": ["sample"]}]
    assert form["properties"]["video"]["format"] == "binary"
    form = paths["/v1/videos"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    texts = {
        "upload_id",
        "duration_s",
        "subject_id",
        "options",
        "script",
        "voice",
        "speed",
        "title",
        "metadata",
        "priority",
    }
    assert set(form["properties"]) == {"audio", "background"} | texts
    assert set(form["required"]) == {"subject_id"}
    ways = ("audio", "upload_id", "script", "duration_s")
    assert sorted(each["required"] for each in form["oneOf"]) == sorted([way] for way in ways)


def test_every_code_has_a_heading_in_the_documentation():
    headings = set(re.findall(r"^#+ `(\w+)`", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE))

    def codes(kind):
        return {kind.code} | {code for each in kind.__subclasses__() for code in codes(each)}

    abstract = {core.MediaError.code, core.FootageError.code}
    of_the_command_alone = {core.BadFolder.code}
    assert headings == set(PROBLEMS) | (codes(core.AdnerfError) - abstract - of_the_command_alone) | {
        jobs.WORKER_LOST["code"],
        BadCertificate.code,
        inspection.TOO_MUCH["code"],
        inspection.FAILED["code"],
    }


def test_the_service_loads_no_heavy_library():
    script = "import sys, api.app; api.app.create_app(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    heavy = {"torch", "cv2", "ai_edge_litert", "scipy", "skimage", "numpy", "freetype"}
    assert not heavy & set(loaded.split())
