"""The configuration: names in Python and on disk, and options that exclude one another."""

import pytest
from pydantic import ValidationError

from adnerf_core.config import Background, MarchConfig, RenderOptions, TrainConfig, ViewChange

TURNED, BLUE = {"yaw_deg": 5}, {"kind": "color", "color": "#204060"}


def test_the_samples_keep_their_keys_on_disk():
    config = TrainConfig(march=MarchConfig(samples_pixel=5, samples_detailed=6, samples_proposal=7))
    stored = config.model_dump(by_alias=True)
    assert (stored["march"]["samples_pixel"], stored["march"]["careful"], stored["march"]["scout"]) == (5, 6, 7)
    assert TrainConfig(**stored) == config
    assert TrainConfig(**config.model_dump()) == config
    stored["march"] |= {"few": 8, "samples_outline": 10}  # of runs of an earlier version
    assert TrainConfig(**stored) == config


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, []),
        ({"view": ViewChange(), "background": Background(), "motion": 1}, []),
        ({"pose": "still", "seed": 5, "label": True, "size": 1920, "format": "webm"}, []),
        ({"motion": 0}, ["motion"]),
        ({"motion": 1.5, "view": TURNED, "background": BLUE}, ["view", "background", "motion"]),
        ({"background": {"kind": "transparent"}, "format": "webm"}, ["background"]),
    ],
)
def test_options_that_only_a_portrait_can_show_are_named_and_exclude_a_full_frame(options, names):
    assert RenderOptions(**options).portrait_only() == names
    if not names:
        assert RenderOptions(**options, frame="full").frame == "full"
        return
    with pytest.raises(ValidationError) as caught:
        RenderOptions(**options, frame="full")
    (error,) = caught.value.errors()
    assert error["loc"] == ("frame",)
    assert all(f"`{name}`" in error["msg"] for name in names) and "frame `portrait`" in error["msg"]
    assert RenderOptions(**options, frame="portrait").portrait_only() == names


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({"size": 1920}, True),
        ({"size": 1921}, False),
        ({"size": 1920, "frame": "full"}, True),
        ({"size": 1024, "frame": "portrait"}, True),
        ({"size": 1025, "frame": "portrait"}, False),
        ({"size": 1024, "view": TURNED}, True),
        ({"size": 1025, "view": TURNED}, False),
    ],
)
def test_a_portrait_is_smaller_than_a_full_frame(options, allowed):
    if allowed:
        assert RenderOptions(**options).size == options["size"]
        return
    with pytest.raises(ValidationError) as caught:
        RenderOptions(**options)
    assert [error["loc"] for error in caught.value.errors()] == [("size",)]


@pytest.mark.parametrize("motion", [-0.1, 1.6, float("nan")])
def test_the_motion_has_a_range(motion):
    with pytest.raises(ValidationError):
        RenderOptions(motion=motion)
