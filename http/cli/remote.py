"""A call to a running server, for the commands of an operator."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from ...store.errors import OrdermillError
from ..call import JSON

_TIMEOUT_SECONDS = 30


class ServerRefused(OrdermillError):
    """The server cannot be reached, or does not do what was asked; the message has its reason."""


def move_order(
    url: str, order_id: str, action: str, body: Mapping[str, str] = {}, key: str | None = None
) -> dict[str, Any]:
    """Have a server cancel, retry or settle an order.

    Args:
        url: the server's address.
        order_id: the order.
        action: the last part of the call's path.
        body: what to send along.
        key: the server's key to send along, if it needs one.

    Returns:
        The order as it is afterwards.

    Raises:
        ServerRefused: see there.
    """
    try:
        request = urllib.request.Request(
            f"{url.rstrip('/')}/orders/{quote(order_id, safe='')}/{action}",
            data=msgspec.json.encode(body),
            headers={"Content-Type": JSON, **authorization(key)},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            return msgspec.json.decode(answer.read(), type=dict[str, Any])
    except urllib.error.HTTPError as error:
        with error:
            raise ServerRefused(_detail(error.read()) or f"{url} answers {error.code} {error.reason}.") from None
    except (OSError, ValueError) as error:  # ValueError: an address that is none, an answer that is no JSON
        raise ServerRefused(f"Cannot ask {url}: {error}. Is it running? Start it with `ordermill serve`.") from error


def authorization(key: str | None) -> dict[str, str]:
    """The header that a key is sent in; none without one."""
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def _detail(body: bytes) -> str | None:
    try:
        problem = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return problem.get("detail") if isinstance(problem, dict) else None
