from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from awase.evaluation import Outputs, collect, measure, to_predictions
from awase.evaluation.classification import score
from awase.types import Batch, ClassifierOutput, Encoded


class Mean(nn.Module):
    """The mean of the present modalities' linear logits."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.BatchNorm1d(5)
        self.heads = nn.ModuleDict({"audio": nn.Linear(5, 3), "video": nn.Linear(5, 3)})

    def forward(self, batch: Batch) -> ClassifierOutput:
        features = {name: self.frozen(batch.inputs[name]) for name in self.heads}
        logits = {name: head(features[name]) * batch.present[name][:, None] for name, head in self.heads.items()}
        counts = sum(batch.present[name].float() for name in self.heads)
        encoded = {name: Encoded(value) for name, value in features.items()}
        return ClassifierOutput(sum(logits.values()) / counts[:, None], logits, encoded)


def data(num: int = 13) -> Batch:
    generator = torch.Generator().manual_seed(0)
    audio = torch.ones(num, dtype=torch.bool)
    audio[4] = False
    inputs = {name: torch.randn(num, 5, generator=generator) for name in ("audio", "video")}
    return Batch(
        tuple(f"s{i}" for i in range(num)),
        torch.arange(num),
        inputs,
        {"audio": audio, "video": torch.ones(num, dtype=torch.bool)},
        frozenset({"video"}),
        torch.arange(num) % 3,
    )


def pieces(whole: Batch, size: int) -> list[Batch]:
    return [
        Batch(
            whole.ids[i : i + size],
            whole.index[i : i + size],
            {name: value[i : i + size] for name, value in whole.inputs.items()},
            {name: value[i : i + size] for name, value in whole.present.items()},
            whole.complete,
            whole.targets[i : i + size],
        )
        for i in range(0, len(whole), size)
    ]


@pytest.fixture
def model() -> Mean:
    torch.manual_seed(0)
    return Mean()


def test_uneven_batches_give_the_whole(model: Mean):
    whole = collect(model, [data()], "cpu")
    parts = collect(model, pieces(data(), 5), "cpu")
    assert parts.ids == whole.ids
    assert parts.left_out == 0
    torch.testing.assert_close(parts.logits, whole.logits)
    torch.testing.assert_close(parts.features["audio"], whole.features["audio"])
    assert torch.equal(parts.targets, data().targets)
    assert torch.equal(parts.present["audio"], data().present["audio"])


def test_a_pass_changes_nothing(model: Mean):
    model.train()
    model.frozen.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    outputs = collect(model, pieces(data(), 5), "cpu", features=False)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (model.training, model.heads.training, model.frozen.training) == (True, True, False)
    assert not outputs.logits.requires_grad
    assert outputs.features == {}


def test_modes_come_back_after_an_error(model: Mean):
    with pytest.raises(KeyError):
        collect(model.train(), [replace(data(), inputs={})], "cpu")
    assert model.training


def test_keep_takes_modalities_away(model: Mean):
    full, video = collect(model, [data()], "cpu"), collect(model, [data()], "cpu", keep={"audio": False})
    torch.testing.assert_close(video.logits, full.modality_logits["video"])
    audio = collect(model, pieces(data(), 5), "cpu", keep={"video": False})
    assert audio.left_out == 1
    assert "s4" not in audio.ids


def test_samples_without_any_modality_are_counted(model: Mean):
    whole = data()
    none = torch.zeros(13, dtype=torch.bool)
    lone = replace(whole, present={"audio": whole.present["audio"], "video": none}, complete=frozenset())
    assert collect(model, [lone], "cpu").left_out == 1
    with pytest.raises(ValueError, match="13 had none"):
        collect(model, [replace(lone, present={"audio": none, "video": none})], "cpu")


def test_measure_scores_each_modality_over_the_samples_that_have_it(model: Mean):
    outputs = collect(model, [data()], "cpu")
    metrics = {(m.condition, m.name): m for m in measure(outputs, "test", "single_label")}
    rows = outputs.present["audio"]
    expected = score(outputs.modality_logits["audio"][rows], outputs.targets[rows], "single_label")
    assert metrics["modality:audio", "accuracy"].value == expected["accuracy"]
    assert metrics["modality:audio", "loss"].count == 12
    assert metrics["full", "f1_macro"].count == 13
    assert {condition for condition, _ in metrics} == {"full", "modality:audio", "modality:video"}
    assert {m.condition for m in measure(outputs, "val", "single_label", condition="only:audio")} == {"only:audio"}


def test_measure_needs_labels(model: Mean):
    with pytest.raises(ValueError, match="no labels"):
        measure(collect(model, [replace(data(), targets=None)], "cpu"), "test", "single_label")


def test_predictions_are_the_outputs_row_by_row(model: Mean):
    outputs = collect(model, [data()], "cpu")
    made = to_predictions(outputs, "test", "single_label", groups=[f"g{i // 2}" for i in range(13)])
    np.testing.assert_array_equal(made.logits, outputs.logits.numpy())
    np.testing.assert_array_equal(made.predicted, outputs.logits.argmax(dim=1).numpy())
    np.testing.assert_array_equal(made.targets, outputs.targets.numpy())
    assert np.isnan(made.modality_logits["audio"][4]).all()
    assert not np.isnan(made.modality_logits["video"]).any()
    assert made.groups[:3] == ("g0", "g0", "g1")
    assert made.splits == ("test",) * 13


def test_predictions_of_several_labels_use_the_threshold(model: Mean):
    outputs: Outputs = replace(collect(model, [data()], "cpu"), targets=None)
    made = to_predictions(outputs, "test", "multi_label", threshold=0.6)
    np.testing.assert_array_equal(made.predicted, (torch.sigmoid(outputs.logits.double()) >= 0.6).numpy())
    assert made.targets.shape == (13, 3)
    assert to_predictions(outputs, "test", "single_label").targets.tolist() == [-1] * 13
