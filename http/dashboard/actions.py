"""Actions: what is done to all orders that a filter means, looked at beforehand, and how far it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from ...engine import Rehearsal, RehearsalFailed, RehearsalsBusy
from ..wire.errors import InvalidParameter, NoSuchResource
from .filters import Filters
from .section import PAGE, Place, Section, go_to
from .sign_in import Visitor


class _Choice(NamedTuple):
    """One of the things that can be done."""

    action: str
    settled: str | None
    words: str


_CHOICES = {
    "retry": _Choice("retry", None, "Retry"),
    "cancel": _Choice("cancel", None, "Cancel"),
    "completed": _Choice("settle", "Completed", "Settle as Completed"),
    "failed": _Choice("settle", "Failed", "Settle as Failed"),
}


class Actions(Section):
    """Bulk actions."""

    path = "actions/"

    @cherrypy.expose  # type: ignore[untyped-decorator]  # CherryPy has no types
    def index(self, after: str = "") -> bytes:
        """All of them, newest first."""
        visitor = self.overseer()
        place = Place.of(after)
        found = self.engine.actions(before=place.before, limit=PAGE + 1)
        return self.page(
            "actions.html",
            visitor,
            actions=found[:PAGE],
            **place.pager("", found),
        )

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def new(self, choice: str = "retry", **given: str) -> bytes:
        """What an action would do."""
        return self._preview(self.overseer(), choice, given)

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def rehearse(self, choice: str = "", token: str = "", **given: str) -> bytes:
        """The same, and what is likely to become of the backlog with it and without."""
        visitor = self.overseer()
        self.check_form(visitor, token)
        wanted, chosen = Filters.of(given, visitor).wanted, _choice(choice)
        try:
            told = self.engine.begin_rehearse_action(chosen.action, wanted, chosen.settled).get()
        except (RehearsalsBusy, RehearsalFailed) as error:
            return self._preview(visitor, choice, given, trouble=str(error))
        return self._preview(visitor, choice, given, told=told, points=_points(told))

    def _preview(self, visitor: Visitor, choice: str, given: Mapping[str, str], **rehearsed: object) -> bytes:
        filters, chosen = Filters.of(given, visitor), _choice(choice)
        preview = self.engine.preview_action(chosen.action, filters.wanted, chosen.settled)
        values = {"told": None, "points": "", "trouble": None, **rehearsed}
        return self.page(
            "action_new.html", visitor, choice=choice, choices=_CHOICES, filters=filters, preview=preview, **values
        )

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def start(self, choice: str = "", token: str = "", reason: str = "", **given: str) -> bytes:
        """Begin one."""
        cause = self.steering(token)
        wanted, chosen = Filters.of(given, self.overseer()).wanted, _choice(choice)
        action = self.engine.begin_action(chosen.action, wanted, reason.strip() or None, chosen.settled, cause).get()
        go_to(f"/actions/{action.id}")

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def default(self, action_id: str, step: str = "", token: str = "") -> bytes:
        """One action, or its end."""
        if not (action_id.isascii() and action_id.isdecimal() and len(action_id) < 19) or step not in ("", "stop"):
            raise NoSuchResource
        number = int(action_id)
        if step:
            cause = self.steering(token)
            self.engine.begin_stop_action(number, None, cause).get()
            go_to(f"/actions/{number}")
        return self.page("action.html", self.overseer(), action=self.engine.action(number))


def _points(told: Rehearsal) -> str:
    # As the chart takes them: the time, and of the backlog what is expected with the action and without.
    without = () if told.without is None else told.without.curve
    return json.dumps(
        [
            (told.at_us / 1e6 + point.seconds, point.backlog.expected, other.backlog.expected)
            for point, other in zip(told.curve, without, strict=True)
        ]
    )


def _choice(name: str) -> _Choice:
    if name not in _CHOICES:
        raise InvalidParameter("choice", f"must be one of {', '.join(_CHOICES)}")
    return _CHOICES[name]
