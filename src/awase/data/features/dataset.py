"""A store of features and its evaluation sets as a data set: splits, ids, loaders of batches."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from awase.config import ArrayInput, AudioInput, DataConfig, HowTo100MConfig, Input, TextInput
from awase.data.features.clip_loader import RowLoader, Sharing, VideoLoader
from awase.data.features.clip_source import Clips, EvaluationClips, StoreClips, TextMaker, Wanted
from awase.data.features.evaluation_store import EvaluationStore, caption_ceilings
from awase.data.features.shard_writer import AUDIO_BINS
from awase.data.features.shared_videos import shared_videos
from awase.data.features.store import FeatureStore
from awase.data.features.token_cache import TokenCache, token_cache
from awase.types import Batch, Tokenizer

_VALIDATION = 0x5917
MEASURED = ("evaluation", "evaluation_captions")
"""The settings that training does not read: what is measured at the end."""


@dataclass(frozen=True, eq=False)
class ClipDataset:
    """What retrieval learns from and is measured on. Made by `open_howto100m`.

    Rows are numbered: first the videos of the store (the split `train` lists videos; each gives `clips_per_video` clips
    per epoch), then the fixed clips of `val`, then the rows of each evaluation set, which is a split of its own name.
    There are no labels: `task` is `retrieval`, `classes` and `targets` are empty. A clip's group is its video.
    """

    config: HowTo100MConfig
    inputs: dict[str, Input]
    splits: dict[str, np.ndarray]
    fingerprint: str
    """Of everything, the evaluation sets among it."""
    training_fingerprint: str
    """Of what a stage learns from and is chosen by: store, settings, the videos of train and the clips of val."""
    summary: dict[str, Any]
    clips: StoreClips = field(repr=False)
    validation: Clips = field(repr=False)
    evaluation: dict[str, EvaluationClips] = field(repr=False)
    task: Literal["retrieval"] = "retrieval"
    classes: tuple[str, ...] = ()
    targets: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    columns: dict[str, Any] = field(default_factory=dict)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Their names, in the order of the inputs."""
        return tuple(self.inputs)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Of all rows."""
        videos = self.clips.store.ids
        val = self.clips.names(self.validation)
        rows = [name for held in self.evaluation.values() for name in evaluation_ids(held)]
        return (*videos, *val, *rows)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Of all rows, the video each is from."""
        videos = self.clips.store.ids
        val = [videos[video] for video in self.validation.video.tolist()]
        rows = [held.store.videos[clip] for held in self.evaluation.values() for clip in held.clip.tolist()]
        return (*videos, *val, *rows)

    def content_of(self, split: str) -> str:
        """The fingerprint of a split's clips; `train` has that of all that training reads."""
        if split in self.evaluation:
            return self.evaluation[split].store.fingerprint
        if split == "train":
            return self.training_fingerprint
        names = [self.clips.store.fingerprint, *self.clips.names(self.validation)]
        return hashlib.sha256(json.dumps(names).encode()).hexdigest()

    def set_title(self, split: str) -> str | None:
        """What an evaluation set was converted as, with its published split; None for a split of the store."""
        if split not in self.evaluation:
            return None
        about = self.evaluation[split].store.description
        return " ".join(str(about[name]) for name in ("name", "split") if about.get(name))

    @property
    def candidate_modalities(self) -> tuple[str, ...]:
        """Those of which a clip has several inputs in training."""
        return ("text",) if self.config.candidates > 1 else ()

    def input_shape(self, modality: str) -> tuple[int, ...]:
        """The shape of one clip: (dim,) video, (40, frames) audio in training, (words,) each text.

        Audio of an evaluation set has the length the set was converted with. Raises `KeyError` for another modality.
        """
        shapes = {
            "video": (sum(self.clips.store.dims[name] for name in self.config.streams),),
            "audio": (AUDIO_BINS, self.config.audio_frames),
            "text": (self.config.max_words,),
        }
        return shapes[self._known(modality)]

    def texts(self, rows: np.ndarray) -> dict[str, list[str | None]]:
        """The captions of these rows; None for those that are not of an evaluation set, whose words are drawn."""
        if "text" not in self.inputs:
            return {}
        known: dict[int, str] = {}
        for name, held in self.evaluation.items():
            known |= dict(zip(self.splits[name].tolist(), held.captions, strict=True))
        return {"text": [known.get(row) for row in rows.tolist()]}

    def several(self, split: str, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Where clips of an evaluation set have several captions, a row each: `text` -> the clip of every row."""
        held = self.evaluation.get(split)
        if held is None or len(held.clip) == len(held.store.ids):
            return {}
        return {"text": held.clip[rows - self.splits[split][0]]}

    def loader(
        self,
        split: str,
        *,
        batch_size: int,
        modalities: Sequence[str] | None = None,
        inputs: Sequence[str] | None = None,
        seed: int = 0,
        train: bool = False,
        mixup: float = 0.0,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> VideoLoader | RowLoader:
        """Batches of a split, with all or some of the modalities; of these, `inputs` (None: all) are read and made.

        `batch_size` counts clips over all processes. With `train=True` the split must be `train` and the size a
        multiple of `clips_per_video`; clips are drawn anew each epoch, those of a video follow one another, and a
        process has whole videos. `train` read with `train=False` gives the clips of epoch 0 in the order of the store,
        each with one text. In training, with `candidates` above 1, text is (clips, candidates, words): candidate 0 is
        the caption the clip grew from, alone; then come the captions of its video whose middles are nearest to its own,
        at a tie the earlier; those that do not exist or have no known word are zeros, and `Batch.candidates` says so.
        Rows that lack all these modalities are kept; `present` says so. `workers` threads prepare batches ahead; no
        number depends on them. Raises `KeyError` for an unknown split or modality, `ValueError` as said and for mixup.
        """
        if split not in self.splits:
            raise KeyError(f"There is no split {split!r}; the splits are {', '.join(self.splits)}.")
        if mixup > 0:
            raise ValueError("Clips with captions cannot be mixed; set training.mixup to 0.")
        if batch_size < 1:
            raise ValueError(f"A batch needs 1 clip or more; batch_size is {batch_size}.")
        names = tuple(self._known(name) for name in (self.modalities if modalities is None else modalities))
        wanted = Wanted(names, frozenset(names if inputs is None else inputs))
        sharing = Sharing(seed, workers, rank, world_size)
        if split == "train":
            return self._training(batch_size, wanted, sharing, shuffled=train)
        if train:
            raise ValueError(f"Only the split 'train' is trained on; {split!r} is for measuring (train=False).")
        first = int(self.splits[split][0])
        if split == "val":

            def of_validation(rows: np.ndarray) -> Batch:
                return self.clips.batch(self.validation.take(rows - first), rows, wanted)

            return RowLoader(self.splits[split], batch_size, of_validation, sharing)
        held = self.evaluation[split]
        ids = np.array(evaluation_ids(held), dtype=object)

        def of_evaluation(rows: np.ndarray) -> Batch:
            return held.batch(rows - first, tuple(ids[rows - first]), rows, wanted)

        return RowLoader(self.splits[split], batch_size, of_evaluation, sharing)

    def _training(self, batch_size: int, wanted: Wanted, sharing: Sharing, shuffled: bool) -> VideoLoader:
        count = self.config.clips_per_video
        if batch_size % count:
            raise ValueError(
                f"batch_size is {batch_size} clips, which is no multiple of the {count} clips per video "
                f"(data.howto100m.clips_per_video); for example {max(1, round(batch_size / count)) * count} would do."
            )

        candidates = self.config.candidates if shuffled else 1

        def make(videos: np.ndarray, epoch: int) -> Batch:
            clips = self.clips.drawn(videos, sharing.seed, epoch)
            return self.clips.batch(clips, clips.video, wanted, candidates=candidates)

        return VideoLoader(self.splits["train"], batch_size // count, count, make, sharing, in_order=not shuffled)

    def _known(self, modality: str) -> str:
        if modality not in self.inputs:
            raise KeyError(f"The data set has no modality {modality!r}; it has {', '.join(self.inputs)}.")
        return modality


def evaluation_ids(held: EvaluationClips) -> list[str]:
    """A clip's id, with `#1`, `#2`, ... behind it for its further captions."""
    seen: dict[int, int] = {}
    ids = []
    for clip in held.clip.tolist():
        number = seen[clip] = seen.get(clip, -1) + 1
        ids.append(held.store.ids[clip] + (f"#{number}" if number else ""))
    return ids


def open_howto100m(config: DataConfig, *, cache: Path, tokenizers: Mapping[str, Tokenizer]) -> ClipDataset:
    """The store and the evaluation sets that `config.howto100m` names.

    `cache` keeps the captions' ids, made once per tokenizer. Raises `ValueError` and `FileNotFoundError` for a store or
    a set that cannot be used, `KeyError` where text is used and no tokenizer is given.
    """
    wanted = config.howto100m
    store = _opened(wanted)
    text, cached = None, None
    if "text" in wanted.modalities:
        if "text" not in tokenizers:
            raise KeyError("'text' is text and no tokenizer was given for it; its encoder has one.")
        if wanted.text == "words":
            cached = token_cache(store, tokenizers["text"], wanted.max_words, cache / "tokens")
        text = TextMaker(wanted, tokenizers["text"], cached)
    clips = StoreClips(store, wanted, text)
    train, held_out = _carve(store, wanted, config.split_seed)
    validation = _distinct(clips.fixed(held_out, config.split_seed))
    splits = {"train": train, "val": store.num_videos + np.arange(len(validation))}
    evaluation = {}
    for name, path in wanted.evaluation.items():
        opened = _evaluation(EvaluationStore(path), wanted, text, store.dims)
        first = int(splits[list(splits)[-1]][-1]) + 1
        evaluation[name] = opened
        splits[name] = first + np.arange(len(opened.clip))
    training = _training_fingerprint(store, wanted, train, validation)
    return ClipDataset(
        config=wanted,
        inputs=_inputs(wanted, store),
        splits=splits,
        fingerprint=_fingerprint(wanted, evaluation, training),
        training_fingerprint=training,
        summary=_summary(store, wanted, splits, evaluation, cached, validation),
        clips=clips,
        validation=validation,
        evaluation=evaluation,
    )


def _distinct(clips: Clips) -> Clips:
    """The clips without those that grew from different captions to the same stretch of a video, in their order."""
    key = np.stack([clips.video, clips.start_ms, clips.end_ms])
    return clips.take(np.sort(np.unique(key, axis=1, return_index=True)[1]))


def clip_inputs(config: HowTo100MConfig) -> dict[str, Input]:
    """Per modality what kind it is, of the store that is named; the columns are the modalities themselves."""
    return _inputs(config, _opened(config))


def _opened(config: HowTo100MConfig) -> FeatureStore:
    if config.store is None:
        raise ValueError("data.howto100m.store is not set; name the folder that `awase convert howto100m` wrote.")
    store = FeatureStore(config.store)
    _check_streams(store, config)
    return store


def _inputs(config: HowTo100MConfig, store: FeatureStore) -> dict[str, Input]:
    dims = sum(store.dims[name] for name in config.streams)
    known: dict[str, Input] = {
        "video": ArrayInput(column="video", shape=(dims,)),
        "audio": AudioInput(column="audio", representation="avlnet_40", window_s=config.audio_frames / 100),
        "text": TextInput(column="text", max_tokens=config.max_words),
    }
    return {name: known[name] for name in config.modalities}


def _check_streams(store: FeatureStore, config: HowTo100MConfig) -> None:
    lacking = [name for name in config.streams if store.dims.get(name, 0) == 0]
    if "video" in config.modalities and lacking:
        there = ", ".join(name for name, dim in store.dims.items() if dim) or "none"
        raise ValueError(
            f"The store {store.folder} has no {', '.join(lacking)}; set data.howto100m.streams to {there}."
        )


def _carve(store: FeatureStore, config: HowTo100MConfig, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Train and validation videos."""
    count = config.validation_videos
    if count >= store.num_videos:
        raise ValueError(
            f"{count} of {store.num_videos} videos cannot be kept for validation; lower "
            "data.howto100m.validation_videos."
        )
    order = np.random.default_rng(np.random.SeedSequence([seed, _VALIDATION])).permutation(store.num_videos)
    return np.sort(order[count:]), np.sort(order[:count])


def _evaluation(
    held: EvaluationStore, config: HowTo100MConfig, text: TextMaker | None, dims: dict[str, int]
) -> EvaluationClips:
    for name in config.streams if "video" in config.modalities else ():
        if name in held.streams and held.streams[name][0].shape[1] != dims[name]:
            raise ValueError(
                f"{name} of the evaluation set {held.description['name']!r} is {held.streams[name][0].shape[1]} wide "
                f"where the store has {dims[name]}; both must come from the same extractor."
            )
    every = config.evaluation_captions == "all" and "text" in config.modalities
    used = [captions if every else captions[:1] for captions in held.captions]
    clip = np.repeat(np.arange(len(used)), [len(captions) for captions in used])
    return EvaluationClips(held, config, text, dims, clip, tuple(caption for found in used for caption in found))


def _training_fingerprint(store: FeatureStore, config: HowTo100MConfig, train: np.ndarray, validation: Clips) -> str:
    settings = config.model_dump(mode="json", exclude={"store", *MEASURED})
    digest = hashlib.sha256(json.dumps([store.fingerprint, settings]).encode())
    for part in (train, validation.video, validation.start_ms, validation.end_ms):
        digest.update(part.astype("<i8").tobytes())
    return digest.hexdigest()


def _fingerprint(config: HowTo100MConfig, evaluation: dict[str, EvaluationClips], training: str) -> str:
    sets = {name: held.store.fingerprint for name, held in evaluation.items()}
    return hashlib.sha256(json.dumps([training, config.evaluation_captions, sets]).encode()).hexdigest()


def _summary(
    store: FeatureStore,
    config: HowTo100MConfig,
    splits: dict[str, np.ndarray],
    evaluation: dict[str, EvaluationClips],
    cached: TokenCache | None,
    validation: Clips,
) -> dict[str, Any]:
    """Counts of what there is and what was left out, fit for JSON."""
    reports = store.report.values()
    excluded = [entry for report in reports for entry in report.get("excluded", [])]
    counts = {split: {"count": len(rows), "classes": {}} for split, rows in splits.items()}
    counts["train"]["clips_per_epoch"] = len(splits["train"]) * config.clips_per_video
    videos = {name: held.store.videos for name, held in evaluation.items()}
    reasons: dict[str, int] = {}
    for entry in excluded:
        reason = entry["reason"].split(" (")[0]
        reasons[reason] = reasons.get(reason, 0) + 1
    return {
        "dataset": "howto100m",
        "rows": sum(len(rows) for rows in splits.values()),
        "videos": store.num_videos,
        "captions": store.num_captions,
        "captions_without_known_words": None if cached is None else cached.unknown,
        "task": "retrieval",
        "splits": counts,
        "validation": {"made": "carved", "videos": len(np.unique(validation.video)), "by": "group"},
        "shared_between_splits": {"videos": shared_videos(store.ids, validation.video, videos, store.folder)},
        "excluded": {"count": len(excluded), "by_reason": reasons},
        "missing": {
            name: {"count": sum(len(report.get(f"without_{name}", [])) for report in reports)}
            for name in (*store.dims, "audio")
        },
        "evaluation": {
            name: held.store.description | caption_ceilings(list(held.captions), held.clip.tolist())
            for name, held in evaluation.items()
        },
    }
