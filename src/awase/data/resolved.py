"""A configuration with its inputs written out."""

from awase.config import DataConfig
from awase.data.features.dataset import clip_inputs
from awase.data.open import open_source


def inferred(config: DataConfig) -> DataConfig:
    """`config` with the inputs that were inferred from its columns, or that its data set has by default."""
    if config.inputs:
        return config
    inputs = clip_inputs(config.howto100m) if config.dataset == "howto100m" else open_source(config).inputs
    return config.model_copy(update={"inputs": dict(inputs)})
