from collections import Counter

import pytest

from awase.config import ScenesConfig
from awase.data.datasets.scene_factors import (
    FACTORS,
    NUM_VALUES,
    PAIR_FACTORS,
    PRIVATE_FACTOR,
    SHOWN,
    caption_sources,
    draw_latents,
    label_of,
)

LATENTS = {"theme": 1, "rhythm": 0, "pitch": 0, "shape": 0, "backdrop": 3, "accompaniment": 2, "hour": 1}


def test_factors_are_shown_by_all_by_each_pair_or_by_one() -> None:
    showing = {factor: {name for name, shown in SHOWN.items() if factor in shown} for factor in FACTORS}
    assert showing == {
        "theme": {"video", "audio", "text"},
        "rhythm": {"video", "audio"},
        "pitch": {"audio", "text"},
        "shape": {"video", "text"},
        "backdrop": {"video"},
        "accompaniment": {"audio"},
        "hour": {"text"},
    }
    assert all(showing[factor] == {name} for name, factor in PRIVATE_FACTOR.items())
    assert all(len(values) == NUM_VALUES for values in FACTORS.values())


def test_latents_are_a_function_of_seed_split_and_index() -> None:
    places = [(0, "train", 5), (1, "train", 5), (0, "val", 5), (0, "train", 6)]
    assert draw_latents(*places[0]) == draw_latents(*places[0])
    assert len({tuple(draw_latents(*place).items()) for place in places}) == 4


def test_every_value_of_every_factor_is_equally_likely() -> None:
    drawn = [draw_latents(3, "train", index) for index in range(2000)]
    for factor in FACTORS:
        counts = Counter(latents[factor] for latents in drawn)
        # 500 expected, standard deviation 19.4; five of them.
        assert all(abs(counts[value] - 500) < 97 for value in range(NUM_VALUES))


def test_common_pair_factors_are_shown_by_all_three_modalities_and_the_others_stay() -> None:
    own, common = draw_latents(3, "train", 5), draw_latents(3, "train", 5, common=True)
    assert len({common[name] for name in PAIR_FACTORS}) == 1
    assert all(any(name in SHOWN[modality] for name in PAIR_FACTORS) for modality in SHOWN)
    assert {name for name in FACTORS if own[name] != common[name]} <= {"pitch", "shape"}
    assert own != common


@pytest.mark.parametrize(
    ("labels", "unique_to", "modalities", "expected"),
    [
        ("redundant", "video", ["video"], "green"),
        ("unique", "video", ["video", "audio"], "dots"),
        ("unique", "audio", ["video", "audio"], "falling"),
        ("unique", "text", ["text", "audio"], "noon"),
        ("synergy", "video", ["video", "audio"], "sum-1"),
        ("synergy", "video", ["audio", "text"], "sum-3"),
        ("synergy", "video", ["text", "video"], "sum-0"),
        ("synergy", "video", ["video", "audio", "text"], "sum-2"),
    ],
)
def test_label(labels: str, unique_to: str, modalities: list[str], expected: str) -> None:
    config = ScenesConfig(labels=labels, unique_to=unique_to)
    assert label_of(LATENTS, config, modalities) == expected


@pytest.mark.parametrize("mismatch", [0.0, 2 / 37, 0.1, 0.25, 0.5, 1.0])
def test_mismatched_captions_are_passed_round_and_their_share_is_exact(mismatch: float) -> None:
    sources = caption_sources(0, "train", 37, mismatch)
    assert sum(source != clip for clip, source in enumerate(sources)) == round(mismatch * 37)
    assert sorted(sources) == list(range(37))


def test_a_single_mismatched_clip_takes_the_caption_of_another() -> None:
    sources = caption_sources(0, "train", 11, 0.1)
    assert sum(source != clip for clip, source in enumerate(sources)) == 1


def test_mismatch_without_another_clip_is_refused() -> None:
    assert caption_sources(0, "val", 1, 0.4) == [0]
    with pytest.raises(ValueError, match="The only clip of the split 'val'"):
        caption_sources(0, "val", 1, 1.0)
