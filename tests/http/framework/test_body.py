"""A body is read as its operation says, and refused with a reason otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from ordermill.http.framework.body import NO_BODY, Body, BodyFormat, read_body
from ordermill.http.wire.errors import ContentTooLarge, LengthRequired, NotJson, UnsupportedMediaType

JSON, LINES = "application/json", "application/x-ndjson"
EITHER = Body({JSON: BodyFormat(str, "", bytes.decode), LINES: BodyFormat(str, "", lambda text: f"lines {text!r}")}, 5)
OPTIONAL = Body({JSON: BodyFormat(str, "", lambda text: f"<{text.decode()}>")}, is_optional=True)


def read(body: bytes | None, allowed: Body[Any], **fields: str) -> tuple[bytes, Any]:
    return read_body({name.replace("_", "-"): value for name, value in fields.items()}, body, allowed)


@pytest.mark.parametrize(
    ("media_type", "found"),
    [(JSON, "abc"), ("Application/JSON; charset=utf8", "abc"), (f'{LINES};charset="UTF-8"', "lines b'abc'")],
)
def test_a_body_is_decoded_by_its_media_type(media_type: str, found: str) -> None:
    assert read(b"abc", EITHER, Content_Type=media_type) == (b"abc", found)


def test_a_byte_order_mark_does_not_belong_to_the_body() -> None:
    assert read(b"\xef\xbb\xbfab", EITHER, Content_Type=JSON) == (b"ab", "ab")


@pytest.mark.parametrize(
    ("body", "fields", "error"),
    [
        (b"abc", {}, UnsupportedMediaType),
        (b"abc", {"Content_Type": "text/plain"}, UnsupportedMediaType),
        (b"abc", {"Content_Type": f"{JSON}; charset=latin-1"}, UnsupportedMediaType),
        (b"abc", {"Content_Type": JSON, "Content_Encoding": "gzip"}, UnsupportedMediaType),
        (None, {"Content_Type": JSON}, LengthRequired),
        (b"abcdef", {"Content_Type": JSON}, ContentTooLarge),
        (b"\xff\xfea\0", {"Content_Type": JSON}, NotJson),
    ],
)
def test_what_is_not_taken_is_refused(body: bytes | None, fields: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        read(body, EITHER, **fields)


@pytest.mark.parametrize("body", [None, b""])
def test_a_body_that_may_be_left_out_is_read_as_an_empty_one(body: bytes | None) -> None:
    assert read(body, OPTIONAL) == (b"", "<>")
    assert read(body, OPTIONAL, Content_Type=JSON) == (b"", "<>")
    with pytest.raises(UnsupportedMediaType):
        read(body, OPTIONAL, Content_Type="text/plain")
    assert read(b"abcdef", OPTIONAL, Content_Type=JSON) == (b"abcdef", "<abcdef>")


def test_a_body_that_nobody_asked_for_is_not_looked_at() -> None:
    assert read(b"\xff" * 100, NO_BODY, Content_Type="text/plain") == (b"", None)
