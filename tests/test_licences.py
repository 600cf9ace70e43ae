"""docs/licences.md has every package that is installed, and no other licence than it says."""

from __future__ import annotations

import pytest

from tests import licences


def test_the_page_lists_the_packages_of_this_environment():
    written = set(licences.PAGE.read_text().splitlines())
    missing = [line for line in licences.page().splitlines() if line not in written]
    assert not missing, "run: make licences"
    assert licences.HTML.read_text() == licences.html(licences.PAGE.read_text())


def test_a_package_without_a_known_licence_is_noticed(tmp_path, monkeypatch):
    folder = tmp_path / "odd-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1\nLicense: Research only\n")
    with pytest.raises(ValueError, match="odd: what is its licence"):
        licences.licence(licences.Distribution.at(folder))
