"""How far a space moved, and what new queries find among old embeddings."""

import pytest
import torch
from torch.nn import functional as F

from awase.evaluation import Embedded
from awase.runner.space_drift import drift_of

IDS = tuple(f"s{i}" for i in range(6))


def embedded(seed: int, names: tuple[str, ...], **keyed: dict[str, torch.Tensor]) -> Embedded:
    generator = torch.Generator().manual_seed(seed)
    values = {name: torch.randn(6, 5, generator=generator) for name in names}
    present = {name: torch.ones(6, dtype=torch.bool) for name in names}
    return Embedded(IDS, torch.arange(6), values, present, keyed=keyed)


def test_nothing_moved_is_no_drift_and_an_index_that_still_works() -> None:
    old = embedded(0, ("a", "v"))
    old.embeddings["v"] = old.embeddings["a"] + 1e-3
    found = drift_of(old, old, cosine=True, device="cpu")
    assert set(found) == {"drift a", "drift v", "old_index a->v", "old_index v->a"}
    assert [found["drift a"], found["drift v"]] == pytest.approx([0, 0], abs=1e-6)
    assert found["old_index a->v"] == found["old_index v->a"] == 1.0


@pytest.mark.parametrize("cosine", [True, False])
def test_drift_and_old_index_are_those_of_the_definition(cosine: bool) -> None:
    old, new = embedded(1, ("a", "v")), embedded(2, ("a", "v", "t"))
    old.present["v"][2] = new.present["v"][2] = False
    found = drift_of(old, new, cosine=cosine, device="cpu")
    there = [0, 1, 3, 4, 5]
    turned = [1 - float(F.cosine_similarity(old.embeddings["v"][i], new.embeddings["v"][i], dim=0)) for i in there]
    assert found["drift v"] == pytest.approx(sum(turned) / 5, abs=1e-6)
    hits = 0
    for i in range(6):
        scores = {
            j: float(
                F.cosine_similarity(new.embeddings["a"][i], old.embeddings["v"][j], dim=0)
                if cosine
                else new.embeddings["a"][i] @ old.embeddings["v"][j]
            )
            for j in there
        }
        hits += i in scores and max(scores, key=scores.__getitem__) == i  # of the one that lacks v: a failure
    assert found["old_index a->v"] == pytest.approx(hits / 6)
    assert not any("t" in name.split(" ")[1].split("->") for name in found)


def test_queries_are_those_of_their_key() -> None:
    old = embedded(3, ("a", "v"))
    new = embedded(4, ("a", "v"), **{"a+v": {"a": old.embeddings["v"], "v": torch.zeros(6, 5)}})
    assert drift_of(old, new, cosine=True, device="cpu")["old_index a->v"] == 1.0


def test_of_fewer_modalities_and_samples_what_both_have_is_compared() -> None:
    old, every = embedded(5, ("a", "v", "t")), embedded(6, ("a", "v"), **{"a+v": embedded(7, ("a", "v")).embeddings})
    rows = torch.tensor([0, 2, 3, 5])

    def some(one: Embedded) -> Embedded:
        keyed = {key: {name: value[rows] for name, value in own.items()} for key, own in one.keyed.items()}
        embeddings, present = ({n: v[rows] for n, v in part.items()} for part in (one.embeddings, one.present))
        return Embedded(tuple(one.ids[i] for i in rows), one.index[rows], embeddings, present, keyed=keyed)

    expected = drift_of(some(embedded(5, ("a", "v"))), some(every), cosine=True, device="cpu")
    assert drift_of(old, some(every), cosine=True, device="cpu") == expected
    assert set(expected) == {"drift a", "drift v", "old_index a->v", "old_index v->a"}
