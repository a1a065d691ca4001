"""The engine's settings: one home for their names, units, defaults and limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import Enum, StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta
from msgspec.structs import force_setattr

from ..store.domain.claim import AGING_SECONDS
from ..store.domain.durability import Durability
from ..store.domain.errors import InvalidConfiguration
from ..store.domain.key_policy import KeyPolicy
from ..store.domain.limit import Limits, parse_limits
from ..store.domain.weight import Weights, parse_weights

MAX_PROCESSORS = 1000
_MAX_SECONDS = 1e9  # thirty years: infinity, and what no timeout of the platform can be, are mistakes


class ExecutorKind(StrEnum):
    """Where the handler runs."""

    THREADS = "threads"
    """In the processor's thread: for handlers that wait for networks and disks."""
    PROCESSES = "processes"
    """In a worker process that each processor has: for handlers that compute, or that may have to be killed."""


class OnInterrupted(StrEnum):
    """What becomes of an order whose handler was cut short, where no probe is given.

    Example:
        >>> with OrderEngine("orders.db", handler=lambda order: None, on_interrupted="review") as engine:
        ...     engine.config.on_interrupted
        <OnInterrupted.REVIEW: 'review'>
    """

    RETRY = "retry"
    """It is handled again: for handlers that may safely run twice."""
    REVIEW = "review"
    """It waits in Review until an operator settles it: for handlers whose effect must not happen twice."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A set of settings, each with its unit, default and limits."""

    files: ClassVar[tuple[str, ...]] = ()
    """Settings that name a file: made absolute here, so that a later change of the working directory moves none."""

    def __post_init__(self) -> None:
        for name in self.files:
            if (path := getattr(self, name)) is not None:
                force_setattr(self, name, str(Path(path).absolute()))

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """These settings, and the defaults of all others.

        Raises:
            InvalidConfiguration: an unknown name, or a value of the wrong type or out of range.
        """
        return cls(**{name: convert(name, value, cls.type_of(name)) for name, value in settings.items()})

    @classmethod
    def type_of(cls, name: str) -> Any:
        """The type of a setting, with its limits.

        Raises:
            InvalidConfiguration: there is no such setting.
        """
        if name in cls.__struct_fields__:
            return _types_of(cls)[name]
        near = get_close_matches(name, cls.__struct_fields__, n=1)
        raise InvalidConfiguration(f"There is no setting `{name}`{f': do you mean `{near[0]}`?' if near else '.'}")


@cache
def _types_of(kind: type[Settings]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def convert(name: str, value: Any, kind: Any, *, is_text: bool = False) -> Any:
    """A value of a type that has limits.

    Args:
        name: what people call it; errors begin with it.
        value: what was given.
        kind: the type, as `msgspec` reads it.
        is_text: whether the value is text, to be read as a number or whatever it has to be.

    Raises:
        InvalidConfiguration: it is of another type or out of range; the message says what it has to be.
    """
    try:
        return msgspec.convert(value, kind, strict=not is_text)
    except msgspec.ValidationError:
        raise InvalidConfiguration(f"{name} must be {rule_of(kind)}, not {value!r}.") from None


def rule_of(kind: Any) -> str:
    """What a value of a type has to be, in words that follow "must be"."""
    plain, limits = _without_limits(kind)
    if isinstance(plain, type) and issubclass(plain, Enum):
        return _any_of(member.value for member in plain)
    if get_origin(plain) is Literal:
        return _any_of(get_args(plain))
    if examples := next((meta.examples for meta in get_args(kind)[1:] if getattr(meta, "examples", None)), None):
        return _any_of(examples)
    words = {int: "a whole number", float: "a number", bool: "true or false"}.get(plain, "text")
    return f"{words} {_range_of(limits)}".rstrip()


def _any_of(words: Iterable[str]) -> str:
    return " or ".join(", ".join(words).rsplit(", ", 1))


def _range_of(limits: Mapping[str, float]) -> str:
    number = "{:.15g}".format
    lowest, above, highest = (limits.get(name) for name in ("ge", "gt", "le"))
    if lowest is not None:
        return f"from {number(lowest)} " + ("up" if highest is None else f"to {number(highest)}")
    return "" if above is None else f"above {number(above)}" + ("" if highest is None else f" to {number(highest)}")


def _without_limits(kind: Any) -> tuple[Any, dict[str, float]]:
    limits: dict[str, float] = {}
    while True:
        if get_origin(kind) is Annotated:
            kind, *extras = get_args(kind)
            for meta in extras:
                found = {name: getattr(meta, name, None) for name in ("ge", "gt", "le")}
                limits |= {name: limit for name, limit in found.items() if limit is not None}
        elif type(None) in get_args(kind):
            (kind,) = (choice for choice in get_args(kind) if choice is not type(None))
        else:
            return kind, limits


class EngineConfig(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of an `OrderEngine`; each is a keyword argument of it and an option of `ordermill serve`.

    Example:
        >>> with OrderEngine("orders.db", handler=lambda order: None, processors=2, max_attempts=3) as engine:
        ...     engine.config.processors, engine.config.max_attempts
        (2, 3)
        >>> EngineConfig().processors
        8
    """

    files = ("export_path",)

    processors: Annotated[
        int,
        Meta(ge=1, le=MAX_PROCESSORS, description="Processor actors; each runs the handler for one order at a time."),
    ] = 8
    executor: Annotated[
        str,
        Meta(
            pattern=r"^(threads|processes|dask(\+tls)?://[^/]+:\d+)\Z",
            examples=["threads", "processes", "dask://HOST:8786"],
            description="Where the handler runs: threads, processes (one worker for each processor), or the workers "
            "of a Dask cluster, by the address of its scheduler (dask://HOST:8786).",
        ),
    ] = ExecutorKind.THREADS.value
    max_backlog: Annotated[
        int, Meta(ge=1, description="Unfinished orders (Pending and Processing) above which new ones are refused.")
    ] = 100_000
    user_backlog: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Unfinished orders of one user above which this user's are refused; none by default."),
    ] = None
    min_confidence: Annotated[
        float,
        Meta(
            ge=0,
            le=0.99,
            description="How likely a new order has to be completed by its `complete_by`, so that it is accepted; by "
            "default, all are.",
        ),
    ] = 0.0
    aging_seconds: Annotated[
        float,
        Meta(
            gt=0,
            le=_MAX_SECONDS,
            description="Time after which a waiting order counts as one priority higher, in seconds.",
        ),
    ] = AGING_SECONDS
    key_policy: Annotated[
        KeyPolicy,
        Meta(
            description="What the next order of a key waits for: the end of the one before (hold), only its running "
            "(continue), or as with hold, and while one is Failed (halt)."
        ),
    ] = KeyPolicy.HOLD
    serial_users: Annotated[
        bool,
        Meta(description="Run the orders of each user one after another: the user is the key of orders without one."),
    ] = False
    limits: Annotated[
        str | None,
        Meta(
            description="How many orders at once, and how many a second, by queue, by user and by fields of metadata: "
            "`queue:mail=10 5/s, user=2, metadata.provider=20/s`; any number by default."
        ),
    ] = None
    weights: Annotated[
        str | None,
        Meta(
            description="How large a share of the turns users have, by their ids: `big@example.com=3, test=0.5`; "
            "1 by default."
        ),
    ] = None
    max_attempts: Annotated[int, Meta(ge=1, le=1000, description="Failed attempts after which an order is Failed.")] = (
        20
    )
    retry_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=_MAX_SECONDS,
            description="Delay before the second attempt, in seconds; doubles with each failure, with jitter.",
        ),
    ] = 1.0
    retry_max_seconds: Annotated[
        float, Meta(ge=0, le=_MAX_SECONDS, description="Longest delay between two attempts, in seconds.")
    ] = 900.0
    handler_timeout: Annotated[
        Annotated[float, Meta(gt=0, le=_MAX_SECONDS)] | None,
        Meta(description="Time that the handler may take for one attempt, in seconds; none by default."),
    ] = None
    max_abandoned: Annotated[
        int, Meta(ge=0, description="Handlers that have overrun their time and run on, while processors are replaced.")
    ] = 100
    breaker_failures: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="Attempts that fail one after another with one class of error, after which the engine pauses "
            "itself; never by default."
        ),
    ] = None
    breaker_seconds: Annotated[
        float,
        Meta(
            gt=0,
            le=_MAX_SECONDS,
            description="How long the engine waits then until it tries one order, again and again, in seconds; it goes "
            "on when one succeeds.",
        ),
    ] = 30.0
    on_interrupted: Annotated[
        OnInterrupted,
        Meta(description="What becomes of an order whose handler was cut short, without a probe: retry or review."),
    ] = OnInterrupted.RETRY
    probe_timeout: Annotated[
        float,
        Meta(gt=0, le=_MAX_SECONDS, description="Time that a probe may take for one order, in seconds; then, Review."),
    ] = 60.0
    durability: Annotated[
        Durability,
        Meta(description="What an acknowledgement waits for: the disk (full), or the operating system (normal)."),
    ] = Durability.FULL
    lease_seconds: Annotated[
        float,
        Meta(
            ge=1,
            le=86_400,
            description="How long an engine may go unheard of until others over the same PostgreSQL database settle "
            "its orders, in seconds.",
        ),
    ] = 15.0
    retain_seconds: Annotated[
        Annotated[float, Meta(ge=0, le=_MAX_SECONDS)] | None,
        Meta(
            description="Age at which orders that are over are removed, and entries of the audit log, in seconds; "
            "none by default."
        ),
    ] = None
    export_path: Annotated[
        str | None,
        Meta(description="File that orders are appended to before they are removed, one JSON object a line."),
    ] = None
    skip_upgrade_copy: Annotated[
        bool,
        Meta(
            description="Upgrade the schema of an older database without keeping a copy of it beside it, "
            "as `orders.db.before-version-N`."
        ),
    ] = False
    allow_private_webhooks: Annotated[
        bool,
        Meta(description="Let webhooks be sent to this host, to private networks and to local links as well."),
    ] = False
    webhook_concurrency: Annotated[
        int, Meta(ge=1, le=100, description="Events that are sent to one webhook at the same time.")
    ] = 4
    tracing: Annotated[
        bool,
        Meta(description="Begin OpenTelemetry's spans for requests and attempts; needs the extra `opentelemetry`."),
    ] = False
    window: Annotated[
        int,
        Meta(ge=1, description="Pending orders kept in memory, so that they need not be read when they are claimed."),
    ] = 2_000
    stop_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=_MAX_SECONDS,
            description="How long a stop waits for orders in hand, in seconds; then they go back to Pending.",
        ),
    ] = 6.0
    simulate_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=_MAX_SECONDS,
            description="How long the simulated handler takes, in seconds, where no handler is given.",
        ),
    ] = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        self.work_limits, self.user_weights  # noqa: B018  # whatever is wrong with them is told here

    @property
    def work_limits(self) -> Limits:
        """The limits on the work.

        Raises:
            InvalidConfiguration: `limits` is none.
        """
        return parse_limits(self.limits or "")

    @property
    def user_weights(self) -> Weights:
        """The weights of users.

        Raises:
            InvalidConfiguration: `weights` is none.
        """
        return parse_weights(self.weights or "")
