"""Entity tags, compression and preferences, as the headers have them."""

from __future__ import annotations

import gzip

import pytest

from ordermill.http.wire.conditional import compress, matches, preferred_wait


@pytest.mark.parametrize("header", ['W/"a"', '"a"', '"b", W/"a"', '  "b" ,"a" ', "*", " * "])
def test_a_tag_that_the_client_has_matches(header: str) -> None:
    assert matches(header, 'W/"a"')


@pytest.mark.parametrize("header", ["", 'W/"b"', "a", '"aa"', 'w/"a"', '"*"', ","])
def test_another_tag_does_not(header: str) -> None:
    assert not matches(header, 'W/"a"')


@pytest.mark.parametrize(
    "header", ["gzip", "GZIP", "x-gzip", "br, gzip;q=0.5", "*", "*;q=0.1", "gzip ; q=1.0", "identity;q=0, *"]
)
def test_a_client_that_takes_gzip_gets_it(header: str) -> None:
    packed = compress(b"orders " * 1000, header)

    assert packed is not None
    assert len(packed) < 1000
    assert gzip.decompress(packed) == b"orders " * 1000


@pytest.mark.parametrize("header", ["", "identity", "br", "gzip;q=0", "gzip;q=0.000, *", "*;q=0", "gzip;q=much"])
def test_another_client_does_not(header: str) -> None:
    assert compress(b"orders " * 1000, header) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=10", 10),
        ('Wait="10"', 10),
        ("respond-async, wait = 5", 5),
        ("wait=0;foo=bar", 0),
        ("wait=2, wait=3", 2),
        ("respond-async", None),
        ("wait", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait=soon, wait=3", 3),
        ("wait=\u0663", None),
        ("wait=" + "9" * 5000, None),
    ],
)
def test_a_preference_to_wait_is_read_and_nonsense_ignored(header: str, seconds: int | None) -> None:
    assert preferred_wait(header) == seconds
    assert preferred_wait("") is None
