"""Rehearsing: a snapshot of the backlog is worked off again and again, each time as it might be as well.

Each run draws what attempts take from another sample that might have been measured: the bootstrap (B. Efron, "Bootstrap
methods: another look at the jackknife", Annals of Statistics 7(1), 1979). So the bands hold what is not known since
little was measured, and what is left to chance.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

import msgspec

from ...store import queries
from ...store.domain.rehearsal import (
    CONFIDENCE,
    MAX_EXAMPLES,
    MAX_POINTS,
    Band,
    Deadlines,
    LikelyLate,
    Point,
    Rehearsal,
    Scenario,
)
from ...store.queues import queue_of
from ...store.rehearsals import Backlog, Measured, backlog, measured
from ...store.statements import Database
from ..config import EngineConfig
from .service_times import COMPLETED, FAILED, LEAST_ATTEMPTS, Service, resampled, service_times
from .simulation import Outcome, Setup, Simulation

_MOST_RUNS, _LEAST_RUNS = 100, 3
_LONGEST_US = 30 * 86_400_000_000
_MOST_EVENTS = 500_000
"""That a run may have beyond two for each order of the backlog."""


class Question(msgspec.Struct, frozen=True):
    """What is to be rehearsed, of which engine."""

    address: str
    """Its database."""
    scenario: Scenario
    config: EngineConfig
    processors: int
    """How many it has now."""
    is_paused: bool
    paused_until_us: int | None
    """When its pause ends by itself, microseconds since 1970-01-01T00:00:00Z; None where nobody knows."""
    now_us: int
    """Likewise, by the machine's clock."""
    queue_us: int
    """The same moment by the queue's."""
    budget_seconds: float
    """How much processor time the process may take: no further run begins then."""
    limit_seconds: int
    """After so long the process is ended."""
    limit_bytes: int
    """How much address space it may have."""


def rehearse(database: Database, question: Question) -> Rehearsal:
    """What is likely to become of the backlog.

    Args:
        database: connected in this thread; it is read in one transaction, before anything else.
        question: what is to be rehearsed.
    """
    with database.atomic():
        config = question.config
        limits, action = config.work_limits, question.scenario.action
        found = [backlog(database, config.key_policy, limits, question.queue_us)]
        if action is not None:
            found.append(backlog(database, config.key_policy, limits, question.queue_us, action))
        lately = measured(database, question.now_us, limits)
    share = question.budget_seconds / len(found)
    played = [_play(one, lately, question, (index + 1) * share) for index, one in enumerate(found)]
    seconds = _length([outcome for each in played for outcome in each.outcomes])
    answers = [_summed_up(each, seconds, database) for each in played]
    return answers[-1] if action is None else answers[-1]._replace(without=answers[0])


class _Played(NamedTuple):
    """A backlog, and what came of it in some runs."""

    found: Backlog
    nothing: Rehearsal
    """What is to be told without any run."""
    outcomes: Sequence[Outcome]


def _play(found: Backlog, lately: Measured, question: Question, budget_seconds: float) -> _Played:
    scenario = question.scenario
    services = service_times(lately.attempts, question.processors)
    rate = lately.arrivals / lately.window_us * 1e6 * scenario.arrivals
    setup = _setup(found, lately, question)
    nothing = Rehearsal(
        at_us=question.now_us,
        backlog=len(found.sequences),
        processors=setup.processors,
        runs=0,
        attempts=len(services),
        arrivals_per_second=rate,
        empty_seconds=None,
        why=None,
        left=None,
        failed=None,
        deadlines=None,
        curve=(),
        notes=_notes(question, found),
    )
    if len(services) < LEAST_ATTEMPTS:
        seen = f"only {len(services)} attempts were measured, and fewer than {LEAST_ATTEMPTS} tell nothing"
        return _Played(found, nothing._replace(why=seen), ())
    return _Played(found, nothing, _run(setup, services, lately, scenario.arrivals, budget_seconds))


def _setup(found: Backlog, lately: Measured, question: Question) -> Setup:
    scenario, config = question.scenario, question.config
    is_paused = _paused(found, scenario.pause)
    in_line, slots = found.standing(round(config.aging_seconds * 1e6), is_paused)
    begin_us = question.queue_us
    start_us = begin_us
    if question.is_paused and question.paused_until_us is not None:
        start_us += max(0, question.paused_until_us - question.now_us)
    fail_us = 0 if scenario.fail is None else round(scenario.fail.for_seconds * 1e6)
    return Setup(
        found,
        in_line,
        slots,
        config,
        question.processors if scenario.processors is None else scenario.processors,
        is_paused,
        begin_us,
        start_us,
        begin_us + fail_us,
        lately.arrived,
        begin_us + _LONGEST_US,
        2 * len(found.sequences) + _MOST_EVENTS,
    )


def _paused(found: Backlog, name: str | None) -> Callable[[str, int], bool] | None:
    queues = {number for number, settings in found.queues.items() if settings.is_paused or settings.name == name}
    is_queue = any(settings.name == name for settings in found.queues.values())
    if is_queue or name is None:
        return (lambda _, line: queue_of(line) in queues) if queues else None
    return lambda user, line: user == name or queue_of(line) in queues


def _notes(question: Question, found: Backlog) -> tuple[str, ...]:
    notes = []
    if question.is_paused and question.paused_until_us is None:
        notes.append("the engine is paused until somebody resumes: as if that happened now")
    paused = [settings.name for settings in found.queues.values() if settings.is_paused]
    if paused:
        notes.append(f"queues that are paused now stay so: {', '.join(sorted(paused))}")
    return tuple(notes)


def _run(
    setup: Setup, services: Sequence[Service], lately: Measured, arrivals: float, budget_seconds: float
) -> list[Outcome]:
    failing = [service for service in services if service.end == FAILED] or services
    outcomes: list[Outcome] = []
    seconds = lately.window_us / 1e6
    while len(outcomes) < _MOST_RUNS:
        random = Random(len(outcomes))  # the same backlog has the same answer
        sample = resampled(services, random)
        if all(service.end != COMPLETED for service in sample):  # some may have to be, or nothing would ever end
            sample = list(services)
        # How many arrived is a Poisson number: its rate is as likely as this.
        rate = random.gammavariate(lately.arrivals, 1 / seconds) * arrivals if lately.arrivals else 0.0
        outcomes.append(Simulation(setup, sample, failing, rate, random).run())
        patience = 1 if len(outcomes) >= _LEAST_RUNS else 2
        if time.process_time() >= patience * budget_seconds:
            break
    return outcomes


def _length(outcomes: Sequence[Outcome]) -> float:
    # How long the curves are, in seconds: until all runs are over, or as long as all go on.
    took = [outcome.took_us / 1e6 for outcome in outcomes]
    is_over = all(outcome.empty_us is not None for outcome in outcomes)
    return (max if is_over else min)(took, default=0.0)


def _summed_up(played: _Played, seconds: float, database: Database) -> Rehearsal:
    found, nothing, outcomes = played
    if not outcomes:
        return nothing
    over = [outcome.empty_us / 1e6 for outcome in outcomes if outcome.empty_us is not None]
    why = None
    if len(over) < len(outcomes):
        longest = max(outcome.took_us for outcome in outcomes) / 1e6
        share = len(outcomes) - len(over)
        why = (
            f"in {share} of {len(outcomes)} runs it is not empty within {longest:.0f} s: "
            "as many orders arrive as are done, or more"
        )
    deadlines = _deadlines(found, outcomes)
    return nothing._replace(
        runs=len(outcomes),
        empty_seconds=_band(over) if why is None else None,
        why=why,
        left=_band([outcome.left for outcome in outcomes]) if why is None else None,
        failed=_band([outcome.failed for outcome in outcomes]),
        deadlines=None if deadlines is None else _named(database, deadlines),
        curve=_curve(outcomes, seconds),
    )


def _curve(outcomes: Sequence[Outcome], seconds: float) -> tuple[Point, ...]:
    step = seconds / (MAX_POINTS - 1)
    times = [step * index for index in range(MAX_POINTS)] if step else [0.0]
    return tuple(Point(at, _band([_backlog_at(outcome, round(at * 1e6)) for outcome in outcomes])) for at in times)


def _backlog_at(outcome: Outcome, us: int) -> int:
    return outcome.left if us >= outcome.took_us else outcome.curve.at(us, after=outcome.left)


def _deadlines(found: Backlog, outcomes: Sequence[Outcome]) -> Deadlines | None:
    if not found.deadlines:
        return None
    times = Counter(slot for outcome in outcomes for slot in outcome.broken)
    likely = [slot for slot, count in times.items() if 2 * count >= len(outcomes)]
    likely.sort(key=lambda slot: (found.deadlines[slot], slot))
    first = tuple(
        LikelyLate(str(found.sequences[slot]), found.deadlines[slot], times[slot] / len(outcomes))
        for slot in likely[:MAX_EXAMPLES]
    )
    return Deadlines(len(found.deadlines), _band([len(outcome.broken) for outcome in outcomes]), first)


def _named(database: Database, deadlines: Deadlines) -> Deadlines:
    # By the numbers of their arrival until here.
    records = queries.numbered(database, [int(late.order_id) for late in deadlines.first])
    names = {str(record.sequence): record.order_id for record in records}
    first = [late._replace(order_id=names[late.order_id]) for late in deadlines.first if late.order_id in names]
    return deadlines._replace(first=tuple(first))


def _band(values: Sequence[float]) -> Band:
    ordered = sorted(values)
    return Band(*(round(_quantile(ordered, share), 3) for share in (0.5, (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)))


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
