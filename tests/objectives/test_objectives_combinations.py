"""The loss of a combination against a loop over its samples, gradient included."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from awase.objectives import combination_loss, info_nce, span_loss, triangle_area, volume

TEMPERATURE = 0.2
NAMES = ("audio", "text", "video")


def embeddings_of(size: int = 7, dim: int = 5) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(size, dim, generator=generator, dtype=torch.float64).requires_grad_() for name in NAMES}


def loss(x: Tensor, y: Tensor, **options: object) -> Tensor:
    return info_nce(x, y, temperature=TEMPERATURE, **options)


def slow_one_against(queries: list[Tensor], items: list[Tensor]) -> dict[int, Tensor]:
    """-1/2 (log softmax of the own item among the items, and of the own query among the queries)."""
    scores = torch.stack([torch.stack([F.normalize(q, dim=0) @ F.normalize(i, dim=0) for i in items]) for q in queries])
    scores = scores / TEMPERATURE
    rows, columns = torch.log_softmax(scores, 1), torch.log_softmax(scores, 0)
    return {row: -(rows[row, row] + columns[row, row]) / 2 for row in range(len(queries))}


def slow(embeddings: dict[str, Tensor], has: dict[str, list[bool]]) -> Tensor:
    size, names = len(next(iter(has.values()))), sorted(embeddings)
    total = [torch.zeros((), dtype=torch.float64) for _ in range(size)]
    for name in names:
        fused = []
        for row in range(size):
            others = [F.normalize(embeddings[o][row], dim=0) for o in names if o != name and has[o][row]]
            fused.append(sum(others) / len(others) if others else None)
        rows = [row for row in range(size) if has[name][row] and fused[row] is not None]
        own = slow_one_against([embeddings[name][row] for row in rows], [fused[row] for row in rows])
        for place, row in enumerate(rows):
            total[row] = total[row] + own[place] / len(names) * size / len(rows)  # its mean is that of those present
    return torch.stack(total)


PRESENT = {
    "all": {name: [True] * 7 for name in NAMES},
    "some": {
        "audio": [True, False, True, True, False, True, True],
        "text": [True, False, False, True, False, True, False],
        "video": [True, True, False, True, True, True, True],
    },
}


@pytest.mark.parametrize("which", PRESENT)
def test_three_are_each_drawn_to_the_mean_of_the_others(which: str) -> None:
    embeddings, has = embeddings_of(), PRESENT[which]
    present = {name: None if all(rows) else torch.tensor(rows) for name, rows in has.items()}
    found = combination_loss(embeddings, present, loss)
    expected = slow(embeddings, has)
    weight = torch.linspace(0.5, 2, 7, dtype=torch.float64)
    ours = torch.autograd.grad((found * weight).sum(), list(embeddings.values()))
    theirs = torch.autograd.grad((expected * weight).sum(), list(embeddings.values()))
    torch.testing.assert_close(found, expected)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_what_is_absent_contributes_nothing_whatever_it_holds() -> None:
    embeddings, has = embeddings_of(), PRESENT["some"]
    present = {name: torch.tensor(rows) for name, rows in has.items()}
    expected = combination_loss(embeddings, present, loss)
    broken = {
        name: value.detach().masked_fill(~present[name][:, None], float("nan")).requires_grad_()
        for name, value in embeddings.items()
    }
    found = combination_loss(broken, present, loss)
    assert torch.equal(found, expected)
    found.sum().backward()
    for name, value in broken.items():
        assert torch.isfinite(value.grad).all()
        assert not value.grad[~present[name]].any()


def test_others_that_cancel_each_other_have_no_direction_and_no_gradient() -> None:
    audio, text, _ = (value.detach().requires_grad_() for value in embeddings_of().values())
    opposite = (-text).detach()
    found = combination_loss({"audio": audio, "text": text, "video": opposite}, dict.fromkeys(NAMES), loss)
    unit = F.normalize(audio, dim=1)
    rest = loss(text, unit - F.normalize(text, dim=1)) + loss(opposite, unit + F.normalize(text, dim=1))
    torch.testing.assert_close(found, (math.log(7) + rest) / 3)  # of audio: cosines of 0, all alike
    found.sum().backward()
    assert float(text.grad.abs().max()) < 1e3  # the gradient of a direction without length is that of 1e-12


def test_two_are_the_loss_of_the_pair_and_one_is_refused() -> None:
    embeddings = embeddings_of()
    pair = {name: embeddings[name] for name in ("video", "audio")}
    nobody = dict.fromkeys(NAMES)
    assert torch.equal(combination_loss(pair, nobody, loss), loss(embeddings["audio"], embeddings["video"]))
    with pytest.raises(ValueError, match="two or more modalities; given: audio"):
        combination_loss({"audio": embeddings["audio"]}, nobody, loss)


@pytest.mark.parametrize("span", [triangle_area, volume])
def test_each_modality_in_turn_is_the_anchor_of_what_is_spanned(span) -> None:
    embeddings, has = embeddings_of(), PRESENT["some"]
    audio, text, video = (embeddings[name] for name in NAMES)
    whole = torch.tensor([all(has[name][row] for name in NAMES) for row in range(7)])
    present = {name: None if all(rows) else torch.tensor(rows) for name, rows in has.items()}
    found = span_loss(embeddings, present, span)
    terms = [span(*each, present=whole) for each in ((audio, text, video), (text, video, audio), (video, text, audio))]
    torch.testing.assert_close(found, sum(terms) / 3)
    assert found[whole].all()
    assert not found[~whole].any()
