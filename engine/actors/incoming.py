"""Incoming: orders that a server is reading at this moment, and hands over in the next."""

from __future__ import annotations

import threading


class Incoming:
    """Tells whoever is about to commit that more orders come soon, whose commit may be the same. For any thread."""

    def __init__(self) -> None:
        self._has_come = threading.Event()
        self._has_come.set()

    def expect(self) -> None:
        """Orders are being read."""
        self._has_come.clear()

    def end(self) -> None:
        """They are handed over, or there are none."""
        self._has_come.set()

    def wait(self, seconds: float) -> bool:
        """Wait for them.

        Args:
            seconds: how long at the most.

        Returns:
            Whether any were expected.
        """
        if self._has_come.is_set():
            return False
        if not self._has_come.wait(seconds):
            self._has_come.set()  # whoever is so slow, or has gone, is not waited for again until it says so
        return True
