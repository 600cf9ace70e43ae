"""train_encoder: supervised regression from sound to the lips seen in the footage."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from adnerf_core.audio.augment import augment
from adnerf_core.audio.encoder import MEMBERS, AudioEncoder
from adnerf_core.audio.windows import windows
from adnerf_core.progress import Progress, silent

BATCH = 64
RATE, DECAY, EMA_DECAY = 3e-3, 0.3, 0.99
"""Peak learning rate, weight decay, and memory (part kept a step) of the averaged weights that are used in the end."""
BLOCKS = 5
"""Contiguous parts of the footage; each net of the ensemble learns without one of them, and MEMBERS / BLOCKS share one."""
PRETRAINED_WEIGHT = 0.3
"""Weight of the prior in the mean of its weights and those that the subject's footage led to (Wortsman et al., 2022): other
voices gain by it."""
MAX_ERROR_RATIO, MAX_GAIN = 1.1, 1.6
"""See calibrate."""


class CrossValidation(NamedTuple):
    """How predictions on parts that their nets never saw go with the truth, for each number of the code.

    correlation of the truth with the ensemble; spread: the ensemble's standard deviation over the truth's.
    """

    correlation: Float[Tensor, " code"]
    spread: Float[Tensor, " code"]


def train_encoder(
    encoder: AudioEncoder,
    features: Float[Tensor, "steps width"],
    codes: Float[Tensor, "frames code"],
    valid: Bool[Tensor, " frames"],
    *,
    spectrum: int,
    frames: range,
    steps: int,
    seed: int,
    from_prior: bool = False,
    progress: Progress = silent,
) -> dict[str, float]:
    """Trains `encoder` in place so that the sound around a frame gives the frame's lip code.

    `spectrum` says how much of the features is one (see AudioFeatures). Only `frames` (the training part) that are `valid` are
    learned from; `codes` may be NaN elsewhere. All numbers of the code count alike: weighing them by the variance they explain
    starves the small motions, in which m, b and p show.
    `from_prior` says that the encoder holds the prior (see start_from_prior), of which something is to remain.
    The same seed, data and initial weights give the same result. Stage of progress: "audio".

    Returns, for the first number of the code, from cross-validation inside the training part: `correlation` of predicted
    and true, `spread` (predicted over true, before the gain), `gain`.
    """
    numbers = torch.tensor(frames, device=valid.device)
    numbers = numbers[valid[numbers]]
    block = torch.arange(len(numbers), device=numbers.device) * BLOCKS // len(numbers)
    learns = block[:, None] != torch.arange(MEMBERS, device=numbers.device) % BLOCKS
    if not from_prior:
        standardise(encoder, features)
    start = copy.deepcopy(encoder.state_dict())
    average = copy.deepcopy(encoder).requires_grad_(False)
    encoder.requires_grad_(True)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=max(0.1, 2 / steps))
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        progress("audio", step, steps)
        drawn = torch.randint(len(numbers), (BATCH,), generator=generator).to(numbers.device)
        heard = augment(windows(features, numbers[drawn]), spectrum, generator)
        said = encoder.members(heard)
        truth = codes[numbers[drawn], None].expand_as(said)
        error = F.smooth_l1_loss(said, truth, reduction="none").mean(-1)
        loss = (error * learns[drawn]).sum() / BATCH
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        keep = min(EMA_DECAY, (1 + step) / (10 + step))
        for kept, new in zip(average.parameters(), encoder.parameters(), strict=True):
            kept.lerp_(new.detach(), 1 - keep)
    weight = PRETRAINED_WEIGHT if from_prior else 0.0
    encoder.load_state_dict({name: new.lerp(start[name], weight) for name, new in average.state_dict().items()})
    encoder.requires_grad_(False)
    agreement = cross_validate(encoder, features, codes, numbers, learns)
    encoder.gain.copy_(calibrate(agreement))
    progress("audio", steps, steps)
    return {
        "correlation": float(agreement.correlation[0]),
        "spread": float(agreement.spread[0]),
        "gain": float(encoder.gain[0]),
    }


def standardise(encoder: AudioEncoder, features: Float[Tensor, "steps width"]) -> None:
    """Tells the encoder the mean and the spread of the features that it will learn from."""
    encoder.mean.copy_(features.mean(0))
    encoder.spread.copy_(features.std(0).clamp(min=0.1))


@torch.no_grad()
def cross_validate(
    encoder: AudioEncoder,
    features: Float[Tensor, "steps width"],
    codes: Float[Tensor, "frames code"],
    numbers: Int64[Tensor, " n"],
    learns: Bool[Tensor, "n members"],
) -> CrossValidation:
    """Judges the ensemble by what each net says about the frames `numbers` that it did not learn from.

    The nets that left the same frames out make mistakes of their own, which a large ensemble averages away: what is left of
    the variance is what two of them share, their covariance.
    """
    said = torch.cat([encoder.members(windows(features, part)) for part in numbers.split(512)])
    unseen = said[~learns].view(len(numbers), MEMBERS // BLOCKS, -1)
    unseen = unseen - unseen.mean((0, 1))
    truth = codes[numbers] - codes[numbers].mean(0)
    together, own = unseen.sum(1).square().mean(0), unseen.square().sum(1).mean(0)
    pairs = unseen.shape[1] * (unseen.shape[1] - 1)
    spread = ((together - own) / pairs).clamp(min=1e-6).sqrt()
    true_spread = truth.std(0).clamp(min=1e-6)
    correlation = (unseen.mean(1) * truth).mean(0) / (spread * true_spread)
    return CrossValidation(correlation.clamp(-1, 1), spread / true_spread)


def calibrate(agreement: CrossValidation) -> Float[Tensor, " code"]:
    """The gain for each number of the code.

    Least squares wants a spread of `correlation` times the truth's: mouths that hardly open. More spread looks alive, and
    costs error. The gain is what brings the error on frames never learnt from to MAX_ERROR_RATIO times the least there can be,
    but neither beyond the truth's own spread nor beyond where lips that never move would be closer to the truth.
    """
    least = agreement.correlation.clamp(min=0)
    # With the truth's spread as unit, a spread s has the squared error 1 - 2 s r + s^2, least (1 - r^2) at s = r.
    alive = least + ((MAX_ERROR_RATIO**2 - 1) * (1 - least**2)).sqrt()
    return (alive.minimum(2 * least).clamp(max=1) / agreement.spread).clamp(max=MAX_GAIN)
