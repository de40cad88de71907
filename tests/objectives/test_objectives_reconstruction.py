"""The squared error of reconstructions against its definition; gradients included."""

import pytest
import torch

from awase.distributed import ALONE
from awase.objectives import over_present, reconstruction

ROWS, DIMS = 5, {"audio": 3, "video": 7}
AUDIO = torch.tensor([True, False, True, True, False])


def features(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(ROWS, dim, generator=generator).requires_grad_() for name, dim in DIMS.items()}


def test_each_modality_counts_where_it_is_and_its_mean_is_over_those_present():
    outputs, targets = features(0), features(1)
    loss = reconstruction(outputs, targets, {"audio": AUDIO, "video": None})
    for row in range(ROWS):
        slow = sum((outputs["video"][row] - targets["video"][row]).square()).item() / 7
        if AUDIO[row]:
            slow += 5 / 3 * sum((outputs["audio"][row] - targets["audio"][row]).square()).item() / 3
        assert float(loss[row].detach()) == pytest.approx(slow, rel=1e-5)
    expected = torch.nn.functional.mse_loss(outputs["video"], targets["video"])
    expected = expected + torch.nn.functional.mse_loss(outputs["audio"][AUDIO], targets["audio"][AUDIO])
    torch.testing.assert_close(loss.mean(), expected)
    loss.mean().backward()
    torch.testing.assert_close(outputs["video"].grad, 2 / 35 * (outputs["video"] - targets["video"]).detach())
    gradient = 2 / 9 * (outputs["audio"] - targets["audio"]).detach() * AUDIO[:, None]
    torch.testing.assert_close(outputs["audio"].grad, gradient)


@pytest.mark.parametrize("detach", [True, False])
def test_targets_learn_only_when_asked(detach):
    outputs, targets = features(0), features(1)
    reconstruction(outputs, targets, dict.fromkeys(DIMS), detach=detach).sum().backward()
    for name in DIMS:
        if detach:
            assert targets[name].grad is None
        else:
            torch.testing.assert_close(targets[name].grad, -outputs[name].grad)


def test_what_absent_rows_hold_does_not_matter():
    outputs, targets = ({k: v.detach().clone() for k, v in features(s).items()} for s in (0, 1))
    present = {"audio": AUDIO, "video": AUDIO}
    expected = reconstruction(outputs, targets, present)
    for values in (outputs, targets):
        for value in values.values():
            value[~AUDIO] = torch.nan
    assert torch.equal(reconstruction(outputs, targets, present), expected)
    assert torch.equal(expected[~AUDIO], torch.zeros(2))
    nobody = dict.fromkeys(DIMS, torch.zeros(ROWS, dtype=torch.bool))
    assert torch.equal(reconstruction(outputs, targets, nobody), torch.zeros(ROWS))


def test_a_target_of_another_size_or_none_is_refused():
    outputs, targets = features(0), features(1)
    with pytest.raises(ValueError, match=r"'audio' has the shape \(5, 3\) .* one of the shape \(5, 2\)"):
        reconstruction(outputs, targets | {"audio": torch.zeros(ROWS, 2)}, dict.fromkeys(DIMS))
    with pytest.raises(ValueError, match="given: none"):
        reconstruction(outputs, {"video": targets["video"]}, dict.fromkeys(DIMS))


def test_the_mean_of_all_is_the_mean_of_those_present():
    losses = torch.tensor([1.0, 7.0, 3.0, 5.0, torch.inf])
    found = over_present(losses, AUDIO, ALONE)
    assert float(found.mean()) == pytest.approx(3.0)
    assert found[~AUDIO].tolist() == [0.0, 0.0]
    assert over_present(losses, None, ALONE) is losses


def test_nobody_present_is_zeros_with_a_gradient_of_zero():
    losses = torch.tensor([1.0, 7.0]).requires_grad_()
    found = over_present(losses, torch.zeros(2, dtype=torch.bool), ALONE)
    assert found.tolist() == [0.0, 0.0]
    found.sum().backward()
    assert losses.grad.tolist() == [0.0, 0.0]
