"""The contrast of embeddings and centroids against its definition; gradients included."""

import math

import pytest
import torch
from torch.nn import functional as F

from awase.objectives import centroid_contrast, fused_mean

ROWS, DIM, CLUSTERS = 7, 5, 3
LABELS = torch.tensor([0, 2, 1, -1, 2, 0, 1])
AUDIO = torch.tensor([True, False, True, True, False, False, True])
TEXT = torch.tensor([True, True, False, True, False, True, True])
PRESENT = {"audio": AUDIO, "text": TEXT, "video": torch.tensor([True, True, True, True, False, True, True])}


def embeddings() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(ROWS, DIM, generator=generator, dtype=torch.float64).requires_grad_() for name in PRESENT}


def some_centroids() -> torch.Tensor:
    return torch.randn(CLUSTERS, DIM, generator=torch.Generator().manual_seed(1))


def slow_entropy(x, centroids, label, margin):
    logits = [(x * c).sum() - (margin if k == label else 0.0) for k, c in enumerate(centroids.double())]
    return -(logits[label].exp() / sum(z.exp() for z in logits)).log()


def slow_contrast(found, present, labels, margin, of):
    """The sum over the samples that count, and how many they are."""
    total, counted = torch.zeros((), dtype=torch.float64), 0
    for row in range(ROWS):
        here = [found[name][row] for name in found if present[name] is None or present[name][row]]
        if labels[row] < 0 or not here:
            continue
        xs = here if of == "modalities" else [sum(here) / len(here)]
        total = total + sum(slow_entropy(x, some_centroids(), int(labels[row]), margin) for x in xs) / len(xs)
        counted += 1
    return total, counted


@pytest.mark.parametrize("of", ["modalities", "fused"])
@pytest.mark.parametrize("present", [PRESENT, dict.fromkeys(PRESENT), PRESENT | {"video": None}])
def test_the_contrast_is_its_definition(of, present):
    found = embeddings()
    loss = centroid_contrast(found, some_centroids(), LABELS, present, margin=0.3, of=of)
    total, counted = slow_contrast(found, present, LABELS, 0.3, of)
    torch.testing.assert_close(loss.mean(), total / counted)
    gradients = torch.autograd.grad(loss.mean(), list(found.values()))
    for own, slow in zip(gradients, torch.autograd.grad(total / counted, list(found.values())), strict=True):
        torch.testing.assert_close(own, slow)
    assert loss[3].item() == 0.0
    assert (loss[4].item() == 0.0) == (present is PRESENT)


def test_all_three_modalities_are_a_third_each_as_in_the_original():
    found, labels = embeddings(), LABELS.clamp_min(0)
    loss = centroid_contrast(found, some_centroids(), labels, dict.fromkeys(found))
    margin = 0.001 * F.one_hot(labels, CLUSTERS)
    terms = [F.cross_entropy(x @ some_centroids().double().T - margin, labels) for x in found.values()]
    torch.testing.assert_close(loss.mean(), sum(terms) / 3)


@pytest.mark.parametrize("of", ["modalities", "fused"])
def test_zero_logits_of_256_clusters(of):
    # ln(1 + 255 e^0.001), the value of the original's objective at zero.
    zeros = {"audio": torch.zeros(3, 4), "video": torch.zeros(3, 4)}
    labels = torch.tensor([0, 255, 17])
    loss = centroid_contrast(zeros, torch.zeros(256, 4), labels, dict.fromkeys(zeros), of=of)
    assert float(loss.mean()) == pytest.approx(math.log(1 + 255 * math.exp(0.001)), rel=1e-6)
    assert float(loss.mean()) == pytest.approx(5.5462, abs=5e-5)


@pytest.mark.parametrize("of", ["modalities", "fused"])
def test_without_any_label_it_is_zero_with_a_gradient_of_zero(of):
    found = embeddings()
    centroids = some_centroids().requires_grad_()
    loss = centroid_contrast(found, centroids, torch.full((ROWS,), -1), PRESENT, of=of)
    assert torch.equal(loss, torch.zeros_like(loss))
    loss.sum().backward()
    assert all(torch.equal(x.grad, torch.zeros_like(x)) for x in found.values())
    assert centroids.grad is None


@pytest.mark.parametrize("of", ["modalities", "fused"])
def test_what_absent_rows_hold_does_not_matter(of):
    found = {name: value.detach().clone() for name, value in embeddings().items()}
    expected = centroid_contrast(found, some_centroids(), LABELS, PRESENT, of=of)
    for name, here in PRESENT.items():
        found[name][~here] = torch.nan
        found[name].requires_grad_()
    loss = centroid_contrast(found, some_centroids(), LABELS, PRESENT, of=of)
    assert torch.equal(loss, expected)
    loss.sum().backward()
    assert all(bool(x.grad.isfinite().all()) for x in found.values())


def test_the_fused_row_is_the_mean_of_what_a_sample_has():
    found = embeddings()
    fused = fused_mean(found, PRESENT | {"text": None})
    for row in range(ROWS):
        here = [found[n][row] for n in found if n == "text" or PRESENT[n][row]]
        torch.testing.assert_close(fused[row], sum(here) / len(here))
    assert torch.equal(fused_mean(found, PRESENT)[4], torch.zeros(DIM, dtype=torch.float64))
    assert fused_mean({"audio": torch.ones(2, 3).bfloat16()}, {"audio": None}).dtype == torch.float32
