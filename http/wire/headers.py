"""Headers of answers that are the same all over the place: the media type, and what others may do with an answer."""

from __future__ import annotations

JSON = "application/json"

Headers = tuple[tuple[str, str], ...]

NO_PAGE: Headers = (
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
)
"""Nobody is meant to look at JSON as at a page, still less inside of another one."""
FORGET: Headers = (("Cache-Control", "no-store"), *NO_PAGE)
"""The policy of answers that nobody keeps."""
ASK_AGAIN: Headers = (("Cache-Control", "private, no-cache"), *NO_PAGE)
"""The policy of answers that the client may keep, and has to ask about before it uses them again."""
