"""The paper's preset on the toy: it learns on the paper's schedule, and takes the same commands as the fast one up to the video."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from adnerf_core.cli import main
from adnerf_core.config import PRESETS, PaperConfig
from adnerf_core.face.face_boxes import face_rect
from adnerf_core.files import ffmpeg
from adnerf_core.files.run_dir import RunDir
from adnerf_core.models.adnerf import AdNerf, CoarseFine
from adnerf_core.models.base import FrameConditions
from adnerf_core.models.frame_renderer import render_frame
from adnerf_core.progress import Cancelled
from adnerf_core.rendering.volume_rendering import RayOutput, over
from adnerf_core.synthesis.subject import load_subject
from adnerf_core.training import train as training
from adnerf_core.training.adnerf_task import AdNerfTask, HeadPhase, draw_pixels
from adnerf_core.training.train import train
from tests.adnerf_core.models.test_talking_head import GEOMETRY
from tests.adnerf_core.toy import FRAMES, HELD_OUT_FROM, SIZE
from tests.adnerf_core.training.test_train import StopAt, metrics

NETS = PaperConfig(
    layers=4, width=32, audio_code=8, coarse=12, fine=12, torso_rays=96, warmup_steps=100, rate=3e-3, decay_steps=400
)
TINY = PRESETS["paper"].model_copy(
    update={"size": SIZE, "head_steps": 220, "torso_steps": 90, "rays": 192, "checkpoint_every": 1000, "paper": NETS}
)
SHORT = TINY.model_copy(update={"head_steps": 12, "torso_steps": 6, "rays": 32})


@pytest.fixture(scope="module")
def paper_run(toy_dataset, tmp_path_factory) -> RunDir:
    """A run of TINY, by the command line."""
    root = tmp_path_factory.mktemp("paper") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "paper", TINY)
        assert main(["train", str(toy_dataset.root), "--out", str(root), "--preset", "paper"]) == 0
    return RunDir(root)


@pytest.fixture
def short_task(toy_dataset) -> AdNerfTask:
    """The task of SHORT, before its first step."""
    task = AdNerfTask(toy_dataset, SHORT)
    task.load_frames({})
    return task


def test_the_preset_is_the_papers_schedule():
    paper = PRESETS["paper"]
    assert (paper.head_steps, paper.torso_steps, paper.rays, paper.paper.torso_rays) == (400_000, 400_000, 2048, 1024)
    assert (paper.paper.coarse, paper.paper.fine, paper.paper.layers, paper.paper.width) == (64, 128, 8, 256)


def test_both_volumes_learn(paper_run):
    head, torso = metrics(paper_run, "head"), metrics(paper_run, "torso")
    assert head[-1]["psnr"] > head[0]["psnr"] + 5 and head[-1]["opacity"] > 0.8
    assert torso[-1]["psnr"] > torso[0]["psnr"] + 1


def test_the_trained_subject_is_made_of_the_papers_networks(paper_run):
    portrait = load_subject(paper_run).model
    assert isinstance(portrait, AdNerf) and portrait.attends
    assert portrait.config == NETS and not any(weight.requires_grad for weight in portrait.parameters())


def test_the_picture_shows_the_head_before_the_plate(paper_run, toy_dataset):
    subject = load_subject(paper_run)
    track, k = toy_dataset.track(), HELD_OUT_FROM
    features = torch.from_numpy(toy_dataset.features())
    code = subject.model.encode_audio(features, torch.tensor([k]))
    pose = torch.from_numpy(track.pose[k : k + 1]).float()
    color, left = render_frame(
        subject.model,
        FrameConditions(pose, torch.zeros(1, 4), torch.zeros(1, 5), code),
        subject.model.geometry.camera.pixel_grid(),
        torch.ones(SIZE * SIZE, 3),
    )
    head = torch.from_numpy(toy_dataset.mask(k, SIZE)[..., 0] > 127).flatten()
    truth = torch.from_numpy(toy_dataset.picture(k, SIZE)).reshape(-1, 3)[head] / 255
    assert float(left[head].mean()) < 0.3  # solid
    assert float((color[head] - truth).abs().mean()) < 0.12  # and not white, which is what stands behind


def test_a_video_is_rendered_from_the_command_line(paper_run, tmp_path, capsys):
    ffmpeg.write_wav(tmp_path / "a.wav", np.zeros(6400, np.float32))
    out = tmp_path / "out.mp4"
    view = ["--yaw", "5", "--background", "#204060", "--pose", "still", "--size", "64"]
    assert main(["render", str(paper_run.root), str(tmp_path / "a.wav"), "--out", str(out), *view]) == 0
    assert "10 frames of 64x64" in capsys.readouterr().out
    assert ffmpeg.probe(out).width == 64


def test_the_run_is_evaluated_without_true_lips(paper_run, tmp_path):
    assert main(["evaluate", str(paper_run.root), "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["psnr"] > 12 and figures["held_out_frames"] == FRAMES - HELD_OUT_FROM
    assert figures["mouth_psnr_true_lips"] is None and figures["mouth_psnr_wrong_sound"] > 5


def test_a_few_rays_are_overfitted():
    torch.manual_seed(0)
    portrait = AdNerf(NETS.model_copy(update={"width": 48}), GEOMETRY, 5)
    pose, code = torch.eye(4), torch.zeros(8)
    pose[2, 3] = 10.0
    pixels = torch.rand(48, 2) * 32
    inside = ((pixels - 16).norm(dim=-1) < 8)[:, None]
    plate = torch.tensor([0.1, 0.2, 0.8]).expand(48, 3)
    target = torch.where(inside, torch.tensor([0.9, 0.4, 0.1]), plate)
    optimizer = torch.optim.Adam(portrait.head.parameters(), lr=3e-3)
    for step in range(150):
        seen = portrait.render_head(pose, pixels, code, torch.Generator().manual_seed(step))
        loss = sum(((over(one, plate) - target) ** 2).mean() for one in seen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 2e-3


@pytest.fixture(scope="module")
def straight(toy_dataset, tmp_path_factory) -> RunDir:
    return train(toy_dataset, RunDir(tmp_path_factory.mktemp("straight") / "run"), SHORT)


@pytest.mark.parametrize("stage, step", [("head", 8), ("torso", 3)])
def test_resume_equals_a_straight_run(straight, toy_dataset, tmp_path, stage, step):
    broken = RunDir(tmp_path / "broken")
    with pytest.raises(Cancelled):
        train(toy_dataset, broken, SHORT, StopAt(stage, step))
    train(toy_dataset, broken, SHORT)
    one, other = load_file(straight.model), load_file(broken.model)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def weights_at(toy_dataset, run: RunDir, stage: str, step: int) -> dict[str, torch.Tensor]:
    """The weights of SHORT at some step, from the checkpoint of a run that was stopped there."""
    with pytest.raises(Cancelled):
        train(toy_dataset, run, SHORT, StopAt(stage, step))
    return {name[6:]: value for name, value in load_file(run.checkpoint).items() if name.startswith("model.")}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """The parts of the model in which any weight differs."""
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_each_phase_trains_its_own_networks(toy_dataset, tmp_path):
    run = RunDir(tmp_path / "run")
    start, half, head = (weights_at(toy_dataset, run, *at) for at in (("head", 0), ("head", 6), ("torso", 0)))
    train(toy_dataset, run, SHORT)
    assert changed(start, half) == {"audio", "head"}
    assert changed(half, head) == {"audio", "attention", "attends", "head"}
    assert changed(head, load_file(run.model)) == {"torso"}


def test_the_torsos_camera_is_the_first_frames(short_task, toy_dataset):
    assert torch.equal(short_task.model.torso_pose, torch.from_numpy(toy_dataset.track().pose[0]))


@pytest.mark.parametrize("name, rays", [("head", SHORT.rays), ("torso", NETS.torso_rays)])
def test_rays_are_those_of_one_frame_mostly_in_the_phases_rectangle(short_task, name, rays):
    phase = {phase.name: phase for phase in short_task.phases}[name]
    batches = [phase.sample(step)[0] for step in range(20)]
    assert all(len(batch.pixels) == rays for batch in batches)
    shares = []
    for batch in batches:
        if name == "head":
            x, y, width, height = short_task.faces[int(batch.frame_number)]
        else:
            x, y, width, height = 0, SIZE // 2, SIZE, SIZE // 2
        row, col = batch.pixels.unbind(-1)
        shares.append(((row > y) & (row < y + height) & (col > x) & (col < x + width)).float().mean())
    assert np.allclose(shares, round(0.95 * rays) / rays)
    again = phase.sample(7)[0]
    assert torch.equal(again.pixels, batches[7].pixels) and not torch.equal(again.pixels, batches[8].pixels)


def test_the_head_is_trained_alone_and_the_torso_with_it(short_task, toy_dataset):
    plate = torch.from_numpy(toy_dataset.background(SIZE))
    for part, phase in enumerate(short_task.phases):
        batch = phase.sample(3)[0]
        row, col = batch.pixels.long().unbind(-1)
        mask = torch.from_numpy(toy_dataset.mask(int(batch.frame_number), SIZE))[row, col] > 127
        picture = torch.from_numpy(toy_dataset.picture(int(batch.frame_number), SIZE))[row, col] / 255
        shown = mask[:, :1] if phase.name == "head" else mask.any(-1, keepdim=True)
        assert torch.allclose(batch.target, torch.where(shown, picture, plate[row, col] / 255), atol=1e-6)
        assert torch.equal(batch.coverage > 0.5, mask[:, part])


def test_the_faces_rectangle_has_the_chin_in_it():
    points = np.random.default_rng(0).uniform((300, 100), (400, 260), (478, 2))
    points[6], points[152] = (350, 150), (350, 260)
    x, y, width, height = face_rect(points, 512)
    low, high = points.min(0), points.max(0)
    assert x <= low[0] and x + width >= high[0] and y + height > points[152, 1]
    assert width < height  # x and y are not mixed up: this face is narrow


def test_pixels_are_drawn_inside_and_outside():
    inside = torch.zeros(10, 20, dtype=torch.bool)
    inside[2:4, 15:] = True
    drawn = draw_pixels(inside, 100, 0.8, torch.Generator().manual_seed(0))
    assert int(inside[drawn[:, 0], drawn[:, 1]].sum()) == 80
    everywhere = draw_pixels(torch.ones(4, 4, dtype=torch.bool), 30, 0.95, torch.Generator().manual_seed(0))
    nowhere = draw_pixels(torch.zeros(4, 4, dtype=torch.bool), 30, 0.95, torch.Generator().manual_seed(0))
    assert len(everywhere) == len(nowhere) == 30


def test_after_the_warm_up_the_loss_is_the_papers(short_task):
    batch = short_task.phases[0].sample(0)[0]
    n = len(batch.pixels)
    coarse, fine = (RayOutput(torch.rand(n, 3), torch.rand(n)) for _ in range(2))
    paper = sum(
        ((one.color + one.transmittance[:, None] * batch.background - batch.target) ** 2).mean()
        for one in (coarse, fine)
    )
    first, later = (
        float(short_task.loss(CoarseFine(coarse, fine), batch.background, batch, step).loss)
        for step in (0, NETS.warmup_steps)
    )
    assert first > later + 1e-3
    assert later == pytest.approx(float(paper), rel=1e-5)


def test_a_collapse_restarts_all_networks(toy_dataset, tmp_path, monkeypatch):
    loss = HeadPhase.loss

    def empty_at_first(self, batch, step, done, generator):
        opacity = torch.tensor(0.0 if self.task.restarts == 0 else 1.0)
        return loss(self, batch, step, done, generator)._replace(opacity=opacity)

    monkeypatch.setattr(training, "COLLAPSE_STEP", 3)
    monkeypatch.setattr(HeadPhase, "loss", empty_at_first)
    run = train(toy_dataset, RunDir(tmp_path / "run"), SHORT)
    assert json.loads(run.result.read_text())["restarts"] == 1
    assert torch.equal(load_subject(run).model.torso_pose, torch.from_numpy(toy_dataset.track().pose[0]))
