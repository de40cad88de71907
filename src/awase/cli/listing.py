"""`awase list`: the names that can be used."""

from typing import Annotated, Any

import typer

from awase.cli.output import print_json


def listing(
    what: Annotated[str, typer.Argument(help="experiments, methods, rules, encoders, fusions, datasets or decisions.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the names there are, each with its first line of documentation."""
    tables = _tables()
    if what not in tables:
        raise ValueError(f"There is no list of {what!r}; valid names: {', '.join(tables)}.")
    names = {name: _first_line(value) for name, value in tables[what]().items()}
    if as_json:
        print_json({what: [{"name": name, "about": about} for name, about in names.items()]})
        return
    for name, about in names.items():
        print(f"{name:<24} {about}")


def _tables() -> dict[str, Any]:
    def experiments() -> Any:
        from awase.experiments import EXPERIMENTS, ROOTED, SUITES

        return {**EXPERIMENTS, **SUITES, **ROOTED}

    def methods() -> Any:
        from awase.methods import METHODS

        return METHODS

    def encoders() -> Any:
        from awase.encoders import ENCODERS

        return ENCODERS

    def fusions() -> Any:
        from awase.fusion import FUSIONS

        return FUSIONS

    def decisions() -> Any:
        from awase.training.decisions import DECISIONS, MEASURED

        return {**DECISIONS, **MEASURED}

    def rules() -> Any:
        from awase.balancing import RULES

        return RULES

    def datasets() -> Any:
        from awase.data import LAYOUTS, SOURCES

        return {**SOURCES, **LAYOUTS}

    return {
        "experiments": experiments,
        "methods": methods,
        "encoders": encoders,
        "fusions": fusions,
        "decisions": decisions,
        "rules": rules,
        "datasets": datasets,
    }


def _first_line(value: Any) -> str:
    return (value.__doc__ or "").strip().partition("\n")[0]
