"""Losses: matter is gathered at surfaces, and detail is preferred to its mean."""

import pytest
import torch

from adnerf_core.data.ray_batches import RayBatch
from adnerf_core.data.region_labels import HEAD, UNCERTAIN
from adnerf_core.rendering.volume_rendering import RayOutput
from adnerf_core.training.losses import COMPACT_WEIGHT, gradient_loss, head_loss

PATCH = 8


def batch_of(target: torch.Tensor, label: int = HEAD) -> RayBatch:
    rays = len(target)
    return RayBatch(
        frame_index=torch.zeros(rays, dtype=torch.long),
        pixels=torch.zeros(rays, 2),
        frame_numbers=torch.zeros(1, dtype=torch.long),
        target=target,
        label=torch.full((rays,), label, dtype=torch.uint8),
        coverage=torch.ones(rays, 2),
        background=torch.zeros(rays, 3),
        poses=torch.eye(4).expand(1, 4, 4),
        torso_motion=torch.zeros(1, 4),
        upper_face=torch.zeros(1, 5),
        lip_codes=torch.zeros(1, 6),
    )


def solid(color: torch.Tensor, spread: float = 0.0) -> RayOutput:
    return RayOutput(color, torch.zeros(len(color)), torch.full((len(color),), spread))


@pytest.fixture
def stripes() -> torch.Tensor:
    """Two squares of alternating columns, dark and bright."""
    columns = (torch.arange(PATCH) % 2).float() * 0.6 + 0.2
    return columns.expand(2, PATCH, PATCH).reshape(-1, 1).expand(-1, 3).contiguous()


def test_detail_is_preferred_to_its_mean(stripes):
    batch = batch_of(stripes)
    blurred, shifted = torch.full_like(stripes, 0.5), stripes + 0.1
    assert gradient_loss(solid(stripes), batch, PATCH) == 0
    assert gradient_loss(solid(shifted), batch, PATCH) == pytest.approx(0, abs=1e-6)
    assert gradient_loss(solid(blurred), batch, PATCH) > 0.02
    # Squared error prefers grey to stripes in the wrong place by two to one; here grey costs more.
    wrong = 1 - stripes
    squares = [((one - stripes) ** 2).mean() for one in (wrong, blurred)]
    details = [gradient_loss(solid(one), batch, PATCH) for one in (wrong, blurred)]
    assert squares[0] > 3.5 * squares[1] and details[0] < details[1]


def test_detail_counts_only_at_head_and_background(stripes):
    assert gradient_loss(solid(torch.full_like(stripes, 0.5)), batch_of(stripes, UNCERTAIN), PATCH) == 0


def test_spread_matter_costs_nothing_at_first_and_something_later(stripes):
    batch = batch_of(stripes)
    thin, thick = solid(stripes, 0.1), solid(stripes, 1.1)
    early, late = ([head_loss(one, batch, torch.tensor(done))[0] for one in (thin, thick)] for done in (0.1, 0.9))
    assert early[0] == early[1]
    assert late[1] - late[0] == pytest.approx(COMPACT_WEIGHT, rel=1e-3)
