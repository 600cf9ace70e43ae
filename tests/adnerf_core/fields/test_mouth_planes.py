"""MouthPlanes: what the opening changes, and where."""

import torch

from adnerf_core.fields.mouth_planes import RANGE, MouthPlanes

BOX = (0.1, -0.4, 0.3, 0.2)


def make_planes() -> MouthPlanes:
    """Three planes whose features are their number: 0 closed, 2 wide open."""
    planes = MouthPlanes(count=3, resolution=8, channels=2, lip_code=4, box=BOX)
    with torch.no_grad():
        planes.planes[:] = torch.arange(3.0)[:, None, None, None]
    return planes


def test_the_opening_interpolates_between_the_planes():
    planes, lips = make_planes(), torch.zeros(1, 4)
    middle = torch.tensor([BOX[0]]), torch.tensor([BOX[1]])
    for opening, expected in ((-9.0, 0.0), (-RANGE, 0.0), (0.0, 1.0), (RANGE / 2, 1.5), (RANGE, 2.0), (9.0, 2.0)):
        lips[0, 0] = opening
        assert torch.allclose(planes(*middle, lips), torch.full((2, 1), expected), atol=1e-5)


def test_beyond_the_mouth_there_are_no_features():
    planes, wide = make_planes(), torch.tensor([[RANGE, 0.0, 0.0, 0.0]])
    x = torch.tensor([BOX[0], BOX[0] + 0.99 * BOX[2], BOX[0] + 1.01 * BOX[2], BOX[0], -1.0])
    y = torch.tensor([BOX[1], BOX[1], BOX[1], BOX[1] + 1.01 * BOX[3], 1.0])
    features = planes(x, y, wide)[0]
    assert features[0] == 2 and 0 < features[1] < 0.2 and (features[2:] == 0).all()


def test_training_moves_the_planes_of_the_openings_that_it_shows():
    planes, half_open = make_planes(), torch.tensor([[RANGE / 2, 0.0, 0.0, 0.0]])
    planes(torch.tensor([BOX[0]]), torch.tensor([BOX[1]]), half_open).sum().backward()
    touched = planes.planes.grad.abs().sum((1, 2, 3))
    assert touched[0] == 0 and (touched[1:] > 0).all() and planes.direction.grad[0] != 0
