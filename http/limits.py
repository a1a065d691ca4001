"""Limits of a server: the open files that the operating system allows, and the patience of a stop."""

from __future__ import annotations

import logging
import sys

try:
    import resource
except ImportError:  # there is no such limit on Windows
    resource = None  # type: ignore[assignment]  # the module, where there is one

GRACE_SECONDS = 1
"""How long a server that stops waits for clients that send a request or take their answer slowly, in seconds."""

_OTHER_FILES = 256


def allow_connections(wanted: int) -> None:
    """Raise this process's limit of open files, as far as it may, so that so many connections can be open at once.

    Many systems allow 1,024 unless a process asks for more.

    Args:
        wanted: connections.
    """
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        logging.getLogger("ordermill.http").warning("only %d files may be open, %d are wanted", allowed, needed)


def connections_allowed() -> int:
    """How many connections this process may have open at the same time."""
    if resource is None:
        return sys.maxsize
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(1, soft - _OTHER_FILES)
