"""Orders: the list of them, each with its history, and what can be done with one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple, NoReturn
from urllib.parse import quote, urlencode

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from ...engine import Cause, OrderNotFound, OrderRecord, Transition
from ..wire.errors import InvalidParameter, KeyNotEnough, NoSuchResource
from .section import PAGE, Place, Section, go_to
from .sign_in import Visitor

_NOTICES = {
    "cancel": "The order is cancelled.",
    "retry": "The order will be processed again.",
    "settle": "The order is settled.",
}


_FILTERS = ("status", "user_id", "order_id_prefix", "error", "created_from", "created_to")


class Step(NamedTuple):
    """One line of an order's timeline."""

    transition: Transition
    seconds: float | None
    """How long the order stayed where the step led it; None while it is there."""


class Orders(Section):
    """The list of orders, and each of them."""

    path = "orders/"

    @cherrypy.expose  # type: ignore[untyped-decorator]  # CherryPy has no types
    def index(self, after: str = "", **given: str) -> bytes:
        """Orders, newest first."""
        visitor = self.visitor()
        place = Place.of(after)
        filters = {name: given.get(name, "").strip() for name in _FILTERS}
        if not visitor.sees_all:
            filters["user_id"] = visitor.principal.user_id or ""
        found = self.engine.orders(
            status=filters["status"] or None,
            user_id=filters["user_id"] or None,
            order_id_prefix=filters["order_id_prefix"] or None,
            error=filters["error"] or None,
            created_from=_time("created_from", filters["created_from"]),
            created_to=_time("created_to", filters["created_to"]),
            before=place.before,
            limit=PAGE + 1,
        )
        query = urlencode({name: value for name, value in filters.items() if value})
        return self.page(
            "orders.html",
            visitor,
            orders=found[:PAGE],
            filters=filters,
            query=query,
            newer=place.newer(query),
            older=place.older(query, found[PAGE - 1].sequence) if len(found) > PAGE else None,
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
        history = self.engine.history(order_id)
        ends = [step.at_us for step in history[1:]]
        steps = [Step(step, (end - step.at_us) / 1e6) for step, end in zip(history, ends, strict=False)]
        steps.append(Step(history[-1], None))
        return self.page(
            "order.html", visitor, record=record, steps=steps[::-1], notice=_NOTICES.get(given.get("done", ""))
        )

    def _act(
        self, visitor: Visitor, record: OrderRecord, action: str, token: str = "", reason: str = "", status: str = ""
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
            case _:
                self.engine.begin_settle(order_id, status, why, cause).get()
        go_to(f"/orders/{quote(order_id, safe='')}", done=action)


def _time(name: str, text: str) -> datetime | None:
    """A time as a browser's field for one writes it; without a zone it is UTC, as all times on the pages are."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidParameter(name, "must be a time, such as 2026-11-27T06:30") from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
