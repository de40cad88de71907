"""Shapes and types of every public function are checked in tests, by jaxtyping and beartype, and only there."""

import os

from jaxtyping import install_import_hook

os.environ.setdefault("HF_HUB_OFFLINE", "1")
install_import_hook("awase", "beartype.beartype")

import pytest  # noqa: E402
import torch  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Small tensors are slower on several threads, and exact equality needs a fixed number."""
    torch.set_num_threads(1)
