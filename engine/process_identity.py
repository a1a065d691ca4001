"""Which process this is, among all of all machines, and whether another one is known to have ended."""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")
_ENDED = ("Z", "X", "x")
"""States of processes that run no more, and that nobody has taken leave of yet."""


def process_identity() -> str | None:
    """What this process is called, and no other one ever; None where the system does not tell."""
    where, started = _where(), _started(os.getpid())
    return None if where is None or started is None else f"{where} {os.getpid()} {started}"


def has_ended(identity: str | None) -> bool:
    """Whether a process is known to have ended: only those of this machine are known.

    Args:
        identity: as `process_identity` gave it there.
    """
    if identity is None or (where := _where()) is None or not identity.startswith(f"{where} "):
        return False
    number, started = identity.rsplit(" ", 2)[1:]
    return _started(int(number)) != started


def _where() -> str | None:
    # The machine since it was started, and the numbering of processes: containers have their own.
    try:
        boot_id = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot_id} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return None


def _started(process_id: int) -> str | None:
    """When a process was started, since the machine was; None where there is none of that number that runs."""
    try:
        content = (_PROC / str(process_id) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *more = content.rpartition(")")[2].split()  # what is before that may contain anything
    return None if state in _ENDED else more[18]
