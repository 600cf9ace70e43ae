"""The tests run with the shapes of the core's annotations checked."""

import jaxtyping
import pytest
import torch

from adnerf_core.rendering.volume_rendering import weights_from_density


def test_a_wrong_shape_is_refused():
    weights, transmittance = weights_from_density(torch.ones(4, 3), torch.ones(4, 3))
    assert weights.shape == (4, 3) and transmittance.shape == (4,)
    with pytest.raises(jaxtyping.TypeCheckError):
        weights_from_density(torch.ones(4, 3), torch.ones(4, 1))  # would broadcast
    with pytest.raises(jaxtyping.TypeCheckError):
        weights_from_density(torch.ones(4, 3), torch.ones(4, 3, dtype=torch.uint8))
