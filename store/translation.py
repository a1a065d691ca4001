"""From the errors of the database to the one that callers know."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from peewee import DatabaseError, InterfaceError

from .domain.errors import StoreUnavailable

Kinds = tuple[type[Exception], ...]


@contextmanager
def translated_errors(*, also: Kinds = (), but: Kinds = ()) -> Iterator[None]:
    """Within the block, each error of the database is raised as StoreUnavailable.

    Args:
        also: further errors that mean the same.
        but: errors that are raised as they are.

    Raises:
        StoreUnavailable: the database failed; `__cause__` has its own error.
    """
    # Peewee translates the errors of its own calls only; its InterfaceError says that nothing is open.
    failures: Kinds = (DatabaseError, InterfaceError, sqlite3.Error, *also)
    handled = sys.exception()
    try:
        yield
    except but:
        raise
    except failures as error:
        raise StoreUnavailable(_origin(error, handled)) from error


def _origin(error: BaseException, handled: BaseException | None) -> BaseException:
    # When the disk is full SQLite rolls back by itself; the rollback that follows fails, and would hide the reason.
    reasons = DatabaseError | sqlite3.Error | OSError
    while (earlier := error.__context__) is not handled and isinstance(earlier, reasons):
        error = earlier
    return error
