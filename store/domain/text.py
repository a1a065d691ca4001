"""Text of others, fit for a line: what would move a cursor, end the line or turn letters round becomes an escape."""

from __future__ import annotations

UNPRINTABLE = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
"""For a character class of a regular expression: controls (C0, C1), separators of lines and paragraphs, and marks of
direction (UAX #9), by which one text may look like another (CVE-2021-42574)."""

_UNPRINTABLE = [*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
_UNPRINTABLE += range(0xD800, 0xE000)  # surrogates alone, which no encoding has
_ESCAPES = {number: repr(chr(number))[1:-1] for number in _UNPRINTABLE}


def in_one_line(text: str) -> str:
    r"""A text with an escape of Python's, such as `\n` or `\x1b`, for each character that is not meant to be seen."""
    return text if text.isprintable() else text.translate(_ESCAPES)


def in_own_lines(text: str) -> str:
    """The same where lines are kept: all but the first are indented, so that none is taken for a line of its own."""
    return "\n    ".join(map(in_one_line, text.split("\n")))
