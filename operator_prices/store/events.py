"""Events of operators: what has happened since the last look, each of them once."""

from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg import Connection
from psycopg.rows import class_row

PATIENCE = 100
"""For so many epochs later ones wait for one that is missing; then it is passed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that has happened to an operator, as the function `operator_events` finds it."""

    epoch: int
    operator_id: int
    name: str | None
    kind: str
    what: str
    happened_at: int | None
    from_chain: bool | None

    @property
    def operator(self) -> str:
        return f"Operator {self.operator_id}" + (f" ({self.name})" if self.name else "")

    @property
    def place(self) -> str:
        """The epoch, and when that ended if the chain says so."""
        if self.happened_at is None or not self.from_chain:
            return f"Epoch {self.epoch}"
        ended = datetime.fromtimestamp(self.happened_at / 1000, UTC)
        return f"Epoch {self.epoch}, which ended at {ended:%Y-%m-%d %H:%M} UTC"


HORIZON = """
WITH bounds AS (
  SELECT seen.epoch AS seen, (SELECT max(epoch) FROM epoch_documents) AS newest
  FROM alert_events_seen AS seen
)
SELECT seen, coalesce(
  (SELECT min(wanted) - 1 FROM generate_series(greatest(seen, newest - %s) + 1, newest) AS wanted
   WHERE NOT EXISTS (SELECT FROM epoch_documents WHERE epoch = wanted)
     AND NOT EXISTS (SELECT FROM skipped_epochs WHERE epoch = wanted)), newest)
FROM bounds WHERE newest > seen
"""
"""The last epoch that was looked at, and the last one before which no other is waited for."""


def begin(connection: Connection, completed: int | None) -> None:
    """Look from now on: what is older than the last completed epoch is history, whenever it comes.

    Only the first call does anything.
    """
    connection.execute(
        "INSERT INTO alert_events_seen (epoch)"
        " SELECT greatest(%s::bigint, (SELECT max(epoch) FROM epoch_documents), -1)"
        " WHERE NOT EXISTS (SELECT FROM alert_events_seen) ON CONFLICT DO NOTHING",
        [completed],
    )


def fresh(connection: Connection, still: int) -> list[Event]:
    """What has happened in the epochs that have come since the last call; they count as seen.

    Within one transaction with what is made of them, each event is had exactly once. The price of
    an operator stands still after `still` epochs, 0 for never.
    """
    connection.execute("SELECT FROM alert_events_seen FOR UPDATE")
    row = connection.execute(HORIZON, [PATIENCE]).fetchone()
    if row is None or row[1] <= row[0]:
        return []
    seen, last = row
    with connection.cursor(row_factory=class_row(Event)) as cursor:
        found = cursor.execute(
            "SELECT epoch, operator_id, name, kind, what, happened_at, from_chain"
            " FROM operator_events(%s, %s, NULL, %s) JOIN operators_metadata USING (operator_id)"
            " ORDER BY epoch, operator_id, kind",
            [seen + 1, last, still],
        ).fetchall()
    connection.execute("UPDATE alert_events_seen SET epoch = %s", [last])
    return found
