"""Who calls, what a route asks of its callers, and the authenticator that compares the two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..wire.errors import KeyNotEnough, KeyRequired, KeysUnreadable
from .api_keys import KeyEntry, Role
from .keyring import Keyring
from .sessions import Sessions, session_of


class Principal(NamedTuple):
    """Who sent a request."""

    roles: frozenset[Role]
    user_id: str | None = None
    """The only user whose orders there are for this caller; None where there are all."""
    key_id: str | None = None
    """The key that was sent; None where none is needed."""
    name: str | None = None
    """What the history of orders calls the caller: what people call the key, or else its id; None without a key."""

    @property
    def may_read(self) -> bool:
        """Whether it may know where orders are."""
        return not READING.roles.isdisjoint(self.roles)

    def may_see(self, user_id: str) -> bool:
        """Whether this user's orders are there for this caller."""
        return self.user_id is None or self.user_id == user_id


ANYBODY = Principal(frozenset(Role))
"""Whoever calls a server without keys."""


def principal_of(entry: KeyEntry) -> Principal:
    """Who calls with this key."""
    return Principal(frozenset(entry.roles), entry.user, entry.id, entry.name or entry.id)


class Permission(NamedTuple):
    """What a route asks of its callers."""

    roles: frozenset[Role] = frozenset()
    """The caller must have one of these; where this is empty, anybody may call."""
    of_all_users: bool = False
    """Whether a key that is bound to one user is not enough."""

    @property
    def words(self) -> str:
        """The roles, in words."""
        return " or ".join(sorted(self.roles))


PUBLIC = Permission()
SUBMITTING = Permission(frozenset({Role.SUBMIT, Role.OPERATE}))
READING = Permission(frozenset({Role.READ, Role.OPERATE}))
OPERATING = Permission(frozenset({Role.OPERATE}))
STEERING = Permission(frozenset({Role.OPERATE}), of_all_users=True)
OVERVIEW = Permission(frozenset({Role.READ, Role.OPERATE}), of_all_users=True)


class Authenticator:
    """Tells who calls, and lets nobody do what its key is not good for.

    Args:
        keyring: the keys; None where none is needed.
        sessions: of those who signed in with a key; None where nobody can.
    """

    def __init__(self, keyring: Keyring | None, sessions: Sessions | None = None) -> None:
        self._keyring = keyring
        self._sessions = sessions
        self.needs_keys = keyring is not None
        """Whether there are keys at all."""

    def admit(self, permission: Permission, fields: Mapping[str, str], *, is_safe: bool = False) -> Principal:
        """Who calls.

        Args:
            permission: what the route asks.
            fields: the header of the request.
            is_safe: whether the request only reads. The pages of this server may then ask in the name of whoever has
                signed in, as the browser does it by itself.

        Raises:
            KeyRequired: no key was sent, or one that is not valid.
            KeyNotEnough: the key is good for less than that.
            KeysUnreadable: nobody knows which keys are good.
        """
        if self._keyring is None or not permission.roles:
            return ANYBODY
        scheme, _, key = fields.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            entry = self._keyring.find(key.strip())
        elif is_safe and self._sessions is not None and (session := session_of(fields.get("Cookie", ""))):
            entry = self._sessions.find(session)
        else:
            raise KeyRequired
        if entry is None:
            raise key_is_none()
        if not permission.roles.intersection(entry.roles):
            raise KeyNotEnough(f"This needs a key with the role {permission.words}.")
        if permission.of_all_users and entry.user is not None:
            raise KeyNotEnough("This needs a key that is not bound to a user.")
        return principal_of(entry)

    def still_admits(self, principal: Principal) -> bool:
        """Whether a caller who was let in would be let in as the same now: whether its key is good as it was."""
        if self._keyring is None or principal.key_id is None:
            return True
        try:
            entry = self._keyring.entry(principal.key_id)
        except KeysUnreadable:
            return False
        return entry is not None and principal_of(entry) == principal

    def trouble(self) -> tuple[str, ...]:
        """What is wrong with the keys, in words for people; empty while all is well."""
        return () if self._keyring is None else self._keyring.trouble()


def key_is_none() -> KeyRequired:
    """The error for a key that is none, or none any more."""
    return KeyRequired("The key is none of this server's, or was revoked.", "invalid_token")
