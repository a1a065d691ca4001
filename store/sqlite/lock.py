"""Lock: keeps a second engine out of a database, and out of its log."""

from __future__ import annotations

import fcntl
import os
import platform
import sqlite3
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from weakref import WeakSet

from ..domain.errors import DatabaseRefused
from ..files import OWNER_ONLY, create
from .address import check_place
from .descriptor import Descriptor, Identity, identify

_taking = threading.Lock()
_taken: WeakSet[EngineLock] = WeakSet()
_inherited: set[Identity] = set()


class EngineLock:
    """The right to run an engine over a database, until it is released or its process dies, however it dies.

    It is made of two locks of the operating system. One is on the file itself: it holds by whatever name the file is
    opened, and nothing can remove it. The other is on its name, by a file beside it, since SQLite names its log after
    the database: a file that takes the place of one in use must not get the log of that one.

    A forked child does not have it.

    Args:
        path: the file, as `locate` gives it; it is made, empty, where it does not exist.

    Raises:
        DatabaseRefused: another engine has it, or no database can be there; nothing was made.
    """

    def __init__(self, path: Path) -> None:
        exists = check_place(path)
        with _taking, ExitStack() as undo:
            if (identity := identify(path)) is not None:
                _check_free(path, identity)
            name = _NameLock(path)
            undo.callback(name.release)
            try:
                if not exists:
                    # The new file is ours until something is in it.
                    create(path)
                    undo.callback(_remove_empty, path)
                descriptor = Descriptor(path)
                undo.callback(descriptor.close)
                fcntl.flock(descriptor.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # At once: SQLite may have to keep the descriptor for a while, for another connection of this process.
                undo.callback(fcntl.flock, descriptor.number, fcntl.LOCK_UN)
                state = os.fstat(descriptor.number)
            except BlockingIOError:
                raise _in_use(path, "by another name, or its lock file was removed") from None
            except (OSError, sqlite3.Error) as error:
                raise DatabaseRefused(f"Cannot lock {path}: {error}.") from error
            if state.st_nlink > 1:
                raise DatabaseRefused(
                    f"{path} has other names, by hard links: SQLite's log goes by the name, so orders could be lost. "
                    "Remove the other names, or copy the file with `ordermill backup` and use the copy."
                )
            self.identity = Identity(state.st_dev, state.st_ino)
            """The file that is locked."""
            self._path = path
            self.check()
            self._descriptor = descriptor
            self._name = name
            self._undo = undo.pop_all()
            _taken.add(self)

    def check(self) -> None:
        """Make sure that its name still leads to the file.

        Raises:
            DatabaseRefused: it does not.
        """
        if identify(self._path) != self.identity:
            raise DatabaseRefused(f"{self._path} was deleted, moved or replaced while it was in use.")

    def release(self) -> None:
        """Let other engines have it; nothing happens where that was done."""
        with _taking:
            _taken.discard(self)
            self._undo.close()

    def _leave(self) -> None:
        # In a forked child. Both locks are shared with the parent, and would outlive it.
        self._undo.pop_all()
        self._descriptor.leave()
        self._name.leave()
        _inherited.add(self.identity)


class _NameLock:
    def __init__(self, path: Path) -> None:
        self._path = Path(f"{path}.lock")
        try:
            self._number = self._take()
        except BlockingIOError:
            raise _in_use(path, self._holder()) from None
        except OSError as error:
            raise DatabaseRefused(f"Cannot lock {path}: {error}.") from error
        with suppress(OSError):  # a courtesy: whoever is refused reads it
            os.ftruncate(self._number, 0)
            os.pwrite(self._number, f"{_this_process()}\n".encode(), 0)

    def release(self) -> None:
        if identify(self._path) == _identify_open(self._number):
            self._path.unlink(missing_ok=True)
        fcntl.flock(self._number, fcntl.LOCK_UN)  # though a child that was forked this moment has it open still
        os.close(self._number)

    def leave(self) -> None:
        os.close(self._number)

    def _take(self) -> int:
        while True:
            number = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, OWNER_ONLY)
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BaseException:
                os.close(number)
                raise
            if identify(self._path) == _identify_open(number):
                return number
            os.close(number)  # whoever had it has removed it meanwhile

    def _holder(self) -> str:
        with suppress(OSError):
            if note := self._path.read_text(errors="replace").strip():
                return note
        return "by another process"


def _check_free(path: Path, identity: Identity) -> None:
    if any(lock.identity == identity for lock in _taken):
        raise _in_use(path, _this_process())
    if identity in _inherited:
        raise DatabaseRefused(
            f"{path} was open when this process was forked, and SQLite does not work across a fork: "
            "start the engine in a new process, or after the fork."
        )


def _identify_open(number: int) -> Identity:
    state = os.fstat(number)
    return Identity(state.st_dev, state.st_ino)


def _remove_empty(path: Path) -> None:
    with suppress(FileNotFoundError):
        if path.stat().st_size == 0:
            path.unlink()


def _this_process() -> str:
    return f"process {os.getpid()} on {platform.node()}"


def _in_use(path: Path, holder: str) -> DatabaseRefused:
    return DatabaseRefused(
        f"An engine is running over {path} already ({holder}): stop it first, or read through its REST API."
    )


def _leave_to_parent() -> None:
    global _taking
    _taking = threading.Lock()  # another thread of the parent's may have had it
    for lock in list(_taken):
        lock._leave()
    _taken.clear()


os.register_at_fork(after_in_child=_leave_to_parent)
