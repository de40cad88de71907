import numpy as np
import pytest

from awase.config import AudioInput, ImageInput, TextInput
from awase.data.datasets.built_in import agreeing_inputs, digest, fit_window, generator
from awase.data.source import MediaError

DEFAULTS = {"image": ImageInput(column="image"), "text": TextInput(column="text")}


def test_digest_tells_keys_their_types_and_their_order_apart() -> None:
    keys = [("a", 1), (1, "a"), ("a", "1"), ("a1",), ("a", 1.0), ("a", 1, 1)]
    assert len({digest(*key) for key in keys}) == len(keys)


def test_generator_depends_on_its_keys_alone() -> None:
    assert np.array_equal(generator("a", -3).random(5), generator("a", -3).random(5))
    assert not np.array_equal(generator("a", -3).random(5), generator("a", 3).random(5))


def test_given_inputs_win_and_defaults_fill_in_only_where_none_is_given() -> None:
    small = {"text": TextInput(column="words", max_tokens=3)}
    assert agreeing_inputs("set", small, DEFAULTS) == small
    assert agreeing_inputs("set", {}, DEFAULTS) == DEFAULTS


def test_unknown_modality_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(KeyError, match="'smell'; it has image, text"):
        agreeing_inputs("set", {"smell": TextInput(column="a")}, DEFAULTS)


def test_input_of_another_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'image' of the data set 'set' is of kind 'image'.*'text'"):
        agreeing_inputs("set", {"image": TextInput(column="a")}, DEFAULTS)


@pytest.mark.parametrize(
    ("window_s", "expected"),
    [(None, [1, 2, 3, 4, 5]), (0.003, [2, 3, 4]), (0.005, [1, 2, 3, 4, 5]), (0.007, [1, 2, 3, 4, 5, 0, 0])],
)
def test_window_is_the_middle_and_zeros_follow_a_shorter_wave(window_s: float | None, expected: list[int]) -> None:
    entry = AudioInput(column="a", sample_rate_hz=1000, window_s=window_s)
    assert fit_window(np.arange(1, 6, dtype=np.float32), entry).tolist() == expected


def test_short_wave_is_refused_where_asked() -> None:
    entry = AudioInput(column="a", sample_rate_hz=1000, window_s=0.007, short="error")
    with pytest.raises(MediaError, match=r"0.005 s, less than the window of 0.007 s"):
        fit_window(np.zeros(5, dtype=np.float32), entry)
