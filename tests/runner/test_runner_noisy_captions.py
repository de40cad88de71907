"""Whole runs on clips some of whose training captions are wrong, with several captions per clip."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spaces import clips, mcn_of, space_experiment, train

from awase.config import DataConfig, MethodConfig
from awase.records import Record
from awase.runner.known import of_stage

NOISY = {"mismatch": 0.5, "mismatch_in": ("train",)}
BARE: dict[str, Any] = {"space": {"dim": 13}, "clustering": None}


def noisy(candidates: int = 1) -> DataConfig:
    data = clips()
    return data.model_copy(update={"scenes": data.scenes.model_copy(update={**NOISY, "candidates": candidates})})


def finite(record: Record) -> bool:
    return all(np.isfinite(epoch.train_loss) for stage in record.stages for epoch in stage.curve)


@pytest.mark.parametrize(
    "space",
    [
        {"loss": "info_nce", "targets": {"kind": "soft"}},
        {"loss": "info_nce", "targets": {"kind": "partial", "pairs": ["audio+text", "text+video"]}},
        {"loss": "transport"},
        {"loss": "mil_nce"},
    ],
    ids=["soft", "partial", "transport", "mil_nce"],
)
def test_spaces_and_their_pairs_learn_from_noisy_captions(space: dict[str, Any], tmp_path: Path) -> None:
    keys = ["audio+text", "audio+video", "text+video"]
    settings = {"retrieval": {**BARE, **space}, "keys": keys, "combination": {"place": "both", "adapter": {"rank": 2}}}
    adapters = MethodConfig(method="pair_adapters", settings=settings)
    (record,) = train(space_experiment(noisy(2), adapters), tmp_path / "runs", tmp_path / "cache")
    assert finite(record)
    assert len(record.stages) == 2
    posts = {one.protocol["post_processing"] for one in (*record.retrieval.numbers, *record.retrieval.query_bank)}
    assert posts == {"none", "querybank"}, "nothing transductive without being asked for"
    scenes = record.config["experiment"]["data"]["scenes"]
    assert (scenes["mismatch"], scenes["mismatch_in"], scenes["candidates"]) == (0.5, ["train"], 2)


def test_a_text_encoder_that_stands_still_still_sees_every_candidate(tmp_path: Path, monkeypatch) -> None:
    seen: list[tuple[set[str], set[str]]] = []

    def watched(*given: Any) -> Any:
        found = of_stage(*given)
        seen.append((set(found.names["train"]), set(found.names["val"])))
        return found

    monkeypatch.setattr("awase.runner.space_work.of_stage", watched)
    frozen = {"first": ["audio", "text"], "freeze": True}
    for candidates in (1, 2):
        method = mcn_of(staged=frozen, **BARE, loss="mms" if candidates == 1 else "mil_nce")
        folder = tmp_path / str(candidates)
        (record,) = train(space_experiment(noisy(candidates), method), folder, tmp_path / "cache")
        assert finite(record)
    second = [names for names in seen if names[1]]
    assert second == [({"text"}, {"audio", "text"}), (set(), {"audio", "text"})]


def test_mil_nce_without_candidates_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.scenes\.candidates=2"):
        train(space_experiment(noisy(), mcn_of(**BARE, loss="mil_nce")), tmp_path / "runs", tmp_path / "cache")
