"""The write-ahead log: kept from growing without bound while readers are at work."""

from __future__ import annotations

from pathlib import Path

from ..statements import run
from ..translation import translated_errors
from .connection import SqliteWriter

CHECKPOINT_PAGES = 8_000
"""Pages of 4 KiB after which SQLite copies the log into the database by itself. Large, so that a page which many
commits write is copied once; small enough that the log stays at about 32 MiB."""

_PAGE_BYTES = 4096


class WriteAheadLog:
    """The log of the one connection that writes.

    SQLite's own checkpoints copy the log, but begin it anew only at a moment when nobody reads from it. Where reads
    overlap all the time there is no such moment, and the log grows for ever. So, once it is twice as large as it should
    be, one checkpoint waits for the readers of that moment; those that come meanwhile read the copied pages, and do not
    hold it up. A reader that takes long (a verification, a backup) makes a checkpoint wait in vain each time that the
    log has grown again, and every few seconds; when it has gone, the log becomes as small as it was.

    Args:
        database: the connection that writes.
    """

    def __init__(self, database: SqliteWriter) -> None:
        self._database = database
        self._path = Path(f"{database.database}-wal")
        self._bound = 2 * CHECKPOINT_PAGES * _PAGE_BYTES
        self._next = self._bound
        # For the log that SQLite itself begins anew: the file would stay as large as it ever was.
        run(database, f"PRAGMA journal_size_limit = {self._bound}")

    def keep_bounded(self, *, again: bool = False) -> bool:
        """Begin the log anew if it has grown too large. Call it between two transactions.

        Args:
            again: try although a reader was in the way the last time, and the log has hardly grown since.

        Returns:
            Whether it is too large, and is to be tried again in a while.

        Raises:
            StoreUnavailable: the database does not take writes, or its log cannot be looked at.
        """
        with translated_errors(also=(OSError,)):
            return self._keep_bounded(again=again)

    def _keep_bounded(self, *, again: bool) -> bool:
        size = self._path.stat().st_size
        if size < self._bound:
            self._next = self._bound
            return False
        if size < self._next and not again:
            return True
        is_anew = self._database.begin_log_anew()
        self._next = self._bound if is_anew else size + self._bound // 2
        return not is_anew
