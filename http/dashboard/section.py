"""Section: what all pages share: who looks, how a page is shown, and what a form has to bring along."""

from __future__ import annotations

from http import HTTPStatus
from importlib.metadata import version
from typing import NoReturn
from urllib.parse import urlencode

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from ...engine import Cause, Engine
from ..wire.errors import InvalidParameter, KeyNotEnough, MethodNotAllowed
from .rendering import render
from .sign_in import SignIn, Visitor

ROOT = "/dashboard"
PAGE = 50

SECTIONS = (("", "Overview"), ("orders/", "Orders"), ("controls/", "Controls"), ("audit/", "Audit"))
"""The pages that the bar leads to, by their paths."""
_OF_ONE_USER = SECTIONS[1:2]
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
            if cherrypy.request.headers.get("HX-Request"):  # a part of a page whose session is over: leave that page
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


def page_end(given: dict[str, str]) -> int | None:
    """Where the page before ended; None for the first one.

    Args:
        given: the parameters of the query.

    Raises:
        InvalidParameter: it is not such an end.
    """
    before = given.get("before", "")
    if not before:
        return None
    if not (before.isascii() and before.isdecimal() and len(before) < 19):
        raise InvalidParameter("before", "is not the end of a page: start without it")
    return int(before)
