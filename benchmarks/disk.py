"""The physical limit of whoever waits for the disk: how often a second it takes a page and says that it has it."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

_PAGE = os.urandom(4096)


def commits_per_second(folder: Path, seconds: float = 1.0) -> float:
    """Append pages of 4 KiB to a file, one by one, each synced before the next.

    Args:
        folder: on the disk in question.
        seconds: how long.

    Returns:
        Synced pages a second.
    """
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        commits = 0
        began = time.perf_counter()
        while (elapsed := time.perf_counter() - began) < seconds:
            file.write(_PAGE)
            os.fsync(file.fileno())
            commits += 1
    return commits / elapsed
