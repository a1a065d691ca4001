"""Fields of a header that are lists with parameters and weights: one way to read all of them.

Each character is looked at a bounded number of times, whatever is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

MAX_ELEMENTS = 200
"""Elements and parameters of a field. No browser and no scraper sends a tenth of that."""

_QUOTED = r'"(?:[^"\\]|\\.)*"?'
_ELEMENT = re.compile(rf'(?:[^",]+|{_QUOTED})+')
_PARAMETER = re.compile(rf'(?:[^";]+|{_QUOTED})+')
_ESCAPE = re.compile(r"\\(.)")
_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


class Element(NamedTuple):
    """One of the things that a field lists."""

    value: str
    """As it was written, without blanks around it."""
    parameters: Mapping[str, str]
    """By their names in small letters; without the quotes where they had some."""

    @property
    def weight(self) -> float:
        """How much the client wants it, from 0 to 1 (RFC 9110 §12.4.2); 0 where that is no number."""
        given = self.parameters.get("q", "1")
        return float(given) if _WEIGHT.fullmatch(given) else 0.0


def read_list(field: str) -> list[Element]:
    """What a field lists, in the sequence that it was written in.

    Args:
        field: its value; what is beyond `MAX_ELEMENTS` is left out.
    """
    return [_read_element(text) for text in islice(_parts(_ELEMENT.finditer(field)), MAX_ELEMENTS)]


def by_weight(field: str) -> list[Element]:
    """What a field lists, without what the client does not want, and what it wants most first."""
    wanted = [element for element in read_list(field) if element.weight > 0]
    return sorted(wanted, key=lambda element: -element.weight)


def unquote(text: str) -> str:
    """A string without its quotes; any other text as it is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    return _ESCAPE.sub(r"\1", text[1:-1])


def _read_element(text: str) -> Element:
    found = _PARAMETER.match(text)
    value = "" if found is None else found[0]
    parameters = islice(_parts(_PARAMETER.finditer(text, len(value))), MAX_ELEMENTS)
    return Element(value.strip(" \t"), dict(map(_read_parameter, parameters)))


def _read_parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), unquote(value.strip())


def _parts(matches: Iterator[re.Match[str]]) -> Iterator[str]:
    return (part for match in matches if (part := match[0].strip(" \t")))
