"""The loss of one step in a joint space, against the formulas of MCN written out slowly."""

import math
from dataclasses import replace

import pytest
import torch
from space_samples import NUM_CLUSTERS, WIDTHS, Shares, loop_of, model_of, rows_of, slow_mms, stage_of, step_of, taken
from torch import Tensor
from torch.nn import functional as F

from awase.runner.space_state import SpaceState
from awase.runner.space_work import EpochRule, begin_anew


def slow_loss(model, batch, labels: Tensor, centroids: Tensor) -> Tensor:
    """Three MMS terms, the clustering term, and 50 times the reconstruction, each a mean over those it is about."""
    modules = (model.encoders, model.projections, model.reconstructions)
    p, e, r = {}, {}, {}
    for name in WIDTHS:
        encoder, projection, head = (module[name] for module in modules)
        p[name] = encoder(torch.nan_to_num(batch.inputs[name])).pooled
        e[name] = projection(p[name])
        r[name] = head(e[name])
    has = {name: batch.present[name].tolist() for name in WIDTHS}
    rows = range(len(batch))
    total = torch.zeros(())
    for x, y in (("t", "v"), ("a", "t"), ("a", "v")):
        total = total + slow_mms(e[x], e[y], [i for i in rows if has[x][i] and has[y][i]], 0.001)
    clustered = [i for i in rows if int(labels[i]) >= 0]
    for i in clustered:
        own = [name for name in WIDTHS if has[name][i]]
        for name in own:
            logits = centroids @ e[name][i]
            logits = logits - 0.001 * F.one_hot(labels[i], NUM_CLUSTERS)
            total = total - torch.log_softmax(logits, 0)[labels[i]] / len(own) / len(clustered)
    for name in WIDTHS:
        there = [i for i in rows if has[name][i]]
        for i in there:
            total = total + 50 * ((r[name][i] - p[name][i].detach()) ** 2).mean() / len(there)
    return total


def slow_labels(model, batch, centroids: Tensor) -> Tensor:
    """The centroid of the greatest cosine with the mean of the modalities that a sample has; -1 without any."""
    labels = []
    for i in range(len(batch)):
        own = [name for name in WIDTHS if bool(batch.present[name][i])]
        rows = [model.projections[name](model.encoders[name](batch.inputs[name][i][None]).pooled)[0] for name in own]
        mean = sum(rows) / len(rows) if rows else None
        labels.append(-1 if mean is None else int(F.cosine_similarity(centroids, mean[None]).argmax()))
    return torch.tensor(labels)


@pytest.mark.parametrize("absent", [0.0, 0.4], ids=["complete", "absent"])
def test_the_total_and_its_gradient_are_those_of_the_formulas(absent):
    stage = stage_of()
    model, batch = model_of(stage), rows_of(17, absent, seed=2)
    if absent:
        nothing = {name: mask & (torch.arange(17) != 4) for name, mask in batch.present.items()}
        batch = replace(batch, present=nothing)
    step = step_of(model, stage)
    found = step(batch)
    centroids = model.objective.memory.centroids.clone()
    assert model.objective.memory.state["fits"] == 1
    labels = slow_labels(model, batch, centroids)
    expected = slow_loss(model, batch, labels, centroids)
    torch.testing.assert_close(found.total.mean(), expected)
    assert set(found.terms) == {"a+v", "t+v", "a+t", "clustering", "reconstruction"}
    parameters = [value for name, value in model.named_parameters() if not name.startswith("objective")]
    ours = torch.autograd.grad(found.total.mean(), parameters)
    theirs = torch.autograd.grad(expected, parameters)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)  # sums of 17 x 17 terms in another order


def test_a_term_covers_what_it_names_and_has_its_weight():
    batch = rows_of(17, 0.2, seed=3)
    whole, weights = stage_of(), {"a+v": 2.0, "a+t": 0.0}
    some = stage_of(
        pairs=weights,
        clustered=("t",),
        reconstructed=("t",),
        reconstruction={"weight": 3.0},
        clustering={"num_clusters": NUM_CLUSTERS, "queue_rows": 8, "weight": 0.5},
    )
    a, b = (step_of(model_of(stage), stage)(batch) for stage in (whole, some))
    assert torch.equal(b.terms["a+v"], 2 * a.terms["a+v"])
    assert not b.terms["a+t"].any()
    assert "t+v" not in b.terms
    gradients = torch.autograd.grad(
        b.terms["clustering"].sum() + b.terms["reconstruction"].sum(),
        [b.output.embeddings[name] for name in WIDTHS],
        allow_unused=True,
    )
    assert [gradient is not None and bool(gradient.any()) for gradient in gradients] == [False, False, True]
    rebuilt = (b.output.rebuilt["t"] - b.output.encoded["t"].pooled)[batch.present["t"]].square().mean()
    torch.testing.assert_close(b.terms["reconstruction"].mean(), 3 * rebuilt)


def test_without_clustering_and_reconstruction_pairs_remain():
    stage = stage_of(clustering=None, reconstruction={"weight": 0.0})
    found = step_of(model_of(stage), stage)(rows_of(5))
    assert set(found.terms) == {"a+v", "t+v", "a+t"}


def test_the_control_draws_every_sample_to_the_next_one():
    batch = rows_of(7)
    stage = stage_of(shuffle_pairs=True, clustering=None)
    model = model_of(stage)
    found = step_of(model, stage)(batch)
    straight = step_of(model, stage_of(clustering=None))(batch)
    e = {name: straight.output.embeddings[name] for name in ("a", "v")}
    expected = slow_mms(e["a"], e["v"].roll(-1, 0), list(range(7)), 0.001)
    torch.testing.assert_close(found.terms["a+v"].mean(), expected)
    assert not torch.allclose(found.terms["a+v"], straight.terms["a+v"])


def test_the_control_draws_clips_of_a_store_to_those_of_another_video():
    """Three clips of each of three videos, which follow one another; a batch of one video has no pair."""
    batch = replace(rows_of(9), index=torch.tensor([7, 7, 7, 2, 2, 2, 5, 5, 5]))
    stage = stage_of(shuffle_pairs=True, clustering=None)
    model = model_of(stage)
    step = step_of(model, stage)
    step.shift = 3
    found = step(batch)
    e = {name: found.output.embeddings[name] for name in ("a", "v")}
    expected = slow_mms(e["a"], e["v"].roll(-3, 0), list(range(9)), 0.001)
    torch.testing.assert_close(found.terms["a+v"].mean(), expected)
    alone = step(taken(batch, torch.arange(3)))
    assert torch.equal(alone.terms["a+v"], torch.zeros(3))


def test_the_queue_takes_the_share_of_each_group_that_is_named():
    stage = stage_of(clustering={"num_clusters": 3, "queue_rows": 40, "push_rows": 2, "push_every": 5})
    model, batch = model_of(stage), rows_of(13)
    found = step_of(model, stage)(batch)
    fused = torch.stack([found.output.embeddings[name] for name in WIDTHS]).mean(0)
    rows = [0, 1, 5, 6, 10, 11]
    assert model.objective.memory.state["filled"] == 6
    torch.testing.assert_close(model.objective.memory.queue[:6], fused[rows].detach())


@pytest.mark.parametrize("loss", ["info_nce", "normalised_softmax", "sigmoid"])
def test_temperatures_are_the_losss_own_or_learned(loss):
    batch = taken(rows_of(6), torch.arange(6))
    fixed, learned = (stage_of(loss=loss, learn_temperature=value, clustering=None) for value in (False, True))
    one, two = model_of(fixed), model_of(learned)
    first = step_of(one, fixed)(batch)
    second = step_of(two, learned)(batch)
    torch.testing.assert_close(first.total, second.total)
    second.total.mean().backward()
    assert float(two.objective.log_temperature.grad.abs()) > 0
    assert not list(one.objective.parameters())
    x, y = (F.normalize(first.output.embeddings[name], dim=1) for name in ("a", "v"))
    if loss == "sigmoid":
        assert float(two.objective.bias.grad.abs()) > 0
        signs = 2 * torch.eye(6) - 1
        expected = -F.logsigmoid(signs * (10 * x @ y.T - 10)).sum() / 6
    else:
        assert two.objective.bias is None
        logits = x @ y.T / {"info_nce": 0.07, "normalised_softmax": 0.05}[loss]
        both = F.cross_entropy(logits, torch.arange(6)) + F.cross_entropy(logits.T, torch.arange(6))
        expected = both / 2 if loss == "info_nce" else both
    torch.testing.assert_close(first.terms["a+v"].mean(), expected)


def test_margins_are_the_losss_own_unless_set():
    batch = rows_of(6)
    for loss, own in (("mms", 0.001), ("max_margin", 0.1)):
        values = []
        for margin in (None, own, 0.7):
            stage = stage_of(loss=loss, margin=margin, clustering=None)
            values.append(step_of(model_of(stage), stage)(batch).terms["a+v"])
        assert torch.equal(values[0], values[1])
        assert not torch.allclose(values[0], values[2])


# ---- what begins anew --------------------------------------------------------------------------------------------


def used_state(**changes) -> tuple[SpaceState, dict[str, Tensor]]:
    """A state that has seen steps, and its tensors."""
    stage = stage_of(loss="sigmoid", learn_temperature=True, bias=-7.0, temperature=0.3, **changes)
    model = model_of(stage)
    step = step_of(model, stage)
    for seed in range(3):
        step.state.memory.begin_epoch(4)
        step(rows_of(5, seed=seed))
    with torch.no_grad():
        step.state.log_temperature.fill_(-2.0)
        step.state.bias.fill_(-3.0)
    return step.state, {name: value.clone() for name, value in step.state.state_dict().items()}


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ((), {}),
        (("queue",), {"write": 0, "filled": 0}),
        (("centroids",), {"fitted": 0}),
        (("queue", "centroids"), {"write": 0, "filled": 0, "fitted": 0}),
        (("batch_statistics",), {}),
        (("temperature",), {}),
    ],
)
def test_begin_forgets_what_it_names_and_nothing_else(what, expected):
    state, before = used_state()
    counters = state.memory.state
    assert counters == {**counters, "filled": 8, "fitted": 1, "epoch": 5}
    state.begin(what)
    assert state.memory.state == {**counters, **expected, "epoch": 0}, "epochs are counted from the beginning"
    assert torch.equal(state.memory.queue, before["memory.queue"])
    assert torch.equal(state.memory.centroids, before["memory.centroids"])
    temperature, bias = (math.log(0.3), -7.0) if "temperature" in what else (-2.0, -3.0)
    assert (state.log_temperature.item(), state.bias.item()) == pytest.approx((temperature, bias))


def test_the_first_epoch_of_a_second_stage_forgets_centroids_where_every_epoch_does():
    state, _ = used_state(
        clustering={"num_clusters": NUM_CLUSTERS, "queue_rows": 8, "refit_every": 2, "reset_each_epoch": True}
    )
    state.begin(())
    state.memory.begin_epoch(0)
    state.memory.begin_epoch(0)
    assert state.memory.state["fitted"] == 0
    state, _ = used_state()
    state.begin(())
    state.memory.begin_epoch(0)
    assert state.memory.state["fitted"] == 1


def test_a_batch_where_nobody_has_anything_to_compare_costs_nothing():
    stage = stage_of()
    model, batch = model_of(stage), rows_of(5)
    nobody = {name: torch.zeros(5, dtype=torch.bool) for name in WIDTHS}
    found = step_of(model, stage)(replace(batch, present=nobody, complete=frozenset()))
    assert torch.equal(found.total, torch.zeros(5))
    found.total.mean().backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize(("clusters", "lacking"), [(4, 0), (9, 2), (90, 12)])
def test_steps_without_clusters_are_counted_and_said_once(clusters, lacking, caplog):
    """Batches of four rows and a queue of eight, which counts when it is full: the third step has twelve rows."""
    stage = stage_of(clustering={"num_clusters": clusters, "queue_rows": 8, "refit_every": 2})
    model = model_of(stage)
    loop = loop_of(model, stage, Shares(rows_of(16), 4))
    with caplog.at_level("WARNING", logger="awase"):
        loop.run()
    assert loop.work.rule.facts() == {"steps_without_clusters": lacking}
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (lacking > 0)
    assert all(f"fewer rows than the {clusters} clusters" in text for text in said)
    assert loop.work.rule.state_dict()["steps_without_clusters"] == lacking, "an interruption keeps the count"


def test_without_clustering_no_step_lacks_it():
    stage = stage_of(clustering=None)
    rule = EpochRule(step_of(model_of(stage), stage).state)
    rule.after_backward(0)
    rule.on_epoch_end(0)
    assert rule.facts() == {}


@pytest.mark.parametrize(("first", "least"), [(0.3, 0.01), (0.005, 0.005)])
def test_a_learned_temperature_is_held_up_before_each_step(first, least):
    stage = stage_of(loss="info_nce", learn_temperature=True, temperature=first, clustering=None)
    state = step_of(model_of(stage), stage).state
    rule = EpochRule(state)
    with torch.no_grad():
        state.log_temperature.fill_(-20.0)
    rule.begin(0, None)
    assert float(state.temperature.detach()) == pytest.approx(least)
    with torch.no_grad():
        state.log_temperature.fill_(0.5)
    rule.begin(0, None)
    assert float(state.log_temperature.detach()) == 0.5
    assert rule.state_dict().keys() == {"steps_without_clusters"}


def test_batch_statistics_begin_anew_where_a_pattern_names_the_encoder():
    stage = stage_of(begin=("batch_statistics",)).model_copy(update={"train": ("*.encoder",)})
    model = model_of(stage)
    for name in ("a", "v"):
        model.encoders[name].norm = torch.nn.BatchNorm1d(3)
        model.encoders[name].norm.running_mean.fill_(5.0)
    begin_anew(model, stage, ("v.encoder",))
    means = {name: float(model.encoders[name].norm.running_mean[0]) for name in ("a", "v")}
    assert means == {"a": 5.0, "v": 0.0}
