"""The finished subject: what rendering needs of a run, without its dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from safetensors.torch import load_file, save_file
from torch import Tensor

from adnerf_core.audio.features import AudioFeatures, load_features, streams
from adnerf_core.cameras.view_control import view_limits
from adnerf_core.config import TrainConfig, ViewLimits
from adnerf_core.data.dataset import SubjectDataset, Track
from adnerf_core.errors import NoSuchDevice, NotReady
from adnerf_core.face.lip_pca import LipPca
from adnerf_core.face.lip_region import lip_region
from adnerf_core.files.images import image_to_tensor, read_rgb, write_rgb
from adnerf_core.files.run_dir import RunDir, atomic, file_sha256, link_or_copy, read_json, write_json
from adnerf_core.models.adnerf import AdNerf
from adnerf_core.models.base import SceneGeometry, TalkingHeadModel
from adnerf_core.models.talking_head import TalkingHead
from adnerf_core.synthesis import older_subjects
from adnerf_core.synthesis.playback import PlayableFrames, Playback

VERSION = 6
"""Version of the files that save_subject writes. It changes if they or the networks change, and older runs must be trained again."""


@dataclass(frozen=True)
class Subject:
    """A trained model with the motion and the clean plate of its training footage.

    Attributes:
        model: The trained networks.
        features: Name of the audio features that the model takes.
        poses: Head poses of the footage, camera to world.
        torso: Torso motion of the footage (Track.torso).
        upper: Eyes, brows and gaze in the footage (Track.upper_face).
        background: The clean plate, colours 0..1.
    """

    model: TalkingHeadModel
    features: str
    poses: Float[Tensor, "frames 4 4"]
    torso: Float[Tensor, "frames 4"]
    upper: Float[Tensor, "frames 5"]
    background: Float[Tensor, "size size 3"]
    view_limits: ViewLimits
    lip_pca: LipPca | None = None
    """The meaning of the lip codes. None for the paper's networks, and for runs that were trained before it was stored."""
    playback: Playback | None = None
    """The footage for playing. None for runs that were trained before it was kept, or whose dataset lacks it: they can only be rendered
    as portraits."""

    @cached_property
    def extractor(self) -> AudioFeatures:
        """Computes the audio features; it stays loaded with the subject, since a recogniser takes a third of a second to load."""
        return load_features(self.features)

    @property
    def size(self) -> int:
        """Edge of the picture that the subject was trained with, px."""
        return self.model.geometry.camera.width


def build_model(config: TrainConfig, geometry: SceneGeometry, features: dict[str, Any]) -> TalkingHead | AdNerf:
    """Builds the networks that `config` asks for, with initial weights.

    Args:
        config: Settings of the training.
        geometry: Camera and extent of the scene.
        features: Audio features that the networks take: their `name` and `width`.
    """
    if config.paper is not None:
        return AdNerf(config.paper, geometry, features["width"])
    return TalkingHead(config.field, config.march, geometry, streams(features["name"], features["width"]))


def save_subject(
    run: RunDir,
    portrait: TalkingHead | AdNerf,
    config: TrainConfig,
    dataset: SubjectDataset,
    track: Track,
    playable: PlayableFrames,
    lip_pca: LipPca | None = None,
) -> None:
    """Writes into `run` what load_subject needs: weights, motion of the training footage, clean plate, the footage, subject.json.

    Args:
        run: the run.
        portrait: the trained model.
        config: settings of the training.
        dataset: the footage.
        track: its refined track.
        playable: what is known about its frames, all of them.
        lip_pca: the meaning of the lip codes.
    """
    with atomic(run.model) as temporary:
        save_file({name: value.contiguous() for name, value in portrait.state_dict().items()}, temporary)
    trained = slice(dataset.held_out_from)
    lips = {} if lip_pca is None else {"lip_mean": lip_pca.mean, "lip_components": lip_pca.components}
    with atomic(run.track) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            pose=track.pose[trained].astype(np.float32),
            torso=track.torso[trained],
            upper=track.upper_face()[trained],
            exposure=playable.exposure[trained],
            trusted=playable.trusted[trained],
            **lips,
        )
    write_rgb(run.background, dataset.background(config.size))
    value: dict[str, Any] = {
        "version": VERSION,
        "geometry": portrait.geometry.to_json(),
        "field": config.field.model_dump(),
        "march": config.march.model_dump(by_alias=True),
        "paper": config.paper.model_dump() if config.paper else None,
        "features": dataset.manifest["features"],
        "view_limits": view_limits(torch.from_numpy(track.pose[trained]).float()).model_dump(),
    }
    if dataset.footage is not None and playable.trusted[trained].any():
        link_or_copy(dataset.root / run.footage.name, run.footage)
        value["footage"] = dataset.footage | {"sha256": file_sha256(run.footage)}
        value["region"] = lip_region(track.canonical_landmarks[trained][track.valid[trained]]).tolist()
    write_json(run.subject, value)


def load_subject(run: RunDir, device: str = "cpu") -> Subject:
    """Loads a finished subject, ready for inference.

    Raises:
        NotReady: If the training is unfinished, or the run was written by another version.
        NoSuchDevice: If CUDA is asked for but missing.
    """
    if not run.done:
        raise NotReady(f"{run.root} holds no finished training.", "Let the training finish first.")
    if device == "cuda" and not torch.cuda.is_available():
        raise NoSuchDevice("CUDA is asked for, but torch finds no CUDA device.")
    value = read_json(run.subject)
    if value.get("version") != VERSION:
        raise NotReady(f"{run.root} was written by another version.", "Train it again.")
    networks = TrainConfig(field=value["field"], march=value["march"], paper=value.get("paper"))
    portrait = build_model(networks, SceneGeometry.from_json(value["geometry"]), value["features"])
    weights = load_file(run.model)
    with np.load(run.track) as arrays:
        poses, torso, upper = (torch.from_numpy(arrays[name]) for name in ("pose", "torso", "upper"))
        if upper.shape[1] == older_subjects.UPPER_FACE:
            weights, upper = older_subjects.widen_upper_face(weights, upper)
        stored = "lip_mean" in arrays
        lip_pca = LipPca(arrays["lip_mean"], arrays["lip_components"]) if stored else None
        playback = _playback(run, value, arrays, device) if "footage" in value else None
    portrait.load_state_dict(weights)
    return Subject(
        model=portrait.to(device).eval().requires_grad_(False),
        features=value["features"]["name"],
        poses=poses.to(device),
        torso=torso.to(device),
        upper=upper.to(device),
        background=image_to_tensor(read_rgb(run.background), device),
        view_limits=ViewLimits(**value["view_limits"]),
        lip_pca=lip_pca,
        playback=playback,
    )


def _playback(run: RunDir, value: dict[str, Any], arrays: Mapping[str, ndarray], device: str) -> Playback:
    """Returns the footage that subject.json (`value`) and track.npz (`arrays`) describe. Raises NotReady if the file is missing."""
    if not run.footage.exists():
        raise NotReady(f"{run.footage} is missing.", "Train the subject again.")
    footage = value["footage"]
    exposure, trusted = (torch.from_numpy(arrays[name]).to(device) for name in ("exposure", "trusted"))
    outline = torch.tensor(value["region"], device=device)
    crop = tuple(float(number) for number in footage["crop"])
    return Playback(run.footage, footage["width"], footage["height"], crop, exposure, trusted, outline)
