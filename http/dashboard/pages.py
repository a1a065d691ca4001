"""Pages: what an operator sees of the engine, and what can be done there."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, NoReturn
from urllib.parse import quote, urlencode

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from ...engine import Cause, Engine, OrderNotFound, OrderRecord, OrderStatus, Transition
from ..wire.errors import InvalidParameter, KeyNotEnough, MethodNotAllowed, NoSuchResource
from .rendering import render
from .sign_in import SignIn, Visitor

ROOT = "/dashboard"
PAGE = 50

_SECTIONS = (("", "Overview"), ("orders", "Orders"))
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
        sign_in: tells who looks.
        warnings: asked what an operator should mend at the server.
    """

    def __init__(self, engine: Engine, sign_in: SignIn, warnings: Callable[[], tuple[str, ...]]) -> None:
        self._engine = engine
        self._sign_in = sign_in
        self._warnings = warnings
        self._version = version("ordermill")

    @cherrypy.expose  # type: ignore[untyped-decorator]  # CherryPy has no types
    def index(self) -> bytes:
        """How all is."""
        visitor = self._visitor()
        if not visitor.sees_all:
            _go_to("/orders")
        return self._page("overview.html", "", visitor, **self._overview())

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def live(self) -> bytes:
        """What moves on the overview."""
        visitor = self._visitor()
        if not visitor.sees_all:
            raise KeyNotEnough("This needs a key that is not bound to a user.")
        return _show("overview_live.html", visitor=visitor, **self._overview())

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def orders(self, *path: str, **given: str) -> bytes:
        """The list of orders; or one order; or what is done to one."""
        visitor = self._visitor()
        match path:
            case ():
                return self._list(visitor, given)
            case (order_id,):
                return self._show(visitor, order_id, given)
            case (order_id, "cancel" | "retry" | "settle" as action):
                self._act(visitor, order_id, action, given)
        raise NoSuchResource

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def sign_in(self, key: str = "") -> bytes:
        """Where a key is asked for."""
        if cherrypy.request.method == "POST" and self._sign_in.begin(key.strip()):
            _go_to("/")
        is_wrong = cherrypy.request.method == "POST"
        if is_wrong:
            cherrypy.response.status = HTTPStatus.FORBIDDEN.value
        return self._page("sign_in.html", None, None, is_wrong=is_wrong)

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def sign_out(self, token: str = "") -> bytes:
        """Where a session ends."""
        self._check_form(self._visitor(), token)
        self._sign_in.end()
        _go_to("/sign-in")

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
        return self._page("error.html", None, self._sign_in.visitor(), status=status, detail=detail)

    def _overview(self) -> dict[str, object]:
        return {
            "metrics": self._engine.metrics(),
            "unready": self._engine.unready_reasons(),
            "warnings": (*self._engine.warnings(), *self._warnings()),
            "failed": self._engine.orders(status=OrderStatus.FAILED, limit=8),
            "review": self._engine.orders(status=OrderStatus.REVIEW, limit=8),
        }

    def _list(self, visitor: Visitor, given: dict[str, str]) -> bytes:
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
            "orders.html",
            "orders",
            visitor,
            orders=found[:PAGE],
            filters=filters,
            query=query,
            older=older,
            before=before,
        )

    def _show(self, visitor: Visitor, order_id: str, given: dict[str, str]) -> bytes:
        record = self._visible(visitor, order_id)
        history = self._engine.history(order_id)
        ends = [step.at_us for step in history[1:]]
        steps = [Step(step, (end - step.at_us) / 1e6) for step, end in zip(history, ends, strict=False)]
        steps.append(Step(history[-1], None))
        notice = _NOTICES.get(given.get("done", ""))
        return self._page("order.html", "orders", visitor, record=record, steps=steps[::-1], notice=notice)

    def _act(self, visitor: Visitor, order_id: str, action: str, given: dict[str, str]) -> NoReturn:
        self._check_form(visitor, given.get("token", ""))
        self._visible(visitor, order_id)
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
        _go_to(f"/orders/{quote(order_id, safe='')}?done={done}")

    def _visitor(self) -> Visitor:
        visitor = self._sign_in.visitor()
        if visitor is None:
            if cherrypy.request.headers.get("HX-Request"):  # a part of a page whose session is over: leave that page
                cherrypy.response.headers["HX-Redirect"] = f"{ROOT}/sign-in"
                raise KeyNotEnough("The session is over: sign in again.")
            _go_to("/sign-in")
        if not visitor.may_read:
            raise KeyNotEnough("Your key is not good for looking at orders: sign in with one that has the role read.")
        return visitor

    def _visible(self, visitor: Visitor, order_id: str) -> OrderRecord:
        record = self._engine.order(order_id)
        if not visitor.principal.may_see(record.order.user_id):
            raise OrderNotFound(order_id)
        return record

    def _check_form(self, visitor: Visitor, token: str) -> None:
        if cherrypy.request.method != "POST":
            raise MethodNotAllowed("POST")
        self._sign_in.check_form(visitor, token)

    def _page(self, template: str, section: str | None, visitor: Visitor | None, **values: object) -> bytes:
        sections = _SECTIONS if visitor is not None and visitor.sees_all else _SECTIONS[1:]
        return _show(
            template,
            section=section,
            sections=() if visitor is None else sections,
            visitor=visitor,
            version=self._version,
            **{"notice": None, **values},
        )


def _show(template: str, **values: object) -> bytes:
    cherrypy.response.headers["Content-Type"] = "text/html; charset=utf-8"
    return render(template, root=ROOT, **values)


def _go_to(path: str) -> NoReturn:
    raise cherrypy.HTTPRedirect(f"{ROOT}{path}", HTTPStatus.SEE_OTHER.value)


@cache
def _files() -> dict[str, Path]:
    return {str(path.relative_to(_STATIC)): path for path in _STATIC.rglob("*") if path.suffix in _MEDIA_TYPES}


@cache
def _read(path: Path) -> bytes:
    return path.read_bytes()
