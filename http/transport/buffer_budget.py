"""How much of what clients have half sent, or half read, is held in memory."""

from __future__ import annotations

import threading

OWN_BYTES = 16 * 1024
"""What each connection may hold without asking: more than the largest order."""


class Memory:
    """What all connections may hold together, beyond the little that each may hold anyway.

    Args:
        max_bytes: in all.
    """

    def __init__(self, max_bytes: int) -> None:
        self._free = max_bytes
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Take so many bytes, if they are free."""
        with self._lock:
            if size > self._free:
                return False
            self._free -= size
            return True

    def give_back(self, size: int) -> None:
        """Let others take these bytes."""
        with self._lock:
            self._free += size


class Loan:
    """What one connection holds.

    Args:
        memory: where it is from.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._size = 0

    def grow(self, size: int) -> bool:
        """Hold so many bytes more, if there is memory for them."""
        wanted = self._size + size
        if wanted > OWN_BYTES and not self._memory.take(wanted - max(self._size, OWN_BYTES)):
            return False
        self._size = wanted
        return True

    def end(self) -> None:
        """Hold nothing any more."""
        if self._size > OWN_BYTES:
            self._memory.give_back(self._size - OWN_BYTES)
        self._size = 0
