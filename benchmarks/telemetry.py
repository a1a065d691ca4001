"""What is measured of each transaction, against an engine that measures nothing of the kind."""

from __future__ import annotations

from unittest.mock import patch

from command import run
from embedded import MANY, complete_in_lots, measure_lots
from measure import Benchmark, Conditions, Figures, Row, Rule
from ordermill.engine.telemetry.progress import Progress


def measure_without(conditions: Conditions) -> Figures:
    """Orders in lots, into a new database, while nobody looks at what transactions bring."""
    with patch.object(Progress, "of", return_value=None):
        return complete_in_lots(conditions.folder / "orders.db", conditions.count(MANY))


BENCHMARKS = (
    Benchmark(
        name="telemetry",
        work="row 1, with the times, rates, attempts and commits that the metrics tell",
        against="row 1 without these",
        ours=measure_lots,
        theirs=measure_without,
        rows=(
            Row("T", "completed_per_second", Rule.AT_LEAST, 0.97),
            Row("T cpu", "cpu_seconds_per_1000", Rule.AT_MOST, 1.03),
        ),
    ),
)

if __name__ == "__main__":
    run(BENCHMARKS)
