"""Contrastive losses against their definitions, one pair at a time; gradients included."""

import math

import pytest
import torch
from torch.nn import functional as F

from awase.objectives import CONTRASTIVE, info_nce, max_margin, mil_nce, mms, normalised_softmax, pair_losses, sigmoid

ROWS, DIM, CANDIDATES = 7, 5, 3
HERE = torch.tensor([True, True, False, True, True, False, True])
GROUP = torch.tensor([4, 4, 9, 2, 4, 2, 2])


def embeddings(seed: int = 0, rows: int = ROWS, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, *(shape or (DIM,)), generator=generator, dtype=torch.float64).requires_grad_()


def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).sum() / (a.norm() * b.norm())


def two_directions(score, rows):
    """-log softmax of the row and of the column, for each row, of a score (i, j)."""
    losses = []
    for i in range(rows):
        row = -(score(i, i).exp() / sum(score(i, j).exp() for j in range(rows))).log()
        column = -(score(i, i).exp() / sum(score(j, i).exp() for j in range(rows))).log()
        losses.append(row + column)
    return torch.stack(losses)


def slow_mms(x, y):
    return two_directions(lambda i, j: (x[i] * y[j]).sum() - (0.001 if i == j else 0.0), len(x))


def slow_normalised_softmax(x, y):
    return two_directions(lambda i, j: cosine(x[i], y[j]) / 0.05, len(x))


def slow_info_nce(x, y):
    return two_directions(lambda i, j: cosine(x[i], y[j]) / 0.07, len(x)) / 2


def slow_sigmoid(x, y):
    losses = []
    for i in range(len(x)):
        signed = [(1 if i == j else -1) * (10 * cosine(x[i], y[j]) - 10) for j in range(len(x))]
        losses.append(-sum((1 / (1 + (-value).exp())).log() for value in signed))
    return torch.stack(losses)


def slow_max_margin(x, y, group=None, share=0.5):
    losses, rows = [], len(x)
    for i in range(rows):
        total = x.new_zeros(())
        for j in range(rows):
            weight = 1.0
            if group is not None:
                members = sum(int(group[k] == group[i]) for k in range(rows))
                inside = bool(group[i] == group[j])
                if members < rows:
                    weight = share * rows / members if inside else (1 - share) * rows / (rows - members)
            for score in (cosine(x[i], y[j]), cosine(x[j], y[i])):
                violation = 0.1 + score - cosine(x[i], y[i])
                total = total + (weight * violation if violation > 0 else 0.0)
        losses.append(total / rows)
    return torch.stack(losses)


def slow_transport(x, y):
    """-log(n P_ii), the columns' factors being constants."""
    scores, rows = torch.stack([torch.stack([cosine(a, b) / 0.07 for b in y]) for a in x]), len(x)
    plan = scores.detach().exp()
    for _ in range(50):
        plan = plan / (rows * plan.sum(dim=0))
        plan = plan / (rows * plan.sum(dim=1, keepdim=True))
    factors = plan[0] / scores[0].detach().exp()
    weighted = scores.exp() * factors
    return torch.stack([-(weighted[i, i] / weighted[i].sum()).log() for i in range(rows)])


SLOW = {
    "info_nce": slow_info_nce,
    "max_margin": slow_max_margin,
    "mms": slow_mms,
    "normalised_softmax": slow_normalised_softmax,
    "sigmoid": slow_sigmoid,
    "transport": slow_transport,
}


def assert_is_definition(fast, slow, tensors, here=None):
    """The losses, and the gradients of their mean, are those of the slow form on the rows that are there."""
    found = fast(*tensors)
    rows = torch.arange(len(tensors[0])) if here is None else here.nonzero().squeeze(1)
    expected = slow(*(tensor[rows] for tensor in tensors))
    torch.testing.assert_close(found.mean(), expected.mean())
    torch.testing.assert_close(found[rows] * len(rows) / len(found), expected)
    if here is not None:
        assert torch.equal(found[~here], torch.zeros_like(found[~here]))
    ours = torch.autograd.grad(found.mean(), tensors)
    for own, theirs in zip(ours, torch.autograd.grad(expected.mean(), tensors), strict=True):
        torch.testing.assert_close(own, theirs)
    if here is not None:
        assert all(torch.equal(own[~here], torch.zeros_like(own[~here])) for own in ours)


def test_there_is_a_slow_form_of_every_loss():
    assert set(SLOW) == set(CONTRASTIVE)


@pytest.mark.parametrize("rows", [ROWS, 1])
@pytest.mark.parametrize("name", sorted(SLOW))
def test_a_loss_is_its_definition(name, rows):
    assert_is_definition(CONTRASTIVE[name], SLOW[name], [embeddings(0, rows), embeddings(1, rows)])


@pytest.mark.parametrize("name", sorted(SLOW))
def test_absent_rows_are_neither_queries_nor_negatives(name):
    x, y = embeddings(0), embeddings(1)
    assert_is_definition(lambda x, y: CONTRASTIVE[name](x, y, present=HERE), SLOW[name], [x, y], HERE)
    poisoned = x.detach().clone()
    poisoned[~HERE] = torch.nan
    poisoned.requires_grad_()
    loss = CONTRASTIVE[name](poisoned, y, present=HERE)
    assert torch.equal(loss, CONTRASTIVE[name](x, y, present=HERE))
    loss.sum().backward()
    assert bool(poisoned.grad.isfinite().all())
    everyone = torch.ones(ROWS, dtype=torch.bool)
    torch.testing.assert_close(CONTRASTIVE[name](x, y, present=everyone), CONTRASTIVE[name](x, y))


@pytest.mark.parametrize("name", sorted(SLOW))
def test_nobody_present_is_zeros_with_a_gradient_of_zero(name):
    x, y = embeddings(0), embeddings(1)
    loss = CONTRASTIVE[name](x, y, present=torch.zeros(ROWS, dtype=torch.bool))
    assert torch.equal(loss, torch.zeros_like(loss))
    loss.sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))
    assert torch.equal(y.grad, torch.zeros_like(y))


@pytest.mark.parametrize("name", sorted(SLOW))
def test_losses_are_float32_of_half_precision_and_finite_at_extremes(name):
    x, y = embeddings(0).detach(), embeddings(1).detach()
    assert CONTRASTIVE[name](x.bfloat16(), y.bfloat16()).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert CONTRASTIVE[name](x.float(), y.float()).dtype == torch.float32
    assert bool(CONTRASTIVE[name](1e3 * x.float(), -1e3 * y.float()).isfinite().all())
    collapsed = torch.zeros(ROWS, DIM, requires_grad=True)
    CONTRASTIVE[name](collapsed, collapsed).sum().backward()
    assert bool(collapsed.grad.isfinite().all())


@pytest.mark.parametrize(("batch", "golden"), [(128, 29.1181), (4096, 49.9126)])
def test_three_pairs_of_mms_without_any_similarity(batch, golden):
    # 3 . 2 ln(1 + (B - 1) e^0.001), the value of the original's objective at S = 0.
    zeros = torch.zeros(batch, 2)
    loss = 3 * float(mms(zeros, zeros).mean())
    assert loss == pytest.approx(6 * math.log(1 + (batch - 1) * math.exp(0.001)), rel=1e-6)
    assert loss == pytest.approx(golden, abs=5e-5)


def test_one_sample_costs_nothing_but_where_every_pair_is_judged_by_itself():
    x, y = embeddings(0, 1), embeddings(1, 1)
    for name in ("mms", "info_nce", "normalised_softmax", "transport"):
        assert float(CONTRASTIVE[name](x, y).detach()) == 0
    assert float(max_margin(x, y).detach()) == pytest.approx(0.2)  # the pair against itself, in both directions


@pytest.mark.parametrize("share", [0.5, 0.3])
@pytest.mark.parametrize("present", [None, HERE])
def test_the_own_group_weighs_its_share(present, share):
    x, y = embeddings(0), embeddings(1)
    rows = torch.arange(ROWS) if present is None else present.nonzero().squeeze(1)

    def fast(x, y):
        return max_margin(x, y, group=GROUP, hard_share=share, present=present)

    assert_is_definition(fast, lambda x, y: slow_max_margin(x, y, GROUP[rows], share), [x, y], present)


def test_groups_of_equal_size_weigh_as_in_the_released_code():
    videos, clips, easy = 3, 2, 0.7
    x, y = embeddings(0, videos * clips), embeddings(1, videos * clips)
    alpha = easy / ((videos - 1) * (1 - easy))
    same = torch.block_diag(*[torch.ones(clips, clips, dtype=torch.float64)] * videos)
    weights = (same + alpha * (1 - same)) * videos * (1 - easy)
    c = F.normalize(x, dim=1) @ F.normalize(y, dim=1).T
    violations = F.relu(0.1 + c - c.diagonal()[:, None]) + F.relu(0.1 + c - c.diagonal())
    found = max_margin(x, y, group=torch.arange(videos).repeat_interleave(clips), hard_share=1 - easy)
    torch.testing.assert_close(found.mean(), (weights * violations).mean())
    one = torch.zeros(videos * clips, dtype=torch.long)
    torch.testing.assert_close(max_margin(x, y, group=one), max_margin(x, y))


def slow_mil_nce(x, candidates, mask):
    losses, rows = [], len(x)
    for i in range(rows):

        def scores(a, b):
            return [(x[a] * candidates[b, m]).sum().exp() for m in range(candidates.shape[1]) if mask[b, m]]

        row = sum(sum(scores(i, j)) for j in range(rows))
        column = sum(sum(scores(j, i)) for j in range(rows))
        losses.append(-(sum(scores(i, i)) / (row + column)).log())
    return torch.stack(losses)


@pytest.mark.parametrize("rows", [ROWS, 1])
def test_mil_nce_is_its_definition(rows):
    everything = torch.ones(rows, CANDIDATES, dtype=torch.bool)
    tensors = [embeddings(0, rows), embeddings(1, rows, CANDIDATES, DIM)]
    assert_is_definition(mil_nce, lambda x, c: slow_mil_nce(x, c, everything), tensors)


def test_mil_nce_of_some_candidates_and_some_samples():
    mask = torch.rand(ROWS, CANDIDATES, generator=torch.Generator().manual_seed(3)) > 0.4
    mask[1], mask[0] = False, True  # sample 1 has no candidate
    here = HERE & mask.any(dim=1)
    x, candidates = embeddings(0), embeddings(1, ROWS, CANDIDATES, DIM)

    def fast(x, c):
        return mil_nce(x, c, candidate_mask=mask, present=HERE)

    assert_is_definition(fast, lambda x, c: slow_mil_nce(x, c, mask[here]), [x, candidates], here)
    assert not here[1]
    nobody = mil_nce(x, candidates, candidate_mask=torch.zeros_like(mask))
    assert torch.equal(nobody, torch.zeros_like(nobody))


def test_one_sample_and_one_candidate_cost_ln_2():
    loss = mil_nce(embeddings(0, 1), embeddings(1, 1, 1, DIM))
    assert float(loss.detach()) == pytest.approx(math.log(2))


def test_temperature_scale_and_bias_learn():
    x, y = embeddings(0).detach(), embeddings(1).detach()
    numbers = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.3, 4.0, -2.0)]
    assert torch.autograd.gradcheck(lambda t: info_nce(x, y, temperature=t), numbers[:1])
    assert torch.autograd.gradcheck(lambda s, b: sigmoid(x, y, scale=s, bias=b), numbers[1:])
    torch.testing.assert_close(
        normalised_softmax(x, y, temperature=0.3), 2 * info_nce(x, y, temperature=numbers[0]).detach()
    )
    with pytest.raises(ValueError, match=r"above 0; given: 0\.0"):
        info_nce(x, y, temperature=0.0)
    with pytest.raises(ValueError, match=r"share in \[0, 1\]; given: 2"):
        max_margin(x, y, hard_share=2.0)


def test_pairs_are_weighed_and_take_the_samples_that_have_both():
    names = ("audio", "text", "video")
    found = {name: embeddings(seed).detach() for seed, name in enumerate(names)}
    other = torch.tensor([True, False, True, True, True, True, True])
    present = {"audio": HERE, "text": None, "video": other}
    losses = pair_losses(found, present, mms, {"video+audio": 0.5, "text+video": 1.0})
    assert list(losses) == ["video+audio", "text+video"]
    both = mms(found["audio"], found["video"], present=HERE & other)
    torch.testing.assert_close(losses["video+audio"], 0.5 * both)
    torch.testing.assert_close(losses["text+video"], mms(found["text"], found["video"], present=other))
    for pair in ("audio", "audio+audio", "audio+flow", "audio+video+text"):
        with pytest.raises(ValueError, match="two of the modalities audio, text, video"):
            pair_losses(found, present, mms, {pair: 1.0})
