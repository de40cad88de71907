"""MCN from files in the published layout to ranks on both evaluation sets, through the command line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from howto_layout import SMALL, write_howto_layout
from small_mcn import command, named, small_settings, write_root

from awase.cli.main import execute
from awase.config import Runtime
from awase.distributed import ALONE
from awase.experiments import ROOTED
from awase.methods import build_method
from awase.records import read_record
from awase.runner.build import build_retrieval
from awase.runner.overrides import apply_overrides
from awase.runner.setting import open_setting
from awase.runner.space_files import read_embeddings, read_samples
from awase.runner.space_work import space_work
from awase.statistics import read_ranks
from awase.training.loop import Loop

METHODS = ("joint", "av_t", "vt_a", "at_v")
DIRECTIONS = 9


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_root(tmp_path_factory.mktemp("mcn"))


def test_every_order_is_measured_on_both_sets(root: Path, tmp_path: Path):
    out = tmp_path / "runs"
    assert execute(named(command(root, out, len(METHODS)), "mcn")) == 0
    for name in METHODS:
        folder = out / name / "seed-0"
        record = read_record(folder)
        assert record.status == "done"
        assert record.retrieval is not None
        assert record.retrieval.score == "dot"
        assert (record.published or {})["youcook2 R@1"] > 1
        last = [number for number in record.retrieval.numbers if number.stage == "joint"]
        for split, size in (("youcook2", 11), ("msrvtt", 13)):
            here = {number.direction: number for number in last if number.split == split}
            assert len(here) == DIRECTIONS
            assert all(number.protocol["gallery_size"] == size for number in here.values())
            # The clip without audio cannot be found by its sound, and not by the sum either; by its video it can.
            missing = {name: number.protocol["missing_items"] for name, number in here.items()}
            assert (missing["text->audio"], missing["text->audio+video"], missing["text->video"]) == (1, 1, 0)
            # A clip without sound cannot ask by it either: it fails, and stays in the number of queries.
            asking = here["audio->text"].protocol
            assert (asking["num_queries"], asking["missing_queries"]) == (size, 1)
            table = read_ranks(folder).select(stage="joint", split=split, direction="text->audio")
            lost = [query for query, rank in zip(table.query_id, table.rank.tolist(), strict=True) if rank == -1]
            assert lost == ["clip3"]
        embedded = read_embeddings(folder, "joint", "youcook2")
        texts = read_samples(folder)["text|text"]
        assert texts[int(embedded.index[0])] == "add cut pan"
    stages = [stage.name for stage in read_record(out / "av_t" / "seed-0").stages]
    assert stages == ["audio+video", "joint"]


def test_several_captions_per_clip(root: Path, tmp_path: Path):
    out = tmp_path / "runs"
    loss = "methods.0.settings.retrieval.loss=mil_nce"
    several = command(root, out, 1, loss, "methods.0.settings.retrieval.margin=0.001", "data.howto100m.candidates=3")
    assert execute(named(several, "mcn.joint")) == 0
    record = read_record(out / "joint" / "seed-0")
    assert all(np.isfinite(epoch.train_loss) for stage in record.stages for epoch in stage.curve)


def test_a_video_without_captions_is_left_out_and_counted(root: Path, tmp_path: Path):
    published = write_howto_layout(tmp_path / "published")
    captions = json.loads(published.captions.read_text(encoding="utf-8"))
    del captions["vid00000002"]
    published.captions.write_text(json.dumps(captions), encoding="utf-8")
    files = ["--features", published.features, "--audio", published.audio, "--captions", published.captions, "--quiet"]
    made = ["convert", "howto100m", published.videos, "--out", tmp_path / "root" / "howto100m", *files]
    assert execute([str(word) for word in made]) == 0
    for name in ("youcook2", "msrvtt", "words"):
        (tmp_path / "root" / name).symlink_to(root / name)
    out = tmp_path / "runs"
    assert execute(named(command(tmp_path / "root", out, 1), "mcn.joint")) == 0
    summary = read_record(out / "joint" / "seed-0").data
    assert (summary["videos"], summary["excluded"]["count"]) == (6, 1)
    assert list(summary["excluded"]["by_reason"].values()) == [1]
    assert any("no captions" in reason for reason in summary["excluded"]["by_reason"])


@pytest.mark.parametrize("freeze", ["false", "true"])
def test_an_interrupted_run_ends_with_the_numbers_of_a_whole_one(root: Path, tmp_path: Path, monkeypatch, freeze: str):
    """Two stages of an epoch of three steps each; stopped before the fifth of the six steps, and begun again.

    With frozen towers the second stage reads their features, some of which the stopped run has left there.
    """
    staged = f'methods.0.settings.staged={{"first": ["audio", "video"], "freeze": {freeze}}}'
    whole, cut = (named(command(root, tmp_path / name / "runs", 1, staged), "mcn.av_t") for name in ("whole", "cut"))
    cut += ["--checkpoint-every-s", "0"]
    step, taken = Loop._step, []

    def counted(self: Loop, *given: Any) -> None:
        if len(taken) == stop:
            raise KeyboardInterrupt
        taken.append(1)
        step(self, *given)

    monkeypatch.setattr(Loop, "_step", counted)
    stop = None
    assert execute(whole) == 0
    assert len(taken) == 6
    taken.clear()
    stop = 4
    assert execute(cut) == 130
    stop = None
    assert execute(cut) == 0
    assert len(taken) == 6, "no step was taken twice"
    records = [read_record(tmp_path / name / "runs" / "av_t" / "seed-0") for name in ("whole", "cut")]
    assert records[0].metrics == records[1].metrics
    assert records[0].retrieval == records[1].retrieval


def test_mil_nce_without_candidates_says_what_would_work(root: Path, tmp_path: Path, capsys):
    alone = command(root, tmp_path / "runs", 1, "methods.0.settings.retrieval.loss=mil_nce")
    assert execute(named(alone, "mcn.joint")) == 2
    assert "data.howto100m.candidates=4" in capsys.readouterr().err


def test_a_root_is_needed_and_its_stores(root: Path, tmp_path: Path, capsys):
    assert execute(["run", "mcn.joint"]) == 2
    assert "--root DIR" in capsys.readouterr().err
    assert execute(["run", "mcn.joint", "--root", str(tmp_path), "--out", str(tmp_path / "runs")]) == 2
    assert "howto100m" in capsys.readouterr().err
    assert SMALL.videos == 7


def test_the_control_needs_two_videos_in_a_batch(root: Path, tmp_path: Path, capsys):
    shuffled = 'methods.0.settings.staged={"first": ["audio", "video"], "shuffle_first": true}'
    assert execute(named(command(root, tmp_path / "runs", 1, shuffled), "mcn.av_t")) == 0
    alone = command(root, tmp_path / "other", 1, shuffled, "joint.batch_size=4")
    assert execute(named(alone, "mcn.av_t")) == 2
    assert "joint.batch_size=8" in capsys.readouterr().err


def test_the_control_draws_clips_of_whole_videos_on(root: Path, tmp_path: Path):
    """The step knows how many clips of a batch are of one video."""
    experiment = apply_overrides(ROOTED["mcn.joint"](root), small_settings(1))
    options = Runtime(cache=tmp_path, device="cpu", threads=1)
    setting = open_setting(experiment, options, 0, None, ALONE)
    method = experiment.methods[0]
    (stage,) = build_method(method.method, setting.method_context(), method.settings)
    step = space_work(build_retrieval(stage, setting.spec), stage, ("text.head",), setting).forward
    assert step.shift == 4


def test_steps_without_clusters_are_noted_in_the_record(root: Path, tmp_path: Path):
    """Batches of 8, 8 and 4 clips, half of which are pushed: the queue of 16 is full before the sixth and last step."""
    many = "methods.0.settings.retrieval.clustering.num_clusters=20"
    assert execute(named(command(root, tmp_path / "runs", 1, many), "mcn.joint")) == 0
    notes = read_record(tmp_path / "runs" / "joint" / "seed-0").notes
    said = "Stage 'joint' took 5 steps without the clustering term: there were fewer rows than its 20 clusters."
    assert said in notes
