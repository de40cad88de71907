"""Features of frozen encoders on clips of a store are computed once for all epochs and runs; that changes no number."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_mcn import small_settings, write_root

from awase.config import Crop, Runtime, StageConfig
from awase.distributed import ALONE
from awase.experiments import ROOTED
from awase.methods import build_method
from awase.models import Retrieval
from awase.runner import nodes
from awase.runner.build import build_retrieval
from awase.runner.known_clips import KnownClips, clips_of_stage
from awase.runner.nodes import NodeRunner
from awase.runner.overrides import apply_overrides
from awase.runner.setting import Setting, open_setting
from awase.types import Batch, map_inputs

FROZEN = {"staged": {"first": ["audio", "video"], "freeze": True}}
LEARNING = ("text.encoder", "text.head", "objective")
ROWS = 32


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_root(tmp_path_factory.mktemp("mcn"))


def opened(root: Path, cache: Path, *changes: str, **runtime: object) -> Setting:
    experiment = apply_overrides(ROOTED["mcn.av_t"](root), [*small_settings(1), *changes])
    options = Runtime.model_validate({"cache": cache, "device": "cpu", "threads": 1, **runtime})
    return open_setting(experiment, options, 0, None, ALONE)


def stages(setting: Setting) -> list[StageConfig]:
    method = setting.experiment.methods[0]
    return build_method(method.method, setting.method_context(), {**method.settings, **FROZEN})


def model_of(setting: Setting) -> tuple[Retrieval, StageConfig]:
    stage = stages(setting)[-1]
    return build_retrieval(stage, setting.spec), stage


def batches(setting: Setting, epochs: Sequence[int], inputs: Sequence[str] | None = None, size: int = 8) -> list[Batch]:
    loader = setting.dataset.loader("train", batch_size=size, inputs=inputs, train=True)
    return [batch for epoch in epochs for batch in loader.epoch(epoch)]


def rows_encoded(model: Retrieval) -> list[int]:
    """Rows of each call of the audio encoder from now on."""
    seen: list[int] = []
    model.encoders["audio"].register_forward_hook(lambda m, args, out: seen.append(len(out.pooled)))
    return seen


def one_by_one(model: Retrieval, batch: Batch, row: int) -> torch.Tensor:
    """The audio features of one clip, that clip repeated to a batch of 32."""
    inputs = map_inputs(batch.inputs["audio"], lambda value: value[row : row + 1].expand(ROWS, *value.shape[1:]))
    with torch.no_grad():
        return model.encoders["audio"].eval()(inputs).pooled[0]


def test_features_are_those_of_the_encoder_and_computed_once(root: Path, tmp_path: Path):
    setting = opened(root, tmp_path)
    model, stage = model_of(setting)
    known = clips_of_stage(model, stage, LEARNING, setting)
    assert known.names["train"] == {"audio"}  # "features" of video have no parameters
    assert known.missing("train") == ("video", "text")
    seen, met = rows_encoded(model), set[int]()
    whole, bare = batches(setting, range(3)), batches(setting, range(3), known.missing("train"))
    for full, batch in zip(whole, bare, strict=True):
        assert "audio" not in batch.inputs
        new = set(batch.clips.tolist()) - met
        calls = len(seen)
        found = known.of(batch, "train")["audio"].pooled
        assert len(seen) - calls == (len(new) > 0), "a pass of 32 rows is enough for the new ones"
        met |= new
        for row in range(len(batch)):
            assert torch.equal(found[row], one_by_one(model, full, row))
            seen.pop()
    # Another run, which meets the clips in other batches, computes nothing.
    model, stage = model_of(opened(root, tmp_path))
    again, seen = clips_of_stage(model, stage, LEARNING, setting), rows_encoded(model)
    by_clip = by_number(known, bare)
    found = by_number(again, batches(setting, range(3), known.missing("train"), size=20))
    assert found.keys() == by_clip.keys()
    assert all(torch.equal(row, by_clip[clip]) for clip, row in found.items())
    assert seen == []


def by_number(known: KnownClips, met: list[Batch]) -> dict[int, torch.Tensor]:
    """Number of a clip -> its audio features."""
    found: dict[int, torch.Tensor] = {}
    for batch in met:
        found |= dict(zip(batch.clips.tolist(), known.of(batch, "train")["audio"].pooled, strict=True))
    return found


def test_validation_has_the_same_rows(root: Path, tmp_path: Path):
    setting = opened(root, tmp_path)
    model, stage = model_of(setting)
    known = clips_of_stage(model, stage, LEARNING, setting)
    (whole,) = setting.dataset.loader("val", batch_size=99).epoch(0)
    (bare,) = setting.dataset.loader("val", batch_size=99, inputs=known.missing("val")).epoch(0)
    found = known.of(bare, "val")["audio"].pooled
    assert all(torch.equal(found[row], one_by_one(model, whole, row)) for row in range(len(whole)))


def test_clips_without_sound_are_zeros_and_never_kept(root: Path, tmp_path: Path):
    setting = opened(root, tmp_path)
    model, stage = model_of(setting)
    known = clips_of_stage(model, stage, LEARNING, setting)
    (batch,) = batches(setting, [0], known.missing("train"), size=20)
    assert "audio" in batch.complete
    absent = torch.arange(20) % 3 == 0
    some = replace(batch, present={**batch.present, "audio": ~absent}, complete=batch.complete - {"audio"})
    found = known.of(some, "train")["audio"].pooled
    assert found[absent].abs().max() == 0
    there = known._file("audio").read(batch.clips.numpy())[1]
    kept = set(batch.clips[~absent].tolist())
    assert there.tolist() == [clip in kept for clip in batch.clips.tolist()]
    assert torch.equal(found[~absent], known.of(batch, "train")["audio"].pooled[~absent])
    nobody = replace(some, present={**batch.present, "audio": torch.zeros(20, dtype=torch.bool)})
    assert torch.equal(known.of(nobody, "train")["audio"].pooled, torch.zeros(20, found.shape[1]))


def test_what_an_interruption_left_is_made_again(root: Path, tmp_path: Path):
    setting = opened(root, tmp_path)
    model, stage = model_of(setting)
    known = clips_of_stage(model, stage, LEARNING, setting)
    (batch,) = batches(setting, [0], known.missing("train"), size=20)
    first = known.of(batch, "train")["audio"].pooled
    file = known._file("audio").path
    size = file.stat().st_size
    with file.open("r+b") as raw:
        raw.seek(size // 3)
        raw.write(bytes(size // 3))
    seen = rows_encoded(model)
    assert torch.equal(known.of(batch, "train")["audio"].pooled, first)
    assert sum(seen) > 0


def test_every_thing_that_features_come_from_has_a_file_of_its_own(root: Path, tmp_path: Path):
    def file(model_setting: Setting, weights: float = 0.0) -> str:
        model, stage = model_of(model_setting)
        with torch.no_grad():
            next(model.encoders["audio"].parameters()).add_(weights)
        return clips_of_stage(model, stage, LEARNING, model_setting)._file("audio").path.name

    plain = file(opened(root, tmp_path))
    changed = [
        file(opened(root, tmp_path), weights=0.5),
        file(opened(root, tmp_path, "data.howto100m.audio_frames=64")),
        file(opened(root, tmp_path, "data.howto100m.padding=reference")),
        file(opened(root, tmp_path, "data.howto100m.min_time_s=3")),
        file(opened(root, tmp_path, dtype="bfloat16")),
    ]
    same = [
        file(opened(root, tmp_path, "data.howto100m.max_words=5")),
        file(opened(root, tmp_path, "joint.batch_size=16")),
    ]
    assert len({plain, *changed}) == 1 + len(changed)
    assert set(same) == {plain}


def test_what_is_never_kept(root: Path, tmp_path: Path):
    setting = opened(root, tmp_path)
    model, stage = model_of(setting)

    def names(trained: tuple[str, ...] = LEARNING, other: Setting = setting) -> set[str]:
        found = clips_of_stage(model, stage, trained, other)
        assert found.names["train"] == found.names["val"]
        return set(found.names["train"])

    assert names(("audio.encoder", "text.encoder")) == set()
    assert names(("audio.adapter",)) == {"text"}
    assert names(("audio.head", "objective")) == {"audio", "text"}
    assert names(()) == set()
    assert names(other=opened(root, tmp_path, clip_cache_gib=0)) == set()
    assert names(("audio.head",), opened(root, tmp_path, "data.howto100m.candidates=3")) == {"audio"}
    inputs = dict(setting.dataset.inputs)
    inputs["audio"] = inputs["audio"].model_copy(update={"augment": (Crop(padding=1),)})
    assert names(other=replace(setting, dataset=replace(setting.dataset, inputs=inputs))) == set()


def test_a_frozen_tower_is_passed_once_for_all_runs_and_no_number_changes(root: Path, tmp_path: Path, monkeypatch):
    results, rows = [], []
    build = nodes.build_model

    def watched(calls: list[list[int]], *given: object) -> Retrieval:
        model = build(*given)
        calls.append(rows_encoded(model))
        return model

    for number, gib in enumerate((0.0, 50.0)):
        setting = opened(root, tmp_path / str(number), "joint.epochs=8", clip_cache_gib=gib)
        first, last = stages(setting)
        other = last.model_copy(update={"training": last.training.model_copy(update={"learning_rate": 1e-3})})
        for stage in (last, other):
            runner, calls = NodeRunner(setting), list[list[int]]()
            runner.run([first])
            with monkeypatch.context() as patch:
                patch.setattr(nodes, "build_model", lambda *given, calls=calls: watched(calls, *given))
                results.append(runner.run([stage]))
            rows.append(sum(calls[0]))  # of the model that is trained; the next one is of the guard
    without, _, kept, _ = results
    # An encoder gives a row the same features in a batch of 32 as in one of 8 only up to float32 rounding.
    for name, value in kept.tensors.items():
        torch.testing.assert_close(value, without.tensors[name], rtol=1e-4, atol=1e-5)
    for one, other in zip(kept.facts["curve"], without.facts["curve"], strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
        assert one["val_loss"] == pytest.approx(other["val_loss"], rel=1e-4)
    val = len(setting.dataset.splits["val"])
    assert rows[0] == rows[1] == 4 * (20 + val) + val
    assert rows[3] == val, "the finished model alone is measured without features of earlier runs"


def test_clips_are_numbered_by_the_captions_they_grow_from(root: Path, tmp_path: Path):
    setting = opened(root, tmp_path)
    clips = setting.dataset.clips
    for batch in batches(setting, [1]):
        again = clips.around(batch.clips.numpy())
        assert tuple(clips.names(again)) == batch.ids
        assert np.array_equal(again.video, batch.index.numpy())
        made = clips.inputs("audio", batch.clips.numpy())
        assert all(torch.equal(made[name], batch.inputs["audio"][name]) for name in made)
    (ready,) = setting.dataset.loader("msrvtt", batch_size=99).epoch(0)
    assert ready.clips is None
    assert isinstance(clips_of_stage(*model_of(setting), LEARNING, setting), KnownClips)
