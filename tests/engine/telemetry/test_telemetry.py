"""What an engine has done since its start stays bounded, whatever its orders fail with."""

from __future__ import annotations

from collections import Counter

from ordermill.engine.telemetry.durations import BOUNDS, NOTHING, Measured
from ordermill.engine.telemetry.progress import Progress
from ordermill.engine.telemetry.telemetry import MAX_ERRORS, OTHER, Telemetry

SECOND = 1_000_000


def progress(at_us: int, steps: int = 1, accepted: int = 0, errors: Counter[str] | None = None) -> Progress:
    return Progress(
        at_us=at_us,
        commit=Measured.of([2_000]),
        steps=Measured.of([1_000 * steps]),
        accepted=accepted,
        completed=0,
        failed=0,
        attempts=0,
        retries=0,
        errors=errors or Counter(),
        queueing=NOTHING,
        processing=NOTHING,
        end_to_end=NOTHING,
    )


def test_the_classes_of_errors_are_bounded_and_none_is_lost() -> None:
    telemetry = Telemetry(0)
    for number in range(MAX_ERRORS + 30):
        telemetry.add(progress(0, errors=Counter({f"Error{number}": 2})))
    telemetry.add(progress(0, errors=Counter({"Error0": 1})))

    attempts = telemetry.attempts()

    assert len(attempts.failed_by_error) == MAX_ERRORS + 1
    assert attempts.failed_by_error["Error0"] == 3
    assert attempts.failed_by_error[OTHER] == 60
    assert attempts.failed == 2 * (MAX_ERRORS + 30) + 1


def test_the_sizes_of_transactions_are_counted_exactly() -> None:
    telemetry = Telemetry(0)
    for steps in (1, 2, 2, 3, 500):
        telemetry.add(progress(0, steps))

    found = telemetry.histograms().commit_steps

    counted = dict(zip(BOUNDS, found.cumulative, strict=True))
    assert (counted[1], counted[2], counted[4], counted[256], counted[512]) == (1, 3, 4, 4, 5)
    assert (found.count, found.total, telemetry.commits(0).steps) == (5, 508, 508)


def test_what_was_done_is_added_up() -> None:
    telemetry = Telemetry(0)
    for second in range(20):
        telemetry.add(progress(second * SECOND, accepted=5))

    assert telemetry.done.accepted == 100
    assert telemetry.rates(20 * SECOND).last_minute.accepted == 5
