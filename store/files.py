"""Files that must outlive a power failure, and are nobody else's business."""

from __future__ import annotations

import os
from pathlib import Path

OWNER_ONLY = 0o600
"""The mode of files that are made: who orders what is for their owner, who may let others read them afterwards."""


def create(path: Path) -> None:
    """Make an empty file that only its owner may read and write.

    Raises:
        FileExistsError: there is a file of this name, or a link.
        OSError: it cannot be made.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY))


def sync(path: Path) -> None:
    """Have the disk hold a file, or the names in a folder, as they are now.

    Raises:
        OSError: it does not.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
