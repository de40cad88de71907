import numpy as np
import pytest

from awase.data.datasets.tones import DURATION_S, keypad_hz, render_tone

KEYPAD = ["941 1336", "697 1209", "697 1336", "697 1477", "770 1209", "770 1336", "770 1477", "852 1209"]


def test_pairs_are_those_of_the_telephone() -> None:
    pairs = [" ".join(f"{hertz:.0f}" for hertz in keypad_hz(digit)) for digit in range(10)]
    assert pairs == [*KEYPAD, "852 1336", "852 1477"]


@pytest.mark.parametrize("digit", range(10))
def test_both_tones_stand_out_and_are_detuned_by_three_per_cent_at_most(digit: int) -> None:
    power = np.zeros(2001)
    for seed in range(40):
        power += np.square(np.abs(np.fft.rfft(render_tone(digit, 8000, np.random.default_rng(seed)))))
    hertz = np.arange(2001) / DURATION_S
    for low, high, tone in ((650, 1000, keypad_hz(digit)[0]), (1150, 1550, keypad_hz(digit)[1])):
        band = (hertz > low) & (hertz < high)
        near = np.abs(hertz - tone) < 0.03 * tone + 10  # the shortest signal spreads a line by 7 Hz
        assert power[band & near].mean() > 4 * power[band & ~near].mean()


def test_a_tone_depends_on_its_generator_alone_and_keeps_within_its_range() -> None:
    one, same, other = (render_tone(3, 5003, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert one.shape == (2502,)
    assert one.dtype == np.float32
    assert max(np.abs(render_tone(0, 8000, np.random.default_rng(seed))).max() for seed in range(50)) < 1
