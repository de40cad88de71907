"""The three tables from official layouts: found, prepared, built, run end to end with small encoders."""

import json
import shutil
from pathlib import Path

import pytest
from official_sets import SETS

from awase.config import Runtime
from awase.experiments import SUITES
from awase.experiments.comparison import table_methods
from awase.experiments.mmlora_tables import TABLES
from awase.experiments.published import published_results
from awase.records import find_records
from awase.runner.resolve import resolve_experiment
from awase.runner.run import run_experiment
from awase.runner.suite import resolve_experiments, restricted

SMALL = {
    "video": {"name": "small_cnn", "options": {"width": 2, "dim": 8}},
    "audio": {"name": "small_cnn", "options": {"width": 2, "dim": 8}},
    "image": {"name": "small_cnn", "options": {"width": 2, "dim": 12}},
    "flow": {"name": "small_cnn", "options": {"width": 2, "dim": 8}},
    "text": {"name": "small_transformer", "options": {"dim": 8, "num_heads": 2, "depth": 1}},
}
"""Convolutional encoders in place of the real ones, and a text transformer; a picture's are wider than a text's."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All six data sets, each in the folder that people have it in."""
    root = tmp_path_factory.mktemp("sets")
    for write in SETS.values():
        write(root)
    return root


def smaller(name: str) -> list[str]:
    """Assignments that make a table small: encoders, inputs, one epoch."""
    modalities = dict.fromkeys(key for backbone in TABLES[name][2] for key in backbone.encoders)
    said = [f"encoders.{modality}={json.dumps(SMALL[modality])}" for modality in modalities]
    for modality in modalities:
        if modality in ("video", "image", "flow"):
            said += [f"data.inputs.{modality}.height=16", f"data.inputs.{modality}.width=16"]
        if modality in ("video", "flow"):
            said.append(f"data.inputs.{modality}.num_frames=2")
        if modality == "text":
            said.append("data.inputs.text.max_tokens=8")
        if modality == "audio":
            said += ["data.inputs.audio.window_s=0.4", "data.inputs.audio.representation=log_mel_64"]
    return [
        *said,
        "unimodal.epochs=1",
        "from_start.epochs=1",
        "from_start.warmup_epochs=0",
        "joint.epochs=1",
        "unimodal.warmup_epochs=0",
        "joint.warmup_epochs=0",
        "probe=false",
        "missing_rates=[]",
    ]


@pytest.mark.parametrize("name", sorted(SUITES))
def test_every_data_set_and_backbone_of_a_table_is_an_experiment_with_published_numbers(name, home, tmp_path):
    found = resolve_experiments(name, root=home, work=tmp_path)
    _, datasets, backbones = TABLES[name]
    assert [one.name for one in found] == [f"{d}-{b.name}" for d in datasets for b in backbones]
    shown = set()
    for experiment in found:
        assert experiment.published
        assert set(experiment.published_starred) <= set(experiment.published)
        assert experiment.published_note
        assert experiment.from_start == experiment.unimodal, "a baseline trains as long as stage 1"
        assert experiment.folds == ((1, 2, 3) if "ucf101" in experiment.name else ())
        dataset, _, encoders = experiment.name.partition("-")
        backbone = next(b for b in backbones if b.name == encoders)
        for method, values in experiment.published.items():
            assert method in {one.title for one in experiment.methods}
            assert isinstance(values, dict)
            shown |= {(dataset, backbone.published, method, metric, value) for metric, value in values.items()}
    table = TABLES[name][0]
    rows = {(r.dataset, r.backbone, r.method, r.metric, r.percent) for r in published_results() if r.table == table}
    assert shown == rows, "a published number stands beside no run"


@pytest.mark.parametrize("name", sorted(SUITES))
def test_a_table_runs_end_to_end_on_its_data_sets(name, home, tmp_path):
    methods = ("ume", "mmlora", "ogm_ge")
    found = resolve_experiments(name, smaller(name), root=home, work=tmp_path / "work")
    runtime = Runtime(cache=tmp_path / "cache", device="cpu", threads=1)
    for experiment in restricted(found, seeds=(0,), methods=methods):
        if experiment.name.endswith(("-resnet18", "-vit_b-bert_b")) and "vit_b-resnet18" not in experiment.name:
            fewer = experiment.restricted(folds=experiment.folds[:1] or None)
            run_experiment(fewer, runtime, tmp_path / "runs" / experiment.name)
    records = find_records([tmp_path / "runs"])
    ran = {record.experiment for record in records}
    assert {one.partition("-")[0] for one in ran} == set(TABLES[name][1])
    assert {record.method for record in records} == set(methods)
    assert all(record.status == "done" for record in records)
    by_method = {(r.experiment, r.method): r for r in records}
    known = {key: record.published for key, record in by_method.items() if key[1] == "mmlora"}
    assert all(isinstance(value, dict) and value for value in known.values())
    assert all(not record.data["missing"][m]["count"] for record in records for m in record.data["missing"])


def test_only_the_data_sets_that_are_there_are_run_and_the_others_are_named(home, tmp_path, caplog):
    root = tmp_path / "some"
    root.mkdir()
    (root / "Crema_D").symlink_to(home / "CREMA-D")
    found = resolve_experiments("mmlora.audio_visual", root=root, work=tmp_path / "work")
    assert {one.name.partition("-")[0] for one in found} == {"cremad"}
    assert "holds no folder ave or ave_dataset" in caplog.text
    (root / "Crema_D").unlink()
    with pytest.raises(ValueError, match=r"holds none of the folders ave, kinetics_sounds, cremad"):
        resolve_experiments("mmlora.audio_visual", root=root, work=tmp_path / "work")
    with pytest.raises(ValueError, match=r"needs the folder that holds its data sets: --root DIR"):
        resolve_experiments("mmlora.audio_visual", work=tmp_path / "work")
    with pytest.raises(ValueError, match=r"--root is for mmlora.*mcn"):
        resolve_experiments("demo", root=root, work=tmp_path / "work")


def test_the_default_split_keeps_actors_apart_and_the_published_one_is_named(home, tmp_path):
    honest = resolve_experiments("mmlora.audio_visual", root=home, work=tmp_path)
    assert {one.data.split_column for one in honest} == {"split"}
    assert all("'split'" in (one.published_note or "") for one in honest)
    root = tmp_path / "root"
    root.mkdir()
    (root / "AVE").symlink_to(home / "AVE")
    ave, _ = resolve_experiments("mmlora.audio_visual", root=root, work=tmp_path, published_splits=True)
    assert ave.data.split_column == "split_published"
    assert "'split_published'" in (ave.published_note or "")
    (root / "CREMA-D").symlink_to(home / "CREMA-D")  # without the lists of the published split
    with pytest.raises(KeyError, match="has no splitting 'published'"):
        resolve_experiments("mmlora.audio_visual", root=root, work=tmp_path, published_splits=True)
    three = resolve_experiments("mmlora.rgb_flow", root=home, work=tmp_path, published_splits=True)
    assert {one.folds for one in three} == {(1, 2, 3)}


def test_two_roots_are_prepared_apart_and_what_is_no_suite_takes_no_splits(home, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    SETS["cremad"](other)
    manifests = set()
    for root in (home, other):
        found = resolve_experiments("mmlora.audio_visual", root=root, work=tmp_path / "work")
        manifests |= {one.data.manifest for one in found if one.name.startswith("cremad")}
    assert len(manifests) == 2
    with pytest.raises(ValueError, match=r"--published-splits is for mmlora"):
        resolve_experiments("demo", published_splits=True, work=tmp_path / "work")
    with pytest.raises(ValueError, match=r"is several experiments on data sets of yours"):
        resolve_experiment("mmlora.audio_visual")


def test_folds_that_are_not_listed_are_not_run(home, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(home / "UCF101", root / "UCF101")
    for fold in (2, 3):
        for name in ("trainlist", "testlist"):
            (root / "UCF101" / "ucfTrainTestlist" / f"{name}0{fold}.txt").unlink()
    found = resolve_experiments("mmlora.rgb_flow", root=root, work=tmp_path / "work")
    assert {one.folds for one in found} == {(1,)}


def test_encoders_decide_which_methods_a_table_has():
    films = {one.title for one in table_methods(("image", "text"), ("image_text",), multi_label=True)}
    assert not films & {"mla", "pmr", "mbt", "pmf"}
    assert "mmbt" in films
    assert {"mla", "pmr", "mbt", "pmf"} <= {one.title for one in table_methods(("a", "b"), ("same_width", "tokens"))}
    with pytest.raises(ValueError, match="no kind of encoders towers"):
        table_methods(("a", "b"), ("towers",))


def test_a_prepared_folder_is_used_as_it_is(home, tmp_path):
    from awase.data.prepare import prepare

    root = tmp_path / "root"
    prepare("ave", home / "AVE", root / "ave")
    found = resolve_experiments("mmlora.audio_visual", root=root, work=tmp_path / "work")
    assert {one.data.manifest for one in found} == {root / "ave" / "manifest.csv"}
    assert not (tmp_path / "work").exists()


def test_a_method_that_no_experiment_has_is_answered_with_those_there_are(home, tmp_path):
    found = resolve_experiments("mmlora.vision_language", root=home, work=tmp_path)
    with pytest.raises(ValueError, match="has no method nosuch"):
        restricted(found, methods=["nosuch"])
    kept = restricted(found, methods=["pmf_l"])
    assert {one.name for one in kept} == {"food101-vit_l-bert_l", "mmimdb-vit_l-bert_l"}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SUITES))
def test_every_method_of_a_table_runs(name, home, tmp_path):
    """All methods with one seed: those of two token encoders with small transformers, the others as above."""
    runtime = Runtime(cache=tmp_path / "cache", device="cpu", threads=1)
    said = smaller(name)
    for experiment in resolve_experiments(name, said, root=home, work=tmp_path / "work"):
        backbone = next(b for b in TABLES[name][2] if experiment.name.endswith(f"-{b.name}"))
        if "tokens" in backbone.kinds:
            vit = {"name": "small_vit", "options": {"dim": 8, "num_heads": 2, "depth": 2}}
            text = {"name": "small_transformer", "options": {"dim": 8, "num_heads": 2, "depth": 2}}
            tokens = {m: (text if m == "text" else vit) for m in backbone.encoders}
            from awase.runner.overrides import apply_overrides

            experiment = apply_overrides(experiment, [f"encoders.{m}={json.dumps(c)}" for m, c in tokens.items()])
        if backbone.kinds == ("large",):
            continue  # its one method asks for encoders 1024 wide
        fewer = experiment.restricted(seeds=(0,), folds=experiment.folds[:1] or None)
        records = run_experiment(fewer, runtime, tmp_path / "runs" / experiment.name)
        assert {record.method for record in records} == {method.title for method in experiment.methods}
