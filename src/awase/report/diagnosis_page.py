"""A diagnosis as one page: the verdict, what is behind each statement, the numbers, and the figures."""

from itertools import groupby

from awase.records import Diagnosis, Finding
from awase.report.diagnosis_figures import balance_figure, gains_figure, levels_figure
from awase.report.diagnosis_words import OWN_FROM, change, level, metric_word, rows_of, title
from awase.report.html import Html, bullets, figure, join, table, tag, text
from awase.report.numbers import NONE, plural
from awase.report.page import whole_page

_WRONG = ("harmful", "ignored", "under_trained", "at_chance")


def render_diagnosis(diagnosis: Diagnosis) -> str:
    """Returns one self-contained page: style and figures are inside, nothing is fetched, no script runs."""
    heading = title(diagnosis)
    several = len(diagnosis.modalities) > 1
    parts = [
        ("What was found", _findings(diagnosis)),
        ("What each modality knows", join([_levels_table(diagnosis), figure(levels_figure(diagnosis), _LEVELS)])),
        ("What each modality adds", join([_gains_table(diagnosis), figure(gains_figure(diagnosis), _GAINS)]))
        if several
        else ("", Html("")),
        ("How far apart they were in training", _balance(diagnosis)),
        ("What to know before acting on this", bullets(diagnosis.notes, "warnings")),
    ]
    sections = join(join([tag("h3", name), content]) for name, content in parts if content)
    return whole_page(heading, join([tag("h1", heading), _protocol(diagnosis), sections]))


_LEVELS = (
    "A dot per way of asking, with the 95 % interval over samples. Own: the model that was trained on this modality "
    "alone, or else the joint model given it alone. Inside: its own logits in the joint model."
)
_GAINS = (
    "Differences paired by sample. Right of zero the modality helps. The second row is what there was to gain: the "
    "same difference in a mean of linear probes, one per modality."
)


def _protocol(diagnosis: Diagnosis) -> Html:
    word = metric_word(diagnosis)
    left_out = f" {plural(diagnosis.left_out, 'sample')} without any modality left out." if diagnosis.left_out else ""
    kind = "additive" if diagnosis.additive else "not additive"
    numbers = (
        f"{word} {level(diagnosis.whole)} %, best constant prediction {level(diagnosis.constant)} %; "
        f"loss {diagnosis.whole_loss.value:.3f} against {diagnosis.constant_loss.value:.3f} nats. "
        f"{plural(diagnosis.samples, 'sample')} of {diagnosis.split}.{left_out} Fusion {diagnosis.fusion} ({kind})."
    )
    return tag("div", tag("strong", diagnosis.verdict), Html("<br>"), numbers, css="protocol")


def _findings(diagnosis: Diagnosis) -> Html:
    return join(_finding(finding) for finding in diagnosis.findings)


def _finding(finding: Finding) -> Html:
    head, colon, rest = finding.statement.partition(":")
    statement = tag("p", tag("strong", head) if finding.kind in _WRONG else head, colon, rest)
    what = [tag("p", "What to try:", css="quiet"), bullets(_with_code(one) for one in finding.advice)]
    return join([statement, bullets(finding.numbers, "quiet"), *(what if finding.advice else ())])


def _with_code(sentence: str) -> Html:
    """The sentence with what stands between backticks as code."""
    parts = sentence.split("`")
    return join(tag("code", part) if place % 2 else text(part) for place, part in enumerate(parts))


def _levels_table(diagnosis: Diagnosis) -> Html:
    rows = [
        [name, level(part.own), OWN_FROM[part.own_from], *(level(getattr(part, key)) for key in _KNOWN)]
        for name, part in diagnosis.modalities.items()
    ]
    titles = ["modality", "own", "own model", "inside", "given alone", "probe, joint", "probe, trained alone"]
    return table(titles, rows, caption=f"{metric_word(diagnosis)}, % with 95 % intervals")


_KNOWN = ("inside", "only", "probe", "own_probe")


def _gains_table(diagnosis: Diagnosis) -> Html:
    rows = [[name, *list(rows_of(part).values())[5:]] for name, part in diagnosis.modalities.items()]
    titles = ["modality", "gain", "gain of probes", "Shapley value", "loss gain, nats", "Shapley value of −loss, nats"]
    caption = f"Points of {metric_word(diagnosis)}, and nats, with 95 % intervals; on samples that have the modality"
    pairs = [[name, change(value)] for name, value in diagnosis.interactions.items()]
    more = table(["pair", "interaction"], pairs, caption="Shapley interaction, points") if pairs else Html("")
    return join([table(titles, rows, caption=caption), more])


def _balance(diagnosis: Diagnosis) -> Html:
    found = []
    for stage, points in groupby(diagnosis.balance, key=lambda point: point.stage):
        curve = tuple(points)
        ratios = ", ".join(f"{name} {value:.2f}" for name, value in curve[-1].ratios.items())
        caption = (
            f"Stage {stage}. Probability of the target: the mean over training samples of what a modality's own "
            "logits give it. Discrepancy ratio: that over the mean of the others'; "
            f"at the last epoch {ratios or NONE}. Gradient norm: of the encoder with its adapters, before clipping."
        )
        found.append(figure(balance_figure(stage, curve, tuple(diagnosis.modalities)), caption))
    return join(found)
