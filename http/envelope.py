"""The envelope: what goes around every answer, whatever is in it."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from . import request_id
from .call import Answer
from .conditional import COMPRESSED_FROM, compress
from .cors import Cors

Headers = list[tuple[str, str]]

_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_DEFAULTS = (
    ("Cache-Control", "no-store"),
    # Nobody is meant to look at JSON as at a page, still less inside of another one.
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
)


def seal(answer: Answer, environ: Mapping[str, Any], request: str, cors: Cors) -> tuple[bytes, Headers]:
    """The body as it is sent, and all headers.

    Args:
        answer: what the handler gave; its headers go before the defaults.
        environ: the request, as PEP 3333 has it.
        request: its id.
        cors: which origins may call.
    """
    body, status, own, content_type = answer
    headers: Headers = [*own, (request_id.HEADER, request)]
    if own:
        names = {name for name, _ in own}
        headers += [default for default in _DEFAULTS if default[0] not in names]
    else:
        headers += _DEFAULTS
    if cors.is_on:
        headers += cors.headers(environ)
        if environ["REQUEST_METHOD"] == "OPTIONS":
            headers += cors.preflight_headers(environ, dict(own).get("Allow", ""))
    if status in _BODILESS:
        return b"", headers
    if len(body) >= COMPRESSED_FROM:
        headers.append(("Vary", "Accept-Encoding"))
        packed = compress(body, environ.get("HTTP_ACCEPT_ENCODING", ""))
        if packed is not None:
            headers.append(("Content-Encoding", "gzip"))
            body = packed
    headers += (("Content-Type", content_type), ("Content-Length", str(len(body))))
    return (b"" if environ["REQUEST_METHOD"] == "HEAD" else body), headers
