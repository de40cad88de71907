"""Findings in plain words: what was found, the numbers behind it, and what to try."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from awase.records import Estimate, Finding, ModalityEvidence

Role = Literal["harmful", "used", "uninformative", "ignored", "redundant"]


class Case(NamedTuple):
    """What a modality is in the joint model, for which of the definition's reasons, and whether that is certain."""

    role: Role
    reasons: tuple[str, ...] = ()
    certain: bool = True


def percent(estimate: Estimate) -> str:
    """`58.2 % [51.0, 65.3]`."""
    return f"{100 * estimate.value:.1f} % [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def points(estimate: Estimate) -> str:
    """`+3.2 points [-1.0, +7.4]`, the minus as a minus."""
    return f"{signed(estimate.value)} points [{signed(estimate.low)}, {signed(estimate.high)}]"


def signed(fraction: float) -> str:
    """A fraction as signed points: `+3.2`, `−1.0`, `0.0`."""
    text = f"{100 * fraction:+.1f}".replace("-", "−")
    return "0.0" if text[1:] == "0.0" else text


def role_of(
    name: str, evidence: ModalityEvidence, metric: str, case: Case, ratio: float | None, splits: bool
) -> Finding:
    """What the joint model makes of a modality; `ratio` is its discrepancy ratio at the last epoch."""
    assert evidence.gain is not None, "a modality without others has no role"
    numbers = [f"{_word(metric)} of the model minus that without {name}: {points(evidence.gain)}"]
    if case.role in ("uninformative", "ignored", "redundant"):
        numbers += _knowledge(name, evidence, metric)
    if case.role in ("ignored", "redundant"):
        numbers.append(f"the model given {name} alone: {percent(evidence.only)}")
    if case.role in ("ignored", "redundant") and evidence.probes_gain is not None:
        numbers.append(
            f"what a mean of the modalities' linear probes gains from {name}: {points(evidence.probes_gain)}"
        )
    if case.role in ("ignored", "harmful") and ratio is not None:
        numbers.append(f"discrepancy ratio at the last epoch: {ratio:.2f} (1: as far as the others)")
    return Finding(
        kind=case.role,
        modality=name,
        statement=_STATEMENTS[case.role].format(
            name=name,
            metric=_word(metric),
            missed=_missed(evidence.gain),
            reasons=_reasons(case),
            be=_be(case.certain),
        ),
        certain=case.certain,
        numbers=tuple(numbers),
        advice=_advice(name, evidence, case, splits),
    )


def under_trained(name: str, evidence: ModalityEvidence, metric: str, reasons: Sequence[str]) -> Finding:
    """The modality could tell more after more, or other, training."""
    numbers = []
    if "features" in reasons and evidence.probe_change is not None:
        change = points(evidence.probe_change)
        numbers.append(f"linear probe on its features, joint model minus the stage that trained it alone: {change}")
    if "inside" in reasons:
        numbers.append(
            f"its own logits inside the joint model: {percent(evidence.inside)}, a linear probe on the same features: "
            f"{percent(evidence.probe)}; difference {points(evidence.inside_minus_probe)}"
        )
    if "curve" in reasons:
        numbers.append("the stage that trained it alone was still improving on validation at its last epoch")
    alike = evidence.own_from == "stage" and evidence.inside.value >= evidence.own.value
    advice = {
        "features": f"Begin from the stage that trained {name} alone: the methods `joint_finetuned` and `mmlora` do.",
        "inside": f"Train {name} longer, its own stage is no better: `--set unimodal_overrides.{name}.epochs=...`."
        if alike
        else f"Give {name} a loss of its own: the method `joint` with `modality_weight=1`.",
        "curve": f"Train {name} longer: `--set unimodal_overrides.{name}.epochs=...`.",
    }
    return Finding(
        kind="under_trained",
        modality=name,
        statement=f"{name} is under-trained: {' and '.join(_LAGS[reason] for reason in reasons)}.",
        numbers=tuple(numbers),
        advice=tuple(advice[reason] for reason in reasons),
    )


def alone(name: str, evidence: ModalityEvidence, metric: str) -> Finding:
    """The run has one modality."""
    return Finding(
        kind="alone",
        modality=name,
        statement=f"The run uses {name} alone, so there is nothing to compare it with.",
        numbers=(
            f"its {_word(metric)}: {percent(evidence.own)}",
            f"minus the constant prediction: {points(evidence.own_above_chance)}",
            f"a linear probe on its features: {percent(evidence.probe)}",
        ),
    )


def whole_at_chance(above_chance: Estimate, metric: str, fusion: str | None) -> Finding:
    """The model as a whole cannot be told from a constant; `fusion` is named where an additive one may be why."""
    statement = "The model as a whole is not clearly better than the best constant prediction."
    advice = ["Train longer or with another learning rate, and look at the data with `awase data check`."]
    if fusion is not None:
        statement += (
            f" No modality tells the label alone, and the fusion {fusion!r} adds one term per modality: what only "
            "several of them tell together it cannot represent."
        )
        advice.insert(0, "Try a fusion that is not additive: the method `joint` with `fusion=mlp`.")
    return Finding(
        kind="at_chance",
        modality=None,
        statement=statement,
        numbers=(f"{_word(metric)} of the model minus that of the constant prediction: {points(above_chance)}",),
        advice=tuple(advice),
    )


def synergy(pair: str, interaction: Estimate, fusion: str) -> Finding:
    """Two modalities tell more together than each for itself."""
    names = pair.replace("+", " and ")
    return Finding(
        kind="synergy",
        modality=None,
        statement=f"{names} tell more together than each for itself, and the fusion {fusion!r} makes use of it.",
        numbers=(f"Shapley interaction: {points(interaction)}",),
        advice=("Keep a fusion that is not additive: late means, sums and one linear layer cannot represent this.",),
    )


def unfinished(stage: str) -> Finding:
    """A stage of several modalities could have gone on."""
    return Finding(
        kind="unfinished",
        modality=None,
        statement=f"Stage {stage} was still improving on validation at its last epoch.",
        advice=(
            "Train it longer before judging its modalities: `--set joint.epochs=...`, or `from_start.epochs` where it "
            "began from the initial weights.",
        ),
    )


def verdict_of(wrong: Sequence[Finding], findings: Sequence[Finding], gains: Sequence[Estimate]) -> str:
    """What is wrong by modality; or that nothing wrong was found, with the precision of the gains."""
    if wrong:
        kinds: dict[str | None, list[str]] = {}
        for finding in wrong:
            said = kinds.setdefault(finding.modality, [])
            be = _be(finding.certain)
            said.append(f"{be} {_WORDS[finding.kind]}" if not said or be != "is" else _WORDS[finding.kind])
        parts = [f"{'the model' if name is None else name} {' and '.join(said)}" for name, said in kinds.items()]
        sentence = "; ".join(parts)
        return f"{sentence[0].upper()}{sentence[1:]}."
    if not gains:
        return "Nothing wrong was found; with one modality there is nothing to compare."
    width = max((gain.high - gain.low) / 2 for gain in gains)
    later = "" if all(finding.kind != "unfinished" for finding in findings) else " Training was not finished, though."
    return (
        "Nothing wrong was found. What a modality adds is known to about "
        f"±{100 * width:.1f} points with these {max(gain.count for gain in gains)} samples.{later}"
    )


_WORDS = {"harmful": "harmful", "ignored": "ignored", "under_trained": "under-trained", "at_chance": "at chance"}
_STATEMENTS: dict[Role, str] = {
    "harmful": "{name} is harmful: {metric} rises when it is left out.",
    "used": "{name} is used: leaving it out costs {metric}.",
    "uninformative": "{name} is uninformative: alone it is not clearly better than the best constant prediction, so "
    "there is nothing to gain that these samples can show.",
    "ignored": "{name} {be} ignored: leaving it out changes {metric} by no more than noise (an effect of up to "
    "{missed} points may have been missed), although it tells the label{reasons}.",
    "redundant": "{name} is redundant: leaving it out changes {metric} by no more than noise, and what it tells, the "
    "other modalities tell too, as far as was seen (an effect of up to {missed} points may have been missed).",
}
_LAGS = {
    "features": "joint training left its features worse than training it alone",
    "inside": "the joint model decides worse by it than a linear classifier on the same features",
    "curve": "its own training was still improving",
}


def _knowledge(name: str, evidence: ModalityEvidence, metric: str) -> list[str]:
    kinds = {
        "stage": "of the stage that trained it alone",
        "store": "of a stage of another run that trained it alone",
        "only": "of the joint model given it alone",
    }
    return [
        f"own {_word(metric)} of {name} ({kinds[evidence.own_from]}): {percent(evidence.own)}; minus the constant "
        f"prediction {points(evidence.own_above_chance)}",
        f"linear probe on its features: {percent(evidence.probe)}; minus the constant prediction "
        f"{points(evidence.probe_above_chance)}",
    ]


def _advice(name: str, evidence: ModalityEvidence, case: Case, splits: bool) -> tuple[str, ...]:
    if case.role == "harmful":
        return (
            f"Train without {name}, or let validation weigh the modalities: the method `ume` with `weighted=true`.",
            "Look at its data: noise, a wrong pairing or broken files make a modality harmful (`awase data check`).",
        )
    if case.role == "uninformative":
        return (
            f"Look at what is read for {name} (`awase data check`), or try an encoder with pretrained weights.",
            "If it tells nothing about the label, leave it out; what it tells only together with others, a fusion that "
            "is not additive can learn (`fusion=mlp`).",
        )
    return _advice_on_ignored(name, evidence, case, splits) if case.role == "ignored" else ()


def _advice_on_ignored(name: str, evidence: ModalityEvidence, case: Case, splits: bool) -> tuple[str, ...]:
    found = [] if case.certain else ["Measure it on more samples before acting on this."]
    if "own" in case.reasons or evidence.own_from == "only":
        fusion = "" if splits else "`fusion=concat` and "
        found.append(f"Give {name} a loss of its own: the method `joint` with {fusion}`modality_weight=1`.")
    if evidence.own_from != "stage":
        found.append("Train every modality alone first, then join: `mmlora` or `joint_finetuned`; `ume` is the floor.")
        found.append("Or keep the others from outrunning it: `ogm_ge`, `mmpareto` or `umt`; not all gain over `ume`.")
    if "probes" in case.reasons:
        found.append("Weigh the modalities on validation: the method `ume` with `weighted=true` and `calibrated=true`.")
    if case.reasons == ("probe",) and evidence.own_from != "only":
        found.append(
            f"Train it longer, its features know more than its head says: `--set unimodal_overrides.{name}.epochs=...`."
        )
    return tuple(found)


def _be(certain: bool) -> str:
    return "is" if certain else "may be"


def _reasons(case: Case) -> str:
    """What is left to gain from an ignored modality, as the end of a sentence."""
    parts = []
    if "probes" in case.reasons:
        parts.append("a mean of linear probes on the same features gains from it")
    if {"own", "probe"} & set(case.reasons):
        better = "its own model does" if "own" in case.reasons else "a linear probe on its features does"
        parts.append(f"given it alone, the model decides far worse than {better}")
    if case.reasons and "probes" not in case.reasons:
        parts.append("whether it would add to the other modalities was not seen")
    return "".join(f"; {part}" for part in parts)


def _missed(gain: Estimate) -> str:
    return f"{100 * max(abs(gain.low), abs(gain.high)):.1f}"


def _word(metric: str) -> str:
    return {"accuracy": "accuracy", "f1_micro": "micro F1"}[metric]
