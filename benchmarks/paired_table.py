"""Markdown of finished runs with paired differences to two methods, what each modality says inside, and probes.

    python benchmarks/paired_table.py RUNS [--against ume --against joint]

RUNS is the folder of one experiment. Bold: the 95 % interval of the difference does not hold zero.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from awase.report import load
from awase.report.groups import Group, tabulate
from awase.statistics import Predictions, compare


def percent(value: float | None, sign: bool = False) -> str:
    """A fraction in percent."""
    return "" if value is None else f"{100 * value:+.1f}" if sign else f"{100 * value:.1f}"


def difference(own: dict[int, Predictions], other: dict[int, Predictions], metric: str) -> str:
    """`+1.2 [-0.3, +2.7]`, bold where zero lies outside."""
    found, _ = compare(own, other, metric)
    text = f"{percent(found.difference, True)} [{percent(found.low, True)}, {percent(found.high, True)}]"
    return f"**{text}**" if found.distinguishable else text


def mean_of(group: Group, condition: str) -> float | None:
    """The test metric under a condition, over seeds and folds."""
    stat = group.stat("test", group.metric, condition)
    return None if stat is None else stat.mean


def probes(group: Group) -> dict[str, float]:
    """Modality -> mean probe of the last stage that has one."""
    found = defaultdict(list)
    for run in group.runs:
        for name, value in run.record.stages[-1].probes.items():
            found[name].append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def main() -> None:
    """Prints one table per experiment found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--against", action="append", default=None)
    arguments = parser.parse_args()
    against = arguments.against or ["ume", "joint"]
    for table in tabulate(load([arguments.runs])).tables:
        predictions = {group.method: group.predictions() for group in table.groups}
        first = max(table.groups, key=lambda group: len(group.runs[0].record.weights))
        modalities = list(first.runs[0].record.weights)
        has_probes = any(probes(group) for group in table.groups)
        titles = ["method", "seeds x folds", "accuracy", *(f"against {name}" for name in against)]
        titles += [f"{name} inside" for name in modalities]
        titles += [f"{name} probe" for name in modalities] if has_probes else []
        titles += ["trained parameters", "training, s"]
        print(f"\n### {table.experiment}\n\n| {' | '.join(titles)} |")
        print(f"| --- |{' ---: |' * (len(titles) - 1)}")
        for group in table.groups:
            own = predictions[group.method]
            assert own is not None, "runs of this program have predictions"
            row = [group.method, f"{len(group.seeds)} x {len(group.folds)}", percent(mean_of(group, "full"))]
            for name in against:
                other = predictions.get(name)
                row.append("–" if name == group.method or not other else difference(own, other, group.metric))
            row += [percent(mean_of(group, f"modality:{name}")) for name in modalities]
            known = probes(group)
            row += [percent(known.get(name)) for name in modalities] if has_probes else []
            trained = np.mean([run.record.trainable_parameters for run in group.runs])
            seconds = np.mean([sum(stage.seconds for stage in run.record.stages) for run in group.runs])
            row += [f"{trained:,.0f}", f"{seconds:.0f}"]
            print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
