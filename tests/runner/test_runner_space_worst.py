import torch

from awase.evaluation import Direction, Embedded, ranks_of
from awase.evaluation.directions import side
from awase.runner.space_worst import worst_queries

SAMPLES = 29


def embedded(seed: int = 0) -> Embedded:
    generator = torch.Generator().manual_seed(seed)
    values = {name: torch.randn(SAMPLES, 7, generator=generator) for name in ("a", "b", "text")}
    present = {name: torch.ones(SAMPLES, dtype=torch.bool) for name in values}
    present["a"][::5] = False
    present["text"][3] = False
    return Embedded(tuple(f"s{i}" for i in range(SAMPLES)), torch.arange(SAMPLES) + 100, values, present)


def test_the_worst_queries_and_the_best_items_by_all_scores():
    data, texts = embedded(), {"text": [None if i == 3 else f"words {i}" for i in range(SAMPLES)]}
    for cosine in (False, True):
        for gallery in (("a",), ("a", "b")):
            direction = Direction("text", gallery)
            found = worst_queries(data, direction, cosine=cosine, stage="joint", split="val", texts=texts)
            assert found is not None
            queries, _ = side(data, ("text",), cosine=cosine)
            items, there = side(data, gallery, cosine=cosine)
            scores = (queries @ items.T).masked_fill(~there, -torch.inf)
            ranks = ranks_of(data, direction, cosine=cosine)
            known = [(-int(rank), row) for row, rank in enumerate(ranks) if rank >= 0]
            assert [(-one.rank, int(one.id[1:])) for one in found.queries] == sorted(known)[:20]
            assert (found.gallery, found.lost) == (int(there.sum()), int((ranks < 0).sum()))
            for one in found.queries:
                row = int(one.id[1:])
                best = scores[row].argsort(descending=True)[:3].tolist()
                assert [item.id for item in one.found] == [f"s{place}" for place in best]
                torch.testing.assert_close(torch.tensor([item.score for item in one.found]), scores[row, best])
                torch.testing.assert_close(torch.tensor(one.own_score), scores[row, row])
                assert one.text == f"words {row}"
                assert [item.text for item in one.found] == [texts["text"][place] for place in best]


def test_equal_ranks_stay_in_the_order_of_the_samples():
    data = embedded()
    for name in data.embeddings:
        data.embeddings[name].fill_(1.0)
    found = worst_queries(data, Direction("b", ("text",)), cosine=True, stage="joint", split="val", texts={})
    assert found is not None
    assert [one.id for one in found.queries] == [f"s{i}" for i in range(SAMPLES) if i != 3][:20]
    assert {one.rank for one in found.queries} == {SAMPLES - 2}
    assert found.queries[0].text is None


def test_few_items_and_nobody():
    data = embedded()
    data.present["a"][:] = False
    assert worst_queries(data, Direction("text", ("a",)), cosine=False, stage="x", split="val", texts={}) is None
    data.present["a"][7] = True
    found = worst_queries(data, Direction("text", ("a",)), cosine=False, stage="x", split="val", texts={})
    assert found is not None
    assert [(one.id, one.rank, len(one.found)) for one in found.queries] == [("s7", 0, 1)]
