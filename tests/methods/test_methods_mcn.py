"""The stages of MCN: which modalities, which pairs, which parts, how long, and what begins anew."""

import math
from itertools import combinations

import pytest

from awase.config import Curriculum, RetrievalConfig, TrainConfig
from awase.methods import MethodContext, build_method
from awase.training.optimisers import rate_factor

THREE = ("video", "audio", "text")
JOINT = TrainConfig(epochs=10, learning_rate=1e-4)
ALL = {"audio+video": 1.0, "text+video": 1.0, "audio+text": 1.0}
SPACE = {"space": {"dim": 5, "reconstruction": 3}, "clustering": {"num_clusters": 7}}


def context(joint: TrainConfig = JOINT, from_start: TrainConfig | None = None) -> MethodContext:
    return MethodContext(THREE, dict.fromkeys(THREE, TrainConfig(epochs=3)), joint, from_start)


def mcn(joint: TrainConfig = JOINT, **settings):
    return build_method("mcn", context(joint), settings)


def parts(modalities, kinds=("encoder", "head", "reconstruction")) -> set[str]:
    return {f"{name}.{kind}" for name in modalities for kind in kinds}


def test_joint_is_one_stage_over_all_pairs():
    (stage,) = mcn(retrieval=SPACE)
    assert (stage.name, stage.modalities, stage.start) == ("joint", THREE, ())
    assert stage.retrieval is not None
    assert stage.retrieval.pairs == ALL
    assert (stage.retrieval.clustered, stage.retrieval.reconstructed, stage.retrieval.begin) == ((), (), ())
    assert set(stage.train) == parts(THREE) | {"objective"}
    assert stage.training == JOINT


def test_what_has_no_state_or_no_head_is_not_trained():
    (stage,) = mcn()
    assert set(stage.train) == parts(THREE, ("encoder", "head"))
    (stage,) = mcn(retrieval={"loss": "info_nce", "learn_temperature": True})
    assert set(stage.train) == parts(THREE, ("encoder", "head")) | {"objective"}


def test_joint_trains_as_from_the_start_and_training_changes_it():
    (stage,) = build_method("mcn", context(from_start=TrainConfig(epochs=17)), {"training": {"batch_size": 9}})
    assert stage.training == TrainConfig(epochs=17, batch_size=9)


def test_pairs_choose_the_modalities_and_keep_their_weights():
    (stage,) = mcn(pairs=["audio+text"], retrieval={"pairs": {"audio+text": 0.3, "audio+video": 5.0}})
    assert stage.modalities == ("audio", "text")
    assert stage.retrieval.pairs == {"audio+text": 0.3}
    (stage,) = mcn(pairs=["audio+text", "text+video"])
    assert stage.modalities == THREE
    assert stage.retrieval.pairs == {"audio+text": 1.0, "text+video": 1.0}


@pytest.mark.parametrize("first", list(combinations(THREE, 2)))
def test_strict_draws_only_pairs_with_the_new_modality(first):
    one, two = mcn(staged={"first": list(first)}, retrieval=SPACE)
    known = "+".join(sorted(first))
    assert (one.name, set(one.modalities), one.start) == (known, set(first), ())
    assert one.retrieval.pairs == {known: 1.0}
    assert set(one.train) == parts(first) | {"objective"}
    assert (two.name, two.modalities, two.start) == ("joint", THREE, (known,))
    assert two.retrieval.pairs == {pair: 1.0 for pair in ALL if pair != known}
    assert set(two.train) == parts(THREE) | {"objective"}
    assert (two.retrieval.clustered, two.retrieval.reconstructed) == ((), ())


def test_relaxed_draws_all_and_shares_its_first_stage_with_strict():
    strict, relaxed = (mcn(staged={"first": ["video", "audio"], "second": kind}) for kind in ("strict", "relaxed"))
    assert relaxed[1].retrieval.pairs == ALL
    assert relaxed[0] == strict[0]
    assert relaxed[1].model_copy(update={"retrieval": strict[1].retrieval}) == strict[1]


def test_the_first_stage_of_all_modalities_is_followed_by_all_pairs():
    one, two = mcn(staged={"first": list(THREE)})
    assert one.modalities == two.modalities == THREE
    assert one.retrieval.pairs == two.retrieval.pairs == ALL
    assert one.name == "audio+text+video"


def test_terms_may_cover_the_new_modality_alone():
    _, two = mcn(staged={"first": ["video", "audio"], "terms": "new"}, retrieval=SPACE)
    assert (two.retrieval.clustered, two.retrieval.reconstructed) == (("text",), ("text",))


def test_freezing_keeps_every_part_of_the_first_towers():
    _, two = mcn(staged={"first": ["video", "audio"], "policy": [{"name": "freeze"}]}, retrieval=SPACE)
    assert mcn(staged={"first": ["video", "audio"], "freeze": True}, retrieval=SPACE)[1] == two
    naive = mcn(staged={"first": ["video", "audio"], "freeze": False}, retrieval=SPACE)[1]
    assert naive == mcn(staged={"first": ["video", "audio"]}, retrieval=SPACE)[1]
    assert set(two.train) == parts(("text",)) | {"objective"}
    assert two.modalities == THREE


def test_begin_and_the_shuffled_control_belong_to_one_stage_each():
    one, two = mcn(staged={"first": ["video", "audio"], "begin": ["queue", "centroids"], "shuffle_first": True})
    assert (one.retrieval.begin, two.retrieval.begin) == ((), ("queue", "centroids"))
    assert (one.retrieval.shuffle_pairs, two.retrieval.shuffle_pairs) == (True, False)


COSINES = {**SPACE, "loss": "info_nce", "clustering": None, "pairs": {"audio+video": 0.4}}


def under(*policies, retrieval=COSINES, **fields):
    made = [{"name": one} if isinstance(one, str) else one for one in policies]
    return mcn(staged={"first": ["video", "audio"], "policy": made, **fields}, retrieval=retrieval)


def test_a_policy_changes_the_second_stage_alone_and_is_told_the_old_pairs():
    naive = under()
    first, second = under("similarity_distillation", {"name": "replay", "share": 0.1})
    assert first == naive[0]
    kept = second.retrieval.kept
    assert (kept.pairs, kept.modalities) == ({"audio+video": 0.4}, ("audio", "video"))
    assert [(policy.name, policy.weight) for policy in kept.policies] == [
        ("similarity_distillation", 2.0),
        ("replay", 1.0),
    ]
    assert second.model_copy(update={"retrieval": naive[1].retrieval}) == naive[1]
    assert second.retrieval.model_copy(update={"kept": None}) == naive[1].retrieval


def test_the_projector_of_ckc_learns():
    assert set(under("ckc")[1].train) == {*under()[1].train, "objective"}


def test_dns_trains_old_heads_but_not_old_encoders():
    linear = {**COSINES, "space": {"dim": 5, "projection": "linear"}}
    _, second = under("dns", retrieval=linear)
    assert set(second.train) == {"video.head", "audio.head", "text.encoder", "text.head"}
    with pytest.raises(ValueError, match=r"audio, video would have another: set space\.projection"):
        under("dns")


def test_low_rank_trains_adapters_of_the_old_towers_and_merges_them():
    _, second, third = under({"name": "low_rank", "rank": 3})
    assert set(second.train) == parts(("text",)) | {
        *("video.adapter", "audio.adapter"),
        *("video.reconstruction", "audio.reconstruction"),
    }
    assert {name: adapter.rank for name, adapter in second.adapters.items()} == {"video": 3, "audio": 3}
    assert (third.name, third.train, third.start, third.adapters) == ("merged", (), ("joint",), {})
    assert third.retrieval == under()[1].retrieval


def test_the_bank_trains_the_new_tower_and_adapters_of_its_pairs():
    first, second = under({"name": "bank", "whole": True, "combination": {"place": "both"}})
    assert first == under()[0]
    assert set(second.train) == parts(("text",)) | {"*.adapter.*"}
    assert second.retrieval.combinations.keys == ("text+video", "audio+text", "audio+text+video")
    assert second.retrieval.combinations.place == "both"
    assert second.retrieval.pairs == {"text+video": 1.0, "audio+text": 1.0}


def test_the_adapters_of_a_bank_may_learn_in_a_stage_of_their_own():
    first, second, third = under({"name": "bank", "after": True})
    assert second.retrieval == under("freeze")[1].retrieval
    assert set(second.train) == parts(("text",))
    assert (third.start, third.train, third.retrieval.pairs) == (("joint",), ("*.adapter.*",), {})
    assert [stage.training.epochs for stage in (first, second, third)] == [5, 3, 2]


@pytest.mark.parametrize(("share", "epochs"), [(0.5, (5, 5)), (0.3, (3, 7)), (0.26, (3, 7)), (0.91, (9, 1))])
def test_both_stages_together_take_the_epochs_of_one(share, epochs):
    stages = mcn(staged={"first": ["video", "audio"], "share": share})
    assert tuple(stage.training.epochs for stage in stages) == epochs
    assert all((stage.training.schedule_from, stage.training.schedule_to) == (0.0, 1.0) for stage in stages)


@pytest.mark.parametrize("warmup", [0.0, 1.0, 1.5])
def test_a_continued_schedule_is_that_of_one_stage(warmup):
    joint = JOINT.model_copy(update={"warmup_epochs": warmup})
    one, two = mcn(joint, staged={"first": ["video", "audio"], "share": 0.3, "schedule": "continue"})
    steps = 7
    whole = [rate_factor(step, steps, joint) for step in range(10 * steps)]
    halves = [
        rate_factor(step, steps, stage.training)
        for stage in (one, two)
        for step in range(stage.training.epochs * steps)
    ]
    assert halves == pytest.approx(whole, rel=1e-12)
    assert two.training.warmup_epochs == 0
    restarted = mcn(joint, staged={"first": ["video", "audio"], "share": 0.3})[1].training
    assert rate_factor(0, steps, restarted) == pytest.approx(1.0 if warmup == 0 else 1 / (warmup * steps))


def test_without_warmup_the_span_is_the_share_of_the_cosine():
    one, two = mcn(staged={"first": ["video", "audio"], "schedule": "continue"})
    assert (one.training.schedule_to, two.training.schedule_from) == (0.5, 0.5)
    for step in range(5 * 13):
        first, second = (0.5 * (1 + math.cos(math.pi * (begin + 0.5 * step / 65))) for begin in (0.0, 0.5))
        assert rate_factor(step, 13, one.training) == pytest.approx(first, rel=1e-12)
        assert rate_factor(step, 13, two.training) == pytest.approx(second, rel=1e-12)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pairs": ["audio+smell"]}, r"no pair audio\+smell; valid names: .*audio\+text"),
        ({"pairs": ["video+audio"]}, r"no pair video\+audio"),
        ({"staged": {"first": ["video", "smell"]}}, "no modality smell"),
        ({"staged": {"first": ["video"]}}, "at least 2"),
        ({"staged": {"first": ["video", "audio"]}, "pairs": ["audio+text"]}, "derives its pairs"),
        ({"staged": {"first": ["video", "audio"], "share": 0.01}}, "cannot be divided"),
        (
            {"staged": {"first": ["video", "audio"], "schedule": "continue"}, "training": {"warmup_epochs": 5}},
            "Warm-up",
        ),
        (
            {"staged": {"first": ["video", "audio"], "schedule": "continue"}, "training": {"schedule": "constant"}},
            "Only the cosine",
        ),
        ({"retrieval": {"loss": "smell"}}, "mms"),
        ({"retrieval": {"loss": "mms", "learn_temperature": True}}, "no temperature to learn"),
        ({"retrieval": {"loss": "mms", "temperature": 0.1}}, "no temperature"),
        ({"retrieval": {"loss": "info_nce", "margin": 0.1}}, "no margin"),
        ({"training": {"smell": 1}}, "no field smell"),
        ({"retrieval": {"kept": {"pairs": {"a+b": 1}, "policies": [{"name": "ewc"}]}}}, "set `staged.policy`"),
        ({"staged": {"first": THREE, "policy": [{"name": "ewc"}]}}, "`first` has all of"),
        (
            {"staged": {"first": ["video", "audio"], "second": "relaxed", "policy": [{"name": "replay"}]}},
            "leave out replay",
        ),
        (
            {"staged": {"first": ["video", "audio"], "second": "relaxed", "policy": [{"name": "bank"}]}},
            "second='strict'",
        ),
        ({"staged": {"first": ["video", "audio"], "policy": [{"name": "smell"}]}}, "feature_distillation"),
        (
            {
                "staged": {
                    "first": ["video", "audio"],
                    "policy": [{"name": "bank", "combination": {"keys": ["audio+video"]}}],
                }
            },
            r"The tasks of audio\+video are answered by the first stage",
        ),
        (
            {
                "staged": {
                    "first": ["video", "audio"],
                    "schedule": "continue",
                    "policy": [{"name": "bank", "after": True}],
                }
            },
            "schedule='restart'",
        ),
        ({"smell": 1}, "no setting smell"),
    ],
)
def test_what_cannot_work_is_said(settings, words):
    with pytest.raises(ValueError, match=words):
        mcn(**settings)


def test_a_default_that_is_none_is_the_losss_own():
    config = RetrievalConfig(loss="max_margin")
    assert config.margin is None
    assert [RetrievalConfig(loss=name).first_temperature for name in ("info_nce", "normalised_softmax", "sigmoid")] == [
        0.07,
        0.05,
        0.1,
    ]
    assert RetrievalConfig(loss="sigmoid", temperature=0.3).first_temperature == 0.3
    assert Curriculum(first=("a", "b")).second == "strict"
