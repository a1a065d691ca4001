"""Limits on the work: how many orders are Processing at once, and how many are begun a second."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from .errors import InvalidConfiguration
from .order import IDENTIFIER

QUEUE, USER, METADATA = "queue:", "user", "metadata."
LIMITS_RULE = (
    "entries such as `queue:mail=10`, `user=2 5/s` or `metadata.provider=20/s`, with commas between them: how many "
    "orders at once, and how many a second"
)
MAX_CONCURRENCY = 1_000_000
MAX_RATE = 1e6

_BURST_SECONDS = 0.1
_LONGEST_VALUE = 128
_ENTRY = re.compile(
    r"(?P<name>[^=\s]+)\s*=\s*(?P<concurrency>[0-9]{1,7})?(?:(?(concurrency)\s+)(?P<rate>[0-9]{1,7}(?:\.[0-9]{1,6})?)/s)?"
)


class Limit(NamedTuple):
    """How much work there may be."""

    concurrency: int | None = None
    """How many orders may be Processing at once; None for any number."""
    rate: float | None = None
    """How many orders may be begun a second; None for any number."""

    @property
    def is_none(self) -> bool:
        """Whether it limits nothing."""
        return self == NO_LIMIT

    def admits(self, next_us: int, now_us: int) -> float:
        """How many orders the rate lets begin now.

        The generic cell rate algorithm, as virtual scheduling (ITU-T Recommendation I.371): orders are begun at an even
        rate, and as many at once as would be in a tenth of a second. A span of t seconds sees `rate` times t orders at
        the most, and these besides.

        Args:
            next_us: when the next order was to be begun at an even rate, its theoretical arrival time, in microseconds.
            now_us: now, likewise.
        """
        if self.rate is None:
            return math.inf
        ahead_us = max(0, next_us - now_us)
        return max(0, math.floor(self._burst - ahead_us * self.rate / 1e6 + 1e-9))

    def after(self, count: int, next_us: int, now_us: int) -> int:
        """When the next order is to be begun at an even rate, after some are begun now. Arguments as of `admits`."""
        return max(next_us, now_us) + (0 if self.rate is None else math.ceil(count * 1e6 / self.rate))

    def opens_us(self, next_us: int) -> int:
        """From when on the rate lets one begin, for a `next_us` as of `admits`."""
        return next_us if self.rate is None else next_us - math.floor((self._burst - 1) * 1e6 / self.rate)

    def room(self, in_hand: int, next_us: int, closed_until_us: int | None, now_us: int) -> float:
        """How many further orders may be begun now.

        Args:
            in_hand: how many are Processing.
            next_us: as of `admits`.
            closed_until_us: None may be begun before; None where nobody said so.
            now_us: now.
        """
        room = math.inf if self.concurrency is None else self.concurrency - in_hand
        if room < 1:
            return room
        if closed_until_us is not None and closed_until_us > now_us:
            return 0
        return room if self.rate is None else min(room, self.admits(next_us, now_us))

    @property
    def _burst(self) -> int:
        return 1 if self.rate is None else max(1, round(self.rate * _BURST_SECONDS))


NO_LIMIT = Limit()
Limits = Mapping[str, Limit]
"""By what they are for: `queue:NAME`; `user` or `metadata.FIELD` for each value of these; or such with one value, as
`user:NAME`."""
NO_LIMITS: Limits = MappingProxyType({})


def parse_limits(text: str) -> Limits:
    """Limits as the configuration has them: `queue:mail=10 5/s, user=2, metadata.provider=20/s`.

    Raises:
        InvalidConfiguration: it is something else.
    """
    limits: dict[str, Limit] = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        found = _ENTRY.fullmatch(entry)
        if found is None or not _is_name(found["name"]):
            raise InvalidConfiguration(f"limits must be {LIMITS_RULE}; {entry!r} is none.")
        concurrency, rate = found["concurrency"], found["rate"]
        limit = Limit(None if concurrency is None else int(concurrency), None if rate is None else float(rate))
        if limit.is_none or limit.concurrency == 0 or limit.rate == 0:
            raise InvalidConfiguration(f"limits must be above 0; {entry!r} lets no order through.")
        if found["name"] in limits:
            raise InvalidConfiguration(f"limits has {found['name']!r} twice.")
        limits[found["name"]] = limit
    return limits


def _is_name(name: str) -> bool:
    if name.startswith(QUEUE):
        return IDENTIFIER.fullmatch(name.removeprefix(QUEUE)) is not None
    kind, _, value = name.partition(":")
    is_kind = kind == USER or (kind.startswith(METADATA) and len(kind) > len(METADATA))
    return is_kind and (":" not in name or 0 < len(value) <= _LONGEST_VALUE)


NameOf = Callable[[str, Mapping[str, Any] | None], str | None]
"""Of an order's user and metadata, what a limit by values is counted by: `user:NAME` or `metadata.FIELD:VALUE`; None
without a value."""


def value_of(kind: str) -> NameOf:
    """What orders are counted by, under a limit by values.

    Args:
        kind: `user` or `metadata.FIELD`.
    """
    if kind == USER:
        return lambda user_id, _: f"{USER}:{user_id}"
    field = kind.removeprefix(METADATA)

    def of_metadata(_: str, metadata: Mapping[str, Any] | None) -> str | None:
        value = None if metadata is None else metadata.get(field)
        if type(value) is str:
            return f"{kind}:{value[:_LONGEST_VALUE]}"
        if value is None or isinstance(value, dict | list):
            return None
        return f"{kind}:{msgspec.json.encode(value).decode()[:_LONGEST_VALUE]}"

    return of_metadata
