"""Descriptor: how SQLite itself has a database file open.

POSIX drops every lock that a process has on a file as soon as the process closes any descriptor of that file. SQLite's
locks are of that kind, so nobody but SQLite may open and close a database: another connection of this process might
lose its locks. A descriptor that SQLite has opened may be used, though, and SQLite knows when it is safe to close it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import sqlite3
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote


class Identity(NamedTuple):
    """Which file it is, whatever its name."""

    device: int
    inode: int


def identify(path: Path | str) -> Identity | None:
    """The file that has a name at this moment; None where no file has it."""
    try:
        found = os.stat(path)  # noqa: PTH116  # thrice as quick as by a Path, six times a transaction
    except OSError:
        return None
    return Identity(found.st_dev, found.st_ino)


def uri_of(path: Path, **options: object) -> str:
    """The name of a database file as SQLite takes it with options."""
    return f"file:{quote(str(path))}?" + "&".join(f"{name}={value}" for name, value in options.items())


class Descriptor:
    """A descriptor of a database file, opened by SQLite for reading.

    Args:
        path: the file; it exists.

    Raises:
        sqlite3.Error, OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        identity = identify(path)
        if identity is None:
            raise sqlite3.OperationalError(f"{path} has gone")
        # SQLite does not tell the number of a descriptor. It is the one that is new, or the only one that reads; SQLite
        # may reuse one of a connection that was closed, and other threads may open the file as well: then try again.
        with ExitStack() as tried:
            while True:
                before = _reading(identity)
                connection = sqlite3.connect(uri_of(path, mode="ro"), uri=True, check_same_thread=False)
                after = _reading(identity)
                found = after if len(after) == 1 else after - before
                if len(found) == 1:
                    break
                tried.callback(connection.close)
                if identify(path) != identity:
                    raise sqlite3.OperationalError(f"{path} has gone")
        self._connection = connection
        (self.number,) = found

    def close(self) -> None:
        """Have SQLite close it, when that does no harm."""
        self._connection.close()

    def leave(self) -> None:
        """In a forked child: close it without SQLite, which may never touch a connection of the parent's."""
        keep_for_ever(self._connection)
        os.close(self.number)


def keep_for_ever(thing: object) -> None:
    """Have an object never be collected, nor what it refers to, not even at the end of the program.

    SQLite's last connection to a database removes the log and the index, by their names. One that must not do so is
    never closed.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _reading(identity: Identity) -> set[int]:
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        number = int(entry.name)
        try:
            state = os.fstat(number)
            if (state.st_dev, state.st_ino) == identity and not fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE:
                found.add(number)
        except OSError:  # closed meanwhile, by another thread or by the listing itself
            continue
    return found
