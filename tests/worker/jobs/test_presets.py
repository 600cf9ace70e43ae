"""The preset that a client chose reaches the training."""

from __future__ import annotations

import io
import json
import zipfile
from typing import get_args

import pytest

from adnerf_core.config import PRESETS, PresetName


@pytest.mark.parametrize("preset", get_args(PresetName))
def test_training_gets_the_chosen_preset(house, preset):
    subject = house.submit_subject(preset=preset)
    house.work()
    with house.store.open(house.subject(subject).run_key) as file:
        run = json.loads(zipfile.ZipFile(io.BytesIO(file.read())).read("run.json"))
    wanted = PRESETS[preset].model_dump(mode="json", by_alias=True) | {"device": run["config"]["device"]}
    assert run["config"] == wanted and (run["config"]["paper"] is not None) == (preset == "paper")
