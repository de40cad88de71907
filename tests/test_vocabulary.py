"""Names of modalities, and sets of them."""

import pytest

from awase.vocabulary import SHARED, Combination, check_modality


@pytest.mark.parametrize("name", ["audio", "camera_2", "x", "a1_b2_"])
def test_names_of_modalities(name):
    assert check_modality(name) == name


@pytest.mark.parametrize("name", ["", "Audio", "2d", "_x", "audio+text", "a b", "a-b", "é", "audio\n", "a.b"])
def test_what_cannot_name_a_modality(name):
    with pytest.raises(ValueError, match=r"cannot name a modality.*'audio' or 'camera_2'\.$"):
        check_modality(name)


def test_the_reserved_word():
    with pytest.raises(ValueError, match="'shared' is reserved"):
        check_modality("shared")


def test_combinations_are_written_sorted_and_read_back():
    both = Combination.of(["text", "audio", "text"])
    assert str(both) == "audio+text"
    assert both == Combination.parse("text+audio")
    assert len({both, Combination.of(("audio", "text")), Combination.of(["audio"])}) == 2
    for combination in (both, SHARED, Combination.of(["video"])):
        assert Combination.parse(str(combination)) == combination


def test_the_empty_combination():
    assert str(SHARED) == "shared"
    assert Combination.of([]) == SHARED
    assert Combination.parse("shared") == SHARED


@pytest.mark.parametrize("text", ["", "audio+", "audio+shared", "Audio+text", "+"])
def test_what_is_no_combination(text):
    with pytest.raises(ValueError, match=r"name a modality|reserved"):
        Combination.parse(text)
