"""Numbers of a diagnosis as a reader wants them, and the whole of it as plain text."""

from awase.records import Diagnosis, Estimate, Finding, ModalityEvidence
from awase.report.numbers import NONE, plural

OWN_FROM = {"stage": "trained alone", "store": "trained alone, by another run", "only": "given alone"}


def level(found: Estimate | None) -> str:
    """`58.2 [51.0, 65.3]`, in percent."""
    if found is None:
        return NONE
    return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def change(found: Estimate | None, *, scale: float = 100.0, digits: int = 1) -> str:
    """`+3.2 [−1.0, +7.4]`: points of a rate, or nats with `scale=1`."""
    if found is None:
        return NONE
    low, value, high = (signed(scale * number, digits) for number in (found.low, found.value, found.high))
    return f"{value} [{low}, {high}]"


def signed(number: float, digits: int) -> str:
    """The number with its sign, the minus as a minus; zero has none."""
    text = f"{number:+.{digits}f}".replace("-", "−")
    return text[1:] if float(text[1:]) == 0 else text


def metric_word(diagnosis: Diagnosis) -> str:
    """The metric's name in a sentence."""
    return {"accuracy": "accuracy", "f1_micro": "micro F1"}[diagnosis.metric]


def title(diagnosis: Diagnosis) -> str:
    """`demo, joint, seed 0: diagnosis on val`."""
    fold = "" if diagnosis.fold is None else f", fold {diagnosis.fold}"
    return f"{diagnosis.experiment}, {diagnosis.method}, seed {diagnosis.seed}{fold}: diagnosis on {diagnosis.split}"


ROWS: tuple[tuple[str, str], ...] = (
    ("own", "own"),
    ("inside", "inside the joint model"),
    ("only", "joint model given it alone"),
    ("probe", "linear probe, joint model"),
    ("own_probe", "linear probe, trained alone"),
)
DIFFERENCES: tuple[tuple[str, str], ...] = (
    ("gain", "gain: whole − without it"),
    ("probes_gain", "gain in a mean of probes"),
    ("shapley", "Shapley value"),
)
LOSSES: tuple[tuple[str, str], ...] = (
    ("loss_gain", "loss without it − whole, nats"),
    ("shapley_loss", "Shapley value of −loss, nats"),
)


def rows_of(evidence: ModalityEvidence) -> dict[str, str]:
    """Every number of a modality as text, in the order in which they are shown; a dash where none was taken."""
    levels = {words: level(getattr(evidence, key)) for key, words in ROWS}
    changes = {words: change(getattr(evidence, key)) for key, words in DIFFERENCES}
    losses = {words: change(getattr(evidence, key), scale=1.0, digits=3) for key, words in LOSSES}
    return levels | changes | losses


def render_diagnosis_text(diagnosis: Diagnosis) -> str:
    """The verdict, what is behind it, and the numbers of every modality, as plain text for a terminal."""
    count = f"{plural(diagnosis.samples, 'sample')}, {metric_word(diagnosis)} in % with 95 % intervals"
    lines = [title(diagnosis), diagnosis.verdict, ""]
    for finding in diagnosis.findings:
        lines += [*_finding(finding), ""]
    lines += [f"{count}:", *_table(diagnosis), ""]
    lines += [f"note: {note}" for note in diagnosis.notes]
    return "\n".join(lines).rstrip()


def _finding(finding: Finding) -> list[str]:
    numbers = [f"    {number}" for number in finding.numbers]
    return [finding.statement, *numbers, *(f"  > {one}" for one in finding.advice)]


def _table(diagnosis: Diagnosis) -> list[str]:
    columns = {name: rows_of(evidence) for name, evidence in diagnosis.modalities.items()}
    widths = {name: max(len(name), *map(len, rows.values())) for name, rows in columns.items()}
    words = [*next(iter(columns.values()))]
    first = max(map(len, words))
    lines = ["  ".join([" " * first, *(name.rjust(widths[name]) for name in columns)])]
    for word in words:
        cells = [rows[word] for rows in columns.values()]
        if any(cell != NONE for cell in cells):
            shown = (cell.rjust(width) for cell, width in zip(cells, widths.values(), strict=True))
            lines.append("  ".join([word.ljust(first), *shown]))
    whole = f"whole model {level(diagnosis.whole)}, constant prediction {level(diagnosis.constant)}"
    losses = f"loss {diagnosis.whole_loss.value:.3f}, constant {diagnosis.constant_loss.value:.3f} nats"
    return [*lines, f"{whole}; {losses}"]
