"""Files in PEFT's format, checked with PEFT itself in both directions."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from adapter_models import Everything, frozen, ids, randomise
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from awase.adapters import Bank, load_peft, save_peft
from awase.config import AdapterConfig

CONFIG = AdapterConfig(targets="*", rank=3, alpha=2.0, dropout=0.25)


class Pictures(nn.Module):
    """Convolutions of two and three dimensions; the first one's name is also the end of another's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 5, 3, stride=2, padding=1)
        self.layer = nn.ModuleDict({"conv1": nn.Conv2d(5, 7, 3, padding="same")})
        self.volume = nn.Conv3d(1, 2, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.volume(torch.relu(self.layer["conv1"](torch.relu(self.conv1(x))))[:, None])
        return output


@pytest.fixture(autouse=True)
def _quiet_peft() -> Iterator[None]:
    """PEFT warns that it cannot merge adapters on grouped convolutions, and about models without a Hub name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="peft")
        yield


def _peft(model: nn.Module, targets: Any, **options: Any) -> nn.Module:
    """`model` with random PEFT adapters."""
    config = peft.LoraConfig(target_modules=targets, **{"r": 4, "lora_alpha": 6, **options})
    wrapped = peft.get_peft_model(model, config).eval()
    randomise({name: p for name, p in wrapped.named_parameters() if "lora_" in name})
    return wrapped


def _saved(folder: Path, model: nn.Module, config: AdapterConfig = CONFIG) -> Bank:
    bank = Bank.inject(model, config, seed=0)
    randomise(bank.parameters("default"))
    save_peft(bank, folder)
    return bank


@pytest.mark.parametrize("make", [Everything, Pictures])
def test_our_files_load_in_peft_with_equal_outputs(make: type[nn.Module], tmp_path: Path) -> None:
    model = frozen(make)
    x = ids() if make is Everything else torch.randn(2, 3, 11, 13, generator=torch.Generator().manual_seed(0))
    _saved(tmp_path, model)
    theirs = peft.PeftModel.from_pretrained(frozen(make), tmp_path).eval()
    expected = model(x)
    torch.testing.assert_close(theirs(x), expected)
    assert not torch.allclose(expected, frozen(make)(x))


def test_a_name_that_ends_another_targets_itself_alone(tmp_path: Path) -> None:
    model = frozen(Pictures)
    _saved(tmp_path, model, AdapterConfig(targets="conv1", rank=2))
    theirs = peft.PeftModel.from_pretrained(frozen(Pictures), tmp_path)
    names = {name for name, module in theirs.named_modules() if isinstance(module, peft.tuners.lora.LoraLayer)}
    assert names == {"base_model.model.conv1"}


@pytest.mark.parametrize("use_rslora", [False, True])
def test_peft_s_files_load_here_with_equal_outputs(use_rslora: bool, tmp_path: Path) -> None:
    targets = ["words", "attn.q", "attn.k", "fc2", "stem"]
    theirs = _peft(frozen(), targets, use_rslora=use_rslora, lora_dropout=0.25)
    theirs.save_pretrained(tmp_path)
    model = frozen()
    bank = load_peft(model, tmp_path, "audio+text")
    torch.testing.assert_close(model(ids()), theirs(ids()))
    adapters = bank.adapters("audio+text")
    assert len(adapters) == 11
    assert {(a.rank, a.scale, a.dropout) for a in adapters.values()} == {(4, 3.0 if use_rslora else 1.5, 0.25)}


def test_ranks_and_alphas_by_layer_are_read(tmp_path: Path) -> None:
    options = {"rank_pattern": {"blocks.1.attn.q": 2}, "alpha_pattern": {"fc2": 5}}
    theirs = _peft(frozen(), ["q", "fc2"], **options)
    theirs.save_pretrained(tmp_path)
    model = frozen()
    bank = load_peft(model, tmp_path)
    torch.testing.assert_close(model(ids()), theirs(ids()))
    assert bank.adapters("default")["blocks.1.attn.q"].scale == 3.0
    assert bank.adapters("default")["blocks.0.fc2"].scale == 1.25


@pytest.mark.parametrize("make", [Everything, Pictures])
def test_our_files_load_here_bit_for_bit(make: type[nn.Module], tmp_path: Path) -> None:
    model, other = frozen(make), frozen(make)
    bank = _saved(tmp_path, model)
    again = load_peft(other, tmp_path)
    ours, theirs = bank.parameters("default"), again.parameters("default")
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert {a.scale for a in again.adapters("default").values()} == {2 / 3}


def test_an_adapter_for_other_weights_is_refused_unless_any_base_will_do(tmp_path: Path) -> None:
    bank, other = _saved(tmp_path, frozen(Pictures)), frozen(Pictures)
    with torch.no_grad():
        other.conv1.bias[0] += 1e-6
    with pytest.raises(ValueError, match=r"other weights than those of this Pictures.*any_base=True"):
        load_peft(other, tmp_path)
    assert Bank(other).keys() == ()
    assert load_peft(other, tmp_path, any_base=True).fingerprint("default") == bank.fingerprint("default")


def test_grouped_convolutions_are_written_as_one_group_with_zeros(tmp_path: Path) -> None:
    bank = _saved(tmp_path, frozen())
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    a = tensors["base_model.model.grouped.lora_A.weight"]
    assert a.shape == (6, 6, 3)
    assert torch.equal(a[:3, :3], bank.adapters("default")["grouped"].A[:3])
    assert torch.equal(a[:3, 3:], torch.zeros(3, 3, 3))
    document = json.loads((tmp_path / "adapter_config.json").read_text())
    assert document["rank_pattern"] == {"^grouped": 6}


def test_an_adapter_that_mixes_groups_is_refused(tmp_path: Path) -> None:
    _peft(frozen(), ["grouped"]).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="grouped convolution grouped mixes its 2 groups"):
        load_peft(frozen(), tmp_path)


class Fused(nn.Module):
    """An attention's projections as one layer, or as three with the same weights."""

    def __init__(self, split: bool) -> None:
        super().__init__()
        weight = torch.randn(21, 7, generator=torch.Generator().manual_seed(0))
        if split:
            self.qkv = nn.ModuleDict({role: nn.Linear(7, 7, bias=False) for role in "qkv"})
            parts = [linear.weight for linear in self.qkv.values()]
        else:
            self.qkv = nn.Linear(7, 21, bias=False)
            parts = [self.qkv.weight]
        with torch.no_grad():
            for part, values in zip(parts, weight.chunk(len(parts)), strict=True):
                part.copy_(values)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.qkv, nn.ModuleDict):
            return torch.cat([self.qkv[role](x) for role in "qkv"], dim=-1)
        output: Tensor = self.qkv(x)
        return output


@pytest.mark.parametrize(("targets", "rank"), [("qkv", 9), ("q,v", 6)])
def test_split_projections_become_one_adapter_of_the_fused_layer(targets: str, rank: int, tmp_path: Path) -> None:
    model, x = Fused(split=True), torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    bank = Bank.inject(model, AdapterConfig(targets=targets, rank=3, alpha=2), seed=0)
    randomise(bank.parameters("default"))
    save_peft(bank, tmp_path, fuse_qkv=True)
    theirs = peft.PeftModel.from_pretrained(Fused(split=False), tmp_path)
    torch.testing.assert_close(theirs(x), model(x))
    assert theirs.peft_config["default"].r == rank
    again = Fused(split=True)
    load_peft(again, tmp_path)
    torch.testing.assert_close(again(x), model(x))


def test_fused_projections_need_one_scale(tmp_path: Path) -> None:
    model = Fused(split=True)
    bank = Bank.inject(model, AdapterConfig(targets="qkv", rank=2), seed=0)
    bank.adapters("default")["qkv.k"].scale = 2.0
    with pytest.raises(ValueError, match="different scales"):
        save_peft(bank, tmp_path, fuse_qkv=True)


@pytest.mark.parametrize("options", [{"dilation": 2}, {"padding_mode": "reflect", "padding": 1}])
def test_what_peft_computes_in_another_way_is_not_written(options: dict[str, Any], tmp_path: Path) -> None:
    bank = Bank.inject(nn.Sequential(nn.Conv1d(3, 5, 3, **options)), CONFIG, seed=0)
    with pytest.raises(ValueError, match="0 has dilation or a padding mode"):
        save_peft(bank, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_pickled_weights_are_refused_with_the_reason(tmp_path: Path) -> None:
    _peft(frozen(), ["q"]).save_pretrained(tmp_path, safe_serialization=False)
    (tmp_path / "adapter_model.safetensors").unlink(missing_ok=True)
    torch.save({}, tmp_path / "adapter_model.bin")
    with pytest.raises(ValueError, match=r"adapter_model.bin is a pickle, which can run code"):
        load_peft(frozen(), tmp_path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no adapter_config.json"):
        load_peft(frozen(), tmp_path)
    _saved(tmp_path, frozen())
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no adapter_model.safetensors"):
        load_peft(frozen(), tmp_path)


def test_layers_that_the_encoder_lacks_are_listed_and_nothing_changes(tmp_path: Path) -> None:
    _saved(tmp_path, frozen(), AdapterConfig(targets="q,v"))
    model = nn.Sequential(nn.Linear(7, 7))
    with pytest.raises(ValueError, match=r"no layer blocks.0.attn.q, blocks.0.attn.v, .*begin with 0"):
        load_peft(model, tmp_path)
    assert type(model[0]) is nn.Linear


def test_shapes_that_do_not_fit_are_named(tmp_path: Path) -> None:
    _saved(tmp_path, nn.Sequential(nn.Linear(7, 5)))
    with pytest.raises(ValueError, match=r"Layer 0 needs A and B of shapes \(\(3, 11\), \(5, 3\)\)"):
        load_peft(nn.Sequential(nn.Linear(11, 5)), tmp_path)
    with pytest.raises(ValueError, match=r"Layer 0 needs lora_embedding_A and lora_embedding_B"):
        load_peft(nn.Sequential(nn.Embedding(11, 5)), tmp_path)
    save_file({"base_model.model.0.lora_magnitude_vector": torch.zeros(5)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ValueError, match=r"'base_model.model.0.lora_magnitude_vector', which is no `A` or `B`"):
        load_peft(nn.Sequential(nn.Linear(7, 5)), tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, "uses use_dora, which is not supported"),
        ({"bias": "all"}, "uses bias='all'"),
        ({"modules_to_save": ["head"]}, "uses modules_to_save"),
        ({"init_lora_weights": "pissa"}, "uses init_lora_weights='pissa'"),
        ({"peft_type": "LOHA"}, "does not describe a LoRA adapter"),
    ],
)
def test_what_is_no_plain_lora_is_refused_by_name(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    _saved(tmp_path, frozen())
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        load_peft(frozen(), tmp_path)
    path.write_text("{")
    with pytest.raises(ValueError, match="is not valid JSON"):
        load_peft(frozen(), tmp_path)
