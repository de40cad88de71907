"""Which layers a target means, and the published counts of parameters."""

import pytest
import timm
import torch
from adapter_models import Everything
from torch import nn
from transformers import BertConfig, BertModel

from awase.adapters import Bank, resolve_targets
from awase.config import AdapterConfig


def _attention(*roles: str) -> list[str]:
    return [f"blocks.{i}.attn.{role}" for i in range(3) for role in roles]


def test_presets_name_layers_by_role_and_kind() -> None:
    model = Everything()
    assert resolve_targets(model, "q,v") == _attention("q", "v")
    assert resolve_targets(model, "qkv") == _attention("q", "k", "v")
    assert resolve_targets(model, "qkvo") == _attention("q", "k", "v", "proj")
    assert len(resolve_targets(model, "all-linear")) == 18
    assert resolve_targets(model, "all-conv") == ["stem", "grouped"]
    assert resolve_targets(model, "all-conv-no-stem") == ["grouped"]


def test_default_takes_what_the_encoder_has() -> None:
    assert resolve_targets(Everything(), "default") == _attention("q", "v")
    convolutions = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(7, 5))
    assert resolve_targets(convolutions, "default") == ["1"]
    assert resolve_targets(nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 7)), "default") == ["0", "2"]


def test_patterns_join_and_keep_module_order() -> None:
    model = Everything()
    assert resolve_targets(model, ("grouped", "words", "blocks.[01].fc1")) == [
        "words",
        "blocks.0.fc1",
        "blocks.1.fc1",
        "grouped",
    ]


def test_a_projection_outside_attention_is_not_its_output() -> None:
    model = nn.ModuleDict({"attn": nn.ModuleDict({"q_proj": nn.Linear(3, 3), "out_proj": nn.Linear(3, 3)})})
    model["head"] = nn.ModuleDict({"proj": nn.Linear(3, 3)})
    assert resolve_targets(model, "qkvo") == ["attn.q_proj", "attn.out_proj"]


def test_layers_inside_a_fused_attention_are_never_called_and_never_targeted() -> None:
    model = nn.ModuleDict({"attn": nn.MultiheadAttention(4, 2), "fc": nn.Linear(4, 4)})
    assert resolve_targets(model, "all-linear") == ["fc"]
    with pytest.raises(ValueError, match=r"'attn.out_proj' matches no layer"):
        resolve_targets(model, "attn.out_proj")


@pytest.mark.parametrize("targets", ["blocks.*.attn.w", ("q,v", "blocks.*.attn.w")])
def test_a_target_that_matches_nothing_is_an_error_that_lists_what_exists(targets: str | tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"'blocks.\*.attn.w' matches no layer.*q,v.*blocks.\*.attn.q \(3 layers\)"):
        resolve_targets(Everything(), targets)
    with pytest.raises(ValueError, match="this encoder has no linear"):
        resolve_targets(nn.Sequential(nn.ReLU()), "default")


def test_last_layers_keeps_the_last_blocks() -> None:
    model = Everything()
    assert resolve_targets(model, "q,v", 1) == ["blocks.2.attn.q", "blocks.2.attn.v"]
    assert resolve_targets(model, "q,v", 3) == _attention("q", "v")
    with pytest.raises(ValueError, match=r"last 4 blocks.* has 3 blocks"):
        resolve_targets(model, "q,v", 4)
    with pytest.raises(ValueError, match="No targeted layer lies in the last 1 blocks"):
        resolve_targets(model, "all-conv", 1)


def test_a_block_s_number_is_not_the_beginning_of_another() -> None:
    model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(12)])
    model.block_names = ("0", "10", "11", "1")
    assert resolve_targets(model, "all-linear", 1) == ["1"]


def _count(model: nn.Module, targets: str, rank: int) -> int:
    bank = Bank.inject(model, AdapterConfig(targets=targets, rank=rank), seed=0)
    count = sum(parameter.numel() for parameter in bank.parameters("default").values())
    bank.remove("default")
    return count


@pytest.mark.parametrize("rank", [1, 8])
def test_resnet_18_has_the_published_number_of_adapter_parameters(rank: int) -> None:
    with torch.device("meta"):
        colour = timm.create_model("resnet18", num_classes=0)
        grey = timm.create_model("resnet18", num_classes=0, in_chans=1)
    assert _count(colour, "all-conv", rank) == 35_923 * rank
    assert _count(grey, "all-conv", rank) == 35_825 * rank
    assert _count(colour, "default", rank) == _count(colour, "all-conv-no-stem", rank) == 35_712 * rank


@pytest.mark.parametrize("targets", [("q,v", 36_864), ("qkvo", 73_728), ("all-linear", 165_888)])
def test_bert_base_has_the_published_number_of_adapter_parameters(targets: tuple[str, int]) -> None:
    with torch.device("meta"):
        bert = BertModel(BertConfig(), add_pooling_layer=False)
    assert _count(bert, targets[0], 4) == targets[1] * 4


class _VitB(nn.Module):
    """The linears of ViT-B with separate q, k, v, below the name that the fused projection had."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "attn": nn.ModuleDict(
                        {
                            "qkv": nn.ModuleDict({role: nn.Linear(768, 768) for role in "qkv"}),
                            "proj": nn.Linear(768, 768),
                        }
                    ),
                    "mlp": nn.ModuleDict({"fc1": nn.Linear(768, 3072), "fc2": nn.Linear(3072, 768)}),
                }
            )
            for _ in range(12)
        )


@pytest.mark.parametrize("targets", [("q,v", 36_864), ("qkvo", 73_728), ("all-linear", 165_888)])
def test_vit_b_has_the_published_number_of_adapter_parameters(targets: tuple[str, int]) -> None:
    with torch.device("meta"):
        vit = _VitB()
    assert _count(vit, targets[0], 16) == targets[1] * 16
