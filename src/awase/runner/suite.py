"""The experiments that one command runs: one, or the tables of a suite on a user's copies of named data sets."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from awase.config import Experiment
from awase.data.prepare import prepare
from awase.data.prepared import DESCRIPTION
from awase.experiments.mcn import ROOTED
from awase.experiments.mmlora_tables import FOLDERS, SUITES, TABLES
from awase.runner.overrides import apply_overrides
from awase.runner.resolve import experiments_of, resolve_experiment

log = logging.getLogger(__name__)


def resolve_experiments(
    name: str, assignments: Sequence[str] = (), *, root: Path | None = None, work: Path, published_splits: bool = False
) -> tuple[Experiment, ...]:
    """What `name` means: the experiments of a suite on the data sets found below `root`, or one experiment.

    A data set's folder that was not prepared before is prepared into `work`. With `published_splits` the published
    splits are taken. Raises `ValueError` for a suite without a root and for a root without
    any of its data sets, and what reading their layouts raises.
    """
    if name in ROOTED:
        if root is None:
            raise ValueError(f"{name!r} needs the folder that holds its stores: --root DIR.")
        return (apply_overrides(ROOTED[name](root), assignments),)
    if name not in SUITES:
        if root is not None or published_splits:
            option = "--published-splits" if root is None else "--root"
            names = ", ".join(SUITES if published_splits else (*SUITES, *ROOTED))
            raise ValueError(f"{option} is for {names}; {name!r} names its data itself.")
        if "::" in name:
            return tuple(apply_overrides(one, assignments) for one in experiments_of(name))
        return (resolve_experiment(name, assignments),)
    if root is None:
        raise ValueError(f"{name!r} needs the folder that holds its data sets: --root DIR.")
    folders = {
        dataset: _prepared(dataset, folder, work) for dataset, folder in find_folders(root, TABLES[name][1]).items()
    }
    found = SUITES[name](folders, published_splits)
    return tuple(apply_overrides(experiment, assignments) for experiment in found)


def find_folders(root: Path, datasets: Sequence[str]) -> dict[str, Path]:
    """Data set -> its folder in `root`, of those that are there; the others are named in the log.

    Raises `ValueError` where there is none, saying which names are looked for.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {root}.")
    inside = {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir()}
    found = {}
    for dataset in datasets:
        folder = next((inside[name] for name in FOLDERS[dataset] if name in inside), None)
        if folder is None:
            log.warning("%s holds no folder %s: it is left out", root, " or ".join(FOLDERS[dataset]))
        else:
            found[dataset] = folder
    if not found:
        names = ", ".join(FOLDERS[dataset][0] for dataset in datasets)
        raise ValueError(f"{root} holds none of the folders {names}; each data set lies in a folder of its name.")
    return found


def restricted(
    experiments: Sequence[Experiment],
    *,
    seeds: Sequence[int] | None = None,
    folds: Sequence[int] | None = None,
    methods: Sequence[str] | None = None,
) -> tuple[Experiment, ...]:
    """Only these seeds, folds and methods; of a suite each experiment keeps those of the methods that it has.

    Raises `ValueError` for a method that none of them has, listing the valid ones.
    """
    titles = {method.title for experiment in experiments for method in experiment.methods}
    if set(methods or ()) - titles or len(experiments) == 1:
        return tuple(one.restricted(seeds=seeds, folds=folds, methods=methods) for one in experiments)
    kept = []
    for experiment in experiments:
        own = [method.title for method in experiment.methods if not methods or method.title in methods]
        if own:
            kept.append(experiment.restricted(seeds=seeds, folds=folds, methods=own))
    return tuple(kept)


def _prepared(dataset: str, folder: Path, work: Path) -> Path:
    if (folder / DESCRIPTION).is_file():
        return folder
    place = hashlib.blake2b(str(folder.resolve()).encode(), digest_size=4).hexdigest()
    target = work / f"{dataset}-{place}"
    facts: Mapping[str, object] = prepare(dataset, folder, target)
    log.info("%s was prepared in %s: %s rows", dataset, target, facts["rows"])
    return target
