"""Digests: equal for equal bits, different for anything else."""

import json

import pytest
import torch

from awase.digest import json_digest, tensors_digest

BASE = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(5)}


def test_the_order_and_the_memory_layout_do_not_matter():
    digest = tensors_digest(BASE)
    assert tensors_digest(dict(reversed(BASE.items()))) == digest
    assert tensors_digest({**BASE, "a": BASE["a"].T.contiguous().T}) == digest
    assert tensors_digest({**BASE, "a": BASE["a"].clone().requires_grad_()}) == digest


@pytest.mark.parametrize(
    "changed",
    [
        {"a": BASE["a"]},
        {**BASE, "c": torch.zeros(0)},
        {"a": BASE["a"], "other": BASE["b"]},
        {**BASE, "a": BASE["a"].reshape(3, 2)},
        {**BASE, "a": BASE["a"].double()},
        {**BASE, "a": BASE["a"].view(torch.int32)},
        {**BASE, "a": torch.nextafter(BASE["a"], BASE["a"] + 1)},
        {**BASE, "b": torch.tensor([5])},
        {**BASE, "a": -BASE["a"] * torch.tensor([[1.0, -1, -1]])},
    ],
)
def test_any_change_shows(changed):
    assert tensors_digest(changed) != tensors_digest(BASE)


def test_minus_zero_is_another_bit():
    assert tensors_digest({"a": torch.tensor(0.0)}) != tensors_digest({"a": torch.tensor(-0.0)})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.bool, torch.int64, torch.uint8])
def test_every_type_has_a_digest(dtype):
    one, two = torch.tensor([0, 1, 1]).to(dtype), torch.tensor([1, 1, 0]).to(dtype)
    assert tensors_digest({"a": one}) != tensors_digest({"a": two})


def test_digests_of_documents():
    assert json_digest({"a": 1, "b": [1.5, None]}) == json_digest({"b": [1.5, None], "a": 1})
    assert json_digest({"a": 1}) != json_digest({"a": 1.0000000000000002})
    assert json_digest({"a": ["b", "c"]}) != json_digest({"a": ["bc"]})
    assert json_digest({"a": 0.1}) == json_digest(json.loads(json.dumps({"a": 0.1})))
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_digest({"a": float("nan")})
