"""Writer: the connection that writes, to whatever kind of database."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from peewee import Database, DatabaseError

from .translation import translated_errors

T = TypeVar("T")


class Writer(Database):
    """The one connection of an engine that writes. It may go from thread to thread, and be used by one at a time.

    Each kind of database has one of its own, which says what differs.
    """

    timeout: float
    """How long it waits for others at the most, in seconds."""

    def read(self, query: Callable[[Database], T]) -> T:
        """What a query gives.

        Args:
            query: called with the database.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        with translated_errors():
            return query(self)

    def wait_at_most(self, seconds: float) -> None:
        """From now on, wait so long for another connection that is in the way.

        Args:
            seconds: how long.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        raise NotImplementedError

    def known_fault(self) -> DatabaseError | None:
        """What keeps it from storing anything, as far as is known without asking; None if nothing. For any thread."""
        raise NotImplementedError

    def find_fault(self) -> DatabaseError | None:
        """The same after a look, by the thread that uses it. Takes some microseconds."""
        return self.known_fault()

    def check_replaceable(self) -> None:
        """Make sure that another connection would be one to the same database.

        Raises:
            StoreUnavailable: it would not.
        """

    def keep_log_bounded(self, *, again: bool = False) -> bool:
        """Bound what the database keeps beside its tables, where that is ours to do. Call it between two transactions.

        Args:
            again: try although it was in vain the last time, and there is hardly more since.

        Returns:
            Whether it is too large, and is to be tried again in a while.

        Raises:
            StoreUnavailable: the database does not take writes, or its log cannot be looked at.
        """
        raise NotImplementedError

    def log_bytes(self) -> int | None:
        """The size of that log; None where there is none that is ours to bound."""
        raise NotImplementedError
