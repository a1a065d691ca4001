"""Keyring: the keys of a running server, which follow their file without a restart."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from hmac import compare_digest
from pathlib import Path

from .keys import KeyEntry, KeysUnusable, hash_key, id_of, read_keys

_LOOK_EVERY_SECONDS = 1.0
_NO_HASH = "0" * 64

_log = logging.getLogger("ordermill.http")


class Keyring:
    """Finds the entry of a key.

    Args:
        path: the file of the keys.
        now: seconds that only rise.

    Raises:
        KeysUnusable: the file cannot be read, or a line of it is no key.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._now = now
        self._seen = _state(path)
        self._entries = read_keys(path)
        self._trouble: tuple[str, ...] = ()
        self._look_at = now() + _LOOK_EVERY_SECONDS

    def find(self, key: str) -> KeyEntry | None:
        """The entry of a key; None for one that is none, or is none any more."""
        self._follow()
        entry = self._entries.get(id_of(key))
        # Hashes are compared, and in constant time: how long it takes tells nothing about a key that is nearly right.
        is_right = compare_digest(hash_key(key), _NO_HASH if entry is None else entry.sha256)
        return entry if is_right else None

    def trouble(self) -> tuple[str, ...]:
        """Why the keys do not follow their file at present, in words for people; empty while they do."""
        self._follow()
        return self._trouble

    def _follow(self) -> None:
        now = self._now()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_EVERY_SECONDS
        state = _state(self._path)
        if state == self._seen:
            return
        self._seen = state
        try:
            self._entries = read_keys(self._path)
            self._trouble = ()
            _log.info("read the keys again: %d", len(self._entries))
        except KeysUnusable as error:
            # Nobody is locked out by a slip of an editor, and nobody let in.
            self._trouble = ("the file of the keys is not usable, and those of before hold: the log says why",)
            _log.error("the keys of before hold: %s", error)


def _state(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
