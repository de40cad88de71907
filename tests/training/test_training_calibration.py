"""Routes chosen on validation: what is kept, what is chosen, on which half, and by which group."""

import numpy as np
import pytest
import torch

from awase.evaluation import Embedded
from awase.evaluation.routes import Scale
from awase.training.calibration import LEAST, Calibrated, Validation, calibrate, calibrated_tasks, halves

NAMES, KEYS = ("a", "b", "t"), ("a+t", "b+t")
ROWS, DIM = 67, 7


def noisy(seed: int, noise: float, names: tuple[str, ...] = NAMES) -> dict[str, torch.Tensor]:
    """Embeddings about one hidden vector per row; each modality's noise is its own."""
    hidden = torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(seed)
    return {name: hidden + noise * torch.randn(ROWS, DIM, generator=generator) for name in names}


def validation(shared: float, adapted: float, seed: int = 0, groups: dict[int, str] | None = None) -> Validation:
    """Validation with this much noise in the shared space and under every key."""
    present = {name: torch.ones(ROWS, dtype=torch.bool) for name in NAMES}
    keyed = {key: noisy(11 + n, adapted, tuple(key.split("+"))) for n, key in enumerate(KEYS)}
    ids = tuple(f"r{row}" for row in range(ROWS))
    made = Embedded(ids, 100 + torch.arange(ROWS), noisy(5, shared), present, keyed=keyed)
    return Validation.of(made, groups or {}, cosine=True, seed=seed)


def route_of(made: Validation, task: str = "t->a") -> Calibrated:
    return calibrate(made, NAMES, KEYS)[1][task]


def test_shared_is_chosen_where_the_adapters_are_harmful():
    found = route_of(validation(shared=0.2, adapted=3.0))
    assert found.route in ("shared", "ensemble")
    assert found.keys[0] == "shared"
    assert found.candidates["shared"].low > 0
    assert found.candidates["shared"].calibration > found.candidates["exact"].calibration + 0.3
    assert "instead of exact" in found.why
    worst = route_of(validation(shared=0.05, adapted=30.0))
    assert worst.route == "shared"


def test_exact_is_kept_where_the_interval_says_nothing_though_shared_is_higher():
    for noise in np.arange(0.95, 1.3, 0.05).tolist():
        found = route_of(validation(shared=0.9, adapted=noise))
        if found.candidates["shared"].difference > 0 >= found.candidates["shared"].low and all(
            one.low <= 0 for one in found.candidates.values()
        ):
            break
    assert found.candidates["shared"].difference > 0, "the case is there"
    assert (found.route, found.keys) == ("exact", ("a+t",))
    assert "no interval of a difference lies above zero" in found.why


def test_exact_is_kept_where_it_is_best():
    found = route_of(validation(shared=3.0, adapted=0.2))
    assert found.route == "exact"
    assert found.candidates["shared"].high < 0


def test_a_set_without_a_key_has_the_mean_of_its_pairs_unless_shared_is_better():
    good, bad = (route_of(validation(shared, adapted), "t->a+b") for shared, adapted in ((2.0, 0.5), (0.1, 5.0)))
    assert (good.route, good.keys) == ("pair_average", KEYS)
    assert (bad.route, bad.keys) == ("shared", ("shared",))
    assert set(good.candidates) == {"pair_average", "shared"}


def test_one_half_chooses_and_the_other_reports():
    made = validation(shared=0.2, adapted=3.0)
    found = route_of(made)
    assert found.queries == (34, 33)
    # Another row in the second half changes the report alone, and one in the first the choice's numbers alone.
    for choosing in (False, True):
        rows = [row for row in range(ROWS) if (100 + row in made.choosing) == choosing]
        t = made.embedded.keyed["a+t"]["t"].clone()
        a = made.embedded.keyed["a+t"]["a"]
        t[rows] = a[rows]  # these queries now find their item
        keyed = {**made.embedded.keyed, "a+t": {"a": a, "t": t}}
        changed = Validation(
            Embedded(
                made.embedded.ids, made.embedded.index, made.embedded.embeddings, made.embedded.present, {}, keyed
            ),
            made.groups,
            made.choosing,
            True,
        )
        now, before = route_of(changed).candidates["exact"], found.candidates["exact"]
        assert (now.calibration == 1.0) == choosing
        assert (now.report == 1.0) != choosing
        assert (now.report if choosing else now.calibration) == (before.report if choosing else before.calibration)


def test_scales_are_of_the_first_half_with_the_whole_gallery():
    made = validation(shared=0.7, adapted=1.1)
    scales = calibrate(made, NAMES, KEYS)[0]
    rows = torch.tensor([100 + row in made.choosing for row in range(ROWS)])
    own = made.embedded.keyed["b+t"]
    t, b = (torch.nn.functional.normalize(own[name], dim=1) for name in ("t", "b"))
    scores = (t[rows] @ b.T).double()
    found = scales["b+t"]["t->b"]
    assert found.mean == pytest.approx(float(scores.mean()), abs=1e-6)
    assert found.deviation == pytest.approx(float(scores.std(correction=0)), rel=1e-5)
    assert isinstance(found, Scale)
    assert set(scales) == {"shared", *KEYS}
    assert set(scales["b+t"]) == {"t->b", "b->t"}


def test_halves_are_of_whole_groups_and_of_the_seed():
    groups = [f"video {row // 3}" for row in range(ROWS)]
    first = halves(groups, 0)
    for name in set(groups):
        assert len({bool(here) for here, own in zip(first, groups, strict=True) if own == name}) == 1
    chosen = {own for here, own in zip(first, groups, strict=True) if here}
    assert len(chosen) == 12  # of 23
    assert first.tolist() == halves(groups, 0).tolist()
    assert first.tolist() != halves(groups, 1).tolist()
    made = validation(0.2, 3.0, groups={100 + row: own for row, own in enumerate(groups)})
    assert {made.groups[row] for row in made.choosing} == chosen
    assert route_of(made).groups == (12, 11)


def test_of_few_groups_nothing_is_chosen():
    groups = {100 + row: f"video {row % 31}" for row in range(ROWS)}
    found = route_of(validation(0.2, 3.0, groups=groups))
    assert found.groups[0] < LEAST
    assert found.route == "exact"
    assert "too few to choose by" in found.why


def test_every_direction_and_its_reverse_is_a_task():
    found = [str(task) for task in calibrated_tasks(NAMES, KEYS)]
    assert len(found) == len(set(found)) == 12
    assert {"t->a+b", "a+b->t", "a->t"} <= set(found)
    four = {str(task) for task in calibrated_tasks(("a", "b", "c", "t"), ("a+b+t",))}
    assert {"t->a+b", "b+t->a", "t->a+b+c"} <= four


def test_a_task_that_validation_cannot_measure_has_no_entry():
    made = validation(0.2, 3.0)
    present = {**made.embedded.present, "b": torch.arange(ROWS) == 4}
    alone = Embedded(made.embedded.ids, made.embedded.index, made.embedded.embeddings, present, {}, made.embedded.keyed)
    found = calibrate(Validation(alone, made.groups, made.choosing, True), NAMES, KEYS)[1]
    assert "t->b" not in found
    assert "t->a" in found
