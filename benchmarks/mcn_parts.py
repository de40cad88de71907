"""A stage of MCN driven by the one loop, with the processor time of every part of a step."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from awase.balancing import Rule
from awase.config import SelectionConfig, StageConfig
from awase.models import Retrieval
from awase.runner.known import Known
from awase.runner.setting import Setting
from awase.runner.space_state import SpaceState
from awase.runner.space_work import SpacePass, SpaceStep
from awase.training.loop import Loop, LoopSettings, Work
from awase.training.parts import freeze_except, match_parts, set_modes, trained_tensors
from awase.types import Batch, Encoded, Loader

NAMES = (
    "loading", "audio forward", "other forward", "contrast", "clustering", "reconstruction",
    "audio backward", "other backward", "optimiser", "rest",
)  # fmt: skip


@dataclass
class Parts:
    """Processor seconds of the parts of the step under way, and of the steps that are done."""

    now: dict[str, float] = field(default_factory=dict)
    steps: list[dict[str, float]] = field(default_factory=list)
    begun: float = 0.0

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Adds the time spent inside to the part."""
        started = time.process_time()
        yield
        self.add(name, time.process_time() - started)

    def add(self, name: str, seconds: float) -> None:
        """Adds to a part of the step under way."""
        self.now[name] = self.now.get(name, 0.0) + seconds

    def begin(self) -> None:
        """A step begins."""
        self.now, self.begun = {}, time.process_time()

    def end(self) -> None:
        """The step is over: what belongs to no part is the rest."""
        total = time.process_time() - self.begun
        found = {name: self.now.get(name, 0.0) for name in NAMES}
        found["other forward"] -= found["audio forward"]
        found["rest"] = total - sum(found.values())
        self.steps.append({**found, "total": total})


class KnownAudio:
    """Audio features that need not be computed: a row per clip of the batch, as frozen features in a cache are."""

    def __init__(self, audio: Tensor | None = None) -> None:
        self.audio = audio

    def missing(self, split: str) -> tuple[str, ...]:
        """Never asked."""
        raise NotImplementedError

    def of(self, batch: Batch, split: str) -> dict[str, Encoded]:
        """The known features of the batch."""
        return {} if self.audio is None else {"audio": Encoded(self.audio)}


class TimedStep(SpaceStep):
    """The library's step, each part of it timed; keeps the audio features of the last batch."""

    def __init__(self, model: Retrieval, stage: StageConfig, known: Known, setting: Setting, parts: Parts) -> None:
        super().__init__(model, stage, known, setting)
        self.parts = parts
        self.audio = torch.zeros(0)
        self.backward_of_audio: float | None = None
        _time_module(model, "other forward", parts)
        _time_module(model.encoders["audio"], "audio forward", parts)

    def __call__(self, batch: Batch) -> SpacePass:
        """The losses of the batch."""
        found = super().__call__(batch)
        pooled = found.output.encoded["audio"].pooled
        self.audio, self.backward_of_audio = pooled.detach(), None
        if pooled.requires_grad:
            pooled.register_hook(self._reached)
        return found

    def _reached(self, gradient: Tensor) -> None:
        # Projections and text were made later than the audio features, and are therefore gone through before them.
        self.backward_of_audio = time.process_time()

    def _pairs(self, *arguments: Any) -> dict[str, Tensor]:
        with self.parts.of("contrast"):
            return super()._pairs(*arguments)

    def _clusters(self, *arguments: Any) -> dict[str, Tensor]:
        with self.parts.of("clustering"):
            return super()._clusters(*arguments)

    def _rebuilt(self, *arguments: Any) -> dict[str, Tensor]:
        with self.parts.of("reconstruction"):
            return super()._rebuilt(*arguments)


def _time_module(module: torch.nn.Module, name: str, parts: Parts) -> None:
    started: list[float] = []
    module.register_forward_pre_hook(lambda *_: started.append(time.process_time()))
    module.register_forward_hook(lambda *_: parts.add(name, time.process_time() - started.pop()))


class TimedRule(Rule):
    """Plain training, its backward pass timed: what comes before the audio features, and their encoder's."""

    def __init__(self, step: TimedStep, parts: Parts) -> None:
        super().__init__()
        self._held = (step, parts)

    def backward(self, forward: Any, losses: Tensor) -> None:
        """Of the sum of the losses."""
        step, parts = self._held
        started = time.process_time()
        super().backward(forward, losses)
        ended = time.process_time()
        reached = ended if step.backward_of_audio is None else step.backward_of_audio
        parts.add("other backward", reached - started)
        parts.add("audio backward", ended - reached)


class TimedBatches:
    """The batches of a loader, or one batch several times; what `between` does after each step is not timed."""

    def __init__(self, batches: Loader, parts: Parts, between: Callable[[], None] = lambda: None) -> None:
        self.batches, self.parts, self.between = batches, parts, between

    def __len__(self) -> int:
        return len(self.batches)

    @property
    def num_samples(self) -> int:
        """As the loader's."""
        return self.batches.num_samples

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """As the loader's."""
        found = self.batches.epoch(epoch, start=start)
        for _ in range(start, len(self)):
            self.parts.begin()
            with self.parts.of("loading"):
                batch = next(found)
            yield batch
            self.between()


class Again:
    """The same batch in every step."""

    def __init__(self, batch: Batch, steps: int) -> None:
        self.batch, self.steps = batch, steps

    def __len__(self) -> int:
        return self.steps

    @property
    def num_samples(self) -> int:
        """The batch's rows, as often as it comes."""
        return self.steps * len(self.batch)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batch, `steps` times."""
        return iter([self.batch] * (self.steps - start))


def timed_loop(
    model: Retrieval,
    stage: StageConfig,
    setting: Setting,
    batches: Loader,
    *,
    known: Known | None = None,
    between: Callable[[], None] = lambda: None,
    on_epoch: Callable[[TimedStep], None] = lambda step: None,
) -> tuple[Parts, Callable[[], object]]:
    """The loop of the stage, to be run once, and the times of the steps that it will take; nothing is validated."""
    parts = Parts()
    trained = match_parts(stage.train, model.parts())
    freeze_except(model, trained)
    step = TimedStep(model, stage, KnownAudio() if known is None else known, setting, parts)
    work = Work(
        batches=TimedBatches(batches, parts, between),
        forward=step,
        rule=TimedRule(step, parts),
        validate=lambda: {"loss": 0.0, "R@1": 0.0},
        set_modes=lambda: set_modes(model, trained),
    )
    tensors = trained_tensors(model.parts(), trained)
    heads = frozenset(name for name in tensors if name.startswith(("projections.", "reconstructions.")))
    settings = LoopSettings(
        selection=SelectionConfig(metric="R@1"), on_step=parts.end, on_epoch=lambda epoch: on_epoch(step)
    )
    loop = Loop(tensors, heads, stage.training, work, settings)
    started: list[float] = []
    loop.optimiser.register_step_pre_hook(lambda *_: started.append(time.process_time()))
    loop.optimiser.register_step_post_hook(lambda *_: parts.add("optimiser", time.process_time() - started.pop()))
    return parts, loop.run


def memory_of(model: Retrieval) -> Any:
    """The queue and centroids of the model's objective."""
    assert isinstance(model.objective, SpaceState)
    return model.objective.memory


def peak_gib() -> float:
    """The largest resident memory of this process so far (VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 2**20


def shown(parts: Mapping[str, float]) -> str:
    """Parts in one line, those that took no time left out."""
    return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in parts.items() if seconds > 0.005)
