"""What the tests of the core share: one toy dataset, trained once."""

import pytest

from adnerf_core.dataset import SubjectDataset
from adnerf_core.rundir import RunDir
from adnerf_core.train import train
from tests.core.toy import TOY, make_toy_dataset


@pytest.fixture(scope="session")
def toy_dataset(tmp_path_factory) -> SubjectDataset:
    return make_toy_dataset(tmp_path_factory.mktemp("toy") / "dataset")


@pytest.fixture(scope="session")
def toy_run(toy_dataset, tmp_path_factory) -> RunDir:
    return train(toy_dataset, RunDir(tmp_path_factory.mktemp("toy") / "run"), TOY)
