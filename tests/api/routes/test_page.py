"""The page as it is served: one policy, own files only."""

import re

import pytest

from api.routes.page import STATIC

FILES = sorted(path for path in STATIC.rglob("*") if path.is_file())


def test_the_page_allows_only_its_own_resources(client):
    answer = client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(rule.partition(" ")[::2] for rule in answer.headers["content-security-policy"].split("; "))
    assert (policy["default-src"], policy["script-src"], policy["style-src"]) == ("'none'", "'self'", "'self'")
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert not re.search(r"unsafe|http|\*", answer.headers["content-security-policy"])
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_page_s_files_are_served_and_name_no_other_host(client, path):
    answer = client.get(f"/static/{path.relative_to(STATIC)}")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
    assert client.get(answer.url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    if "vendor" in path.parts:
        return  # another project's text, with its own links; the policy above keeps it from asking other hosts
    hosts = set(re.findall(r"https?://[\w.]+", answer.text))
    assert hosts <= {"http://www.w3.org"}, "the name of SVG's namespace is no address"
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", answer.text)
    most = 550 if path.suffix == ".css" else 500 if path.parent.name == "texts" else 300
    assert answer.text.count("\n") < most


def test_all_files_that_the_page_loads_exist(client):
    for path in FILES:
        folder = f"/static/{path.relative_to(STATIC).parent}/"
        imports = re.findall(r'from "(\.[^"]+)"', path.read_text()) if path.suffix == ".js" else []
        for each in imports:
            assert client.get(folder + each).status_code == 200, (path, each)
    for each in re.findall(r'(?:src|href)="(/[^"]*)"', client.get("/").text):
        assert client.get(each).status_code == 200, each


def test_every_language_has_the_same_texts():
    texts = {path.stem: path.read_text() for path in (STATIC / "js" / "texts").iterdir()}
    keys = {name: re.findall(r'^  "(.+?)":', text, re.MULTILINE) for name, text in texts.items()}
    assert set(keys) == {"en", "de", "zh"} and len(keys["en"]) == len(set(keys["en"])) > 200
    assert keys["de"] == keys["zh"] == keys["en"]
    holes = {name: sorted(re.findall(r"\{\w+\}", text)) for name, text in texts.items()}
    assert holes["de"] == holes["zh"] == holes["en"], "no figure is lost in translation"


def test_files_outside_the_folder_are_not_served(client):
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/js", "/static/nothing.js"):
        assert client.get(path).status_code == 404
