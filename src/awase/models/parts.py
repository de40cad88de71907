"""Everything in a model that has a state belongs to exactly one named part."""

from torch import Tensor, nn

from awase.adapters.bank import DEFAULT_KEY

ADAPTER_MARK = ".lora."
"""Names of adapter tensors contain this; everything else inside an encoder is the encoder's own."""

OF_A_MODALITY = {"heads": "head", "projections": "head", "reconstructions": "reconstruction"}
"""Attribute of a model with an entry per modality -> the kind of part it holds, besides the encoders."""


def part_of(state_name: str) -> str:
    """The part to which an entry of a model's state dictionary belongs.

    >>> part_of("encoders.audio.q.lora.default.A"), part_of("heads.audio.weight"), part_of("fusion.linear.bias")
    ('audio.adapter', 'audio.head', 'fusion')
    >>> part_of("encoders.audio.q.lora.audio+text.A"), part_of("projections.text.fc.lora.audio+text.B")
    ('audio.adapter.audio+text', 'text.adapter.audio+text')
    >>> part_of("routes.street.audio.weight")
    'audio.head.street'
    >>> part_of("projections.text.fc.weight"), part_of("reconstructions.text.0.bias"), part_of("objective.memory.queue")
    ('text.head', 'text.reconstruction', 'objective')
    """
    kind, _, rest = state_name.partition(".")
    modality = rest.partition(".")[0]
    if ADAPTER_MARK in state_name:
        key, _, matrix = state_name.partition(ADAPTER_MARK)[2].rpartition(".")
        own = matrix in ("A", "B") and key != DEFAULT_KEY
        return f"{modality}.adapter.{key}" if own else f"{modality}.adapter"
    if kind == "routes":
        return f"{rest.split('.')[1]}.head.{modality}"  # of a key: the key comes first
    if kind == "encoders":
        return f"{modality}.encoder"
    return f"{modality}.{OF_A_MODALITY[kind]}" if kind in OF_A_MODALITY else kind


def parts_of(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Part name -> state name -> tensor, covering every entry of the model's state dictionary exactly once.

    An encoder without any state is a part too, an empty one.
    """
    parts: dict[str, dict[str, Tensor]] = {f"{name}.encoder": {} for name in _modalities(model)}
    for name, tensor in model.state_dict(keep_vars=True).items():
        parts.setdefault(part_of(name), {})[name] = tensor
    return parts


def _modalities(model: nn.Module) -> list[str]:
    return [name for name, _ in model.get_submodule("encoders").named_children()]
