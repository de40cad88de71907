"""What a stage of a stream adds to its loss so that it keeps what the stages before it could do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from awase.config import StageConfig, StageStream
from awase.config.policies import LowRankPolicy
from awase.data import Dataset
from awase.models import Classifier
from awase.objectives import cross_entropy, elastic_penalty, logit_distance, orthogonality
from awase.runner.build import build_classifier
from awase.runner.known import autocast
from awase.runner.low_rank import adapted_layers, begin_directions, learned_directions
from awase.runner.setting import Setting
from awase.runner.work import Term
from awase.types import Batch, ClassifierOutput

Teacher = tuple[Classifier, Setting]
"""The frozen model of an earlier stage, and the setting with the rows that the stage learned from."""


def stream_terms(
    stage: StageConfig, model: Classifier, teachers: Sequence[Teacher], setting: Setting
) -> tuple[Term, ...]:
    """The terms of a stage of a stream; `teachers` are those of the stage, in order, and `setting` that of all rows."""
    stream = stage.stream
    terms: list[Term] = []
    if stream is not None and stream.distillation > 0:
        terms.append(_old_logits(stream, teachers[-1][0], setting))
    if stream is not None and stream.elastic > 0:
        terms.append(_elastic(stream, model, teachers))
    if stream is not None and stream.low_rank is not None and stream.low_rank.weight > 0:
        terms.append(_orthogonal(stage, stream.low_rank, model, setting))
    return tuple(terms)


def begin_low_rank(stage: StageConfig, model: Classifier, setting: Setting) -> None:
    """Lets the adapters of a stage begin with the directions of its policy; nothing where it has none.

    Old samples are the training rows of the earlier data sets, new ones those of its own; without augmentation.
    """
    stream = stage.stream
    if stream is None or stream.low_rank is None:
        return

    def batches(names: Sequence[str]) -> Iterator[Batch]:
        dataset = setting.of_rows(names).dataset
        loader = dataset.loader("train", batch_size=stage.training.batch_size, modalities=model.modalities)
        return loader.epoch(0)

    def forward(batch: Batch) -> Tensor:
        assert batch.targets is not None, "training rows have labels"
        with autocast(setting):
            return cross_entropy(model(batch).logits, batch.targets).mean()

    begin_directions(
        model,
        adapted_layers(model, stage.adapters, ("encoders",)),
        stream.low_rank,
        forward,
        lambda: batches(stream.data_sets),
        lambda: batches(stream.earlier),
        device=setting.device,
    )


def _orthogonal(stage: StageConfig, policy: LowRankPolicy, model: Classifier, setting: Setting) -> Term:
    layers = adapted_layers(model, stage.adapters, ("encoders",))
    learned = learned_directions(layers, build_classifier(stage, setting.spec, {}), policy.rank)
    reading = {name: adapter.A for name, (_, adapter) in layers.items()}
    return lambda batch, output: orthogonality(reading, [learned], strength=policy.weight)


def classes_of(dataset: Dataset, names: Sequence[str]) -> np.ndarray:
    """The numbers of the classes that the training rows of these data sets have, in order."""
    assert dataset.stream is not None, "the data is a stream"
    return np.unique(dataset.targets[dataset.stream.rows(dataset.splits["train"], names)])


def _old_logits(stream: StageStream, teacher: Classifier, setting: Setting) -> Term:
    assert isinstance(setting.dataset, Dataset), "a stream is a table"
    classes = torch.from_numpy(classes_of(setting.dataset, stream.earlier)).to(setting.device)

    def term(batch: Batch, output: ClassifierOutput) -> Tensor:
        with torch.no_grad(), autocast(setting):
            old = teacher(batch).logits
        distance = logit_distance(output.logits, old, temperature=stream.temperature, classes=classes)
        return stream.distillation * distance

    return term


def _elastic(stream: StageStream, model: Classifier, teachers: Sequence[Teacher]) -> Term:
    learning = {name: value for name, value in model.named_parameters() if value.requires_grad}
    known = []
    for teacher, setting in teachers:
        anchors = {name: value for name, value in teacher.named_parameters() if name in learning}
        known.append((anchors, fisher_of(teacher, anchors, setting, stream.fisher_rows)))

    def term(batch: Batch, output: ClassifierOutput) -> Tensor:
        penalties = [elastic_penalty(learning, *one, strength=stream.elastic) for one in known]
        return torch.stack(penalties).sum()

    return term


def fisher_of(model: Classifier, parameters: Mapping[str, Tensor], setting: Setting, most: int) -> dict[str, Tensor]:
    """(1/N) sum_i (d loss_i / d theta)^2 of every entry of these parameters of a frozen model: its empirical Fisher
    information on N training rows of a setting, at most `most`, drawn with the seed.

    The loss is the cross-entropy of the fused logits, without augmentation, in evaluation mode. One sample at a time:
    `objectives.diagonal_fisher` is faster, and not every encoder can be mapped over samples, as it needs.
    """
    dataset = setting.dataset
    assert isinstance(dataset, Dataset), "a stream is a table"
    generator = np.random.default_rng(np.random.SeedSequence([setting.seed, 0xF154]))
    rows = dataset.splits["train"]
    chosen = np.sort(rows[generator.permutation(len(rows))[:most]])
    few = replace(dataset, splits={**dataset.splits, "train": chosen})
    loader = few.loader("train", batch_size=1, modalities=model.modalities)
    own = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    sums = {name: torch.zeros_like(value) for name, value in own.items()}
    for sample in loader.epoch(0):
        batch = sample.to(setting.device)
        assert batch.targets is not None, "training rows have labels"
        loss = cross_entropy(functional_call(model, own, (batch,)).logits, batch.targets).sum()
        gradients = torch.autograd.grad(loss, list(own.values()), allow_unused=True)
        for name, gradient in zip(own, gradients, strict=True):
            if gradient is not None:  # of a modality that the sample lacks
                sums[name] += gradient.square()
    return {name: value / len(loader) for name, value in sums.items()}
