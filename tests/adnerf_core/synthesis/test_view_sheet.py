"""The view sheet has the layout that it reports, and its pictures turn accordingly."""

import cv2
import numpy as np
import pytest

from adnerf_core.errors import NotReady
from adnerf_core.files.run_dir import RunDir, read_json
from adnerf_core.synthesis.view_sheet import COLUMNS, ROWS, TILE_PX, render_view_sheet, symmetric_angles


def test_angles_go_from_limit_to_limit_through_zero():
    assert symmetric_angles((-12.0, 3.0), 7) == [-12.0, -8.0, -4.0, 0.0, 1.0, 2.0, 3.0]
    assert symmetric_angles((0.0, 30.0), 3) == [0.0, 0.0, 30.0]


def test_the_sheet_turns_the_subject_within_its_limits(toy_run):
    reports = []
    layout = render_view_sheet(toy_run, lambda *report: reports.append(report))
    limits = read_json(toy_run.subject)["view_limits"]
    assert (layout["yaw_deg"][0], layout["yaw_deg"][-1]) == tuple(limits["yaw_deg"])
    assert (layout["pitch_deg"][-1], layout["pitch_deg"][0]) == tuple(limits["pitch_deg"])
    assert (layout["columns"], layout["rows"], layout["tile_px"]) == (COLUMNS, ROWS, TILE_PX)
    sheet = cv2.imread(str(toy_run.views))
    assert sheet.shape == (2 * ROWS * TILE_PX, COLUMNS * TILE_PX, 3)
    sheet, masks = np.split(sheet, 2)
    assert layout["masks"] and masks.min() < 30 and masks.max() > 220, "somebody stands before something"
    tiles = sheet.reshape(ROWS, TILE_PX, COLUMNS, TILE_PX, 3).swapaxes(1, 2).astype(float)
    middle = tiles[ROWS // 2]
    usual = middle[COLUMNS // 2]
    far, near = (np.abs(middle[column] - usual).mean() for column in (0, COLUMNS // 2 - 1))
    assert far > near > 0, "the further it is turned, the less it looks like the unturned one"
    assert np.abs(tiles[0, COLUMNS // 2] - tiles[-1, COLUMNS // 2]).mean() > 1
    assert reports[0] == ("views", 0, COLUMNS * ROWS) and reports[-1] == ("views", COLUMNS * ROWS, COLUMNS * ROWS)


def test_an_unfinished_run_has_no_sheet(tmp_path):
    with pytest.raises(NotReady):
        render_view_sheet(RunDir(tmp_path))
