"""SignIn: who looks at the pages, and how they come to be known."""

from __future__ import annotations

import hmac
from http import HTTPStatus
from typing import NamedTuple

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from ..security.access import ANYBODY, OPERATING, READING, SUBMITTING, Permission, Principal, principal_of
from ..security.protection import Protection
from ..security.sessions import session_of, set_cookie
from ..wire.errors import HttpError, KeysUnreadable


class FormTooOld(HttpError):
    """A form is of an earlier session, or was made by somebody else."""

    status = HTTPStatus.FORBIDDEN
    slug = "form-too-old"
    title = "The form is too old"

    def __init__(self) -> None:
        super().__init__("This form is of an earlier session: load its page anew, and try again.")


class Visitor(NamedTuple):
    """Who looks at the pages, and what they may do there."""

    principal: Principal
    token: str = ""
    """What each form of theirs has to bring along, so that no other site can send it in their name."""
    signed_in: bool = False
    """Whether they came with a key, and can sign out."""

    @property
    def name(self) -> str:
        """What the history of orders calls them; empty without a key."""
        return self.principal.name or ""

    @property
    def may_read(self) -> bool:
        """Whether they may look at orders."""
        return self._may(READING)

    @property
    def may_cancel(self) -> bool:
        """Whether they may cancel an order."""
        return self._may(SUBMITTING)

    @property
    def may_operate(self) -> bool:
        """Whether they may retry and settle orders."""
        return self._may(OPERATING)

    @property
    def may_steer(self) -> bool:
        """Whether they may steer the engine, and move many orders at once."""
        return self.may_operate and self.sees_all

    @property
    def sees_all(self) -> bool:
        """Whether they see the orders of all users, and with them how the whole is doing."""
        return self.principal.user_id is None

    def _may(self, permission: Permission) -> bool:
        return bool(permission.roles & self.principal.roles)


class SignIn:
    """Tells who looks, for the request that CherryPy serves in this thread.

    Args:
        protection: what stands between the server and its callers.
        is_secure: whether the server speaks TLS.
    """

    def __init__(self, protection: Protection, *, is_secure: bool) -> None:
        self._protection = protection
        self._is_secure = is_secure

    def visitor(self) -> Visitor | None:
        """Who looks; None for somebody who has to sign in first."""
        sessions = self._protection.sessions
        if sessions is None:
            return Visitor(ANYBODY)
        session = session_of(cherrypy.request.headers.get("Cookie", ""))
        try:
            entry = sessions.find(session)
        except KeysUnreadable:
            entry = None
        return None if entry is None else Visitor(principal_of(entry), sessions.form_token(session), signed_in=True)

    def begin(self, key: str) -> bool:
        """Begin a session, if this is a key of the server."""
        sessions = self._protection.sessions
        value = None if sessions is None else sessions.begin(key)
        if value is not None:
            self._set_cookie(value)
        return value is not None

    def end(self) -> None:
        """Forget who looked."""
        self._set_cookie("")

    def check_origin(self) -> None:
        """Refuse what a page of another site has sent; raises as `Protection.check_page_origin`."""
        request = cherrypy.request
        self._protection.check_page_origin(request.method, request.headers)

    def check_form(self, visitor: Visitor, token: str) -> None:
        """Refuse a form that is not of this visitor.

        Raises:
            FormTooOld: it is of an earlier session, or made by somebody else.
        """
        if not hmac.compare_digest(visitor.token.encode(), token.encode()):
            raise FormTooOld

    def _set_cookie(self, value: str) -> None:
        cherrypy.response.headers["Set-Cookie"] = set_cookie(value, is_secure=self._is_secure)
