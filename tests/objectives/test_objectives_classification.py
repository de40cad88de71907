"""Losses against their definitions in numpy, one sample at a time."""

import math

import numpy as np
import pytest
import torch

from awase.objectives import binary_cross_entropy, cross_entropy, modality_losses

ROWS, CLASSES = 7, 5
CLASS_WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 3.0, 0.25])


def some_logits(seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(ROWS, CLASSES, generator=torch.Generator().manual_seed(seed))


def slow_cross_entropy(logits, distributions, weights, smoothing):
    """-sum_k w_k q_k log softmax(z)_k with the smoothed q."""
    losses = []
    for z, q in zip(logits.double().numpy(), distributions, strict=True):
        log_p = z - z.max() - math.log(np.exp(z - z.max()).sum())
        smooth = (1 - smoothing) * q + smoothing / CLASSES
        losses.append(-(weights * smooth * log_p).sum())
    return torch.tensor(np.array(losses)).float()


@pytest.mark.parametrize("weights", [None, CLASS_WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["classes", "distributions"])
def test_cross_entropy_is_its_definition(weights, smoothing, kind):
    classes = torch.tensor([0, 1, 2, 3, 4, 2, 0])
    soft = torch.rand(ROWS, CLASSES, generator=torch.Generator().manual_seed(1)).softmax(dim=1)
    targets = classes if kind == "classes" else soft
    distributions = np.eye(CLASSES)[classes] if kind == "classes" else soft.double().numpy()
    w = np.ones(CLASSES) if weights is None else weights.double().numpy()
    logits = some_logits()
    loss = cross_entropy(logits, targets, class_weights=weights, label_smoothing=smoothing)
    torch.testing.assert_close(loss, slow_cross_entropy(logits, distributions, w, smoothing))


@pytest.mark.parametrize("weights", [None, CLASS_WEIGHTS])
def test_binary_cross_entropy_is_its_definition(weights):
    targets = (torch.rand(ROWS, CLASSES, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    targets[3] = 0.0  # a sample without any label
    logits = some_logits()
    loss = binary_cross_entropy(logits, targets, class_weights=weights)
    w = np.ones(CLASSES) if weights is None else weights.double().numpy()
    for row in range(ROWS):
        s = 1 / (1 + np.exp(-logits[row].double().numpy()))
        y = targets[row].numpy()
        slow = -(w * y * np.log(s) + (1 - y) * np.log(1 - s)).mean()
        assert float(loss[row]) == pytest.approx(slow, rel=1e-5)  # float32 against float64


def test_losses_are_computed_in_float32():
    half = some_logits().bfloat16()
    assert cross_entropy(half, torch.zeros(ROWS, dtype=torch.long)).dtype == torch.float32
    assert binary_cross_entropy(half, torch.zeros(ROWS, CLASSES)).dtype == torch.float32


def test_losses_of_confident_mistakes_are_finite():
    extreme = torch.full((ROWS, CLASSES), -1e4)
    extreme[:, 0] = 1e4
    assert torch.equal(cross_entropy(extreme, torch.ones(ROWS, dtype=torch.long)), torch.full((ROWS,), 2e4))
    assert bool(binary_cross_entropy(extreme, torch.ones(ROWS, CLASSES)).isfinite().all())


def modality_logits() -> dict[str, torch.Tensor]:
    return {"audio": some_logits(3), "video": some_logits(4)}


def test_every_modality_has_the_loss_of_its_own_logits_where_it_is_present():
    own = modality_logits()
    targets = torch.arange(ROWS) % CLASSES
    audio = torch.tensor([True, False, True, True, False, False, True])
    losses = modality_losses(own, {"audio": audio, "video": None}, targets, cross_entropy)
    for row in range(ROWS):
        picked = slice(row, row + 1)
        torch.testing.assert_close(losses["video"][picked], cross_entropy(own["video"][picked], targets[picked]))
        heard = cross_entropy(own["audio"][picked], targets[picked]) if audio[row] else torch.zeros(1)
        torch.testing.assert_close(losses["audio"][picked], heard)


def test_no_gradient_reaches_the_logits_of_absent_modalities():
    own = {name: value.requires_grad_() for name, value in modality_logits().items()}
    audio = torch.arange(ROWS) % 2 == 0
    targets = torch.arange(ROWS) % CLASSES
    losses = modality_losses(own, {"audio": audio, "video": None}, targets, cross_entropy)
    sum(loss.sum() for loss in losses.values()).backward()
    assert torch.equal(own["audio"].grad[~audio], torch.zeros(int((~audio).sum()), CLASSES))
    assert bool((own["audio"].grad[audio].abs().sum(dim=1) > 0).all())
    assert bool((own["video"].grad.abs().sum(dim=1) > 0).all())
