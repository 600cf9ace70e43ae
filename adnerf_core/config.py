"""Every knob of the core, as frozen pydantic models; no torch here, so that the API may import these types.

A run stores its resolved configuration in run.json, so defaults may change without changing what old runs mean.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

TORSO_REGION_CELLS = 64
"""Cells an edge of the map that says where the torso was ever seen."""

FPS = 25
"""Frames a second, everywhere inside: footage is resampled to it and videos are rendered at it."""

SAMPLE_RATE = 16_000
"""Samples a second of audio, everywhere inside."""

MARK_BITS = 48
"""Bits of the number that a video can carry invisibly (mark.py)."""

TrackerName = Literal["facemesh", "landmarker"]
FeatureName = Annotated[str, Field(pattern=r"^(mel|mel\+phones|(wav2vec2|hubert)(:.+)?)$")]
"""Audio features: mel, mel+phones, or wav2vec2 or hubert, with the folder or hub id of their weights after a colon."""
DeviceName = Literal["cpu", "cuda"]
VideoFormat = Literal["mp4", "webm"]
PresetName = Literal["draft", "standard", "high", "paper"]


class Config(BaseModel):
    """Base: unknown names are refused, values do not change after construction."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PreprocessConfig(Config):
    """How a reference video becomes a dataset."""

    tracker: TrackerName = "facemesh"
    tracker_model: str | None = Field(None, description="model file of the `landmarker` tracker (face_landmarker.task)")
    features: FeatureName = "mel+phones"
    max_size: int = Field(512, ge=64, le=1024, description="edge of the stored square portrait, px, at most")
    held_out: float = Field(1 / 11, gt=0, lt=0.5, description="part at the end that training never sees")
    min_seconds: float = Field(8.0, description="usable footage, s, at least")
    max_seconds: float = Field(600.0, description="footage beyond this is not read, s")


class FieldConfig(Config):
    """Shape of the two fields and of the audio encoder."""

    planes: tuple[int, int] = Field((48, 160), description="resolutions of the head's plane x, y, texels an edge")
    sides: int = Field(64, description="and of its planes x, z and y, z")
    channels: int = Field(8, description="features a plane and resolution")
    hidden: int = Field(64, description="width of the head's MLP")
    ray_features: int = Field(16, description="features accumulated along a ray and decoded once")
    lip_code: int = Field(6, description="numbers that the sound contributes to the condition")
    torso_planes: tuple[int, int] = Field((64, 192), description="resolutions of the torso's planes")


class MarchConfig(Config):
    """How rays are sampled (see rendering/proposal_rays.py). The aliases are the keys in run.json and subject.json."""

    model_config = ConfigDict(populate_by_name=True)

    grid: int = Field(64, description="cells an edge of the cached density grid")
    lookups: int = Field(48, description="grid look-ups a ray, to cull and to draw samples")
    samples: int = Field(12, description="field evaluations a surviving ray, in training")
    samples_proposal: int = Field(
        8, alias="scout", description="field evaluations of a block's proposal ray, in rendering"
    )
    samples_smooth: int = Field(8, alias="few", description="field evaluations a ray in smooth blocks, in rendering")
    samples_edge: int = Field(
        14, alias="careful", description="field evaluations a ray in edge blocks and in changed views, in rendering"
    )


class PaperConfig(Config):
    """AD-NeRF's own networks, sampling and schedule (ICCV 2021); the defaults are the published ones."""

    layers: int = Field(8, ge=2, description="of the trunk of each net; its input is joined again after the half")
    width: int = Field(256, description="of the trunk; the colour's layers are half as wide")
    audio_code: int = Field(64, description="numbers that the sound contributes to the condition")
    point_bands: int = Field(10, description="frequencies of the positional encoding of places")
    view_bands: int = Field(4, description="likewise of viewing directions")
    pose_bands: int = Field(3, description="likewise of the head's pose, for the torso")
    coarse: int = Field(64, description="stratified samples a ray")
    fine: int = Field(128, description="samples a ray drawn from what the coarse net saw")
    torso_rays: int = Field(1024, description="rays a step of the torso phase")
    face_share: float = Field(0.95, ge=0, le=1, description="share of the rays that is cast where the phase looks")
    attention_from: float = Field(0.5, ge=0, le=1, description="part of the head phase after which AudioAttNet works")
    rate: float = Field(5e-4, description="Adam's learning rate")
    decay_steps: int = Field(250_000, description="steps in which the learning rate falls to a tenth")
    warmup_steps: int = Field(2_000, description="steps in which the masks help the fields to become opaque")
    chunk: int = Field(1024, description="rays rendered at once, which bounds the memory")


class TrainConfig(Config):
    """Schedule of one run. `size` None means: 256 px on a CPU, 512 px with CUDA."""

    preset: PresetName = "standard"
    size: int | None = Field(None, ge=32, le=1024)
    seed: int = 0
    device: DeviceName = "cpu"
    audio_steps: int = 600
    head_steps: int = 5000
    torso_steps: int = 4000
    rays: int = Field(4096, description="rays a step, drawn from `frames_per_step` frames")
    frames_per_step: int = 4
    checkpoint_every: int = Field(500, description="steps between checkpoints")
    field: FieldConfig = FieldConfig()
    march: MarchConfig = MarchConfig()
    paper: PaperConfig | None = Field(None, description="the paper's networks in the place of `field` and `march`")


PRESETS: dict[str, TrainConfig] = {
    "draft": TrainConfig(preset="draft", size=128, head_steps=1500, torso_steps=1500),
    "standard": TrainConfig(preset="standard", field=FieldConfig(planes=(64, 256), torso_planes=(64, 320))),
    "high": TrainConfig(
        preset="high",
        size=512,
        head_steps=8000,
        field=FieldConfig(planes=(64, 384), torso_planes=(96, 512)),
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


class ViewChange(Config):
    """A change of view, added to the pose of the track. All zero (zoom 1): no change."""

    yaw_deg: float = Field(0.0, ge=-30, le=30, description="turn of the head to its left, degrees")
    pitch_deg: float = Field(0.0, ge=-30, le=30, description="nod upwards, degrees")
    roll_deg: float = Field(0.0, ge=-30, le=30, description="tilt, clockwise in the picture, degrees")
    zoom: float = Field(1.0, ge=0.5, le=2.0, description="scale of the person in the picture")
    x: float = Field(0.0, ge=-0.5, le=0.5, description="shift to the right, in widths of the picture")
    y: float = Field(0.0, ge=-0.5, le=0.5, description="shift down, in heights of the picture")


class ViewLimits(Config):
    """How far a view can turn a subject, [least, most] degrees of each angle of ViewChange.

    Further round the footage shows nothing of the head: more than that is asked for in vain, these are used instead.
    """

    yaw_deg: tuple[float, float]
    pitch_deg: tuple[float, float]
    roll_deg: tuple[float, float]


class Background(Config):
    """What stands behind the person. `image` takes the file given beside the options, `transparent` needs format webm."""

    kind: Literal["original", "color", "image", "transparent"] = "original"
    color: str | None = Field(None, pattern=r"^#[0-9a-fA-F]{6}$", description="for kind `color`: #rrggbb")

    @model_validator(mode="after")
    def _color_where_needed(self):
        if self.kind == "color" and self.color is None:
            raise ValueError("background kind `color` needs `color` as #rrggbb")
        if self.kind != "color" and self.color is not None:
            raise ValueError("`color` goes with background kind `color` only")
        return self


LabelText = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$")]


class RenderOptions(Config):
    """What a client may choose for one video."""

    size: int | None = Field(
        None, ge=64, le=1024, description="edge of the video, px (odd ones are made even); default: the subject's own"
    )
    pose: Literal["track", "still"] = "track"
    view: ViewChange = ViewChange()
    background: Background = Background()
    format: VideoFormat = Field("mp4", validate_default=True, description="mp4: H.264, AAC; webm: VP9, Opus")
    seed: int = Field(0, ge=0, lt=2**31, description="of the blinks and the sway of a still pose")
    label: bool | LabelText = Field(False, description="words shown in a corner; true: `AI-generated`")

    @field_validator("format")
    @classmethod
    def _alpha_needs_webm(cls, value: str, info: Any) -> str:
        background = info.data.get("background")  # absent where it was refused itself
        if value != "webm" and background is not None and background.kind == "transparent":
            raise ValueError("background kind `transparent` needs format `webm`: mp4 has no transparency")
        return value
