"""One modality of a data set: from the rows asked for to the tensors of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable
from zlib import crc32

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from awase.config import AudioInput, FlowInput, ImageInput, Input, SpecAugment, TextInput, Transform, VideoInput
from awase.data.noise import Voices, stretch
from awase.data.spectrograms import WAVEFORM, spectrogram, spectrogram_shape
from awase.data.store import Entry
from awase.data.transforms import Context, apply, generator_for
from awase.types import Inputs, Tokenizer


@dataclass(frozen=True)
class Draw:
    """What random numbers depend on besides the row: in training seed and epoch; without an epoch nothing."""

    seed: int
    epoch: int | None


@runtime_checkable
class Column(Protocol):
    """One modality of all rows."""

    @property
    def present(self) -> np.ndarray: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def tensor(self, rows: np.ndarray, draw: Draw) -> Inputs:
        """The rows' tensors; zeros for absent ones."""
        ...


class MediaColumn:
    """A modality whose decoded samples lie in a store.

    Corruptions come first, then, in training, augmentations; those of spectrograms after the waveforms have become
    spectrograms. Pixels are normalised to [-1, 1] by (x / 255 - 0.5) / 0.5. `voices` are the rows whose `recordings`
    babble is made of; `num_samples` is the length of every waveform.
    """

    def __init__(
        self,
        modality: str,
        setting: Input,
        entry: Entry,
        voices: np.ndarray,
        num_samples: int | None = None,
        recordings: Entry | None = None,
    ) -> None:
        self.modality = modality
        self.recordings = entry if recordings is None else recordings
        self.setting, self.entry, self.num_samples = setting, entry, num_samples
        self.present = entry.present
        self.voices = voices[self.present[voices]]
        self._place = crc32(modality.encode())
        self._context = _context(setting, self._other_voices)

    def resized(self, num_samples: int | None) -> "MediaColumn":
        """The same column with waveforms of another length."""
        return MediaColumn(self.modality, self.setting, self.entry, self.voices, num_samples, self.recordings)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample's final tensor."""
        match self.setting:
            case AudioInput(representation=name, sample_rate_hz=rate):
                return spectrogram_shape(name, rate, self.num_samples or 0)
            case ImageInput(channels=channels, height=height, width=width):
                return (channels, height, width)
            case VideoInput(num_frames=frames, channels=channels, height=height, width=width):
                return (frames, channels, height, width)
            case FlowInput(num_frames=frames, height=height, width=width):
                return (frames, 2, height, width)
        return self.entry.shape or ()

    def tensor(self, rows: np.ndarray, draw: Draw) -> Tensor:
        """(batch, *shape) float32; rows of absent samples are zero."""
        corrupt, augment = list(enumerate(self.setting.corrupt)), list(enumerate(self.setting.augment))
        steps = [(0, i, t) for i, t in corrupt] + [(1, i, t) for i, t in augment if draw.epoch is not None]
        raw = self.entry.take(rows, self.num_samples)
        raw = self._transformed(raw, rows, draw, [step for step in steps if not isinstance(step[2], SpecAugment)])
        tensor = _normalised(raw, self.setting)
        late = [step for step in steps if isinstance(step[2], SpecAugment)]
        if late:
            tensor = torch.from_numpy(self._transformed(tensor.numpy(), rows, draw, late))
        present = self.present[rows]
        if not present.all():
            tensor[torch.from_numpy(~present)] = 0
        return tensor

    def _transformed(
        self, values: np.ndarray, rows: np.ndarray, draw: Draw, steps: Sequence[tuple[int, int, Transform]]
    ) -> np.ndarray:
        if not steps or len(rows) == 0:
            return values
        done = []
        for value, row in zip(values, rows.tolist(), strict=True):
            if self.present[row]:
                for purpose, position, transform in steps:
                    generator = self._generator(draw, row, purpose, position)
                    value = apply(transform, value, generator, row, self._context)
            done.append(value)
        return np.stack(done)

    def _generator(self, draw: Draw, row: int, purpose: int, position: int) -> np.random.Generator:
        # Validation and test are corrupted once and for all: neither seed nor epoch enters.
        when = (0, 0) if draw.epoch is None else (draw.seed, draw.epoch + 1)
        return generator_for(*when, row, self._place, purpose, position)

    def _other_voices(self, row: int, generator: np.random.Generator, number: int) -> list[np.ndarray]:
        others = self.voices[self.voices != row]
        chosen = generator.choice(others, size=min(number, len(others)), replace=False)
        return [stretch(self.recordings.sample(other), self.num_samples or 0, generator) for other in chosen.tolist()]


def _context(setting: Input, voices: Voices) -> Context:
    step_s: float | None = None
    if isinstance(setting, AudioInput):
        step_s = 1 / setting.sample_rate_hz
    elif isinstance(setting, VideoInput) and setting.window_s is not None:
        step_s = setting.window_s / setting.num_frames
    if isinstance(setting, VideoInput | ImageInput):
        return Context(setting.kind, step_s, unit=255.0, grey=128.0)
    return Context(setting.kind, step_s, voices=voices)


def _normalised(raw: np.ndarray, setting: Input) -> Tensor:
    values = torch.from_numpy(raw)
    if isinstance(setting, AudioInput):
        if setting.representation == WAVEFORM:
            return values
        return spectrogram(values, setting.representation, setting.sample_rate_hz)
    if isinstance(setting, VideoInput | ImageInput | FlowInput):
        values = values.movedim(-1, -3)
    if isinstance(setting, VideoInput | ImageInput):
        return values.to(torch.float32, memory_format=torch.contiguous_format).mul_(1 / 127.5).sub_(1)
    return values.contiguous().float()


class TextColumn:
    """Texts as the tokens of an encoder's tokenizer, made once, when first asked for.

    A row has none, one, or several, all of which are its candidates in training; elsewhere it has the first.
    """

    def __init__(
        self, modality: str, setting: TextInput, texts: Sequence[Sequence[str]], tokenizer: Tokenizer | None
    ) -> None:
        self.modality, self.setting, self.tokenizer = modality, setting, tokenizer
        self.present = np.array([len(several) > 0 for several in texts], dtype=bool)
        self.texts = [several[0] if several else "" for several in texts]
        self.num_candidates = max((len(several) for several in texts), default=1)
        self._several = texts
        self._tokens: dict[str, Tensor] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(max_tokens,)."""
        return (self.setting.max_tokens,)

    def tensor(self, rows: np.ndarray, draw: Draw) -> dict[str, Tensor]:
        """Named tensors (batch, tokens), with candidates (batch, candidates, tokens); zeros for absent texts."""
        mask = self.candidates(rows, draw)
        absent = torch.from_numpy(~self.present[rows]) if mask is None else ~mask
        made = {name: value[torch.from_numpy(rows)] for name, value in self.tokens.items()}
        tokens = made if mask is not None or self.num_candidates < 2 else {name: v[:, 0] for name, v in made.items()}
        return {
            name: value.masked_fill(absent.view(*absent.shape, *[1] * (value.dim() - absent.dim())), 0)
            for name, value in tokens.items()
        }

    def candidates(self, rows: np.ndarray, draw: Draw) -> Bool[Tensor, "batch _"] | None:
        """Which candidates are real; None where a sample has one text: without candidates, and not in training."""
        if self.num_candidates < 2 or draw.epoch is None:
            return None
        counts = torch.tensor([len(self._several[row]) for row in rows.tolist()], dtype=torch.int64)
        return torch.arange(self.num_candidates) < counts[:, None]

    @property
    def tokens(self) -> dict[str, Tensor]:
        """Of all rows, (rows, tokens), with candidates (rows, candidates, tokens).

        Raises `KeyError` where no tokenizer was given.
        """
        if self._tokens is None:
            if self.tokenizer is None:
                raise KeyError(f"{self.modality!r} is text and no tokenizer was given for it; its encoder has one.")
            several = self.num_candidates > 1
            made = self.tokenizer(self._filled() if several else self.texts)
            found = {name: torch.as_tensor(np.asarray(value)) for name, value in made.items()}
            shape = (len(self.texts), self.num_candidates)
            self._tokens = {name: value.unflatten(0, shape) if several else value for name, value in found.items()}
        return self._tokens

    def _filled(self) -> list[str]:
        """All candidates of all rows, row after row, with empty texts where there are fewer."""
        return [text for several in self._several for text in (*several, *[""] * (self.num_candidates - len(several)))]
