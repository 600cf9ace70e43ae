"""All settings of the core, as frozen pydantic models. Does not import torch, so that the API can use the types.

A run stores its complete configuration in run.json, so a changed default does not change the meaning of older runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

TORSO_REGION_CELLS = 64
"""Side of the grid that marks where the torso appears in the footage, in cells: 8 px each at 512 px. Part of the model files."""

FPS = 25
"""Frames per second of datasets and videos: footage is resampled to it. AD-NeRF uses the same rate."""

FIRST_SEGMENT_FRAMES, SEGMENT_FRAMES = 2, FPS
"""Frames of the first and of each further segment of a video that is watched while it is rendered: a player needs a whole segment, so the
first is as short as one that moves can be, and a second is usual for live video. The last segment has what is left."""

SAMPLE_RATE = 16_000
"""Audio samples per second in the core; the speech encoders are trained at this rate."""

MARK_BITS = 48
"""Bits of the number that the watermark of a video can hold (watermark/spread_spectrum.py)."""

MAX_PORTRAIT_PX = 1024
"""Largest edge of a portrait: every pixel of it is rendered. A full frame has more, because most of them are the footage's."""

MIN_IDLE_S, MAX_IDLE_S = 1.0, 60.0
"""Bounds of the length of a video without speech, s: it loops, so that a minute is enough, and below a second it would twitch."""

MAX_AUDIO_TRACK = 1000
"""Highest number of a sound track that can be asked for: more than any file has, and little enough for a database's integer."""

TrackerName = Literal["facemesh", "landmarker"]
FeatureName = Annotated[str, Field(pattern=r"^(mel|mel\+phones|(wav2vec2|hubert)(:.+)?)$")]
"""Audio features: mel or mel+phones; or wav2vec2 or hubert, optionally with a colon and the folder or hub id of the weights."""
DeviceName = Literal["cpu", "cuda"]
VideoFormat = Literal["mp4", "webm"]
PresetName = Literal["draft", "standard", "high", "paper"]


class Config(BaseModel):
    """Base of the settings: unknown names are refused, and values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FaceChoice(Config):
    """Which of several faces is the person: the one that is at a place at a time."""

    x: float = Field(ge=0, le=1, description="Middle of the face, in widths of the picture from its left edge.")
    y: float = Field(ge=0, le=1, description="The same, in heights of the picture from its upper edge.")
    second: float = Field(0.0, ge=0, le=600, description="When it is there, seconds from the start.")


class PreprocessConfig(Config):
    """Settings of preprocessing, which turns a reference video into a dataset."""

    tracker: TrackerName = "facemesh"
    tracker_model: str | None = Field(
        None, description="Model file of the tracker `landmarker` (face_landmarker.task)."
    )
    features: FeatureName = "mel+phones"
    max_size: int = Field(512, ge=64, le=1024, description="Largest edge of the stored square picture, px.")
    audio_track: int | None = Field(
        None,
        ge=1,
        le=MAX_AUDIO_TRACK,
        description="Sound track of the file to use, from 1 on; None for the one that holds speech.",
    )
    held_out: float = Field(
        1 / 11, gt=0, lt=0.5, description="Share of the footage, at its end, that is kept for the evaluation."
    )
    min_seconds: float = Field(8.0, description="Least usable footage, seconds.")
    max_seconds: float = Field(600.0, description="Footage after this time is ignored, seconds.")
    face: FaceChoice | None = Field(None, description="Which face, if there are several; None for the one that speaks.")


class FieldConfig(Config):
    """Sizes of the head field, the torso field and the speech code."""

    planes: tuple[int, int] = Field(
        (48, 160), description="Resolutions of the head field's x-y plane, texels per side."
    )
    sides: int = Field(64, description="Resolution of the head field's x-z and y-z planes.")
    channels: int = Field(8, description="Features per plane and resolution.")
    hidden: int = Field(64, description="Width of the head field's MLP.")
    ray_features: int = Field(16, description="Features that are accumulated along a ray and decoded to its color.")
    lip_code: int = Field(6, description="Size of the speech code that conditions the head field.")
    mouth_planes: int = Field(
        0, description="Number of feature planes of the mouth, from closed to wide open; 0: none, as in older subjects."
    )
    mouth_resolution: int = Field(64, description="Resolution of the mouth's planes, texels per side.")
    torso_planes: tuple[int, int] = Field((64, 192), description="Resolutions of the torso field's planes.")


class MarchConfig(Config):
    """How rays are sampled (see rendering/proposal_rays.py). The aliases are the keys in run.json and subject.json.

    Numbers in the files of older runs that nothing reads any more are ignored.
    """

    model_config = ConfigDict(populate_by_name=True, extra="ignore")

    grid: int = Field(64, description="cells along a side of the cached density grid")
    lookups: int = Field(48, description="grid look-ups a ray, to cull and to draw samples")
    samples: int = Field(12, description="field evaluations a surviving ray, in training")
    samples_proposal: int = Field(
        8, alias="scout", description="field evaluations of a block's proposal ray, in rendering"
    )
    samples_pixel: int = Field(8, description="field evaluations of a pixel's ray, in rendering")
    samples_detailed: int = Field(
        14, alias="careful", description="field evaluations a ray in changed views, in rendering"
    )


class PaperConfig(Config):
    """Networks, sampling and schedule of AD-NeRF (Guo et al., ICCV 2021); the defaults are those of its published code."""

    layers: int = Field(8, ge=2, description="Layers of each MLP's trunk; the input is concatenated again halfway.")
    width: int = Field(256, description="Width of the trunk; the color layers are half as wide.")
    audio_code: int = Field(64, description="Size of the speech code that conditions the fields.")
    point_bands: int = Field(10, description="Frequencies of the positional encoding of points.")
    view_bands: int = Field(4, description="Frequencies of the positional encoding of viewing directions.")
    pose_bands: int = Field(3, description="Frequencies of the positional encoding of the head pose, for the torso.")
    coarse: int = Field(64, description="Stratified samples per ray.")
    fine: int = Field(128, description="Samples per ray that are drawn from the weights of the coarse samples.")
    torso_rays: int = Field(1024, description="Rays per step of the torso phase.")
    face_share: float = Field(
        0.95, ge=0, le=1, description="Share of the rays inside the region of the phase: the face, or the lower half."
    )
    attention_from: float = Field(
        0.5, ge=0, le=1, description="Part of the head phase after which AudioAttNet is used."
    )
    rate: float = Field(5e-4, description="Learning rate of Adam.")
    decay_steps: int = Field(250_000, description="Steps after which the learning rate is a tenth.")
    warmup_steps: int = Field(2_000, description="Steps at the start in which the masks also supervise the opacity.")
    chunk: int = Field(1024, description="Rays that are rendered at once; bounds the memory.")


class TrainConfig(Config):
    """Settings of one training run."""

    preset: PresetName = "standard"
    size: int | None = Field(
        None, ge=32, le=1024, description="Edge of the picture, px; None for 256 on a CPU, 512 with CUDA."
    )
    seed: int = Field(0, description="Seed of all random draws; equal seeds give equal runs.")
    device: DeviceName = "cpu"
    cuda_graphs: bool = Field(
        False,
        description="With CUDA, start the kernels of a step of the fast fields at once, as CUDA graphs (never run on a GPU yet).",
    )
    audio_steps: int = Field(600, description="Steps of the audio encoder's training.")
    lip_prior: Path | None = Field(
        None,
        exclude=True,  # run.json would tell where this machine keeps its files; metrics.jsonl has its name
        description="Prior of lips that the audio encoders start from; None for the shipped one.",
    )
    head_steps: int = Field(5000, description="Steps of the head phase.")
    torso_steps: int = Field(4000, description="Steps of the torso phase.")
    rays: int = Field(4096, description="Rays per step, drawn from `frames_per_step` frames.")
    frames_per_step: int = Field(4, description="Frames that the rays of a step are drawn from.")
    checkpoint_every: int = Field(500, description="Steps between checkpoints.")
    field: FieldConfig = FieldConfig()
    march: MarchConfig = MarchConfig()
    paper: PaperConfig | None = Field(None, description="Use AD-NeRF's own networks instead of `field` and `march`.")


MOUTH_PLANES = 7
"""Number of the mouth's planes in the fast presets: one for 0.8 standard deviations of the opening (docs/decisions/0035-mouth-planes.md)."""

PRESETS: dict[str, TrainConfig] = {
    "draft": TrainConfig(
        preset="draft",
        head_steps=1500,
        torso_steps=1500,
        field=FieldConfig(planes=(64, 256), torso_planes=(64, 320), mouth_planes=MOUTH_PLANES),
    ),
    "standard": TrainConfig(
        preset="standard",
        head_steps=4000,
        torso_steps=1500,
        field=FieldConfig(planes=(64, 384), torso_planes=(64, 448), mouth_planes=MOUTH_PLANES),
    ),
    "high": TrainConfig(
        preset="high",
        size=512,
        head_steps=8000,
        torso_steps=6000,
        field=FieldConfig(planes=(64, 448), torso_planes=(96, 512), mouth_planes=MOUTH_PLANES),
    ),
    "paper": TrainConfig(
        preset="paper",
        audio_steps=0,
        head_steps=400_000,
        torso_steps=400_000,
        rays=2048,
        frames_per_step=1,
        checkpoint_every=5_000,
        paper=PaperConfig(),
    ),
}
"""The training settings by name: `draft` for a quick trial, `standard`, `high` for larger pictures, and `paper` for AD-NeRF as published,
which needs a GPU. docs/fidelity.md compares the steps and resolutions that were tried for `standard`; the README gives durations.
"""


class ViewChange(Config):
    """A change of view that is added to the head pose of the footage. The defaults change nothing."""

    yaw_deg: float = Field(0.0, ge=-30, le=30, description="Turn of the head to its left, degrees.")
    pitch_deg: float = Field(0.0, ge=-30, le=30, description="Nod upwards, degrees.")
    roll_deg: float = Field(0.0, ge=-30, le=30, description="Tilt, clockwise in the picture, degrees.")
    zoom: float = Field(1.0, ge=0.5, le=2.0, description="Scale of the person in the picture.")
    x: float = Field(0.0, ge=-0.5, le=0.5, description="Shift to the right, in widths of the picture.")
    y: float = Field(0.0, ge=-0.5, le=0.5, description="Shift down, in heights of the picture.")


class ViewLimits(Config):
    """Least and greatest angles that a ViewChange can turn a subject by, degrees. Larger angles are clamped to these limits.

    The footage does not show the parts of the head that become visible beyond them.
    """

    yaw_deg: tuple[float, float]
    pitch_deg: tuple[float, float]
    roll_deg: tuple[float, float]


class Background(Config):
    """The background behind the person. `image` uses the file sent with the options; `transparent` needs format webm."""

    kind: Literal["original", "color", "image", "transparent"] = "original"
    color: str | None = Field(None, pattern=r"^#[0-9a-fA-F]{6}$", description="Color for kind `color`, as #rrggbb.")

    @model_validator(mode="after")
    def _color_if_needed(self) -> Background:
        if self.kind == "color" and self.color is None:
            raise ValueError("background kind `color` needs `color` as #rrggbb")
        if self.kind != "color" and self.color is not None:
            raise ValueError("`color` is for background kind `color` only")
        return self


Hex = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
"""A colour."""

Aspect = Literal["source", "16:9", "9:16", "1:1", "4:5"]


class BurntCaptions(Config):
    """How captions are drawn into the picture."""

    size: Literal["small", "medium", "large"] = Field("medium", description="Size of the letters.")
    position: Literal["bottom", "middle", "top"] = Field("bottom", description="Where the captions are.")
    color: Hex = Field("#ffffff", description="Colour of the letters.")
    box: bool = Field(True, description="A dark box behind the letters; without it they have a dark outline.")


class Captions(Config):
    """The captions of a video."""

    file: Literal["srt", "vtt"] | None = Field(None, description="A caption file of this kind: links.captions.")
    burn: BurntCaptions | None = Field(None, description="Draw the captions into the picture.")

    @property
    def wanted(self) -> bool:
        """Whether there is to be a file or captions in the picture."""
        return self.file is not None or self.burn is not None


LabelText = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$")]
"""A text of one line that is not only white space."""


class RenderOptions(Config):
    """Options of one video. A validator sees the fields above its own."""

    pose: Literal["track", "still"] = Field(
        "track", description="Head motion: that of the footage, or a still pose with slight sway and blinks."
    )
    motion: float = Field(
        1.0,
        ge=0,
        le=1.5,
        description="Scale of the head motion: 0 none, 1 that of the pose. Other values need a portrait.",
    )
    view: ViewChange = ViewChange()
    background: Background = Background()
    frame: Literal["full", "portrait"] | None = Field(
        None,
        description="full: the frame of the footage, in which only what the lips move is rendered. portrait: a square, all of it "
        "rendered. Default: full, but portrait if view, background or motion needs it, or if the subject has no full frame.",
    )
    size: int | None = Field(
        None,
        ge=64,
        le=1920,
        description="Longest edge of the video, px, of a portrait at most 1024; the edges become even numbers. Default: that of the "
        "footage, for a portrait that of the subject.",
    )
    format: VideoFormat = Field(
        "mp4", validate_default=True, description="Container: mp4 has H.264 and AAC, webm has VP9 and Opus."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the blinks and the sway of a still pose.")
    label: bool | LabelText = Field(False, description="Text shown in a corner; true shows `AI-generated`.")
    aspect: Aspect = Field("source", description="Shape of the video, width to height; source: that of the frame.")
    fit: Literal["cover", "contain"] = Field(
        "cover",
        description="How the frame gets another shape. cover: it is cut, with the face in view. contain: all of it is shown, between "
        "`sides`.",
    )
    sides: Literal["blur"] | Hex = Field(
        "blur", description="What is beside the frame with `contain`: the frame, blurred, or a colour."
    )
    captions: Captions = Captions()

    def portrait_only(self) -> list[str]:
        """Returns the names of the options whose values only a portrait can show: `view`, `background`, `motion`."""
        return _portrait_only(dict(self))

    @field_validator("frame")
    @classmethod
    def _full_frame_is_the_footage(cls, value: str | None, info: Any) -> str | None:
        names = _portrait_only(info.data)
        if value == "full" and names:
            raise ValueError(
                f"{_quoted(names)} can only be changed with frame `portrait`: a full frame shows the footage as it is"
            )
        return value

    @field_validator("size")
    @classmethod
    def _portrait_is_smaller(cls, value: int | None, info: Any) -> int | None:
        if value is None or value <= MAX_PORTRAIT_PX:
            return value
        if info.data.get("frame") == "portrait":
            raise ValueError(f"a portrait has at most {MAX_PORTRAIT_PX} px")
        if names := _portrait_only(info.data):
            raise ValueError(
                f"a portrait has at most {MAX_PORTRAIT_PX} px, and {_quoted(names)} can only be changed in a portrait"
            )
        return value

    @field_validator("format")
    @classmethod
    def _alpha_needs_webm(cls, value: str, info: Any) -> str:
        background = info.data.get("background")  # absent if it was refused itself
        if value != "webm" and background is not None and background.kind == "transparent":
            raise ValueError("background kind `transparent` needs format `webm`: mp4 has no transparency")
        return value


def _portrait_only(options: Mapping[str, Any]) -> list[str]:
    """Returns the names of those among validated options whose values only a portrait can show."""
    unchanged = {"view": ViewChange(), "background": Background(), "motion": 1.0}
    return [name for name, value in unchanged.items() if options.get(name, value) != value]


def _quoted(names: list[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)
