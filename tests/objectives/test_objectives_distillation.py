"""The distance of features from their teachers', against its definition; gradient included."""

import pytest
import torch

from awase.objectives import feature_distance, logit_distance

ROWS, DIMS = 5, {"audio": 3, "video": 7}


def features(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(ROWS, dim, generator=generator, requires_grad=True) for name, dim in DIMS.items()}


def test_each_sample_has_the_mean_squared_difference_of_the_modalities_it_has():
    own, teachers = features(0), features(1)
    audio = torch.tensor([True, False, True, True, False])
    found = feature_distance(own, teachers, {"audio": audio, "video": None})
    for row in range(ROWS):
        here = ["video", "audio"] if audio[row] else ["video"]
        slow = 0.0
        for name in here:
            pairs = zip(own[name][row].tolist(), teachers[name][row].tolist(), strict=True)
            slow += sum((a - t) ** 2 for a, t in pairs) / DIMS[name]
        assert float(found[row].detach()) == pytest.approx(slow, rel=1e-5)
    found.sum().backward()
    torch.testing.assert_close(own["video"].grad, 2 / 7 * (own["video"] - teachers["video"]).detach())
    torch.testing.assert_close(
        own["audio"].grad, (2 / 3 * (own["audio"] - teachers["audio"]) * audio[:, None]).detach()
    )
    assert teachers["video"].grad is None


def test_where_every_sample_has_everything_the_mean_is_the_sum_of_the_mean_squared_errors():
    own, teachers = features(0), features(1)
    mean = feature_distance(own, teachers, dict.fromkeys(DIMS)).mean()
    expected = sum(torch.nn.functional.mse_loss(own[name], teachers[name]) for name in DIMS)
    torch.testing.assert_close(mean, expected)


def test_one_teacher_alone_and_features_of_another_size():
    own, teachers = features(0), features(1)
    alone = feature_distance(own, {"audio": teachers["audio"]}, dict.fromkeys(DIMS))
    torch.testing.assert_close(alone, (own["audio"] - teachers["audio"]).square().mean(dim=1))
    with pytest.raises(ValueError, match=r"'video' have the shape \(5, 7\) and its teacher's \(5, 2\)"):
        feature_distance(own, {"video": torch.zeros(ROWS, 2)}, dict.fromkeys(DIMS))


def test_the_cosine_measure_is_one_less_the_cosine_of_what_is_there():
    own, teachers = features(0), features(1)
    audio = torch.tensor([True, False, True, True, False])
    found = feature_distance(own, teachers, {"audio": audio, "video": None}, measure="cosine")
    slow = []
    for row in range(ROWS):
        here = ["video", "audio"] if audio[row] else ["video"]
        pairs = [(own[name][row], teachers[name][row].detach()) for name in here]
        slow.append(sum(1 - (a @ t) / (a.norm() * t.norm()) for a, t in pairs))
    slow = torch.stack(slow)
    torch.testing.assert_close(found, slow)
    ours = torch.autograd.grad(found.sum(), list(own.values()))
    for gradient, expected in zip(ours, torch.autograd.grad(slow.sum(), list(own.values())), strict=True):
        torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(feature_distance(own, own, dict.fromkeys(DIMS), measure="cosine"), torch.zeros(ROWS))


@pytest.mark.parametrize("measure", ["squared", "cosine"])
def test_what_absent_rows_hold_does_not_matter(measure):
    own, teachers = features(0), features(1)
    audio = torch.tensor([True, False, True, True, False])
    present = {"audio": audio, "video": None}
    expected = feature_distance(own, teachers, present, measure=measure)
    poisoned = torch.where(audio[:, None], own["audio"].detach(), torch.nan).requires_grad_()
    gone = torch.where(audio[:, None], teachers["audio"].detach(), torch.nan)
    found = feature_distance(own | {"audio": poisoned}, teachers | {"audio": gone}, present, measure=measure)
    assert torch.equal(found, expected)
    found.sum().backward()
    assert torch.equal(poisoned.grad[~audio], torch.zeros(2, 3))


def test_logit_distance_is_the_divergence_over_the_known_classes():
    generator = torch.Generator().manual_seed(3)
    own = torch.randn(5, 7, generator=generator, requires_grad=True)
    old = torch.randn(5, 7, generator=generator, requires_grad=True)
    known = torch.tensor([0, 2, 6])
    found = logit_distance(own, old, temperature=3.0, classes=known)
    for row in range(5):
        p, q = (torch.softmax(values[row, known] / 3.0, dim=0) for values in (old, own))
        torch.testing.assert_close(found[row], 9.0 * (p * (p / q).log()).sum())
    found.sum().backward()
    assert old.grad is None
    assert own.grad is not None
    assert own.grad[:, [1, 3, 4, 5]].abs().max() == 0
    torch.testing.assert_close(logit_distance(old, old), torch.zeros(5))
    with pytest.raises(ValueError, match="above 0"):
        logit_distance(own, old, temperature=0.0)
