"""Failures: what orders have failed with, grouped by error."""

from __future__ import annotations

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from .section import PAGE, Section


class Failures(Section):
    """The groups of failures."""

    path = "failures/"

    @cherrypy.expose  # type: ignore[untyped-decorator]  # CherryPy has no types
    def index(self) -> bytes:
        """The error of most orders first."""
        return self.page("failures.html", self.overseer(), groups=self.engine.failures(limit=PAGE))
