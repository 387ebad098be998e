"""The time that one claim may take: searches stop when it is up, and a call that never returns is interrupted.

A search asks `is_up()` before each case and ends with what it has; the verdict says so. Between two cases nobody asks:
a call that goes on for as long again is interrupted by the alarm of the process, where there is one (on Unix, in the
main thread).
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from types import FrameType

DEFAULT_LIMIT = 300.0  # seconds for one claim; those of the default budget take a few


class Interrupted(BaseException):
    """The time was up twice over in the middle of a call. No Exception: a target must not catch it by the way."""


@dataclass
class Clock:
    """The time of one claim.

    Attributes:
        limit: seconds that it may take.
        end: when they are over.
        cut: whether a search has ended for lack of time.
    """

    limit: float
    end: float
    cut: bool = False


_RUNNING: list[Clock] = []


def is_up() -> bool:
    """Whether the time of the claim at hand is over; who asks must stop then."""
    if not _RUNNING or perf_counter() < _RUNNING[-1].end:
        return False
    _RUNNING[-1].cut = True
    return True


@contextmanager
def running(limit: float) -> Iterator[Clock]:
    """Give what is done within so many seconds.

    Raises:
        Interrupted: a call was still going on after twice as long.
    """
    clock = Clock(limit, perf_counter() + limit)
    _RUNNING.append(clock)
    try:
        with _alarm(2 * limit):
            yield clock
    finally:
        _RUNNING.remove(clock)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise Interrupted after so many seconds; an alarm that was set before goes on afterwards."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    start = perf_counter()
    handler = signal.signal(signal.SIGALRM, ring)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (perf_counter() - start), 1e-3), interval)
