"""The words of all captions of a store as ids, made once per tokenizer and memory-mapped."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from awase.data.features.store import FeatureStore, Shard
from awase.files import whole_folder
from awase.types import Tokenizer

FORMAT_VERSION = 1
_CHUNK = 8192
_META = "tokens.json"


@dataclass(frozen=True, eq=False)
class Tokenised:
    """Ids of the known words of every caption of one shard: `ids[offsets[i] : offsets[i + 1]]`, int32."""

    ids: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True, eq=False)
class TokenCache:
    """Per shard of a store its captions' ids; `pad` fills up; `unknown` captions have no known word."""

    shards: tuple[Tokenised, ...]
    pad: int
    unknown: int


def active_ids(tokenizer: Tokenizer, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """`input_ids` and the mask (bool) of the texts, both (texts, width)."""
    made = tokenizer(texts)
    return np.asarray(made["input_ids"]), np.asarray(made["attention_mask"]).astype(bool)


def token_cache(store: FeatureStore, tokenizer: Tokenizer, max_words: int, folder: Path) -> TokenCache:
    """The ids of a store's captions, from `folder` or made now, by one process while others wait.

    A caption's ids are those its attention mask marks; where they are only what an empty text gives (a tokenizer may
    have a token for that), it has none. Raises `ValueError` for a tokenizer narrower than `max_words`.
    """
    empty, mask = active_ids(tokenizer, [""])
    if empty.shape[1] < max_words:
        raise ValueError(
            f"The tokenizer keeps {empty.shape[1]} tokens of a text where clips have {max_words} words; make it wider, "
            "or lower data.howto100m.max_words."
        )
    if mask.all():
        raise ValueError(
            "The tokenizer marks every place of an empty text as a word, so the id that fills up is not known."
        )
    key = f"{FORMAT_VERSION}:{store.fingerprint}:{tokenizer.fingerprint}:{empty.shape[1]}"
    place = folder / hashlib.sha256(key.encode()).hexdigest()[:32]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{place.name}.lock"):
        if not (place / _META).is_file():
            with whole_folder(place) as temporary:
                _fill(temporary, store, tokenizer, empty[mask])
    facts = json.loads((place / _META).read_text(encoding="utf-8"))
    shards = tuple(_opened(place, number) for number in range(len(store.shards)))
    return TokenCache(shards, int(empty[~mask][0]), int(facts["unknown"]))


def _fill(folder: Path, store: FeatureStore, tokenizer: Tokenizer, empty: np.ndarray) -> None:
    unknown = 0
    for number, shard in enumerate(store.shards):
        total = 0
        with (folder / f"{number}.ids.bin").open("wb") as ids, (folder / f"{number}.offsets.bin").open("wb") as offsets:
            offsets.write(np.int64(0).tobytes())
            for words, counts in _tokenised(shard, tokenizer, empty):
                ids.write(words.astype("<i4").tobytes())
                ends = total + np.cumsum(counts, dtype=np.int64)
                offsets.write(ends.astype("<i8").tobytes())
                total += int(counts.sum())
                unknown += int((counts == 0).sum())
    (folder / _META).write_text(json.dumps({"version": FORMAT_VERSION, "unknown": unknown}), encoding="utf-8")


def _tokenised(shard: Shard, tokenizer: Tokenizer, empty: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Chunks of captions: their ids one after the other, and how many each has."""
    for low in range(0, shard.num_captions, _CHUNK):
        ids, mask = active_ids(tokenizer, shard.texts(low, min(shard.num_captions, low + _CHUNK)))
        if len(empty):
            counts = mask.sum(axis=1)
            same = counts == len(empty)
            same[same] = (ids[same][mask[same]].reshape(-1, len(empty)) == empty).all(axis=1)
            mask[same] = False
        yield ids[mask], mask.sum(axis=1)


def _opened(folder: Path, number: int) -> Tokenised:
    path = folder / f"{number}.ids.bin"
    empty = path.stat().st_size == 0
    ids = np.zeros(0, np.int32) if empty else np.asarray(np.memmap(path, dtype="<i4", mode="r"))
    return Tokenised(ids, np.asarray(np.memmap(folder / f"{number}.offsets.bin", dtype="<i8", mode="r")))
