"""A prior of lips: what is learnt from several people helps one who was left out, or it is not adopted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adnerf_core.audio.encoder import AudioEncoder, select
from adnerf_core.audio.features import streams
from adnerf_core.audio.pretrained_encoder import FILES, check_prior, load_pretrained, serialize_prior
from adnerf_core.audio.windows import STEPS_PER_FRAME, windows
from adnerf_core.data.dataset import VERSION
from adnerf_core.errors import NotReady
from adnerf_core.face.lip_pca import LOWER_INNER, OUTER_HEIGHT, OUTER_WIDTH
from adnerf_core.files.run_dir import write_json
from adnerf_core.training import lip_prior
from adnerf_core.training.lip_prior import FEATURES, Person, learn_prior, leave_out_people, read_person

FRAMES, HELD_OUT = 250, 20


def make_person(root, seed, *, follows=True, name=FEATURES, frames=FRAMES):
    """A dataset without pictures. One number of each layer's phonemes tells the opening of the mouth, unless the mouth follows nothing."""
    root.mkdir()
    random = np.random.default_rng(seed)
    features = random.normal(0, 1, (frames * STEPS_PER_FRAME, 200)).astype(np.float32)
    features[:, :80] = 0
    told = np.convolve(random.normal(size=frames), np.ones(5) / 5, "same").astype(np.float32)
    features[:, 80::40] = np.repeat(told, STEPS_PER_FRAME)[:, None] * 4
    opening = told if follows else np.convolve(random.normal(size=frames), np.ones(5) / 5, "same")
    landmarks = np.zeros((frames, 478, 3), np.float32)
    landmarks[:, LOWER_INNER, 1] = -(0.5 + 0.2 * opening / opening.std())[:, None]
    landmarks[:, OUTER_HEIGHT[1], 1] = landmarks[:, LOWER_INNER[0], 1] - 0.2
    landmarks[:, OUTER_WIDTH[1], 0] = 0.6 + 0.1 * random.normal(size=frames)
    valid = np.arange(frames) % 10 != 0
    landmarks[~valid] = np.nan
    few = np.zeros((frames, 1), np.float32)
    np.save(root / "features.npy", features)
    np.savez(
        root / "track.npz", valid=valid, landmarks=landmarks, pose=np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1)), torso=np.tile(few, 4),
        points=np.zeros((8, 3), np.float32), point_ids=np.arange(8), depose=landmarks, opening=few[:, 0], eyes=few[:, 0],
    )  # fmt: skip
    write_json(root / "dataset.json", {
        "version": VERSION, "size": 48, "frames": frames, "held_out_from": frames - HELD_OUT, "focal": 96.0, "center": [24, 24],
        "features": {"name": name, "width": 200, "rate": 50},
    })  # fmt: skip
    return root


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(lip_prior, "STEPS", 30)


def test_people_who_were_left_out_are_followed_better(tmp_path):
    people = {f"person {seed}": make_person(tmp_path / str(seed), seed) for seed in range(3)}
    people["of before"] = make_person(tmp_path / "old", 9, name="mel+phones:3")
    people["brief"] = make_person(tmp_path / "brief", 9, frames=100)
    told = []
    found = learn_prior(people, tmp_path / "prior.safetensors", lambda *report: told.append(report))
    assert found["better"]
    assert list(found["people"]) == ["person 0", "person 1", "person 2"]
    assert found["after"]["correlation"] > found["before"]["correlation"] + 0.2
    for person in found["people"].values():
        assert person["after"]["correlation"] > person["before"]["correlation"]
    mean = np.mean([person["after"]["amplitude"] for person in found["people"].values()])
    assert found["after"]["amplitude"] == pytest.approx(mean)
    assert told[-1] == ("audio", 3, 3)
    learnt, shipped = load_pretrained(3, tmp_path / "prior.safetensors"), load_pretrained(3)
    assert torch.equal(learnt.mean, shipped.mean) and not torch.equal(learnt.last.weight, shipped.last.weight)
    again = learn_prior(people, tmp_path / "again.safetensors")
    assert again == found
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "prior.safetensors").read_bytes()


def test_a_prior_of_mouths_that_follow_nothing_is_not_better(tmp_path):
    people = {str(seed): make_person(tmp_path / str(seed), seed, follows=False) for seed in range(2)}
    assert not learn_prior(people, tmp_path / "prior.safetensors")["better"]


@pytest.mark.parametrize(("worse", "better"), [(0, True), (1, True), (2, False)])
def test_a_prior_that_follows_only_half_of_the_people_better_is_not_better(worse, better):
    """Though the mean and the median rise."""
    true, noise = torch.randn(2, 4, 100, generator=torch.Generator().manual_seed(0))
    before, after = true + noise, true + 0.1 * noise
    after[:worse] = true[:worse] + 1.05 * noise[:worse]
    owners = torch.arange(4).repeat_interleave(100)
    told = lip_prior.figures(list("abcd"), owners, *(each.flatten() for each in (true, before, after)))
    assert told["after"]["correlation"] > told["before"]["correlation"] + lip_prior.MIN_GAIN
    assert told["better"] is better


def test_a_share_of_the_shipped_weights_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(lip_prior, "STEPS", 10)
    monkeypatch.setattr(lip_prior, "SHIPPED_WEIGHT", 1.0)
    people = {str(seed): make_person(tmp_path / str(seed), seed) for seed in range(2)}
    found = learn_prior(people, tmp_path / "prior.safetensors")
    assert found["after"] == found["before"]
    for layer in FILES:
        assert torch.equal(
            load_pretrained(layer, tmp_path / "prior.safetensors").last.weight, load_pretrained(layer).last.weight
        )


def test_one_person_is_too_few(tmp_path):
    with pytest.raises(NotReady, match="1 of 2 datasets"):
        people = {"one": make_person(tmp_path / "one", 1), "none": tmp_path / "none"}
        learn_prior(people, tmp_path / "prior.safetensors")


def test_the_held_out_part_and_other_people_s_speech_are_not_heard(tmp_path):
    person = read_person(make_person(tmp_path / "one", 1))
    known = person.distances[:, 0].isfinite()
    assert known.nonzero().max() < FRAMES - HELD_OUT
    assert not person.features[(FRAMES - HELD_OUT) * STEPS_PER_FRAME :].any()
    torch.testing.assert_close(person.distances[known].std(0, correction=0), torch.ones(3))


@pytest.mark.parametrize("people", [2, 3, 7])
def test_each_person_is_left_out_by_networks_that_heard_the_others(people):
    heard = leave_out_people(torch.arange(people), people)
    assert (~heard).any(1).all()
    assert heard.any(0).all()


def test_trainings_do_not_start_from_a_prior_of_another_form(tmp_path):
    usable = {layer: load_pretrained(layer) for layer in FILES}
    one_missing = {layer: usable[layer] for layer in list(FILES)[:-1]}
    of_other_width = usable | {list(FILES)[-1]: AudioEncoder(80, 2)}
    path = tmp_path / "prior.safetensors"
    path.write_bytes(serialize_prior(usable))
    check_prior(path)
    for content in (serialize_prior(one_missing), serialize_prior(of_other_width), b"damaged"):
        path.write_bytes(content)
        with pytest.raises(NotReady, match="is no prior of lips"):
            check_prior(path)


@pytest.mark.parametrize("late", [-5, 0, 7])
def test_lips_are_learnt_from_in_time_with_their_sound(tmp_path, late):
    """And those that are in time stay where they are."""
    person = read_person(make_person(tmp_path / "one", 1))
    shipped = {layer: load_pretrained(layer) for layer in FILES}
    told = sum(
        encoder.member_codes(windows(select(person.features, stream), torch.arange(len(person.distances))))[
            ..., 0
        ].mean(1)
        for encoder, stream in zip(shipped.values(), streams(FEATURES, 200), strict=False)
    )
    known = person.distances[:, 0].isfinite()
    early = person.distances.clone()
    early[known, 0] = told[known]  # the mouth does what the shipped encoders say
    moved = early.roll(-late, 0)
    moved[-lip_prior.MAX_LAG :] = torch.nan
    in_time = lip_prior.put_in_time(Person(person.features, moved), shipped).distances
    both = in_time[:, 0].isfinite()
    assert both.sum() > 150
    torch.testing.assert_close(in_time[both, 0], told[both])
