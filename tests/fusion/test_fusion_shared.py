"""The shared head against the linear layer and the entropies of one sample at a time."""

import pytest
import torch

from awase.fusion import build_fusion
from awase.fusion.shared import SharedHead, certainty

DIMS = {"audio": 5, "text": 5, "video": 5}
CLASSES, ROWS = 3, 11
EVERYONE = dict.fromkeys(DIMS)
ROW = torch.arange(ROWS)
SOME = {"audio": ROW % 2 == 0, "text": None, "video": ROW % 3 != 0}
NOBODY = dict.fromkeys(DIMS, ROW < 0)


def head(**options) -> SharedHead:
    torch.manual_seed(0)
    return build_fusion("shared_head", DIMS, CLASSES, options)


def numbers() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: 3 * torch.randn(ROWS, dim, generator=generator) for name, dim in DIMS.items()}


def slow(fusion: SharedHead, features, present, entropy: bool) -> torch.Tensor:
    rows = []
    for row in range(ROWS):
        logits, weights = [], []
        for name in DIMS:
            if present[name] is None or bool(present[name][row]):
                z = fusion.linear.weight @ features[name][row] + fusion.linear.bias
                p = z.softmax(dim=0)
                logits.append(z)
                weights.append(-(p * p.log()).sum() if entropy else torch.zeros(()))
        least = max(weights, default=torch.zeros(()))
        shares = [(least - one).exp() for one in weights]
        rows.append(
            sum((s * z for s, z in zip(shares, logits, strict=True)), torch.zeros(CLASSES)) / (sum(shares) or 1)
        )
    return torch.stack(rows)


@pytest.mark.parametrize("present", [EVERYONE, SOME, NOBODY], ids=["complete", "some absent", "nobody"])
@pytest.mark.parametrize(
    ("options", "training", "entropy"),
    [
        ({}, False, True),
        ({}, True, False),
        ({"combine": "mean"}, False, False),
        ({"combine": "entropy"}, False, True),
    ],
)
def test_the_decision_is_the_weighted_mean_over_what_each_sample_has(present, options, training, entropy):
    fusion, features = head(**options).train(training), numbers()
    for value in features.values():
        value.requires_grad_()
    fused, own = fusion(features, {}, present)
    expected = slow(fusion, features, present, entropy)
    torch.testing.assert_close(fused, expected)
    for name, value in features.items():
        torch.testing.assert_close(own[name], value @ fusion.linear.weight.T + fusion.linear.bias)
    found = torch.autograd.grad(fused.square().sum(), list(features.values()), allow_unused=True)
    if expected.requires_grad:
        wanted = torch.autograd.grad(expected.square().sum(), list(features.values()), allow_unused=True)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)  # two orders of the same sums
    else:
        assert all(torch.equal(one, torch.zeros_like(one)) for one in found)


def test_certainty_ends_at_one_and_at_one_over_the_number_of_classes():
    logits = torch.tensor([[[0.0, 0.0, 0.0], [500.0, -500.0, 0.0]]])
    torch.testing.assert_close(certainty(logits), torch.tensor([[[1 / 3], [1.0]]]))


def test_all_present_is_the_same_as_none_given_and_absent_rows_do_not_matter():
    fusion, features = head().eval(), numbers()
    everyone = {name: torch.ones(ROWS, dtype=torch.bool) for name in DIMS}
    assert torch.equal(fusion(features, {}, everyone)[0], fusion(features, {}, EVERYONE)[0])
    other = {
        name: value if (mask := SOME[name]) is None else torch.where(mask[:, None], value, 9.0)
        for name, value in features.items()
    }
    assert torch.equal(fusion(features, {}, SOME)[0], fusion(other, {}, SOME)[0])


def test_it_splits_and_needs_no_heads():
    assert (SharedHead.splits, SharedHead.needs_heads, SharedHead.mixes) == (True, False, False)
    assert sum(p.numel() for p in head().parameters()) == 5 * CLASSES + CLASSES


def test_several_labels_take_the_mean():
    fusion = build_fusion("shared_head", DIMS, CLASSES, {}, multi_label=True).eval()
    assert fusion.combine == "mean"
    features = numbers()
    torch.testing.assert_close(fusion(features, {}, EVERYONE)[0], slow(fusion, features, EVERYONE, False))


@pytest.mark.parametrize(
    ("dims", "options", "multi_label", "words"),
    [
        ({"audio": 5, "video": 7}, {}, False, ["same size", "audio 5, video 7"]),
        (DIMS, {"combine": "votes"}, False, ["entropy or mean", "'votes'"]),
        (DIMS, {"combine": "entropy"}, True, ["one label per sample", "combine='mean'"]),
        (DIMS, {"weights": 1}, False, ["no option weights", "combine"]),
    ],
)
def test_wrong_requests_are_sentences(dims, options, multi_label, words):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        build_fusion("shared_head", dims, CLASSES, options, multi_label)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
