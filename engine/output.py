"""Standard output and standard error of a process that serves: what nobody takes any more holds up nothing."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

_INPUT, _OUTPUT, _ERROR = 0, 1, 2


def outlive_output() -> None:
    """Go on when standard output or standard error is closed, full, or a pipe without a reader.

    What is written then is lost; a print in a handler would fail its order otherwise. Call it first of all.
    """
    for descriptor in (_INPUT, _OUTPUT, _ERROR):
        try:
            os.fstat(descriptor)
        except OSError:  # it was closed: the next file or connection that is opened would be taken for it
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    # What a program has put in their place is its own business.
    if sys.stdout is sys.__stdout__:
        sys.stdout = _stream(_OUTPUT, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(_ERROR, sys.stderr)


def _stream(descriptor: int, before: Any) -> io.TextIOWrapper:
    encoding = getattr(before, "encoding", None) or "utf-8"
    errors = getattr(before, "errors", None) or "backslashreplace"
    return io.TextIOWrapper(io.BufferedWriter(_Lossy(descriptor)), encoding, errors, line_buffering=True)


class _Lossy(io.RawIOBase):
    """Writes to a descriptor what it takes, and lets go of the rest.

    Args:
        descriptor: an open file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Its descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any) -> int:
        """Write what can be written. Returns the number of bytes, lost ones among them."""
        try:
            return os.write(self._descriptor, data)
        except OSError:
            return len(data)
