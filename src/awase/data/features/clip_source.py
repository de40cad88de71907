"""Batches of a store and of evaluation sets: which clips, and all their modalities."""

from collections.abc import Callable
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from awase.config import HowTo100MConfig
from awase.data.features.clips import (
    AudioWindow,
    Spans,
    audio_bounds,
    audio_inputs,
    audio_of_evaluation,
    audio_of_shard,
    split_by_shard,
    video_of_evaluation,
    video_of_shard,
)
from awase.data.features.evaluation_store import EvaluationStore
from awase.data.features.sampling import draw_captions, gather_words, grow, nearest_captions
from awase.data.features.store import FeatureStore
from awase.data.features.token_cache import TokenCache, active_ids
from awase.data.transforms import generator_for
from awase.types import Batch, Inputs, Tokenizer

_CLIPS, _VALIDATION = 11, 12


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips of a store: numbers of videos and, per clip, the captions (within the shard) in the order of adding."""

    video: np.ndarray
    start_ms: np.ndarray
    end_ms: np.ndarray
    added: np.ndarray

    def take(self, places: np.ndarray) -> "Clips":
        """Those at `places`."""
        return Clips(self.video[places], self.start_ms[places], self.end_ms[places], self.added[places])

    def __len__(self) -> int:
        return len(self.video)


@dataclass(frozen=True)
class Wanted:
    """The modalities of a batch, and those of them whose tensors are made."""

    modalities: tuple[str, ...]
    made: frozenset[str]


class TextMaker:
    """Ids of texts: `tokenizer` reads the captions of evaluation sets, and of clips when these are joined."""

    def __init__(self, config: HowTo100MConfig, tokenizer: Tokenizer, cache: TokenCache | None) -> None:
        self.config, self.tokenizer, self.cache = config, tokenizer, cache
        ids, mask = active_ids(tokenizer, [""])
        self._empty = ids[mask]

    def of_texts(self, texts: list[str]) -> tuple[dict[str, Tensor], np.ndarray]:
        """Tensors (texts, words), and which have a known word."""
        made = {name: torch.as_tensor(np.asarray(value)) for name, value in self.tokenizer(texts).items()}
        ids, mask = made["input_ids"].numpy(), made["attention_mask"].numpy().astype(bool)
        counts = mask.sum(axis=1)
        present = np.asarray(counts > 0)
        if len(self._empty):
            for row in np.flatnonzero(counts == len(self._empty)).tolist():
                present[row] = bool((ids[row][mask[row]] != self._empty).any())
        return made, present

    def of_clips(self, store: FeatureStore, clips: Clips) -> tuple[dict[str, Tensor], np.ndarray]:
        """Tensors (clips, words) of the clips' captions, and which have a known word."""
        if self.cache is None:
            return self.of_texts(_joined(store, clips))
        words = np.full((len(clips), self.config.max_words), self.cache.pad, dtype=np.int64)
        mask = np.zeros_like(words)
        for number, places, _ in split_by_shard(store, clips.video):
            known = self.cache.shards[number]
            words[places], mask[places] = gather_words(
                known.ids, known.offsets, clips.added[places], self.config.max_words, self.cache.pad
            )
        tensors = {"input_ids": torch.from_numpy(words), "attention_mask": torch.from_numpy(mask)}
        return tensors, np.asarray(mask.any(axis=1))


def _joined(store: FeatureStore, clips: Clips) -> list[str]:
    """The texts of each clip's captions, in the order of adding, with a space between."""
    texts = [""] * len(clips)
    for number, places, _ in split_by_shard(store, clips.video):
        shard = store.shards[number]
        for place in places.tolist():
            captions = [row for row in clips.added[place].tolist() if row >= 0]
            texts[place] = " ".join(shard.texts(row, row + 1)[0] for row in captions)
    return texts


@dataclass(frozen=True, eq=False)
class StoreClips:
    """Clips of the videos of a store and their batches. `video_ids` are those of all its videos."""

    store: FeatureStore
    config: HowTo100MConfig
    text: TextMaker | None

    def drawn(self, videos: np.ndarray, seed: int, epoch: int) -> Clips:
        """`clips_per_video` clips of each video; a function of seed, epoch and the video's id alone."""
        count = self.config.clips_per_video
        return self._grown(videos, lambda name: generator_for(seed, _CLIPS, epoch, crc32(name.encode())), count)

    def fixed(self, videos: np.ndarray, seed: int) -> Clips:
        """For validation: up to `validation_clips` clips of each video, around different captions."""
        count = self.config.validation_clips
        return self._grown(videos, lambda name: generator_for(seed, _VALIDATION, crc32(name.encode())), -count)

    def batch(self, clips: Clips, index: np.ndarray, wanted: Wanted, *, candidates: int = 1) -> Batch:
        """All that the clips have of the wanted modalities; with `candidates` above 1 text is of single captions."""
        ids = tuple(self.names(clips))
        inputs: dict[str, Inputs] = {}
        present: dict[str, np.ndarray] = {}
        several: dict[str, np.ndarray] = {}
        for name in wanted.modalities:
            if name == "text":
                assert self.text is not None
                if candidates > 1:
                    inputs[name], several[name] = self._candidates(self.text, clips, candidates)
                    present[name] = np.asarray(several[name].any(axis=1))
                else:
                    made, present[name] = self.text.of_clips(self.store, clips)
                    inputs[name] = masked(made, present[name])
            elif name in wanted.made:
                inputs[name], present[name] = self._video(clips) if name == "video" else self._audio(clips)
            else:
                present[name] = self._has_video(clips) if name == "video" else self._has_audio(clips)
        made_inputs = {name: inputs[name] for name in wanted.modalities if name in wanted.made}
        made_candidates = {name: several[name] for name in several if name in made_inputs}
        return batch_of(ids, index, made_inputs, present, candidates=made_candidates, clips=self._numbers(clips))

    def _numbers(self, clips: Clips) -> np.ndarray:
        """Of each clip the caption that it grew from, numbered through all shards."""
        shards = np.searchsorted(self.store.first_video, clips.video, side="right") - 1
        numbers: np.ndarray = self.store.first_caption[shards] + clips.added[:, 0]
        return numbers

    def _candidates(self, text: TextMaker, clips: Clips, count: int) -> tuple[dict[str, Tensor], np.ndarray]:
        """Tensors (clips, count, words) of each clip's nearest captions, and which are there and have a known word."""
        captions = self._nearest(clips, count).reshape(-1, 1)
        video, start, end = (values.repeat(count) for values in (clips.video, clips.start_ms, clips.end_ms))
        made, present = text.of_clips(self.store, Clips(video, start, end, captions))
        shape = (len(clips), count)
        tensors = {name: value.unflatten(0, shape) for name, value in masked(made, present).items()}
        return tensors, present.reshape(shape)

    def _nearest(self, clips: Clips, count: int) -> np.ndarray:
        """(clips, count) captions within the shard: the one a clip grew from, then the nearest others; -1: no more."""
        out = np.full((len(clips), count), -1, dtype=np.int64)
        for number, places, spans in self._by_shard(clips):
            shard = self.store.shards[number]
            for video, run in spans.by_video():
                low, high = int(shard.caption_offsets[video]), int(shard.caption_offsets[video + 1])
                centre, twice_middle = clips.added[places[run], 0] - low, spans.start_ms[run] + spans.end_ms[run]
                found = nearest_captions(shard.start_ms[low:high], shard.end_ms[low:high], centre, twice_middle, count)
                out[places[run]] = np.where(found < 0, -1, found + low)
        return out

    def names(self, clips: Clips) -> list[str]:
        """`VIDEO@start-end` of every clip, in seconds."""
        names = [self.store.ids[video] for video in clips.video.tolist()]
        bounds = zip(names, clips.start_ms.tolist(), clips.end_ms.tolist(), strict=True)
        return [f"{name}@{start / 1000:.3f}-{end / 1000:.3f}" for name, start, end in bounds]

    def around(self, captions: np.ndarray) -> Clips:
        """The clips that grow from these captions, which are numbered through all shards."""
        parts: list[tuple[np.ndarray, Clips]] = []
        shards = np.searchsorted(self.store.first_caption, captions, side="right") - 1
        for number in np.unique(shards).tolist():
            shard, places = self.store.shards[number], np.flatnonzero(shards == number)
            centre = captions[places] - self.store.first_caption[number]
            video = np.searchsorted(shard.caption_offsets, centre, side="right") - 1
            bounds = (shard.caption_offsets[video], shard.caption_offsets[video + 1])
            grown = grow(shard.start_ms, shard.end_ms, bounds, centre, round(1000 * self.config.min_time_s))
            clips = Clips(self.store.first_video[number] + video, grown.start_ms, grown.end_ms, grown.added)
            parts.append((places, clips))
        return _in_order(parts)

    def inputs(self, modality: str, captions: np.ndarray) -> Inputs:
        """One modality of the clips that grow from these captions, zeros where they lack it."""
        clips = self.around(captions)
        return self.batch(clips, clips.video, Wanted((modality,), frozenset((modality,)))).inputs[modality]

    def input_source(self, modality: str) -> list[str | int | float]:
        """All that this modality of a clip comes from, besides the caption that the clip grows from."""
        config = self.config
        settings: dict[str, list[str | int | float]] = {
            "video": list(config.streams),
            "audio": [config.audio_frames, config.padding],
            "text": [config.max_words, config.text, "" if self.text is None else self.text.tokenizer.fingerprint],
        }
        return [self.store.fingerprint, config.min_time_s, modality, *settings[modality]]

    def _grown(self, videos: np.ndarray, generator: Callable[[str], np.random.Generator], count: int) -> Clips:
        """Clips grown from `count` captions drawn with replacement, or from up to `-count` different ones."""
        chosen = [np.zeros(0, dtype=np.int64)]
        shards = np.searchsorted(self.store.first_video, videos, side="right") - 1
        for number, video in zip(shards.tolist(), videos.tolist(), strict=True):
            offsets = self.store.shards[number].caption_offsets
            local = video - int(self.store.first_video[number])
            low, high = int(offsets[local]), int(offsets[local + 1])
            random = generator(self.store.ids[video])
            if count > 0:
                centres = draw_captions(random, low, high, count)
            else:
                centres = low + np.sort(random.permutation(high - low)[:-count])
            chosen.append(centres + self.store.first_caption[number])
        return self.around(np.concatenate(chosen))

    def _by_shard(self, clips: Clips) -> list[tuple[int, np.ndarray, Spans]]:
        return [
            (number, places, Spans(local, clips.start_ms[places], clips.end_ms[places]))
            for number, places, local in split_by_shard(self.store, clips.video)
        ]

    def _video(self, clips: Clips) -> tuple[Tensor, np.ndarray]:
        # No video of a shard that lacks a stream has any: its rows stay zero.
        parts = [part for part in self._by_shard(clips) if self._has_streams(part[0])]
        if len(parts) == 1 and len(parts[0][1]) == len(clips):
            return video_of_shard(self.store.shards[parts[0][0]], parts[0][2], self.config.streams)
        dims = self.store.dims
        out = torch.zeros(len(clips), sum(dims[name] for name in self.config.streams))
        present = np.zeros(len(clips), dtype=bool)
        for number, places, spans in parts:
            made, present[places] = video_of_shard(self.store.shards[number], spans, self.config.streams)
            out[torch.from_numpy(places)] = made
        return out, present

    def _has_streams(self, shard: int) -> bool:
        return all(self.store.shards[shard].streams[name].dim > 0 for name in self.config.streams)

    def _audio(self, clips: Clips) -> tuple[dict[str, Tensor], np.ndarray]:
        window = AudioWindow(self.config.audio_frames, self.config.padding)
        out, real = window.empty(len(clips)), np.zeros(len(clips), dtype=np.int64)
        parts = self._by_shard(clips)
        for number, places, spans in parts:
            if len(parts) == 1:
                real = audio_of_shard(self.store.shards[number], spans, window, out)
            else:
                part = window.empty(len(places))
                real[places] = audio_of_shard(self.store.shards[number], spans, window, part)
                out[places] = part
        return audio_inputs(out, real), real > 0

    def _has_video(self, clips: Clips) -> np.ndarray:
        present = np.ones(len(clips), dtype=bool)
        for number, places, spans in self._by_shard(clips):
            for name in self.config.streams:
                stream = self.store.shards[number].streams[name]
                for video, run in spans.by_video():
                    starts, stops = stream.rows_of(video, spans.start_ms[run], spans.end_ms[run])
                    present[places[run]] &= stops > starts
        return present

    def _has_audio(self, clips: Clips) -> np.ndarray:
        present = np.zeros(len(clips), dtype=bool)
        for number, places, spans in self._by_shard(clips):
            begins, ends = audio_bounds(self.store.shards[number], spans)
            present[places] = ends > begins
        return present


def _in_order(parts: list[tuple[np.ndarray, Clips]]) -> Clips:
    """The clips of all shards in the order of their videos' places; shorter lists of captions filled up with -1."""
    owners = np.concatenate([owner for owner, _ in parts]) if parts else np.zeros(0, dtype=np.int64)
    steps = max((clips.added.shape[1] for _, clips in parts), default=1)
    wide = [np.pad(clips.added, ((0, 0), (0, steps - clips.added.shape[1])), constant_values=-1) for _, clips in parts]
    order = np.argsort(owners, kind="stable")
    if not parts:
        none = np.zeros(0, dtype=np.int64)
        return Clips(none, none, none, np.zeros((0, 1), dtype=np.int64))
    return Clips(
        np.concatenate([clips.video for _, clips in parts])[order],
        np.concatenate([clips.start_ms for _, clips in parts])[order],
        np.concatenate([clips.end_ms for _, clips in parts])[order],
        np.concatenate(wide)[order],
    )


@dataclass(frozen=True, eq=False)
class EvaluationClips:
    """The ready clips of an evaluation set, one row per caption in use: clip `clip[row]` with `captions[row]`."""

    store: EvaluationStore
    config: HowTo100MConfig
    text: TextMaker | None
    dims: dict[str, int]
    clip: np.ndarray
    captions: tuple[str, ...]

    def batch(self, rows: np.ndarray, ids: tuple[str, ...], index: np.ndarray, wanted: Wanted) -> Batch:
        """The rows, their audio filled up to the length the set was converted with."""
        inputs: dict[str, Inputs] = {}
        present: dict[str, np.ndarray] = {}
        clips = self.clip[rows]
        for name in wanted.modalities:
            if name == "text":
                assert self.text is not None
                made, present[name] = self.text.of_texts([self.captions[row] for row in rows.tolist()])
                inputs[name] = masked(made, present[name])
            elif name == "video":
                inputs[name], present[name] = video_of_evaluation(self.store, clips, self.config.streams, self.dims)
            else:
                window = AudioWindow(self.store.audio_frames, self.config.padding)
                out, real = audio_of_evaluation(self.store, clips, window)
                inputs[name], present[name] = audio_inputs(out, real), real > 0
        return batch_of(ids, index, {name: inputs[name] for name in wanted.modalities if name in wanted.made}, present)


def masked(tensors: dict[str, Tensor], present: np.ndarray) -> dict[str, Tensor]:
    """Zeros in the rows of absent texts."""
    if present.all():
        return tensors
    absent = torch.from_numpy(~present)
    return {name: value.masked_fill(absent.view(-1, *[1] * (value.dim() - 1)), 0) for name, value in tensors.items()}


def batch_of(
    ids: tuple[str, ...],
    index: np.ndarray,
    inputs: dict[str, Inputs],
    present: dict[str, np.ndarray],
    candidates: dict[str, np.ndarray] | None = None,
    clips: np.ndarray | None = None,
) -> Batch:
    """A batch without targets."""
    return Batch(
        ids=ids,
        index=torch.from_numpy(index),
        inputs=inputs,
        present={name: torch.from_numpy(value) for name, value in present.items()},
        complete=frozenset(name for name, value in present.items() if value.all()),
        candidates={name: torch.from_numpy(value) for name, value in (candidates or {}).items()},
        clips=None if clips is None else torch.from_numpy(clips),
    )
