"""What a commit waits for."""

from __future__ import annotations

from enum import StrEnum


class Durability(StrEnum):
    """What a commit waits for.

    Example:
        >>> with OrderEngine("orders.db", handler=lambda order: None, durability="normal") as engine:
        ...     engine.config.durability
        <Durability.NORMAL: 'normal'>
    """

    FULL = "full"
    """The disk: an acknowledged order survives a power failure (PRAGMA synchronous=FULL)."""
    NORMAL = "normal"
    """The operating system: it survives the death of the process, not always a power failure."""
