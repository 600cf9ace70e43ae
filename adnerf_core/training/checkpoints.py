"""Checkpoints: everything that exact resume needs, in safetensors and JSON (never a pickle)."""

from __future__ import annotations

import json

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from adnerf_core.errors import NotReady
from adnerf_core.files.run_dir import RunDir, atomic

TrainingState = dict[str, int | str]
"""Where a training stands: phase, step and restarts."""


def save_checkpoint(
    run: RunDir,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    position: TrainingState,
    beside: dict[str, Tensor] | None = None,
) -> None:
    """Writes one file that holds `model`, the optimizer's state, the `position` and the tensors `beside`, whole or not at all."""
    tensors = {f"model.{name}": value.contiguous() for name, value in model.state_dict().items()}
    tensors |= {f"beside.{name}": value.contiguous() for name, value in (beside or {}).items()}
    if optimizer is not None:
        for index, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value).contiguous()
    with atomic(run.checkpoint) as temporary:
        save_file(tensors, temporary, metadata={"position": json.dumps(position)})


def read_position(run: RunDir) -> TrainingState | None:
    """The position of the run's checkpoint, None where there is none. Raises NotReady where it is damaged."""
    if not run.checkpoint.exists():
        return None
    try:
        with safe_open(run.checkpoint, "pt") as file:
            return json.loads(file.metadata()["position"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise NotReady(f"{run.checkpoint} is damaged.", "Delete it; training then starts anew.") from error


def load_model(run: RunDir, model: nn.Module) -> None:
    """Fills `model` from the run's checkpoint. Raises NotReady where it belongs to another configuration."""
    try:
        model.load_state_dict({name[6:]: value for name, value in _tensors(run).items() if name.startswith("model.")})
    except RuntimeError as error:
        raise NotReady(f"{run.checkpoint} does not fit this configuration.", "Train in a new folder.") from error


def load_extra(run: RunDir) -> dict[str, Tensor]:
    """The tensors that were kept beside the model; none where there is no checkpoint."""
    if not run.checkpoint.exists():
        return {}
    return {name[7:]: value for name, value in _tensors(run).items() if name.startswith("beside.")}


def load_optimizer(run: RunDir, optimizer: torch.optim.Optimizer) -> None:
    """Fills `optimizer` (made for the same parameters) from the run's checkpoint."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in _tensors(run).items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _tensors(run: RunDir) -> dict[str, Tensor]:
    with safe_open(run.checkpoint, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a safetensors file is no dict)
