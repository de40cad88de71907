"""What lies below adapters, kept: the same training as without, each sample's prefix computed once."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_spaces import reading_rows, readings_data, small_encoders, space_experiment, train, write_rows

from awase.config import EncoderConfig, Experiment, MethodConfig, Runtime
from awase.distributed import ALONE
from awase.encoders.blocks import BlockEncoder
from awase.methods import build_method
from awase.methods.context import MethodContext
from awase.runner.nodes import NodeRunner
from awase.runner.setting import open_setting

SPACE = {"space": {"dim": 13}, "loss": "info_nce", "clustering": None}
WORDS = {"dim": 8, "depth": 3, "num_heads": 2, "vocabulary_size": 32}
ABOVE = {"place": "encoder", "adapter": {"rank": 2}, "adapters": {"text": {"rank": 2, "last_layers": 1}}}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", reading_rows({"a": 5, "b": 4, "text": 7}))


def experiment_of(table: Path, *, epochs: int = 3, dropout: float = 0.0, **combination: Any) -> Experiment:
    method = MethodConfig(
        method="pair_adapters",
        settings={
            "retrieval": SPACE,
            "combination": {**ABOVE, **combination},
            "training": {"epochs": epochs},
            "shared_training": {"epochs": 1},
        },
    )
    encoders = small_encoders() | {
        "text": EncoderConfig(name="small_transformer", options={**WORDS, "dropout": dropout})
    }
    return space_experiment(readings_data(table), method, encoders=encoders)


def stages_of(experiment: Experiment, cache: Path) -> NodeRunner:
    setting = open_setting(experiment, Runtime(cache=cache, device="cpu", threads=1), 0, None, ALONE)
    runner = NodeRunner(setting)
    (method,) = experiment.methods
    runner.run(build_method(method.method, MethodContext(("a", "b", "text"), {}, experiment.joint), method.settings))
    return runner


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_adapters_learn_what_they_learn_without(table: Path, tmp_path: Path, dropout: float) -> None:
    """Dropout of an encoder that stands still does not act, below the adapters or above."""
    runners = [
        stages_of(experiment_of(table, dropout=dropout, execution=execution), tmp_path / execution)
        for execution in ("batched", "cached")
    ]
    batched, cached = (runner.stages["combinations"] for runner in runners)
    assert any(value.any() for name, value in cached.tensors.items() if name.endswith(".B"))
    for name, value in batched.tensors.items():
        torch.testing.assert_close(cached.tensors[name], value, rtol=1e-3, atol=1e-4)  # float32, Adam


def test_the_part_below_runs_once_per_sample_however_many_epochs(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    prefix = BlockEncoder.prefix

    def counted(self: BlockEncoder, inputs: Any) -> Any:
        if self.cut == 2:
            seen.append(len(inputs["input_ids"]))
        return prefix(self, inputs)

    monkeypatch.setattr(BlockEncoder, "prefix", counted)
    counts = []
    for epochs in (1, 4):
        seen.clear()
        stages_of(experiment_of(table, epochs=epochs, execution="cached"), tmp_path / str(epochs))
        counts.append(sum(seen))
    assert counts[0] == counts[1] > 0


def test_a_whole_run_scores_as_without(table: Path, tmp_path: Path) -> None:
    found = [
        train(experiment_of(table, execution=execution), tmp_path / execution, tmp_path / f"cache-{execution}")[0]
        for execution in ("batched", "cached")
    ]
    batched, cached = ({(one.condition, one.name): one.value for one in record.metrics} for record in found)
    assert set(batched) == set(cached)
    ranks = [(condition, name) for condition, name in batched if "R@" in name]
    assert ("text->a", "R@10") in ranks
    assert all(cached[name] == pytest.approx(batched[name], abs=0.05) for name in ranks)


def test_where_nothing_could_be_kept_it_is_refused(table: Path, tmp_path: Path) -> None:
    everywhere = experiment_of(table, adapters={}, execution="cached")
    with pytest.raises(ValueError, match=r"last_layers.*execution='batched'"):
        stages_of(everywhere, tmp_path / "cache")
