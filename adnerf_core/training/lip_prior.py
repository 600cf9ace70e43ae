"""Prior of lips: learns from the speech of several people what speech does to the mouth, for subjects that are trained later.

It goes on from the shipped pretrained encoders, which know synthetic speech alone, with the sound and the mouth distances of datasets; no
picture is read. Each network of an encoder learns without one group of the people. So all people are predicted by networks that have
never heard them, by the same weights before and after, and these figures decide whether the prior is better than the shipped one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from adnerf_core.audio.encoder import MEMBERS, AudioEncoder, select
from adnerf_core.audio.features import LATEST, feature_class, streams
from adnerf_core.audio.pretrained_encoder import LAYERS, MIN_STD, NUM_DISTANCES, load_pretrained, serialize_prior
from adnerf_core.audio.train_encoder import EVALUATION_BATCH, FOLDS, EncoderData, fit, interpolate
from adnerf_core.audio.windows import LENGTH, STEPS_PER_FRAME, windows
from adnerf_core.config import FPS
from adnerf_core.data.dataset import SubjectDataset
from adnerf_core.errors import NotReady
from adnerf_core.face.lip_pca import mouth_distances
from adnerf_core.files.run_dir import atomic
from adnerf_core.progress import Progress, silent

FEATURES = LATEST["mel+phones"]
"""The audio features of a prior. Datasets of earlier versions have others, and take no part."""
STEPS = 300
"""Steps of each encoder. With 22 people, 600 and 1,200 cost more and brought .679 and .672 instead of .681 (docs/fidelity.md)."""
SHIPPED_WEIGHT = 0.25
"""Share of the shipped weights in the prior (Wortsman et al., "Robust fine-tuning of zero-shot models", 2022). People who were left out are
followed best with it: with 6 people .585 (with none of the shipped weights .567, with nothing else .481), with 26 .654 (.649, .539; see
docs/fidelity.md)."""
SEED = 0
MAX_FRAMES = 120 * FPS
"""Frames of each person, from the beginning on: long footage must not outweigh the other people's. It bounds the memory, too."""
MIN_FRAMES = 5 * FPS
"""Valid frames below which a dataset takes no part: a correlation over fewer is mostly chance."""
MIN_PEOPLE = 2
"""With one, nobody is left to be predicted."""
MAX_LAG = LENGTH // STEPS_PER_FRAME
"""Largest offset between sound and lips that is looked for, frames (320 ms). Short footage is stored with offsets up to 120 ms, which
preprocessing could not measure for certain; as many frames of silence separate two people."""
MIN_LAG_GAIN = 0.05
"""Correlation that an offset must gain to be believed: by less, the best of the lags is better than none by chance."""
MIN_EVIDENCE = 1.0
"""And the least correlation with it, times the square root of the footage's seconds. Of sound and lips that do not belong together, one of a
hundred pairs of 5 s reaches .46 at its best lag (docs/fidelity.md)."""
MIN_GAIN = 0.01
"""Least gain of the mean correlation with which a prior is adopted: as much as two pretrainings on the same speech differ by chance
(docs/fidelity.md)."""


class Person(NamedTuple):
    """What is learnt of a person.

    Attributes:
        features: of the speech; zeros at the end separate it from the next person's.
        distances: mouth_distances of each frame, standardised; NaN where the frame is not valid.
    """

    features: Float[Tensor, "steps width"]
    distances: Float[Tensor, "frames distances"]


class Following(NamedTuple):
    """How well networks that have never heard a person follow the opening of the mouth.

    Attributes:
        correlation: of the predicted with the true opening.
        amplitude: standard deviation of the predicted opening over that of the true one.
    """

    correlation: float
    amplitude: float


def learn_prior(datasets: Mapping[str, Path], out: Path, progress: Progress = silent) -> dict[str, Any]:
    """Learns a prior of lips, and writes it to `out`. The same datasets give the same file.

    Args:
        datasets: folders of datasets by the names of the people, which may hold no more than dataset.json, features.npy and track.npz.
        out: the file, to be named as TrainConfig.lip_prior.
        progress: is called in the stage "audio".

    Returns:
        `before` and `after`: the mean Following, as a dict, of the shipped encoders and of the prior. `people`: both of these for each
        person who took part. `better`: whether the prior is worth to be used: the mean correlation rises by MIN_GAIN or more, and that of most
        people rises. The amplitude does not decide, because a subject's training calibrates it anew.

    Raises:
        NotReady: fewer than MIN_PEOPLE datasets can take part.
        DiskFull: there is no space for the file.
    """
    shipped = {layer: load_pretrained(layer) for layer in LAYERS[FEATURES]}
    people = {
        name: put_in_time(person, shipped)
        for name, folder in datasets.items()
        if (person := read_person(folder)) is not None
    }
    if len(people) < MIN_PEOPLE:
        raise NotReady(
            f"A prior of lips is learnt from {MIN_PEOPLE} people or more; {len(people)} of {len(datasets)} datasets can take part.",
            f"Add people with {MIN_FRAMES // FPS} s of footage or more; datasets of earlier versions take no part.",
        )
    features = torch.cat([person.features for person in people.values()])
    distances = torch.cat([person.distances for person in people.values()])
    owners = torch.cat([torch.full((len(person.distances),), n) for n, person in enumerate(people.values())])
    frames = distances[:, 0].isfinite().nonzero()[:, 0]
    owners = owners[frames]
    train_mask = leave_out_people(owners, len(people))
    layers, spectrum_width = LAYERS[FEATURES], feature_class(FEATURES).spectrum_width
    encoders, predicted = {}, []
    for number, (layer, stream) in enumerate(zip(layers, streams(FEATURES, features.shape[1]), strict=False)):
        data = EncoderData(select(features, stream), spectrum_width, distances, frames)
        learnt = fit(
            load_pretrained(layer),
            data,
            train_mask,
            STEPS,
            SEED,
            lambda _, done, total, part=number: progress("audio", part + done / total, len(layers)),
        )
        interpolate(learnt, shipped[layer].state_dict(), SHIPPED_WEIGHT)
        encoders[layer] = learnt
        predicted.append(torch.stack([predict_unheard(each, data, train_mask) for each in (shipped[layer], learnt)]))
    with atomic(out) as temporary:
        temporary.write_bytes(serialize_prior(encoders))
    progress("audio", len(layers), len(layers))
    before, after = torch.stack(predicted).mean(0)
    opening = distances[frames, 0]
    return figures(list(people), owners, opening, before, after)


def read_person(folder: Path) -> Person | None:
    """Reads the training part of a dataset.

    Returns:
        None if it cannot take part: it is of another version, its features are others, or too little is seen or moves.
    """
    try:
        dataset = SubjectDataset(folder)
    except NotReady:
        return None
    if dataset.manifest["features"]["name"] != FEATURES:
        return None
    track, count = dataset.track(), min(dataset.held_out_from, MAX_FRAMES)
    valid = track.valid[:count]
    if valid.sum() < MIN_FRAMES:
        return None
    measured = mouth_distances(track.canonical_landmarks[:count][valid])
    if measured.std(0).min() < MIN_STD:
        return None
    distances = np.full((count + LENGTH // STEPS_PER_FRAME, NUM_DISTANCES), np.nan, np.float32)
    distances[:count][valid] = (measured - measured.mean(0)) / measured.std(0)
    features = dataset.features()[: count * STEPS_PER_FRAME]
    padded = np.zeros((len(distances) * STEPS_PER_FRAME, features.shape[1]), np.float32)
    padded[: len(features)] = features
    return Person(torch.from_numpy(padded), torch.from_numpy(distances))


@torch.no_grad()
def put_in_time(person: Person, shipped: Mapping[int, AudioEncoder]) -> Person:
    """Moves the lips of a person to the time at which the shipped encoders follow them best, if that is clearly better than as they are.

    Lips that are some frames away from their sound would teach wrong timing to everybody.

    Args:
        person: what was read.
        shipped: the encoder of each layer of FEATURES.
    """
    told = torch.zeros(len(person.distances))
    for encoder, stream in zip(shipped.values(), streams(FEATURES, person.features.shape[1]), strict=False):
        features = select(person.features, stream)
        parts = torch.arange(len(told)).split(EVALUATION_BATCH)
        told += torch.cat([encoder.member_codes(windows(features, part))[..., 0].mean(1) for part in parts])

    def moved(lag: int) -> Tensor:
        distances = person.distances.roll(lag, 0)
        distances[-MAX_LAG:] = torch.nan  # frames whose sound is not there; those at the start are NaN from the end
        return distances

    def followed(lag: int) -> float:
        opening = moved(lag)[:, 0]
        known = opening.isfinite()
        return compare(told[known], opening[known]).correlation

    best = max(range(-MAX_LAG, MAX_LAG + 1), key=followed)
    seconds = float(person.distances[:, 0].isfinite().sum()) / FPS
    least = max(followed(0) + MIN_LAG_GAIN, MIN_EVIDENCE / seconds**0.5)
    return person if followed(best) < least else person._replace(distances=moved(best))


def leave_out_people(owners: Int64[Tensor, " n"], people: int) -> Bool[Tensor, "n members"]:
    """Returns which networks learn from which frames: each leaves out one of FOLDS groups of people, or of as many as there are people.

    Args:
        owners: number of the person in each frame.
        people: number of people.
    """
    groups = min(FOLDS, people)
    return (owners % groups)[:, None] != torch.arange(MEMBERS) % groups


@torch.no_grad()
def predict_unheard(
    encoder: AudioEncoder, data: EncoderData, train_mask: Bool[Tensor, "n members"]
) -> Float[Tensor, " n"]:
    """Predicts the opening in `data.frames`, each by the mean of those networks that `train_mask` excludes from it."""
    codes = torch.cat(
        [encoder.member_codes(windows(data.features, part))[..., 0] for part in data.frames.split(EVALUATION_BATCH)]
    )
    return codes.masked_fill(train_mask, 0).sum(1) / (~train_mask).sum(1)


def figures(
    names: list[str],
    owners: Int64[Tensor, " n"],
    opening: Float[Tensor, " n"],
    before: Float[Tensor, " n"],
    after: Float[Tensor, " n"],
) -> dict[str, Any]:
    """Compares the predictions `before` and `after` with the true opening, person by person; see learn_prior."""
    told = {
        name: {
            when: compare(predicted[owners == number], opening[owners == number])
            for when, predicted in (("before", before), ("after", after))
        }
        for number, name in enumerate(names)
    }
    means = {
        when: Following(*np.mean([person[when] for person in told.values()], axis=0).tolist())
        for when in ("before", "after")
    }
    gains = [person["after"].correlation - person["before"].correlation for person in told.values()]
    return {
        **{when: following._asdict() for when, following in means.items()},
        "people": {name: {when: each._asdict() for when, each in person.items()} for name, person in told.items()},
        "better": bool(np.mean(gains) >= MIN_GAIN and np.mean(np.array(gains) > 0) > 0.5),
    }


def compare(predicted: Float[Tensor, " n"], true: Float[Tensor, " n"]) -> Following:
    """Compares a predicted with the true opening."""
    correlation = torch.corrcoef(torch.stack([predicted, true]))[0, 1]
    return Following(float(correlation), float(predicted.std() / true.std()))
