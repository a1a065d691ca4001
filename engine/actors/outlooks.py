"""Outlooks: what the metrics actor says of when orders will be over, and of whether they will be in time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ...store import outlooks, queries
from ...store.attempts import LatestAttempts
from ...store.domain.errors import OrderNotFound
from ...store.domain.order import Order
from ...store.domain.outcome import Promise
from ...store.domain.outlook import Outlook, Place, Promised
from ...store.domain.record import OrderRecord, complete_by_us, new_record, not_before_us
from ...store.reader import Reader
from ..outlook import Basis, Forecast, forecast, outlook
from .context import EngineContext
from .messages import NoteEstimate

_BASIS_LASTS_US = 1_000_000
_MOST_KNOWN = 1_000
_DIGITS = 2
"""Places of the number of orders ahead that count, where new orders are looked at."""


class Outlooks:
    """Reads what is needed for it from the database, and what was measured once a second at the most.

    Args:
        context: the engine's clocks, settings and recorder.
        reader: of the database.
    """

    def __init__(self, context: EngineContext, reader: Reader) -> None:
        self._context = context
        self._reader = reader
        self._aging_us = round(context.config.aging_seconds * 1e6)
        self._latest = LatestAttempts(outlooks.LATEST_ATTEMPTS)
        self._basis: tuple[int, Basis] | None = None  # and when it was read, on the monotonic clock
        self._known: dict[tuple[object, ...], Forecast | None] = {}  # on that basis

    def of(self, order_id: str) -> Outlook:
        """Where an order is, why it waits, and when it is likely to be over; that is judged when it is.

        Raises:
            OrderNotFound: there is no such order.
            StoreUnavailable: the database did not answer.
        """
        context = self._context
        now_us = context.clock.now_us()
        record = self._reader.read(partial(queries.find, order_id=order_id))
        if record is None:
            raise OrderNotFound(order_id)
        place = self._reader.read(
            partial(
                outlooks.place,
                record=record,
                aging_us=self._aging_us,
                limits=self._context.config.work_limits,
                now_us=self._context.queue_clock.now_us(),
            )
        )
        told, estimate = outlook(
            record, place, self._read_basis(now_us), context.control_snapshot(), now_us, self._ready_us(record)
        )
        if estimate is not None:
            context.recorder.tell(NoteEstimate(estimate))
        return told

    def promises(self, orders: Sequence[Order]) -> list[Promised | None]:
        """How likely new orders are over by the times that they are to be completed by.

        Args:
            orders: in the sequence that they are handed in.

        Returns:
            For each, what can be said; None where it says no time, or is stored already and would be unlikely now.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        now_us = self._context.clock.now_us()
        basis = self._read_basis(now_us)
        config = self._context.config
        places = self._reader.read(
            partial(
                outlooks.places_of_new,
                orders=orders,
                now_us=self._context.queue_clock.now_us(),
                aging_us=self._aging_us,
                limits=config.work_limits,
                weights=config.user_weights,
                by_user=config.serial_users,
            )
        )
        promised: list[Promised | None] = []
        for order, place in zip(orders, places, strict=True):
            if (by_us := complete_by_us(order)) is None:
                promised.append(None)
                continue
            if place is None:
                promised.append(self._promise(None, order, by_us, now_us))
                continue
            promised.append(self._promise(self._forecast(order, place, basis, now_us), order, by_us, now_us))
        return self._without_stored(orders, promised)

    def _forecast(self, order: Order, place: Place, basis: Basis, now_us: int) -> Forecast | None:
        # Orders that stand at nearly the same place have the same forecast as long as the basis lasts.
        ahead = _rounded(place.ahead_in_line or 0), _rounded(place.ahead_by_priority)
        control = self._context.control_snapshot()
        alike = (order.priority, order.not_before, *ahead, len(place.in_hand_since_us), control)
        if alike not in self._known:
            near = place._replace(ahead_in_line=ahead[0], ahead_by_priority=ahead[1])
            record = new_record(order, 0, now_us, now_us)
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[alike] = forecast(record, near, basis, control, now_us, not_before_us(order))
        return self._known[alike]

    def _promise(self, expected: Forecast | None, order: Order, by_us: int, now_us: int) -> Promised:
        if expected is None:
            begins_us = max(now_us, not_before_us(order) or 0)
            return Promised(Promise(None if by_us > begins_us else 0.0, None), None)
        within_us = expected.within(self._context.config.min_confidence)
        earliest_us = None if within_us is None else now_us + round(within_us)
        return Promised(Promise(expected.confidence_in(by_us - now_us), earliest_us), expected.estimate(0, now_us))

    def _without_stored(self, orders: Sequence[Order], promised: list[Promised | None]) -> list[Promised | None]:
        least = self._context.config.min_confidence
        unlikely = [
            order.order_id
            for order, of in zip(orders, promised, strict=True)
            if of is not None and of.promise.confidence is not None and of.promise.confidence < least
        ]
        if not unlikely:
            return promised
        stored = self._reader.read(partial(queries.stored, order_ids=unlikely))
        return [None if order.order_id in stored else of for order, of in zip(orders, promised, strict=True)]

    def _ready_us(self, record: OrderRecord) -> int | None:
        # By the wall clock, from the queue's.
        if record.ready_us is None:
            return None
        return record.ready_us + self._context.clock.now_us() - self._context.queue_clock.now_us()

    def _read_basis(self, now_us: int) -> Basis:
        monotonic_us = self._context.clock.monotonic_us()
        if self._basis is None or monotonic_us - self._basis[0] >= _BASIS_LASTS_US:
            measured = self._reader.read(partial(outlooks.evidence, latest=self._latest, now_us=now_us))
            self._basis = monotonic_us, Basis(measured, now_us)
            self._known.clear()
        return self._basis[1]


def _rounded(ahead: int) -> int:
    # Upwards, to so many places.
    unit = 10 ** max(0, len(str(ahead)) - _DIGITS)
    return int(-(-ahead // unit) * unit)
