"""What encoders gave for a split, remembered for the stages, models and methods that ask again."""

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor

LIMIT_BYTES = 2**28


class FeatureMemory:
    """The latest used tables of features by key, together at most `limit` bytes; a larger one is never kept."""

    def __init__(self, limit: int = LIMIT_BYTES) -> None:
        self.limit = limit
        self._tables: OrderedDict[str, Tensor] = OrderedDict()

    def table(self, key: str, make: Callable[[], Tensor]) -> Tensor:
        """The table of that key, made where it is not remembered. It is shared: nobody may change it."""
        table = self._tables.pop(key) if key in self._tables else make()
        if table.nbytes <= self.limit:
            self._tables[key] = table
        while self.num_bytes > self.limit:
            self._tables.popitem(last=False)
        return table

    @property
    def num_bytes(self) -> int:
        """What the remembered tables take."""
        return sum(table.nbytes for table in self._tables.values())
