"""A comparison small enough to train in a second or two."""

from pathlib import Path

import pytest

from awase.config import Runtime

EXPERIMENT_FILE = '''
from awase.config import DataConfig, Experiment, MethodConfig, ScenesConfig, TrainConfig
from awase.data import inferred


def tiny():
    """Two modalities of 40 clips."""
    data = inferred(DataConfig(dataset="scenes", scenes=ScenesConfig(num_train=40, num_val=19, num_test=23)))
    data = data.model_copy(update={"inputs": {name: data.inputs[name] for name in ("video", "audio")}})
    training = TrainConfig(epochs=2, batch_size=16)
    methods = (
        MethodConfig(method="unimodal", label="audio", settings={"modality": "audio"}),
        MethodConfig(method="joint"),
        MethodConfig(method="ume"),
        MethodConfig(method="mmlora", settings={"rank": 2}, candidates=(
            {"training.learning_rate": 1e-3}, {"training.learning_rate": 1e-2})),
    )
    return Experiment(name="tiny", data=data, methods=methods, unimodal=training, joint=training, seeds=(0,))


def not_an_experiment():
    return 3
'''


@pytest.fixture
def experiment_file(tmp_path: Path) -> Path:
    file = tmp_path / "experiments_of_mine.py"
    file.write_text(EXPERIMENT_FILE, encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for a whole session: stages are shared, as they are for a user."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def runtime(cache: Path) -> Runtime:
    return Runtime(cache=cache, device="cpu", threads=1)
