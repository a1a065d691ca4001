"""The body of a request: what it may be, and how it is read."""

from __future__ import annotations

import sys
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar, cast

from ..wire.errors import ContentTooLarge, LengthRequired, NotJson, UnsupportedMediaType
from ..wire.header_lists import read_list
from ..wire.message import BodyContent

B = TypeVar("B")

_BYTE_ORDER_MARKS = (BOM_UTF8, BOM_UTF16_LE, BOM_UTF16_BE)
_UTF_8 = ("utf-8", "utf8")  # the second is not a registered name of it, but a common one


class BodyFormat(NamedTuple, Generic[B]):
    """What a body of one media type is."""

    kind: Any
    """The type of what is in it, as msgspec takes it: for the description."""
    example: object
    decode: Callable[[BodyContent], B]
    """Reads it, and raises what is wrong with it."""


class Body(NamedTuple, Generic[B]):
    """What the body of a request may be."""

    formats: Mapping[str, BodyFormat[B]]
    """By media type; empty where no body is taken."""
    max_bytes: int | None = None
    """How large it may be; None for what the server takes."""
    is_optional: bool = False
    """Whether it may be left out, which is read as an empty one."""

    @property
    def limit(self) -> int:
        """How large it may be, where the server itself sets none; 0 where no body is taken."""
        if not self.formats:
            return 0
        return sys.maxsize if self.max_bytes is None else self.max_bytes


NO_BODY: Body[None] = Body({})
"""For an operation that takes no body; one that is sent is not looked at."""


def read_body(fields: Mapping[str, str], content: BodyContent | None, body: Body[B]) -> tuple[BodyContent, B]:
    """The bytes of a body, and what they say.

    Args:
        fields: the header of its request.
        content: it, as it was sent; None where none was.
        body: what it may be.

    Raises:
        UnsupportedMediaType: it has none of the media types, or is not in UTF-8, or is encoded once more.
        LengthRequired: there is no body, and no length of one.
        ContentTooLarge: it is too large.
        NotJson: it is UTF-16.
        Exception: what the format's `decode` raises.
    """
    if not body.formats:
        return b"", cast(B, None)
    if not content and body.is_optional:
        # Forms of other sites' pages announce the type of theirs even with nothing to send.
        name = _media_type(fields, body.formats) if "Content-Type" in fields else next(iter(body.formats))
        return b"", body.formats[name].decode(b"")
    form = body.formats.get(fields.get("Content-Type", "")) or body.formats[_media_type(fields, body.formats)]
    if fields.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMediaType("Send the body as it is, without Content-Encoding.")
    if content is None:
        raise LengthRequired
    if body.max_bytes is not None and len(content) > body.max_bytes:
        raise ContentTooLarge(f"The body has {len(content)} bytes; {body.max_bytes} are taken here at the most.")
    if content.startswith(_BYTE_ORDER_MARKS):
        if not content.startswith(BOM_UTF8):
            raise NotJson("it begins with the byte order mark of UTF-16; send it in UTF-8")
        content = content[len(BOM_UTF8) :]
    return content, form.decode(content)


def _media_type(fields: Mapping[str, str], known: Iterable[str]) -> str:
    media_type = _without_parameters(fields.get("Content-Type", ""))
    if media_type not in known:
        raise UnsupportedMediaType(f"Send the body with Content-Type: {' or '.join(known)}.")
    return media_type


def _without_parameters(content_type: str) -> str:
    elements = read_list(content_type)
    if len(elements) != 1:  # it is not a list
        return ""
    ((media_type, parameters),) = elements
    if parameters.get("charset", "utf-8").lower() not in _UTF_8:
        raise UnsupportedMediaType("Send the body in UTF-8: no other charset is taken.")
    return media_type.lower()
