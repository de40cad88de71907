"""Progress on standard error."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def narrate(quiet: bool) -> Iterator[None]:
    """Shows what the library logs on standard error while the body runs; nothing but warnings when `quiet`."""
    from rich.console import Console
    from rich.logging import RichHandler

    logger = logging.getLogger("awase")
    console = Console(file=sys.stderr)
    handler = RichHandler(console=console, show_path=False, show_level=False, markup=False, log_time_format="%H:%M:%S")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
