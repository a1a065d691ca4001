"""PostgreSQL as a backend: a database of a server, which several engines write to and anybody may read."""

from __future__ import annotations

from collections.abc import Callable

from psycopg import ProgrammingError, conninfo

from ..domain.durability import Durability
from ..domain.errors import InvalidConfiguration
from . import database
from .connection import PostgresWriter, Readers, parameters_of
from .hints import Hints


class PostgresBackend:
    """See `Backend`.

    Args:
        url: of the server and the database, as libpq takes it; what it leaves out, libpq's variables say.

    Raises:
        InvalidConfiguration: it is no such URL.
    """

    path = None
    """No file is ours."""

    def __init__(self, url: str) -> None:
        try:
            conninfo.conninfo_to_dict(url)
        except ProgrammingError as error:
            raise InvalidConfiguration(f"The database's URL is not valid: {str(error).strip()}.") from error
        self.address = url
        """The URL, which may have a password."""
        self.name = database.name_of(url)
        """The same for people."""

    def lock(self) -> NoLock:
        """See `Backend`."""
        return NoLock()

    def open_writer(
        self,
        durability: Durability,
        *,
        skip_upgrade_copy: bool = False,  # noqa: ARG002  # copies of a server's databases are not ours to make
    ) -> PostgresWriter:
        """The one connection that writes; see `database.open_writer`."""
        return database.open_writer(self.address, durability)

    def open_readers(self, max_connections: int, *, any_version: bool = False) -> Readers:
        """A pool of connections that only read; see `database.open_readers`."""
        return database.open_readers(self.address, max_connections, any_version=any_version)

    def listen(self, own: Callable[[], int], hear: Callable[[], None]) -> Hints:
        """See `Backend`."""
        return Hints(parameters_of(self.address), own, hear)


class NoLock:
    """Several engines may work over the database: each of their transactions says for which one it is."""

    def check(self) -> None:
        """It holds."""

    def release(self) -> None:
        """Nothing is to be given back."""
