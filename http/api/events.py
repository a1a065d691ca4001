"""The call that watches what happens to the orders."""

from __future__ import annotations

from msgspec import UNSET

from ...store.domain.event import EventFilter
from ..framework.request import Request
from ..framework.response import Response
from ..wire.errors import KeyNotEnough, MalformedRequest
from .event_feed import EventFeed
from .fields import EVENT_ID
from .parameters import EVENT_ID_RULE, EventHeaders, EventQuery

EVENT_STREAM = "text/event-stream"


class EventCalls:
    """Watching.

    Args:
        feed: reads the log for all who watch.
    """

    def __init__(self, feed: EventFeed) -> None:
        self._feed = feed

    def follow(self, request: Request[EventQuery, EventHeaders, None]) -> Response:
        """What happens to the orders, as it happens: Server-Sent Events."""
        query, principal = request.query, request.principal
        user_id = query.user_id or principal.user_id
        if user_id is not None and not principal.may_see(user_id):
            raise KeyNotEnough(f"This key is good for the orders of user {principal.user_id!r} only.")
        given = request.headers.last_event_id
        after = query.after if given is UNSET else _checked(given)
        watcher = self._feed.watch(
            None if after is UNSET else int(after),
            EventFilter(user_id, query.status or None, query.order_id or None),
            wants_metrics=principal.user_id is None,
            timeout=None if query.timeout is UNSET else query.timeout,
            caller=principal.key_id,
        )
        return Response(watcher, content_type=EVENT_STREAM)


def _checked(given: str) -> str:
    if EVENT_ID.fullmatch(given) is None:
        raise MalformedRequest(f"Last-Event-ID {EVENT_ID_RULE}.", "Last-Event-ID")
    return given
