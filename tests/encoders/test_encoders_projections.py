"""Gated units, projections, reconstruction heads and vectors passed on, against their formulas and published sizes."""

import pytest
import torch
from torch import nn

from awase.config import EncoderConfig
from awase.encoders import build_encoder
from awase.encoders.gated import GatedUnit
from awase.encoders.projections import PROJECTIONS, build_projection, reconstruction_head


def millions(*modules: nn.Module) -> float:
    return round(sum(p.numel() for module in modules for p in module.parameters()) / 1e6, 2)


@pytest.mark.parametrize("normalise", [False, True])
def test_a_gated_unit_gates_what_it_projects(normalise: bool) -> None:
    unit = GatedUnit(5, 3, normalise=normalise).double()
    x = torch.randn(7, 5, dtype=torch.float64)
    hidden = x @ unit.fc.weight.T + unit.fc.bias
    y = hidden / (1 + torch.exp(-(hidden @ unit.gate.weight.T + unit.gate.bias)))
    torch.testing.assert_close(unit(x), y / y.square().sum(1, keepdim=True).sqrt() if normalise else y)
    assert torch.autograd.gradcheck(unit, x.requires_grad_())


def test_normalised_zeros_stay_zeros_with_a_finite_gradient() -> None:
    unit = GatedUnit(5, 3, normalise=True)
    nn.init.zeros_(unit.fc.weight)
    nn.init.zeros_(unit.fc.bias)
    output = unit(torch.zeros(2, 5))
    output.sum().backward()
    assert output.count_nonzero() == 0
    assert unit.fc.weight.grad.isfinite().all()


@pytest.mark.parametrize("name", PROJECTIONS)
def test_projections_have_their_widths(name: str) -> None:
    assert build_projection(name, 5, 3)(torch.randn(7, 5)).shape == (7, 3)


def test_projections_are_what_their_names_say() -> None:
    x = torch.randn(7, 5)
    gated = build_projection("gated_then_linear", 5, 3)
    torch.testing.assert_close(gated(x), gated[1](gated[0](x)))
    assert (gated[0].fc.out_features, gated[1].out_features) == (5, 3)
    mlp = build_projection("mlp", 5, 3)
    torch.testing.assert_close(mlp(x), (x @ mlp[0].weight.T + mlp[0].bias).clamp(min=0) @ mlp[2].weight.T + mlp[2].bias)
    with pytest.raises(ValueError, match="gated, gated_then_linear, linear, mlp"):
        build_projection("gate", 5, 3)


def test_a_reconstruction_is_never_negative() -> None:
    head = reconstruction_head(5, 3, 2)
    x = torch.randn(71, 5)
    hidden = (x @ head[0].weight.T + head[0].bias).clamp(min=0)
    torch.testing.assert_close(head(x), (hidden @ head[2].weight.T + head[2].bias).clamp(min=0))
    assert reconstruction_head(5)(x).shape == (71, 5)


@pytest.mark.parametrize(
    ("dim", "video", "audio", "reconstruction"), [(4096, 33.56, 6.30, 22.03), (6144, 62.93, 8.40, 30.42)]
)
def test_the_published_sizes_of_the_heads(dim: int, video: float, audio: float, reconstruction: float) -> None:
    """Millions of parameters of MCN's parts at both published widths of the joint space."""
    with torch.device("meta"):
        assert millions(build_projection("gated", 4096, dim)) == video
        assert millions(build_projection("gated_then_linear", 1024, dim)) == audio
        heads = [reconstruction_head(dim, 1024, out) for out in (4096, 1024, dim)]
        assert millions(*heads) == reconstruction
        assert millions(build_projection("gated", 2048, 4096)) == 25.17
        assert [millions(reconstruction_head(4096, 1024, out)) for out in (2048, 4096)] == [6.29, 8.39]


@pytest.mark.parametrize("normalise", [False, True])
def test_features_are_passed_on(normalise: bool) -> None:
    config = EncoderConfig(name="features", options={"normalise": normalise})
    encoder = build_encoder(config, kind="array", input_shape=(3,), seed=0)
    x = torch.tensor([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0]])
    expected = torch.tensor([[0.6, 0.0, 0.8], [0.0, 0.0, 0.0]]) if normalise else x
    torch.testing.assert_close(encoder(x).pooled, expected)
    assert list(encoder.parameters()) == []
    assert encoder(x.half()).pooled.dtype == torch.float16
    assert encoder(x.long()).pooled.dtype == torch.float32


def test_features_are_vectors() -> None:
    with pytest.raises(ValueError, match=r"\(dim,\)"):
        build_encoder(EncoderConfig(name="features"), kind="array", input_shape=(3, 5), seed=0)
    with pytest.raises(ValueError, match="takes array"):
        build_encoder(EncoderConfig(name="features"), kind="image", input_shape=(3, 5, 5), seed=0)
