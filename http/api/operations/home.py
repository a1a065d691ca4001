"""Asking for what there is."""

from __future__ import annotations

from http import HTTPStatus

from ...framework.route import Operation, Result, Tag
from ..home import Links
from .common import ok

READ = Operation(
    "readLinks",
    Tag.OBSERVERS,
    results=(
        ok("Where to go on.", Links, Links()),
        Result(HTTPStatus.SEE_OTHER, "For a browser: the pages for operators.", headers={"Location": True}),
    ),
)
