"""What each policy adds to a step of the second stage, against its formula written out slowly; v and a are old."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from space_samples import DIM, WIDTHS, model_of, rows_of, slow_mms, stage_of, step_of, taken
from torch import Tensor, nn

from awase.adapters import Bank
from awase.adapters.adapter import Adapter
from awase.adapters.bank import DEFAULT_KEY
from awase.config import AdapterConfig, KeptConfig, RetrievalConfig
from awase.config.policies import LowRankPolicy, check_together
from awase.distributed import ALONE
from awase.models import Retrieval
from awase.runner.known import KnownFeatures
from awase.runner.low_rank import begin_directions, check_low_rank, layer_rows, learned_directions
from awase.runner.space_fisher import pairs_fisher
from awase.runner.space_kept import Elastic, Kept, Reading, old_parameters
from awase.runner.space_null import null_space
from awase.runner.space_teacher import Teacher
from awase.types import Batch

TAU = 0.3
PLAIN: dict[str, Any] = {
    "loss": "info_nce",
    "temperature": TAU,
    "clustering": None,
    "reconstruction": {"weight": 0.0},
    "pairs": {"t+v": 1.0, "a+t": 1.0},
}


def stage_with(*policies: dict[str, Any], **changes: Any):
    return stage_of(**{**PLAIN, "kept": {"pairs": {"a+v": 1.0}, "policies": list(policies)}, **changes})


def moved(model: Retrieval) -> Retrieval:
    """The model after it has changed a little, as in the middle of a stage."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def step_in_the_middle(stage, *, still: tuple[str, ...] = ()):
    """(old model, model, step): the teacher is the model before it moved."""
    old, model = model_of(stage), model_of(stage)
    kept = Kept(stage.retrieval, model.objective, ALONE, Teacher(model, ("a", "v"), still))
    return old, moved(model), step_of(model, stage, kept=kept)


def embeddings(model: Retrieval, batch: Batch) -> dict[str, Tensor]:
    return {
        name: model.projections[name](model.encoders[name](torch.nan_to_num(batch.inputs[name])).pooled)
        for name in WIDTHS
    }


def unit(x: Tensor) -> Tensor:
    return x / x.norm()


def has(batch: Batch, *names: str) -> list[int]:
    return [i for i in range(len(batch)) if all(bool(batch.present[name][i]) for name in names)]


def slow_features(new, old, batch) -> Tensor:
    total = torch.zeros(())
    for name in ("a", "v"):
        for i in has(batch, name):
            total = total + 1 - unit(new[name][i]) @ unit(old[name][i])
    return 10 * total / len(batch)


def slow_squared(new, old, batch) -> Tensor:
    total = torch.zeros(())
    for name in ("a", "v"):
        for i in has(batch, name):
            total = total + (new[name][i] - old[name][i]).square().sum() / DIM
    return 10 * total / len(batch)


def slow_similarities(new, old, batch) -> Tensor:
    """2 T^2 / 2 times both KL divergences of the softmaxes of cosines / (tau T), the mean over those with the pair."""
    there, total = has(batch, "a", "v"), torch.zeros(())
    soften = 2.0
    for x, y in (("a", "v"), ("v", "a")):
        for i in there:
            p, q = (
                torch.stack([unit(e[x][i]) @ unit(e[y][j]) / (TAU * soften) for j in there]).softmax(0)
                for e in (old, new)
            )
            total = total + 0.5 * soften**2 * (p * (p.log() - q.log())).sum()
    return 2 * total / len(there)


def slow_ckc(new, old, batch, projector) -> Tensor:
    rows = [(name, i) for name in ("a", "v") for i in has(batch, name)]
    h, z = [unit(projector(new[name][i])) for name, i in rows], [unit(old[name][i]) for name, i in rows]
    total = torch.zeros(())
    for i in range(len(rows)):
        across = torch.stack([h[i] @ z[j] / TAU for j in range(len(rows))])
        down = torch.stack([h[j] @ z[i] / TAU for j in range(len(rows))])
        total = total - 0.5 * (across.log_softmax(0)[i] + down.log_softmax(0)[i])
    return 2 * total / len(rows)


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "feature_distillation": ({}, {}),
    "squared": ({"name": "feature_distillation", "measure": "squared"}, {}),
    "raw": ({"name": "feature_distillation"}, {"loss": "mms", "temperature": None}),
    "similarity_distillation": ({"softening": 2.0}, {}),
    "ckc": ({}, {}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("absent", [0.0, 0.4], ids=["complete", "absent"])
def test_a_term_and_its_gradient_are_those_of_its_formula(name: str, absent: float) -> None:
    fields, changes = CASES[name]
    stage = stage_with({"name": name, **fields}, **changes)
    old_model, model, step = step_in_the_middle(stage)
    batch = rows_of(13, absent, seed=4)
    found = step(batch).terms[fields.get("name", name)].mean()
    new = embeddings(model, batch)
    with torch.no_grad():
        old = embeddings(old_model, batch)
    slow = {
        "feature_distillation": lambda: slow_features(new, old, batch),
        "squared": lambda: slow_squared(new, old, batch),
        "raw": lambda: slow_squared(new, old, batch),
        "similarity_distillation": lambda: slow_similarities(new, old, batch),
        "ckc": lambda: slow_ckc(new, old, batch, model.objective.projector),
    }
    expected = slow[name]()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    parameters = dict(model.named_parameters())
    ours, theirs = (
        torch.autograd.grad(value, list(parameters.values()), allow_unused=True) for value in (found, expected)
    )
    reached = set()
    for key, one, other in zip(parameters, ours, theirs, strict=True):
        zero = torch.zeros_like(parameters[key])
        one, other = (zero if value is None else value for value in (one, other))
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)  # sums in another order
        reached |= {".".join(key.split(".")[:2])} if one.any() else set()
    towers = {f"{kind}.{m}" for kind in ("encoders", "projections") for m in ("a", "v")}
    assert reached == (towers | {"objective.projector"} if name == "ckc" else towers)


def test_the_teacher_stands_still_and_reads_still_encoders_features_from_the_model() -> None:
    stage, batch = stage_with({"name": "feature_distillation"}), rows_of(7)
    model = model_of(stage)
    teacher = Teacher(model, ("a", "v"), ("v", "t"))
    before = teacher(batch, model(batch).encoded)
    assert set(before) == {"a", "v"}
    assert set(teacher.encoders) == {"a"}
    moved(model)
    after = teacher(batch, model(batch).encoded)
    assert torch.equal(before["a"], after["a"])
    assert not torch.equal(before["v"], after["v"])  # had the model's encoder stood still, it would be equal
    assert not any(value.requires_grad for value in (*after.values(), *teacher.projections.parameters()))


def test_the_teacher_takes_the_first_real_candidate_as_the_model_does() -> None:
    stage, batch = stage_with({"name": "feature_distillation"}), rows_of(7)
    mask = torch.rand(7, 3, generator=torch.Generator().manual_seed(2)) > 0.5
    several = torch.randn(7, 3, WIDTHS["a"], generator=torch.Generator().manual_seed(3))
    batch = replace(
        batch,
        inputs={**batch.inputs, "a": several},
        present={**batch.present, "a": mask.any(dim=1)},
        complete=batch.complete - {"a"},
        candidates={"a": mask},
    )
    model = model_of(stage)
    output = model(batch)
    found = Teacher(model, ("a", "v"), ())(batch, output.encoded)
    for name in ("a", "v"):
        torch.testing.assert_close(found[name], output.embeddings[name])  # projected in batches of other sizes


def with_reservoir(batch: Batch, size: int) -> Batch:
    """The last `size` samples are of a reservoir, which lacks t."""
    late = torch.arange(len(batch)) >= len(batch) - size
    present = {**batch.present, "t": batch.present["t"] & ~late}
    complete = frozenset(name for name, mask in present.items() if bool(mask.all()))
    return replace(batch, present=present, complete=complete, replayed=late)


@pytest.mark.parametrize("absent", [0.0, 0.3])
def test_replay_is_the_loss_of_old_pairs_on_the_reservoir_and_no_other_term_sees_it(absent: float) -> None:
    changes = {"loss": "mms", "temperature": None, "reconstruction": {"weight": 50.0}}
    changes["clustering"] = {"num_clusters": 3, "queue_rows": 8}
    stage = stage_with({"name": "replay", "weight": 0.7}, **changes)
    model = model_of(stage)
    batch = with_reservoir(rows_of(17, absent, seed=3), 6)
    found = step_of(model, stage)(batch)
    new = embeddings(model, batch)
    reservoir = [i for i in has(batch, "a", "v") if i >= 11]
    expected = 0.7 * slow_mms(new["a"], new["v"], reservoir, 0.001)
    torch.testing.assert_close(found.terms["replay"].mean(), expected)
    without = stage_of(**{**PLAIN, **changes})
    alone = step_of(model_of(without), without)(taken(batch, torch.arange(11)))
    for name, term in alone.terms.items():
        # The mean over 11 samples and over 17 with as many zeros: the same mean of those it is about.
        torch.testing.assert_close(found.terms[name].mean(), term.mean(), rtol=1e-5, atol=1e-6)
        assert not found.terms[name][11:].any()


def test_similarities_are_of_the_reservoir_too() -> None:
    stage = stage_with({"name": "similarity_distillation", "softening": 2.0}, {"name": "replay"})
    old_model, model, step = step_in_the_middle(stage)
    batch = with_reservoir(rows_of(11, 0.2, seed=5), 4)
    found = step(batch)
    assert set(found.terms) == {"t+v", "a+t", "similarity_distillation", "replay"}
    with torch.no_grad():
        expected = slow_similarities(embeddings(model, batch), embeddings(old_model, batch), batch)
    torch.testing.assert_close(found.terms["similarity_distillation"].mean().detach(), expected)


def slow_info_nce(x: Tensor, y: Tensor, there: list[int], i: int) -> Tensor:
    across = torch.stack([unit(x[i]) @ unit(y[j]) / TAU for j in there])
    down = torch.stack([unit(x[j]) @ unit(y[i]) / TAU for j in there])
    place = there.index(i)
    return -0.5 * (across.log_softmax(0)[place] + down.log_softmax(0)[place])


def nothing_known() -> KnownFeatures:
    known = KnownFeatures.__new__(KnownFeatures)
    known.names = {"train": frozenset()}
    return known


def test_fisher_information_is_the_mean_square_of_every_samples_gradient() -> None:
    stage = stage_with({"name": "ewc"})
    model, data = model_of(stage), rows_of(12, 0.3, seed=6)
    parameters = old_parameters(model, stage.retrieval.kept)
    assert {name.split(".")[1] for name in parameters} == {"a", "v"}
    batches = [taken(data, torch.arange(0, 7)), taken(data, torch.arange(7, 12))]
    loss = model.objective.contrast()
    found = pairs_fisher(
        model, parameters, batches, loss, {"a+v": 1.0}, known=nothing_known(), samples=10, device="cpu"
    )
    expected = {name: torch.zeros_like(value) for name, value in parameters.items()}
    for number, batch in enumerate(batches):
        there = has(batch, "a", "v")
        for i in [i for i in there if i < (7, 3)[number]]:  # of the second batch only 3 are counted
            new = embeddings(model, batch)
            own = slow_info_nce(new["a"], new["v"], there, i) * len(batch) / len(there)
            for name, gradient in zip(parameters, torch.autograd.grad(own, list(parameters.values())), strict=True):
                expected[name] += gradient.square() / 10
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-7)
    assert model.encoders["a"].training


def test_ewc_is_half_the_weighted_squared_way_and_pulls_back() -> None:
    stage = stage_with({"name": "ewc", "weight": 3.0})
    model = model_of(stage)
    parameters = old_parameters(model, stage.retrieval.kept)
    anchors = {name: value.detach().clone() for name, value in parameters.items()}
    fisher = {name: torch.rand(value.shape) for name, value in parameters.items()}
    elastic = Elastic(parameters, anchors, fisher)
    step = step_of(model, stage, kept=Kept(stage.retrieval, model.objective, ALONE, elastic=elastic))
    moved(model)
    found = step(rows_of(7)).terms["ewc"].mean()
    terms = [1.5 * (fisher[n] * (parameters[n] - anchors[n]).square()).sum() for n in parameters]
    torch.testing.assert_close(found, torch.stack(terms).sum())
    gradients = torch.autograd.grad(found, list(parameters.values()))
    for name, gradient in zip(parameters, gradients, strict=True):
        torch.testing.assert_close(gradient, 3 * fisher[name] * (parameters[name] - anchors[name]).detach())


def test_o_lora_is_the_sum_of_products_with_what_was_learned_and_turns_what_adapters_read() -> None:
    stage = stage_with({"name": "low_rank", "weight": 3.0})
    model = model_of(stage)
    new = {name: torch.randn(2, 5, requires_grad=True) for name in ("x", "y", "z")}
    learned = {name: torch.randn(3, 5) for name in ("x", "z")}  # y has not changed
    kept = Kept(stage.retrieval, model.objective, ALONE, reading=Reading(new, learned))
    found = step_of(model, stage, kept=kept)(rows_of(7)).terms["low_rank"].mean()
    products = [new[n][i] @ learned[n][j] for n in learned for i in range(2) for j in range(3)]
    torch.testing.assert_close(found, 3 * torch.stack(products).abs().sum())
    gradients = dict(zip(new, torch.autograd.grad(found, list(new.values()), allow_unused=True), strict=True))
    assert gradients["y"] is None
    for name in learned:
        torch.testing.assert_close(gradients[name], 3 * (new[name] @ learned[name].T).sign().detach() @ learned[name])


def test_learned_directions_are_those_of_the_change_of_each_weight() -> None:
    initial, model = (nn.Sequential(nn.Linear(6, 4), nn.Conv2d(2, 5, 3), nn.Linear(4, 4)) for _ in range(2))
    model.load_state_dict(initial.state_dict())
    read = torch.linalg.qr(torch.randn(18, 2)).Q.T
    with torch.no_grad():
        model[0].weight.add_(torch.outer(torch.ones(4), torch.eye(6)[2]))
        model[1].weight.add_((torch.randn(5, 2) @ read).view_as(model[1].weight))
    adapter = Adapter(torch.zeros(2, 6), torch.zeros(4, 2), scale=1.0)
    layers = {name: (layer, adapter) for name, layer in model.named_children()}
    found = learned_directions(layers, initial, rank=2)
    assert found.keys() == {"0", "1"}
    torch.testing.assert_close(found["0"].abs(), torch.eye(6)[[2]], rtol=0, atol=1e-5)
    torch.testing.assert_close(found["1"].T @ found["1"], read.T @ read, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.Linear(6, 4), (5, 3, 6)),
        (nn.Conv1d(3, 4, 5, stride=2, padding=3, dilation=2), (2, 3, 17)),
        (nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)), (2, 3, 9, 8)),
    ],
    ids=["linear", "signals", "pictures"],
)
def test_a_layers_rows_times_its_weight_are_what_it_gives(layer: nn.Module, size: tuple[int, ...]) -> None:
    value = torch.randn(size)
    given = layer(value)
    given = given.flatten(0, -2) if isinstance(layer, nn.Linear) else given.flatten(2).transpose(1, 2).flatten(0, 1)
    found = layer_rows(layer, value) @ layer.weight.flatten(1).T + layer.bias
    torch.testing.assert_close(found, given, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("directions", "energy", "left"), [("osrm", 0.5, 3), ("inflora", 0.5, 2), ("keeplora", 1.0, 0)]
)
def test_a_layer_with_fewer_directions_than_the_rank_has_these_and_zeros(
    directions: str, energy: float, left: int, caplog: pytest.LogCaptureFixture
) -> None:
    module = nn.Sequential(nn.Linear(3, 4))
    bank = Bank.inject(module, AdapterConfig(targets="*", rank=5), seed=0)
    adapter = bank.adapters(DEFAULT_KEY)["0"]
    policy = LowRankPolicy(directions=directions, rank=5, energy=energy)
    batch = rows_of(50)
    inputs = torch.randn(50, 3) * torch.tensor([9.0, 1.0, 0.5])  # one direction has more than half of the energy
    begin_directions(
        module,
        {"0": (module[0], adapter)},
        policy,
        lambda _: module(inputs).square().sum(),
        lambda: [batch],
        None,
        device="cpu",
    )
    found = adapter.A.detach()
    torch.testing.assert_close(found[:left] @ found[:left].T, torch.eye(left), rtol=0, atol=1e-5)
    assert not found[left:].any()
    assert not adapter.A.requires_grad
    assert "1 of 1 layers have fewer than 5 directions" in caplog.text


def test_layers_without_directions_are_refused_before_anything_is_trained() -> None:
    stage = stage_with({"name": "low_rank", "directions": "osrm"})
    stage = stage.model_copy(update={"adapters": {"v": AdapterConfig(targets="*")}})
    model = nn.ModuleDict(
        {"encoders": nn.ModuleDict({"v": nn.Conv3d(1, 1, 1)}), "projections": nn.ModuleDict({"v": nn.Linear(2, 2)})}
    )
    for kind in model.values():
        Bank.inject(kind["v"], AdapterConfig(targets="*", rank=1), seed=0)
    with pytest.raises(ValueError, match=r"encoders.v is a LoraConv3d. Name other layers"):
        check_low_rank(model, stage)
    plain = stage_with({"name": "low_rank"})
    check_low_rank(model, plain.model_copy(update={"adapters": stage.adapters}))


def test_dns_leaves_every_old_score_and_lets_the_heads_move() -> None:
    """v's head takes 7 features, a's 9, of 3 and 2 samples: most directions are free, and one head at a time moves."""
    stage, batch = stage_with({"name": "dns"}, space={"dim": DIM, "projection": "linear"}), rows_of(4, seed=9)
    batch.present["v"][3], batch.present["a"][2:] = False, False
    batch = replace(batch, complete=frozenset({"t"}))
    for name in ("v", "a"):
        model = model_of(stage)
        heads = null_space(model, ["a+v"], [batch], threshold=1e-6, known=nothing_known(), device="cpu")
        before = embeddings(model, batch)
        with torch.no_grad():
            for value in model.projections[name].parameters():
                value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(1)))
        heads.hold()
        after = embeddings(model, batch)
        first = model.projections[name].weight.detach().clone()
        heads.hold()
        torch.testing.assert_close(model.projections[name].weight, first)  # projected twice it is the same
        old, new = (e["v"][has(batch, "v")] @ e["a"][has(batch, "a")].T for e in (before, after))
        torch.testing.assert_close(new, old, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(before[name], after[name], atol=0.1)
        assert not torch.allclose(model.projections[name].bias, model_of(stage).projections[name].bias, atol=0.1)


def test_dns_is_for_linear_heads() -> None:
    kept = {"pairs": {"a+v": 1.0}, "policies": [{"name": "dns"}]}
    with pytest.raises(ValueError, match="a, v would have another: set space"):
        RetrievalConfig.model_validate({"kept": kept})


def test_a_temperature_that_is_learned_is_not_pulled_by_distillation() -> None:
    stage = stage_with({"name": "similarity_distillation"}, {"name": "ckc"}, learn_temperature=True)
    _, model, step = step_in_the_middle(stage)
    terms = step(rows_of(7)).terms
    total = (terms["similarity_distillation"] + terms["ckc"]).sum()
    (found,) = torch.autograd.grad(total, [model.objective.log_temperature], allow_unused=True)
    assert found is None
    assert math.isfinite(total.item())


def test_without_policies_nothing_is_kept() -> None:
    stage = stage_of(**PLAIN)
    assert step_of(model_of(stage), stage).kept is None


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("ckc", "ckc"), "ckc is there twice"),
        (("freeze", "bank"), "freeze and bank both say"),
        (("low_rank", "dns"), "both say which parameters"),
        (("freeze", "replay"), "With freeze the old towers stand still, and replay would keep"),
        (("bank", "similarity_distillation"), "With bank"),
    ],
)
def test_policies_that_cannot_be_combined_are_refused(names: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_together(names)


def test_distillation_of_raw_dot_products_needs_a_temperature_of_its_own() -> None:
    for name in ("similarity_distillation", "ckc"):
        kept = {"pairs": {"a+v": 1.0}, "policies": [{"name": name}]}
        with pytest.raises(ValueError, match=f"'mms' has no temperature for {name}"):
            RetrievalConfig.model_validate({"loss": "mms", "kept": kept})
        kept["policies"] = [{"name": name, "temperature": 0.1}]
        assert RetrievalConfig.model_validate({"loss": "mms", "kept": kept}).kept is not None
    with pytest.raises(ValueError, match="smell"):
        KeptConfig.model_validate({"pairs": {"a+v": 1.0}, "policies": [{"name": "smell"}]})
