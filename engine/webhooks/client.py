"""The client: sends one signed request to a webhook, and says how that went."""

from __future__ import annotations

import ssl
import time
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp

from ...store.domain.text import in_one_line
from ...store.domain.webhook import Attempt, DueDelivery, Target
from .addresses import CheckedResolver, check_host
from .signed_request import signed_request

_TIMEOUT_SECONDS = 20.0
_KEPT_BYTES = 500


class Sent(NamedTuple):
    """How an attempt went."""

    attempt: Attempt
    retry_after: str | None
    """What the receiver says about another attempt, as it wrote it."""


class WebhookClient:
    """Sends requests, from a loop. Redirects are not followed, and no proxy, cookie or netrc file is heeded.

    Args:
        allow_private: whether it connects to addresses that are not public.
    """

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._resolver = CheckedResolver(allow_private=allow_private)
        self._session = aiohttp.ClientSession(
            # It connects to what the resolver gives, while the certificate and the Host are those of the URL.
            connector=aiohttp.TCPConnector(
                resolver=self._resolver, limit=0, use_dns_cache=False, ssl=ssl.create_default_context()
            ),
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    async def send(self, target: Target, due: DueDelivery, at_us: int) -> Sent:
        """Send an event. Whatever goes wrong is in the answer.

        Args:
            target: where to.
            due: the event.
            at_us: the time, microseconds since 1970-01-01T00:00:00Z.
        """
        began = time.monotonic()
        status = error = answer = retry_after = None
        try:
            check_host(urlsplit(target.url).hostname or "", allow_private=self._allow_private)
            request = signed_request(target, due, at_us)
            async with self._session.post(
                target.url, data=request.body, headers=request.headers, allow_redirects=False
            ) as response:
                status, retry_after = response.status, response.headers.get("Retry-After")
                answer = in_one_line((await response.content.read(_KEPT_BYTES)).decode(errors="replace"))
        except TimeoutError:
            error = f"no answer within {_TIMEOUT_SECONDS:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            error = in_one_line(f"{type(failure).__name__}: {failure}")
        latency_us = round((time.monotonic() - began) * 1e6)
        return Sent(Attempt(at_us, status, error, answer, latency_us), retry_after)
