"""Outlooks: what the metrics actor says of when orders will be over, and of whether they will be in time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ...store import outlooks, places, queries
from ...store.attempts import LatestAttempts
from ...store.domain.errors import OrderNotFound
from ...store.domain.order import Order
from ...store.domain.outcome import Promise
from ...store.domain.outlook import Outlook, Place, Promised
from ...store.domain.record import OrderRecord, complete_by_us, new_record, not_before_us
from ...store.reader import Reader
from ..outlook import Basis, Forecast, forecast, outlook
from ..snapshot import ControlSnapshot
from .context import EngineContext
from .messages import NoteEstimates

_BASIS_LASTS_US = 1_000_000
_MOST_KNOWN = 200
_BITS = 3
"""Of the number of orders ahead of those that forecasts are drawn for: 8, 10, 12, 14, 16, 20, …"""


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
        config = context.config
        self._entrance = places.Entrance(
            self._aging_us, config.work_limits, config.user_weights, by_user=config.serial_users
        )
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
                places.place,
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
            context.recorder.tell(NoteEstimates((estimate,)))
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
        queue_us = self._context.queue_clock.now_us()
        found = self._reader.read(partial(self._entrance.places, orders=orders, now_us=queue_us))
        control = self._context.control_snapshot()
        promised: list[Promised | None] = []
        for order, place in zip(orders, found, strict=True):
            by_us = complete_by_us(order)
            if by_us is None:
                promised.append(None)
                continue
            begins_us = max(now_us, not_before_us(order) or 0)
            if place is None or (expected := self._forecast(order, place, basis, control, begins_us, now_us)) is None:
                promised.append(Promised(Promise(None if by_us > begins_us else 0.0, None), None))
            else:
                promised.append(self._promise(expected, by_us, now_us))
        return self._without_stored(orders, promised)

    def _forecast(
        self, order: Order, place: Place, basis: Basis, control: ControlSnapshot, begins_us: int, now_us: int
    ) -> Forecast | None:
        # Orders between two places have forecasts between theirs as long as the basis lasts.
        ahead = (place.ahead_in_line or 0) + place.ahead_by_priority
        unit = 1 << max(0, ahead.bit_length() - _BITS)
        low = ahead // unit * unit
        of_whom = order.priority, len(place.in_hand_since_us), control

        def at(ahead: int) -> Forecast | None:
            alike = ahead, of_whom
            if alike not in self._known:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                record = new_record(order, 0, now_us, now_us)
                there = place._replace(ahead_in_line=ahead, ahead_by_priority=0)
                self._known[alike] = forecast(record, there, basis, control, now_us, None)
            found = self._known[alike]
            return None if found is None else found.not_before(begins_us - now_us)

        before = at(low)
        if before is None or low == ahead:
            return before
        behind = at(low + unit)
        return None if behind is None else before.toward(behind, (ahead - low) / unit)

    def _promise(self, expected: Forecast, by_us: int, now_us: int) -> Promised:
        confidence = expected.confidence_in(by_us - now_us)
        least = self._context.config.min_confidence
        within_us = expected.within(least) if confidence < least else None
        earliest_us = None if within_us is None else now_us + round(within_us)
        return Promised(Promise(confidence, earliest_us), expected.estimate(0, now_us))

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
