"""The page as it is served: one policy, own files only."""

import os
import re
from pathlib import Path

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
    most = 500 if path.parent.name == "texts" else 400 if path.suffix == ".css" else 300
    assert answer.text.count("\n") < most


def test_all_files_that_the_page_loads_exist_and_are_named_in_advance(client):
    loaded = re.findall(r'(?:src|href)="(/[^"]*)"', client.get("/", headers={"Accept-Language": "de-CH, en"}).text)
    for each in loaded:
        assert client.get(each).status_code == 200, each
    named = {each.partition("/js/")[2] for each in loaded}
    assert "texts/de.js" in named and not {"texts/en.js", "texts/zh.js"} & named
    for path in FILES:
        folder = path.relative_to(STATIC).parent
        imports = re.findall(r'from "(\.[^"]+)"', path.read_text()) if path.suffix == ".js" else []
        for each in imports:
            assert client.get(f"/static/{folder}/{each}").status_code == 200, (path, each)
            assert Path(os.path.normpath(folder / each)).relative_to("js").as_posix() in named, each


def test_a_browser_keeps_the_files_of_a_version_and_asks_for_the_page(client):
    page = client.get("/")
    assert client.get("/", headers={"If-None-Match": page.headers["etag"]}).status_code == 304
    address = re.search(r'src="(/static/[0-9a-f]{16}/js/main\.js)"', page.text)[1]
    kept = client.get(address)
    assert "immutable" in kept.headers["cache-control"]
    assert (kept.headers["content-encoding"], kept.headers["vary"]) == ("gzip", "Accept-Encoding")
    plain = client.get(address, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.content == (STATIC / "js" / "main.js").read_bytes()
    assert plain.headers["etag"] != kept.headers["etag"]
    assert int(kept.headers["content-length"]) < len(plain.content) / 2
    other = client.get(f"/static/{'0' * 16}/js/main.js")  # a tab that was opened before an update
    assert (other.content, other.headers["cache-control"]) == (plain.content, "no-cache")


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
