"""Trained runs as files for elsewhere: what onnxruntime, torch and PEFT make of them is what the model gives."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import peft
import pytest
import torch
from test_runner_combinations import COMBINATION, method_of
from tiny_experiment import tiny
from tiny_spaces import reading_rows, readings_data, small_encoders, space_experiment, train, write_rows
from torch import Tensor

from awase import Space, load_model
from awase.config import EncoderConfig, MethodConfig, Runtime
from awase.encoders import build_encoder, build_tokenizer
from awase.encoders.gated import GatedUnit
from awase.encoders.word_vocabulary import random_vocabulary
from awase.models import OneModality, plain
from awase.runner.export_facts import samples_of
from awase.runner.exported import export_model
from awase.runner.graphs import write_onnx, write_torch
from awase.runner.keyed_model import import_peft
from awase.runner.run import run_experiment

TEXT = ("input_ids", "attention_mask")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of adapters of combinations over readings and words, with its table and cache."""
    folder = tmp_path_factory.mktemp("exported")
    table = write_rows(folder / "rows.jsonl", reading_rows({"a": 5, "b": 4, "text": 7}))
    method = method_of(combination={**COMBINATION, "adapter": {"rank": 3}})
    train(space_experiment(readings_data(table), method, encoders=small_encoders()), folder / "out", folder / "cache")
    run = next((folder / "out").rglob("record.json")).parent
    return {"run": run, "cache": folder / "cache", "table": table}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of MMLoRA on tiny clips."""
    folder = tmp_path_factory.mktemp("classified")
    experiment = tiny(MethodConfig(method="mmlora", settings={"rank": 2}), missing_rates=(), probe=False)
    run_experiment(experiment, Runtime(cache=folder / "cache", device="cpu", threads=1), folder / "out")
    return {"run": next((folder / "out").rglob("record.json")).parent, "cache": folder / "cache"}


def some_inputs(samples: dict[str, Tensor], rows: int) -> dict[str, Tensor]:
    """Other inputs of the same shapes; the last text has one token alone."""
    generator = torch.Generator().manual_seed(9)
    if "input_ids" not in samples:
        return {name: torch.randn(rows, *value.shape[1:], generator=generator) for name, value in samples.items()}
    width = samples["input_ids"].shape[1]
    mask = torch.ones(rows, width, dtype=samples["attention_mask"].dtype)
    mask[-1, 1:] = 0
    ids = torch.randint(2, 32, (rows, width), generator=generator, dtype=samples["input_ids"].dtype)
    return {"input_ids": ids, "attention_mask": mask}


def run_onnx(file: Path, inputs: dict[str, Tensor]) -> Tensor:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == list(inputs)
    assert all(one.shape[0] == "batch" for one in (*session.get_inputs(), *session.get_outputs()))
    return torch.from_numpy(session.run(None, {name: value.numpy() for name, value in inputs.items()})[0])


def run_torch(file: Path, inputs: dict[str, Tensor]) -> Tensor:
    found: Tensor = torch.export.load(file).module()(*inputs.values())
    return found


def test_graphs_of_a_key_give_its_embeddings_for_any_number_of_rows(places: dict[str, Path], tmp_path: Path) -> None:
    space = Space.from_pretrained(places["run"], device="cpu", cache=places["cache"])
    for form, suffix in (("onnx", ".onnx"), ("torch", ".pt2")):
        files = export_model(places["run"], tmp_path / form, form=form, under="b+text", cache=places["cache"])
        assert files == [f"b{suffix}", "b.json", f"text{suffix}", "text.json"]
        for name in ("b", "text"):
            samples = samples_of(space.saved, name)
            module = plain(space.model, name, "b+text", tuple(samples) if name == "text" else ())
            for rows in (1, 2, 7):
                inputs = some_inputs(samples, rows)
                with torch.no_grad():
                    expected = module(*inputs.values())
                file = tmp_path / form / f"{name}{suffix}"
                found = run_onnx(file, inputs) if form == "onnx" else run_torch(file, inputs)
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_facts_beside_a_graph_are_enough_to_feed_it(places: dict[str, Path], tmp_path: Path) -> None:
    export_model(places["run"], tmp_path / "out", form="onnx", under="b+text", cache=places["cache"])
    facts = {name: json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in ("b", "text")}
    assert (facts["b"]["kind"], facts["b"]["key"], facts["b"]["score"]) == ("array", "b+text", "cosine")
    assert facts["b"]["inputs"] == [{"name": "input", "type": "float32", "shape": ["batch", 5]}]
    assert facts["b"]["output"] == {"name": "embedding", "type": "float32", "shape": ["batch", 13]}
    assert [port["name"] for port in facts["text"]["inputs"]] == list(TEXT)
    # The row's own embedding, from the facts alone.
    tokenizer = build_tokenizer(EncoderConfig.model_validate(facts["text"]["encoder"]), 5)
    assert tokenizer.fingerprint == facts["text"]["tokenizer"]["fingerprint"]
    given = {name: torch.as_tensor(value) for name, value in tokenizer(["rain and fog"]).items()}
    space = Space.from_pretrained(places["run"], device="cpu", cache=places["cache"])
    expected = plain(space.model, "text", "b+text", TEXT)(*given.values())
    torch.testing.assert_close(run_onnx(tmp_path / "out" / "text.onnx", given), expected, rtol=1e-4, atol=1e-4)


def test_a_plain_space_embeds_a_table_as_the_run_does_under_its_key(places: dict[str, Path], tmp_path: Path) -> None:
    space = Space.from_pretrained(places["run"], device="cpu", cache=places["cache"])
    expected = space.embed(places["table"])
    for key, names in (("a+text", ("a", "text")), ("shared", ("a", "b", "text"))):
        export_model(places["run"], tmp_path / key, form="plain", under=key, cache=places["cache"])
        again = Space.from_pretrained(tmp_path / key, device="cpu", cache=tmp_path / "nothing")
        assert again.modalities == names
        assert not any("lora" in name for name in again.model.state_dict())
        found = again.embed(places["table"])
        rows = [expected.ids.index(one) for one in found.ids]
        own = expected.keyed.get(key, expected.embeddings)
        for name in names:
            there = found.present[name]
            torch.testing.assert_close(
                found.embeddings[name][there], own[name][rows][there], rtol=1e-5, atol=1e-5, msg=f"{key} {name}"
            )
    export_model(places["run"], tmp_path / "one", form="plain", under="a+b", modalities=("b",), cache=places["cache"])
    alone = Space.from_pretrained(tmp_path / "one", device="cpu", cache=tmp_path / "nothing")
    assert alone.modalities == ("b",)
    found = alone.embed([{"b": [1.0, 2.0, 3.0, 4.0, 5.0]}])
    value = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]])
    torch.testing.assert_close(found.embeddings["b"], plain(space.model, "b", "a+b")(value))


def quiet_peft(module: OneModality, folder: Path) -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="peft")
        loaded: torch.nn.Module = peft.PeftModel.from_pretrained(module, folder)
    return loaded.eval()


def test_peft_loads_the_adapters_of_a_key_over_the_shared_model(places: dict[str, Path], tmp_path: Path) -> None:
    written = export_model(places["run"], tmp_path / "key", form="peft", under="a+b+text", cache=places["cache"])
    assert written == ["a", "b", "text"]
    space = Space.from_pretrained(places["run"], device="cpu", cache=places["cache"])
    for name in written:
        samples = samples_of(space.saved, name)
        names = TEXT if name == "text" else ()
        inputs = some_inputs(samples, 6).values()
        theirs = quiet_peft(plain(space.model, name, "shared", names), tmp_path / "key" / name)
        expected = plain(space.model, name, "a+b+text", names)(*inputs)
        torch.testing.assert_close(theirs(*inputs), expected, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(plain(space.model, name, "shared", names)(*inputs), expected, atol=1e-4)


def test_a_classifier_is_written_with_its_adapters_or_without(classifier: dict[str, Path], tmp_path: Path) -> None:
    model = load_model(classifier["run"], device="cpu", cache=classifier["cache"])
    inputs = {name: some_inputs(samples_of(model.saved, name), 4)["input"] for name in model.modalities}
    with torch.no_grad():
        own = {name: model.classifier.heads[name](encoder(inputs[name]).pooled)
               for name, encoder in model.classifier.encoders.items()}  # fmt: skip
    export_model(classifier["run"], tmp_path / "onnx", form="onnx", cache=classifier["cache"])
    for name, value in own.items():
        found = run_onnx(tmp_path / "onnx" / f"{name}.onnx", {"input": inputs[name]})
        torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(plain(model.classifier, name, "shared")(inputs[name]), value, atol=1e-4)
        facts = json.loads((tmp_path / "onnx" / f"{name}.json").read_text())
        assert (facts["output"]["name"], facts["classes"]) == ("logits", list(model.classes))
    export_model(classifier["run"], tmp_path / "plain", form="plain", cache=classifier["cache"])
    again = load_model(tmp_path / "plain", device="cpu", cache=tmp_path / "nothing")
    assert not any("lora" in name for name in again.classifier.state_dict())
    assert again.saved.stage.adapters == {}
    for name, value in own.items():
        with torch.no_grad():
            encoded = again.classifier.encoders[name](inputs[name]).pooled
            torch.testing.assert_close(again.classifier.heads[name](encoded), value, rtol=1e-5, atol=1e-5)
    export_model(classifier["run"], tmp_path / "peft", form="peft", modalities=("audio",), cache=classifier["cache"])
    theirs = quiet_peft(plain(model.classifier, "audio", "shared"), tmp_path / "peft" / "audio")
    torch.testing.assert_close(theirs(inputs["audio"]), own["audio"], rtol=1e-5, atol=1e-5)


def keyed_outputs(space: Space, table: Path, key: str) -> dict[str, Tensor]:
    return space.embed(table).keyed[key]


def test_adapters_come_back_as_a_key_of_the_run_or_of_its_shared_space(places: dict[str, Path], tmp_path: Path) -> None:
    space = Space.from_pretrained(places["run"], device="cpu", cache=places["cache"])
    expected, key = keyed_outputs(space, places["table"], "a+text"), "a+text"
    export_model(places["run"], tmp_path / "key", form="peft", under=key, cache=places["cache"])
    export_model(places["run"], tmp_path / "shared", form="plain", under="shared", cache=places["cache"])
    for source, others in ((places["run"], {"a+b", "b+text", "a+b+text"}), (tmp_path / "shared", set[str]())):
        out = tmp_path / f"out {len(others)}"
        count = import_peft(source, tmp_path / "key", out, key=key, cache=places["cache"])
        assert count > 4
        again = Space.from_pretrained(out, device="cpu", cache=tmp_path / "nothing")
        assert set(again.model.combinations) == {key, *others}
        for name, value in keyed_outputs(again, places["table"], key).items():
            torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-5)
        for other in others:
            for name, value in keyed_outputs(again, places["table"], other).items():
                assert torch.equal(value, keyed_outputs(space, places["table"], other)[name])
    # As a key of another name, of PEFT's own making: alpha and rank are other than the run's.
    folders = {name: tmp_path / "other" / name for name in ("a", "b")}
    modules = {name: plain(space.model, name, "shared") for name in folders}
    values = {name: torch.randn(4, width) for name, width in {"a": 3, "b": 5}.items()}
    theirs = {}
    for name, module in modules.items():
        config = peft.LoraConfig(target_modules=["head.fc"], r=5, lora_alpha=20, init_lora_weights=False)
        wrapped = peft.get_peft_model(module, config).eval()
        theirs[name] = wrapped(values[name]).detach()
        wrapped.save_pretrained(folders[name])
    import_peft(places["run"], tmp_path / "other", tmp_path / "peft", key="a+b", cache=places["cache"])
    again = Space.from_pretrained(tmp_path / "peft", device="cpu", cache=tmp_path / "nothing")
    for name, value in theirs.items():
        torch.testing.assert_close(plain(again.model, name, "a+b")(values[name]), value, rtol=1e-5, atol=1e-5)


def test_adapters_come_back_into_a_classifier(classifier: dict[str, Path], tmp_path: Path) -> None:
    model = load_model(classifier["run"], device="cpu", cache=classifier["cache"])
    assert export_model(classifier["run"], tmp_path / "key", form="peft", cache=classifier["cache"]) == [
        "video",
        "audio",
    ]
    export_model(classifier["run"], tmp_path / "base", form="plain", under="shared", cache=classifier["cache"])
    import_peft(tmp_path / "base", tmp_path / "key", tmp_path / "out")
    again = load_model(tmp_path / "out", device="cpu", cache=tmp_path / "nothing")
    for name in model.modalities:
        inputs = some_inputs(samples_of(model.saved, name), 4)["input"]
        expected = plain(model.classifier, name)(inputs)
        torch.testing.assert_close(plain(again.classifier, name)(inputs), expected, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(plain(again.classifier, name, "shared")(inputs), expected, atol=1e-4)
    with pytest.raises(ValueError, match="leave --key out"):
        import_peft(tmp_path / "base", tmp_path / "key", tmp_path / "more", key="audio+video")


def test_adapters_that_do_not_fit_are_refused(places: dict[str, Path], tmp_path: Path) -> None:
    export_model(places["run"], tmp_path / "key", form="peft", under="a+text", cache=places["cache"])

    def refused(match: str, key: str | None, source: Path = places["run"]) -> None:
        with pytest.raises(ValueError, match=match):
            import_peft(source, tmp_path / "key", tmp_path / "out", key=key, cache=places["cache"])
        assert not (tmp_path / "out").exists()

    refused("need a key", None)
    refused("no modality x", "a+x")
    refused("has no folder b", "a+b")
    refused("sorted, like", "text+a")
    (tmp_path / "key" / "b").mkdir()
    for file in (tmp_path / "key" / "a").iterdir():
        (tmp_path / "key" / "b" / file.name).write_bytes(file.read_bytes())
    refused(r"of shapes .* the file has", "a+b")  # the adapters of another modality: the widths differ
    module = plain(Space.from_pretrained(places["run"], device="cpu", cache=places["cache"]).model, "text", "shared")
    config = peft.LoraConfig(target_modules=["encoder.network.token"], r=2)
    peft.get_peft_model(module, config).save_pretrained(tmp_path / "key" / "text")
    refused("'text' are also on encoder.network.token", "a+text")


def test_what_cannot_be_written_is_refused_and_nothing_is_left(places: dict[str, Path], tmp_path: Path) -> None:
    def refused(match: str, **changes: Any) -> None:
        with pytest.raises(ValueError, match=match):
            export_model(places["run"], tmp_path / "out", **{"form": "onnx", "cache": places["cache"], **changes})
        assert not any(tmp_path.iterdir())

    refused("no format 'tflite'; valid names: onnx, torch, peft, plain", form="tflite")
    refused(r"no adapters of 'a\+x'; the model has shared, a\+b, a\+text", under="a+x")
    refused(r"'a' has no adapters of 'b\+text'", under="b+text", modalities=("a",))
    refused("nothing for PEFT to load", form="peft")
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError):
        export_model(places["run"], tmp_path / "out", form="onnx", cache=places["cache"])


class Branching(torch.nn.Module):
    """An encoder whose way depends on the numbers."""

    dim = 5

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if float(x.sum()) > 0 else x


def test_an_encoder_without_a_graph_is_refused_with_what_works(tmp_path: Path) -> None:
    encoder = build_encoder(EncoderConfig(name=Branching), kind="array", input_shape=(5,), seed=0)
    module = OneModality(encoder, None).eval()
    with pytest.raises(ValueError, match=r"cannot be written as a graph of torch: .* --format plain"):
        write_torch(module, [torch.randn(3, 5)], tmp_path / "x.pt2")
    with pytest.raises(ValueError, match="--format plain"):
        write_onnx(module, [torch.randn(3, 5)], tmp_path / "x.onnx", ("input",), "features")
    assert not any(tmp_path.iterdir())


class Noisy(torch.nn.Module):
    """An encoder that says something else every time."""

    dim = 5

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x)


def test_a_graph_that_says_something_else_is_refused(tmp_path: Path) -> None:
    encoder = build_encoder(EncoderConfig(name=Noisy), kind="array", input_shape=(5,), seed=0)
    with pytest.raises(ValueError, match="outputs differ from the model's"):
        write_torch(OneModality(encoder, None).eval(), [torch.randn(3, 5)], tmp_path / "x.pt2")


BERT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
SMALL: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "mlp": ("array", (7,), {"width": 5}),
    "features": ("array", (7,), {"normalise": True}),
    "small_cnn": ("image", (3, 20, 24), {"width": 4}),
    "small_vit": ("video", (4, 3, 20, 24), {"dim": 16, "num_heads": 2, "depth": 1}),
    "small_transformer": ("text", (5,), {"dim": 16, "num_heads": 2, "depth": 1}),
    "transformers": ("text", (5,), {"architecture": "bert", "config": BERT}),
}
LARGE: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "resnet18": ("audio", (1, 64, 50), {}),
    "timm": ("image", (3, 64, 64), {"model": "vit_tiny_patch16_224"}),
    "davenet": ("audio", (1, 40, 64), {}),
}


def check_encoder(name: str, kind: str, shape: tuple[int, ...], options: dict[str, Any], folder: Path) -> None:
    config = EncoderConfig(name=name, options=options)
    encoder = build_encoder(config, kind=kind, input_shape=shape, seed=0)
    module = OneModality(encoder, None, TEXT if kind == "text" else ()).eval().requires_grad_(False)
    ids = torch.zeros(3, *shape, dtype=torch.int64)
    empty = {"input_ids": ids, "attention_mask": ids} if kind == "text" else {"input": torch.zeros(3, *shape)}
    inputs = some_inputs(empty, 3)
    write_torch(module, list(inputs.values()), folder / "x.pt2")
    write_onnx(module, list(inputs.values()), folder / "x.onnx", tuple(inputs), "features")
    more = some_inputs(empty, 5)
    expected = module(*more.values())
    torch.testing.assert_close(run_onnx(folder / "x.onnx", more), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(run_torch(folder / "x.pt2", more), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_small_encoders_as_graphs(name: str, tmp_path: Path) -> None:
    check_encoder(name, *SMALL[name], tmp_path)


@pytest.mark.parametrize("padding", ["masked", "included"])
def test_word_vectors_as_graphs(padding: str, tmp_path: Path) -> None:
    random_vocabulary([f"word {k}" for k in range(40)], 5, seed=2).save(tmp_path / "words")
    check_encoder(
        "word_vectors", "text", (5,), {"vocabulary": str(tmp_path / "words"), "dim": 7, "padding": padding}, tmp_path
    )
    nothing = torch.zeros(2, 5, dtype=torch.int64)
    config = EncoderConfig(name="word_vectors", options={"vocabulary": str(tmp_path / "words"), "padding": padding})
    encoder = build_encoder(config, kind="text", input_shape=(5,), seed=0)
    module = OneModality(encoder, None, TEXT).eval().requires_grad_(False)
    write_torch(module, [nothing, nothing], tmp_path / "empty.pt2")  # compares texts without a word


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large_encoders_as_graphs(name: str, tmp_path: Path) -> None:
    check_encoder(name, *LARGE[name], tmp_path)


def test_a_wide_layer_is_a_graph_for_any_number_of_rows(tmp_path: Path) -> None:
    """`products.Linear` chooses between two libraries by the number of rows; a graph must not."""
    config = EncoderConfig(name="features")
    encoder = build_encoder(config, kind="array", input_shape=(2048,), seed=0)
    torch.manual_seed(0)
    module = OneModality(encoder, GatedUnit(2048, 4096)).eval().requires_grad_(False)
    write_torch(module, [torch.randn(3, 2048)], tmp_path / "x.pt2")
    inputs = torch.randn(41, 2048)  # 41 * 2048 * 4096 is more than `products.LEAST`
    found = torch.export.load(tmp_path / "x.pt2").module()(inputs)
    torch.testing.assert_close(found, module(inputs), rtol=1e-4, atol=1e-4)
    assert np.isfinite(found.numpy()).all()
