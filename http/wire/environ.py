"""Requests as WSGI has them (PEP 3333)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

from .message import BodyContent, WireRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def environ_of(
    request: WireRequest, body: BodyContent | None, mounted_at: str, host: str, port: int, scheme: str
) -> WSGIEnvironment:
    """A request as PEP 3333 has it.

    Args:
        request: it.
        body: of it; None where none was sent.
        mounted_at: the path that the application is mounted at.
        host: of the server.
        port: likewise.
        scheme: `http` or `https`.
    """
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": mounted_at,
        "PATH_INFO": request.path[len(mounted_at) :],
        "QUERY_STRING": request.query,
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": BytesIO(body or b""),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if body is not None:
        environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in request.fields.items():
        if name == "Content-Type":
            environ["CONTENT_TYPE"] = value
        # HTTP has no encoded words. CherryPy reads them, and has no answer to one in a charset that there is not.
        elif name not in ("Content-Length", "Transfer-Encoding") and "=?" not in value:
            environ["HTTP_" + name.upper().replace("-", "_")] = value
    return environ


def request_of(environ: Mapping[str, Any]) -> WireRequest:
    """A request that some WSGI server took in.

    Args:
        environ: as PEP 3333 has it.
    """
    fields = {name[5:].replace("_", "-").title(): value for name, value in environ.items() if name.startswith("HTTP_")}
    if content_type := environ.get("CONTENT_TYPE"):
        fields["Content-Type"] = content_type
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return WireRequest(environ["REQUEST_METHOD"], path, environ.get("QUERY_STRING", ""), fields)


def content_of(environ: Mapping[str, Any], max_bytes: int) -> bytes | None:
    """The body of a request that some WSGI server took in; None where there is none.

    Args:
        environ: as PEP 3333 has it.
        max_bytes: what is wanted of it. Of a longer one there is a byte more, so that it is seen to be longer.
    """
    if not max_bytes:
        return None
    content: bytes
    if length := environ.get("CONTENT_LENGTH"):
        content = environ["wsgi.input"].read(min(int(length), max_bytes + 1))
    elif "HTTP_TRANSFER_ENCODING" in environ and environ.get("wsgi.input_terminated"):
        content = environ["wsgi.input"].read(-1 if max_bytes == sys.maxsize else max_bytes + 1)
    else:
        return None
    return content
