"""What a process that serves asks of the system and of the interpreter."""

from __future__ import annotations

import ctypes
import gc
import logging
import resource
import sys
from contextlib import suppress

GRACE_SECONDS = 1
"""How long a server that stops waits for clients that send a request or take their answer slowly, in seconds."""

_OTHER_FILES = 256
_SWITCH_INTERVAL_SECONDS = 0.0005
_COLLECT_AFTER = 20_000
_LARGE_BYTES = 128 * 1024
_M_MMAP_THRESHOLD = -3  # of malloc.h

_log = logging.getLogger("ordermill.http")


def tune_process(max_connections: int) -> None:
    """Prepare this process to serve: for many short tasks in few threads, and for many connections.

    Args:
        max_connections: open at the same time.
    """
    # Threads that have little to do each time should not wait 5 ms for the interpreter's lock.
    sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)
    # Requests and orders leave no cycles behind. To look for some after every 700 objects takes a tenth of the time.
    gc.set_threshold(_COLLECT_AFTER)
    _give_back_large_blocks()
    allow_connections(max_connections)


def _give_back_large_blocks() -> None:
    # What connections hold for a moment, above all those over TLS, is to go back to the system afterwards. The GNU C
    # library begins with a mapping for each block of that size, but once one was freed it takes them from its heap,
    # which never shrinks below what is still in use: mallopt(3), "dynamic mmap threshold". Others have no such thing.
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def allow_connections(wanted: int) -> None:
    """Raise this process's limit of open files, as far as it may, so that so many connections can be open at once.

    Many systems allow 1,024 unless a process asks for more.

    Args:
        wanted: connections.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        _log.warning(
            "only %d files may be open, %d are wanted: %d connections are served at the same time, not %d; "
            "`ulimit -n` allows more",
            allowed,
            needed,
            connections_allowed(),
            wanted,
        )


def connections_allowed() -> int:
    """How many connections this process may have open at the same time, so that some files are left for all else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft - min(_OTHER_FILES, soft // 2)
