"""What schemathesis has to be told about the API."""

from __future__ import annotations

import itertools
import re
from typing import Any

import schemathesis

from ordermill.http.api.parameters import MAX_WAIT_SECONDS
from ordermill.http.wire.idempotency_key import FORM

# NDJSON is a string to it, which goes over the wire as it is.
schemathesis.serializer.alias("application/x-ndjson", "text/plain")

_HEADER = "Idempotency-Key"
_LONG_WAIT = re.compile(r"wait=[0-9]+", re.IGNORECASE)
_numbers = itertools.count(1)


@schemathesis.hook
def before_call(_: schemathesis.HookContext, case: schemathesis.Case, __: dict[str, Any]) -> None:
    """Have what happens end with what has happened, and wait a moment only: orders may not be begun before a time that
    nobody lives to see. Give each request a key of its own: the same key with another body is refused, as it must be.
    Whole numbers of metadata fit into 64 bits, which JSON Schema cannot say.
    """
    if isinstance(case.body, dict) and isinstance(case.body.get("metadata"), dict):
        case.body = {**case.body, "metadata": _fitting(case.body["metadata"])}
    if case.path == "/events":
        case.query = {**(case.query or {}), "timeout": 0}
    wait = (case.query or {}).get("wait")
    if isinstance(wait, int | float) and 1 < wait <= MAX_WAIT_SECONDS:
        case.query["wait"] = 1
    for name in [name for name in case.headers or () if name.lower() == "prefer"]:
        case.headers[name] = _LONG_WAIT.sub("wait=1", case.headers[name])
    key = (case.headers or {}).get(_HEADER)
    if key and FORM.fullmatch(key):
        fresh = f"{key[0]}{next(_numbers):x}.{key[1:]}"
        case.headers[_HEADER] = fresh if FORM.fullmatch(fresh) else f'"{next(_numbers):x}"'


def _fitting(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _fitting(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_fitting(member) for member in value]
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value % 2**63 if is_whole else value
