"""The one look at the test split: after the last stage, every kept model is scored in one go."""

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from awase.config import StageConfig
from awase.digest import json_digest
from awase.evaluation import (
    Keep,
    Labelled,
    Outputs,
    best_threshold,
    conditions,
    linear_probe,
    measure,
    to_predictions,
)
from awase.evaluation.classification import as_array
from awase.files import write_text
from awase.models import Classifier
from awase.records import Metric, RetrievalRecord, StreamRecord
from awase.runner.known import SPLITS, features_digest, of_finished
from awase.runner.nodes import NodeRunner, StageResult
from awase.runner.setting import Setting
from awase.runner.work import look
from awase.statistics import Predictions, StreamHits, concatenate
from awase.training.identity import encoder_document

MISSING_SEED = 0


@dataclass(frozen=True)
class Final:
    """The numbers of a finished run, its predictions, and the threshold that validation chose (several labels).

    A run in a joint space has no predictions of classes but what `retrieval` says.
    """

    metrics: tuple[Metric, ...]
    predictions: Predictions | None
    threshold: float
    retrieval: RetrievalRecord | None = None
    stream: tuple[StreamRecord, StreamHits] | None = None


def score_run(runner: NodeRunner, last: StageResult) -> Final:
    """Scores the last stage's model on validation and test, whole and with modalities taken away."""
    setting = runner.setting
    dataset = setting.dataset
    model = runner.model(last)
    known = of_finished(model, setting)
    val = look(model, "val", setting, known=known)
    threshold = best_threshold(val.logits, val.targets) if setting.multi_label and val.targets is not None else 0.5
    test = look(model, "test", setting, known=known)
    metrics = [*measure(val, "val", setting.label_task, threshold=threshold)]
    plans = conditions(model.modalities, setting.experiment.missing_rates, num_rows=len(dataset.ids), seed=MISSING_SEED)
    for name, keep in plans.items():
        seen = without(model, test, "test", keep, setting) if keep else test
        metrics += measure(seen, "test", setting.label_task, threshold=threshold, condition=name)
    parts = [
        to_predictions(outputs, split, setting.label_task, threshold=threshold, groups=dataset.groups)
        for split, outputs in (("val", val), ("test", test))
    ]
    return Final(tuple(metrics), concatenate(parts), threshold)


def without(model: Classifier, outputs: Outputs, split: str, keep: Keep, setting: Setting) -> Outputs:
    """The outputs with only the modalities that `keep` lets stay; encoded again where the modalities meet inside.

    Also where a row's adapters and heads are those of its data set.
    """
    return look(model, split, setting, keep=keep) if model.mixes or model.routes else redecide(model, outputs, keep)


def redecide(model: Classifier, outputs: Outputs, keep: Keep) -> Outputs:
    """The outputs with only the modalities that `keep` lets stay, from the features already encoded."""
    index = outputs.index.numpy()
    present = {}
    for name, rows in outputs.present.items():
        stays = keep.get(name, True)
        mask = np.full(len(index), stays) if isinstance(stays, bool) else stays[index]
        present[name] = rows & torch.from_numpy(mask)
    some = torch.stack(list(present.values())).any(dim=0)
    device = next(model.parameters()).device
    with torch.no_grad():
        logits, modality_logits = model.decide(
            {name: value[some].to(device) for name, value in outputs.features.items()},
            {name: rows[some].to(device) for name, rows in present.items()},
        )
    return replace(
        outputs,
        ids=tuple(name for name, stays in zip(outputs.ids, some.tolist(), strict=True) if stays),
        index=outputs.index[some],
        targets=None if outputs.targets is None else outputs.targets[some],
        logits=logits.cpu(),
        modality_logits={name: value.cpu() for name, value in modality_logits.items()},
        features={name: value[some] for name, value in outputs.features.items()},
        present={name: rows[some] for name, rows in present.items()},
        left_out=outputs.left_out + int((~some).sum()),
    )


def probe_stage(runner: NodeRunner, result: StageResult) -> dict[str, float]:
    """Modality -> test accuracy of a linear classifier on the stage's frozen features; remembered in the cache.

    Features are those of the samples that have the modality, without augmentation. Two stages with the same encoder
    share the number.
    """
    setting = runner.setting
    model = runner.model(result)
    known = of_finished(model, setting)
    looks: dict[str, Outputs] = {}
    found: dict[str, float] = {}
    for name in model.modalities:
        file = setting.runtime.cache / "probes" / f"{_probe_key(model, name, result.stage, setting)}.json"
        if not file.is_file():
            looks = looks or {split: look(model, split, setting, known=known) for split in SPLITS}
            train, val, test = (labelled(looks[split], name) for split in SPLITS)
            value = linear_probe(train, val, test, setting.label_task)
            write_text(file, json.dumps({"format_version": 1, "value": value}))
        found[name] = float(json.loads(file.read_text(encoding="utf-8"))["value"])
    return found


def _probe_key(model: Classifier, name: str, stage: StageConfig, setting: Setting) -> str:
    document: dict[str, Any] = {
        "weights": features_digest(model, name),
        "encoder": encoder_document(setting.encoders[name]),
        "fusion": stage.fusion.model_dump(mode="json") if model.mixes else None,
        "data": setting.dataset.fingerprint,
        "input": setting.dataset.inputs[name].model_dump(mode="json"),
        "dtype": setting.runtime.dtype,
        "task": setting.label_task,
        "splits": {split: json_digest(rows.tolist()) for split, rows in setting.dataset.splits.items()},
    }
    return json_digest(document)


def labelled(outputs: Outputs, name: str) -> Labelled:
    """A modality's features with the targets of the samples that have it."""
    rows = outputs.present[name].numpy()
    assert outputs.targets is not None, "an experiment's rows have labels"
    return Labelled(as_array(outputs.features[name])[rows], as_array(outputs.targets)[rows])
