"""From a configuration to a rule."""

from inspect import signature

from awase.balancing.agm import Agm
from awase.balancing.mla import Mla
from awase.balancing.mmpareto import MmPareto
from awase.balancing.ogm_ge import OgmGe
from awase.balancing.opm import Opm
from awase.balancing.pmr import Pmr
from awase.balancing.rule import Rule, RuleContext, RuleFactory
from awase.config import BalancingConfig

RULES: dict[str, RuleFactory] = {
    "agm": Agm,
    "mla": Mla,
    "mmpareto": MmPareto,
    "ogm_ge": OgmGe,
    "opm": Opm,
    "pmr": Pmr,
}


def build_rule(config: BalancingConfig | None, context: RuleContext) -> Rule:
    """The rule that `config` names; without one, plain training.

    Raises `ValueError` for an unknown rule or option, listing the valid ones, and for a model that the rule cannot
    balance.
    """
    if config is None:
        return Rule(context)
    if config.name not in RULES:
        raise ValueError(f"There is no balancing rule {config.name!r}; valid names: {', '.join(sorted(RULES))}.")
    kind = RULES[config.name]
    valid = [name for name in signature(kind).parameters if name != "context"]
    unknown = sorted(set(config.options) - set(valid))
    if unknown:
        raise ValueError(
            f"The balancing rule {config.name!r} has no option {', '.join(unknown)}; "
            f"valid options: {', '.join(valid) or 'none'}."
        )
    return kind(context, **config.options)
