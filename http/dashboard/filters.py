"""Filters: which orders somebody means, as the fields of a form have it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple, Self
from urllib.parse import urlencode

from ...engine import OrderFilter, OrderStatus
from ..wire.errors import InvalidParameter
from .sign_in import Visitor


class Filters(NamedTuple):
    """The fields as they were sent; empty where there is no such condition."""

    status: str = ""
    user_id: str = ""
    queue: str = ""
    order_id_prefix: str = ""
    error: str = ""
    created_from: str = ""
    created_to: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str], visitor: Visitor) -> Self:
        """What a query asks for, of what its visitor may see.

        Args:
            given: its parameters.
            visitor: who looks.
        """
        filters = cls(**{name: given.get(name, "").strip() for name in cls._fields})
        return filters if visitor.sees_all else filters._replace(user_id=visitor.principal.user_id or "")

    @property
    def wanted(self) -> OrderFilter:
        """The orders that are meant.

        Raises:
            InvalidParameter: there is no such status, or a time is none.
        """
        if self.status and self.status not in tuple(OrderStatus):
            raise InvalidParameter("status", f"must be one of {', '.join(OrderStatus)}")
        return OrderFilter(
            status=OrderStatus(self.status) if self.status else None,
            user_id=self.user_id or None,
            queue=self.queue or None,
            order_id_prefix=self.order_id_prefix or None,
            error=self.error or None,
            created_from_us=_time("created_from", self.created_from),
            created_to_us=_time("created_to", self.created_to),
        )

    @property
    def query(self) -> str:
        """The same as the query of an address."""
        return urlencode({name: value for name, value in self._asdict().items() if value})


def _time(name: str, text: str) -> int | None:
    # As a browser's field for a time writes it; without a zone it is UTC, as all times on the pages are.
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidParameter(name, "must be a time, such as 2026-11-27T06:30") from None
    return round((time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp() * 1e6)
