"""Sessions: who has signed in to the pages with a key, so that the browser need not keep the key itself."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from functools import cached_property
from hashlib import sha256

from .api_keys import KeyEntry
from .keyring import Keyring

COOKIE = "ordermill_session"
LASTING_SECONDS = 12 * 3_600


class Sessions:
    """Makes and reads the cookies of those who signed in.

    Nothing is kept of a session. A cookie names its key and its end, and is signed with a secret of the database and
    with the hash of the key: any process in front of that database can read it, a restart ends no session, and a key
    that is revoked ends all of its own.

    Args:
        keyring: the keys.
        secret: gives the secret of the database; called with the first session.
        now: seconds since 1970-01-01T00:00:00Z.
    """

    def __init__(self, keyring: Keyring, secret: Callable[[], bytes], now: Callable[[], float] = time.time) -> None:
        self._keyring = keyring
        self._read_secret = secret
        self._now = now

    def begin(self, key: str) -> str | None:
        """The cookie's value for whoever has this key; None where it is not a key of this server."""
        entry = self._keyring.find(key)
        if entry is None:
            return None
        end = f"{int(self._now()) + LASTING_SECONDS}"
        return f"{entry.id}.{end}.{self._sign('session', entry, end)}"

    def find(self, value: str) -> KeyEntry | None:
        """The key that a session began with; None where there is no such session, or it is over."""
        key_id, _, rest = value.partition(".")
        end, _, signature = rest.partition(".")
        entry = self._keyring.entry(key_id)
        if entry is None or not (end.isascii() and end.isdecimal() and len(end) < 20 and int(end) > self._now()):
            return None
        is_ours = hmac.compare_digest(signature.encode(), self._sign("session", entry, end).encode())
        return entry if is_ours else None

    def form_token(self, value: str) -> str:
        """What the forms of a session bring along, which no other site can know.

        Args:
            value: of the session's cookie.
        """
        return hmac.new(self._secret, f"form {value}".encode(), sha256).hexdigest()

    def _sign(self, purpose: str, entry: KeyEntry, end: str) -> str:
        text = f"{purpose} {entry.id} {end} {entry.sha256}"
        return hmac.new(self._secret, text.encode(), sha256).hexdigest()

    @cached_property
    def _secret(self) -> bytes:
        return self._read_secret()


def session_of(cookies: str) -> str:
    """The value of the session's cookie; empty where there is none.

    Args:
        cookies: the field `Cookie` of a request.
    """
    # Not by `http.cookies`, which takes seconds for some fields before Python 3.11.10 and 3.12.6 (CVE-2024-7592).
    for cookie in cookies.split(";"):
        name, _, value = cookie.partition("=")
        if name.strip() == COOKIE:
            return value.strip()
    return ""


def set_cookie(value: str, *, is_secure: bool) -> str:
    """The field `Set-Cookie` that begins a session, or ends it where the value is empty.

    Args:
        value: of the cookie.
        is_secure: whether the server speaks TLS: the browser sends the cookie over nothing else then.
    """
    lasting = LASTING_SECONDS if value else 0
    return f"{COOKIE}={value}; Path=/; Max-Age={lasting}; HttpOnly; SameSite=Strict{'; Secure' if is_secure else ''}"
