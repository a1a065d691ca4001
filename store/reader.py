"""Reading: connections that only read, for any thread, and whoever comes first is served first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from types import TracebackType
from typing import Self, TypeVar

from .backend import Backend
from .statements import Database
from .translation import translated_errors

T = TypeVar("T")

_PATIENCE_SECONDS = 5.0


class Reader:
    """Reads from a database, so many threads at once; a further one waits for its turn.

    Close it, or use it in a `with` block.

    Args:
        backend: a database that exists.
        max_connections: how many read at the same time.
        any_version: whether a database of an older schema will do, for whoever does not look into its tables.

    Raises:
        DatabaseRefused: it does not exist, is not ours, or it was made by a newer version.
    """

    def __init__(self, backend: Backend, max_connections: int, *, any_version: bool = False) -> None:
        self._database = backend.open_readers(max_connections, any_version=any_version)
        self._turns = Turns(max_connections)
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def read(self, query: Callable[[Database], T]) -> T:
        """What a query gives.

        Args:
            query: called with the database, connected in this thread.

        Raises:
            StoreUnavailable: the database did not answer, or it was nobody's turn for five seconds.
        """
        try:
            with (
                translated_errors(also=(TimeoutError,)),
                self._turns.turn(_PATIENCE_SECONDS),
                self._database.connection_context(),
            ):
                return query(self._database)
        finally:
            if self._is_closed:  # meanwhile, when this connection was in use
                self._database.close_idle()

    def close(self) -> None:
        """Close all connections; whoever reads at this moment closes its own afterwards."""
        self._is_closed = True
        self._database.close_idle()


class Turns:
    """So many at once, in the sequence in which they came.

    A semaphore of the standard library lets those who come again at once go before those who wait.

    Args:
        places: how many.
    """

    def __init__(self, places: int) -> None:
        self._lock = Lock()
        self._free = places
        self._waiting: deque[Lock] = deque()

    @contextmanager
    def turn(self, patience_seconds: float) -> Iterator[None]:
        """Have a place within the block.

        Raises:
            TimeoutError: there was none in time.
        """
        self._take(patience_seconds)
        try:
            yield
        finally:
            self._give()

    def _take(self, patience_seconds: float) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = Lock()
            turn.acquire()
            self._waiting.append(turn)
        try:
            if turn.acquire(timeout=patience_seconds):
                return
            raise TimeoutError(f"too many threads read at once: no turn within {patience_seconds:g} s")
        except BaseException:  # a Ctrl-C as well
            with self._lock:
                was_waiting = turn in self._waiting
                if was_waiting:
                    self._waiting.remove(turn)
            if not was_waiting:  # it has come meanwhile: for the next one
                self._give()
            raise

    def _give(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1
