"""Pairs images, sounds and texts of the same digit at random, after each of them was split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from awase.data.datasets.built_in import generator
from awase.data.datasets.number_words import PHRASES, phrase
from awase.data.datasets.recordings import Recording

T = TypeVar("T")
CYCLE = ("train", "train", "train", "test", "val")
"""The split of the k-th item of its digit in shuffled order is `CYCLE[k % 5]`: three fifths, one fifth, one fifth."""


@dataclass(frozen=True)
class ImagePlace:
    """An image of scikit-learn's set by its number, and the split that it belongs to."""

    image: int
    digit: int
    split: str


@dataclass(frozen=True)
class PairedRow:
    """One sample: an image by its number, a text, and a recording where the sounds are not tones."""

    digit: int
    split: str
    image: int
    text: str
    recording: Recording | None


def shuffled(items: Sequence[T], *keys: int | str) -> list[T]:
    """Returns the items in an order that depends on the keys alone."""
    return [items[place] for place in generator("digits", *keys).permutation(len(items))]


def split_images(digits: Sequence[int], seed: int) -> list[ImagePlace]:
    """Returns every image once with its split; the digits take turns, so that a beginning of the list is balanced."""
    turns: list[tuple[int, int, ImagePlace]] = []
    for digit in sorted(set(digits)):
        own = shuffled([image for image, value in enumerate(digits) if value == digit], seed, "images", digit)
        turns += [(k, digit, ImagePlace(image, digit, CYCLE[k % 5])) for k, image in enumerate(own)]
    return [place for _, _, place in sorted(turns, key=lambda turn: turn[:2])]


def split_phrases(digit: int, seed: int) -> dict[str, list[tuple[str, int]]]:
    """Returns (language, phrase number) per split: of each language three phrases in train, one in val, one in test.

    Every word is so in every split, but no phrase about a digit is in two.
    """
    splits: dict[str, list[tuple[str, int]]] = {"train": [], "val": [], "test": []}
    for language, phrases in PHRASES.items():
        order = shuffled(range(len(phrases)), seed, "phrases", digit, language)
        for turn, number in enumerate(order):
            splits[CYCLE[turn % 5]].append((language, number))
    return splits


class Deck(Generic[T]):
    """Deals the items of a pool in random order; when it is used up, in another order again.

    No item is dealt a second time before all the others were dealt once.
    """

    def __init__(self, pool: Sequence[T], *keys: int | str) -> None:
        self._pool, self._keys = pool, keys
        self._round, self._left = 0, list[T]()

    def deal(self) -> T:
        """Returns the next item."""
        if not self._left:
            self._left = shuffled(self._pool, *self._keys, self._round)[::-1]
            self._round += 1
        return self._left.pop()


def pair_rows(
    digits: Sequence[int], recordings: Mapping[str, Sequence[Recording]] | None, seed: int, count: int
) -> list[PairedRow]:
    """Returns `count` rows: the images in turn, each with the next phrase and recording of its split and digit.

    `digits` has one entry per image. Raises `ValueError` where a split has no recording of a digit.
    """
    phrases = {
        (split, digit): Deck(pool, seed, "texts", split, digit)
        for digit in sorted(set(digits))
        for split, pool in split_phrases(digit, seed).items()
    }
    sounds = None if recordings is None else _recording_decks(recordings, seed)
    places = split_images(digits, seed)
    rows = []
    for number in range(count):
        place = places[number % len(places)]
        key = (place.split, place.digit)
        text = phrase(*phrases[key].deal(), place.digit)
        recording = None if sounds is None else sounds[key].deal()
        rows.append(PairedRow(place.digit, place.split, place.image, text, recording))
    return rows


def _recording_decks(
    recordings: Mapping[str, Sequence[Recording]], seed: int
) -> dict[tuple[str, int], Deck[Recording]]:
    decks = {}
    for split, spoken in recordings.items():
        for digit in range(10):
            pool = [recording for recording in spoken if recording.digit == digit]
            if not pool:
                raise ValueError(f"There is no recording of the digit {digit} for the split {split!r}.")
            decks[split, digit] = Deck(pool, seed, "recordings", split, digit)
    return decks
