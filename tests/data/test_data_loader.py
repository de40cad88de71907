"""Batches: complete, in the drawn order, resumable, shared out, mixed, and the same with any number of workers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from small_set import INPUTS, RATE, open_set, write_set

from awase.config import Crop, DataConfig, Flip, Input, Noise, PixelNoise, SpecAugment, TimeShift
from awase.data import Dataset, open_dataset
from awase.data.collate import partners
from awase.types import Batch, Loader

AUGMENTED: dict[str, Input] = {
    "array": INPUTS["array"].model_copy(update={"corrupt": (PixelNoise(std=0.3),)}),
    "audio": INPUTS["audio"].model_copy(
        update={
            "representation": "log_mel_40",
            "corrupt": (Noise(source="babble", low_db=-3, high_db=3),),
            "augment": (TimeShift(max_s=0.01), SpecAugment(max_bins=5, max_frames=2)),
        }
    ),
    "image": INPUTS["image"].model_copy(update={"augment": (Crop(padding=1), Flip(), PixelNoise(std=0.1))}),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loader")
    write_set(folder)
    write_set(folder / "gaps", audio=dict.fromkeys((1, 4, 7), ""), text={2: ""}, image={4: "gone.png", 30: ""})
    return folder


@pytest.fixture(scope="module")
def plain(home: Path) -> Dataset:
    return open_set(home / "m.csv", home / "cache")


@pytest.fixture(scope="module")
def augmented(home: Path) -> Dataset:
    return open_set(home / "m.csv", home / "cache", inputs=AUGMENTED)


@pytest.fixture(scope="module")
def gaps(home: Path) -> Dataset:
    return open_set(home / "gaps" / "m.csv", home / "cache")


def tensors(batch: Batch) -> Iterator[torch.Tensor]:
    for value in (*batch.inputs.values(), *batch.present.values()):
        yield from [value] if isinstance(value, torch.Tensor) else value.values()
    yield batch.index
    assert batch.targets is not None
    yield batch.targets


def equal(first: Batch, second: Batch) -> bool:
    return first.ids == second.ids and all(map(torch.equal, tensors(first), tensors(second)))


def test_a_loader_is_what_the_types_say(plain: Dataset) -> None:
    loader: Loader = plain.loader("train", batch_size=5)
    assert len(loader) == 5
    assert loader.num_samples == 23
    assert [len(batch) for batch in loader.epoch(0)] == [5, 5, 5, 5, 3]


def test_every_kind_is_normalised_as_stated(plain: Dataset) -> None:
    batch = next(plain.loader("val", batch_size=4).epoch(0))
    rows = [23, 24, 25, 26]
    assert batch.index.tolist() == rows
    assert batch.ids == tuple(f"id{row}" for row in rows)
    assert batch.targets is not None
    assert batch.targets.tolist() == [row % 3 for row in rows]
    assert batch.complete == frozenset(INPUTS)
    assert batch.inputs["array"].tolist() == [[row, row + 0.5, -1] for row in rows]  # type: ignore[union-attr]
    image = torch.tensor([5 * row for row in rows]).view(4, 1, 1, 1).expand(4, 3, 4, 6)
    torch.testing.assert_close(batch.inputs["image"], (image / 255 - 0.5) / 0.5)
    wave = 0.5 * np.sin(2 * np.pi * np.outer([100 + 50 * row for row in rows], np.arange(400)) / RATE)
    # The files keep 16 bits.
    torch.testing.assert_close(batch.inputs["audio"], torch.from_numpy(wave).float(), atol=2**-15, rtol=0)
    ids = batch.inputs["text"]["input_ids"]  # type: ignore[index]
    assert ids.tolist() == [[*map(ord, f"t{row}"), 0, 0] for row in rows]


def test_training_order_is_a_permutation_of_seed_and_epoch(plain: Dataset) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        loader = plain.loader("train", batch_size=7, seed=seed, train=True)
        return [row for batch in loader.epoch(epoch) for row in batch.index.tolist()]

    orders = [order(0, 0), order(0, 1), order(1, 0)]
    assert all(sorted(each) == list(range(23)) for each in orders)
    assert len({tuple(each) for each in [*orders, list(range(23))]}) == 4
    assert order(0, 1) == orders[1]


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_an_epoch_goes_on_from_any_batch_and_with_any_workers(augmented: Dataset, mixup: float) -> None:
    whole = list(augmented.loader("train", batch_size=5, seed=3, train=True, mixup=mixup).epoch(2))
    for workers, start in ((0, 3), (1, 0), (3, 2)):
        loader = augmented.loader("train", batch_size=5, seed=3, train=True, mixup=mixup, workers=workers)
        made = list(loader.epoch(2, start=start))
        assert len(made) == len(whole) - start
        assert all(map(equal, made, whole[start:]))
    assert list(augmented.loader("train", batch_size=5, train=True).epoch(0, start=5)) == []


def test_augmentation_is_drawn_anew_each_epoch_for_training_alone(augmented: Dataset) -> None:
    def values(split: str, train: bool, seed: int, epoch: int, name: str) -> torch.Tensor:
        loader = augmented.loader(split, batch_size=50, seed=seed, train=train)
        batch = next(loader.epoch(epoch))
        value = batch.inputs[name]
        assert isinstance(value, torch.Tensor)
        return value[batch.index.argsort()]

    for name in AUGMENTED:
        reference = values("train", True, 0, 0, name)
        assert torch.equal(values("train", True, 0, 0, name), reference)
        assert not torch.equal(values("train", True, 0, 1, name), reference)
        assert not torch.equal(values("train", True, 1, 0, name), reference)
        # Validation and test are corrupted once and for all.
        assert torch.equal(values("test", False, 0, 0, name), values("test", False, 5, 7, name))
    clean = torch.tensor([[row, row + 0.5, -1] for row in range(30, 41)])
    noise = values("test", False, 0, 0, "array") - clean
    assert 0.2 < noise.std() < 0.4


def test_babble_is_made_of_other_training_clips(augmented: Dataset) -> None:
    column = augmented.columns["audio"]
    for row in (4, 25):
        for seed in range(20):
            voices = column._other_voices(row, np.random.default_rng(seed), 6)  # type: ignore[attr-defined]
            found = [_row_of(voice) for voice in voices]
            assert len(set(found)) == 6
            assert row not in found
            assert max(found) < 23


def _row_of(wave: np.ndarray) -> int:
    """The tone of the row that the wave is a scaled copy of."""
    tones = [np.sin(2 * np.pi * (100 + 50 * row) * np.arange(400) / RATE) for row in range(41)]
    return int(np.argmax([np.dot(wave, tone) / np.linalg.norm(tone) for tone in tones]))


def test_absent_rows_are_marked_and_zero(gaps: Dataset) -> None:
    batch = next(gaps.loader("train", batch_size=23).epoch(0))
    assert batch.complete == {"array"}
    assert (~batch.present["audio"]).nonzero().flatten().tolist() == [1, 4, 7]
    assert (~batch.present["text"]).nonzero().flatten().tolist() == [2]
    assert not batch.inputs["image"][4].any()  # type: ignore[index]
    assert not batch.inputs["audio"][[1, 4, 7]].any()  # type: ignore[index]
    assert not batch.inputs["text"]["attention_mask"][2].any()  # type: ignore[index]
    assert bool(batch.inputs["image"][5].any())  # type: ignore[index]


def test_rows_without_the_asked_modalities_are_left_out(gaps: Dataset) -> None:
    audio = gaps.loader("train", batch_size=50, modalities=["audio"])
    assert audio.num_samples == 20
    batch = next(audio.epoch(0))
    assert set(batch.inputs) == {"audio"}
    assert batch.complete == {"audio"}
    both = gaps.loader("train", batch_size=50, modalities=["audio", "image"])
    assert sorted(set(range(23)) - set(next(both.epoch(0)).index.tolist())) == [4]


def test_inputs_that_are_not_asked_for_are_not_made_but_their_presence_is_told(gaps: Dataset) -> None:
    whole = next(gaps.loader("train", batch_size=23).epoch(0))
    some = next(gaps.loader("train", batch_size=23, inputs=["audio"]).epoch(0))
    assert set(some.inputs) == {"audio"}
    assert torch.equal(some.inputs["audio"], whole.inputs["audio"])  # type: ignore[arg-type]
    assert some.ids == whole.ids
    assert some.complete == whole.complete
    assert all(torch.equal(some.present[name], mask) for name, mask in whole.present.items())


@pytest.mark.parametrize("mixup", [0.0, 0.7])
@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_each_batch(augmented: Dataset, mixup: float, world_size: int) -> None:
    options = {"batch_size": 5, "seed": 1, "train": True, "mixup": mixup}
    whole = list(augmented.loader("train", **options).epoch(0))
    shares = [
        list(augmented.loader("train", **options, rank=rank, world_size=world_size).epoch(0))
        for rank in range(world_size)
    ]
    for number, batch in enumerate(whole):
        parts = [share[number] for share in shares]
        assert tuple(name for part in parts for name in part.ids) == batch.ids
        for joined, value in zip(zip(*map(tensors, parts), strict=True), tensors(batch), strict=True):
            # Transforms of several rows at once round differently by the number of rows.
            torch.testing.assert_close(torch.cat(joined), value, rtol=1e-4, atol=1e-5)


def test_a_last_batch_smaller_than_the_world_gives_empty_shares(plain: Dataset, augmented: Dataset) -> None:
    sizes = [
        [len(batch) for batch in plain.loader("train", batch_size=11, rank=rank, world_size=2).epoch(0)]
        for rank in (0, 1)
    ]
    assert sizes == [[6, 6, 1], [5, 5, 0]]
    for mixup in (0.0, 0.5):
        loader = augmented.loader("train", batch_size=11, train=True, mixup=mixup, rank=1, world_size=2)
        assert list(loader.epoch(0))[-1].inputs["audio"].shape == (0, 1, 40, 6)  # type: ignore[union-attr]


def test_mixup_mixes_all_modalities_and_targets_alike(home: Path, plain: Dataset) -> None:
    names = ["array", "image"]
    clean = next(plain.loader("train", batch_size=23, modalities=names).epoch(0))
    assert clean.targets is not None
    one_hot = torch.nn.functional.one_hot(clean.targets, 3).float()
    weights = []
    for epoch in range(6):
        mixed = next(plain.loader("train", batch_size=23, modalities=names, train=True, mixup=1.0).epoch(epoch))
        assert mixed.targets is not None
        array = mixed.inputs["array"]
        assert isinstance(array, torch.Tensor)
        own = mixed.index
        # Row r holds the numbers r and r + 0.5, so the mixed value tells weight x r + (1 - weight) x partner.
        deviation = (array[:, 0] - own).double()
        weight = _weight(mixed.targets, one_hot[own])
        partner = _partner(deviation, own, weight)
        weights.append(weight)
        assert sorted(partner.tolist()) == list(range(23))
        for name in names:
            pure = clean.inputs[name]
            assert isinstance(pure, torch.Tensor)
            torch.testing.assert_close(mixed.inputs[name], weight * pure[own] + (1 - weight) * pure[partner])
        torch.testing.assert_close(mixed.targets, weight * one_hot[own] + (1 - weight) * one_hot[partner])
    assert len(set(weights)) == 6


def _weight(targets: torch.Tensor, own: torch.Tensor) -> float:
    shares = (targets * own).sum(dim=1)
    return float(shares[shares < 0.9999].median())


def _partner(deviation: torch.Tensor, own: torch.Tensor, weight: float) -> torch.Tensor:
    return (own + deviation / (1 - weight)).round().long()


def test_mixup_pairs_rows_with_the_same_modalities() -> None:
    presence = np.array([[1, 1], [1, 0], [0, 1], [1, 0], [1, 1], [0, 1], [1, 1], [1, 0]], dtype=bool)
    seen = set()
    for seed in range(20):
        partner = partners(presence, np.random.default_rng(seed))
        assert sorted(partner) == list(range(8))
        assert np.array_equal(presence[partner], presence)
        seen.add(tuple(partner))
    assert len(seen) > 5


def test_mixup_is_for_training_and_not_for_text(plain: Dataset) -> None:
    with pytest.raises(ValueError, match=r"Mixup cannot mix the text of 'text'; set training.mixup to 0"):
        plain.loader("train", batch_size=5, train=True, mixup=0.2)
    batch = next(plain.loader("val", batch_size=5, modalities=["array"], mixup=0.2).epoch(0))
    assert batch.targets is not None
    assert batch.targets.dtype == torch.int64


def test_unknown_names_and_numbers_are_refused(plain: Dataset) -> None:
    with pytest.raises(KeyError, match=r"no split 'dev'; the splits are train, val, test"):
        plain.loader("dev", batch_size=2)
    with pytest.raises(KeyError, match=r"no modality 'smell'; it has array, audio, image, text"):
        plain.loader("val", batch_size=2, modalities=["smell"])
    with pytest.raises(KeyError, match=r"no modality 'smell'"):
        plain.input_shape("smell")
    with pytest.raises(ValueError, match=r"batch_size is 0"):
        plain.loader("val", batch_size=0)
    with pytest.raises(ValueError, match=r"rank is 2 of 2"):
        plain.loader("val", batch_size=2, rank=2, world_size=2)


def test_texts_are_tokenised_once_and_need_a_tokenizer(home: Path, plain: Dataset) -> None:
    list(plain.loader("val", batch_size=3).epoch(0))
    list(plain.loader("test", batch_size=3).epoch(0))
    assert plain.columns["text"].tokenizer.calls == 1  # type: ignore[attr-defined]
    config = DataConfig(manifest=home / "m.csv", inputs={"text": INPUTS["text"]})
    without = open_dataset(config, cache=home / "cache", cache_gib=1.0, tokenizers={})
    with pytest.raises(KeyError, match=r"'text' is text and no tokenizer was given"):
        next(without.loader("val", batch_size=2).epoch(0))


def test_an_epoch_left_early_ends_its_threads(plain: Dataset) -> None:
    epoch = plain.loader("train", batch_size=2, workers=2).epoch(0)
    assert len(next(epoch)) == 2
    epoch.close()  # type: ignore[attr-defined]
