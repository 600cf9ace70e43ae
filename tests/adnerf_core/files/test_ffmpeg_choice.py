"""Which ffmpeg is run: the packaged one, or a named one that has all that is needed."""

from __future__ import annotations

import os
import shlex

import pytest

from adnerf_core.errors import MissingBackend
from adnerf_core.files import ffmpeg, ffmpeg_choice
from tests.adnerf_core.files.clock import script


def test_an_ffmpeg_on_the_path_is_not_used(tmp_path, monkeypatch):
    script(tmp_path / "ffmpeg", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv(ffmpeg_choice.SETTING, raising=False)
    assert "imageio_ffmpeg" in ffmpeg.ffmpeg_path() and ffmpeg.ffmpeg_version().endswith(", packaged")


def test_a_named_ffmpeg_that_has_all_is_used(tmp_path, monkeypatch):
    packaged = ffmpeg_choice.checked_ffmpeg("")
    named = script(tmp_path / "mine", f'exec {shlex.quote(packaged)} "$@"')
    monkeypatch.setenv(ffmpeg_choice.SETTING, named)
    assert ffmpeg.ffmpeg_path() == named and ffmpeg.ffmpeg_version().endswith(", named by ADNERF_FFMPEG")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("exit 1", "does not run"),
        ("sleep 60", "does not run"),
        ('exec {packaged} "$@" | grep -v zscale', "lacks zscale"),
    ],
)
def test_a_named_ffmpeg_that_lacks_something_is_refused(tmp_path, monkeypatch, text, words):
    """With the reason, in the same way for whatever needs it; the version says so, too."""
    monkeypatch.setattr(ffmpeg_choice, "TRIAL_SECONDS", 1.5)
    packaged = ffmpeg_choice.checked_ffmpeg("")
    monkeypatch.setenv(ffmpeg_choice.SETTING, script(tmp_path / "mine", text.format(packaged=shlex.quote(packaged))))
    with pytest.raises(MissingBackend, match=words) as caught:
        ffmpeg.ffmpeg_path()
    assert ffmpeg_choice.SETTING in caught.value.remedy and words in ffmpeg.ffmpeg_version()
