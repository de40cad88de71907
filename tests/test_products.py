"""Products through oneDNN against the plain ones in double precision, with gradients, and when they are taken."""

import pytest
import torch
from torch import nn

from awase import products
from awase.products import Linear, product

ROWS, INNER, COLUMNS = 61, 37, 53
usable = pytest.mark.skipif(not products._has_operation(), reason="this torch has no oneDNN for float32")


@pytest.fixture
def through_onednn(monkeypatch):
    """Every float32 product, on any processor; counts them."""
    calls = []
    plain = products._multiply

    def counted(*arguments):
        calls.append(tuple(tensor.shape for tensor in arguments[:2]))
        return plain(*arguments)

    monkeypatch.setattr(products, "LEAST", 1)
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)
    monkeypatch.setattr(products, "_multiply", counted)
    return calls


def made(*shape: int, seed: int = 0, transposed: bool = False) -> torch.Tensor:
    values = torch.randn(*(shape[::-1] if transposed else shape), generator=torch.Generator().manual_seed(seed))
    return (values.T if transposed else values).detach().requires_grad_()


@usable
@pytest.mark.parametrize("rows_transposed", [False, True])
@pytest.mark.parametrize("columns_transposed", [False, True])
def test_value_and_gradients_are_those_of_the_plain_product(through_onednn, rows_transposed, columns_transposed):
    rows, columns = (
        made(ROWS, INNER, transposed=rows_transposed),
        made(COLUMNS, INNER, seed=1, transposed=columns_transposed),
    )
    weights = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(2))
    found = product(rows, columns)
    gradients = torch.autograd.grad((found * weights).sum(), [rows, columns])
    exact = rows.double() @ columns.double().T
    expected = torch.autograd.grad((exact * weights).sum(), [rows, columns])
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert len(through_onednn) == 3


@usable
def test_a_slice_is_made_dense_forward_and_backward(through_onednn, monkeypatch):
    given = []
    plain = torch.ops.mkldnn._linear_pointwise
    noted = lambda *a: given.extend(a[:2]) or plain(*a)  # noqa: E731
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", noted)
    rows, columns = made(ROWS, 2, INNER), made(COLUMNS, 3, INNER, seed=1)
    found = product(rows[:, 1], columns[:, 0])
    exact = rows[:, 1].double() @ columns[:, 0].double().T
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
    # The gradient of a part of joined columns is a slice, too.
    torch.cat([found, found], dim=1).square().sum().backward()
    assert len(given) == 6
    assert all(matrix.is_contiguous() or matrix.mT.is_contiguous() for matrix in given)


@usable
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_is_the_plain_layer_with_its_gradients(through_onednn, bias):
    torch.manual_seed(0)
    layer, plain = Linear(INNER, COLUMNS, bias=bias), nn.Linear(INNER, COLUMNS, bias=bias)
    plain.load_state_dict(layer.state_dict())
    rows = made(ROWS, INNER)
    for module in (layer, plain):
        module(rows).square().sum().backward()
    torch.testing.assert_close(layer(rows), plain(rows), rtol=1e-5, atol=1e-5)
    for one, other in zip(layer.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-3)
    assert through_onednn


@usable
def test_only_the_gradients_that_are_asked_for_are_made(through_onednn):
    rows, columns = made(ROWS, INNER).detach(), made(COLUMNS, INNER, seed=1)
    product(rows, columns).sum().backward()
    assert through_onednn == [((ROWS, INNER), (COLUMNS, INNER)), ((COLUMNS, ROWS), (INNER, ROWS))]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_multiplied_by_torch(through_onednn, dtype):
    rows, columns = made(3, INNER).to(dtype), made(5, INNER, seed=1).to(dtype)
    assert torch.equal(product(rows, columns), rows @ columns.T)
    assert not through_onednn


def test_autocast_keeps_its_say(through_onednn):
    layer = Linear(INNER, COLUMNS)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(made(ROWS, INNER)).dtype == torch.bfloat16
        assert product(made(ROWS, INNER), made(COLUMNS, INNER)).dtype == torch.bfloat16
    assert not through_onednn


def test_small_products_keep_every_bit():
    rows, columns = made(ROWS, INNER), made(COLUMNS, INNER, seed=1)
    assert torch.equal(product(rows, columns), rows @ columns.T)


def test_a_layer_takes_more_dimensions(through_onednn):
    assert Linear(INNER, COLUMNS)(torch.zeros(2, 3, INNER)).shape == (2, 3, COLUMNS)


@usable
def test_no_row_is_no_error(through_onednn):
    rows = made(0, INNER)
    product(rows, made(COLUMNS, INNER)).sum().backward()
    assert rows.grad.shape == (0, INNER)
