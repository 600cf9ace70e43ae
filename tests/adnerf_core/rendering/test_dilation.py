"""dilate, against max_pool2d."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from adnerf_core.rendering.dilation import dilate


@pytest.mark.parametrize("reach", [0, 1, 2, 5, 12, 40])
def test_the_pixels_near_a_mask_are_those_of_a_pooled_maximum(reach):
    mask = torch.rand((3, 31, 47), generator=torch.Generator().manual_seed(0)) > 0.995
    expected = F.max_pool2d(mask.float(), 2 * reach + 1, 1, reach) > 0
    assert mask.any((1, 2)).all()
    assert torch.equal(dilate(mask, reach), expected)
    assert torch.equal(dilate(mask[0], reach), expected[0])
