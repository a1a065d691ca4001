"""Visitor: who looks at the pages."""

from __future__ import annotations

from typing import NamedTuple

from ..security.access import OPERATING, READING, SUBMITTING, Permission, Principal


class Visitor(NamedTuple):
    """Who looks at the pages, and what they may do there."""

    principal: Principal
    token: str
    """What each form of theirs has to bring along, so that no other site can send it in their name."""
    signed_in: bool = False
    """Whether they came with a key, and can sign out."""

    @property
    def name(self) -> str:
        """What the history of orders calls them; empty without a key."""
        return self.principal.name or ""

    @property
    def may_read(self) -> bool:
        """Whether orders are shown."""
        return self._may(READING)

    @property
    def may_cancel(self) -> bool:
        """Whether they may cancel an order."""
        return self._may(SUBMITTING)

    @property
    def may_operate(self) -> bool:
        """Whether they may retry and settle orders, and steer the engine."""
        return self._may(OPERATING)

    @property
    def sees_all(self) -> bool:
        """Whether they see the orders of all users, and with them how the whole is doing."""
        return self.principal.user_id is None

    def _may(self, permission: Permission) -> bool:
        return bool(permission.roles & self.principal.roles)
