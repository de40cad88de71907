"""One seed and one fold of an experiment: its data, its device, and how its training is surrounded."""

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from awase.config import DataConfig, EncoderConfig, Experiment, Runtime, StageConfig, TextInput
from awase.data import Dataset, inferred, open_dataset
from awase.data.features import ClipDataset
from awase.data.labels import LabelTask, label_task
from awase.distributed import World
from awase.encoders import addressed, build_encoder, build_tokenizer, default_encoder, encoder_info
from awase.methods import MethodContext
from awase.methods.context import changed
from awase.runner.memory import FeatureMemory
from awase.runner.spec import ModelSpec, model_spec
from awase.training.identity import Surroundings
from awase.training.store import StageStore
from awase.types import Tokenizer


@dataclass(frozen=True)
class Setting:
    """Everything the stages of one seed and fold have in common."""

    experiment: Experiment
    runtime: Runtime
    dataset: Dataset | ClipDataset
    encoders: Mapping[str, EncoderConfig]
    seed: int
    fold: int | None
    device: str
    world: World
    memory: FeatureMemory = field(default_factory=FeatureMemory, repr=False, compare=False)

    @property
    def store(self) -> StageStore:
        """The stage store of the runtime's cache."""
        return StageStore(self.runtime.cache)

    @property
    def spec(self) -> ModelSpec:
        """How models of this setting are built."""
        return model_spec(self.dataset, self.encoders, self.seed, self.runtime.allow_pickle, self.experiment.data)

    @property
    def label_task(self) -> LabelTask:
        """The task of classification; raises `ValueError` in retrieval."""
        return label_task(self.dataset.task)

    @property
    def multi_label(self) -> bool:
        """Whether a sample may have several labels."""
        return self.spec.multi_label

    def set_name(self, split: str) -> str:
        """What a split is: `<data set> <split> [<fingerprint of its samples>]`, whatever its key is."""
        name = self.dataset.set_title(split) or f"{dataset_name(self.experiment.data)} {split}"
        return f"{name} [{self.dataset.content_of(split)[:12]}]"

    def with_seed(self, seed: int) -> "Setting":
        """The same data with another seed."""
        return replace(self, seed=seed)

    def of_stage(self, stage: StageConfig) -> "Setting":
        """The same, with the rows that the stage learns from and validates on; all of them where it is of no stream.

        Raises `ValueError` for a data set that the stream does not have, and for data that is no stream.
        """
        stream = stage.stream
        if stream is None:
            return self
        if isinstance(self.dataset, ClipDataset):
            raise ValueError("A store of features is no stream of data sets; use a table of rows.")
        rows = self.dataset.only(stream.data_sets, earlier=stream.earlier, share=stream.replay, seed=self.seed)
        return replace(self, dataset=rows)

    def of_rows(self, data_sets: Sequence[str]) -> "Setting":
        """The same with the rows of these data sets of a stream alone; itself where none is named."""
        if not data_sets:
            return self
        assert isinstance(self.dataset, Dataset), "a stream is a table"
        return replace(self, dataset=self.dataset.only(data_sets))

    def apart(self) -> "Setting":
        """The same with validation and test divided by the data sets of the stream, where there is one."""
        return self if isinstance(self.dataset, ClipDataset) else replace(self, dataset=self.dataset.apart())

    @cached_property
    def weights(self) -> dict[str, dict[str, Any]]:
        """What is known about each modality's encoder as configured, which is built once for it."""
        return {
            name: encoder_info(
                build_encoder(
                    config,
                    kind=self.dataset.inputs[name].kind,
                    input_shape=self.dataset.input_shape(name),
                    seed=self.seed,
                    allow_pickle=self.runtime.allow_pickle,
                )
            )
            for name, config in self.encoders.items()
        }

    def method_context(self) -> MethodContext:
        """What a method is told about the experiment."""
        base = self.experiment.unimodal
        changes = self.experiment.unimodal_overrides
        unimodal = {name: changed(base, changes.get(name)) for name in self.dataset.modalities}
        stream = None if isinstance(self.dataset, ClipDataset) else self.dataset.stream
        return MethodContext(
            self.dataset.modalities,
            unimodal,
            self.experiment.joint,
            self.experiment.from_start,
            () if stream is None else stream.names,
        )

    def surroundings(self) -> Surroundings:
        """What the hash of every stage takes in besides the stage itself."""
        return Surroundings(
            data_fingerprint=self.dataset.training_fingerprint,
            task=self.dataset.task,
            classes=self.dataset.classes,
            inputs=self.dataset.inputs,
            encoders={name: addressed(config) for name, config in self.encoders.items()},
            selection=self.experiment.selection,
            seed=self.seed,
            device=torch.device(self.device).type,
            dtype=self.runtime.dtype,
            threads=torch.get_num_threads(),
            world_size=self.world.size,
            sources=source_digests(self.encoders),
        )


def open_setting(experiment: Experiment, runtime: Runtime, seed: int, fold: int | None, world: World) -> Setting:
    """The setting of one seed and fold, with its data opened (decoded on the first call).

    Raises `ValueError` for an encoder or training of a modality the data does not have, and for an unknown device.
    """
    device = resolve_device(runtime.device)
    data = inferred(experiment.data if fold is None else experiment.data.model_copy(update={"fold": fold}))
    for what, given in (("an encoder", experiment.encoders), ("training", experiment.unimodal_overrides)):
        unknown = sorted(set(given) - set(data.inputs))
        if unknown:
            raise ValueError(
                f"There is {what} for {', '.join(unknown)}, which the data does not have; its modalities are: "
                f"{', '.join(data.inputs)}."
            )
    dataset = open_dataset(
        data,
        cache=runtime.cache,
        cache_gib=runtime.cache_gib,
        tokenizers=build_tokenizers(data, experiment.encoders),
    )
    encoders = {
        name: experiment.encoders.get(name) or default_encoder(dataset.inputs[name].kind) for name in dataset.modalities
    }
    return Setting(experiment, runtime, dataset, encoders, seed, fold, device, world)


def dataset_name(data: DataConfig) -> str:
    """The name of the data set in tables: the built-in one's, or the manifest's file name without its ending."""
    if data.dataset != "manifest":
        return data.dataset
    file = data.manifest or next(iter(data.split_files.values()))
    return file.stem if file.stem != "manifest" else file.resolve().parent.name


def build_tokenizers(data: DataConfig, encoders: Mapping[str, EncoderConfig]) -> dict[str, Tokenizer]:
    """The tokenizer of every text modality, made by its encoder."""
    return {
        name: build_tokenizer(encoders.get(name) or default_encoder("text"), setting.max_tokens)
        for name, setting in data.inputs.items()
        if isinstance(setting, TextInput)
    }


def resolve_device(name: str) -> str:
    """The device called `name`; `auto` is a GPU where there is one. Raises `ValueError` for one that is not there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = name.split(":")[0]
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"There is no device {name!r}; valid names: auto, cpu, cuda, cuda:0, cuda:1, ...")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"The device {name!r} was asked for, but torch {torch.__version__} sees no GPU; use cpu.")
    return name


def source_digests(encoders: Mapping[str, EncoderConfig]) -> dict[str, str]:
    """Modality -> digest of the file that its encoder, a callable of the user's, comes from."""
    digests = {}
    for name, config in encoders.items():
        if not isinstance(config.name, str):
            file = inspect.getsourcefile(config.name)
            content = Path(file).read_bytes() if file else repr(config.name).encode()
            digests[name] = hashlib.blake2b(content, digest_size=16).hexdigest()
    return digests
