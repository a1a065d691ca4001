"""Rehearsal: a form for what might happen, and what is likely to become of the backlog then."""

from __future__ import annotations

import json

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from ...engine import Outage, Rehearsal, Scenario
from .section import Section, number

_MINUTES = "10"
_FIELDS = ("processors", "arrivals", "pause", "error", "minutes")


class Rehearsals(Section):
    """What if."""

    path = "rehearsal/"

    @cherrypy.expose  # type: ignore[untyped-decorator]  # CherryPy has no types
    def index(self) -> bytes:
        """The form."""
        visitor = self.overseer()
        return self.page("rehearsal.html", visitor, given=dict.fromkeys(_FIELDS, ""), told=None, points="")

    @cherrypy.expose  # type: ignore[untyped-decorator]  # likewise
    def run(
        self,
        token: str = "",
        processors: str = "",
        arrivals: str = "",
        pause: str = "",
        error: str = "",
        minutes: str = "",
    ) -> bytes:
        """The form, and what came of it."""
        visitor = self.overseer()
        self.check_form(visitor, token)
        given = dict(zip(_FIELDS, (processors, arrivals, pause, error, minutes), strict=True))
        scenario = Scenario(
            processors=int(number("processors", processors)) if processors.strip() else None,
            arrivals=number("arrivals", arrivals) if arrivals.strip() else 1.0,
            pause=pause.strip() or None,
            fail=Outage(error.strip(), 60 * number("minutes", minutes.strip() or _MINUTES)) if error.strip() else None,
        )
        told = self.engine.begin_rehearsal(scenario).get()
        return self.page("rehearsal.html", visitor, given=given, told=told, points=_points(told))


def _points(told: Rehearsal) -> str:
    # As the chart takes them: the time, and of the backlog what is expected, low and high.
    return json.dumps([(told.at_us / 1e6 + point.seconds, *point.backlog) for point in told.curve])
