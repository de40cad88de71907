"""Names, options, kinds, the user's own modules, and what the record says about weights."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from awase.config import EncoderConfig
from awase.encoders import BlockEncoder, build_encoder, default_encoder, encoder_info
from awase.encoders.info import Provenance, corpus_of
from awase.encoders.request import KINDS
from awase.types import Encoded

_SHAPES: dict[str, tuple[int, ...]] = {
    "video": (5, 1, 13, 17),
    "audio": (1, 19, 23),
    "image": (3, 13, 17),
    "flow": (5, 2, 13, 17),
    "text": (7,),
    "array": (5, 3),
}


def _build(name: Any, kind: str = "array", shape: tuple[int, ...] = (5, 3), **config: Any) -> nn.Module:
    return build_encoder(EncoderConfig(name=name, **config), kind=kind, input_shape=shape, seed=0)


def test_importing_the_encoders_imports_neither_timm_nor_transformers() -> None:
    code = "import sys, awase.encoders; print({m.split('.')[0] for m in sys.modules} & {'timm', 'transformers'})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_default(kind: str) -> None:
    encoder = build_encoder(default_encoder(kind), kind=kind, input_shape=_SHAPES[kind], seed=0)
    assert isinstance(encoder, BlockEncoder)
    assert encoder_info(encoder)["weights"] == "random"


def test_unknown_names_list_the_known_ones() -> None:
    known = (
        "davenet, features, mlp, resnet18, small_cnn, small_transformer, small_vit, timm, transformers, word_vectors"
    )
    with pytest.raises(ValueError, match=f"'resnet19'; there are {known}"):
        _build("resnet19")
    with pytest.raises(ValueError, match="no option widht; it has width, depth, dropout"):
        _build("mlp", options={"widht": 3})
    with pytest.raises(ValueError, match="'smell'; there are video, audio, image, flow, text, array"):
        _build("mlp", kind="smell")
    with pytest.raises(ValueError, match="'smell'"):
        default_encoder("smell")


@pytest.mark.parametrize(
    ("name", "kind", "shape", "said"),
    [
        ("small_cnn", "text", (7,), "takes image, audio, video, flow, not 'text'"),
        ("small_cnn", "audio", (9600,), r"spectrogram; got \(9600,\)"),
        ("small_cnn", "video", (3, 13, 17), r"\(frames, channels, height, width\); got \(3, 13, 17\)"),
        ("small_transformer", "audio", (1, 19, 23), "takes text, not 'audio'"),
        ("mlp", "text", (7,), "takes array"),
        ("small_vit", "text", (7,), "takes image, audio, video, flow"),
        ("small_vit", "audio", (9600,), r"spectrogram; got \(9600,\)"),
        ("timm", "text", (7,), "takes image, audio, video, flow"),
        ("resnet18", "audio", (9600,), "a spectrogram"),
        ("transformers", "image", (3, 13, 17), "takes text, audio"),
    ],
)
def test_inputs_an_encoder_does_not_take(name: str, kind: str, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _build(name, kind, shape)


def test_built_in_encoders_have_no_published_weights() -> None:
    with pytest.raises(ValueError, match="no published weights"):
        _build("mlp", pretrained=True)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    small = _build("mlp", options={"width": 3})
    save_file(small.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match="size mismatch"):
        _build("mlp", options={"width": 5}, pretrained=str(tmp_path))


def test_pickled_weights_need_leave(tmp_path: Path) -> None:
    saved = _build("mlp", options={"width": 3})
    torch.save(saved.state_dict(), tmp_path / "model.pt")
    config = EncoderConfig(name="mlp", options={"width": 3}, pretrained=str(tmp_path))
    with pytest.raises(ValueError, match="--allow-pickle"):
        build_encoder(config, kind="array", input_shape=(5, 3), seed=1)
    loaded = build_encoder(config, kind="array", input_shape=(5, 3), seed=1, allow_pickle=True)
    assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), loaded.parameters(), strict=True))


# ---- the user's own modules ------------------------------------------------------------------------------------------


class Plain(nn.Module):
    def __init__(self, width: int = 11) -> None:
        super().__init__()
        self.linear = nn.Linear(15, width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.norm(self.linear(x.flatten(1)))
        return result


class GivesEncoded(nn.Module):
    dim = 3

    def forward(self, x: Tensor) -> Encoded:
        return Encoded(x.mean(1), x, torch.ones(x.shape[:2], dtype=torch.bool))


class Complete(nn.Module):
    dim, num_blocks, cut = 3, 1, 0

    def prefix(self, inputs: Tensor) -> Tensor:
        return inputs

    def suffix(self, hidden: Tensor) -> Encoded:
        return Encoded(hidden.mean(1))

    def forward(self, inputs: Tensor) -> Encoded:
        return self.suffix(self.prefix(inputs))


def test_a_plain_module_is_wrapped_and_its_width_found() -> None:
    encoder = _build(Plain, options={"width": 13})
    assert isinstance(encoder, BlockEncoder)
    assert (encoder.dim, encoder.num_blocks) == (13, 1)
    assert encoder.training
    assert dict(encoder.named_buffers())["network.module.norm.num_batches_tracked"] == 0  # the trial run left no trace
    x = torch.randn(2, 5, 3)
    encoder.eval()
    whole = encoder(x).pooled
    encoder.cut = 1
    assert torch.equal(encoder.suffix(encoder.prefix(x)).pooled, whole)


def test_an_own_encoded_keeps_tokens_and_mask() -> None:
    encoder = _build(GivesEncoded)
    x = torch.randn(2, 5, 3)
    encoded = encoder(x)
    assert torch.equal(encoded.tokens, x)
    assert encoded.mask.all()


def test_a_complete_encoder_is_taken_as_it_is() -> None:
    assert type(_build(Complete)) is Complete


def test_a_callable_gets_what_it_names() -> None:
    given: dict[str, Any] = {}

    def own(*, kind: str, input_shape: tuple[int, ...], depth: int = 1) -> nn.Module:
        given.update(kind=kind, input_shape=input_shape, depth=depth)
        return GivesEncoded()

    _build(own, options={"depth": 2})
    assert given == {"kind": "array", "input_shape": (5, 3), "depth": 2}


def test_own_weights_follow_from_the_seed() -> None:
    a, b = (dict(_build(Plain).named_parameters()) for _ in range(2))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_own_modules_that_are_none() -> None:
    with pytest.raises(ValueError, match=r"must be a torch module.*gave a int"):
        _build(lambda: 3)
    with pytest.raises(ValueError, match=r"it gave a tensor of shape \(1, 5, 3\)"):
        _build(nn.Identity)


def test_an_own_text_encoder_is_tried_on_tokens() -> None:
    class Counts(nn.Module):
        def forward(self, inputs: dict[str, Tensor]) -> Tensor:
            return inputs["attention_mask"].float().sum(1, keepdim=True)

    encoder = _build(Counts, kind="text", shape=(7,))
    assert isinstance(encoder, BlockEncoder)
    assert encoder.dim == 1


# ---- what the record says --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "corpus"),
    [
        ("timm/resnet18.a1_in1k", "ImageNet-1k"),
        ("timm/vit_base_patch16_224.augreg_in21k", "ImageNet-21k"),
        ("timm/vit_base_patch16_224.augreg2_in21k_ft_in1k", "ImageNet-21k"),
        ("google-bert/bert-base-uncased", "BookCorpus and Wikipedia"),
        ("MIT/ast-finetuned-audioset-10-10-0.4593", "AudioSet"),
        ("facebook/wav2vec2-base", "LibriSpeech"),
        ("/home/me/weights", None),
    ],
)
def test_corpus_of(weights: str, corpus: str | None) -> None:
    assert corpus_of(weights) == corpus


@pytest.mark.parametrize(("weights", "said"), [("org/ast-audioset", "AVE is drawn"), ("x/k400", "Kinetics-Sounds is")])
def test_known_overlaps_are_said(weights: str, said: str) -> None:
    encoder = nn.Linear(2, 3)
    encoder.provenance = Provenance("mine", weights)  # type: ignore[assignment]
    info = encoder_info(encoder)
    assert info["overlaps"].startswith(said)
    assert info["parameters"] == 9
    assert info["weights"] == f"{weights} ({info['corpus']})"


def test_what_is_said_of_an_own_encoder_and_of_an_unknown_module() -> None:
    assert encoder_info(_build(Plain))["weights"] == "as Plain makes them"
    assert encoder_info(nn.Linear(2, 3)) == {
        "name": "Linear",
        "weights": "unknown",
        "corpus": None,
        "overlaps": None,
        "parameters": 9,
    }


def test_a_folder_is_named(tmp_path: Path) -> None:
    save_file(_build("mlp").state_dict(), tmp_path / "model.safetensors")
    assert encoder_info(_build("mlp", pretrained=str(tmp_path)))["weights"] == str(tmp_path)
