"""What the runner computes from data and outputs on its way to the loop: class weights, aligned outputs, presence."""

import numpy as np
import torch
from tiny_experiment import tiny

from awase.config import TrainConfig
from awase.distributed import ALONE
from awase.evaluation import Outputs, collect
from awase.methods import build_method
from awase.runner.final import redecide
from awase.runner.nodes import NodeRunner, aligned
from awase.runner.setting import open_setting
from awase.runner.work import class_weights, look

BALANCED = TrainConfig(class_weights="balanced")


def test_balanced_weights_are_inverse_to_the_training_rows(runtime):
    setting = open_setting(tiny(), runtime, 0, None, ALONE)
    targets = setting.dataset.targets[setting.dataset.splits["train"]]
    counts = np.array([(targets == label).sum() for label in range(len(setting.dataset.classes))])
    found = class_weights(BALANCED, setting)
    np.testing.assert_allclose(found, len(targets) / (len(counts) * np.maximum(counts, 1)), rtol=1e-6)
    assert class_weights(TrainConfig(), setting) is None


def outputs(ids: tuple[str, ...], scale: float) -> Outputs:
    index = torch.tensor([int(name[1:]) for name in ids])
    logits = scale * torch.stack([index.float(), -index.float()], dim=1)
    return Outputs(ids, index, index % 2, logits, {}, {}, {}, 0)


def test_outputs_are_aligned_by_sample_and_reduced_to_those_all_have():
    logits, targets = aligned({"a": outputs(("s3", "s1", "s2"), 1.0), "b": outputs(("s1", "s5", "s3"), 10.0)})
    assert logits["a"].tolist() == [[1, -1], [3, -3]]
    assert logits["b"].tolist() == [[10, -10], [30, -30]]
    assert targets.tolist() == [1, 1]


def test_deciding_again_equals_showing_the_model_less(runtime):
    """The shortcut over features already encoded against the model on inputs without the modality."""
    setting = open_setting(tiny(), runtime, 0, None, ALONE)
    runner = NodeRunner(setting)
    model = runner.model(runner.run(build_method("ume", setting.method_context(), {})))
    whole = look(model, "test", setting)
    rows = np.zeros(len(setting.dataset.ids), dtype=bool)
    rows[whole.index.numpy()[::3]] = True
    short = redecide(model, whole, {"video": False, "audio": rows})
    loader = setting.dataset.loader("test", batch_size=7, modalities=model.modalities)
    slow = collect(model, loader.epoch(0), "cpu", keep={"video": False, "audio": rows})
    assert short.ids == slow.ids
    assert short.left_out == slow.left_out == len(whole) - len(short)
    torch.testing.assert_close(short.logits, slow.logits)
