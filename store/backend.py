"""Backend: what a kind of database offers to whoever runs an engine over it, or looks into it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from .domain.durability import Durability
from .writer import Writer


class Lock(Protocol):
    """The right to run an engine over a database, until it is released or its process dies."""

    def check(self) -> None:
        """Nothing, while it holds.

        Raises:
            DatabaseRefused: it does not hold any more.
        """

    def release(self) -> None:
        """Give it back."""


class Listener(Protocol):
    """Whoever hears hints of other engines, until it is closed."""

    def close(self) -> None:
        """Listen no longer."""


class Backend(Protocol):
    """A database, before anything of it is open."""

    @property
    def address(self) -> str:
        """How another process names it."""

    @property
    def name(self) -> str:
        """How people are told of it."""

    @property
    def path(self) -> Path | None:
        """The file, absolute: whatever is kept beside the database is named after it. None where a server has it."""

    def lock(self) -> Lock:
        """Keep other engines from it.

        Raises:
            DatabaseRefused: another engine has it, or no database can be there.
        """

    def open_writer(self, durability: Durability, *, skip_upgrade_copy: bool = False) -> Writer:
        """The one connection that writes; the schema is made where it is new, and upgraded where it is old.

        Args:
            durability: what a commit waits for.
            skip_upgrade_copy: upgrade without keeping a copy of the database as it was.

        Raises:
            DatabaseRefused: it cannot be opened, is not ours, or was made by a newer version.
        """

    def open_readers(self, max_connections: int, *, any_version: bool = False) -> Any:
        """One of Peewee's pools, which have no types: connections that only read, for any thread.

        Args:
            max_connections: how many at the most.
            any_version: whether a database of an older schema will do, for whoever does not look into its tables.

        Raises:
            DatabaseRefused: it does not exist, is not ours, or it was made by a newer version.
        """

    def listen(self, own: Callable[[], int], hear: Callable[[], None]) -> Listener:
        """Hear from other engines over the database that there is something new: see `Writer.hint`.

        Args:
            own: gives the run of the engine that listens.
            hear: called from another thread; some times a second at the most, and perhaps not at all.
        """
