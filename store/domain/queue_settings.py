"""Queues: what operators have set about each, and how it is doing."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from .limit import Limit
from .record import utc

MAX_QUEUES = 1_000
"""How many are told apart; orders that name any further one wait in the default one."""

MAX_COUNTED = 10_000
"""Orders in line that are counted of each."""


class QueueSettings(msgspec.Struct, frozen=True):
    """What operators have set about a queue."""

    name: str
    is_paused: bool = False
    """Whether no order of it is started."""
    concurrency: int | None = None
    """How many of its orders may be Processing at once; None for as many as are configured."""
    rate: float | None = None
    """How many of its orders may be begun a second; None for as many as are configured."""
    reason: str | None = None
    """Why it was set so, in words for people; None where nobody said."""
    changed_us: int | None = None
    """When, microseconds since 1970-01-01T00:00:00Z; None where nobody has set it."""
    changed_by: str | None = None
    """The name of the key that it was set with; None without keys."""

    def limit(self, configured: Limit) -> Limit:
        """The limit that holds.

        Args:
            configured: what holds where nobody has set anything.
        """
        return Limit(
            configured.concurrency if self.concurrency is None else self.concurrency,
            configured.rate if self.rate is None else self.rate,
        )


class QueueCounts(NamedTuple):
    """How many orders of a queue there are."""

    queue: str
    is_paused: bool
    pending: int
    """Those that stand in line: what waits for its time, for a limit or for others of its key is not among them. Up to
    10,000 are counted."""
    processing: int


class QueueChange(msgspec.Struct, frozen=True):
    """What is to be another one about a queue; what is UNSET stays as it is."""

    paused: bool | UnsetType = UNSET
    concurrency: int | UnsetType | None = UNSET
    """None for as many as are configured."""
    rate: float | UnsetType | None = UNSET
    """Likewise."""

    def of(self, settings: QueueSettings, reason: str | None, at_us: int, acted_by: str | None) -> QueueSettings:
        """Those settings, with this change.

        Args:
            settings: what holds.
            reason: why they are changed.
            at_us: when.
            acted_by: by whom.
        """
        return QueueSettings(
            settings.name,
            settings.is_paused if isinstance(self.paused, UnsetType) else self.paused,
            settings.concurrency if isinstance(self.concurrency, UnsetType) else self.concurrency,
            settings.rate if isinstance(self.rate, UnsetType) else self.rate,
            reason,
            at_us,
            acted_by,
        )

    def __str__(self) -> str:
        """As the audit log has it: `paused, concurrency 5`."""
        said = []
        if not isinstance(self.paused, UnsetType):
            said.append("paused" if self.paused else "not paused")
        for name, value in (("concurrency", self.concurrency), ("rate", self.rate)):
            if not isinstance(value, UnsetType):
                said.append(f"{name} {'as configured' if value is None else format(value, 'g')}")
        return ", ".join(said)


class QueueState(msgspec.Struct, frozen=True):
    """How a queue is set, and how it is doing."""

    queue: str
    """Its name."""
    paused: bool
    """Whether no order of it is started."""
    concurrency: int | None
    """How many of its orders may be Processing at once; None for any number."""
    rate: float | None
    """How many of its orders may be begun a second; None for any number."""
    pending: int
    """How many of its orders are Pending and could be begun if nothing but processors and limits were in the way;
    counted up to 10,000."""
    processing: int
    """How many of its orders are Processing."""
    slowed_until_us: int | None
    """Until when no order of it is begun since a handler was told to come back later, microseconds since
    1970-01-01T00:00:00Z; None where none was."""
    reason: str | None = None
    """Why it was set so, in words for people; None where nobody said."""
    changed_us: int | None = None
    """When somebody set it last, likewise; None where nobody has."""
    changed_by: str | None = None
    """The name of the key that it was set with; None without keys."""

    @property
    def slowed_until(self) -> datetime | None:
        """Until when no order of it is begun, in UTC."""
        return None if self.slowed_until_us is None else utc(self.slowed_until_us)

    @property
    def changed_at(self) -> datetime | None:
        """When somebody set it last, in UTC."""
        return None if self.changed_us is None else utc(self.changed_us)
