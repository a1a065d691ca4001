"""Places for requests that wait or watch: so many in all, and none of the callers takes them all."""

from __future__ import annotations

from collections import Counter
from threading import Lock


class WaitingPlaces:
    """Places for requests that wait. From any thread.

    A caller gets a further one only while as many are free as it has: one alone gets half of them, two a third each,
    and whoever comes last finds one.

    Args:
        places: how many there are.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._taken: Counter[str] = Counter()
        self._lock = Lock()

    def take(self, caller: str | None) -> bool:
        """Take a place, if there is one for this caller.

        Args:
            caller: the id of its key; None where none is needed, so that nobody can tell callers apart.
        """
        with self._lock:
            if not self._free or (caller is not None and self._taken[caller] >= self._free):
                return False
            self._free -= 1
            if caller is not None:
                self._taken[caller] += 1
            return True

    def give_back(self, caller: str | None) -> None:
        """Give a place back."""
        with self._lock:
            self._free += 1
            if caller is not None:
                self._taken[caller] -= 1
                if not self._taken[caller]:
                    del self._taken[caller]
