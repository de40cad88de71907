"""Targets and the transport loss in a space step: which pairs and combinations have them, and at which temperature."""

from functools import partial

import pytest
import torch
from space_samples import model_of, rows_of, stage_of, step_of
from torch import Tensor

from awase.config import CombinationsConfig, Curriculum, RetrievalConfig, TargetsConfig
from awase.evaluation import Embedded
from awase.methods.context import MethodContext
from awase.methods.mcn import mcn
from awase.objectives import PairLoss, combination_loss, info_nce, partial_targets, soft_targets, transport_contrast
from awase.runner.space_scores import combination_losses, contrastive_loss
from awase.runner.space_state import SpaceState, targets_of

PAIRS = {"a+v": 0.5, "t+v": 1.0, "a+t": 2.0}
BARE = {"clustering": None, "reconstruction": {"weight": 0}, "pairs": PAIRS}


def terms_of(**changes: object) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """The terms of a step on samples that lack modalities, their embeddings, and who has what."""
    stage = stage_of(**BARE, **changes)
    model, batch = model_of(stage), rows_of(11, 0.3, seed=5)
    return step_of(model, stage)(batch).terms, model(batch).embeddings, batch.present


def expected_of(loss: PairLoss, pair: str, embeddings: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
    first, second = pair.split("+")
    both = present[first] & present[second]
    return PAIRS[pair] * loss(embeddings[first], embeddings[second], present=both)


@pytest.mark.parametrize(
    ("targets", "same"),
    [
        ({}, partial(soft_targets, beta=0.3, epsilon=1.0, iterations=50)),
        ({"beta": 0.6, "epsilon": 2.0, "iterations": 3}, partial(soft_targets, beta=0.6, epsilon=2.0, iterations=3)),
        ({"kind": "partial"}, partial(partial_targets, beta=0.3, quantile=0.3, epsilon=0.5, iterations=50)),
        (
            {"kind": "partial", "beta": 0.9, "quantile": 0.0, "epsilon": 0.3, "iterations": 7},
            partial(partial_targets, beta=0.9, quantile=0.0, epsilon=0.3, iterations=7),
        ),
    ],
    ids=["soft", "soft changed", "partial", "partial changed"],
)
def test_pairs_have_the_targets_that_are_configured(targets, same):
    found, embeddings, present = terms_of(loss="info_nce", temperature=0.2, targets=targets)
    plain = partial(info_nce, temperature=0.2)
    for pair in PAIRS:
        expected = expected_of(partial(plain, targets=same), pair, embeddings, present)
        torch.testing.assert_close(found[pair], expected)
        assert not torch.allclose(expected, expected_of(plain, pair, embeddings, present))


def test_only_the_pairs_that_are_named_have_them():
    found, embeddings, present = terms_of(loss="info_nce", targets={"pairs": ["a+t", "t+v"]})
    for pair in PAIRS:
        loss = partial(info_nce, targets=soft_targets) if "t" in pair.split("+") else info_nce
        torch.testing.assert_close(found[pair], expected_of(loss, pair, embeddings, present))


def test_a_learned_temperature_is_that_of_the_targets_and_has_no_gradient_from_them():
    config = RetrievalConfig(loss="info_nce", learn_temperature=True, targets=TargetsConfig(kind="partial"))
    state = SpaceState(config, 0)
    with torch.no_grad():
        state.log_temperature.fill_(-1.0)
    (made,) = state.targets(["a+t"]).values()
    assert made.keywords["epsilon"] == pytest.approx(0.1 * 2.718281828, rel=1e-6)
    assert isinstance(made.keywords["epsilon"], float)


def test_combinations_have_them_at_their_own_temperature():
    generator = torch.Generator().manual_seed(3)
    keyed = {key: {name: torch.randn(7, 5, generator=generator) for name in key.split("+")} for key in ("a+t", "a+t+v")}
    config = CombinationsConfig(keys=tuple(keyed), temperatures={"a+t": 0.4}, weights={"a+t": 3.0})
    space = RetrievalConfig(
        loss="info_nce", temperature=0.2, combinations=config, targets=TargetsConfig(kind="partial", beta=0.5)
    )
    state, nobody = SpaceState(space, 0), {"a": None, "t": torch.arange(7) != 2, "v": None}
    targets = state.targets(config.learned, config.temperatures)
    found = combination_losses(keyed, nobody, state.contrast(), config, temperature=0.2, targets=targets)
    for key, temperature in (("a+t", 0.4), ("a+t+v", 0.2)):
        drawn = partial(partial_targets, beta=0.5, epsilon=0.1 / temperature)
        loss = partial(info_nce, temperature=temperature, targets=drawn)
        expected = config.weights.get(key, 1.0) * combination_loss(keyed[key], nobody, loss)
        torch.testing.assert_close(found[f"combination {key}"], expected)


def test_the_control_with_shuffled_pairs_has_the_targets_of_the_shuffled():
    stage = stage_of(**BARE, loss="info_nce", targets={}, shuffle_pairs=True)
    model, batch = model_of(stage), rows_of(7)
    found, e = step_of(model, stage)(batch).terms["a+t"], model(batch).embeddings
    torch.testing.assert_close(found, 2 * info_nce(e["a"], e["t"].roll(-1, dims=0), targets=soft_targets))


def test_validation_measures_the_known_pairs():
    stage = stage_of(**BARE, loss="info_nce", targets={})
    model, batch = model_of(stage), rows_of(6)
    plain = stage_of(**BARE, loss="info_nce")
    embedded = Embedded(batch.ids, batch.index, model(batch).embeddings, batch.present)
    found = contrastive_loss(embedded, stage, model.objective)
    assert found == contrastive_loss(embedded, plain, SpaceState(plain.retrieval, 0))


def test_transport_is_a_loss_of_pairs_with_a_temperature():
    found, embeddings, present = terms_of(loss="transport", temperature=0.2)
    loss = partial(transport_contrast, temperature=0.2)
    for pair in PAIRS:
        torch.testing.assert_close(found[pair], expected_of(loss, pair, embeddings, present))
    assert RetrievalConfig(loss="transport").first_temperature == 0.07


def test_no_plan_at_all_is_the_known_pairs():
    x, y = torch.randn(5, 3), torch.randn(5, 3)
    drawn = targets_of(TargetsConfig(beta=0.0), 0.07)
    torch.testing.assert_close(info_nce(x, y, targets=drawn), info_nce(x, y))


def test_what_cannot_have_them_is_refused():
    for loss in ("mms", "normalised_softmax", "sigmoid", "max_margin", "mil_nce", "transport"):
        with pytest.raises(ValueError, match=f"'{loss}' takes no targets.*info_nce"):
            RetrievalConfig(loss=loss, targets=TargetsConfig())
    with pytest.raises(ValueError, match="no quantile"):
        TargetsConfig(quantile=0.2)
    with pytest.raises(ValueError, match="sorted, like"):
        TargetsConfig(pairs=("text+audio",))
    key = CombinationsConfig(keys=("a+t+v",), of_set="volume")
    RetrievalConfig(loss="info_nce", combinations=key, targets=TargetsConfig())
    with pytest.raises(ValueError, match="of_set='volume' measures takes no targets"):
        RetrievalConfig(loss="info_nce", combinations=key, targets=TargetsConfig(pairs=("a+t+v",)))
    context = MethodContext(("a", "t"), {}, stage_of().training)
    with pytest.raises(ValueError, match=r"targets for a\+flow; the modalities are a, t"):
        mcn(context, retrieval={"loss": "info_nce", "targets": {"pairs": ["a+flow"]}})


def test_a_stage_none_of_whose_pairs_has_targets_is_that_without():
    context = MethodContext(("a", "t", "v"), {}, stage_of().training)
    drawn = {"loss": "info_nce", "targets": {"pairs": ["a+t", "t+v"]}}
    staged = Curriculum(first=("a", "v"))
    first, second = mcn(context, staged=staged, retrieval=drawn)
    plain, other = mcn(context, staged=staged, retrieval={"loss": "info_nce"})
    assert first == plain
    assert second.retrieval.targets is not None
    assert other.retrieval.targets is None
