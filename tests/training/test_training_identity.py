"""Every field that can change a number changes the address of a stage, and nothing else does.

The configuration's classes are walked field by field, so that a field added later is asked about here by itself.
"""

from collections.abc import Iterator
from dataclasses import fields, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import torch
from pydantic import BaseModel

from awase.config import (
    AdapterConfig,
    ArrayInput,
    AudioInput,
    BalancingConfig,
    ClusteringConfig,
    CombinationsConfig,
    Crop,
    DeriveConfig,
    EncoderConfig,
    Experiment,
    Flip,
    FlowInput,
    FusionConfig,
    ImageInput,
    KeptConfig,
    Noise,
    ObjectiveConfig,
    Occlusion,
    PixelNoise,
    RetrievalConfig,
    Runtime,
    SelectionConfig,
    SpaceConfig,
    SpecAugment,
    StageConfig,
    StageStream,
    TargetsConfig,
    TextInput,
    TimeShift,
    TrainConfig,
    VideoInput,
)
from awase.config import policies as kept
from awase.training import identity
from awase.training.identity import Surroundings, stage_document, stage_hash

# What must not change the address, and why.
UNREAD = {
    (StageConfig, "name"): "the same work under another name is the same work",
    (StageConfig, "start"): "the hashes of the parents stand for their names",
    (StageConfig, "teachers"): "the hashes of the teachers stand for their names",
    (StageConfig, "derived"): "the derived values stand for the names of the decisions",
    (StageConfig, "only_if"): "whether the stage is run at all does not change what it is",
}

UNREAD_INSIDE = {"retrieval.combinations.ensemble": "routes are calibrated after the training"}

AUGMENT = (Crop(), Flip(), TimeShift(), SpecAugment(), Noise(), PixelNoise(), Occlusion())
INPUTS = {
    "video": VideoInput(column="v", augment=AUGMENT, window_s=1.5),
    "audio": AudioInput(column="a", corrupt=AUGMENT, window_s=1.5),
    "image": ImageInput(column="i"),
    "flow": FlowInput(column="f"),
    "text": TextInput(column="t"),
    "array": ArrayInput(column="r", shape=(3,)),
}
# Not all of them go together; each is walked.
KEPT = KeptConfig.model_construct(
    pairs={"audio+text": 1.0},
    policies=(
        kept.FeatureDistillation(measure="cosine"),
        kept.SimilarityDistillation(),
        kept.CkcPolicy(),
        kept.ReplayPolicy(),
        kept.EwcPolicy(),
        kept.DnsPolicy(),
        kept.LowRankPolicy(),
    ),
)
STAGE = StageConfig(
    name="joint",
    modalities=tuple(INPUTS),
    train=("*.head",),
    start=("video",),
    fusion=FusionConfig(options={"of": "logits"}),
    adapters={"audio": AdapterConfig()},
    objective=ObjectiveConfig(modality_weights={"audio": 0.5}),
    training=TrainConfig(),
    balancing=BalancingConfig(name="ogm_ge", options={"alpha": 0.5}),
    retrieval=RetrievalConfig(
        space=SpaceConfig(projections={"audio": "linear", "text": "linear"}),
        loss="info_nce",
        pairs={"audio+text": 1.0},
        targets=TargetsConfig(kind="partial", epsilon=0.5, quantile=0.2, pairs=("audio+text",)),
        clustering=ClusteringConfig(),
        combinations=CombinationsConfig(
            keys=("audio+text",),
            learn=("audio+text",),
            adapters={"audio": AdapterConfig()},
            weights={"audio+text": 1.0},
            temperatures={"audio+text": 0.1},
        ),
        clustered=("audio",),
        reconstructed=("audio",),
        begin=("queue",),
    ).model_copy(update={"kept": KEPT}),
    derived={"weights": "weights"},
    stream=StageStream(
        data_sets=("second",), earlier=("first",), keys=("first", "second"), low_rank=kept.LowRankPolicy()
    ),
)
AROUND = Surroundings(
    data_fingerprint="f00d",
    task="single_label",
    classes=("no", "yes"),
    inputs=INPUTS,
    encoders={name: EncoderConfig(name=f"small_{name}", options={"width": 8}) for name in INPUTS},
    selection=SelectionConfig(),
    seed=0,
    device="cpu",
    dtype="float32",
    threads=1,
    sources={"audio": "abc"},
)


def address(stage: StageConfig = STAGE, around: Surroundings = AROUND, **changes: Any) -> str:
    given = {"parents": ["p"], "initial": "i", "derived": {"weights": {"audio": 1.0}}, "teachers": [], **changes}
    names = ("derived", "teachers")
    document = stage_document(stage, given["parents"], given["initial"], around, *(given[name] for name in names))
    return stage_hash(document)


def other_value(value: Any, annotation: Any) -> Any:
    """Another value of the same type as `value`, or of the first type the annotation names where it is None."""
    if get_origin(annotation) is Annotated:
        return other_value(value, get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return next(choice for choice in get_args(annotation) if choice != value)
    choices = [one for one in get_args(annotation) if get_origin(one) is Literal]
    if choices:  # or none of them
        return other_value(value, choices[0])
    if value is None:
        kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
        assert get_origin(annotation) in (Union, UnionType), annotation
        return other_value({int: 2, float: 0.3, str: "x"}[kinds[0]], kinds[0])
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 + 0.13  # of 0.26 alone the same
    if isinstance(value, str):
        return value + "x"
    raise AssertionError(f"no other value for {value!r}: {annotation}")


def changes_of(value: Any, annotation: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, changed copy) for every field of a configuration, in it and in everything it holds."""
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            if isinstance(value, BaseModel) and name in ("name", "kind") and only_one(info.annotation):
                continue  # the name of the class itself: another class is another field's change
            for where, new in changes_of(getattr(value, name), info.annotation, f"{path}.{name}"):
                # A copy is not checked: some fields go together, and each is changed alone here.
                yield where, value.model_copy(update={name: new})
    elif isinstance(value, dict):
        yield f"{path}[+]", {**value, "added": next(iter(value.values()), 1)}
        for key, item in value.items():
            for where, new in changes_of(item, Any, f"{path}[{key}]"):
                yield where, {**value, key: new}
    elif isinstance(value, tuple):
        inner = get_args(annotation)[0] if get_origin(annotation) is tuple else None
        choices = get_args(inner)
        if get_origin(inner) is Literal:  # of choices: another one at the end, and in the place of each
            other = next(choice for choice in choices if choice not in value)
            yield f"{path}[+]", (*value, other)
            for index in range(len(value)):
                yield f"{path}[{index}]", (*value[:index], other, *value[index + 1 :])
            return
        if value and all(isinstance(item, int) for item in value):
            yield f"{path}[+]", (*value, 1)
        elif not value or isinstance(value[0], str):
            yield f"{path}[+]", (*value, "added") if value else value
        for index, item in enumerate(value):
            for where, new in changes_of(item, type(item), f"{path}[{index}]"):
                yield where, (*value[:index], new, *value[index + 1 :])
    else:
        yield path, other_value(value, annotation)


def only_one(annotation: Any) -> bool:
    return get_origin(annotation) is Literal and len(get_args(annotation)) == 1


def stage_changes() -> list[tuple[str, StageConfig]]:
    """Every change of the stage; changes that add a modality have no input, so they are left to the surroundings."""
    changes = []
    for name, info in StageConfig.model_fields.items():
        if (StageConfig, name) in UNREAD or name == "modalities":
            continue
        for where, new in changes_of(getattr(STAGE, name), info.annotation, name):
            if new != getattr(STAGE, name):
                changes.append((where, STAGE.model_copy(update={name: new})))
    return changes


def input_changes() -> list[tuple[str, Surroundings]]:
    changes = []
    for modality, setting in INPUTS.items():
        for where, new in changes_of(setting, type(setting), modality):
            if new != setting:
                changes.append((where, replace(AROUND, inputs={**INPUTS, modality: new})))
        augmented = setting.model_copy(update={"augment": (Flip(), *setting.augment)})
        changes.append((f"{modality}.augment[+]", replace(AROUND, inputs={**INPUTS, modality: augmented})))
    return changes


def test_the_walk_finds_every_field():
    found = {where for where, _ in stage_changes()} | {where for where, _ in input_changes()}
    for kind, prefix in ((TrainConfig, "training."), (ObjectiveConfig, "objective."), (StageStream, "stream.")):
        inside = {"stream.low_rank"}
        names = {f"{prefix}{name}" for name in kind.model_fields} - inside
        assert names <= {where.partition("[")[0] for where in found}
    assert {f"stream.low_rank.{name}" for name in kept.LowRankPolicy.model_fields if name != "name"} <= found
    assert {f"adapters[audio].{name}" for name in AdapterConfig.model_fields} <= found
    for kind, prefix in (
        (RetrievalConfig, "retrieval."),
        (SpaceConfig, "retrieval.space."),
        (ClusteringConfig, "retrieval.clustering."),
        (CombinationsConfig, "retrieval.combinations."),
        (TargetsConfig, "retrieval.targets."),
    ):
        assert {f"{prefix}{name}" for name in kind.model_fields} <= {where.partition("[")[0] for where in found} | {
            "retrieval.space",
            "retrieval.clustering",
            "retrieval.reconstruction",
            "retrieval.combinations",
            "retrieval.targets",
            "retrieval.combinations.adapter",
            "retrieval.kept",
        }
    for number, policy in enumerate(KEPT.policies):
        assert {f"retrieval.kept.policies[{number}].{n}" for n in type(policy).model_fields if n != "name"} <= found
    assert {"fusion.name", "fusion.options[of]", "fusion.options[+]", "train[0]", "train[+]"} <= found
    for modality, setting in INPUTS.items():
        plain = set(type(setting).model_fields) - {"kind", "augment", "corrupt", "shape"}
        assert {f"{modality}.{name}" for name in plain} <= found
    assert {"video.augment[4].voices", "audio.corrupt[3].max_bins", "array.shape[0]"} <= found
    assert len(found) > 80


def test_every_field_of_a_stage_changes_its_address():
    hashes = {"as it is": address()}
    hashes |= {where: address(stage) for where, stage in stage_changes() if where not in UNREAD_INSIDE}
    assert len(set(hashes.values())) == len(hashes)


def test_a_space_without_targets_has_the_address_that_it_had_before_there_were_any():
    space = STAGE.retrieval.model_copy(update={"targets": None})
    plain = stage_document(STAGE.model_copy(update={"retrieval": space}), [], "", AROUND, {})
    drawn = stage_document(STAGE, [], "", AROUND, {})
    assert "targets" not in plain["stage"]["retrieval"]
    assert stage_hash(plain) != stage_hash(drawn)
    del drawn["stage"]["retrieval"]["targets"]
    assert stage_hash(plain) == stage_hash(drawn)


def test_a_stage_of_no_stream_has_the_address_that_it_had_before_there_were_any():
    plain = stage_document(STAGE.model_copy(update={"stream": None}), [], "", AROUND, {})
    assert "stream" not in plain["stage"]
    assert "stream" in stage_document(STAGE, [], "", AROUND, {})["stage"]


def test_what_is_only_used_after_the_training_does_not():
    changes = dict(stage_changes())
    assert {address(changes[where]) for where in UNREAD_INSIDE} == {address()}


def test_every_field_of_an_input_changes_the_address():
    hashes = {"as it is": address()}
    hashes |= {where: address(around=around) for where, around in input_changes()}
    assert len(set(hashes.values())) == len(hashes)


def test_the_order_of_augmentations_changes_the_address():
    turned = INPUTS["video"].model_copy(update={"augment": AUGMENT[::-1]})
    assert address(around=replace(AROUND, inputs={**INPUTS, "video": turned})) != address()


def around_changes() -> dict[str, Surroundings]:
    """A change of every field of the surroundings that is no mapping of configurations."""
    changed = {
        "data_fingerprint": "beef",
        "task": "multi_label",
        "classes": ("yes", "no"),
        "seed": 1,
        "device": "cuda",
        "dtype": "bfloat16",
        "threads": 2,
        "world_size": 2,
        "sources": {"audio": "abd"},
        "selection": SelectionConfig(metric="loss"),
    }
    return {name: replace(AROUND, **{name: value}) for name, value in changed.items()}


def test_every_surrounding_changes_the_address():
    walked = {"inputs", "encoders"}  # in tests of their own
    changes = around_changes()
    assert set(changes) | walked == {field.name for field in fields(Surroundings)}
    more = {
        "direction": replace(AROUND, selection=SelectionConfig(direction="min")),
        "no sources": replace(AROUND, sources=None),
    }
    hashes = {address(), *(address(around=around) for around in (changes | more).values())}
    assert len(hashes) == len(changes) + len(more) + 1


def with_encoder(**changes: Any) -> Surroundings:
    config = AROUND.encoders["audio"].model_copy(update=changes)
    return replace(AROUND, encoders={**AROUND.encoders, "audio": config})


def user_encoder() -> None:
    """Stands for a callable of the user's."""


def other_encoder() -> None:
    """Stands for another one."""


ENCODER_CHANGES = {
    "name": {"name": "small_other"},
    "options": {"options": {"width": 9}},
    "pretrained": {"pretrained": True},
    "a callable": {"name": user_encoder},
    "another callable": {"name": other_encoder},
}


def test_every_field_of_an_encoder_changes_the_address():
    assert set(EncoderConfig.model_fields) <= set(ENCODER_CHANGES)
    hashes = {address(), *(address(around=with_encoder(**change)) for change in ENCODER_CHANGES.values())}
    assert len(hashes) == len(ENCODER_CHANGES) + 1


def test_where_the_weights_lay_does_not_change_the_address_but_the_weights_do():
    spellings = [True, "some/folder", "/some/folder/", "owner/name"]
    assert len({address(around=with_encoder(pretrained=spelling)) for spelling in spellings}) == 1
    assert address(initial="j") != address()


def test_parents_and_derived_values_change_the_address():
    hashes = {
        address(),
        address(parents=["q"]),
        address(parents=["p", "q"]),
        address(parents=["q", "p"]),
        address(parents=[]),
        address(parents=["p", "t"]),
        address(teachers=["t"]),
        address(derived={"weights": {"audio": 1.5}}),
        address(derived={"temperatures": {"audio": 1.0}}),
        address(derived={}),
    }
    assert len(hashes) == 10


@pytest.mark.parametrize(("kind", "name"), sorted(UNREAD, key=str))
def test_names_and_wiring_do_not_change_the_address(kind, name):
    new = {
        "name": "other",
        "start": ("other",),
        "teachers": ("other",),
        "derived": {"weights": "other"},
        "only_if": {"choice": "other"},
    }[name]
    assert address(STAGE.model_copy(update={name: new})) == address()


def test_the_modalities_and_their_order_change_the_address():
    assert address(STAGE.model_copy(update={"modalities": tuple(INPUTS)[::-1]})) != address()
    assert address(STAGE.model_copy(update={"modalities": tuple(INPUTS)[:-1]})) != address()


def test_inputs_and_encoders_of_other_modalities_are_not_read():
    alone = STAGE.model_copy(update={"modalities": ("video",), "adapters": {}})
    other = replace(with_encoder(name="else"), inputs={**INPUTS, "audio": AudioInput(column="b")})
    assert address(alone, other) == address(alone)


def test_how_a_run_is_executed_is_not_read():
    """Of the runtime only device, dtype and threads are; of the experiment only what a stage is given."""
    read = set(stage_document(STAGE, [], "", AROUND, {})) | {"threads"}
    assert set(Runtime.model_fields) & read == {"device", "dtype", "threads"}
    assert not (set(Experiment.model_fields) - {"encoders", "selection", "data"}) & read
    assert not set(DeriveConfig.model_fields) & read


def test_a_raised_revision_and_another_torch_change_the_address(monkeypatch):
    before = address()
    monkeypatch.setattr(identity, "REVISIONS", {**identity.REVISIONS, "loop": identity.REVISIONS["loop"] + 1})
    raised = address()
    monkeypatch.undo()
    monkeypatch.setattr(torch, "__version__", "9.9")
    assert len({before, raised, address()}) == 3


def test_the_address_can_be_a_file_name():
    assert len(address()) == 32
    assert address().isalnum()
