"""Checkpoints: everything that an exact resume needs, as tensors in safetensors and metadata in JSON (never a pickle)."""

from __future__ import annotations

import json

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from adnerf_core.errors import NotReady
from adnerf_core.files.run_dir import RunDir, atomic

MODEL, EXTRA, OPTIMIZER = "model.", "beside.", "optimizer."
"""Prefixes of the keys in the file: the model's state, the task's extra tensors, and the optimizer's state."""

TrainingState = dict[str, int | str]
"""How far a training is: `phase` ("audio", "head" or "torso"), `step` (the next one of the phase) and `restarts`."""


def save_checkpoint(
    run: RunDir,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    state: TrainingState,
    extra: dict[str, Tensor] | None = None,
) -> None:
    """Writes the checkpoint atomically.

    Args:
        run: the run whose checkpoint is replaced.
        model: its state_dict is stored.
        optimizer: its per-parameter state is stored; None between two phases.
        state: how far the training is.
        extra: further tensors of the task.
    """
    tensors = {f"{MODEL}{name}": value.contiguous() for name, value in model.state_dict().items()}
    tensors |= {f"{EXTRA}{name}": value.contiguous() for name, value in (extra or {}).items()}
    if optimizer is not None:
        for index, values in optimizer.state_dict()["state"].items():
            for name, value in values.items():
                tensors[f"{OPTIMIZER}{index}.{name}"] = torch.as_tensor(value).contiguous()
    with atomic(run.checkpoint) as temporary:
        save_file(tensors, temporary, metadata={"position": json.dumps(state)})


def read_state(run: RunDir) -> TrainingState | None:
    """Returns the state in the run's checkpoint, None if there is no checkpoint.

    Raises:
        NotReady: the checkpoint is damaged.
    """
    if not run.checkpoint.exists():
        return None
    try:
        with safe_open(run.checkpoint, "pt") as file:
            return json.loads(file.metadata()["position"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise NotReady(f"{run.checkpoint} is damaged.", "Delete it; training then starts anew.") from error


def load_model(run: RunDir, model: nn.Module) -> None:
    """Loads the run's checkpoint into `model`.

    Raises:
        NotReady: the checkpoint belongs to another configuration.
    """
    try:
        model.load_state_dict(_tensors(run, MODEL))
    except RuntimeError as error:
        raise NotReady(f"{run.checkpoint} does not fit this configuration.", "Train in a new folder.") from error


def load_extra(run: RunDir) -> dict[str, Tensor]:
    """Returns the extra tensors of the run's checkpoint; none if there is no checkpoint."""
    return _tensors(run, EXTRA) if run.checkpoint.exists() else {}


def load_optimizer(run: RunDir, optimizer: torch.optim.Optimizer) -> None:
    """Loads the run's checkpoint into `optimizer`, which must have been made for the same parameters in the same order."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in _tensors(run, OPTIMIZER).items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _tensors(run: RunDir, prefix: str) -> dict[str, Tensor]:
    """Returns the tensors whose keys begin with `prefix`, by the rest of the key."""
    with safe_open(run.checkpoint, "pt") as file:
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 (a safetensors file is no dict)
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}
