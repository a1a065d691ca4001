"""The CherryPy application of the pages: an ordinary one, with tools for what is around its handlers. It is not hot."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types
from cherrypy._cptools import HandlerWrapperTool, Toolbox  # type: ignore[import-untyped]  # likewise

from ...engine import InvalidArgument
from ...store.domain.errors import OrdermillError
from ..framework.page_request import PageRequest
from ..framework.problems import ProblemKinds, answer_for
from ..wire.conditional import COMPRESSED_FROM, compress
from ..wire.errors import MethodNotAllowed, NoSuchResource
from ..wire.problem_details import ProblemKind
from .pages import Pages
from .section import ROOT
from .sign_in import SignIn

_POLICY = [
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
]
# Over REST every argument is checked before the engine gets it; the fields of forms are left to the engine.
_INVALID = ProblemKind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-field", "A field is not valid")
_MAX_FORM_BYTES = 64 * 1024

_log = logging.getLogger("ordermill.http")


def pages(root: Pages, sign_in: SignIn, kinds: ProblemKinds) -> Any:
    """The CherryPy application, to be mounted in a tree.

    Args:
        root: the pages.
        sign_in: tells who looks.
        kinds: what the errors of the engine are over HTTP.
    """
    application = cherrypy.Application(root, ROOT)
    tools = Toolbox("dashboard")
    tools.errors = HandlerWrapperTool(lambda handler: _with_errors(handler, root, sign_in, kinds))
    application.request_class = PageRequest
    application.toolboxes = {"tools": cherrypy.tools, "dashboard": tools}
    application.merge(
        {
            "/": {
                "dashboard.errors.on": True,
                "tools.trailing_slash.on": False,
                "tools.response_headers.on": True,
                "tools.response_headers.headers": _POLICY,
                "tools.log_headers.on": False,  # a key or a session may be among them
                "request.process_request_body": False,
                "request.show_tracebacks": False,
                "request.show_mismatched_params": False,
                "request.throw_errors": False,
                "error_page.default": lambda status, message, **_: _error_page(root, status, message),
            }
        }
    )
    application.log.access_log.disabled = True  # it is written as for all other requests
    return application


def _with_errors(handler: Callable[[], bytes], root: Pages, sign_in: SignIn, kinds: ProblemKinds) -> bytes:
    """The tool around every handler: shows errors as pages."""
    request, response = cherrypy.serving.request, cherrypy.serving.response
    try:
        if isinstance(handler, cherrypy.HTTPError):  # CherryPy's way to say that there is none
            raise NoSuchResource
        if request.method not in ("GET", "HEAD", "POST"):
            raise MethodNotAllowed("GET, HEAD, POST")
        sign_in.check_origin()
        if request.method == "POST":
            request.params.update(request.form(_MAX_FORM_BYTES))
        if "self" in request.params:  # which would go to the method of a page twice
            raise NoSuchResource
        return _packed(handler())
    except (cherrypy.HTTPError, cherrypy.HTTPRedirect):
        raise
    except Exception as error:
        if not isinstance(error, OrdermillError):
            _log.error("unexpected error on a page", exc_info=error)
        problem = answer_for(error, {**kinds, InvalidArgument: _INVALID})
        response.status = problem.status.value
        response.headers.update(problem.headers)
        response.headers["Content-Type"] = "text/html; charset=utf-8"
        return root.show_error(problem.status, str(error) if isinstance(error, OrdermillError) else "")


def _packed(content: bytes) -> bytes:
    headers = cherrypy.serving.response.headers
    if len(content) < COMPRESSED_FROM:
        return content
    headers["Vary"] = "Accept-Encoding"
    packed = compress(content, cherrypy.serving.request.headers.get("Accept-Encoding", ""))
    if packed is None:
        return content
    headers["Content-Encoding"] = "gzip"
    return packed


def _error_page(root: Pages, status: str, message: str) -> bytes:
    cherrypy.serving.response.headers["Content-Type"] = "text/html; charset=utf-8"
    return root.show_error(HTTPStatus(int(status[:3])), message)
