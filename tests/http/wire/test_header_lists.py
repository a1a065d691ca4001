"""Lists in headers, however they are written."""

from __future__ import annotations

import time

import pytest

from ordermill.http.wire.conditional import compress, matches, preferred_wait
from ordermill.http.wire.header_lists import MAX_ELEMENTS, by_weight, read_list, unquote

WORST = (',"', ",", '"', ";", ';"', "a=", "=", 'a;b="', '\\\\"', "W/", " ", "\t,", "q=0;", "gzip,", "\xff")


def test_elements_and_their_parameters_are_told_apart() -> None:
    assert read_list(' text/plain ; version="1,0;0" ; Q=0.5 ,, "a,b";x, *') == [
        ("text/plain", {"version": "1,0;0", "q": "0.5"}),
        ('"a,b"', {"x": ""}),
        ("*", {}),
    ]


@pytest.mark.parametrize("field", ["", ",", " , ,\t"])
def test_nothing_is_an_empty_list(field: str) -> None:
    assert read_list(field) == []


@pytest.mark.parametrize(
    ("field", "value", "parameters"),
    [
        ('"a,b', '"a,b', {}),
        ('a;b="c,d', "a", {"b": '"c,d'}),
        ('"a\\",b"', '"a\\",b"', {}),
        ("a\\", "a\\", {}),
        (";q=1", "", {"q": "1"}),
    ],
)
def test_what_is_not_closed_goes_on_to_the_end(field: str, value: str, parameters: dict[str, str]) -> None:
    assert read_list(field) == [(value, parameters)]


def test_what_is_wanted_most_comes_first_and_what_is_not_wanted_not_at_all() -> None:
    field = "a;q=0.1, b, c;q=0, d;q=0.5, e;q=2, f;q=, g;q=nan, h;q=1.000, i;q=-1, j;q=1e-3"

    assert [element.value for element in by_weight(field)] == ["b", "h", "d", "a"]


@pytest.mark.parametrize(
    ("text", "expected"), [('"a"', "a"), ('"a\\"\\\\b"', 'a"\\b'), ("a", "a"), ('"', '"'), ('"a', '"a'), ('""', "")]
)
def test_quotes_are_taken_off(text: str, expected: str) -> None:
    assert unquote(text) == expected


def test_no_more_is_read_than_anybody_sends() -> None:
    assert len(read_list("a," * 10_000)) == MAX_ELEMENTS
    assert len(read_list("a" + "".join(f";b{number}" for number in range(10_000)))[0].parameters) == MAX_ELEMENTS


@pytest.mark.parametrize("run", WORST)
def test_whatever_is_sent_is_read_at_once(run: str) -> None:
    field = run * (64 * 1024 // len(run))
    began = time.thread_time()

    by_weight(field)
    matches(field, 'W/"a"')
    preferred_wait(field)
    compress(b"", field)

    assert time.thread_time() - began < 2  # what is quadratic takes minutes
