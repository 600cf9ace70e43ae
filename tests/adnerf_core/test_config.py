"""The configuration's names in Python and on disk."""

from adnerf_core.config import MarchConfig, TrainConfig


def test_the_samples_keep_their_keys_on_disk():
    config = TrainConfig(march=MarchConfig(samples_smooth=5, samples_detailed=6, samples_proposal=7))
    stored = config.model_dump(by_alias=True)
    assert (stored["march"]["few"], stored["march"]["careful"], stored["march"]["scout"]) == (5, 6, 7)
    assert TrainConfig(**stored) == config
    assert TrainConfig(**config.model_dump()) == config
