"""A configuration with its inputs written out."""

from awase.config import DataConfig
from awase.data.open import open_source


def inferred(config: DataConfig) -> DataConfig:
    """`config` with the inputs that were inferred from its columns, or that its data set has by default."""
    return config if config.inputs else config.model_copy(update={"inputs": dict(open_source(config).inputs)})
