"""What an experiment would do, without doing it."""

from awase.config import Experiment, Node, Runtime, StageConfig
from awase.distributed import ALONE
from awase.methods import build_method
from awase.runner.build import build_model
from awase.runner.check import check_request
from awase.runner.overrides import changed_settings
from awase.runner.setting import Setting, open_setting
from awase.training.parts import freeze_except, match_parts


def describe_plan(experiment: Experiment, runtime: Runtime) -> str:
    """One line per method, candidate and stage: what it trains, with how many parameters, for how long."""
    fold = experiment.folds[0] if experiment.folds else None
    setting = open_setting(experiment, runtime, experiment.seeds[0], fold, ALONE)
    check_request(setting)
    lines = [
        f"{experiment.name}: {len(experiment.methods)} methods, seeds {list(experiment.seeds)}, folds "
        f"{list(experiment.folds) or 'none'}, {len(setting.dataset.classes)} classes, "
        + ", ".join(f"{len(rows)} {split}" for split, rows in setting.dataset.splits.items())
    ]
    for method in experiment.methods:
        candidates = method.candidates or ({},)
        lines.append(f"{method.title} ({len(candidates)} setting{'s' if len(candidates) > 1 else ''} tried)")
        settings = changed_settings(method.settings, candidates[0])
        lines += [_describe(node, setting) for node in build_method(method.method, setting.method_context(), settings)]
    return "\n".join(lines)


def _describe(node: Node, setting: Setting) -> str:
    if not isinstance(node, StageConfig):
        return f"  decide {node.name}: {node.function} of {', '.join(node.stages)}"
    plain = {"of": node.fusion.options.get("of", "logits")} if node.fusion.name == "late_mean" else {}
    model = build_model(node.model_copy(update={"derived": {}}), setting.spec, plain)
    trained = match_parts(node.train, model.parts()) if node.train else ()
    count = sum(parameter.numel() for parameter in freeze_except(model, trained).values())
    total = sum(parameter.numel() for parameter in model.parameters())
    what = ", ".join(trained) or "nothing"
    epochs = f", {node.training.epochs} epochs" if trained else ""
    return f"  {node.name}: trains {what}: {count:,} of {total:,} parameters{epochs}"
