"""Supervised training of an AudioEncoder: regression from audio features to the lip codes measured in the footage.

The steps are: regression with augmented windows, weight averaging, interpolation towards pretrained weights, cross-validation, and a
gain that restores the amplitude of the lips (docs/decisions/0016-sound-to-lips.md).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
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
"""Windows per step; a minute of footage has 1,500."""
LEARNING_RATE = 3e-3
"""Peak learning rate, for 300 steps from pretrained weights. 2e-3 with 600 steps follows the own speaker (correlation .63 instead of
.645) and another one (.51 instead of .54) less well (docs/fidelity.md)."""
WEIGHT_DECAY = 0.3
"""Of AdamW; strong, because the ensemble has about as many weights as a minute of footage has feature values."""
EMA_DECAY = 0.99
"""Share of the averaged weights kept per step: the average covers about 100 steps, the last third of a training of 300."""
EVALUATION_BATCH = 512
"""Windows predicted at once in cross-validation, which bounds its memory."""
FOLDS = 5
"""Contiguous parts of the footage for cross-validation. Each network is trained without one of them, and MEMBERS / FOLDS = 2 networks
without the same one: the least with which their covariance can be estimated (see cross_validate)."""
PRETRAINED_WEIGHT = 0.15
"""Weight of the pretrained encoder in the interpolation with the trained one (Wortsman et al., "Robust fine-tuning of zero-shot models",
2022). Other voices gain by it; of .15, .3 and .5, .15 was the best for them and for the own voice (docs/fidelity.md)."""
MIN_FEATURE_STD = 0.1
"""Smallest standard deviation that features are divided by, so that the noise of a constant feature is not amplified."""
EPSILON = 1e-6
"""Lower bound of two divisors that are 0 for lips that do not move: the variance of predicted codes and the standard deviation of true ones."""
MAX_ERROR_RATIO = 1.1
"""The gain may raise the root mean square error to this multiple of the least possible one. More makes the lips livelier and less
accurate; 1 makes mouths that hardly open."""
MAX_GAIN = 1.8
"""Largest gain. Regression predicts .56 to .66 of the true amplitude, so 1.8 restores all of it; more would amplify errors only. Encoders that
start from a learnt prior predict less than others, and need gains up to 1.7 (docs/fidelity.md)."""


class EncoderData(NamedTuple):
    """What an encoder is trained on.

    Attributes:
        features: features of the whole audio.
        spectrum_width: how many of them, from the first on, form a spectrum (see AudioFeatures).
        codes: lip codes, in standard deviations; may be NaN in frames that are not in `frames`.
        frames: numbers of the frames to train on, ascending.
    """

    features: Float[Tensor, "steps width"]
    spectrum_width: int
    codes: Float[Tensor, "all_frames code"]
    frames: Int64[Tensor, " n"]


class CrossValidation(NamedTuple):
    """Agreement of predicted and true codes on frames that were left out of training, for each number of the code.

    Attributes:
        correlation: correlation of the truth with the prediction of a large ensemble.
        spread: standard deviation of that prediction, relative to the truth's.
    """

    correlation: Float[Tensor, " code"]
    spread: Float[Tensor, " code"]


def train_encoder(
    encoder: AudioEncoder,
    data: EncoderData,
    *,
    steps: int,
    seed: int,
    from_pretrained: bool = False,
    progress: Progress = silent,
) -> dict[str, float]:
    """Trains `encoder` in place to predict the lip code of a frame from the audio around it.

    The same seed, data and initial weights give the same result.

    Args:
        encoder: the encoder, with initial weights.
        data: the training data.
        steps: optimizer steps.
        seed: of the batches and the augmentation.
        from_pretrained: whether the encoder comes from init_from_pretrained. Then its feature statistics are kept, and a part of its
            initial weights (PRETRAINED_WEIGHT).
        progress: called with the stage "audio".

    Returns:
        Figures of cross-validation for the first number of the code: `correlation` of predicted and true, `spread` (predicted over
        true, before the gain), and the `gain`.
    """
    if not from_pretrained:
        standardize(encoder, data.features)
    folds = torch.arange(len(data.frames), device=data.frames.device) * FOLDS // len(data.frames)
    train_mask = folds[:, None] != torch.arange(MEMBERS, device=data.frames.device) % FOLDS
    initial = copy.deepcopy(encoder.state_dict())
    average = fit(encoder, data, train_mask, steps, seed, progress)
    weight = PRETRAINED_WEIGHT if from_pretrained else 0.0
    encoder.load_state_dict(average.state_dict())
    encoder.requires_grad_(False)
    interpolate(encoder, initial, weight)
    validation = cross_validate(encoder, data, train_mask)
    encoder.gain.copy_(calibrate(validation))
    progress("audio", steps, steps)
    return {
        "correlation": float(validation.correlation[0]),
        "spread": float(validation.spread[0]),
        "gain": float(encoder.gain[0]),
    }


def fit(
    encoder: AudioEncoder,
    data: EncoderData,
    train_mask: Bool[Tensor, "n members"],
    steps: int,
    seed: int,
    progress: Progress,
) -> AudioEncoder:
    """Runs the optimizer on `encoder`, in place, and returns a copy of it with weights averaged over the steps.

    The loss weighs all numbers of the code alike: weights by explained variance would starve the small motions, by which m, b and p
    are recognised.

    Args:
        encoder: the encoder, with initial weights.
        data: the training data.
        train_mask: true where a network is trained on a frame of `data.frames`; it ignores the others.
        steps: optimizer steps.
        seed: of the batches and the augmentation.
        progress: called with the stage "audio".
    """
    average = copy.deepcopy(encoder).requires_grad_(False)
    encoder.requires_grad_(True)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=steps, pct_start=max(0.1, 2 / steps)
    )
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        progress("audio", step, steps)
        batch = torch.randint(len(data.frames), (BATCH,), generator=generator).to(data.frames.device, non_blocking=True)
        inputs = augment(windows(data.features, data.frames[batch]), data.spectrum_width, generator)
        predicted = encoder.member_codes(inputs)
        target = data.codes[data.frames[batch], None].expand_as(predicted)
        error = F.smooth_l1_loss(predicted, target, reduction="none").mean(-1)
        loss = (error * train_mask[batch]).sum() / BATCH
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        decay = min(EMA_DECAY, (1 + step) / (10 + step))  # a shorter average at first, to forget the initial weights
        for averaged, new in zip(average.parameters(), encoder.parameters(), strict=True):
            averaged.lerp_(new.detach(), 1 - decay)
    return average


def interpolate(encoder: AudioEncoder, others: Mapping[str, Tensor], weight: float) -> None:
    """Moves the weights of `encoder`, in place, towards those of another one: by 0 (not at all) to 1 (all the way)."""
    encoder.load_state_dict({name: value.lerp(others[name], weight) for name, value in encoder.state_dict().items()})


def standardize(encoder: AudioEncoder, features: Float[Tensor, "steps width"]) -> None:
    """Sets the statistics by which `encoder` standardises its input to those of `features`."""
    encoder.mean.copy_(features.mean(0))
    encoder.spread.copy_(features.std(0).clamp(min=MIN_FEATURE_STD))


@torch.no_grad()
def cross_validate(encoder: AudioEncoder, data: EncoderData, train_mask: Bool[Tensor, "n members"]) -> CrossValidation:
    """Estimates how well a large ensemble would predict frames that it was not trained on.

    Of a frame, there are the predictions p_1 .. p_M of the M networks that were trained without it. Let p_m = f + e_m, where f is the
    prediction of an infinite ensemble and e_m the error of a single network, with errors independent of each other and of the truth y.
    Then (all centred, E over frames)

        Var f    = E p_m p_k  for m != k  = E ((sum_m p_m)^2 - sum_m p_m^2) / (M (M - 1)),
        Cov(f,y) = E p_m y                = E (mean_m p_m) y.

    The variance of a single network, or of the mean of M, would count the errors as well.

    Args:
        encoder: a trained encoder.
        data: its training data.
        train_mask: true where a network was trained on a frame of `data.frames`.
    """
    predicted = torch.cat(
        [encoder.member_codes(windows(data.features, part)) for part in data.frames.split(EVALUATION_BATCH)]
    )
    unseen = predicted[~train_mask].view(len(data.frames), MEMBERS // FOLDS, -1)
    unseen = unseen - unseen.mean((0, 1))
    truth = data.codes[data.frames] - data.codes[data.frames].mean(0)
    square_of_sum, sum_of_squares = unseen.sum(1).square().mean(0), unseen.square().sum(1).mean(0)
    pairs = unseen.shape[1] * (unseen.shape[1] - 1)
    std = ((square_of_sum - sum_of_squares) / pairs).clamp(min=EPSILON).sqrt()
    true_std = truth.std(0).clamp(min=EPSILON)
    correlation = (unseen.mean(1) * truth).mean(0) / (std * true_std)
    return CrossValidation(correlation.clamp(-1, 1), std / true_std)


def calibrate(validation: CrossValidation) -> Float[Tensor, " code"]:
    """Returns the gain for each number of the code.

    Take the truth y with standard deviation 1 and a prediction with correlation r, scaled to the standard deviation s. Its squared
    error is

        E (y - s f)^2 = 1 - 2 s r + s^2 = (1 - r^2) + (s - r)^2,

    least at s = r: mouths that hardly open. The gain accepts q = MAX_ERROR_RATIO times the least root mean square error:

        (s - r)^2 = (q^2 - 1) (1 - r^2)   =>   s = r + sqrt((q^2 - 1) (1 - r^2)),

    but at most s = 1, the spread of the truth, and at most s = 2 r, beyond which the error is larger than that of lips that never
    move (1 - 2 s r + s^2 > 1). A negative correlation gives s = 0.
    """
    r = validation.correlation.clamp(min=0)
    spread = r + ((MAX_ERROR_RATIO**2 - 1) * (1 - r**2)).sqrt()
    return (spread.minimum(2 * r).clamp(max=1) / validation.spread).clamp(max=MAX_GAIN)
