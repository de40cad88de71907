"""A trained model in Python: the same numbers after saving and loading, with modalities missing, or not at all."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import awase
from awase.config import (
    ArrayInput,
    DataConfig,
    EncoderConfig,
    Experiment,
    ImageInput,
    MethodConfig,
    Runtime,
    TextInput,
    TrainConfig,
)
from awase.encoders import build_encoder
from awase.runner.resolve import load_object
from awase.runner.run import run_experiment
from awase.statistics import Predictions

OWN = '''
import torch


class Sums(torch.nn.Module):
    """An encoder of three numbers, of the user's own."""

    def __init__(self, width: int = 5):
        super().__init__()
        self.layer = torch.nn.Linear(3, width)

    def forward(self, inputs):
        return self.layer(inputs).relu()
'''
INPUTS = {
    "reading": ArrayInput(column="reading", shape=(3,)),
    "text": TextInput(column="text", max_tokens=5),
    "image": ImageInput(column="image", height=32, width=32),
}


def rows_of(folder: Path, count: int = 23) -> list[dict[str, object]]:
    """Numbers, words and a picture per row; every fourth has no words."""
    generator = np.random.default_rng(7)
    rows: list[dict[str, object]] = []
    for number in range(count):
        label = number % 2
        picture = folder / f"{number}.png"
        noise = generator.integers(0, 60, size=(32, 32, 3))
        Image.fromarray((noise + 120 * label).astype(np.uint8)).save(picture)
        reading = (generator.normal(size=3) + label).round(3).tolist()
        text = None if number % 4 == 3 else f"{('dark', 'bright')[label]} {number}"
        split = "train" if number < 13 else "val" if number < 18 else "test"
        row = {"id": f"r{number}", "reading": reading, "text": text, "image": picture.name}
        rows.append({**row, "label": ("no", "yes")[label], "split": split})
    return rows


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def experiment(table: Path, encoders: dict[str, EncoderConfig], *modalities: str, method: str = "mmlora") -> Experiment:
    return Experiment(
        name="readings",
        data=DataConfig(manifest=table, inputs={name: INPUTS[name] for name in modalities}),
        encoders=encoders,
        methods=(MethodConfig(method=method),),
        unimodal=TrainConfig(epochs=1),
        joint=TrainConfig(epochs=2, learning_rate=3e-2),
        seeds=(0,),
        probe=False,
        missing_rates=(),
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("loaded")


@pytest.fixture(scope="module")
def rows(place) -> list[dict[str, object]]:
    return rows_of(place)


@pytest.fixture(scope="module")
def table(place, rows) -> Path:
    return write(place / "readings.jsonl", rows)


def train(experiment: Experiment, folder: Path, cache: Path) -> Path:
    """The folder of the finished run."""
    run_experiment(experiment, Runtime(cache=cache, device="cpu", threads=1), folder)
    (run,) = (path.parent for path in folder.rglob("record.json"))
    return run


@pytest.fixture(scope="module")
def own_file(place) -> Path:
    file = place / "encoders_of_mine.py"
    file.write_text(OWN, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def run(place, table, own_file) -> Path:
    """MMLoRA on numbers, seen by an encoder of the user's own, and words."""
    own = EncoderConfig(name=load_object(f"{own_file}::Sums"), options={"width": 7})
    return train(experiment(table, {"reading": own}, "reading", "text"), place / "out", place / "cache")


@pytest.fixture(scope="module")
def model(run, place) -> awase.Model:
    return awase.load_model(run, device="cpu", cache=place / "cache")


def assert_same(a: Predictions, b: Predictions) -> None:
    assert a.ids == b.ids
    np.testing.assert_array_equal(a.logits, b.logits)
    np.testing.assert_array_equal(a.predicted, b.predicted)
    assert list(a.modality_logits) == list(b.modality_logits)
    for name, logits in a.modality_logits.items():
        np.testing.assert_array_equal(logits, b.modality_logits[name])


def test_a_loaded_run_says_what_the_run_said(model, run, table):
    from awase.statistics import read_predictions

    assert model.classes == ("no", "yes")
    assert model.modalities == ("reading", "text")
    said = read_predictions(run)
    again = model.predict(table)
    index = [again.ids.index(name) for name in said.ids]
    np.testing.assert_allclose(again.logits[index], said.logits, rtol=1e-5, atol=1e-6)  # batches of other sizes


def test_dictionaries_and_tables_give_the_same(model, table, rows):
    assert_same(model.predict(rows), model.predict(table))
    assert_same(model.predict(str(table)), model.predict(table))


def test_a_modality_may_be_missing_everywhere_or_somewhere(model, rows, place, caplog):
    readings = [{"id": row["id"], "reading": row["reading"]} for row in rows]
    alone = model.predict(readings)
    assert_same(alone, model.predict(write(place / "alone.jsonl", readings)))
    np.testing.assert_array_equal(alone.logits, model.predict(rows).modality_logits["reading"])
    mixed = model.predict([readings[0], {"id": "w", "text": "bright 3"}])
    np.testing.assert_array_equal(mixed.logits[0], mixed.modality_logits["reading"][0])
    assert np.isnan(mixed.modality_logits["text"][0]).all()
    np.testing.assert_array_equal(mixed.logits[1], mixed.modality_logits["text"][1])
    with caplog.at_level(logging.WARNING, logger="awase"):
        some = model.predict([readings[0], {"id": "empty", "text": None}])
    assert some.ids == ("r0",)
    assert "1 of 2 rows" in caplog.text


def test_rows_that_say_nothing_are_refused(model):
    with pytest.raises(ValueError, match="no rows"):
        model.predict([])
    with pytest.raises(ValueError, match="reading, text"):
        model.predict([{"id": "a", "smell": "sweet"}])
    with pytest.raises(ValueError, match="None of the 1 rows"):
        model.predict([{"id": "a", "text": " "}])


def test_arrays_tensors_and_paths_may_stand_in_dictionaries(model, monkeypatch, tmp_path):
    values = np.array([0.25, -1.5, 2.0], dtype=np.float32)
    np.save(tmp_path / "r.npy", values)
    monkeypatch.chdir(tmp_path)
    given = [values, torch.from_numpy(values), values.tolist(), Path("r.npy"), "r.npy", str(tmp_path / "r.npy")]
    found = model.predict([{"id": str(n), "reading": value} for n, value in enumerate(given)])
    assert len(found) == 6
    assert (found.logits == found.logits[0]).all()


def test_a_text_that_is_also_the_name_of_a_file_stays_a_text(model, monkeypatch, tmp_path):
    before = model.predict([{"text": "bright"}])
    monkeypatch.chdir(tmp_path)
    Path("bright").write_text("dark")
    assert_same(model.predict([{"text": "bright"}]), before)


def test_a_saved_model_is_the_same_and_needs_no_cache(model, table, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    assert sorted(p.name for p in (tmp_path / "saved").iterdir()) == ["README.md", "model.json", "model.safetensors"]
    again = awase.Model.from_pretrained(tmp_path / "saved", device="cpu", cache=tmp_path / "empty")
    assert_same(again.predict(table), model.predict(table))
    again.save_pretrained(tmp_path / "twice")
    for name in ("README.md", "model.json", "model.safetensors"):
        assert (tmp_path / "saved" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()
    assert any(".lora." in name for name in load_file(tmp_path / "saved" / "model.safetensors"))


def test_the_model_card_says_what_was_measured_and_how_to_use_it(model, run, tmp_path):
    model.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: awase\n")
    record = json.loads((run / "record.json").read_text(encoding="utf-8"))
    test = next(m for m in record["metrics"] if (m["split"], m["name"], m["condition"]) == ("test", "accuracy", "full"))
    assert f"| accuracy | {test['value']:.4f} |" in card
    assert f"({test['count']} samples)" in card
    assert record["data"]["fingerprint"] in card
    assert "from awase import Model" in card
    assert '{"reading": "...", "text": "..."}' in card


def test_an_encoder_of_the_users_own_is_found_again_or_given(model, own_file, table, tmp_path):
    model.save_pretrained(tmp_path)
    described = json.loads((tmp_path / "model.json").read_text())["spec"]["encoders"]["reading"]
    assert described == {"name": f"{own_file}::Sums", "options": {"width": 7}, "pretrained": False}
    described_elsewhere = (tmp_path / "model.json").read_text().replace(str(own_file), "/nosuch/mine.py")
    (tmp_path / "model.json").write_text(described_elsewhere)
    with pytest.raises(FileNotFoundError, match=r"/nosuch/mine\.py"):
        awase.load_model(tmp_path)
    given = {"reading": load_object(f"{own_file}::Sums")}
    again = awase.Model.from_pretrained(tmp_path, device="cpu", encoders=given)
    assert_same(again.predict(table), model.predict(table))
    with pytest.raises(ValueError, match=r"smell.*reading, text"):
        awase.Model.from_pretrained(tmp_path, encoders={"smell": given["reading"]})


def test_code_is_not_fetched_with_a_model_of_the_hub(model, own_file, tmp_path, monkeypatch):
    model.save_pretrained(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **k: str(tmp_path))
    with pytest.raises(ValueError, match=r"'reading'.*encoders="):
        awase.load_model("somebody/model")
    given = {"reading": load_object(f"{own_file}::Sums")}
    assert awase.load_model("somebody/model", encoders=given).classes == ("no", "yes")


@pytest.fixture(scope="module")
def timm_weights(place) -> Path:
    """A folder of weights as others save them: pictures are then scaled as in their pretraining."""
    config = EncoderConfig(name="timm", options={"model": "resnet10t"})
    encoder = build_encoder(config, kind="image", input_shape=(3, 32, 32), seed=11)
    start = next(name for name in encoder.state_dict() if name.endswith("conv1.0.weight")).removesuffix(
        "conv1.0.weight"
    )
    own = {k.removeprefix(start): v for k, v in encoder.state_dict().items() if k.startswith(start)}
    folder = place / "resnet10t"
    folder.mkdir()
    save_file(own, folder / "model.safetensors")
    return folder


def test_pretrained_encoders_come_back_without_their_weights_file(timm_weights, table, rows, place, tmp_path):
    pretrained = EncoderConfig(name="timm", options={"model": "resnet10t"}, pretrained=str(timm_weights))
    run = train(experiment(table, {"image": pretrained}, "image", "reading"), tmp_path / "out", place / "cache")
    model = awase.load_model(run, device="cpu", cache=place / "cache")
    from awase.statistics import read_predictions

    said = read_predictions(run)
    again = model.predict(table)
    index = [again.ids.index(name) for name in said.ids]
    np.testing.assert_allclose(again.logits[index], said.logits, rtol=1e-4, atol=1e-5)  # batches of other sizes
    (timm_weights / "model.safetensors").rename(timm_weights / "gone")
    model.save_pretrained(tmp_path / "saved")
    assert_same(awase.load_model(tmp_path / "saved", device="cpu").predict(table), again)


# ---- what is not a model --------------------------------------------------------------------------------------------


def test_folders_without_a_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        awase.load_model(tmp_path / "nosuch")
    with pytest.raises(FileNotFoundError, match=r"model\.json"):
        awase.load_model(tmp_path)
    (tmp_path / "model.pt").write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match=r"model\.pt, a pickle"):
        awase.load_model(tmp_path)
    with pytest.raises(FileNotFoundError, match="Hub"):
        awase.load_model("nobody/nothing-at-all")


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def half_the_weights(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-7])


def one_tensor_less(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["heads.text.bias"]
    save_file(tensors, folder / "model.safetensors")


def one_tensor_more(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "heads.smell.bias": torch.zeros(2)}, folder / "model.safetensors")


def another_shape(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "heads.text.bias": torch.zeros(3)}, folder / "model.safetensors")


def later_version(folder):
    document = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**document, "format_version": 2}))


def not_a_description(folder):
    (folder / "model.json").write_text("[1, 2")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_weights, "holds no model.safetensors"),
        (half_the_weights, "damaged"),
        (one_tensor_less, "heads.text.bias are not among them"),
        (one_tensor_more, "no place of that shape for heads.smell.bias"),
        (another_shape, "no place of that shape for heads.text.bias"),
        (later_version, "format version 2"),
        (not_a_description, "damaged or describes no model"),
    ],
)
def test_damaged_models_are_refused(damage, words, model, tmp_path):
    model.save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        awase.load_model(tmp_path)
