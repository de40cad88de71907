"""Rules that change how the modalities learn together; the one loop calls them, they own none."""

from awase.balancing.build import RULES, build_rule
from awase.balancing.rule import Forward, Rule, RuleContext
from awase.balancing.scores import target_scores

__all__ = ["RULES", "Forward", "Rule", "RuleContext", "build_rule", "target_scores"]
