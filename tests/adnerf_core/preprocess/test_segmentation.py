"""The network sees every other frame, and those beside frames that are left out."""

import numpy as np

from adnerf_core.preprocess.segmentation import PersonSegmenter, segment_frames


def test_no_mask_is_the_mean_of_two_across_a_gap(monkeypatch):
    seen, look = [], PersonSegmenter.__call__

    def record(self, frame):
        seen.append(int(frame[0, 0, 0]))
        return look(self, frame)

    monkeypatch.setattr(PersonSegmenter, "__call__", record)
    for numbers, expected in (
        ([0, 1, 2, 3, 10, 11, 12], [0, 2, 3, 10, 12]),
        ([4, 5, 6, 7], [4, 6, 7]),
        ([8, 9], [8, 9]),
        ([8], [8]),
    ):
        seen.clear()
        frames = [np.full((64, 64, 3), number, np.uint8) for number in numbers]
        cuts = [np.zeros((4, 2))] * len(numbers)
        assert len(list(segment_frames(iter(frames), cuts, numbers))) == len(numbers)
        assert seen == expected
