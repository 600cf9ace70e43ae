"""What is measured of a subject in its masks."""

import numpy as np
import pytest

from adnerf_core.cameras.cameras import Camera
from adnerf_core.data.dataset import SubjectDataset, Track
from adnerf_core.face.landmarks import EAR_LOBES
from adnerf_core.training.scene_geometry import hanging_hair

SIZE, FOCAL, DISTANCE, LOBE = 96, 200.0, 10.0, (0.8, -0.7)


class Masked(SubjectDataset):
    """A head of 1.6 x 2.6 units and shoulders below it; on each side (-1: the person's right) a strand over these frames."""

    def __init__(self, strands: dict[int, slice]):
        self.strands = strands
        self.size, self.camera = SIZE, Camera(SIZE, SIZE, FOCAL, (SIZE / 2, SIZE / 2))

    def mask(self, frame: int, size: int) -> np.ndarray:
        steps = (np.arange(SIZE) + 0.5 - SIZE / 2) * DISTANCE / FOCAL
        x, y = np.meshgrid(steps, -steps)
        cut = y > LOBE[1] - 0.2
        person = ((x / 0.85) ** 2 + (y / 1.4) ** 2 < 1) | ((np.abs(x) < 0.4) & (y < 0)) | (y < -1.9)
        for side, frames in self.strands.items():
            if frame in range(*frames.indices(4)):
                person |= (np.abs(side * x - 1.05) < 0.2) & (y < 0.3)
        return np.dstack([person & cut, person & ~cut]).astype(np.uint8) * 255


@pytest.mark.parametrize(
    ("strands", "expected"),
    [({}, (0, 0)), ({-1: slice(4), 1: slice(4)}, (1, 1)), ({-1: slice(4)}, (1, 0)), ({1: slice(1)}, (0, 0.25))],
)
def test_hair_on_the_shoulders_is_seen_in_the_masks(strands, expected):
    depose = np.zeros((4, 478, 3), np.float32)
    for landmark, side in zip(EAR_LOBES, (-1, 1), strict=True):
        depose[:, landmark] = side * LOBE[0], LOBE[1], 0
    pose = np.tile(np.eye(4, dtype=np.float32), (4, 1, 1))
    pose[:, 2, 3] = DISTANCE
    track = Track(
        valid=np.ones(4, bool), landmarks=depose, pose=pose, points=depose[0, :8], point_ids=np.arange(8), canonical_landmarks=depose,
        opening=np.zeros(4, np.float32), eyes=np.zeros(4, np.float32), torso=np.zeros((4, 4), np.float32),
    )  # fmt: skip
    assert hanging_hair(Masked(strands), track, np.arange(4)) == expected
