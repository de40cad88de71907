"""Methods: functions from (modalities, training settings, options) to a list of stages."""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from pydantic import ConfigDict, ValidationError, validate_call

from awase.config import Node
from awase.methods.agm import agm
from awase.methods.context import MethodContext
from awase.methods.continual import continual
from awase.methods.continual_mcn import continual_mcn
from awase.methods.gradient_blending import gradient_blending, gradient_blending_online
from awase.methods.joint import frozen_linear, joint, joint_finetuned
from awase.methods.mbt import mbt
from awase.methods.mcn import mcn
from awase.methods.mla import mla
from awase.methods.mmbt import mmbt
from awase.methods.mmlora import mmlora
from awase.methods.mmpareto import mmpareto
from awase.methods.ogm_ge import ogm_ge
from awase.methods.opm import opm
from awase.methods.pair_adapters import pair_adapters
from awase.methods.pair_heads import pair_heads
from awase.methods.pmf import pmf
from awase.methods.pmf_l import pmf_l
from awase.methods.pmr import pmr
from awase.methods.ume import ume, ume_full
from awase.methods.umt import umt
from awase.methods.unimodal import unimodal

Method = Callable[..., list[Node]]

METHODS: dict[str, Method] = {
    "agm": agm,
    "continual": continual,
    "continual_mcn": continual_mcn,
    "frozen_linear": frozen_linear,
    "gradient_blending": gradient_blending,
    "gradient_blending_online": gradient_blending_online,
    "joint": joint,
    "joint_finetuned": joint_finetuned,
    "mbt": mbt,
    "mcn": mcn,
    "mla": mla,
    "mmbt": mmbt,
    "mmlora": mmlora,
    "mmpareto": mmpareto,
    "ogm_ge": ogm_ge,
    "opm": opm,
    "pair_adapters": pair_adapters,
    "pair_heads": pair_heads,
    "pmf": pmf,
    "pmf_l": pmf_l,
    "pmr": pmr,
    "ume": ume,
    "ume_full": ume_full,
    "umt": umt,
    "unimodal": unimodal,
}


def build_method(name: str, context: MethodContext, settings: Mapping[str, Any]) -> list[Node]:
    """The stages of the method called `name`; the last one is the model that is evaluated.

    Raises `ValueError` for an unknown method or setting, listing the valid ones, and for a value of the wrong type.
    """
    if name not in METHODS:
        raise ValueError(f"There is no method {name!r}; valid names: {', '.join(METHODS)}.")
    valid = method_settings(name)
    unknown = sorted(set(settings) - set(valid))
    if unknown:
        raise ValueError(
            f"The method {name!r} has no setting {', '.join(unknown)}; valid settings: {', '.join(valid)}."
        )
    checked = validate_call(config=ConfigDict(arbitrary_types_allowed=True))(METHODS[name])
    try:
        return checked(context, **settings)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"The method {name!r} refuses {place}={first['input']!r}: {first['msg']}.") from error


def method_settings(name: str) -> tuple[str, ...]:
    """The names of the settings of a method."""
    return tuple(parameter for parameter in signature(METHODS[name]).parameters if parameter != "context")


__all__ = ["METHODS", "MethodContext", "build_method", "method_settings"]
