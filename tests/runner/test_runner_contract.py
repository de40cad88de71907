"""What every method promises: two and three modalities, gaps, seeds, resuming, several labels, and no look at test."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from readings import readings, write_readings
from watched_runs import stopped_and_repeated

from awase.config import (
    DataConfig,
    EncoderConfig,
    Experiment,
    ImageInput,
    MethodConfig,
    Runtime,
    TextInput,
    TrainConfig,
)
from awase.data import Dataset
from awase.methods import METHODS, MethodContext, build_method
from awase.records import Record
from awase.runner.nodes import NodeRunner
from awase.runner.run import run_experiment
from awase.statistics import read_predictions
from awase.training.store import StageStore

SIZES = {"train": 47, "val": 23, "test": 29}
SENSORS = ("a", "b", "c")
TOKENS = ("mbt", "mmbt", "pmf", "pmf_l")
"""Methods on encoders that pass tokens: here on columns of words."""
LARGE = ("pmf_l",)
"""`pmf` on encoders 1024 wide: run once, the rest is promised by `pmf`."""
PAIRS = ("mmbt", "pmf", "pmf_l")
"""Methods that are defined for two modalities."""
ONE_LABEL = ("continual", "pmr")
"""Methods that are defined for one label per sample."""
SPACES = ("continual_mcn", "mcn", "pair_adapters", "pair_heads")
"""Methods whose task is retrieval; test_runner_space_runs.py and test_runner_space_stream.py hold them to the same."""
CLASSIFIERS = set(METHODS) - set(SPACES)
SETTINGS: dict[str, dict[str, Any]] = {
    "unimodal": {"modality": "a"},
    "continual": {"policy": "bank", "adapter": {"targets": "*", "rank": 2}},
    "mmlora": {"rank": 2},
    "gradient_blending_online": {"super_epoch": 2},
    "opm": {"start_epoch": 1},
    "mmbt": {"text": "a", "other": "b", "warmup": [1, 1]},
    "pmf": {"towers": "unimodal"},
}
WORDS = {"rain": "drops fall", "sun": "light shines", "snow": "flakes drift"}


def experiment(name: str, folder: Path, modalities: tuple[str, ...], many: bool = False) -> Experiment:
    """The method on readings, or on words, in which every seventh and every eleventh row lack a modality."""
    table = folder / ("many.jsonl" if many else "one.jsonl")
    noise, gaps = dict.fromkeys(SENSORS, 1.0), {"a": 7, "b": 11}
    if not table.is_file():
        write_readings(table, noise, absent=gaps, sizes=SIZES, many=many)
    changes: dict[str, Any] = {"probe": False, "missing_rates": (), "seeds": (0,)}
    if many:
        changes["data"] = {"label_separator": "|", "task": "multi_label"}
    if name == "continual":
        changes.setdefault("data", {})["stream"] = {"classes": {"wet": ["rain", "snow"], "dry": ["sun"]}}
    method = MethodConfig(method=name, settings=SETTINGS.get(name, {}))
    made = readings(table, modalities, (method,), epochs=3, **changes)
    shorter = made.joint.model_copy(update={"batch_size": 16})
    made = made.model_copy(update={"unimodal": shorter, "joint": shorter})
    if name not in TOKENS:
        return made
    worded = with_words(made, table, modalities, 1024 if name == "pmf_l" else 8)
    return with_pictures(worded) if name == "mmbt" else worded


def with_words(made: Experiment, table: Path, modalities: tuple[str, ...], dim: int) -> Experiment:
    """The same rows and gaps with a few words in place of each reading."""
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    for row in rows:
        for name in SENSORS:
            row[name] = None if row[name] is None else " ".join(WORDS[label] for label in row["label"].split("|"))
    words = table.with_name(f"words-{table.name}")
    words.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    inputs = {name: TextInput(column=name, max_tokens=6) for name in modalities}
    encoder = EncoderConfig(
        name="small_transformer", options={"dim": dim, "depth": 3, "num_heads": 2, "vocabulary_size": 32}
    )
    data = DataConfig.model_validate({**made.data.model_dump(), "manifest": words, "inputs": inputs})
    return made.model_copy(update={"data": data, "encoders": dict.fromkeys(modalities, encoder)})


def with_pictures(made: Experiment) -> Experiment:
    """The same rows with a small picture in place of the words of every modality but the first."""
    assert made.data.manifest is not None
    rows = [json.loads(line) for line in made.data.manifest.read_text().splitlines()]
    others = [name for name in made.data.inputs if name != "a"]
    for number, row in enumerate(rows):
        for name in others:
            if row[name] is not None:
                level = 60 * (1 + list(WORDS).index(row["label"].split("|")[0]))
                row[name] = f"{made.data.manifest.stem}-{name}-{number}.png"
                Image.new("L", (16, 16), level).save(made.data.manifest.with_name(row[name]))
    table = made.data.manifest.with_name(f"seen-{made.data.manifest.name}")
    table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    inputs = {name: ImageInput(column=name, height=16, width=16, channels=1) for name in others}
    vit = EncoderConfig(name="small_vit", options={"dim": 8, "depth": 2, "num_heads": 2, "patch": 4})
    data = made.data.model_copy(update={"manifest": table, "inputs": {**made.data.inputs, **inputs}})
    return made.model_copy(update={"data": data, "encoders": {**made.encoders, **dict.fromkeys(others, vit)}})


def runtime(cache: Path, **changes: Any) -> Runtime:
    return Runtime.model_validate({"cache": cache, "device": "cpu", "threads": 1, **changes})


def stored(record: Record, cache: Path) -> dict[str, torch.Tensor]:
    found = StageStore(cache).find(record.stages[-1].hash)
    assert found is not None
    return found.tensors


def check_outputs(record: Record, folder: Path, rows: int) -> None:
    """Every row that has a modality was decided on, by numbers."""
    predictions = read_predictions(folder / record.method / "seed-0" / "predictions.parquet").of_split("test")
    assert len(predictions.ids) == rows
    assert np.isfinite(predictions.logits).all()


def test_the_sweep_knows_every_method():
    assert {*TOKENS, *ONE_LABEL, *SETTINGS, *PAIRS} <= set(METHODS)
    assert len(CLASSIFIERS) == 21
    assert set(METHODS) - CLASSIFIERS == set(SPACES)


def test_the_large_one_is_pmf_with_a_width():
    context = MethodContext(("a", "b"), dict.fromkeys(("a", "b"), TrainConfig()), TrainConfig())
    assert build_method("pmf_l", context, {}) == build_method("pmf", context, {"width": 1024})


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_two_modalities_with_gaps_without_a_look_at_test_before_the_end(name, tmp_path, monkeypatch):
    looks: list[str] = []
    loader, run = Dataset.loader, NodeRunner.run

    def watched(self, split, **options):
        looks.append(split)
        return loader(self, split, **options)

    def noted(self, nodes):
        result = run(self, nodes)
        looks.append("trained")
        return result

    monkeypatch.setattr(Dataset, "loader", watched)
    monkeypatch.setattr(NodeRunner, "run", noted)
    (record,) = run_experiment(experiment(name, tmp_path, ("a", "b")), runtime(tmp_path / "cache"), tmp_path / "out")
    assert record.status == "done"
    # 77 is the only row number that both gaps hit, and it is one of test.
    one = {"unimodal": sum(number % 7 > 0 for number in range(70, 99))}
    check_outputs(record, tmp_path / "out", one.get(name, SIZES["test"] - 1))
    last = len(looks) - 1 - looks[::-1].index("trained")
    assert "train" in looks[:last]
    assert "val" in looks[:last]
    assert "test" not in looks[:last], "the test split was read while something could still be chosen"
    assert "test" in looks[last:]


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_three_modalities_or_a_sentence(name, tmp_path):
    three = experiment(name, tmp_path, SENSORS)
    if name == "mmbt":  # named, a pair among three is a pair
        three = three.model_copy(update={"methods": (MethodConfig(method=name, settings={"text": "a"}),)})
    if name in PAIRS:
        with pytest.raises(ValueError, match=r"two modalities|one other modality|needs a pair"):
            run_experiment(three, runtime(tmp_path / "cache"), tmp_path / "out")
        return
    (record,) = run_experiment(three, runtime(tmp_path / "cache"), tmp_path / "out")
    rows = sum(number % 7 > 0 for number in range(70, 99)) if name == "unimodal" else SIZES["test"]
    check_outputs(record, tmp_path / "out", rows)


@pytest.mark.parametrize("name", sorted(CLASSIFIERS - set(LARGE)))
def test_several_labels_per_sample_or_a_sentence(name, tmp_path):
    many = experiment(name, tmp_path, ("a", "b"), many=True)
    if name in ONE_LABEL:
        with pytest.raises(ValueError, match="label"):
            run_experiment(many, runtime(tmp_path / "cache"), tmp_path / "out")
        return
    (record,) = run_experiment(many, runtime(tmp_path / "cache"), tmp_path / "out")
    names = {metric.name for metric in record.metrics}
    assert {"f1_micro", "f1_macro"} <= names
    assert all(np.isfinite(metric.value) for metric in record.metrics)


@pytest.mark.parametrize("name", sorted(CLASSIFIERS - set(LARGE)))
def test_what_was_interrupted_in_any_stage_ends_with_the_same_bits_and_another_seed_with_others(
    name, tmp_path, monkeypatch
):
    chosen = experiment(name, tmp_path, ("a", "b"))
    two = chosen.model_copy(update={"seeds": (0, 1)})
    whole = runtime(tmp_path / "whole", checkpoint_every_s=0)
    first, other = run_experiment(two, whole, tmp_path / "out-whole")
    expected = stored(first, tmp_path / "whole")
    if expected:  # a mean of earlier stages stores nothing of its own
        assert any(not torch.equal(value, stored(other, tmp_path / "whole")[key]) for key, value in expected.items())
    halves = runtime(tmp_path / "halves", checkpoint_every_s=0)
    (record,) = stopped_and_repeated(lambda: run_experiment(chosen, halves, tmp_path / "out-halves"), monkeypatch)
    found = stored(record, tmp_path / "halves")
    assert set(found) == set(expected)
    assert all(torch.equal(value, found[key]) for key, value in expected.items())
    curves = [
        [[{**entry.model_dump(), "seconds": 0} for entry in stage.curve] for stage in one.stages]
        for one in (first, record)
    ]
    assert curves[0] == curves[1]
