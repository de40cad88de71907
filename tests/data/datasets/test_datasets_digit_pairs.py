from collections import Counter, defaultdict
from pathlib import Path

import pytest

from awase.data.datasets.digit_pairs import Deck, pair_rows, split_images, split_phrases
from awase.data.datasets.number_words import PHRASES, WORDS, phrase
from awase.data.datasets.recordings import Recording

DIGITS = [index % 10 for index in range(170)]


def recordings_of(takes: int, speaker: str) -> list[Recording]:
    return [Recording(Path(f"{d}_{speaker}_{t}.wav"), d, speaker, t) for d in range(10) for t in range(takes)]


def test_every_image_has_one_split_and_digits_take_turns() -> None:
    places = split_images(DIGITS, 3)
    assert sorted(place.image for place in places) == list(range(170))
    assert all(DIGITS[place.image] == place.digit for place in places)
    assert [place.digit for place in places[:20]] == [*range(10), *range(10)]
    assert Counter(place.split for place in places if place.digit == 4) == {"train": 11, "val": 3, "test": 3}
    assert Counter(place.split for place in places[:50]) == {"train": 30, "val": 10, "test": 10}


def test_images_are_shuffled_by_the_seed_alone() -> None:
    assert split_images(DIGITS, 3) == split_images(DIGITS, 3)
    assert split_images(DIGITS, 3) != split_images(DIGITS, 4)


@pytest.mark.parametrize("digit", [0, 7])
def test_every_language_is_in_every_split_and_no_phrase_in_two(digit: int) -> None:
    splits = split_phrases(digit, 0)
    assert Counter(language for language, _ in splits["train"]) == dict.fromkeys(PHRASES, 3)
    assert Counter(language for language, _ in splits["val"]) == dict.fromkeys(PHRASES, 1)
    assert Counter(language for language, _ in splits["test"]) == dict.fromkeys(PHRASES, 1)
    assert len({phrase for phrases in splits.values() for phrase in phrases}) == 25


def test_every_word_names_one_digit_and_stands_in_no_phrase() -> None:
    digits_of = defaultdict(set)
    for words in WORDS.values():
        assert len(words) == 10
        for digit, word in enumerate(words):
            digits_of[word].add(digit)
    assert all(len(digits) == 1 for digits in digits_of.values())
    frame = {word for phrases in PHRASES.values() for phrase in phrases for word in phrase.replace("{}", "").split()}
    assert not frame & digits_of.keys()
    assert all(len(phrases) == 5 and all("{}" in phrase for phrase in phrases) for phrases in PHRASES.values())


def test_no_text_is_written_twice() -> None:
    texts = [phrase(language, number, digit) for language in PHRASES for number in range(5) for digit in range(10)]
    assert len(set(texts)) == 250


def test_a_deck_deals_all_items_before_any_a_second_time() -> None:
    deck = Deck(range(7), "a", 1)
    rounds = [[deck.deal() for _ in range(7)] for _ in range(3)]
    assert all(sorted(dealt) == list(range(7)) for dealt in rounds)
    assert len({tuple(dealt) for dealt in rounds}) == 3


def test_rows_pair_what_belongs_to_one_split_and_one_digit() -> None:
    recordings = {"train": recordings_of(23, "ann"), "val": recordings_of(5, "bob"), "test": recordings_of(3, "cy")}
    rows = pair_rows(DIGITS, recordings, 0, 170)
    speaker_of = {"train": "ann", "val": "bob", "test": "cy"}
    for row in rows:
        assert DIGITS[row.image] == row.digit
        assert row.recording is not None
        assert (row.recording.digit, row.recording.speaker) == (row.digit, speaker_of[row.split])
        assert any(words[row.digit] in row.text for words in WORDS.values())
    assert len({row.image for row in rows}) == 170
    used = Counter(row.recording for row in rows)
    assert max(used.values()) == 1  # eleven, three and three rows of a digit, from 23, 5 and 3 recordings
    assert pair_rows(DIGITS, recordings, 0, 53) == rows[:53]
    assert pair_rows(DIGITS, recordings, 1, 170) != rows


def test_images_used_again_keep_their_split() -> None:
    rows = pair_rows(DIGITS, None, 0, 400)
    splits = defaultdict(set)
    for row in rows:
        splits[row.image].add(row.split)
    assert all(len(names) == 1 for names in splits.values())
    texts = defaultdict(set)
    for row in rows:
        texts[row.digit, row.text].add(row.split)
    assert all(len(names) == 1 for names in texts.values())
    assert Counter(row.image for row in rows).most_common()[-1][1] == 2


def test_a_digit_without_a_recording_is_named() -> None:
    recordings = {"train": [r for r in recordings_of(2, "ann") if r.digit != 6]}
    with pytest.raises(ValueError, match="no recording of the digit 6 for the split 'train'"):
        pair_rows(DIGITS, recordings, 0, 50)
