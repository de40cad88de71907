"""MCN from files in the published layout to ranks on both evaluation sets, through the command line."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from howto_layout import SMALL, ready_clips, write_howto_layout
from small_mcn import command, named, small_settings, write_root

from awase.cli.main import execute
from awase.config import Runtime
from awase.data.features import write_evaluation_store
from awase.distributed import ALONE
from awase.encoders.word2vec import build_vocabulary
from awase.experiments import ROOTED
from awase.methods import build_method
from awase.records import read_record
from awase.report import Run, load
from awase.report.groups import tabulate
from awase.report.retrieval_compare import compare_spaces
from awase.report.retrieval_numbers import by_protocol
from awase.runner.build import build_retrieval
from awase.runner.overrides import apply_overrides
from awase.runner.setting import open_setting
from awase.runner.space_again import Request, rescore
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


def moved_root(root: Path, folder: Path) -> Path:
    """The same files elsewhere, with a further evaluation set beside them."""
    folder.mkdir()
    for name in ("howto100m", "youcook2", "msrvtt"):
        (folder / name).symlink_to(root / name)
    shutil.copytree(root / "words", folder / "words")
    write_evaluation_store(folder / "more", "more", ready_clips(17, seed=5), audio_frames=512)
    return folder


def test_a_further_evaluation_set_and_a_moved_vocabulary_train_nothing_anew(root: Path, tmp_path: Path):
    place = moved_root(root, tmp_path / "elsewhere")
    first = command(root, tmp_path / "runs", 1)
    assert execute(named(first, "mcn.av_t")) == 0
    sets = {name: str(place / name) for name in ("youcook2", "msrvtt", "more")}
    again = command(place, tmp_path / "again", 1, f"data.howto100m.evaluation={json.dumps(sets)}")
    again[again.index("--cache") + 1] = first[first.index("--cache") + 1]
    assert execute(named(again, "mcn.av_t")) == 0
    one, two = (read_record(tmp_path / name / "av_t" / "seed-0") for name in ("runs", "again"))
    assert [stage.reused for stage in two.stages] == [True, True]
    assert [stage.hash for stage in one.stages] == [stage.hash for stage in two.stages]
    assert one.data["fingerprint"] != two.data["fingerprint"]
    assert one.retrieval is not None
    assert two.retrieval is not None
    known = {(n.stage, n.split, n.direction): n for n in two.retrieval.numbers}
    assert all(known[n.stage, n.split, n.direction].metrics == n.metrics for n in one.retrieval.numbers)
    assert {n.split for n in two.retrieval.numbers} == {"val", "youcook2", "msrvtt", "more"}


def test_another_vocabulary_in_the_same_folder_trains_anew(root: Path, tmp_path: Path):
    place = moved_root(root, tmp_path / "elsewhere")
    arguments = command(place, tmp_path / "runs", 1)
    assert execute(named(arguments, "mcn.joint")) == 0
    shutil.rmtree(place / "words")
    lines = (root / "vectors.txt").read_text(encoding="utf-8").splitlines()
    (place / "vectors.txt").write_text("\n".join(line.replace("0.", "1.") for line in lines) + "\n", encoding="utf-8")
    build_vocabulary(place / "vectors.txt", place / "words")
    arguments[arguments.index("--out") + 1] = str(tmp_path / "again")
    assert execute(named(arguments, "mcn.joint")) == 0
    one, two = (read_record(tmp_path / name / "joint" / "seed-0") for name in ("runs", "again"))
    assert one.stages[0].hash != two.stages[0].hash
    assert [stage.reused for stage in two.stages] == [False]


def test_sets_are_named_by_what_they_are_and_two_under_one_key_share_no_column(root: Path, tmp_path: Path):
    """The second run measures other clips, of the same number and ids, under the key of the first."""
    (tmp_path / "other").mkdir()
    for name in ("howto100m", "youcook2", "words"):
        (tmp_path / "other" / name).symlink_to(root / name)
    write_evaluation_store(
        tmp_path / "other" / "msrvtt", "msrvtt", ready_clips(13, seed=4), audio_frames=512, notes={"split": "1k-A"}
    )
    one, two = (command(place, tmp_path / f"runs-{place.name}", 1) for place in (root, tmp_path / "other"))
    two[two.index("--cache") + 1] = one[one.index("--cache") + 1]
    for arguments in (one, two):
        assert execute(named(arguments, "mcn.joint")) == 0
    folders = [tmp_path / f"runs-{place.name}" / "joint" for place in (root, tmp_path / "other")]
    records = [read_record(folder / "seed-0") for folder in folders]
    sets = [{n.split: n.protocol["queries"] for n in record.retrieval.numbers} for record in records]
    assert sets[0]["youcook2"] == sets[1]["youcook2"]
    assert sets[0]["val"] == sets[1]["val"]
    assert re.fullmatch(r"msrvtt \[[0-9a-f]{12}\]", sets[0]["msrvtt"])
    assert re.fullmatch(r"msrvtt 1k-A \[[0-9a-f]{12}\]", sets[1]["msrvtt"])
    assert re.fullmatch(r"howto100m val \[[0-9a-f]{12}\]", sets[0]["val"])
    assert all(n.protocol["queries"] == n.protocol["gallery"] for n in records[0].retrieval.numbers)
    (again,) = rescore(folders[0] / "seed-0", Request(split="msrvtt", directions=("text->video",)))
    assert again.protocol.queries == sets[0]["msrvtt"]
    first, second = (tabulate(load([folder])).tables[0].groups[0] for folder in folders)
    assert compare_spaces(first, second, "youcook2", ("text->video",))[0].differences[1].difference == 0
    with pytest.raises(ValueError, match="share no column: queries: 'msrvtt"):
        compare_spaces(first, second, "msrvtt", ("text->video",))
    # Not even where the record says that data and settings are the same.
    said = {"method": "other", "data": records[0].data, "config": records[0].config}
    (table,) = tabulate([Run(records[0]), Run(records[1].model_copy(update=said))]).tables
    apart = by_protocol(table)
    assert [len(part.groups) for part in apart] == [1, 1]
    assert all(sets[k]["msrvtt"] in part.dataset for k, part in enumerate(apart))


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
