"""Time and processor time of a stretch of work in this process."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self


class Stopwatch:
    """Measures a `with` block."""

    seconds = 0.0
    """What the clock on the wall says."""
    cpu_seconds = 0.0
    """What all threads of this process have used."""

    def __enter__(self) -> Self:
        self._cpu_began = time.process_time()
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._began
        self.cpu_seconds = time.process_time() - self._cpu_began

    def rate(self, orders: int) -> dict[str, float]:
        """The figures of so many orders that were completed meanwhile."""
        return {
            "completed_per_second": orders / self.seconds,
            "cpu_seconds_per_1000": 1000 * self.cpu_seconds / orders,
        }
