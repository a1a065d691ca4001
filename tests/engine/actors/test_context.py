"""What the actors share is bounded."""

from __future__ import annotations

from ordermill.engine.actors.context import Incident, Incidents


def test_all_incidents_are_counted_and_the_latest_are_kept() -> None:
    incidents = Incidents()
    for number in range(1_000):
        incidents.note(Incident("PoolActor" if number % 4 else "IntakeActor", f"ValueError: {number}"))

    assert incidents.counts() == {"PoolActor": 750, "IntakeActor": 250}
    assert [incident.error for incident in incidents.latest()] == [f"ValueError: {n}" for n in range(900, 1_000)]
