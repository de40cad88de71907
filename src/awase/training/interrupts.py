"""Ctrl-C at a moment at which it breaks nothing."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Holds Ctrl-C (SIGINT) back until the block is done, and lets it act then.

    For calls that take the locks of other threads' queues: an exception between a lock and its release would leave it
    taken, and the end of the program would wait for it. Outside the main thread, where no signal arrives, nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[tuple[int, FrameType | None]] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: arrived.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if arrived and callable(before):
            before(*arrived[0])
