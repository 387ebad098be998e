"""Freed memory kept for the next step, instead of being handed back to the system after each.

Steps take and free the same large tensors again and again. glibc hands whatever exceeds 32 MiB back to the system as
soon as it is freed, and often the end of its heap as well; each page is then cleared and mapped anew, which takes most
of a step's time where hundreds of seeds are trained at once.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of mallopt (malloc.h), with what keeps everything, and with what glibc itself arrives at once it has seen
# large pieces freed: what was set cannot be unset.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
KEEP = {TRIM_THRESHOLD: 2**31 - 1, MMAP_MAX: 0}
USUAL = {TRIM_THRESHOLD: 64 * 2**20, MMAP_THRESHOLD: 32 * 2**20, MMAP_MAX: 65_536}

_users = 0


@contextmanager
def kept() -> Iterator[None]:
    """Keep what is freed from now on, and hand it back at the end; of several such at once, at the end of the last.

    Where the C library is not glibc, nothing happens.
    """
    global _users
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        yield
        return
    _users += 1
    _set(libc, KEEP)
    try:
        yield
    finally:
        _users -= 1
        if not _users:
            _set(libc, USUAL)
            libc.malloc_trim(0)


def _set(libc: ctypes.CDLL, values: dict[int, int]) -> None:
    for parameter, value in values.items():
        libc.mallopt(parameter, value)
