"""The reason that somebody gives for moving an order."""

from __future__ import annotations

import re

from .errors import FieldFault
from .text import UNPRINTABLE

MAX_REASON = 500
"""Characters of a reason at the most."""
REASON = re.compile(rf"[^{UNPRINTABLE}]{{1,{MAX_REASON}}}")
"""A reason, as JSON can hold it: without what is not meant to be seen."""
_HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")
REASON_RULE = f"a string of 1 to {MAX_REASON} characters, none of them a control or a mark of direction"


def reason_faults(reason: object) -> list[FieldFault]:
    """What is wrong with a reason."""
    # Python's strings, unlike JSON's, may have halves of characters, which cannot be stored.
    if isinstance(reason, str) and REASON.fullmatch(reason) and not _HALF_CHARACTER.search(reason):
        return []
    return [FieldFault("/reason", f"must be {REASON_RULE}")]
