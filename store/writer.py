"""Writer: the connection that writes, to whatever kind of database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import ClassVar, Self, TypeVar

from peewee import Database, DatabaseError, OperationalError

from .translation import translated_errors

T = TypeVar("T")


class TransactionConflict(OperationalError):
    """Two transactions waited for each other, and this one was ended. It has stored nothing, and may be tried again."""


class Turn(Enum):
    """What only one transaction at a time may do, of all engines over a database."""

    JOIN = 1
    """Make an engine known: so their numbers rise in the sequence in which they can be seen."""
    KEYS = 2
    """See to orders that wait for others of their key."""
    CONTROL = 4
    """Change what operators have set."""
    DELIVERIES = 3
    """Change webhooks; begin deliveries to them, or end them."""
    ESTIMATES = 5
    """Judge what was told of when orders will be over."""


class Writer(Database):
    """The one connection of an engine that writes. It may go from thread to thread, and be used by one at a time.

    Each kind of database has one of its own, which says what differs.
    """

    timeout: float
    """How long it waits for others at the most, in seconds."""
    is_shared: ClassVar[bool] = False
    """Whether other engines may write to the database at the same time."""
    owner: int | None = None
    """The run of an engine that it writes for; None for nobody in particular, and where it is not shared."""

    def act_as(self, owner: int, lease_seconds: float) -> None:
        """From now on, write for a run of an engine, and nothing once that is not taken for alive any more.

        Args:
            owner: the run.
            lease_seconds: how long a transaction may stand still at the most.

        Raises:
            StoreUnavailable: the database did not answer.
        """

    @contextmanager
    def leading(self) -> Iterator[None]:
        """Within the block, transactions are refused unless the engine leads: is the eldest one that is alive.

        Raises:
            NotLeading: it does not, and nothing was stored.
        """
        yield

    def wait_for_turn(self, turn: Turn, *, with_others: bool = False) -> None:
        """In a transaction: from now to its end, nobody else has that turn.

        Args:
            turn: what for.
            with_others: those who say so as well may have it at the same time.
        """

    def hint(self) -> None:
        """Tell other engines that there is something new, between two transactions; nobody may be told.

        Raises:
            StoreUnavailable: the database did not answer.
        """

    def read(self, query: Callable[[Self], T]) -> T:
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
