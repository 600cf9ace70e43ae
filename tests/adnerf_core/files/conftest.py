from __future__ import annotations

from pathlib import Path

import pytest

from tests.adnerf_core.files.clock import clip


@pytest.fixture(scope="session")
def plain(tmp_path_factory) -> Path:
    """An MP4 of the test clip."""
    return clip(tmp_path_factory.mktemp("media") / "plain.mp4", "-pix_fmt", "yuv420p", "-movflags", "+faststart")
