"""From the numbers of a run to a verdict on each modality. The definitions, each from intervals of paired differences:

- **harmful**: accuracy rises when the modality is left out: the interval of its gain lies below 0;
- **used**: leaving it out costs accuracy: the interval of its gain lies above 0 and reaches beyond `MARGIN`;
- **uninformative**: neither of these, and neither its own accuracy nor the linear probe on its features is clearly
  above the constant prediction: there is nothing to gain, which is no defect of training;
- **ignored**: neither of these, informative, and something is left to gain: a mean of the modalities' linear probes
  clearly gains from it, or the model given it alone stays well below its own accuracy or its probe;
- **redundant**: informative, no gain seen, and nothing left to gain was seen either: the model reads it, and the others
  say the same. Not a defect;
- **under-trained**, beside any of these: the probe on its features is clearly below the one on the features of the
  stage that trained it alone; or its own logits in the joint model are well below its probe; or the stage that trained
  it alone was still improving.

"Clearly": the 95 % interval lies above 0 and the value is at least `MARGIN`. "Well below": the interval lies below 0,
the value is at least `WELL_BELOW` and `LOST` of what the better one knows above the constant prediction. "Still
improving": see `awase.evaluation.balance.still_rising`.
An interval that contains 0 is never called "no difference": the statement says how large an effect may have been
missed.
"""

from collections.abc import Mapping, Sequence

from awase.evaluation.statements import (
    Case,
    alone,
    role_of,
    synergy,
    under_trained,
    unfinished,
    verdict_of,
    whole_at_chance,
)
from awase.records import Estimate, Finding, ModalityEvidence

MARGIN = 0.02
"""Two points of accuracy: about the spread over seeds of the built-in comparisons; less is not worth a new training."""
WELL_BELOW = 0.05
"""Five points, so that little knowledge is not said to be lost for a difference of one or two samples."""
LOST = 1 / 3
"""A head trained for the joint decision is worse alone than the best one: in built-in comparisons whose modalities are
all used it loses a tenth to a fifth of what the features know above chance, where one is ignored about a half."""
NOISE = 0.05
"""Five points: where the interval of a gain reaches further from 0, a modality is only said to be ignored perhaps."""
LARGE_INTERACTION = 0.05
"""Five points that no sum over the modalities explains."""

WRONG = ("harmful", "ignored", "under_trained", "at_chance")
"""Kinds of findings that are defects of the training or of the model."""


def clearly(difference: Estimate | None, at_least: float = MARGIN) -> bool:
    """Whether a difference is known to be above 0 and is worth speaking of. False never means there is none."""
    return difference is not None and difference.low > 0 and difference.value >= at_least


def well_below(difference: Estimate, known: Estimate) -> bool:
    """Whether `a - b` says that a is well below b, where b is `known` above the constant prediction."""
    return difference.high < 0 and -difference.value >= max(WELL_BELOW, LOST * known.value)


def informative(evidence: ModalityEvidence) -> bool:
    """Whether the modality is known to tell something about the label."""
    trained = evidence.own_from != "only"
    return clearly(evidence.probe_above_chance) or (trained and clearly(evidence.own_above_chance))


def left_to_gain(evidence: ModalityEvidence) -> tuple[str, ...]:
    """Why more could be had from a modality that is not used: `probes`, `own`, `probe`, or nothing."""
    reasons = {
        "probes": clearly(evidence.probes_gain),
        "own": evidence.own_from != "only" and well_below(evidence.only_minus_own, evidence.own_above_chance),
        "probe": well_below(evidence.only_minus_probe, evidence.probe_above_chance),
    }
    return tuple(name for name, holds in reasons.items() if holds)


def role(evidence: ModalityEvidence) -> Case:
    """What the joint model makes of a modality, and why, by the definitions above; it needs other modalities."""
    gain = evidence.gain
    assert gain is not None, "a modality without others has no role"
    if gain.high < 0:
        return Case("harmful")
    if gain.low > 0 and gain.high > MARGIN:
        return Case("used")
    if not informative(evidence):
        return Case("uninformative")
    reasons = left_to_gain(evidence)
    if not reasons:
        return Case("redundant")
    return Case("ignored", reasons, certain=max(abs(gain.low), abs(gain.high)) <= NOISE)


def lags(evidence: ModalityEvidence, splits: bool) -> tuple[str, ...]:
    """Why a modality counts as under-trained: `features`, `inside`, `curve`, or nothing.

    `splits` says whether the fusion gives each modality logits of its own; without, `inside` cannot be judged, since a
    network that was never given one modality alone may fail at that for another reason.
    """
    change = evidence.probe_change
    reasons = {
        "features": change is not None and change.high < 0 and change.value <= -MARGIN,
        "inside": splits and well_below(evidence.inside_minus_probe, evidence.probe_above_chance),
        "curve": evidence.own_from == "stage" and evidence.own_still_improving,
    }
    return tuple(name for name, holds in reasons.items() if holds)


def findings_of(
    modalities: Mapping[str, ModalityEvidence],
    *,
    above_chance: Estimate,
    additive: bool,
    splits: bool,
    fusion: str,
    metric: str,
    interactions: Mapping[str, Estimate],
    ratios: Mapping[str, float],
    improving: Sequence[str],
) -> tuple[Finding, ...]:
    """Every finding of a run, defects first. `ratios` are the last epoch's, `improving` the joint stages' names."""
    found = []
    for name, evidence in modalities.items():
        if len(modalities) == 1:
            found.append(alone(name, evidence, metric))
        else:
            found.append(role_of(name, evidence, metric, role(evidence), ratios.get(name), splits))
        reasons = lags(evidence, splits)
        if reasons:
            found.append(under_trained(name, evidence, metric, reasons))
    if not clearly(above_chance):
        helpless = additive and len(modalities) > 1 and not any(informative(part) for part in modalities.values())
        found.append(whole_at_chance(above_chance, metric, fusion if helpless else None))
    if not additive:
        found += [
            synergy(pair, value, fusion) for pair, value in interactions.items() if clearly(value, LARGE_INTERACTION)
        ]
    found += [unfinished(name) for name in improving]
    order = {kind: place for place, kind in enumerate((*WRONG, "unfinished", "synergy"))}
    return tuple(sorted(found, key=lambda finding: order.get(finding.kind, len(order))))


def verdict(findings: Sequence[Finding], modalities: Mapping[str, ModalityEvidence]) -> str:
    """One or two sentences: what is wrong, or that nothing wrong was found and how much may have been missed."""
    gains = [evidence.gain for evidence in modalities.values() if evidence.gain is not None]
    return verdict_of([finding for finding in findings if finding.kind in WRONG], findings, gains)
