"""Backup: a consistent copy of a database, taken while an engine runs over it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from peewee import Database

from .errors import BackupFailed
from .statements import run

_PAGES_A_STEP = 4_000


def back_up(database: Database, target: Path, progress: Callable[[int, int], None] = lambda _done, _all: None) -> None:
    """Copy a database as it is at this moment.

    Args:
        database: connected in this thread; it may be written to meanwhile.
        target: the file to make.
        progress: called now and then with the number of pages copied, and of all.

    Raises:
        BackupFailed: the file exists, or cannot be written; there is no half copy left.
    """
    try:
        target.touch(exist_ok=False)
    except FileExistsError:
        raise BackupFailed(f"{target} exists: name a file that does not, a backup overwrites nothing.") from None
    except OSError as error:
        raise BackupFailed(f"Cannot write {target}: {error}.") from error
    connected: Any = database
    try:
        # Inside a read transaction the copy is of one moment, whatever is written between two steps.
        with database.atomic(), closing(sqlite3.connect(target)) as copy:
            run(database, "SELECT count(*) FROM sqlite_master").fetchone()
            source: sqlite3.Connection = connected.connection()
            source.backup(
                copy, pages=_PAGES_A_STEP, progress=lambda _, remaining, total: progress(total - remaining, total)
            )
    except sqlite3.Error as error:
        target.unlink(missing_ok=True)
        raise BackupFailed(f"Cannot copy to {target}: {error}.") from error
