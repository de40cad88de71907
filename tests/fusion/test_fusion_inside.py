"""What holds for every fusion inside the encoders."""

import pytest
import torch
from token_samples import CLASSES, ROWS, make_batch, make_encoders
from torch import nn

from awase.fusion import FUSIONS, build_fusion, needs_heads
from awase.models import Classifier
from awase.types import Batch, map_inputs

FAMILIES = {"video": "vit", "text": "words"}
INSIDE = [name for name, kind in FUSIONS.items() if kind.mixes]
SOME = {"video": [1, 0, 1, 1, 0], "text": [1, 1, 0, 1, 1]}


def model_of(name: str) -> Classifier:
    torch.manual_seed(0)
    encoders = make_encoders(FAMILIES)
    dims = {key: encoder.dim for key, encoder in encoders.items()}
    options = {"zero_init": False} if name == "bottleneck" else {}
    fusion = build_fusion(name, dims, CLASSES, options, encoders=encoders)
    heads = {key: nn.Linear(dim, CLASSES) for key, dim in dims.items()} if needs_heads(name) else {}
    return Classifier(encoders, heads, fusion).float()


def batch_of(**present: list[int]) -> Batch:
    batch = make_batch(FAMILIES, **present)
    for name, value in batch.inputs.items():
        batch.inputs[name] = map_inputs(value, lambda t: t.float() if t.is_floating_point() else t)
    return batch


def test_these_are_inside():
    assert INSIDE == ["bottleneck", "mmbt", "prompts"]


@pytest.mark.parametrize("present", [{}, SOME], ids=["complete", "some"])
@pytest.mark.parametrize("name", INSIDE)
def test_half_precision_changes_little_and_gives_float32(name, present):
    model, batch = model_of(name), batch_of(**present)
    whole = model(batch).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(batch).logits
    assert half.dtype == torch.float32
    # Eight bits of mantissa through three blocks.
    torch.testing.assert_close(half, whole, rtol=0.1, atol=0.05)
    half.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", INSIDE)
def test_a_smaller_batch_says_the_same(name):
    """No sample depends on the others, whatever they lack."""
    model, batch = model_of(name).double(), make_batch(FAMILIES, **SOME)
    whole = model.encode(batch)
    for row in range(ROWS):
        one = Batch(
            batch.ids[row : row + 1],
            batch.index[row : row + 1],
            {key: map_inputs(value, lambda t, row=row: t[row : row + 1]) for key, value in batch.inputs.items()},
            {key: value[row : row + 1] for key, value in batch.present.items()},
            frozenset(key for key, value in batch.present.items() if value[row]),
        )
        for key, value in model.encode(one).items():
            torch.testing.assert_close(value.pooled[0], whole[key].pooled[row], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", INSIDE)
def test_rows_that_lack_a_modality_are_zero_in_it(name):
    model, batch = model_of(name), batch_of(**SOME)
    for key, value in model.encode(batch).items():
        for row in range(ROWS):
            assert bool(value.pooled[row].any()) is bool(batch.present[key][row])
