"""Pages: the sections, signing in, and the files that pages need."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from pathlib import Path

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from ...engine import Engine
from ..wire.errors import NoSuchResource
from .actions import Actions
from .audit import Audit
from .controls import Controls
from .failures import Failures
from .orders import Orders
from .overview import Overview
from .rehearsal import Rehearsals
from .section import go_to
from .sign_in import SignIn
from .webhooks import Webhooks

_STATIC = Path(__file__).with_name("static")
_MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Pages(Overview):
    """All pages, the overview first.

    Args:
        engine: what they show and steer.
        sign_in: tells who looks.
        warnings: asked what an operator should mend at the server.
    """

    def __init__(self, engine: Engine, sign_in: SignIn, warnings: Callable[[], tuple[str, ...]]) -> None:
        super().__init__(engine, sign_in, warnings)
        self.orders = Orders(engine, sign_in)
        self.actions = Actions(engine, sign_in)
        self.webhooks = Webhooks(engine, sign_in)
        self.failures = Failures(engine, sign_in)
        self.controls = Controls(engine, sign_in)
        self.rehearsal = Rehearsals(engine, sign_in)
        self.audit = Audit(engine, sign_in)

    @cherrypy.expose  # type: ignore[untyped-decorator]  # CherryPy has no types
    def sign_in(self, key: str = "") -> bytes:
        """Where a key is asked for."""
        is_sent = cherrypy.request.method == "POST"
        if is_sent and self._sign_in.begin(key.strip()):
            go_to("/")
        if is_sent:
            cherrypy.response.status = HTTPStatus.FORBIDDEN.value
        return self.page("sign_in.html", None, is_wrong=is_sent)

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def sign_out(self, token: str = "") -> bytes:
        """Where a session ends."""
        self.check_form(self.visitor(), token)
        self._sign_in.end()
        go_to("/sign_in")

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
        return self.page("error.html", self._sign_in.visitor(), status=status, detail=detail)


@cache
def _files() -> dict[str, Path]:
    return {str(path.relative_to(_STATIC)): path for path in _STATIC.rglob("*") if path.suffix in _MEDIA_TYPES}


@cache
def _read(path: Path) -> bytes:
    return path.read_bytes()
