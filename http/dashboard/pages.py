"""Pages: what an operator sees of the engine, and what can be done there."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple, NoReturn
from urllib.parse import quote, urlencode

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from ...engine import Cause, Engine, OrderNotFound, OrderRecord, OrderStatus, Transition
from ..wire.errors import InvalidParameter, KeyNotEnough, MethodNotAllowed, NoSuchResource
from .rendering import render
from .visitor import Visitor

ROOT = "/dashboard"
PAGE = 50
SECTIONS = (("", "Overview"), ("orders", "Orders"))

_STATIC = Path(__file__).with_name("static")
_MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_NOTICES = {
    "cancelled": "The order is cancelled.",
    "retried": "The order will be processed again.",
    "settled": "The order is settled.",
}


class Step(NamedTuple):
    """One line of an order's timeline."""

    transition: Transition
    seconds: float | None
    """How long the order stayed where the step led it; None while it is there."""


class Pages:
    """The pages, and the files that they need.

    Args:
        engine: what they show and steer.
        identify: tells who looks, from the cookies of a request.
        warnings: asked what an operator should mend at the server.
        version: of the server.
    """

    def __init__(
        self, engine: Engine, identify: Callable[[], Visitor], warnings: Callable[[], tuple[str, ...]], version: str
    ) -> None:
        self._engine = engine
        self._identify = identify
        self._warnings = warnings
        self._version = version

    @cherrypy.expose  # type: ignore[untyped-decorator]  # CherryPy has no types
    def index(self) -> bytes:
        """How all is."""
        return self._page("overview.html", "", **self._overview())

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def live(self) -> bytes:
        """What moves on the overview."""
        return self._part("overview_live.html", **self._overview())

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def orders(self, *path: str, **given: str) -> bytes:
        """The list of orders; or one order; or what is done to one."""
        match path:
            case ():
                return self._list(given)
            case (order_id,):
                return self._show(order_id, given)
            case (order_id, "cancel" | "retry" | "settle" as action):
                self._act(order_id, action, given)
        raise NoSuchResource

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def static(self, *path: str) -> bytes:
        """One of the files."""
        file = _files().get("/".join(path))
        if file is None:
            raise NoSuchResource
        headers = cherrypy.response.headers
        headers["Content-Type"] = f"{_MEDIA_TYPES[file.suffix]}; charset=utf-8"
        return _read(file)

    def show_error(self, status: HTTPStatus, detail: str) -> bytes:
        """A page that says what went wrong.

        Args:
            status: of the answer.
            detail: what was wrong, for people; may be empty.
        """
        return self._page("error.html", "-", status=status, detail=detail)

    def _overview(self) -> dict[str, object]:
        visitor = self._identify()
        if not visitor.sees_all:
            raise cherrypy.HTTPRedirect(f"{ROOT}/orders")
        return {
            "metrics": self._engine.metrics(),
            "unready": self._engine.unready_reasons(),
            "warnings": (*self._engine.warnings(), *self._warnings()),
            "failed": self._engine.orders(status=OrderStatus.FAILED, limit=8),
            "review": self._engine.orders(status=OrderStatus.REVIEW, limit=8),
        }

    def _list(self, given: dict[str, str]) -> bytes:
        visitor = self._identify()
        given = {name: value.strip() for name, value in given.items() if value.strip()}
        before = given.get("before")
        if before is not None and not before.isdecimal():
            raise InvalidParameter("before", "is not the end of a page: start without it")
        user_id = given.get("user_id") if visitor.sees_all else visitor.principal.user_id
        found = self._engine.orders(
            status=given.get("status"),
            user_id=user_id,
            before=None if before is None else int(before),
            limit=PAGE + 1,
        )
        filters = {name: given.get(name, "") for name in ("status", "user_id")}
        query = urlencode({name: value for name, value in filters.items() if value})
        older = f"{query}&before={found[PAGE - 1].sequence}" if len(found) > PAGE else None
        return self._page(
            "orders.html", "orders", orders=found[:PAGE], filters=filters, query=query, older=older, before=before
        )

    def _show(self, order_id: str, given: dict[str, str]) -> bytes:
        record = self._visible(order_id)
        history = self._engine.history(order_id)
        ends = [step.at_us for step in history[1:]]
        steps = [Step(step, (end - step.at_us) / 1e6) for step, end in zip(history, ends, strict=False)]
        steps.append(Step(history[-1], None))
        return self._page(
            "order.html", "orders", record=record, steps=steps[::-1], notice=_NOTICES.get(given.get("done", ""))
        )

    def _act(self, order_id: str, action: str, given: dict[str, str]) -> NoReturn:
        if cherrypy.request.method != "POST":
            raise MethodNotAllowed("POST")
        visitor = self._identify()
        if given.get("token") != visitor.token:
            raise KeyNotEnough("This form is too old: go back, load the page anew, and try again.")
        self._visible(order_id)
        cause = Cause(None, visitor.principal.name)
        reason = given.get("reason") or None
        if not (visitor.may_cancel if action == "cancel" else visitor.may_operate):
            raise KeyNotEnough("Your key is not good for this.")
        if action == "cancel":
            done = "cancelled"
            self._engine.begin_cancel(order_id, reason, cause).get()
        elif action == "retry":
            done = "retried"
            self._engine.begin_retry(order_id, reason, cause).get()
        else:
            done = "settled"
            self._engine.begin_settle(order_id, given.get("status", ""), reason, cause).get()
        raise cherrypy.HTTPRedirect(f"{ROOT}/orders/{quote(order_id, safe='')}?done={done}", HTTPStatus.SEE_OTHER.value)

    def _visible(self, order_id: str) -> OrderRecord:
        record = self._engine.order(order_id)
        if not self._identify().principal.may_see(record.order.user_id):
            raise OrderNotFound(order_id)
        return record

    def _page(self, template: str, section: str, **values: object) -> bytes:
        cherrypy.response.headers["Content-Type"] = "text/html; charset=utf-8"
        notice = values.pop("notice", None)
        return self._part(
            template, section=section, sections=SECTIONS, version=self._version, notice=notice, **values
        )

    def _part(self, template: str, **values: object) -> bytes:
        cherrypy.response.headers["Content-Type"] = "text/html; charset=utf-8"
        return render(template, root=ROOT, visitor=self._identify(), **values)


@cache
def _files() -> dict[str, Path]:
    return {
        str(path.relative_to(_STATIC)): path for path in _STATIC.rglob("*") if path.suffix in _MEDIA_TYPES
    }


@cache
def _read(path: Path) -> bytes:
    return path.read_bytes()
