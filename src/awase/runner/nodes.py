"""Runs the nodes of a method: each distinct stage is trained once, every other time it is read from the store."""

import logging
import resource
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from awase.adapters import Bank
from awase.adapters.bank import DEFAULT_KEY
from awase.config import DeriveConfig, Node, ObjectiveConfig, StageConfig
from awase.digest import tensors_digest
from awase.evaluation import Outputs
from awase.evaluation.classification import as_array
from awase.models import Classifier, Retrieval
from awase.records import Epoch
from awase.runner.build import OBJECTIVE, Model, build_classifier, build_model, build_retrieval
from awase.runner.setting import Setting
from awase.runner.space_scores import space_metrics
from awase.runner.space_work import begin_anew, space_work
from awase.runner.stream_work import begin_low_rank, stream_terms
from awase.runner.work import classification_work, look, split_metrics
from awase.training.checkpoint import CheckpointWriter, read_checkpoint
from awase.training.decisions import DECISIONS, MEASURED
from awase.training.identity import stage_document, stage_hash
from awase.training.loop import Loop, LoopSettings, Work
from awase.training.parts import freeze_except, frozen_tensors, match_parts, trained_tensors
from awase.training.store import StoredStage

log = logging.getLogger(__name__)
AnyModel = TypeVar("AnyModel", Classifier, Retrieval)
HEADS = ("heads.", "fusion.", "projections.", "reconstructions.")
"""Of these state names on, parameters learn at the head's rate."""


@dataclass(frozen=True)
class StageResult:
    """A finished stage: its model's tensors (its own parts and those it began from), and what is known about it."""

    stage: StageConfig
    hash: str
    reused: bool
    tensors: dict[str, Tensor]
    derived: dict[str, Any]
    facts: dict[str, Any]


@dataclass
class NodeRunner:
    """Runs nodes in order and remembers their results by name; `on_epoch(stage, epoch)` hears of progress."""

    setting: Setting
    on_epoch: Callable[[str, StageConfig, Epoch], None] = lambda name, stage, epoch: None
    stages: dict[str, StageResult] = field(default_factory=dict)
    decisions: dict[str, dict[str, Any]] = field(default_factory=dict)
    _built: tuple[StageResult, Classifier] | None = field(default=None, init=False, repr=False)

    def run(self, nodes: Sequence[Node]) -> StageResult:
        """The result of the last stage, after running every node that no decision leaves out."""
        last = None
        for node in nodes:
            if isinstance(node, DeriveConfig):
                self.decisions[node.name] = self._decide(node)
            elif all(self.decisions[name]["choice"] == value for name, value in node.only_if.items()):
                last = self.stages[node.name] = self._stage(node)
        assert last is not None, "a method has at least one stage"
        return last

    def model(self, result: StageResult) -> Classifier:
        """The classifier of a finished stage on the device, all of it frozen; kept until another one is asked for."""
        if self._built is None or self._built[0] is not result:
            self._built = None
            model = build_classifier(result.stage, self.setting.spec, result.derived)
            self._built = result, self._frozen(model, result)
        return self._built[1]

    def space(self, result: StageResult) -> Retrieval:
        """The model of a finished stage in a joint space on the device, all of it frozen."""
        return self._frozen(build_retrieval(result.stage, self.setting.spec), result)

    def _frozen(self, model: AnyModel, result: StageResult) -> AnyModel:
        load_tensors(model, result.tensors)
        freeze_except(model, ())
        return model.to(self.setting.device).eval()

    # ---- decisions -----------------------------------------------------------------------------------------------

    def _decide(self, node: DeriveConfig) -> dict[str, Any]:
        if node.function in MEASURED:
            facts = {name: self.stages[name].facts for name in node.stages}
            return MEASURED[node.function](facts, self.setting.experiment.selection, **node.options)
        if node.function not in DECISIONS:
            valid = ", ".join(sorted({*DECISIONS, *MEASURED}))
            raise ValueError(f"There is no decision {node.function!r}; valid names: {valid}.")
        outputs = {}
        for name in node.stages:
            result = self.stages[name]
            outputs[result.stage.modalities[0]] = look(self.model(result), "val", self.setting)
        logits, targets = aligned(outputs)
        return DECISIONS[node.function](logits, targets, **node.options)

    # ---- stages --------------------------------------------------------------------------------------------------

    def _stage(self, stage: StageConfig) -> StageResult:
        self._built = None
        derived = {option: self.decisions[name] for option, name in stage.derived.items()}
        model = build_model(stage, self.setting.spec, derived)
        inherited = self._inherit(model, stage)
        trained = match_parts(stage.train, model.parts()) if stage.train else ()
        if isinstance(model, Retrieval):
            begin_anew(model, stage, trained)
        fresh = {name: value for name, value in model.state_dict().items() if name not in inherited}
        parents = [self.stages[name].hash for name in stage.start]
        teachers = [self.stages[name].hash for name in stage.teachers]
        initial = tensors_digest(fresh)
        document = stage_document(stage, parents, initial, self.setting.surroundings(), derived, teachers)
        address = stage_hash(document)
        store = self.setting.store
        with store.lock(address):
            stored = store.find(address)
            reused = stored is not None
            if stored is None:
                stored = self._train(stage, model, trained, address, derived)
            else:
                own = trained_tensors(model.parts(), trained)
                check_fit(stored.tensors, own, f"The weights in {store.folder(address)} are", needed=own)
                log.info("stage %s of %s: re-used %s", stage.name, "+".join(stage.modalities), address)
        load_tensors(model, stored.tensors)
        tensors = {name: value.detach().cpu() for name, value in model.state_dict().items()}
        if reused:
            for entry in stored.facts["curve"]:
                self.on_epoch(address, stage, Epoch(**entry))
        return StageResult(stage, address, reused, tensors, derived, stored.facts)

    def _inherit(self, model: Model, stage: StageConfig) -> set[str]:
        """Loads what the earlier stages made into the model; returns the names of the tensors that came from them."""
        own = model.state_dict()
        inherited: set[str] = set()
        for name in stage.start:
            if name not in self.stages:
                known = ", ".join(self.stages) or "none"
                raise ValueError(
                    f"Stage {stage.name!r} starts from {name!r}, which is no earlier stage; known: {known}."
                )
            common = {key: value for key, value in self._tensors_for(stage, name).items() if key in own}
            load_tensors(model, common)
            inherited |= set(common)
        return inherited

    def _tensors_for(self, stage: StageConfig, name: str) -> dict[str, Tensor]:
        """What an earlier stage made; adapters of whole towers that this stage does not go on with are in the weights.

        They are those of a joint space that this stage lacks, and every one of a stream, where each stage has its own.
        """
        earlier = self.stages[name]
        of_stream = stage.stream is not None and not stage.stream.keys
        gone = set(earlier.stage.adapters) - (set() if of_stream else set(stage.adapters))
        if not gone or (stage.retrieval is None and not of_stream):
            return earlier.tensors
        model = build_model(earlier.stage, self.setting.spec, earlier.derived)
        load_tensors(model, earlier.tensors)
        towers = [model.encoders] if isinstance(model, Classifier) else [model.encoders, model.projections]
        for module in (part[modality] for part in towers for modality in gone):
            if Bank(module).keys():
                Bank(module).fold(DEFAULT_KEY)
        return dict(model.state_dict())

    def _train(
        self, stage: StageConfig, model: Model, trained: tuple[str, ...], address: str, derived: dict[str, Any]
    ) -> StoredStage:
        setting = self.setting
        model.to(setting.device)
        parameters = freeze_except(model, trained)
        before = tensors_digest(frozen_tensors(model.parts(), trained))
        started = time.monotonic()
        reset_peak_memory(setting.device)
        facts: dict[str, Any] = {"curve": [], "best_epoch": None, "still_improving": False}
        if stage.measure_ends:
            facts["begin"] = self._ends(model, stage)
        work = self._work(stage, model, trained, derived) if trained else None
        if work is not None:
            log.info("stage %s of %s: training %s", stage.name, "+".join(stage.modalities), ", ".join(trained))
            facts |= self._loop(stage, model, trained, address, work)
        if stage.measure_ends:
            facts["end"] = self._ends(model, stage)
        if tensors_digest(frozen_tensors(model.parts(), trained)) != before:
            raise RuntimeError(f"Stage {stage.name!r} changed a part it does not train; this is a defect of awase.")
        facts |= {
            "name": stage.name,
            "modalities": list(stage.modalities),
            "trained_parts": list(trained),
            "trainable_parameters": sum(p.numel() for p in parameters.values() if p.requires_grad),
            "total_parameters": sum(p.numel() for p in model.parameters()),
            "seconds": time.monotonic() - started,
            "peak_memory_mib": peak_memory_mib(setting.device),
            "val": self._metrics(model, stage),
        }
        facts["guards"] = self._guards(stage, model) if trained else {}
        tensors = trained_tensors(model.parts(), trained)
        whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        if setting.world.is_first:
            setting.store.publish(address, whole, facts)
        return StoredStage(address, whole, facts)

    def _ends(self, model: Model, stage: StageConfig) -> dict[str, float]:
        """The mean loss on train and on validation in evaluation mode, without augmentation."""
        assert isinstance(model, Classifier), "only measuring stages of classification ask for it"
        setting = self.setting.of_stage(stage)
        return {split: split_metrics(model, split, setting)["loss"] for split in ("train", "val")}

    def _metrics(self, model: Model, stage: StageConfig) -> dict[str, float]:
        """The metrics of a stage's model on validation."""
        if isinstance(model, Retrieval):
            return space_metrics(model, stage, "val", self.setting)
        return split_metrics(model, "val", self.setting.of_stage(stage))

    def _work(self, stage: StageConfig, model: Model, trained: tuple[str, ...], derived: dict[str, Any]) -> Work:
        if isinstance(model, Retrieval):
            return space_work(model, stage, trained, self.setting)
        found = {k: v for k, v in derived.get(OBJECTIVE, {}).items() if k in ObjectiveConfig.model_fields}
        objective = ObjectiveConfig.model_validate({**stage.objective.model_dump(), **found})
        teachers = [self.stages[name] for name in stage.teachers]
        models = [self.model(teacher) for teacher in teachers]
        of_features: dict[str, Classifier] = {}
        for teacher, frozen in zip(teachers, models, strict=True) if objective.distillation > 0 else ():
            of_features |= dict.fromkeys(teacher.stage.modalities, frozen)
        setting = self.setting.of_stage(stage)
        settings = [self.setting.of_stage(teacher.stage) for teacher in teachers]
        begin_low_rank(stage, model, self.setting)
        terms = stream_terms(stage, model, list(zip(models, settings, strict=True)), self.setting)
        return classification_work(
            model, stage, trained, setting, objective=objective, teachers=of_features, terms=terms
        )

    def _loop(
        self, stage: StageConfig, model: Model, trained: tuple[str, ...], address: str, work: Work
    ) -> dict[str, Any]:
        setting = self.setting
        path = setting.store.checkpoint_file(address)
        writer = CheckpointWriter(path)
        settings = LoopSettings(
            selection=setting.experiment.selection,
            device=setting.device,
            world=setting.world,
            writer=writer,
            checkpoint_every_s=setting.runtime.checkpoint_every_s,
            on_epoch=lambda epoch: self.on_epoch(address, stage, epoch),
        )
        if stage.training.checkpoint_activations:
            enable_checkpointing(model)
        tensors = trained_tensors(model.parts(), trained)
        heads = frozenset(name for name in tensors if name.startswith(HEADS))
        checkpoint = read_checkpoint(path)
        if checkpoint is not None:
            kept = checkpoint.of("weights")
            check_fit(kept, tensors, f"The checkpoint {path} is", needed=tensors)
        devices = [] if setting.device == "cpu" else [torch.device(setting.device)]
        try:
            with torch.random.fork_rng(devices=devices):
                torch.manual_seed(int(address[:8], 16))
                result = Loop(tensors, heads, stage.training, work, settings).run(checkpoint)
        finally:
            writer.close()
        return {
            **work.rule.facts(),
            "curve": [entry.model_dump() for entry in result.curve],
            "best_epoch": result.best_epoch,
            "still_improving": result.still_improving and not stage.measure_ends,  # a measurement is as long as it is
        }

    def _guards(self, stage: StageConfig, model: Model) -> dict[str, dict[str, float]]:
        """The validation metric of each earlier stage's task, before this stage and with the parts it changed."""
        metric = self.setting.experiment.selection.metric
        guards = {}
        for name in stage.start:
            earlier = self.stages[name]
            adapters = {m: a for m, a in stage.adapters.items() if m in earlier.stage.modalities}
            changed = earlier.stage.model_copy(update={"adapters": {**earlier.stage.adapters, **adapters}})
            now = build_model(changed, self.setting.spec, earlier.derived)
            names = now.state_dict().keys()
            load_tensors(now, earlier.tensors)
            load_tensors(now, {key: value for key, value in model.state_dict().items() if key in names})
            after = self._metrics(now.to(self.setting.device), changed)
            guards[name] = {"before": earlier.facts["val"][metric], "after": after[metric]}
        return guards


def aligned(outputs: Mapping[str, Outputs]) -> tuple[dict[str, NDArray[np.float64]], NDArray[Any]]:
    """Logits per name, and targets, of the samples that all of the outputs have, in one order."""
    common = set.intersection(*(set(part.ids) for part in outputs.values()))
    logits, targets = {}, np.empty(0)
    for name, part in outputs.items():
        rows = [row for row in np.argsort(part.ids, kind="stable") if part.ids[row] in common]
        assert part.targets is not None, "an experiment's rows have labels"
        logits[name] = as_array(part.logits).astype(np.float64)[rows]
        targets = as_array(part.targets)[rows]
    return logits, targets


def load_tensors(model: Model, tensors: dict[str, Tensor]) -> None:
    """Copies the tensors into the model; raises `ValueError` for one that the model does not have in that shape."""
    check_fit(tensors, model.state_dict(), "The weights are")
    model.load_state_dict(tensors, strict=False)


def check_fit(
    tensors: Mapping[str, Tensor], places: Mapping[str, Tensor], what: str, *, needed: Iterable[str] = ()
) -> None:
    """Raises `ValueError` where a tensor has no place of its name and shape, or a needed one is not there."""
    odd = [name for name, value in tensors.items() if name not in places or places[name].shape != value.shape]
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        raise ValueError(
            f"{what} of another model: this one has no place of that shape for {', '.join(odd[:3])}{more}."
        )
    absent = sorted(set(needed) - set(tensors))
    if absent:
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise ValueError(f"{what} of another model: {', '.join(absent[:3])}{more} are not among them.")


def enable_checkpointing(model: Model) -> None:
    """Activation checkpointing in every encoder; raises `ValueError` for one that cannot."""
    for name, encoder in model.encoders.items():
        enable = getattr(encoder, "enable_checkpointing", None)
        if enable is None:
            raise ValueError(
                f"The encoder of {name!r} has no activation checkpointing; set checkpoint_activations=false."
            )
        enable()


def reset_peak_memory(device: str) -> None:
    """Begins a new measurement of peak memory, where the system allows it."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        log.debug("peak memory is that of the whole process: it cannot be reset here")


def peak_memory_mib(device: str) -> float:
    """Peak memory since the last reset in MiB: of the GPU's allocator, or resident memory of this process."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 2**10
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 2**10
