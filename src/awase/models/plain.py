"""One modality of a trained model as a module of its own: tensors in, a tensor out, nothing left of the bank."""

import copy
from typing import Literal

from torch import Tensor, nn

from awase.adapters import Bank
from awase.adapters.bank import DEFAULT_KEY
from awase.models.classifier import Classifier
from awase.models.retrieval import Retrieval

SHARED = "shared"
"""The key of a model without any adapter."""
Output = Literal["embedding", "logits", "features"]


class OneModality(nn.Module):
    """An encoder and what follows it. With `names` the inputs are given in that order, else there is one tensor.

    Adapters keep their names: those of the encoder begin with `encoder.`, those of what follows with `head`.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module | None, names: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.names = names

    def forward(self, *inputs: Tensor) -> Tensor:
        """(batch, dim), float32: the embedding, not normalised; of a classifier the modality's logits or features."""
        given = dict(zip(self.names, inputs, strict=True)) if self.names else inputs[0]
        pooled: Tensor = self.encoder(given).pooled
        return pooled.float() if self.head is None else self.head(pooled).float()


def one_modality(model: Classifier | Retrieval, modality: str, names: tuple[str, ...] = ()) -> OneModality:
    """The encoder of a modality and its projection or head, adapters and all: views of the model's own modules.

    A classifier's modality without a head of its own gives its features. Raises `ValueError` for an unknown modality,
    and where the features of a modality depend on the others.
    """
    if modality not in model.modalities:
        raise ValueError(f"There is no modality {modality!r}; the model has {', '.join(model.modalities)}.")
    if model.mixes:
        raise ValueError(
            f"In this model {modality!r} is encoded together with the other modalities, so that it cannot be had by "
            "itself. That works for joint spaces and for methods that fuse after the encoders, like mmlora."
        )
    heads = dict((model.projections if isinstance(model, Retrieval) else model.heads).items())
    return OneModality(model.encoders[modality], heads.get(modality), names)


def plain(
    model: Classifier | Retrieval, modality: str, key: str | None = None, names: tuple[str, ...] = ()
) -> OneModality:
    """A copy of `one_modality` with the adapters of `key` folded into the weights, in evaluation mode.

    `shared`: without any adapter. None: as the model itself runs, which for a classifier is with its adapters and for a
    joint space is `shared`. Raises `ValueError` as `one_modality` does, and for a key that the modality does not have.
    """
    whole = one_modality(model, modality, names)
    chosen = checked_key(model, modality, key)
    copied = copy.deepcopy(whole).eval().requires_grad_(False)
    fold_key(copied, chosen)
    return copied


def checked_key(model: Classifier | Retrieval, modality: str, key: str | None) -> str | None:
    """The key to fold; None for no adapter. Raises `ValueError` that lists the modality's keys for another one."""
    own = keys_of(model, modality)
    if key is None:
        return DEFAULT_KEY if DEFAULT_KEY in own else None
    if key == SHARED:
        return None
    if key not in own:
        raise ValueError(f"{modality!r} has no adapters of {key!r}; it has {', '.join((SHARED, *own))}.")
    return key


def keys_of(model: Classifier | Retrieval, modality: str) -> tuple[str, ...]:
    """The keys of the adapters of a modality, in its encoder and in what follows."""
    return Bank(one_modality(model, modality)).keys()


def fold_key(module: nn.Module, key: str | None) -> None:
    """Folds the adapters of `key` into the weights of all below `module`; no adapter is left, of no key."""
    bank = Bank(module)
    own = bank.keys()
    if key is not None and key in own:
        bank.fold(key)
        return
    for other in own:
        bank.remove(other)


def output_of(model: Classifier | Retrieval, modality: str) -> Output:
    """What `OneModality` of a modality gives."""
    if isinstance(model, Retrieval):
        return "embedding"
    return "logits" if modality in model.heads else "features"
