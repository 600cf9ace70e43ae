"""The optimizer, the learning rates and the averaged weights of the fast model."""

from __future__ import annotations

import math

import torch
from torch import nn

from adnerf_core.fields.mouth_planes import MouthPlanes
from adnerf_core.fields.plane_encoding import PlaneEncoding

PLANES_RATE, NETS_RATE = 1e-2, 2e-3
"""Adam's learning rates of feature planes and of all other parameters. A texel gets a gradient only from the few rays that read it, a
net's weight from all rays, so texels need larger steps (TensoRF: 2e-2 and 1e-3). Unmeasured here."""
BETAS, EPSILON = (0.9, 0.99), 1e-12
"""Adam's parameters. The second average follows fewer steps than usual (.999), as a phase has a few thousand; and epsilon is far below
the gradients of texels that few rays read, or these would hardly move."""
WARMUP_STEPS = 30
"""Steps in which the learning rate rises from zero: Adam's averages are noise before."""
FINAL_RATE = 0.01
"""The learning rate at the end, as a share of the initial one. An end at .15 is worse, with averaged weights by
.1 dB (docs/fidelity.md)."""
AVERAGE_FROM = 0.8
"""Share of a phase from which the weights of all steps are averaged; their mean is the model. Each step follows the few frames that it
draws, and the mean is nearer to what all frames ask for (docs/decisions/0043-averaged-weights.md)."""
AVERAGE = "average"
"""Key of the mean in the optimizer's state of each parameter, which checkpoints hold."""


def make_optimizer(modules: tuple[nn.Module, ...]) -> torch.optim.Adam:
    """Makes Adam over `modules`, with one group for feature planes and one for all other parameters, and turns on their gradients.

    HeadField.warp, whose displacements are stored as planes too, has the rate of the nets (unmeasured).
    """
    parts = [part for module in modules for part in module.modules()]
    planes = [parameter for part in parts if isinstance(part, PlaneEncoding) for parameter in part.parameters()]
    planes += [part.planes for part in parts if isinstance(part, MouthPlanes)]
    plane_ids = {id(parameter) for parameter in planes}
    nets = [parameter for module in modules for parameter in module.parameters() if id(parameter) not in plane_ids]
    for parameter in planes + nets:
        parameter.requires_grad_(True)
    groups = [{"params": planes, "initial_lr": PLANES_RATE}, {"params": nets, "initial_lr": NETS_RATE}]
    return torch.optim.Adam(groups, lr=NETS_RATE, betas=BETAS, eps=EPSILON, fused=True)


def learning_rate(step: int, steps: int) -> float:
    """Returns the share of the initial rate at `step` of `steps`: a linear warm-up times half a cosine from 1 to FINAL_RATE.

    min(1, (step + 1) / WARMUP_STEPS) * (FINAL_RATE + (1 - FINAL_RATE) * (1 + cos(pi * step / steps)) / 2)
    """
    warmup = min(1.0, (step + 1) / WARMUP_STEPS)
    return warmup * (FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * step / steps)))


@torch.no_grad()
def average_weights(optimizer: torch.optim.Optimizer, step: int, steps: int) -> None:
    """Takes the weights after `step` of `steps` into their mean over all steps from AVERAGE_FROM on.

    The method is stochastic weight averaging (Izmailov et al., "Averaging weights leads to wider optima and better generalization", 2018),
    here with a rate that falls all the same.
    """
    count = step - round(AVERAGE_FROM * steps) + 1
    if count < 1:
        return
    for parameter in _parameters(optimizer):
        if parameter.grad is None:  # the optimizer has not begun with it
            continue
        state = optimizer.state[parameter]
        if AVERAGE in state:
            state[AVERAGE].lerp_(parameter, 1 / count)
        else:  # the first step, or a checkpoint of before there were means
            state[AVERAGE] = parameter.clone()


@torch.no_grad()
def use_average(optimizer: torch.optim.Optimizer) -> None:
    """Replaces the weights by their mean, and forgets it; a second call changes nothing."""
    for parameter in _parameters(optimizer):
        if AVERAGE in optimizer.state[parameter]:
            parameter.copy_(optimizer.state[parameter].pop(AVERAGE))


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
