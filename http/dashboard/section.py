"""Section: what all pages share: who looks, how a page is shown, and what a form has to bring along."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import NamedTuple, NoReturn
from urllib.parse import urlencode

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from ...engine import AuditEntry, BulkAction, Cause, Delivery, Engine
from ..wire.errors import InvalidParameter, KeyNotEnough, MethodNotAllowed
from .rendering import render
from .sign_in import SignIn, Visitor

ROOT = "/dashboard"
PAGE = 50

SECTIONS = (
    ("", "Overview"),
    ("orders/", "Orders"),
    ("failures/", "Failures"),
    ("actions/", "Actions"),
    ("webhooks/", "Webhooks"),
    ("controls/", "Controls"),
    ("rehearsal/", "Rehearsal"),
    ("audit/", "Audit"),
)
"""The pages that the bar leads to, by their paths."""
_OF_ONE_USER = SECTIONS[1:2]
_KNOWN_PAGES = 100
_PLACE = re.compile(r"(?:[0-9]{1,18}(?:-[0-9]{1,18}){0,99})?")
_VERSION = version("ordermill")


class Section:
    """A part of the pages.

    Args:
        engine: what they show and steer.
        sign_in: tells who looks.
    """

    path = ""
    """Its own path, as the bar has it."""

    def __init__(self, engine: Engine, sign_in: SignIn) -> None:
        self.engine = engine
        self._sign_in = sign_in

    def visitor(self) -> Visitor:
        """Who looks at orders. Whoever is not signed in is sent to where that is done.

        Raises:
            KeyNotEnough: their key is not good for that.
        """
        visitor = self._sign_in.visitor()
        if visitor is None:
            if cherrypy.request.headers.get("HX-Request"):  # a page that has stayed open for longer than its session
                cherrypy.response.headers["HX-Redirect"] = f"{ROOT}/sign_in"
                raise KeyNotEnough("The session is over: sign in again.")
            go_to("/sign_in")
        if not visitor.may_read:
            raise KeyNotEnough("Your key is not good for looking at orders: sign in with one that has the role read.")
        return visitor

    def overseer(self) -> Visitor:
        """As `visitor`, for what is about the orders of all users."""
        visitor = self.visitor()
        if not visitor.sees_all:
            raise KeyNotEnough("This needs a key that is not bound to a user.")
        return visitor

    def steering(self, token: str) -> Cause:
        """Who sends a form that steers the engine, for the audit log.

        Raises:
            MethodNotAllowed: it was not posted.
            FormTooOld: it is not of this visitor's session.
            KeyNotEnough: their key is not good for that.
        """
        visitor = self.overseer()
        self.check_form(visitor, token)
        if not visitor.may_steer:
            raise KeyNotEnough("This needs a key with the role operate.")
        return Cause(None, visitor.principal.name)

    def check_form(self, visitor: Visitor, token: str) -> None:
        """Refuse what was not posted from a form of this visitor; raises as `steering`."""
        if cherrypy.request.method != "POST":
            raise MethodNotAllowed("POST")
        self._sign_in.check_form(visitor, token)

    def page(self, template: str, visitor: Visitor | None, **values: object) -> bytes:
        """A whole page.

        Args:
            template: its file.
            visitor: who looks; None for somebody who is not known yet.
            values: what it shows; `notice` stands above it.
        """
        sections = () if visitor is None else SECTIONS if visitor.sees_all else _OF_ONE_USER
        return show(
            template,
            section=self.path,
            sections=sections,
            visitor=visitor,
            version=_VERSION,
            **{"notice": None, **values},
        )


def number(name: str, text: str) -> float:
    """What a field of a form says.

    Raises:
        InvalidParameter: that is no number.
    """
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise InvalidParameter(name, "must be a number")
    return found


def show(template: str, **values: object) -> bytes:
    """A page or a part of one, as HTML."""
    cherrypy.response.headers["Content-Type"] = "text/html; charset=utf-8"
    return render(template, root=ROOT, **values)


def go_to(path: str, **query: object) -> NoReturn:
    """Send the browser to another page.

    Args:
        path: below the root of the pages.
        query: its parameters.
    """
    parameters = f"?{urlencode(query)}" if query else ""
    raise cherrypy.HTTPRedirect(f"{ROOT}{path}{parameters}", HTTPStatus.SEE_OTHER.value)


class Place(NamedTuple):
    """A page of a list whose pages are found by where the one before ended, so that none moves while entries come."""

    ends: tuple[int, ...]
    """Where each of the pages before ended, the first one first."""

    @classmethod
    def of(cls, given: str) -> Place:
        """Where the query says that it is.

        Args:
            given: its parameter `after`; empty for the first page.

        Raises:
            InvalidParameter: it is not such a place.
        """
        if _PLACE.fullmatch(given) is None:
            raise InvalidParameter("after", "is not the place of a page: start without it")
        return cls(tuple(map(int, filter(None, given.split("-")))))

    @property
    def before(self) -> int | None:
        """Only entries before this one are on the page."""
        return self.ends[-1] if self.ends else None

    def newer(self, query: str) -> str | None:
        """The query of the page before; None where this is the first."""
        return _join(query, self.ends[:-1]) if self.ends else None

    def older(self, query: str, end: int) -> str:
        """The query of the next page.

        Args:
            query: what is asked for besides.
            end: the last entry of this page.
        """
        return _join(query, (*self.ends, end)[-_KNOWN_PAGES:])

    def pager(self, query: str, found: Sequence[BulkAction | AuditEntry | Delivery]) -> dict[str, str | None]:
        """The queries of the pages before and after, as the templates name them.

        Args:
            query: what is asked for besides.
            found: the entries from here on: one more than a page has, where there is a next one.
        """
        older = self.older(query, found[PAGE - 1].id) if len(found) > PAGE else None
        return {"newer": self.newer(query), "older": older}


def _join(query: str, ends: tuple[int, ...]) -> str:
    return "&".join(filter(None, (query, f"after={'-'.join(map(str, ends))}" if ends else "")))
