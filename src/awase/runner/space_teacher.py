"""A joint space as a stage found it: what its towers gave before the stage changed them."""

from collections.abc import Collection, Mapping
from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from awase.models import Retrieval
from awase.models.encode import encode_batch, encode_candidates, first_candidate
from awase.types import Batch, Encoded


class Teacher:
    """Copies of some modalities' towers, frozen and in evaluation mode. It is made before the first step.

    It follows from the weights that the stage began with, and so needs no place in a checkpoint. `still` are the
    modalities whose encoders the stage does not train: their features are read from the model that learns.
    """

    def __init__(self, model: Retrieval, modalities: Collection[str], still: Collection[str]) -> None:
        self.still = frozenset(still) & frozenset(modalities)
        self.encoders = nn.ModuleDict(
            {name: deepcopy(model.encoders[name]) for name in modalities if name not in self.still}
        )
        self.projections = nn.ModuleDict({name: deepcopy(model.projections[name]) for name in modalities})
        for module in (self.encoders, self.projections):
            module.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, batch: Batch, encoded: Mapping[str, Encoded]) -> dict[str, Float[Tensor, "batch dim"]]:
        """The old embeddings of the batch; `encoded` are the features of the model that learns.

        Of a modality with several candidates per sample that of the first real one.
        """
        several = {name: mask for name, mask in batch.candidates.items() if name in self.encoders}
        firsts = {
            name: first_candidate(encode_candidates(self.encoders[name], batch.inputs[name], mask), mask)
            for name, mask in several.items()
        }
        own = encode_batch(self.encoders, batch, firsts) | {name: encoded[name] for name in self.still}
        return {name: head(own[name].pooled).float() for name, head in self.projections.items()}
