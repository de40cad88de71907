"""Shapes and types of every public function are checked in tests, by jaxtyping and beartype, and only there."""

import os

from jaxtyping import install_import_hook

os.environ.setdefault("HF_HUB_OFFLINE", "1")
install_import_hook("awase", "beartype.beartype")

import importlib  # noqa: E402
import pkgutil  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402

import awase  # noqa: E402

# The hook rewrites each module when it is imported; CPython 3.11 cannot do that in two threads at once, and some
# modules are first imported by the threads that decode. So all of them are imported here, by one.
for _module in pkgutil.walk_packages(awase.__path__, "awase."):
    importlib.import_module(_module.name)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Small tensors are slower on several threads, and exact equality needs a fixed number."""
    torch.set_num_threads(1)
