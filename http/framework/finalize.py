"""What every answer gets on its way out, whatever is in it: the request's id, policies, compression."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from ..security.cors import Cors
from ..wire import request_id
from ..wire.conditional import COMPRESSED_FROM, compress
from ..wire.message import WireRequest, WireResponse, WireStream
from .response import Response
from .stream import Stream

_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


def finalize(
    answer: Response, request: WireRequest, name: str, cors: Cors, run: Callable[[Stream], WireStream]
) -> WireResponse:
    """The answer as it is sent.

    Args:
        answer: what the handler gave.
        request: what it answers.
        name: the request's id.
        cors: which origins may call.
        run: has a stream sent.
    """
    body, status, own = answer.body, answer.status, answer.headers
    headers = [*own, *answer.policy, (request_id.HEADER, name)]
    if cors.is_on:
        headers += cors.headers(request.fields)
        if request.method == "OPTIONS":
            headers += cors.preflight_headers(request.fields, dict(own).get("Allow", ""))
    if not isinstance(body, bytes):
        headers.append(("Content-Type", answer.content_type))
        if request.method != "HEAD":
            return WireResponse(status, headers, run(body))
        body.close()
        return WireResponse(status, headers, b"")
    if status in _BODILESS:
        return WireResponse(status, headers, b"")
    if len(body) >= COMPRESSED_FROM:
        headers.append(("Vary", "Accept-Encoding"))
        packed = compress(body, request.fields.get("Accept-Encoding", ""), answer.packed)
        if packed is not None:
            headers.append(("Content-Encoding", "gzip"))
            body = packed
    headers += (("Content-Type", answer.content_type), ("Content-Length", str(len(body))))
    return WireResponse(status, headers, b"" if request.method == "HEAD" else body)
