"""Nothing of what others have written moves a cursor, begins a line, or makes a text look like another one."""

from __future__ import annotations

import re
import unicodedata

import pytest

from ordermill.store.domain.text import UNPRINTABLE, in_one_line, in_own_lines

DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
MARKS = {"\u061c", "\u200e", "\u200f"}


def must_be_escaped(character: str) -> bool:
    """Whether Unicode says that it is a control, ends a line, or changes the direction of others."""
    kind = unicodedata.category(character)
    return kind in {"Cc", "Zl", "Zp"} or unicodedata.bidirectional(character) in DIRECTIONS or character in MARKS


def test_controls_ends_of_lines_and_marks_of_direction_are_escaped_and_nothing_else() -> None:
    characters = [chr(number) for number in (*range(0xD800), *range(0xE000, 0x10000), *range(0xE0000, 0xE0200))]
    hidden = [character for character in characters if must_be_escaped(character)]

    escaped = [character for character in characters if in_one_line(character) != character]

    assert escaped == re.findall(f"[{UNPRINTABLE}]", "".join(characters)) == hidden
    assert all(in_one_line(character).isascii() and in_one_line(character).isprintable() for character in escaped)


def test_half_a_character_is_escaped_so_that_every_encoding_has_the_line() -> None:
    halves = "".join(map(chr, (0xD800, 0xDBFF, 0xDC00, 0xDFFF)))

    assert in_one_line(halves) == r"\ud800\udbff\udc00\udfff"


@pytest.mark.parametrize("text", ["", "plain", "Größe 😀", "שלום", "a\\b", "e\u0301", "\u00a0", "👩\u200d🔧"])
def test_what_people_write_stays(text: str) -> None:
    assert in_one_line(text) == in_own_lines(text) == text


def test_lines_that_are_kept_do_not_pass_for_others() -> None:
    assert in_own_lines("a\x1b[2K\nb\r\n\nc\u2028d") == "a\\x1b[2K\n    b\\r\n    \n    c\\u2028d"
