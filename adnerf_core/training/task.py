"""TrainingTask and Phase: the parts of a training that differ between the fast model and the paper's (see train.py for the loop)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from adnerf_core.config import TrainConfig
from adnerf_core.data.dataset import SubjectDataset, Track
from adnerf_core.face.lip_pca import LipPca
from adnerf_core.files.run_dir import RunDir
from adnerf_core.models.adnerf import AdNerf
from adnerf_core.models.talking_head import TalkingHead
from adnerf_core.progress import Progress
from adnerf_core.synthesis.playback import PlayableFrames
from adnerf_core.synthesis.subject import build_model
from adnerf_core.training.scene_geometry import estimate_scene_geometry

RESTART_SEED_STEP = 7919
"""Distance of the seeds of two restarts: large, so that a restart does not repeat the run of the next seed, and a prime."""


class StepLoss(NamedTuple):
    """The result of one step's rendering.

    Attributes:
        loss: to be minimised.
        color_error: mean squared error of the colour, without gradient.
        opacity: mean opacity of the rays that the phase watches, 0..1, without gradient. In the head phase these are the rays that
            must meet the head.
    """

    loss: Float[Tensor, ""]
    color_error: Float[Tensor, ""]
    opacity: Float[Tensor, ""]


class Phase(ABC):
    """A number of steps that optimise one part of the model and leave the rest as it is.

    Attributes:
        name: "head" or "torso": the stage of progress, and the name in checkpoints and metrics.
        steps: number of steps.
        can_collapse: whether a low opacity early in the phase means that the field has become empty and must be restarted.
    """

    name: str
    steps: int
    can_collapse: bool

    @abstractmethod
    def make_optimizer(self) -> torch.optim.Optimizer:
        """Makes the optimizer, with an `initial_lr` for every group, and turns on the gradients of its parameters."""

    @abstractmethod
    def learning_rate(self, step: int) -> float:
        """Returns the factor by which `initial_lr` is multiplied at `step`."""

    @abstractmethod
    def sample(self, step: int) -> Sequence[Any]:
        """Draws the rays of a step, in one or two parts of equal size. They depend on the seed and the step alone."""

    @abstractmethod
    def loss(self, batch: Any, step: int, done: Float[Tensor, ""], generator: torch.Generator) -> StepLoss:
        """Renders the rays of `batch`, a part of a step, and compares them with the footage. Called in several threads at once.

        Args:
            batch: the rays.
            step: of the phase. If the phase has a `kind`, it decides nothing else.
            done: step / steps, on the device.
            generator: source of all random numbers.
        """

    def kind(self, step: int) -> Hashable | None:
        """Returns what decides which operators `loss` runs, with which numbers of Python: two steps of a kind differ in tensors alone.

        None: there are no such kinds, and the step is not captured as a CUDA graph.
        """
        return None

    def before_step(self, step: int, tick: Callable[[], None]) -> None:  # noqa: B027 (a hook)
        """Runs before the rays of `step` are drawn. `tick` reports progress, and may raise Cancelled."""

    def smooth(self, step: int) -> None:  # noqa: B027 (a hook)
        """Adds the gradient of the roughness of feature planes, which needs no rays, after those of the parts of a step."""

    def after_step(self, step: int, batch: Any, generator: torch.Generator) -> None:  # noqa: B027 (a hook)
        """Runs after the parameters were updated, with the first part of the step and a generator."""

    def average(self, optimizer: torch.optim.Optimizer, step: int) -> None:  # noqa: B027 (a hook)
        """Takes the parameters after `step` into their mean, if the phase has one; it belongs to the optimizer's state."""

    def finish(self, optimizer: torch.optim.Optimizer, tick: Callable[[], None]) -> None:  # noqa: B027 (a hook)
        """Runs after the last step, and again if it was interrupted. `tick` as in before_step."""


@runtime_checkable
class TrainingTask(Protocol):
    """The training of one kind of model on one dataset. Its constructor makes the model with fresh weights.

    Attributes:
        dataset: the dataset.
        model: the model; `restart` replaces it.
        phases: the phases after the audio stage, in order.
        lip_pca: the meaning of the lip codes, None if the model has none.
    """

    dataset: SubjectDataset
    model: TalkingHead | AdNerf
    phases: tuple[Phase, ...]
    lip_pca: LipPca | None

    def train_audio(self, run: RunDir, progress: Progress) -> None:
        """Trains what is trained before the footage is loaded. Stage of progress: "audio"."""
        ...

    def load_frames(self, extra: dict[str, Tensor]) -> None:
        """Loads the training frames, and restores the tensors that `extra_tensors` returned at the last checkpoint."""
        ...

    def restart(self, restarts: int) -> None:
        """Makes the model anew after a collapse, from another seed. Audio encoders that `train_audio` trained are kept."""
        ...

    def extra_tensors(self) -> dict[str, Tensor]:
        """Returns the state beside the model and the optimizer that a checkpoint must hold."""
        ...

    def refined_track(self) -> Track:
        """Returns the track to render with: the dataset's, or a better one."""
        ...

    def playable_frames(self) -> PlayableFrames:
        """Returns which frames of the footage may be shown, and how bright they are."""
        ...

    def preview_codes(self) -> Float[ndarray, "frames code"]:
        """Returns the codes of all frames of the footage with which previews are rendered."""
        ...


def initialize_model(dataset: SubjectDataset, track: Track, config: TrainConfig, restarts: int) -> TalkingHead | AdNerf:
    """Makes the model that `config` describes, with fresh weights, on the device of the run."""
    torch.manual_seed(config.seed + RESTART_SEED_STEP * restarts)
    geometry = estimate_scene_geometry(dataset, track, config.size)
    return build_model(config, geometry, dataset.manifest["features"]).to(config.device)
