"""Evaluation measures the lips by the LipPca that the subject was trained with."""

from dataclasses import replace

import numpy as np

from adnerf_core.data.dataset import SubjectDataset
from adnerf_core.evaluation.heldout_renderer import lip_codes
from adnerf_core.face.lip_pca import LipPca
from adnerf_core.files.run_dir import RunDir
from adnerf_core.synthesis.subject import load_subject
from tests.adnerf_core.toy import FRAMES, HELD_OUT_FROM

FRAME_NUMBERS = np.arange(HELD_OUT_FROM, FRAMES)


def test_a_run_stores_the_lip_pca_that_it_was_trained_with(toy_run: RunDir, toy_dataset: SubjectDataset):
    stored = load_subject(toy_run).lip_pca
    fitted = LipPca.fit(toy_dataset.track().canonical_landmarks[:HELD_OUT_FROM], 6)
    assert stored is not None
    assert np.array_equal(stored.mean, fitted.mean) and np.array_equal(stored.components, fitted.components)


def test_evaluation_uses_the_stored_lip_pca(toy_run: RunDir, toy_dataset: SubjectDataset):
    subject, track = load_subject(toy_run), toy_dataset.track()
    stored = subject.lip_pca
    doubled = replace(subject, lip_pca=LipPca(stored.mean, 2 * stored.components))
    codes = lip_codes(subject, toy_dataset, track, FRAME_NUMBERS).ground_truth
    halved = lip_codes(doubled, toy_dataset, track, FRAME_NUMBERS).ground_truth
    assert np.array_equal(codes.numpy(), stored.encode(track.canonical_landmarks[FRAME_NUMBERS]))
    assert np.allclose(halved.numpy(), codes.numpy() / 2, rtol=1e-3, atol=1e-6)


def test_a_run_without_a_stored_lip_pca_is_evaluated_as_before(toy_run: RunDir, toy_dataset: SubjectDataset):
    subject, track = load_subject(toy_run), toy_dataset.track()
    before = lip_codes(replace(subject, lip_pca=None), toy_dataset, track, FRAME_NUMBERS).ground_truth
    assert np.array_equal(before.numpy(), lip_codes(subject, toy_dataset, track, FRAME_NUMBERS).ground_truth.numpy())
