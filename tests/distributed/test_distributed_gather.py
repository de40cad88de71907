"""What needs the rows of all processes is on two the same as on one with the joined rows; gradients included."""

import pytest
import torch
from row_cases import ROW_CASES, ROWS, SPLITS
from safetensors.torch import load_file

from awase.distributed import ALONE, copy_from_first, first_row, gather_constant, gather_rows


@pytest.mark.parametrize("split", sorted(SPLITS))
@pytest.mark.parametrize("name", sorted(ROW_CASES))
def test_two_shares_give_what_the_joined_rows_give(results, name, split):
    alone = ROW_CASES[name](slice(0, ROWS), ALONE)
    found = [load_file(results / f"{name}-{split}-{rank}.safetensors") for rank in range(2)]
    assert set(found[0]) == set(found[1]) == set(alone)
    for key, expected in alone.items():
        joined = torch.cat([share[key] for share in found]) if key.startswith("rows|") else found[0][key]
        # Sums of eleven numbers and products of other shapes, in float32, of losses around 100.
        torch.testing.assert_close(joined, expected, rtol=2e-5, atol=2e-6, msg=lambda m, k=key: f"{k}: {m}")
        if key.startswith("all|"):
            assert torch.equal(found[0][key], found[1][key]), key


def test_gradients_of_the_cases_are_not_zero():
    for name, case in ROW_CASES.items():
        found = case(slice(0, ROWS), ALONE)
        if "all|x" in found and not name.endswith("-nobody"):
            assert bool((found["all|x"] != 0).any()), name


def test_alone_gathering_is_the_identity():
    rows = torch.randn(3, 2, requires_grad=True)
    assert gather_rows(rows, ALONE) is rows
    constant = gather_constant(rows, ALONE)
    assert torch.equal(constant, rows)
    assert not constant.requires_grad
    assert first_row(rows, ALONE) == 0
    before = rows.detach().clone()
    copy_from_first(rows, ALONE)
    assert torch.equal(rows, before)
