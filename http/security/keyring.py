"""Keyring: the keys of a running server, which follow their file without a restart."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from hmac import compare_digest
from pathlib import Path

from ..followed import Followed
from ..wire.errors import KeysUnreadable
from .api_keys import KeyEntry, hash_key, id_of, read_keys

GRACE_SECONDS = 60
"""How long the keys of before are good for while their file cannot be read."""

_NO_HASH = "0" * 64


class Keyring:
    """Finds the entry of a key.

    Args:
        path: the file of the keys.
        now: seconds that only rise.

    Raises:
        KeysUnusable: the file cannot be read, or a line of it is not a key.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._entries = Followed((path,), partial(read_keys, path), "the file of the keys", now)

    def find(self, key: str) -> KeyEntry | None:
        """The entry of a key; None for one that is not valid, or was revoked.

        Raises:
            KeysUnreadable: the file could not be read for so long that nobody knows any more which keys are good.
        """
        entry = self.entry(id_of(key))
        # Hashes are compared, and in constant time: how long it takes tells nothing about a key that is nearly right.
        is_right = compare_digest(hash_key(key), _NO_HASH if entry is None else entry.sha256)
        return entry if is_right else None

    def entry(self, key_id: str) -> KeyEntry | None:
        """The entry of that id; None where there is none, or none any more.

        Raises:
            KeysUnreadable: as of `find`.
        """
        entries = self._entries.get()
        if self._has_been_unreadable_for_long():
            raise KeysUnreadable
        return entries.get(key_id)

    def trouble(self) -> tuple[str, ...]:
        """Why the keys do not follow their file at present, in words for people; empty while they do."""
        self._entries.get()
        if self._has_been_unreadable_for_long():
            return (
                f"the file of the keys has been unreadable for {GRACE_SECONDS} s, no key is taken: the log says why",
            )
        return self._entries.trouble

    def _has_been_unreadable_for_long(self) -> bool:
        # A key may have been revoked by what cannot be read.
        since = self._entries.failing_since
        return since is not None and self._now() - since >= GRACE_SECONDS
