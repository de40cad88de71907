"""MIL-NCE in a space step: several texts per clip of two videos, against the definition written out slowly."""

from dataclasses import replace

import pytest
import torch
from space_samples import DIM, WIDTHS, model_of, rows_of, slow_mms, stage_of, step_of
from torch import Tensor, nn

from awase.adapters import Bank
from awase.config import RetrievalConfig, StageConfig
from awase.evaluation import Embedded
from awase.models import Retrieval
from awase.runner.space_scores import contrastive_loss, uses_cosine
from awase.types import Batch

VIDEOS, CLIPS, COUNT = 2, 5, 3
ROWS = VIDEOS * CLIPS
PAIRS = {"a+v": 0.5, "t+v": 1.0, "a+t": 2.0}


def clips_of(absent: float = 0.3) -> Batch:
    """Clips of two videos with three texts each: own ones are absent, some altogether, and then no number."""
    generator = torch.Generator().manual_seed(4)
    batch = rows_of(ROWS, absent, seed=2)
    texts = torch.randn(ROWS, COUNT, WIDTHS["t"], generator=generator)
    mask = torch.rand(ROWS, COUNT, generator=generator) >= absent
    mask[0], mask[1], mask[2] = torch.tensor([[False, True, True], [False, False, True], [False, False, False]])
    if not absent:
        mask[:] = True
    texts[~mask] = torch.nan
    present = batch.present | {"t": mask.any(dim=1)}
    complete = frozenset(name for name, there in present.items() if bool(there.all()))
    return replace(
        batch, inputs=batch.inputs | {"t": texts}, present=present, complete=complete, candidates={"t": mask}
    )


def embedded(model: Retrieval, batch: Batch) -> dict[str, Tensor]:
    """Every row alone through encoder and projection; absent ones hold zeros, and are not to be used."""
    found = {}
    for name in WIDTHS:
        values = torch.nan_to_num(batch.inputs[name])
        rows = model.projections[name](model.encoders[name](values.flatten(0, -2)).pooled)
        found[name] = rows.view(*values.shape[:-1], DIM)
    return found


def slow_mil_nce(x: Tensor, texts: Tensor, mask: Tensor, there: list[int]) -> Tensor:
    """-(1/n) sum_i log [sum_m e^s_iim / (sum_jm e^s_ijm + sum_jm e^s_jim)], s_ijm = x_i . c_jm, over those there."""

    def score(i: int, j: int) -> Tensor:
        return sum((x[i] @ texts[j, m]).exp() for m in range(texts.shape[1]) if mask[j, m])

    total = torch.zeros(())
    for i in there:
        total = total - (score(i, i) / sum(score(i, j) + score(j, i) for j in there)).log()
    return total / max(1, len(there))


def slow_terms(model: Retrieval, batch: Batch) -> dict[str, Tensor]:
    e, mask = embedded(model, batch), batch.candidates["t"]

    def both(x: str, y: str) -> list[int]:
        return [i for i in range(ROWS) if batch.present[x][i] and batch.present[y][i]]

    return {
        "a+v": 0.5 * slow_mms(e["a"], e["v"], both("a", "v"), 0.02),
        "t+v": slow_mil_nce(e["v"], e["t"], mask, both("t", "v")),
        "a+t": 2.0 * slow_mil_nce(e["a"], e["t"], mask, both("a", "t")),
    }


@pytest.mark.parametrize("absent", [0.0, 0.3], ids=["complete", "absent"])
def test_the_pairs_and_their_gradient_are_the_definition(absent):
    stage = stage_of(loss="mil_nce", margin=0.02, pairs=PAIRS, clustering=None, reconstruction={"weight": 0})
    model, batch = model_of(stage), clips_of(absent)
    found = step_of(model, stage)(batch)
    expected = slow_terms(model, batch)
    assert set(found.terms) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found.terms[name].mean(), value)
    learning = [
        value for name, value in model.named_parameters() if not name.startswith(("objective", "reconstructions"))
    ]
    gradients = torch.autograd.grad(found.total.mean(), learning)
    for ours, theirs in zip(gradients, torch.autograd.grad(sum(expected.values()), learning), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)  # sums of some hundred exponentials, float32


def test_everything_else_is_of_the_first_real_text():
    stage = stage_of(loss="mil_nce", pairs=PAIRS)
    model, batch = model_of(stage), clips_of()
    output = model(batch)
    every, mask = embedded(model, batch)["t"], batch.candidates["t"]
    assert output.candidates["t"].shape == (ROWS, COUNT, DIM)
    torch.testing.assert_close(output.candidates["t"][mask], every[mask])
    texts = torch.nan_to_num(batch.inputs["t"])
    for i in range(ROWS):
        if not mask[i].any():
            continue
        first = min(m for m in range(COUNT) if mask[i, m])
        torch.testing.assert_close(output.embeddings["t"][i], every[i, first])
        pooled = model.encoders["t"](texts[i, first][None]).pooled[0]
        torch.testing.assert_close(output.encoded["t"].pooled[i], pooled)
        torch.testing.assert_close(output.rebuilt["t"][i], model.reconstructions["t"](every[i, first]))
    assert set(output.embeddings) == set(output.encoded) == set(WIDTHS)


def test_other_losses_see_the_first_text_alone():
    stage = stage_of(pairs=PAIRS)
    model, several = model_of(stage), clips_of()
    rows, first = torch.arange(ROWS), several.candidates["t"].int().argmax(dim=1)
    single = replace(several, inputs=several.inputs | {"t": several.inputs["t"][rows, first]}, candidates={})
    terms = [step_of(model_of(stage), stage)(batch).terms for batch in (several, single)]
    for name in terms[0]:
        torch.testing.assert_close(terms[0][name], terms[1][name])
    assert len(model(several).candidates) == 1


def test_nobody_has_a_text_and_nobody_is_there_at_all():
    stage = stage_of(loss="mil_nce", pairs=PAIRS)
    batch = clips_of()
    none = torch.zeros_like(batch.candidates["t"])
    silent = replace(
        batch, candidates={"t": none}, present=batch.present | {"t": none.any(dim=1)}, complete=batch.complete - {"t"}
    )
    terms = step_of(model_of(stage), stage)(silent).terms
    assert torch.equal(terms["a+t"], torch.zeros(ROWS))
    assert float(terms["a+v"].detach().mean()) > 0
    terms["t+v"].sum().backward()
    empty = Batch((), batch.index[:0], {n: v[:0] for n, v in batch.inputs.items()},
                  {n: v[:0] for n, v in batch.present.items()}, frozenset(), None, None, {"t": none[:0]})  # fmt: skip
    assert step_of(model_of(stage), stage)(empty).total.shape == (0,)


def test_the_control_draws_a_clip_to_the_texts_of_the_next():
    stage = stage_of(
        loss="mil_nce", pairs={"t+v": 1.0}, clustering=None, shuffle_pairs=True, reconstruction={"weight": 0}
    )
    model, batch = model_of(stage), clips_of(0.0)
    found = step_of(model, stage)(batch).terms["t+v"].mean()
    e = embedded(model, batch)
    rolled = torch.stack([e["t"][(i + 1) % ROWS] for i in range(ROWS)])
    torch.testing.assert_close(found, slow_mil_nce(e["v"], rolled, batch.candidates["t"], list(range(ROWS))))


def test_the_control_draws_a_clip_to_no_text_of_its_own_video():
    stage = stage_of(
        loss="mil_nce", pairs={"t+v": 1.0}, clustering=None, shuffle_pairs=True, reconstruction={"weight": 0}
    )
    model = model_of(stage)
    video = torch.arange(ROWS) // 3
    batch = replace(clips_of(0.0), index=video)
    step = step_of(model, stage)
    step.shift = 2
    found = step(batch).terms["t+v"].mean()
    e = embedded(model, batch)
    rolled = torch.stack([e["t"][(i + 2) % ROWS] for i in range(ROWS)])
    foreign = [i for i in range(ROWS) if video[i] != video[(i + 2) % ROWS]]
    assert len(foreign) < ROWS
    mask = torch.stack([batch.candidates["t"][(i + 2) % ROWS] & (i in foreign) for i in range(ROWS)])
    expected = slow_mil_nce(e["v"], rolled, mask, [i for i in range(ROWS) if mask[i].any()])
    torch.testing.assert_close(found, expected)


def test_validation_has_one_text_per_clip():
    stage = stage_of(loss="mil_nce", margin=0.02, pairs=PAIRS)
    stage = stage.model_copy(update={"training": stage.training.model_copy(update={"batch_size": ROWS})})
    model, batch = model_of(stage), rows_of(ROWS, 0.3, seed=2)
    e = {name: value.detach() for name, value in embedded(model, batch).items()}
    one = Embedded(batch.ids, batch.index, e, batch.present)
    here = replace(batch, inputs=batch.inputs | {"t": batch.inputs["t"][:, None]})
    expected = slow_terms(model, replace(here, candidates={"t": batch.present["t"][:, None]}))
    assert contrastive_loss(one, stage, model.objective, ("t",)) == pytest.approx(
        float(sum(expected.values()).detach()), rel=1e-5
    )
    assert not uses_cosine(stage.retrieval)


KEYS = ("a+t", "t+v", "a+v")


def keyed_model(stage: StageConfig) -> Retrieval:
    """The model with adapters that do something, and nothing that rebuilds."""
    model = model_of(stage)
    model.reconstructions = nn.ModuleDict()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        for name, value in model.projections.named_parameters():
            if ".lora." in name:
                nn.init.normal_(value, std=0.3)
    return model


def slow_keyed_terms(model: Retrieval, batch: Batch, margin: float) -> dict[str, Tensor]:
    """Every key's loss with that key alone switched on."""
    mask, terms = batch.candidates["t"], {}
    for key, weight in (("a+t", 2.0), ("t+v", 1.0), ("a+v", 0.5)):
        x, y = key.split("+")
        for name in (x, y):
            Bank(model.projections[name]).activate(key)
        e = embedded(model, batch)
        there = [i for i in range(ROWS) if batch.present[x][i] and batch.present[y][i]]
        if "t" in (x, y):
            terms[f"combination {key}"] = weight * slow_mil_nce(e[x if y == "t" else y], e["t"], mask, there)
        else:
            terms[f"combination {key}"] = weight * slow_mms(e[x], e[y], there, margin)
        for name in (x, y):
            Bank(model.projections[name]).activate(None)
    return terms


def keyed_stage() -> StageConfig:
    combinations = {"keys": KEYS, "weights": {"a+t": 2.0, "a+v": 0.5}}
    bare = {"clustering": None, "reconstruction": {"weight": 0}, "pairs": {}}
    return stage_of(loss="mil_nce", margin=0.02, combinations=combinations, **bare)


@pytest.mark.parametrize("absent", [0.0, 0.3], ids=["complete", "absent"])
def test_combinations_compare_all_texts_under_their_own_key(absent):
    stage = keyed_stage()
    model, batch = keyed_model(stage), clips_of(absent)
    found = step_of(model, stage)(batch)
    expected = slow_keyed_terms(model, batch, 0.02)
    assert set(found.terms) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found.terms[name].mean(), value)
    learning = [value for name, value in model.named_parameters() if not name.startswith("objective")]
    gradients = torch.autograd.grad(found.total.mean(), learning)
    for ours, theirs in zip(gradients, torch.autograd.grad(sum(expected.values()), learning), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)  # sums of some hundred exponentials, float32


def test_an_embedding_under_a_key_is_that_of_the_first_real_text():
    model, batch = keyed_model(keyed_stage()), clips_of()
    output, mask = model(batch), batch.candidates["t"]
    for key in ("a+t", "t+v"):
        every = output.keyed_candidates[key]["t"]
        for i in range(ROWS):
            first = min((m for m in range(COUNT) if mask[i, m]), default=0)
            assert torch.equal(output.keyed[key]["t"][i], every[i, first])
    assert {key: set(values) for key, values in output.keyed_candidates.items()} == {
        "a+t": {"t"},
        "t+v": {"t"},
        "a+v": set(),
    }


def test_validation_under_keys_has_one_text_per_clip():
    stage = keyed_stage()
    stage = stage.model_copy(update={"training": stage.training.model_copy(update={"batch_size": ROWS})})
    model, batch = keyed_model(stage), rows_of(ROWS, 0.3, seed=2)
    output = model(batch)
    one = Embedded(
        batch.ids,
        batch.index,
        {name: value.detach() for name, value in output.embeddings.items()},
        batch.present,
        keyed={key: {n: v.detach() for n, v in values.items()} for key, values in output.keyed.items()},
    )
    here = replace(batch, inputs=batch.inputs | {"t": batch.inputs["t"][:, None]})
    terms = slow_keyed_terms(model, replace(here, candidates={"t": batch.present["t"][:, None]}), 0.02)
    found = contrastive_loss(one, stage, model.objective, ("t",))
    assert found == pytest.approx(float(sum(terms.values()).detach()), rel=1e-5)


def test_it_has_a_margin_for_its_other_pairs_and_no_temperature():
    assert RetrievalConfig(loss="mil_nce", margin=0.1).first_temperature == 1.0
    with pytest.raises(ValueError, match="no temperature"):
        RetrievalConfig(loss="mil_nce", temperature=0.1)
