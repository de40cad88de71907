"""The latent factors of a scene: their values, which modality shows which, how they are drawn, what the label is."""

from collections.abc import Sequence

from awase.config import ScenesConfig
from awase.data.datasets.built_in import generator

NUM_VALUES = 4
"""Each factor has so many values, all equally likely and independent of the other factors."""

FACTORS: dict[str, tuple[str, ...]] = {
    "theme": ("red", "green", "blue", "yellow"),
    "rhythm": ("one", "two", "three", "six"),
    "pitch": ("deep", "low", "high", "shrill"),
    "shape": ("disc", "square", "triangle", "cross"),
    "backdrop": ("rows", "columns", "diagonals", "dots"),
    "accompaniment": ("whistle", "rising", "falling", "hiss"),
    "hour": ("dawn", "noon", "dusk", "night"),
}

SHOWN: dict[str, tuple[str, ...]] = {
    "video": ("theme", "rhythm", "shape", "backdrop"),
    "audio": ("theme", "rhythm", "pitch", "accompaniment"),
    "text": ("theme", "pitch", "shape", "hour"),
}
"""`theme` is shown by all three modalities, `rhythm`, `shape` and `pitch` by exactly two, the last of each by one."""

SHARED_FACTOR = "theme"
PAIR_FACTORS = ("rhythm", "pitch", "shape")
PRIVATE_FACTOR = {"video": "backdrop", "audio": "accompaniment", "text": "hour"}

Latents = dict[str, int]


def draw_latents(seed: int, split: str, index: int, *, common: bool = False) -> Latents:
    """Returns the value of every factor for one clip, a function of the arguments alone.

    With `common` rhythm, pitch and shape are one factor, the rhythm: all three modalities show it.
    """
    values = generator("scenes", seed, split, index, "latents").integers(0, NUM_VALUES, len(FACTORS))
    latents = dict(zip(FACTORS, values.tolist(), strict=True))
    return latents | dict.fromkeys(PAIR_FACTORS, latents["rhythm"]) if common else latents


def label_of(latents: Latents, config: ScenesConfig, modalities: Sequence[str]) -> str:
    """Returns the name of the class.

    `redundant`: the value of `theme`. `unique`: the value of the private factor of `config.unique_to`. `synergy`:
    `sum-k` with k the sum of the private factors of `modalities` modulo `NUM_VALUES`.
    """
    if config.labels == "synergy":
        return f"sum-{sum(latents[PRIVATE_FACTOR[name]] for name in modalities) % NUM_VALUES}"
    factor = SHARED_FACTOR if config.labels == "redundant" else PRIVATE_FACTOR[config.unique_to]
    return FACTORS[factor][latents[factor]]


def caption_sources(seed: int, split: str, count: int, mismatch: float) -> list[int]:
    """Returns, per clip of a split, the index of the clip whose caption it carries.

    `round(mismatch * count)` clips, drawn with the seed, pass their captions round among themselves, so that each of
    them has the caption of another one. A single such clip takes the caption of the clip after it.
    Raises `ValueError` where the split has no other clip.
    """
    sources = list(range(count))
    chosen = generator("scenes", seed, split, "mismatch").permutation(count)[: round(mismatch * count)].tolist()
    if chosen and count == 1:
        raise ValueError(f"The only clip of the split {split!r} cannot carry the caption of another; use two or more.")
    if len(chosen) == 1:
        sources[chosen[0]] = (chosen[0] + 1) % count
        return sources
    for clip, source in zip(chosen, chosen[1:] + chosen[:1], strict=True):
        sources[clip] = source
    return sources


def caption_bags(seed: int, split: str, sources: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """Returns, per clip of a split, the indices of `size` different clips whose captions are its candidates.

    The one whose caption it carries (`sources`), then itself where that is another one, then others drawn with the
    seed. Raises `ValueError` where the split has fewer clips.
    """
    if size > len(sources):
        raise ValueError(f"{size} different captions per clip need {size} clips; {split!r} has {len(sources)}.")
    bags = []
    for clip, source in enumerate(sources):
        drawn = generator("scenes", seed, split, clip, "candidates").permutation(len(sources)).tolist()
        bags.append(tuple(dict.fromkeys((source, clip, *drawn)))[:size])
    return bags
