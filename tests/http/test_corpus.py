"""A corpus of hostile requests, each sent as raw bytes: what is answered, and whether the next request still is.

Each case is followed by a good request on the same connection. Where the framing of a case can be trusted, both are
answered; where it cannot, the connection ends after one answer, and what followed is never taken for a request.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable
from http.client import HTTPMessage, parse_headers
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from tests.http.conftest import Client

    MakeOrder = Callable[..., dict[str, Any]]

GOOD = b"GET /orders/nobody/status?good HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
MAX_BODY_BYTES = 2_000_000


class Case(NamedTuple):
    """One hostile request."""

    name: str
    request: bytes
    status: int
    kind: str = ""
    """The last part of the problem's type; empty where the answer is no problem."""
    pointers: tuple[str, ...] = ()
    """The faults that are named."""
    is_kept: bool = True
    """Whether the connection is."""
    is_cut: bool = False
    """Whether the client sends nothing after it, not even the good request."""


def head(method: str, target: str, *lines: str) -> bytes:
    """A head with a host, and these lines."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode("latin-1")


def post(path: str, body: bytes | str, *lines: str) -> bytes:
    """A request with a JSON body."""
    raw = body.encode() if isinstance(body, str) else body
    return head("POST", path, "Content-Type: application/json", f"Content-Length: {len(raw)}", *lines) + raw


def broken(name: str, request: bytes, pointer: str = "", is_cut: bool = False) -> Case:
    """A case that is no HTTP: 400, and the connection ends."""
    return Case(name, request, 400, "malformed-request", (pointer,) if pointer else (), False, is_cut)


def get(name: str, target: str, status: int, kind: str = "", *pointers: str) -> Case:
    """A case of what is asked for."""
    return Case(name, head("GET", target), status, kind, pointers)


def bad_json(name: str, body: bytes | str) -> Case:
    """A case of a body that is no JSON."""
    return Case(name, post("/orders", body), 400, "not-json")


def bad_order(name: str, body: bytes | str, *pointers: str) -> Case:
    """A case of JSON that is no order."""
    return Case(name, post("/orders", body), 422, "invalid-order", pointers)


def bad_money(name: str, number: str) -> Case:
    """A case of an amount that is none."""
    return bad_order(name, ORDER.replace('"19.99"', number), "/total_amount")


def bad_settlement(name: str, body: bytes | str, *pointers: str) -> Case:
    """A case of JSON that settles nothing."""
    return Case(name, post("/orders/o-1/settle", body), 422, "invalid-order", pointers)


ORDER = '{"order_id":"corpus","user_id":"u-1","item_ids":["sku-1"],"total_amount":"19.99"}'
JSON = "Content-Type: application/json"
SMUGGLED = head("GET", "/orders/smuggled")
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
IN_CHUNKS = head("POST", "/orders", JSON, "Transfer-Encoding: chunked")

REQUEST_LINES = [
    broken("no HTTP at all", b"garbage\r\n\r\n"),
    broken("the beginning of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    broken("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    broken("a request of HTTP/0.9", b"GET /healthz\r\n\r\n"),
    broken("another protocol", b"GET /healthz SPDY/1.1\r\nHost: localhost\r\n\r\n"),
    broken("a version of letters", b"GET /healthz HTTP/one\r\nHost: localhost\r\n\r\n"),
    broken("a version that there is not", b"GET /healthz HTTP/9.9\r\nHost: localhost\r\n\r\n"),
    broken("version 2.0 in words of 1.1", b"GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n"),
    broken("a version of two digits", b"GET /healthz HTTP/1.10\r\nHost: localhost\r\n\r\n"),
    broken("a version with a sign", b"GET /healthz HTTP/+1.1\r\nHost: localhost\r\n\r\n"),
    broken("a version in lower case", b"GET /healthz http/1.1\r\nHost: localhost\r\n\r\n"),
    broken("two blanks in the request line", b"GET  /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    broken("a tab in the request line", b"GET\t/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    broken("a blank after the request line", b"GET /healthz HTTP/1.1 \r\nHost: localhost\r\n\r\n"),
    broken("a blank before the request line", b" GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    broken("a blank in the target", b"GET /healthz x HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    broken("no method", b" /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    broken("a method that is no word", b"G(E)T /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    broken("lines that end with LF alone", b"GET /healthz HTTP/1.1\nHost: localhost\n\n"),
    broken("one line that ends with LF alone", b"GET /healthz HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n"),
    broken("lines that end with CR alone", b"GET /healthz HTTP/1.1\rHost: localhost\r\r\r\n\r\n"),
    broken("a head that stops", b"GET /healthz HTTP/1.1\r\nHost: te", is_cut=True),
    broken("a request line that stops", b"GET /hea", is_cut=True),
    broken("a target without a slash", head("GET", "healthz")),
    broken("a target of another protocol", head("GET", "ftp://elsewhere/healthz")),
    broken("a target for a proxy, with a user", head("GET", "http://user@elsewhere/healthz")),
    broken("a target for a proxy, with a fragment", head("GET", "http://elsewhere/healthz#top")),
    broken("a star, but no OPTIONS", head("GET", "*")),
    broken("a fragment", head("GET", "/healthz#top")),
    broken("NUL in the target", head("GET", "/orders/a\0b")),
    broken("a control character in the target", head("GET", "/orders/a\x1bb")),
    broken("bytes above ASCII in the target", head("GET", "/orders/\xff\xfe")),
    broken("a percent sign alone in the path", head("GET", "/orders/100%")),
    broken("a percent sign and one digit", head("GET", "/orders/%4")),
    broken("a percent sign and letters", head("GET", "/orders/%zz")),
    broken("a broken percent sign in the query", head("GET", "/orders?limit=%1")),
    Case("a long target", head("GET", "/" + "a" * 9_000), 414, "target-too-long", is_kept=False),
    Case("a target without an end", b"GET /" + b"a" * 200_000, 414, "target-too-long", is_kept=False),
    Case("a target for a tunnel", head("CONNECT", "example.org:443"), 405, "method-not-allowed", is_kept=False),
    Case("CONNECT with a path", head("CONNECT", "/orders"), 405, "method-not-allowed"),
    Case("a method that nobody knows", head("BREW", "/orders"), 405, "method-not-allowed"),
    Case("a method in lower case", head("get", "/orders"), 405, "method-not-allowed"),
    Case("a method of 10,000 letters", head("A" * 10_000, "/orders"), 405, "method-not-allowed"),
    Case("TRACE", head("TRACE", "/orders"), 405, "method-not-allowed"),
    Case("a target as for a proxy", head("GET", "http://elsewhere/nothing"), 404, "no-such-resource"),
    Case("OPTIONS for all there is", head("OPTIONS", "*"), 204),
    Case("an empty line before the request", b"\r\n" + head("GET", "/nothing"), 404, "no-such-resource"),
    Case("two slashes", head("GET", "//"), 404, "no-such-resource"),
]

HEADERS = [
    broken("no host", b"GET /healthz HTTP/1.1\r\n\r\n", "/header/Host"),
    broken("two hosts", head("GET", "/healthz", "Host: other"), "/header/Host"),
    broken("the same host twice", head("GET", "/healthz", "host: test"), "/header/Host"),
    broken("a host with a path", b"GET /healthz HTTP/1.1\r\nHost: test/path\r\n\r\n", "/header/Host"),
    broken("a host with a user", b"GET /healthz HTTP/1.1\r\nHost: user@test\r\n\r\n", "/header/Host"),
    broken("a host with a blank", b"GET /healthz HTTP/1.1\r\nHost: te st\r\n\r\n", "/header/Host"),
    broken("a line without a colon", head("GET", "/healthz", "no colon")),
    broken("a word without a colon", head("GET", "/healthz", "nocolon")),
    broken("no name before the colon", head("GET", "/healthz", ": value")),
    broken("a blank before the colon", head("GET", "/healthz", "X : y")),
    broken("a blank in a name", head("GET", "/healthz", "X Y: z")),
    broken("a name in brackets", head("GET", "/healthz", "X[0]: z")),
    broken("a name above ASCII", head("GET", "/healthz", "X\xe9: z")),
    broken("a folded line", head("GET", "/healthz", "X: y", " folded")),
    broken("a line folded with a tab", head("GET", "/healthz", "X: y", "\tfolded")),
    broken("a folded first line", b"GET /healthz HTTP/1.1\r\n Host: localhost\r\n\r\n"),
    broken("a folded line that is a header", head("POST", "/orders", JSON, "X: y", " Content-Length: 5") + b"12345"),
    broken("NUL in a value", head("GET", "/healthz", "X: a\0b")),
    broken("NUL in a name", head("GET", "/healthz", "X\0: y")),
    broken("DEL in a value", head("GET", "/healthz", "X: a\x7fb")),
    broken("an escape in a value", head("GET", "/healthz", "X: \x1b[31m")),
    broken("CR in a value", head("GET", "/healthz", "X: a\rb")),
    broken("LF in a value", head("GET", "/healthz", "X: a\nContent-Length: 5")),
    broken("two media types", post("/orders", ORDER, JSON), "/header/Content-Type"),
    Case("a long header", head("GET", "/healthz", "X: " + "a" * 40_000), 431, "header-too-large", is_kept=False),
    Case(
        "a field of many commas", head("GET", "/metrics", "Accept: " + ',"' * 2_000), 431, "header-too-large", (), False
    ),
    Case(
        "a field of many parameters", head("GET", "/docs", "Accept: a" + ";b" * 500), 431, "header-too-large", (), False
    ),
    Case("a long field", head("GET", "/docs", "Cookie: " + "a" * 8_193), 431, "header-too-large", (), False),
    Case(
        "a field that is long in all",
        head("GET", "/docs", *["Cookie: " + "a" * 5_000] * 2),
        431,
        "header-too-large",
        (),
        False,
    ),
    Case("a quoted version", head("GET", "/metrics", 'Accept: text/plain;version="1.0.0"'), 200),
    Case("a version that is no number", head("GET", "/metrics", "Accept: text/plain;version=1.x.0"), 200),
    Case("many headers", head("GET", "/healthz", *["X: a"] * 101), 431, "header-too-large", is_kept=False),
    Case("headers without an end", head("GET", "/x")[:-2] + b"X: a\r\n" * 50_000, 431, "header-too-large", (), False),
    Case("a header above ASCII", head("GET", "/nothing", "X: \xe9\xff"), 404, "no-such-resource"),
    Case("a header given twice", head("GET", "/nothing", "X: a", "X: b"), 404, "no-such-resource"),
    Case("no host in HTTP/1.0", b"GET /nothing HTTP/1.0\r\n\r\n", 404, "no-such-resource", is_kept=False),
    Case("no host's name", b"GET /nothing HTTP/1.1\r\nHost:\r\n\r\n", 421, "misdirected"),
]

LENGTHS = [
    *(
        broken(f"a length of {length!r}", head("POST", "/orders", JSON, f"Content-Length: {length}") + b"{}", FIELD)
        for FIELD in ["/header/Content-Length"]
        for length in [
            "",
            "-1",
            "-0",
            "+2",
            "0x2",
            "2_0",
            "2.0",
            "2e0",
            "2 2",
            "2, 2",
            "2;2",
            "two",
            "\xb2",
            "9" * 5000,
        ]
    ),
    broken("two lengths", post("/orders", ORDER, "Content-Length: 5"), "/header/Content-Length"),
    broken("the same length twice", post("/orders", "{}", "Content-Length: 2"), "/header/Content-Length"),
    broken("two lengths in two cases", post("/orders", "{}", "CONTENT-LENGTH: 2"), "/header/Content-Length"),
    broken(
        "a length, and chunks",
        head("POST", "/orders", JSON, "Content-Length: 5", "Transfer-Encoding: chunked") + CHUNKED,
        "/header/Content-Length",
    ),
    broken(
        "chunks, and a length",
        head("POST", "/orders", JSON, "Transfer-Encoding: chunked", f"Content-Length: {len(CHUNKED)}") + CHUNKED,
        "/header/Content-Length",
    ),
    broken("a blank before the colon of chunks", head("POST", "/orders", "Transfer-Encoding : chunked") + CHUNKED),
    broken("a control before the name of chunks", head("POST", "/orders", "Transfer-Encoding:\x0bchunked") + CHUNKED),
    broken(
        "chunks twice",
        head("POST", "/orders", "Transfer-Encoding: chunked", "Transfer-Encoding: identity") + CHUNKED,
        "/header/Transfer-Encoding",
    ),
    *(
        Case(f"{coding} on {path}", head("POST", path, JSON, coding) + CHUNKED, 411, "length-required", is_kept=False)
        for path, coding in [
            ("/orders", "Transfer-Encoding: gzip, chunked"),
            ("/orders", "Transfer-Encoding: chunked, chunked"),
            ("/orders", "Transfer-Encoding: gzip"),
            ("/orders", "Transfer-Encoding: identity"),
            ("/orders", "Transfer-Encoding: x"),
            ("/orders", "Transfer-Encoding:"),
            ("/nothing", "Transfer-Encoding: xchunked"),
        ]
    ),
    *(
        Case(f"{coding} on {path}", head("POST", path, JSON, coding) + CHUNKED, status, kind)
        for path, coding, status, kind in [
            ("/orders", "Transfer-Encoding: chunked", 400, "not-json"),
            ("/orders", "transfer-encoding: Chunked", 400, "not-json"),
            ("/orders/bulk", "Transfer-Encoding: chunked", 400, "not-json"),
            ("/orders/o-1/cancel", "Transfer-Encoding: chunked", 400, "not-json"),
            ("/nothing", "Transfer-Encoding: chunked", 404, "no-such-resource"),
        ]
    ),
    *(
        broken(f"a chunk whose size is {size!r}", IN_CHUNKS + size.encode("latin-1") + b"\r\n{}\r\n0\r\n\r\n")
        for size in ["", "-2", "+2", "0x2", "2_0", "2.0", "two", " 2", "2 2", "\xb2", "2;\x00", "9" * 17]
    ),
    broken("a chunk that is longer than its size", IN_CHUNKS + b"1\r\n{}\r\n0\r\n\r\n"),
    broken("a chunk without a line end", IN_CHUNKS + b"2\r\n{}0\r\n\r\n"),
    broken("a chunk that ends with LF alone", IN_CHUNKS + b"2\r\n{}\n0\r\n\r\n"),
    broken("a size that ends with LF alone", IN_CHUNKS + b"2\n{}\r\n0\r\n\r\n"),
    broken("a trailer that is no field", IN_CHUNKS + b"0\r\nno colon\r\n\r\n"),
    broken("a trailer with NUL", IN_CHUNKS + b"0\r\nX: \0\r\n\r\n"),
    Case(
        "chunks with all that may be around them",
        IN_CHUNKS + b"1;a=b\r\n{\r\n01 \t;c\r\n}\r\n000\r\nX: y\r\n\r\n",
        422,
        "invalid-order",
        ("/order_id", "/user_id", "/item_ids", "/total_amount"),
    ),
    Case("chunks that stop", IN_CHUNKS + b"5\r\n{", 400, "truncated-body", is_kept=False, is_cut=True),
    Case("chunks without a last one", IN_CHUNKS + b"2\r\n{}\r\n", 400, "truncated-body", is_kept=False, is_cut=True),
    Case("a chunk above the limit", IN_CHUNKS + b"%x\r\n" % (MAX_BODY_BYTES + 1), 413, "content-too-large", (), False),
    Case("a chunk above all numbers", IN_CHUNKS + b"f" * 16 + b"\r\n", 413, "content-too-large", is_kept=False),
    Case(
        "many chunks above the limit",
        IN_CHUNKS + b"1000\r\n%b\r\n" % (b" " * 4096) * 489,
        413,
        "content-too-large",
        is_kept=False,
    ),
    Case("the size of a chunk without an end", IN_CHUNKS + b"1" * 10_000, 431, "header-too-large", is_kept=False),
    Case(
        "extensions without an end",
        IN_CHUNKS + b"1;%b\r\n1\r\n" % (b"a" * 200) * 1_000,
        431,
        "header-too-large",
        (),
        False,
    ),
    Case("a trailer without an end", IN_CHUNKS + b"0\r\n" + b"X: a\r\n" * 50_000, 431, "header-too-large", (), False),
    Case(
        "a trailer of many fields",
        IN_CHUNKS + b"0\r\n" + b"X: a\r\n" * 101 + b"\r\n",
        431,
        "header-too-large",
        (),
        False,
    ),
    Case(
        "chunks in HTTP/1.0",
        b"POST /orders HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED,
        411,
        "length-required",
        is_kept=False,
    ),
    Case("no length", head("POST", "/orders", JSON), 411, "length-required"),
    Case("a length with an underscore", head("POST", "/orders", JSON, "Content_Length: 999"), 411, "length-required"),
    Case(
        "a length with zeros",
        head("POST", "/orders", JSON, "Content-Length: 0002") + b"[]",
        422,
        "invalid-order",
        ("",),
    ),
    Case(
        "a body above the limit",
        head("POST", "/orders", JSON, f"Content-Length: {MAX_BODY_BYTES + 1}"),
        413,
        "content-too-large",
        is_kept=False,
    ),
    Case(
        "a body above the limit, sent",
        post("/orders/bulk", b" " * (MAX_BODY_BYTES + 1)),
        413,
        "content-too-large",
        is_kept=False,
    ),
    Case(
        "a body above the limit, announced with a question",
        head("POST", "/orders", JSON, "Content-Length: 999999999", "Expect: 100-continue"),
        413,
        "content-too-large",
        is_kept=False,
    ),
    Case(
        "an order of more than a mebibyte", post("/orders", b" " * 1_100_000), 413, "content-too-large", is_kept=False
    ),
    Case(
        "a body that stops",
        head("POST", "/orders", JSON, "Content-Length: 9000") + b"{",
        400,
        "truncated-body",
        is_kept=False,
        is_cut=True,
    ),
    Case(
        "a body that does not begin",
        head("POST", "/orders", JSON, "Content-Length: 9000"),
        400,
        "truncated-body",
        is_kept=False,
        is_cut=True,
    ),
    Case(
        "a body along with GET",
        head("GET", "/nothing", f"Content-Length: {len(SMUGGLED)}") + SMUGGLED,
        404,
        "no-such-resource",
    ),
    Case("a body along with HEAD", head("HEAD", "/nothing", f"Content-Length: {len(SMUGGLED)}") + SMUGGLED, 404),
    Case("a body along with cancel", post("/orders/nobody/cancel", SMUGGLED), 400, "not-json"),
    Case("a body along with retry", post("/orders/nobody/retry", SMUGGLED), 400, "not-json"),
    Case("a body for a method that is not taken", post("/healthz", SMUGGLED), 405, "method-not-allowed"),
    Case("a body for nothing", post("/nothing", SMUGGLED), 404, "no-such-resource"),
]

MEDIA_TYPES = [
    *(
        Case(
            f"a media type of {media_type!r}",
            head("POST", "/orders", f"Content-Type: {media_type}", f"Content-Length: {len(ORDER)}") + ORDER.encode(),
            415,
            "unsupported-media-type",
        )
        for media_type in [
            *["", "json", "text/json", "application/jsonx", "application/json, text/plain", "application/x-ndjson"],
            *["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "*/*", "; charset=utf-8"],
            *["application/json; charset=latin-1", 'application/json; charset="utf-16"', "application/json;charset="],
            "application/json; charset=utf-8; charset=utf-7",
        ]
    ),
    Case("no media type", head("POST", "/orders", "Content-Length: 2") + b"{}", 415, "unsupported-media-type"),
    Case("a byte order mark before a list", post("/orders", b"\xef\xbb\xbf[]"), 422, "invalid-order", ("",)),
    Case("a compressed body", post("/orders", b"\x1f\x8b", "Content-Encoding: gzip"), 415, "unsupported-media-type"),
    Case(
        "a media type with an underscore",
        head("POST", "/orders", "Content_Type: application/json", "Content-Length: 2") + b"{}",
        415,
        "unsupported-media-type",
    ),
]

BODIES = [
    bad_json("nothing", ""),
    bad_json("blanks", " \r\n\t "),
    bad_json("half an order", ORDER[:-10]),
    bad_json("two orders", ORDER + ORDER),
    bad_json("an order and more", ORDER + "x"),
    bad_json("two byte order marks", b"\xef\xbb\xbf" * 2 + ORDER.encode()),
    bad_json("nothing but a byte order mark", b"\xef\xbb\xbf"),
    bad_json("UTF-16", ORDER.encode("utf-16")),
    bad_json("UTF-32", ORDER.encode("utf-32")),
    bad_json("a byte that is no UTF-8", b'{"order_id":"\xff"}'),
    bad_json("half a character of UTF-8", b'{"order_id":"\xc3"}'),
    bad_json("an overlong slash", b'{"order_id":"\xc0\xaf"}'),
    bad_json("a surrogate in UTF-8", ORDER.encode().replace(b"u-1", b"\xed\xa0\x80")),
    bad_json("a lone high surrogate", ORDER.replace("u-1", "\\ud800")),
    bad_json("a lone low surrogate", ORDER.replace("u-1", "\\udc00")),
    bad_json("a lone surrogate for a key", ORDER.replace("user_id", "\\ud800")),
    bad_json("NUL in a string", b'{"order_id":"a\0b"}'),
    bad_json("a line end in a string", '{"order_id":"a\nb"}'),
    bad_json("an escape that there is not", r'{"order_id":"\x41"}'),
    bad_json("deep lists", "[" * 10_000),
    bad_json("deep lists that are closed", "[" * 10_000 + "]" * 10_000),
    bad_json("deep objects", '{"a":' * 10_000),
    bad_json("a deep item", ORDER.replace('"sku-1"', "[" * 5_000 + "]" * 5_000)),
    bad_json("NaN", ORDER.replace('"19.99"', "NaN")),
    bad_json("Infinity", ORDER.replace('"19.99"', "Infinity")),
    bad_json("minus Infinity", ORDER.replace('"19.99"', "-Infinity")),
    bad_json("a number with a zero before it", ORDER.replace('"19.99"', "019.99")),
    bad_json("a number with a plus", ORDER.replace('"19.99"', "+1")),
    bad_json("a number of hexadecimal digits", ORDER.replace('"19.99"', "0x10")),
    bad_json("a number that ends with a point", ORDER.replace('"19.99"', "1.")),
    bad_json("a number of 5,000 digits", ORDER.replace('"19.99"', "9" * 5_000)),
    bad_json("quotes of another kind", ORDER.replace('"', "'")),
    bad_json("a comma too many", ORDER.replace("}", ",}")),
    bad_json("a comment", ORDER.replace("{", "{/**/")),
    bad_order("null", "null", ""),
    bad_order("a number", "5", ""),
    bad_order("a string", '"order"', ""),
    bad_order("a list", f"[{ORDER}]", ""),
    bad_order("an empty object", "{}", "/order_id", "/user_id", "/item_ids", "/total_amount"),
    bad_money("an exponent above all floats", "1e999"),
    bad_money("an exponent below all floats", "1e-400"),
    bad_money("an exponent above all decimals", "1e99999999999999999999"),
    bad_money("an exponent below all decimals", "-1e-99999999999999999999"),
    bad_money("ten to the 400th, written out", "1" + "0" * 400),
    bad_money("three fraction digits", "0.001"),
    bad_money("5,000 fraction digits", "0." + "0" * 5_000 + "1"),
    bad_money("less than nothing", "-0.01"),
    bad_money("a cent too much", "10000000000.00"),
    bad_money("true", "true"),
    bad_money("null for money", "null"),
    bad_money("a list of money", "[19.99]"),
    bad_money("an object of money", '{"amount":1e99999999999999999999}'),
    bad_money("NaN as a string", '"NaN"'),
    bad_money("an exponent in a string", '"1e1"'),
    bad_money("a blank in a string", '" 1"'),
    bad_money("an underscore in a string", '"1_0"'),
    bad_money("digits of another script", '"\uff11"'),
    bad_money("10,000 digits in a string", '"' + "9" * 10_000 + '"'),
    bad_order("an id given twice", ORDER.replace("{", '{"order_id":"other",'), "/order_id"),
    bad_order("the same id given twice", ORDER.replace("{", '{"order_id":"corpus",'), "/order_id"),
    bad_order("an id given twice, once escaped", ORDER.replace("{", r'{"\u006frder_id":"other",'), "/order_id"),
    bad_order("a user given twice", ORDER.replace("}", ',"user_id":"u-1"}'), "/user_id"),
    bad_order("items given twice, first none", ORDER.replace("{", '{"item_ids":[],'), "/item_ids"),
    bad_order("items given twice, last more", ORDER.replace("}", ',"item_ids":["a","b","c","d"]}'), "/item_ids"),
    bad_order("money given twice, as a number", ORDER.replace("}", ',"total_amount":5}'), "/total_amount"),
    bad_order("money given twice, as null", ORDER.replace("{", '{"total_amount":null,'), "/total_amount"),
    bad_order("a user given three times", ORDER.replace("}", ',"user_id":"a","user_id":"b"}'), "/user_id"),
    bad_order("all given twice", f"{ORDER[:-1]},{ORDER[1:]}", "/order_id", "/user_id", "/item_ids", "/total_amount"),
    bad_order("a key given twice in an item", ORDER.replace('"sku-1"', '{"a":1,"a":2}'), "/item_ids/0"),
    bad_order("an unknown field given twice", ORDER.replace("{", '{"x":1,"x":2,'), "/x", "/x"),
    bad_order(
        "twice, and wrong", ORDER.replace("{", '{"user_id":"",').replace("sku-1", "s k"), "/user_id", "/item_ids/0"
    ),
    bad_order("an unknown field", ORDER.replace("}", ',"status":"Completed"}'), "/status"),
    bad_order("a field named by nothing", ORDER.replace("}", ',"":1}'), "/"),
    bad_order("a field named like a pointer", ORDER.replace("}", ',"a/b~c":1}'), "/a~1b~0c"),
    bad_order("a field in another case", ORDER.replace("user_id", "User_Id"), "/User_Id", "/user_id"),
    bad_order("an id with a quotation mark", ORDER.replace("corpus", r"\""), "/order_id"),
    bad_order("an id of a character beyond ASCII", ORDER.replace("corpus", "ö"), "/order_id"),
    bad_order("an id with NUL", ORDER.replace("corpus", r"\u0000"), "/order_id"),
    bad_order("an id with a line end", ORDER.replace("corpus", r"a\n"), "/order_id"),
    bad_order("an id with a slash", ORDER.replace("corpus", "../etc"), "/order_id"),
    bad_order("an id of one point", ORDER.replace("corpus", "."), "/order_id"),
    bad_order("an id of two points alone", ORDER.replace("corpus", ".."), "/order_id"),
    bad_order("an id of 65 characters", ORDER.replace("corpus", "a" * 65), "/order_id"),
    bad_order("101 items", ORDER.replace('"sku-1"', ",".join(['"a"'] * 101)), "/item_ids"),
]

BULKS = [
    Case("an object for a bulk", post("/orders/bulk", ORDER), 400, "not-json"),
    Case("null for a bulk", post("/orders/bulk", "null"), 400, "not-json"),
    Case("half a bulk", post("/orders/bulk", f"[{ORDER}"), 400, "not-json"),
    Case(
        "a bulk of 10,001 numbers", post("/orders/bulk", f"[{'1,' * 10_000}1]"), 413, "content-too-large", is_kept=False
    ),
    Case(
        "a bulk of very many numbers",
        post("/orders/bulk", f"[{'1,' * 950_000}1]"),
        413,
        "content-too-large",
        is_kept=False,
    ),
    Case(
        "very many lines",
        head("POST", "/orders/bulk", "Content-Type: application/x-ndjson", "Content-Length: 1900000")
        + b"\n" * 1_900_000,
        413,
        "content-too-large",
        is_kept=False,
    ),
    Case("a bulk of nothing", post("/orders/bulk", "[]"), 200),
    Case("a bulk in another form", post("/orders/bulk", "[]").replace(b"json", b"text"), 415, "unsupported-media-type"),
]

SETTLEMENTS = [
    Case("a settlement that is no JSON", post("/orders/o-1/settle", "{"), 400, "not-json"),
    Case("a settlement with a lone surrogate", post("/orders/o-1/settle", r'{"reason":"\ud800"}'), 400, "not-json"),
    bad_settlement("a settlement of null", "null", ""),
    bad_settlement("a settlement of nothing", "{}", "/status"),
    bad_settlement("a settlement to Pending", '{"status":"Pending"}', "/status"),
    bad_settlement("a settlement to a list", '{"status":["Failed"]}', "/status"),
    bad_settlement("a settlement to two statuses", '{"status":"Failed","status":"Completed"}', "/status"),
    bad_settlement("two reasons", '{"status":"Failed","reason":"a","reason":"b"}', "/reason"),
    bad_settlement("two reasons, one escaped", r'{"status":"Failed","reason":"a","\u0072eason":"b"}', "/reason"),
    bad_settlement("an empty reason", '{"status":"Failed","reason":""}', "/reason"),
    bad_settlement("a reason of 501 characters", f'{{"status":"Failed","reason":"{"a" * 501}"}}', "/reason"),
    bad_settlement("a reason with a line end", r'{"status":"Failed","reason":"a\nb"}', "/reason"),
    bad_settlement("a reason with NUL", r'{"status":"Failed","reason":"\u0000"}', "/reason"),
    bad_settlement("a reason that is a number", '{"status":"Failed","reason":5}', "/reason"),
    bad_settlement("a reason that is null", '{"status":"Failed","reason":null}', "/reason"),
    bad_settlement("an unknown field of a settlement", '{"status":"Failed","x":1}', "/x"),
]

TARGETS = [
    get("no id", "/orders/", 404, "no-such-resource"),
    get("an id with an encoded slash", "/orders/a%2Fb", 404, "order-not-found"),
    get("an id with an encoded slash in lower case", "/orders/a%2fstatus", 404, "order-not-found"),
    get("an id with NUL, encoded", "/orders/%00", 404, "order-not-found"),
    get("an id with a line end, encoded", "/orders/a%0d%0aX:y", 404, "order-not-found"),
    get("an id with a percent sign, encoded", "/orders/%2541", 404, "order-not-found"),
    get("an id that is no UTF-8", "/orders/%ff", 404, "order-not-found"),
    get("an id with a lone surrogate", "/orders/%ed%a0%80", 404, "order-not-found"),
    get("an id of 5,000 characters", "/orders/" + "a" * 5_000, 404, "order-not-found"),
    get("an id of two points", "/orders/..", 404, "order-not-found"),
    get("two points on the way", "/orders/../metrics", 404, "no-such-resource"),
    get("two points, encoded", "/%2e%2e/%2e%2e/etc/passwd", 404, "no-such-resource"),
    get("two points and a backslash", "/..\\..\\etc\\passwd", 404, "no-such-resource"),
    get("a path in another case", "/Orders", 404, "no-such-resource"),
    get("a limit below nothing", "/orders?limit=-1", 422, "invalid-parameter", "/query/limit"),
    get("a limit of nothing", "/orders?limit=0", 422, "invalid-parameter", "/query/limit"),
    get("a limit that is empty", "/orders?limit=", 422, "invalid-parameter", "/query/limit"),
    get("a limit without a value", "/orders?limit", 422, "invalid-parameter", "/query/limit"),
    get("a limit with an exponent", "/orders?limit=1e9", 422, "invalid-parameter", "/query/limit"),
    get("a limit of 1,001", "/orders?limit=1001", 422, "invalid-parameter", "/query/limit"),
    get("a limit of 5,000 digits", "/orders?limit=" + "9" * 5_000, 422, "invalid-parameter", "/query/limit"),
    get("a limit in digits of another script", "/orders?limit=%EF%BC%91", 422, "invalid-parameter", "/query/limit"),
    get("a limit with an underscore", "/orders?limit=1_0", 422, "invalid-parameter", "/query/limit"),
    get("a limit with a blank", "/orders?limit=+1", 422, "invalid-parameter", "/query/limit"),
    get("a limit given twice", "/orders?limit=1&limit=2", 422, "invalid-parameter", "/query/limit"),
    get("a limit given twice, once encoded", "/orders?limit=1&%6cimit=1", 422, "invalid-parameter", "/query/limit"),
    get("a cursor that is none", "/orders?cursor=x", 422, "invalid-parameter", "/query/cursor"),
    get("an empty cursor", "/orders?cursor=", 422, "invalid-parameter", "/query/cursor"),
    get("a cursor below nothing", "/orders?cursor=LTE", 422, "invalid-parameter", "/query/cursor"),
    get("a cursor that is filled up", "/orders?cursor=MQ==", 422, "invalid-parameter", "/query/cursor"),
    get("a cursor beyond ASCII", "/orders?cursor=%C3%B6", 422, "invalid-parameter", "/query/cursor"),
    get("a status that there is not", "/orders?status=completed", 422, "invalid-parameter", "/query/status"),
    get("a user that nobody can be", "/orders?user_id=a%20b", 422, "invalid-parameter", "/query/user_id"),
    get("a user of nothing", "/orders?user_id=", 422, "invalid-parameter", "/query/user_id"),
    get("a user with NUL", "/orders?user_id=%00", 422, "invalid-parameter", "/query/user_id"),
    get("a user of 129 characters", "/orders?user_id=" + "a" * 129, 422, "invalid-parameter", "/query/user_id"),
    get("a user that is SQL", "/orders?user_id='%20OR%201=1--", 422, "invalid-parameter", "/query/user_id"),
    get("an unknown parameter", "/orders?sort=asc", 422, "invalid-parameter", "/query/sort"),
    get("an unknown parameter in another case", "/orders?Limit=1", 422, "invalid-parameter", "/query/Limit"),
    get("an unknown parameter like a pointer", "/orders?a/b~c=1", 422, "invalid-parameter", "/query/a~1b~0c"),
    get("a parameter where there are none", "/metrics?x=1", 422, "invalid-parameter", "/query/x"),
    get("a query that is no UTF-8", "/orders?limit=%ff", 422, "invalid-parameter", "/query/limit"),
    get("a lone surrogate in the query", "/orders?limit=%ed%a0%80", 422, "invalid-parameter", "/query/limit"),
    get("a query with a question mark", "/orders??limit=1", 422, "invalid-parameter", "/query/?limit"),
    *(
        get(f"a wait of {wait[:9]!r}", f"/orders/o-1?wait={wait}", 422, "invalid-parameter", "/query/wait")
        for wait in ["", "-1", "31", "nan", "inf", "1e2", "1_0", "+1", "0x1", "1.", "%EF%BC%91", "9" * 5_000]
    ),
]

GROUPS = [REQUEST_LINES, HEADERS, LENGTHS, MEDIA_TYPES, BODIES, BULKS, SETTLEMENTS, TARGETS]
NAMES = ["request lines", "headers", "lengths", "media types", "bodies", "bulks", "settlements", "targets"]


class Response(NamedTuple):
    """One of the answers on a connection."""

    status: int
    headers: HTTPMessage
    body: bytes


def exchange(client: Client, case: Case) -> list[Response]:
    """Send a case, and the good request; read all answers until the server ends the connection."""
    with client.raw() as connection:
        try:
            connection.sendall(case.request if case.is_cut else case.request + GOOD)
            if case.is_cut:
                connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            assert not case.is_kept
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    answers = []
    while received:
        lines, _, received = received.partition(b"\r\n\r\n")
        status_line, _, fields = lines.partition(b"\r\n")
        headers = parse_headers(BytesIO(fields + b"\r\n\r\n"))
        length = 0 if case.request.startswith(b"HEAD") and not answers else int(headers.get("Content-Length", 0))
        answers.append(Response(int(status_line.split()[1]), headers, received[:length]))
        received = received[length:]
    client.check_raw(case.request, answers[0])
    return answers


def check(case: Case, answers: list[Response]) -> None:
    """The case is answered as it must be, and what follows too."""
    assert [answer.status for answer in answers] == [case.status] + [422] * case.is_kept
    first = answers[0]
    if case.kind and not case.request.startswith(b"HEAD"):
        problem = json.loads(first.body)
        assert first.headers["Content-Type"] == "application/problem+json"
        assert problem["type"] == f"urn:ordermill:problem:{case.kind}"
        assert problem["status"] == case.status
        assert problem["title"]
        assert problem["detail"]
        assert tuple(error["pointer"] for error in problem.get("errors", ())) == case.pointers
    assert first.headers["X-Request-ID"]
    if case.kind:
        assert first.headers["Cache-Control"] == "no-store"
        assert first.headers["X-Content-Type-Options"] == "nosniff"
        assert first.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    if not case.is_kept and b"HTTP/1.0" not in case.request:
        assert first.headers["Connection"] == "close"


def test_the_corpus_is_large_and_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for group in GROUPS for case in group]

    assert len(set(names)) == len(names) >= 250
    assert all(case.status < 500 for group in GROUPS for case in group)


@pytest.mark.parametrize("group", GROUPS, ids=NAMES)
def test_hostile_requests_are_answered_as_they_must_be_and_good_ones_after_them(
    start_server: Callable[..., Client],
    order: MakeOrder,
    wait_until: Callable[[Callable[[], object]], None],
    caplog: pytest.LogCaptureFixture,
    group: list[Case],
) -> None:
    client = start_server(max_body_bytes=MAX_BODY_BYTES)
    wrong = {}
    for case in group:
        try:
            check(case, exchange(client, case))
        except (AssertionError, OSError) as error:
            wrong[case.name] = str(error)

    assert not wrong
    assert client.post("/orders", order("good")).status == 201
    assert client.get("/orders/good?wait=30").json["status"] == "Completed"
    # Where an order is the database tells at once, and the recorder tells the metrics after its commit.
    wait_until(lambda: client.get("/metrics").json["total_orders_processed"] == 1)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]


@pytest.mark.parametrize("media_type", ["application/json", "application/x-ndjson"])
def test_hostile_orders_of_a_bulk_are_rejected_and_good_ones_among_them_accepted(
    client: Client, media_type: str
) -> None:
    hostile = {case.name: case.request.partition(b"\r\n\r\n")[2] for case in BODIES if case.status == 422}
    bodies = [body for body in hostile.values() if b"\n" not in body]
    good = [ORDER.replace("corpus", f"good-{number}").encode() for number in range(len(bodies))]
    lines = [line for pair in zip(bodies, good, strict=True) for line in pair]
    body = b"[" + b",".join(lines) + b"]" if media_type == "application/json" else b"\n".join(lines)

    results = client.post_text(body, "/orders/bulk", media_type).json["results"]

    assert [result["outcome"] for result in results] == ["rejected", "accepted"] * len(bodies)
    twice = [result["detail"] for result in results if "more than once" in result.get("detail", "")]
    assert len(twice) >= 10
    assert "/order_id: is given more than once" in twice


def test_lines_that_are_no_json_are_rejected_each_for_itself(client: Client) -> None:
    bodies = [case.request.partition(b"\r\n\r\n")[2] for case in BODIES if case.kind == "not-json"]
    bodies = [body for body in bodies if body.strip() and b"\n" not in body]

    reply = client.post_text(b"\n".join([*bodies, ORDER.encode()]), "/orders/bulk", "application/x-ndjson")

    assert (reply.json["accepted"], reply.json["rejected"]) == (1, len(bodies))
