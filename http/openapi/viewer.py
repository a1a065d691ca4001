"""The page that shows the description of the API to people, and lets them try it: Swagger UI, served from here.

An ordinary CherryPy application: exposed handlers, and tools for all that is around them. It is not hot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types
from cherrypy._cptools import HandlerWrapperTool, Toolbox  # type: ignore[import-untyped]  # likewise

from ..framework.page_request import PageRequest
from ..framework.parameters import NoParameters, parse_query
from ..wire.conditional import matches, pack, takes_gzip
from ..wire.errors import HttpError, MethodNotAllowed, NoSuchResource
from ..wire.headers import FORGET
from ..wire.problem_details import MEDIA_TYPE, answer_for_http_error, answer_for_status

MOUNTED_AT = "/docs"

_STATIC = Path(__file__).with_name("static")
_VENDORED = _STATIC / "vendored"
_ALLOW = "GET, HEAD, OPTIONS"
_HTML, _CSS, _SCRIPT = (f"text/{kind}; charset=utf-8" for kind in ("html", "css", "javascript"))
_POLICY = [
    ("Cache-Control", "public, no-cache"),
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
]


class _File(NamedTuple):
    path: Path
    media_type: str


class _Content(NamedTuple):
    body: bytes
    packed: bytes
    tag: str


_PAGE = _File(_STATIC / "docs.html", _HTML)
_FILES = {
    "docs.js": _File(_STATIC / "docs.js", _SCRIPT),
    "docs.css": _File(_STATIC / "docs.css", _CSS),
    "swagger.js": _File(_VENDORED / "swagger-ui.js", _SCRIPT),
    "swagger.css": _File(_VENDORED / "swagger-ui.css", _CSS),
}


class Pages:
    """The page, and the files that it needs."""

    @cherrypy.expose  # type: ignore[untyped-decorator]  # CherryPy has no types
    def index(self) -> bytes:
        """The page."""
        if cherrypy.request.path_info:  # its references are relative to the path without a slash
            raise NoSuchResource
        return _serve(_PAGE)

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def default(self, *path: str) -> bytes:
        """One of the files."""
        file = _FILES.get("/".join(path))
        if file is None:
            raise NoSuchResource
        return _serve(file)


def pages(check_origin: Callable[[str, Mapping[str, str]], object]) -> Any:
    """The CherryPy application, to be mounted in a tree.

    Args:
        check_origin: called with the method and the header of each request; raises where it is not to be answered.
    """
    application = cherrypy.Application(Pages(), MOUNTED_AT)
    tools = Toolbox("docs")
    tools.problems = HandlerWrapperTool(partial(_with_problems, check_origin))
    application.request_class = PageRequest
    application.toolboxes = {"tools": cherrypy.tools, "docs": tools}
    application.merge(
        {
            "/": {
                "docs.problems.on": True,
                "tools.log_headers.on": False,  # a key or a session may be among them
                "tools.trailing_slash.on": False,
                "tools.response_headers.on": True,
                "tools.response_headers.headers": _POLICY,
                "request.process_request_body": False,
                "request.show_tracebacks": False,
                "request.show_mismatched_params": False,
                "error_page.default": _any_other_problem,
            }
        }
    )
    application.log.access_log.disabled = True  # it is written as for all other requests
    return application


@cache
def _read(path: Path) -> _Content:
    body = path.read_bytes()
    return _Content(body, pack(body), f'W/"{sha256(body).hexdigest()[:32]}"')


def _serve(file: _File) -> bytes:
    # By our own readers of headers: those of CherryPy's tools take very long for some, and raise errors for others.
    request, response = cherrypy.serving.request, cherrypy.serving.response
    asked, headers = request.headers, response.headers
    headers.pop("Content-Type", None)
    if request.method == "OPTIONS":
        response.status = HTTPStatus.NO_CONTENT.value
        headers["Allow"] = _ALLOW
        return b""
    if request.method not in ("GET", "HEAD"):
        raise MethodNotAllowed(_ALLOW)
    body, packed, tag = _read(file.path)
    headers.update({"ETag": tag, "Vary": "Accept-Encoding"})
    if matches(asked.get("If-None-Match", ""), tag):
        response.status = HTTPStatus.NOT_MODIFIED.value
        return b""
    headers["Content-Type"] = file.media_type
    if not takes_gzip(asked.get("Accept-Encoding", "")):
        return body
    headers["Content-Encoding"] = "gzip"
    return packed


def _with_problems(check_origin: Callable[[str, Mapping[str, str]], object], handler: Callable[[], bytes]) -> bytes:
    """The tool around every handler: refuses what none of them takes, and answers errors as the API does."""
    request, response = cherrypy.serving.request, cherrypy.serving.response
    try:
        if isinstance(handler, cherrypy.HTTPError):  # CherryPy's way to say that there is none
            raise NoSuchResource
        check_origin(request.method, request.headers)
        parse_query(request.query_string, NoParameters)
        return handler()
    except HttpError as error:
        problem = answer_for_http_error(error)
        response.status = problem.status.value
        response.headers.update(problem.headers)
        return _problem(problem.body)


def _any_other_problem(status: str, message: str, traceback: str, version: str) -> bytes:
    del traceback, version  # nobody's business
    return _problem(answer_for_status(HTTPStatus(int(status[:3])), message).body)


def _problem(body: bytes) -> bytes:
    headers = cherrypy.serving.response.headers
    headers["Content-Type"] = MEDIA_TYPE
    headers.update(FORGET)
    return body
