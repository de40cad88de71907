"""What `headroom` compares: settings of every model, equal budgets, and the stages of a pair's own projections."""

from pathlib import Path
from typing import Any

import pytest

from awase.config import (
    ArrayInput,
    DataConfig,
    Experiment,
    MethodConfig,
    RetrievalConfig,
    SelectionConfig,
    TextInput,
    TrainConfig,
)
from awase.experiments.headroom import headroom
from awase.methods import MethodContext, build_method

THREE = ("audio", "text", "video")
PAIRS = ("audio+text", "audio+video", "text+video")
SPACE: dict[str, Any] = {
    "space": {"dim": 7, "reconstruction": 5},
    "loss": "info_nce",
    "clustering": {"num_clusters": 3},
    "clustered": ["audio", "video"],
    "pairs": {"audio+text": 0.1},
}
JOINT, START = TrainConfig(epochs=11), TrainConfig(epochs=13, learning_rate=3e-3)
CONTEXT = MethodContext(THREE, {}, JOINT, START)


def experiment(*methods: MethodConfig, modalities: tuple[str, ...] = THREE, **changes: Any) -> Experiment:
    inputs = {name: ArrayInput(column=name, shape=(3,)) for name in modalities if name != "text"}
    inputs |= {"text": TextInput(column="text")} if "text" in modalities else {}
    data = {"manifest": Path("clips.csv"), "task": "retrieval", "inputs": {name: inputs[name] for name in modalities}}
    fields: dict[str, Any] = {"joint": JOINT, "from_start": START, "selection": SelectionConfig(metric="R@1")}
    return Experiment(name="clips", data=DataConfig.model_validate(data), methods=methods, **{**fields, **changes})


def mcn(**settings: Any) -> MethodConfig:
    return MethodConfig(method="mcn", label="mine", settings={"retrieval": SPACE, **settings})


def stages(found: Experiment, label: str) -> list[Any]:
    method = next(one for one in found.methods if one.title == label)
    return build_method(method.method, CONTEXT, method.settings)


def test_the_models_that_are_compared():
    found = headroom(experiment(mcn(staged={"first": ["audio", "text"]}), mcn(training={"batch_size": 17})))
    assert found.name == "clips-headroom"
    singles = [*(f"alone-{pair}" for pair in PAIRS), *(f"heads-{pair}" for pair in PAIRS)]
    assert [one.title for one in found.methods] == ["joint", "joint-wide", "joint-longer", *singles, "pair_adapters"]
    (joint,) = stages(found, "joint")
    assert joint.training == START.model_copy(update={"batch_size": 17})
    assert joint.retrieval.pairs == {"audio+text": 0.1, "audio+video": 1.0, "text+video": 1.0}


@pytest.mark.parametrize("pair", PAIRS)
def test_a_pair_alone_has_the_joint_budget_and_nothing_of_other_modalities(pair: str):
    found = headroom(experiment(mcn()))
    (joint,), (own,) = stages(found, "joint"), stages(found, f"alone-{pair}")
    assert own.modalities == tuple(pair.split("+"))
    assert own.training == joint.training
    assert own.retrieval.pairs == {pair: 1.0}
    assert set(own.retrieval.clustered) == {"audio", "video"} & set(pair.split("+"))
    assert own.retrieval.space == joint.retrieval.space


def test_the_controls():
    found = headroom(experiment(mcn(), MethodConfig(method="pair_adapters", settings={"training": {"epochs": 5}})))
    (joint,), (wide,), (longer,) = (stages(found, label) for label in ("joint", "joint-wide", "joint-longer"))
    space = {**joint.retrieval.model_dump(), "space": {**joint.retrieval.space.model_dump(), "dim": 2 * 7}}
    assert wide.retrieval == RetrievalConfig.model_validate(space)
    assert wide.training == joint.training
    assert longer.retrieval == joint.retrieval
    assert longer.training == START.model_copy(update={"epochs": 13 + 5})


def test_adapters_are_of_every_pair_over_the_joint_space():
    combination = {
        "adapter": {"rank": 3},
        "weights": {"audio+text": 0.5, "audio+text+video": 2.0},
        "learn": ["audio+text"],
    }
    settings = {"keys": ["audio+text", "audio+text+video"], "combination": combination, "training": {"epochs": 5}}
    found = headroom(experiment(mcn(), MethodConfig(method="pair_adapters", settings=settings)))
    (joint,), (shared, keyed) = stages(found, "joint"), stages(found, "pair_adapters")
    assert shared == joint
    adapters = keyed.retrieval.combinations
    assert (adapters.keys, adapters.learned, adapters.weights) == (PAIRS, PAIRS, {"audio+text": 0.5})
    assert adapters.adapter.rank == 3
    assert keyed.training == JOINT.model_copy(update={"epochs": 5})


@pytest.mark.parametrize("together", [False, True])
def test_an_experiment_of_adapters_alone_names_its_own_space(together: bool):
    training = {"training": {"epochs": 5}, "together": True} if together else {"shared_training": {"epochs": 5}}
    found = headroom(experiment(MethodConfig(method="pair_adapters", settings={"retrieval": SPACE, **training})))
    (joint,), (shared, keyed), (longer,) = (stages(found, n) for n in ("joint", "pair_adapters", "joint-longer"))
    assert shared == joint
    assert (joint.training.epochs, keyed.training.epochs, longer.training.epochs) == (5, 11, 16)


def test_projections_of_a_pair_begin_as_the_joint_ones_and_learn_alone():
    found = headroom(experiment(mcn()))
    (joint,), (shared, own) = stages(found, "joint"), stages(found, "heads-audio+video")
    assert shared == joint
    assert (own.start, own.train, own.modalities) == (("joint",), ("*.head",), ("audio", "video"))
    assert own.retrieval.pairs == {"audio+video": 1.0}
    assert (own.retrieval.clustering, own.retrieval.reconstruction.weight) == (None, 0.0)
    assert own.training == JOINT
    with pytest.raises(ValueError, match=r"There is no pair video\+audio; valid names: "):
        build_method("pair_heads", CONTEXT, {"pair": "video+audio"})


def test_candidates_are_tried_by_all_and_a_direction_chooses_no_epoch():
    candidates = ({"training.learning_rate": 1e-3}, {"training.learning_rate": 1e-2})
    method = mcn().model_copy(update={"candidates": candidates})
    found = headroom(experiment(method, selection=SelectionConfig(metric="R@5 text->video")))
    assert all(one.candidates == candidates for one in found.methods)
    assert found.selection == SelectionConfig(metric="R@5")


def test_what_is_refused():
    with pytest.raises(ValueError, match="audio, video, and it takes three or more"):
        headroom(experiment(mcn(), modalities=("audio", "video")))
    with pytest.raises(ValueError, match="neither mcn nor pair_adapters"):
        headroom(experiment(MethodConfig(method="joint")))
