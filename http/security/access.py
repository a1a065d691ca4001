"""Who calls, what a route asks of its callers, and the authenticator that compares the two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..wire.errors import KeyNotEnough, KeyRequired
from .api_keys import Role
from .keyring import Keyring


class Principal(NamedTuple):
    """Who sent a request."""

    roles: frozenset[Role]
    user_id: str | None = None
    """The only user whose orders there are for this caller; None where there are all."""
    key_id: str | None = None
    """The key that was sent; None where none is needed."""
    name: str | None = None
    """What the history of orders calls the caller: what people call the key, or else its id; None without a key."""

    def may_see(self, user_id: str) -> bool:
        """Whether this user's orders are there for this caller."""
        return self.user_id is None or self.user_id == user_id


ANYBODY = Principal(frozenset(Role))
"""Whoever calls a server without keys."""


class Permission(NamedTuple):
    """What a route asks of its callers."""

    roles: frozenset[Role] = frozenset()
    """One of these; whoever calls, where there is none."""
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
    """

    def __init__(self, keyring: Keyring | None) -> None:
        self._keyring = keyring

    @property
    def needs_keys(self) -> bool:
        """Whether there are keys at all."""
        return self._keyring is not None

    def admit(self, permission: Permission, fields: Mapping[str, str]) -> Principal:
        """Who calls.

        Args:
            permission: what the route asks.
            fields: the header of the request.

        Raises:
            KeyRequired: no key was sent, or one that is none.
            KeyNotEnough: the key is good for less than that.
        """
        if self._keyring is None or not permission.roles:
            return ANYBODY
        scheme, _, key = fields.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise KeyRequired
        entry = self._keyring.find(key.strip())
        if entry is None:
            raise KeyRequired("The key is none of this server's, or was revoked.", "invalid_token")
        if not permission.roles.intersection(entry.roles):
            raise KeyNotEnough(f"This needs a key with the role {permission.words}.")
        if permission.of_all_users and entry.user is not None:
            raise KeyNotEnough("This needs a key that is not bound to a user.")
        return Principal(frozenset(entry.roles), entry.user, entry.id, entry.name or entry.id)

    def trouble(self) -> tuple[str, ...]:
        """What is wrong with the keys, in words for people; empty while all is well."""
        return () if self._keyring is None else self._keyring.trouble()
