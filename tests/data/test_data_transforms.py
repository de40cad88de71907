"""Every transform against its definition; draws depend on their place alone."""

import numpy as np
import pytest

from awase.config import Crop, Flip, Noise, Occlusion, PixelNoise, SpecAugment, TimeShift
from awase.data.transforms import Context, apply, crop, flip, generator_for, occlude, shift, spec_augment

PICTURES = Context("video", step_s=0.1, unit=255.0, grey=128.0)
FLOW = Context("flow")


def frames(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 255, (3, 7, 11, 2), dtype=np.uint8)


def test_a_generator_belongs_to_its_place() -> None:
    first, again = (generator_for(1, 2, 3).random(5).tolist() for _ in range(2))
    assert first == again
    assert (
        len(
            {
                first[0],
                generator_for(1, 2, 4).random(),
                generator_for(1, 3, 3).random(),
                generator_for(2, 2, 3).random(),
            }
        )
        == 4
    )


def test_crop_is_a_pad_and_a_cut_at_the_same_place_in_all_frames() -> None:
    value, seen = frames(), set()
    padded = np.pad(value, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="edge")
    for seed in range(40):
        made = crop(value, np.random.default_rng(seed), 3)
        places = [(y, x) for y in range(7) for x in range(7) if np.array_equal(padded[:, y : y + 7, x : x + 11], made)]
        assert len(places) == 1
        seen.update(places)
    assert len(seen) > 20
    assert np.array_equal(crop(value, np.random.default_rng(0), 0), value)


def test_a_crop_beyond_the_picture_repeats_a_corner() -> None:
    tiny = np.arange(4, dtype=np.float32).reshape(2, 2, 1)
    made = [crop(tiny, np.random.default_rng(seed), 50) for seed in range(20)]
    corners = {float(value.flat[0]) for value in made if (value == value.flat[0]).all()}
    assert corners == {0.0, 1.0, 2.0, 3.0}


def test_flip_mirrors_and_negates_horizontal_flow() -> None:
    value = np.random.default_rng(0).normal(size=(3, 5, 7, 2)).astype(np.float32)
    assert np.array_equal(flip(value, PICTURES), value[:, :, ::-1])
    made = flip(value, FLOW)
    assert np.array_equal(made[..., 0], -value[:, :, ::-1, 0])
    assert np.array_equal(made[..., 1], value[:, :, ::-1, 1])


@pytest.mark.parametrize(("probability", "flipped"), [(0.0, 0), (1.0, 50)])
def test_flip_keeps_to_its_probability(probability: float, flipped: int) -> None:
    value = frames()
    made = [apply(Flip(probability=probability), value, generator_for(k), 0, PICTURES) for k in range(50)]
    assert sum(not np.array_equal(each, value) for each in made) == flipped
    half = [apply(Flip(), value, generator_for(k), 0, PICTURES) for k in range(200)]
    assert 70 < sum(not np.array_equal(each, value) for each in half) < 130


@pytest.mark.parametrize(
    ("steps", "edge", "expected"),
    [
        (2, False, [0, 0, 1, 2, 3]),
        (-2, False, [3, 4, 5, 0, 0]),
        (2, True, [1, 1, 1, 2, 3]),
        (-2, True, [3, 4, 5, 5, 5]),
        (0, True, [1, 2, 3, 4, 5]),
        (9, False, [0] * 5),
        (-9, True, [5] * 5),
        (9, True, [1] * 5),
    ],
)
def test_shift_brings_in_zeros_or_the_edge(steps: int, edge: bool, expected: list[int]) -> None:
    assert shift(np.arange(1, 6), steps, edge).tolist() == expected


def test_time_shift_stays_within_its_seconds() -> None:
    wave = np.arange(1, 101, dtype=np.float32)
    context = Context("audio", step_s=1 / 100)
    offsets = set()
    for seed in range(60):
        made = apply(TimeShift(max_s=0.05), wave, generator_for(seed), 0, context)
        offsets.add(int(np.argmax(made == 50)) - 49)
    assert offsets == set(range(-5, 6))


def test_spec_augment_sets_bands_and_gaps_to_the_mean() -> None:
    value = np.random.default_rng(0).normal(size=(1, 13, 17)).astype(np.float32)
    widest = [0, 0]
    for seed in range(60):
        made = spec_augment(value, generator_for(seed), SpecAugment(max_bins=4, max_frames=5))
        masked = made != value
        assert np.all(made[masked] == value.mean())
        bins, gaps = masked[0].all(axis=1), masked[0].all(axis=0)
        assert np.array_equal(masked[0], bins[:, None] | gaps[None, :])
        widest = [max(widest[0], int(bins.sum())), max(widest[1], int(gaps.sum()))]
    assert widest == [4, 5]


def test_spec_augment_wider_than_the_spectrogram_is_cut() -> None:
    value = np.random.default_rng(0).normal(size=(1, 3, 2)).astype(np.float32)
    assert spec_augment(value, generator_for(0), SpecAugment(max_bins=99, max_frames=99)).shape == value.shape


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 0.7, 1.0])
def test_occlusion_covers_its_share_at_one_place(fraction: float) -> None:
    value = np.full((3, 20, 50, 1), 7, dtype=np.uint8)
    made = occlude(value, generator_for(3), fraction, 128.0)
    grey = made == 128
    assert abs(grey[0].mean() - fraction) < 0.02
    assert np.array_equal(grey[0], grey[2])
    tall, wide = grey[0].any(axis=(1, 2)).sum(), grey[0].any(axis=(0, 2)).sum()
    assert grey[0].sum() == tall * wide
    assert tall == wide or tall == 20
    assert not (value == 128).any()


def test_pixel_noise_is_in_units_of_white() -> None:
    value = np.full((5, 40, 40, 3), 100, dtype=np.uint8)
    made = apply(PixelNoise(std=0.1), value, generator_for(1), 0, PICTURES)
    assert made.dtype == np.float32
    # 24 000 draws: the standard deviation is known to half a percent.
    assert (made - 100).std() == pytest.approx(25.5, rel=0.03)
    array = apply(PixelNoise(std=2.0), np.zeros(9001, dtype=np.float32), generator_for(1), 0, Context("array"))
    assert array.std() == pytest.approx(2.0, rel=0.03)


def test_noise_draws_its_ratio_from_the_range_and_its_voices_from_others() -> None:
    wave = np.random.default_rng(0).normal(size=800).astype(np.float32)
    asked = []

    def voices(row: int, generator: np.random.Generator, number: int) -> list[np.ndarray]:
        asked.append((row, number))
        return [generator.normal(size=800).astype(np.float32) for _ in range(number)]

    ratios = []
    for seed in range(30):
        transform = Noise(source="babble", low_db=-3, high_db=6, voices=3)
        added = apply(transform, wave, generator_for(seed), 5, Context("audio", voices=voices)) - wave
        ratios.append(10 * np.log10((wave**2).mean() / (added**2).mean()))
    assert -3.01 < min(ratios) < -1
    assert 4 < max(ratios) < 6.01
    assert set(asked) == {(5, 3)}


def test_the_same_draw_gives_the_same_sample() -> None:
    for transform in (Crop(), Flip(), TimeShift(), PixelNoise(), Occlusion()):
        made = [apply(transform, frames(), generator_for(4, 2), 0, PICTURES) for _ in range(2)]
        assert np.array_equal(made[0], made[1])
