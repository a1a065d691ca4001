"""What a running server has read from files, and reads again when they change."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from ..store.domain.errors import OrdermillError

T = TypeVar("T")

_LOOK_EVERY_SECONDS = 1.0

_log = logging.getLogger("ordermill.http")


class Followed(Generic[T]):
    """The content of files, as it is by now; as it was before, where that cannot be used.

    Args:
        paths: the files.
        read: reads them all, and raises an error of ours where they are not usable.
        name: of what is in them, for the log: "the keys".
        now: seconds that only rise.

    Raises:
        OrdermillError: what `read` raises.
    """

    def __init__(
        self, paths: Sequence[Path], read: Callable[[], T], name: str, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._paths = paths
        self._read = read
        self._name = name
        self._now = now
        self._seen = self._state()
        self._content = read()
        self._look_at = now() + _LOOK_EVERY_SECONDS
        _all.add(self)
        self._told = ""
        self.trouble: tuple[str, ...] = ()
        """Why it does not follow the files at present, in words for people; empty while it does."""
        self.failing_since: float | None = None
        """Since when it does not; None while it does."""

    def get(self) -> T:
        """The content."""
        if self._now() >= self._look_at:
            self.look()
        return self._content

    def look(self) -> None:
        """See now whether the files have changed, and not within the next second."""
        self._look_at = self._now() + _LOOK_EVERY_SECONDS
        state = self._state()
        if state == self._seen and self.failing_since is None:
            return
        self._seen = state
        try:
            self._content = self._read()
            self.trouble, self.failing_since, self._told = (), None, ""
            _log.info("read %s again", self._name)
        except OrdermillError as error:
            # Nobody is locked out at once by a slip of an editor, and nobody let in. Of two files one may be there
            # before the other: the next look finds both.
            self.trouble = (f"{self._name} cannot be read again, what was read before holds: the log says why",)
            if self.failing_since is None:
                self.failing_since = self._now()
            if str(error) != self._told:
                self._told = str(error)
                _log.error("%s cannot be read again, what was read before holds: %s", self._name, error)

    def _state(self) -> list[tuple[int, ...]]:
        return [_state(path) for path in self._paths]


def look_at_all() -> None:
    """See now whether any of the files that this process follows have changed."""
    for followed in list(_all):
        followed.look()


_all: WeakSet[Followed[Any]] = WeakSet()


def _state(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
