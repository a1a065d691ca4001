"""The HTTP server's settings: one home for their names, units, defaults and limits."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ..engine import Settings


class ServerConfig(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the HTTP server; each is an option of `ordermill serve`."""

    files = ("keys_file", "tls_cert", "tls_key")

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8080
    http_processes: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description="Processes that serve HTTP; more than one share the port, and hand orders to the engine.",
        ),
    ] = 1
    threads: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="Threads for what takes long (lists, histories, bulks, pages); none waits for a client.",
        ),
    ] = 4
    max_waiting: Annotated[
        int, Meta(ge=0, description="Requests with ?wait= that wait at the same time; more are answered at once.")
    ] = 1_000
    max_watchers: Annotated[
        int, Meta(ge=0, description="Requests to /events that are served at the same time; more are refused.")
    ] = 2_000
    max_body_bytes: Annotated[int, Meta(ge=1024, description="Largest body that is taken, in bytes.")] = (
        16 * 1024 * 1024
    )
    socket_seconds: Annotated[
        int,
        Meta(ge=1, description="How long a connection may be silent, in a request or between two, in seconds."),
    ] = 5
    request_seconds: Annotated[
        int,
        Meta(ge=1, description="How long a client may take to send a request, or to take its answer, in seconds."),
    ] = 30
    max_idle_connections: Annotated[
        int, Meta(ge=0, description="Connections kept open between two requests at the most.")
    ] = 10_000
    keys_file: Annotated[
        str | None, Meta(description="File of the keys that callers need; none is needed without it.")
    ] = None
    allow_anonymous: Annotated[
        bool, Meta(description="Answer whoever comes, on any address and by any name, although no key is needed.")
    ] = False
    tls_cert: Annotated[str | None, Meta(description="File of the certificate for TLS, as PEM.")] = None
    tls_key: Annotated[str | None, Meta(description="File of its private key, as PEM.")] = None
    cors_origins: Annotated[
        str | None,
        Meta(
            description="Origins whose pages may call from a browser, with commas between them; "
            "`*`, where keys are needed, for all."
        ),
    ] = None
    user_rate: Annotated[
        Annotated[float, Meta(ge=0.001, le=1e6)] | None,
        Meta(description="Orders a second that each user may send; any number by default."),
    ] = None
    user_burst: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Orders that a user may send at once after a pause; as many as in a second by default."),
    ] = None
