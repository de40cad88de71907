"""The fused function against the formula written out, in every combination of types, shapes and gradients needed."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from awase.adapters.frozen_linear import frozen_linear

INPUTS, OUTPUTS, RANK = 13, 7, 3
SCALE = 0.75


def _tensors(*batch: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "x": (*batch, INPUTS),
        "w": (OUTPUTS, INPUTS),
        "bias": (OUTPUTS,),
        "a": (RANK, INPUTS),
        "b": (OUTPUTS, RANK),
    }
    return {name: torch.randn(shape, generator=generator, dtype=dtype) for name, shape in shapes.items()}


def _definition(x: Tensor, w: Tensor, bias: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
    return F.linear(x, w, bias) + SCALE * (x @ a.T) @ b.T


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("batch", [(5,), (2, 5), (2, 3, 5), (1,)])
def test_gradients_pass_gradcheck(batch: tuple[int, ...], with_bias: bool) -> None:
    t = _tensors(*batch)
    bias = t["bias"] if with_bias else None
    x, a, b = (t[name].requires_grad_() for name in ("x", "a", "b"))
    assert torch.autograd.gradcheck(lambda x, a, b: frozen_linear(x, t["w"], bias, a, b, SCALE), (x, a, b))
    torch.testing.assert_close(frozen_linear(x, t["w"], bias, a, b, SCALE), _definition(x, t["w"], bias, a, b))


@pytest.mark.parametrize("needed", [("x",), ("a",), ("b",), ("x", "b"), ("a", "b"), ("x", "a", "b")])
def test_only_the_gradients_that_are_needed_are_given(needed: tuple[str, ...]) -> None:
    t = _tensors(2, 5)
    for name in needed:
        t[name].requires_grad_()
    frozen_linear(t["x"], t["w"], t["bias"], t["a"], t["b"], SCALE).square().sum().backward()
    ours = {name: t[name].grad for name in t}
    for name in needed:
        t[name].grad = None
    _definition(t["x"], t["w"], t["bias"], t["a"], t["b"]).square().sum().backward()
    assert {name for name, gradient in ours.items() if gradient is not None} == set(needed)
    for name in needed:
        torch.testing.assert_close(ours[name], t[name].grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 13), (5, 13), (257, 13), (3, 197, 384), (2, 3, 5, 13)])
def test_zero_b_gives_the_base_output_bit_for_bit(shape: tuple[int, ...], with_bias: bool, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(shape, generator=generator).to(dtype)
    w = torch.randn(1537 if shape[-1] == 384 else 7, shape[-1], generator=generator).to(dtype)
    bias = torch.randn(w.shape[0], generator=generator).to(dtype) if with_bias else None
    a, b = torch.randn(RANK, shape[-1], generator=generator), torch.zeros(w.shape[0], RANK)
    assert torch.equal(frozen_linear(x, w, bias, a, b, SCALE), F.linear(x, w, bias))


def test_zero_b_gives_the_base_output_for_inputs_that_are_not_contiguous() -> None:
    t = _tensors(11, 5, dtype=torch.float32)
    x = t["x"].transpose(0, 1)
    zero = torch.zeros(OUTPUTS, RANK)
    assert not x.is_contiguous()
    assert torch.equal(frozen_linear(x, t["w"], t["bias"], t["a"], zero, SCALE), F.linear(x, t["w"], t["bias"]))
    torch.testing.assert_close(
        frozen_linear(x, t["w"], t["bias"], t["a"], t["b"], SCALE), _definition(x, t["w"], t["bias"], t["a"], t["b"])
    )


def test_gradients_that_are_not_contiguous_are_read_rightly() -> None:
    t = _tensors(2, 5)
    x = t["x"].requires_grad_()
    upstream = torch.randn(OUTPUTS, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4)).permute(
        2, 1, 0
    )
    (ours,) = torch.autograd.grad(frozen_linear(x, t["w"], t["bias"], t["a"], t["b"], SCALE), x, upstream)
    (expected,) = torch.autograd.grad(_definition(x, t["w"], t["bias"], t["a"], t["b"]), x, upstream)
    torch.testing.assert_close(ours, expected)


def test_a_vector_and_no_rows_are_inputs_too() -> None:
    t = _tensors()
    torch.testing.assert_close(
        frozen_linear(t["x"], t["w"], t["bias"], t["a"], t["b"], SCALE),
        _definition(t["x"], t["w"], t["bias"], t["a"], t["b"]),
    )
    empty = torch.zeros(0, INPUTS, dtype=torch.float64, requires_grad=True)
    a = t["a"].requires_grad_()
    output = frozen_linear(empty, t["w"], t["bias"], a, t["b"], SCALE)
    output.sum().backward()
    assert output.shape == (0, OUTPUTS)
    assert a.grad is not None
    assert torch.equal(a.grad, torch.zeros_like(a))


def test_autocast_computes_in_its_type_and_keeps_gradients_in_float32() -> None:
    t = _tensors(2, 5, dtype=torch.float32)
    x, a, b = (t[name].requires_grad_() for name in ("x", "a", "b"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = frozen_linear(x, t["w"], t["bias"], a, b, SCALE)
        base = F.linear(x, t["w"], t["bias"])
        unchanged = frozen_linear(x, t["w"], t["bias"], a, torch.zeros_like(b), SCALE)
    assert output.dtype == torch.bfloat16
    assert torch.equal(unchanged, base)
    ours = torch.autograd.grad(output.float().square().sum(), (x, a, b))
    expected = torch.autograd.grad(_definition(x, t["w"], t["bias"], a, b).square().sum(), (x, a, b))
    for gradient, exact in zip(ours, expected, strict=True):
        assert gradient.dtype == torch.float32
        # bfloat16 keeps 8 bits; the sums of squares amplify a few roundings of the output.
        torch.testing.assert_close(gradient, exact, rtol=0.05, atol=0.05 * float(exact.abs().max()))


def test_backward_inside_autocast_of_a_forward_outside_it_stays_in_float32() -> None:
    t = _tensors(2, 5, dtype=torch.float32)
    x = t["x"].requires_grad_()
    loss = frozen_linear(x, t["w"], t["bias"], t["a"], t["b"], SCALE).square().sum()
    (expected,) = torch.autograd.grad(loss, x, retain_graph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (actual,) = torch.autograd.grad(loss, x)
    assert torch.equal(actual, expected)


def test_a_layer_kept_in_bfloat16_takes_float32_adapters() -> None:
    t = _tensors(2, 5, dtype=torch.float32)
    a, b = t["a"].requires_grad_(), t["b"].requires_grad_()
    half = {name: t[name].bfloat16() for name in ("x", "w", "bias")}
    output = frozen_linear(half["x"], half["w"], half["bias"], a, b, SCALE)
    output.float().sum().backward()
    assert output.dtype == torch.bfloat16
    assert a.grad is not None
    assert a.grad.dtype == torch.float32
    expected = _definition(t["x"], t["w"], t["bias"], a, b)
    torch.testing.assert_close(output.float(), expected, rtol=0.05, atol=0.1)  # three roundings to 8 bits


def test_activation_checkpointing_gives_the_same_gradients() -> None:
    t = _tensors(2, 5)
    x, a, b = (t[name].requires_grad_() for name in ("x", "a", "b"))

    def layer(x: Tensor) -> Tensor:
        return frozen_linear(x, t["w"], t["bias"], a, b, SCALE)

    expected = torch.autograd.grad(layer(x).square().sum(), (x, a, b))
    output = torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False)
    assert all(map(torch.equal, torch.autograd.grad(output.square().sum(), (x, a, b)), expected))
