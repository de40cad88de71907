"""The table of routes beside a run's results: task -> under which keys it is answered, and the numbers behind it."""

from pathlib import Path

from awase.config import Frozen
from awase.evaluation import Embedded
from awase.evaluation.router import Router
from awase.evaluation.routes import Scale, possible_routes
from awase.files import write_text
from awase.runner.saved import ROUTING_NAME
from awase.runner.space_files import read_embeddings, read_samples
from awase.runner.versioned_document import read_versioned_document
from awase.training.calibration import Calibrated, Validation, calibrate
from awase.vocabulary import SHARED_NAME, Task

FORMAT_VERSION = 1
SPLIT = "val"
"""What routes are chosen by; test is never read for them."""
ABOUT = (
    "Which adapters answer a task (query->target). Chosen on one half of validation, split by group; candidates' "
    "'report' is R@1 on the other half. The gallery is all of validation. Scores are normalised per key: minus the "
    "mean, over the standard deviation, of the first half's scores (scales). An ensemble is alpha times the shared "
    "score plus 1 - alpha times the exact one. A route other than the usual one needs an interval (95 %, paired, "
    "bootstrap over queries by group) of its difference in R@1 above zero. Pairs of numbers: first half, second half."
)


class Routing(Frozen):
    """The file `routing.json`."""

    format_version: int = FORMAT_VERSION
    about: str = ABOUT
    model: str
    """Digest of the weights that it belongs to."""
    modalities: tuple[str, ...]
    keys: tuple[str, ...]
    """The combinations with adapters."""
    alpha: float
    """Weight of the shared space in an ensemble."""
    seed: int
    """Of the split in halves."""
    tasks: dict[str, Calibrated]
    scales: dict[str, dict[str, Scale]]
    """Key -> task -> mean and deviation of its scores."""

    def router(self) -> Router:
        """The rules with what was chosen."""
        return Router(
            self.modalities,
            self.keys,
            chosen={name: one.route for name, one in self.tasks.items()},
            scales=self.scales,
            alpha=self.alpha,
        )


def routing_of(
    folder: Path,
    stage: str,
    *,
    model: str,
    keys: tuple[str, ...],
    alpha: float,
    cosine: bool,
    seed: int,
    device: str = "cpu",
) -> Routing:
    """The table for a stage, from the embeddings of validation that its run wrote into `folder`."""
    embedded: Embedded = read_embeddings(folder, stage, SPLIT)
    groups = {row: str(name) for row, name in read_samples(folder).get("group", {}).items() if name is not None}
    validation = Validation.of(embedded, groups, cosine=cosine, seed=seed, device=device)
    modalities = tuple(embedded.embeddings)
    scales, tasks = calibrate(validation, modalities, keys, alpha=alpha)
    return Routing(
        model=model,
        modalities=modalities,
        keys=keys,
        alpha=alpha,
        seed=seed,
        tasks=tasks,
        scales={key: dict(own) for key, own in scales.items()},
    )


def write_routing(folder: Path, routing: Routing) -> Path:
    """Writes `routing.json`; returns its path."""
    path = folder / ROUTING_NAME
    write_text(path, routing.model_dump_json(indent=1) + "\n")
    return path


def read_routing(path: Path, *, model: str, modalities: tuple[str, ...], keys: tuple[str, ...]) -> Routing:
    """The table in `path`, a file or a run's folder, for the model with this digest of its weights and these keys.

    Raises `FileNotFoundError` where there is none; `ValueError` for another format version or model, a key that the
    model lacks, a task that is none, and a route that its task cannot take.
    """
    file = path / ROUTING_NAME if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{path} holds no {ROUTING_NAME}: a run with adapters of combinations writes it.")
    damaged, again = "no table of routes; run the experiment again.", "run the experiment again"
    routing = read_versioned_document(file, Routing, FORMAT_VERSION, damaged=damaged, again=again)
    lacking = sorted(set(_named(routing)) - set(keys))
    if lacking:
        raise ValueError(
            f"{file} names the key {', '.join(lacking)}, which the model lacks; it has {', '.join(keys) or 'none'}."
        )
    if routing.model != model:
        raise ValueError(
            f"{file} was calibrated for another model (weights {routing.model[:12]}, these are {model[:12]}): its "
            "routes and scales say nothing about this one. Take the file from this model's own run, or remove it."
        )
    for name, one in routing.tasks.items():
        _check(file, routing, name, one, modalities)
    return routing


def _named(routing: Routing) -> set[str]:
    """Every key that the table speaks of."""
    of_tasks = {key for one in routing.tasks.values() for key in one.keys}
    return {*routing.keys, *routing.scales, *of_tasks} - {SHARED_NAME}


def _check(file: Path, routing: Routing, name: str, one: Calibrated, modalities: tuple[str, ...]) -> None:
    try:
        task = Task.parse(name)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    unknown = sorted((task.query.modalities | task.target.modalities) - set(modalities))
    if unknown:
        raise ValueError(
            f"{file}: {name} needs {', '.join(unknown)}, which the model lacks; it has {', '.join(modalities)}."
        )
    routes = possible_routes(task, routing.keys, routing.scales, routing.alpha)
    if one.route not in routes or routes[one.route].keys != one.keys:
        valid = "; ".join(f"{kind} under {', '.join(route.keys)}" for kind, route in routes.items())
        raise ValueError(
            f"{file}: {name} cannot be answered by {one.route} under {', '.join(one.keys)}. What works: {valid}."
        )
