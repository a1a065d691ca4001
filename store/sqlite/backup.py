"""Backup: a consistent copy of a database, taken while an engine runs over it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from peewee import Database

from ..domain.errors import BackupFailed
from ..files import create, sync
from ..statements import run

_PAGES_A_STEP = 4_000


def back_up(database: Database, target: Path, progress: Callable[[int, int], None] = lambda _done, _all: None) -> None:
    """Copy a database as it is at this moment.

    The copy is made beside the target, and gets its name once it is whole and on disk. What an earlier run has left
    there, since it was killed, is overwritten. It is for its owner only.

    Args:
        database: connected in this thread; it may be written to meanwhile.
        target: the file to make.
        progress: called now and then with the number of pages copied, and of all.

    Raises:
        BackupFailed: the file exists, or cannot be written; there is no half copy left.
    """
    if os.path.lexists(target):
        raise _exists(target)
    partial = target.with_name(f"{target.name}.partial")
    try:
        try:
            partial.unlink(missing_ok=True)
            create(partial)
            _copy(database, partial, progress)
            sync(partial)
            create(target)  # whoever else makes a file of this name has been first, or fails
            partial.replace(target)
            sync(target.parent)
        finally:
            partial.unlink(missing_ok=True)
    except FileExistsError:
        raise _exists(target) from None
    except (sqlite3.Error, OSError) as error:
        raise BackupFailed(f"Cannot copy to {target}: {error}.") from error


def _copy(database: Database, partial: Path, progress: Callable[[int, int], None]) -> None:
    connected: Any = database
    # Inside a read transaction the copy is of one moment, whatever is written between two steps.
    with database.atomic(), closing(sqlite3.connect(partial)) as copy:
        run(database, "SELECT count(*) FROM sqlite_master").fetchone()
        source: sqlite3.Connection = connected.connection()
        source.backup(
            copy, pages=_PAGES_A_STEP, progress=lambda _, remaining, total: progress(total - remaining, total)
        )
        # A file by itself: it can be read where nothing can be written, and has no log that could lie beside it.
        copy.execute("PRAGMA journal_mode = DELETE").fetchone()


def _exists(target: Path) -> BackupFailed:
    return BackupFailed(f"{target} exists already, and a backup overwrites nothing: name another file.")
