"""Without network: an answer within seconds, a sentence that helps, no pickle read by accident."""

import time
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from huggingface_hub import constants

from awase.config import EncoderConfig
from awase.encoders import build_encoder, build_tokenizer
from awase.encoders.hub import cache_only_when_offline, is_local, reachable, weights_file

_HUB: list[tuple[dict[str, Any], str, tuple[int, ...]]] = [
    ({"name": "resnet18", "pretrained": True}, "image", (3, 33, 33)),
    ({"name": "timm", "options": {"model": "vit_tiny_patch16_224"}, "pretrained": True}, "image", (3, 32, 32)),
    ({"name": "timm", "options": {"model": "resnet18"}, "pretrained": "nobody/nothing"}, "image", (3, 33, 33)),
    ({"name": "transformers", "options": {"model": "nobody/nothing"}, "pretrained": True}, "text", (7,)),
    ({"name": "transformers", "pretrained": "nobody/nothing"}, "text", (7,)),
]


@pytest.fixture
def _unreachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No offline switch is set, but nothing listens where the Hub should be."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


@pytest.mark.usefixtures("_unreachable")
@pytest.mark.parametrize(("config", "kind", "shape"), _HUB)
def test_weights_that_cannot_be_fetched_are_an_error_within_seconds(
    config: dict[str, Any], kind: str, shape: tuple[int, ...]
) -> None:
    assert timm.list_models("resnet18")
    assert transformers.AutoModel is not None  # both are imported before the clock runs
    began = time.monotonic()
    with pytest.raises(FileNotFoundError, match=r"local folder.*pretrained=False"):
        build_encoder(EncoderConfig(**config), kind=kind, input_shape=shape, seed=0)
    assert time.monotonic() - began < 8
    assert constants.HF_HUB_OFFLINE is False


@pytest.mark.usefixtures("_unreachable")
def test_a_configuration_that_cannot_be_fetched_names_the_alternatives() -> None:
    config = EncoderConfig(name="transformers", options={"model": "nobody/nothing"})
    with pytest.raises(FileNotFoundError, match=r"config.json.*architecture='bert'"):
        build_encoder(config, kind="text", input_shape=(7,), seed=0)


@pytest.mark.usefixtures("_unreachable")
def test_a_tokenizer_that_cannot_be_fetched() -> None:
    with pytest.raises(FileNotFoundError, match="pass a local folder"):
        build_tokenizer(EncoderConfig(name="transformers", pretrained="nobody/nothing"), 7)


def test_the_offline_switch_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("awase.encoders.hub._knock", lambda *_: pytest.fail("the network was used"))
    assert reachable() is False
    with cache_only_when_offline() as online:
        assert online is False


def test_a_hub_that_answers_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("awase.encoders.hub._knock", lambda _, answered: answered.set())
    with cache_only_when_offline() as online:
        assert online is True
        assert constants.HF_HUB_OFFLINE is False


def test_a_hub_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("awase.encoders.hub.TIMEOUT_S", 0.05)
    monkeypatch.setattr("awase.encoders.hub._knock", lambda *_: time.sleep(0.5))
    assert reachable() is False


@pytest.mark.parametrize(
    ("name", "local"),
    [("./w", True), ("/w", True), ("~/w", True), ("w.safetensors", True), ("org/model", False), ("bert", False)],
)
def test_is_local(name: str, local: bool) -> None:
    assert is_local(name) == local


def test_an_existing_folder_is_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert is_local("mine")


def test_safetensors_are_preferred(tmp_path: Path) -> None:
    for name in ("a.safetensors", "model.safetensors", "pytorch_model.bin"):
        (tmp_path / name).touch()
    assert weights_file(str(tmp_path), False) == tmp_path / "model.safetensors"


def test_pickles_are_refused_unless_allowed(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model.bin is a pickle.*--allow-pickle"):
        weights_file(str(tmp_path), False)
    assert weights_file(str(tmp_path), True) == tmp_path / "pytorch_model.bin"


def test_missing_weights(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No weights at"):
        weights_file(str(tmp_path / "nowhere"), False)
    with pytest.raises(FileNotFoundError, match="holds no weights"):
        weights_file(str(tmp_path), False)
