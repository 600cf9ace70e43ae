"""The audio stage: which encoders a subject gets, and what they start from."""

import json
import shutil

import numpy as np
import pytest
import torch

from adnerf_core.audio.encoder import MultiStreamEncoder
from adnerf_core.audio.features import streams
from adnerf_core.audio.pretrained_encoder import LAYERS, load_pretrained, serialize_prior
from adnerf_core.data.dataset import SubjectDataset
from adnerf_core.errors import NotReady
from adnerf_core.face.lip_pca import LipPca
from adnerf_core.files.run_dir import RunDir, read_json, write_json
from adnerf_core.progress import silent
from adnerf_core.training.audio_stage import train_audio_encoders
from tests.adnerf_core.toy import HELD_OUT_FROM, SHORT


@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_has_an_encoder_that_starts_from_its_pretrained_one(name, toy_dataset, tmp_path):
    """Also for datasets of earlier versions, whose features are those of one layer."""
    root = shutil.copytree(toy_dataset.root, tmp_path / "dataset")
    spectrum = np.load(root / "features.npy")
    width = 80 + 40 * len(LAYERS[name])
    np.save(root / "features.npy", np.pad(spectrum, ((0, 0), (0, width - 80))))
    manifest = read_json(root / "dataset.json")
    write_json(root / "dataset.json", manifest | {"features": {"name": name, "width": width, "rate": 50}})
    dataset, run = SubjectDataset(root), RunDir(tmp_path / "run")
    run.root.mkdir()
    track = dataset.track()
    codes = LipPca.fit(track.canonical_landmarks[:HELD_OUT_FROM], 6).encode(track.canonical_landmarks)
    encoders = MultiStreamEncoder(streams(name, width), 6)
    config = SHORT.model_copy(update={"audio_steps": 8})
    train_audio_encoders(encoders, dataset, track, codes, config, run, silent)
    assert run.lip_prior() is None
    heard = [json.loads(line)["hears"] for line in run.metrics.read_text().splitlines()]
    assert heard == [120] * len(LAYERS[name]) + [80]
    for encoder, layer in zip(encoders.encoders, LAYERS[name], strict=False):
        assert torch.equal(encoder.mean, load_pretrained(layer).mean)
    assert torch.allclose(encoders.encoders[-1].mean, torch.from_numpy(spectrum.mean(0)), atol=1e-5)

    prior = tmp_path / "3-1-ab.safetensors"  # with the shipped weights, so that the outcome is known
    prior.write_bytes(serialize_prior({layer: load_pretrained(layer) for layer in LAYERS[name]}))
    again, config = MultiStreamEncoder(streams(name, width), 6), config.model_copy(update={"lip_prior": prior})
    train_audio_encoders(again, dataset, track, codes, config, run, silent)
    assert run.lip_prior() == "3-1-ab"
    assert 0 < again.spectrum_weight < encoders.spectrum_weight
    assert torch.equal(again.encoders[0].last.weight, encoders.encoders[0].last.weight)
    prior.write_bytes(prior.read_bytes()[:-1])
    with pytest.raises(NotReady, match="no prior of lips"):
        train_audio_encoders(again, dataset, track, codes, config, run, silent)
