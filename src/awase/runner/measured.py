"""The passes behind a diagnosis: what the model, its parts, and probes on its features decide about one split."""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from awase.evaluation import Outputs, probe_scores
from awase.evaluation.classification import as_array
from awase.evaluation.decided import Decided, constant, decide
from awase.evaluation.evidence import Measured, OwnModel
from awase.evaluation.shapley import MAX_MODALITIES
from awase.models import Classifier
from awase.runner.again import Reopened
from awase.runner.final import labelled, without
from awase.runner.own_stages import OwnStage
from awase.runner.work import look
from awase.statistics.shapley import Subset, subsets

Split = Literal["val", "test"]
Look = Callable[[str], Outputs]


def measured(run: Reopened, split: Split, own: Mapping[str, OwnStage | None]) -> Measured:
    """Everything that is decided about the split's samples that have a modality, in the order of the data set."""
    return _Pass(run, split).measured(own)


class _Pass:
    """One diagnosis: the split's outputs once, and the places of its samples."""

    def __init__(self, run: Reopened, split: Split) -> None:
        self.run, self.split, self.setting = run, split, run.setting
        self.task, self.threshold = run.setting.label_task, run.model.saved.threshold
        self.model = run.model.classifier
        self.look = _remembered(self.model, run)
        self.outputs = self.look(split)
        self.places = {row: place for place, row in enumerate(self.outputs.index.tolist())}
        assert self.outputs.targets is not None, "an experiment's rows have labels"
        self.targets = as_array(self.outputs.targets)
        dataset = self.setting.dataset
        self.constant = constant(dataset.targets[dataset.splits["train"]], len(dataset.classes), self.targets)

    def measured(self, own: Mapping[str, OwnStage | None]) -> Measured:
        outputs, groups = self.outputs, self.setting.dataset.groups
        wanted = _wanted_subsets(self.model.modalities)
        decided = {chosen: self.given(chosen) for chosen in wanted}
        probes = {name: self.probe(self.look, name) for name in self.model.modalities}
        inside = {
            name: self.decisions(outputs.modality_logits[name], outputs)
            if name in outputs.modality_logits
            else decided[frozenset({name})].decisions
            for name in self.model.modalities
        }
        return Measured(
            targets=self.targets,
            groups=None if groups is None else tuple(groups[row] for row in outputs.index.tolist()),
            present={name: as_array(outputs.present[name]) for name in self.model.modalities},
            subsets=decided,
            inside=inside,
            probes=probes,
            own={name: self.own(name, own[name], decided, probes) for name in self.model.modalities},
        )

    def given(self, chosen: Subset) -> Decided:
        """What the model decides from the modalities in `chosen`; the constant prediction where a sample has none."""
        if not chosen:
            return self.constant
        if chosen == frozenset(self.model.modalities):
            return self.placed(self.outputs)
        keep = {name: False for name in self.model.modalities if name not in chosen}
        return self.placed(without(self.model, self.outputs, self.split, keep, self.setting))

    def placed(self, outputs: Outputs) -> Decided:
        """The decisions of some of the samples in their places, the constant prediction in the others."""
        assert outputs.targets is not None, "an experiment's rows have labels"
        said = decide(as_array(outputs.logits), as_array(outputs.targets), self.task, self.threshold)
        rows = self.rows(outputs)
        decisions, losses = self.constant.decisions.copy(), self.constant.losses.copy()
        decisions[rows], losses[rows] = said.decisions, said.losses
        return Decided(decisions, losses)

    def decisions(self, logits: Float[torch.Tensor, "samples classes"], outputs: Outputs) -> Int[np.ndarray, "..."]:
        """The decisions of logits of the same rows as `outputs`, in their places."""
        assert outputs.targets is not None, "an experiment's rows have labels"
        said = decide(as_array(logits), as_array(outputs.targets), self.task, self.threshold)
        found = self.constant.decisions.copy()
        found[self.rows(outputs)] = said.decisions
        return found

    def rows(self, outputs: Outputs) -> Int[np.ndarray, " rows"]:
        """The places of the outputs' samples."""
        return np.array([self.places[row] for row in outputs.index.tolist()], dtype=np.int64)

    def probe(self, look_at: Look, name: str) -> Float[np.ndarray, "samples classes"]:
        """The scores of a linear probe on one modality's features; zero for samples that lack it."""
        num_classes = len(self.setting.dataset.classes)
        outputs = look_at(self.split)
        test = labelled(outputs, name) if self.split == "test" else None
        said = probe_scores(
            labelled(look_at("train"), name), labelled(look_at("val"), name), test, self.task, num_classes
        )
        found = np.zeros((len(self.targets), num_classes))
        found[self.rows(outputs)[as_array(outputs.present[name])]] = said
        return found

    def own(
        self,
        name: str,
        stage: OwnStage | None,
        decided: Mapping[Subset, Decided],
        probes: Mapping[str, Float[np.ndarray, "samples classes"]],
    ) -> OwnModel:
        """The model of one modality alone; without one, the joint model given that modality."""
        if stage is None:
            return OwnModel("only", decided[frozenset({name})].decisions)
        if len(self.model.modalities) == 1:
            return OwnModel(stage.source, decided[frozenset({name})].decisions, stage.still_improving)
        look_at = _remembered(stage.model, self.run)
        outputs = look_at(self.split)
        said = self.decisions(outputs.logits, outputs)
        scores = probes[name] if _same_encoder(stage.model, self.model, name) else self.probe(look_at, name)
        probe = (scores >= 0).astype(np.int64) if self.targets.ndim == 2 else scores.argmax(axis=1)
        return OwnModel(stage.source, said, stage.still_improving, probe)


def _wanted_subsets(modalities: tuple[str, ...]) -> list[Subset]:
    """All of them for up to four modalities, else none, one, all but one and all."""
    if len(modalities) <= MAX_MODALITIES:
        return list(subsets(modalities))
    everything = frozenset(modalities)
    ones = [frozenset({name}) for name in modalities]
    return [frozenset(), *ones, *(everything - one for one in ones), everything]


def _remembered(model: Classifier, run: Reopened) -> Look:
    """Looks at splits, each once."""
    seen: dict[str, Outputs] = {}

    def look_at(split: str) -> Outputs:
        if split not in seen:
            seen[split] = look(model, split, run.setting)
        return seen[split]

    return look_at


def _same_encoder(a: Classifier, b: Classifier, name: str) -> bool:
    first, second = a.encoders[name].state_dict(), b.encoders[name].state_dict()
    same = first.keys() == second.keys() and not b.mixes
    return same and all(torch.equal(value, second[key]) for key, value in first.items())
