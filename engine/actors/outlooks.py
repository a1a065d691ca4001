"""Outlooks: what the metrics actor says of when orders will be over, and of whether they will be in time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from msgspec import UNSET

from ...store import outlooks, places, queries
from ...store.attempts import LatestAttempts
from ...store.domain.errors import OrderNotFound
from ...store.domain.order import Order
from ...store.domain.outcome import Promise
from ...store.domain.outlook import Estimate, Outlook, Place, Promised
from ...store.domain.record import OrderRecord, complete_by_us, new_record, not_before_us
from ...store.reader import Reader
from ..outlook import Basis, Forecast, forecast, outlook
from ..snapshot import ControlSnapshot
from .context import EngineContext
from .messages import NoteEstimates

_BASIS_LASTS_US = 1_000_000
_MOST_KNOWN = 1_000
_MOST_DRAWN = 200
_BITS = 3
"""Of the number of orders ahead of those that forecasts are drawn for: 8, 10, 12, 14, 16, 20, …"""
_FINER_BITS = 3
"""Between two of those that far apart, so many bits more count: they are told what is between the two forecasts."""


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
        # On that basis: of places that are drawn for, and of those between them.
        self._drawn: dict[tuple[object, ...], Forecast | None] = {}
        self._known: dict[tuple[object, ...], Forecast | None] = {}

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
                key_policy=self._context.config.key_policy,
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
        least = self._context.config.min_confidence
        told: dict[Forecast, tuple[int | None, Estimate]] = {}
        promised: list[Promised | None] = []
        for order, place in zip(orders, found, strict=True):
            by_us = complete_by_us(order)
            if by_us is None:
                promised.append(None)
                continue
            begins_us = max(now_us, not_before_us(order) or 0)
            if place is None or (expected := self._forecast(order, place, basis, control, begins_us, now_us)) is None:
                promised.append(Promised(Promise(None if by_us > begins_us else 0.0, None), None))
                continue
            if expected not in told:
                within_us = expected.within(least)
                earliest_us = None if within_us is None else now_us + round(within_us)
                told[expected] = earliest_us, expected.estimate(0, now_us)
            earliest_us, estimate = told[expected]
            promised.append(Promised(Promise(expected.confidence_in(by_us - now_us), earliest_us), estimate))
        return self._without_stored(orders, promised)

    def _forecast(
        self, order: Order, place: Place, basis: Basis, control: ControlSnapshot, begins_us: int, now_us: int
    ) -> Forecast | None:
        # Orders at nearly the same place have the same forecast as long as the basis lasts.
        ahead = (place.ahead_in_line or 0) + place.ahead_by_priority
        unit = 1 << max(0, ahead.bit_length() - _BITS)
        step = max(1, unit >> _FINER_BITS)
        near = (ahead + step // 2) // step * step
        alike = near, begins_us - now_us, order.priority, len(place.in_hand_since_us), control
        known = self._known.get(alike, UNSET)
        if known is UNSET:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            low = near // unit * unit
            known = before = self._draw(low, order, place, basis, control, begins_us, now_us)
            if before is not None and low < near:
                behind = self._draw(low + unit, order, place, basis, control, begins_us, now_us)
                known = None if behind is None else before.toward(behind, (near - low) / unit)
            self._known[alike] = known
        return known

    def _draw(
        self,
        ahead: int,
        order: Order,
        place: Place,
        basis: Basis,
        control: ControlSnapshot,
        begins_us: int,
        now_us: int,
    ) -> Forecast | None:
        alike = ahead, order.priority, len(place.in_hand_since_us), control
        if alike not in self._drawn:
            if len(self._drawn) >= _MOST_DRAWN:
                self._drawn.clear()
            record = new_record(order, 0, now_us, now_us)
            there = place._replace(ahead_in_line=ahead, ahead_by_priority=0)
            self._drawn[alike] = forecast(record, there, basis, control, now_us, None)
        drawn = self._drawn[alike]
        return None if drawn is None else drawn.not_before(begins_us - now_us)

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
            self._drawn.clear()
            self._known.clear()
        return self._basis[1]
