"""Orders: the list of them, each with its history, and what can be done with one."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple, NoReturn
from urllib.parse import quote

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types
from msgspec import UNSET, UnsetType

from ...engine import Cause, DeliveryState, Order, OrderNotFound, OrderRecord, OrderStatus, Transition
from ...store.domain.order import PRIORITY_RULE
from ...store.domain.record import complete_by_us, parse_rfc3339, utc
from ...store.domain.schedule import Schedule
from ..wire.errors import InvalidParameter, KeyNotEnough, NoSuchResource
from .filters import Filters
from .section import PAGE, Place, Section, go_to
from .sign_in import Visitor

_NOTICES = {
    "cancel": "The order is cancelled.",
    "retry": "The order will be processed again.",
    "settle": "The order is settled.",
    "reschedule": "The order is rescheduled.",
}


class Step(NamedTuple):
    """One line of an order's timeline."""

    transition: Transition
    seconds: float | None
    """How long the order stayed where the step led it; None while it is there."""


def shown_time(time: datetime | None) -> str:
    """A time as a field of a form has it, in UTC; empty for none."""
    return "" if time is None else time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _schedule(
    order: Order, priority: str = "", not_before: str = "", complete_by: str = "", queue: str = ""
) -> Schedule:
    # What the form says; a field that was left as it was changes nothing, to the microsecond.
    if not (priority.isascii() and priority.isdecimal() and len(priority) == 1):
        raise InvalidParameter("priority", f"must be {PRIORITY_RULE}")
    return Schedule(
        None if int(priority) == order.priority else int(priority),
        _time("not_before", not_before, order.not_before),
        _time("complete_by", complete_by, order.complete_by),
        None if queue == order.queue else queue,
    )


def _time(name: str, text: str, before: datetime | None) -> datetime | UnsetType | None:
    if text == shown_time(before):
        return UNSET
    if not text:
        return None
    # Browsers leave the seconds out where they are none.
    at_us = parse_rfc3339(f"{text}:00Z" if text.count(":") == 1 else f"{text}Z")
    if at_us is None:
        raise InvalidParameter(name, "must be a time in UTC, such as 2026-12-24T18:00")
    return utc(at_us)


def _is_late(record: OrderRecord) -> bool:
    by = record.order.complete_by
    if by is None or record.status in (OrderStatus.FAILED, OrderStatus.CANCELLED):
        return False
    return by < (record.updated_at if record.status.is_terminal else datetime.now(UTC))


class Orders(Section):
    """The list of orders, and each of them."""

    path = "orders/"

    @cherrypy.expose  # type: ignore[untyped-decorator]  # CherryPy has no types
    def index(self, after: str = "", **given: str) -> bytes:
        """Orders, newest first."""
        visitor = self.visitor()
        place = Place.of(after)
        filters = Filters.of(given, visitor)
        found = self.engine.order_page(filters.wanted, place.before, PAGE)
        return self.page(
            "orders.html",
            visitor,
            orders=found.orders,
            filters=filters,
            newer=place.newer(filters.query),
            older=None if found.before is None else place.older(filters.query, found.before),
        )

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def default(self, order_id: str, action: str = "", **given: str) -> bytes:
        """One order, or what is done with it."""
        visitor = self.visitor()
        record = self.engine.order(order_id)
        if not visitor.principal.may_see(record.order.user_id):
            raise OrderNotFound(order_id)
        if action:
            self._act(visitor, record, action, **given)
        outlook = None if record.status.is_terminal else self.engine.begin_outlook(order_id).get()
        newest = self.engine.newest_steps(order_id, limit=PAGE + 1)
        steps = [Step(newest[0], None)]
        steps += [Step(step, (end.at_us - step.at_us) / 1e6) for end, step in pairwise(newest)]
        # Where events are sent is the business of those who see all orders.
        deliveries = self.engine.order_deliveries(order_id, limit=PAGE + 1) if visitor.sees_all else []
        return self.page(
            "order.html",
            visitor,
            record=record,
            steps=steps[:PAGE],
            has_more_steps=len(steps) > PAGE,
            outlook=outlook,
            deliveries=deliveries[:PAGE],
            has_more_deliveries=len(deliveries) > PAGE,
            is_being_told=any(delivery.state is DeliveryState.WAITING for delivery in deliveries),
            urls={webhook.webhook_id: webhook.url for webhook in self.engine.webhooks()} if deliveries else {},
            shown_time=shown_time,
            complete_by_us=complete_by_us(record.order),
            is_late=_is_late(record),
            notice=_NOTICES.get(given.get("done", "")),
        )

    def _act(
        self,
        visitor: Visitor,
        record: OrderRecord,
        action: str,
        token: str = "",
        reason: str = "",
        status: str = "",
        **schedule: str,
    ) -> NoReturn:
        if action not in _NOTICES:
            raise NoSuchResource
        self.check_form(visitor, token)
        if not (visitor.may_cancel if action == "cancel" else visitor.may_operate):
            raise KeyNotEnough("Your key is not good for this.")
        order_id, why, cause = record.order_id, reason.strip() or None, Cause(None, visitor.principal.name)
        match action:
            case "cancel":
                self.engine.begin_cancel(order_id, why, cause).get()
            case "retry":
                self.engine.begin_retry(order_id, why, cause).get()
            case "reschedule":
                wanted = _schedule(record.order, **schedule)
                if wanted == Schedule():
                    raise InvalidParameter("schedule", "must differ from what the order has")
                self.engine.begin_reschedule(order_id, wanted, why, cause).get()
            case _:
                self.engine.begin_settle(order_id, status, why, cause).get()
        go_to(f"/orders/{quote(order_id, safe='')}", done=action)
