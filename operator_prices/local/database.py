"""The database of a command: the one that the settings name, else the embedded one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from operator_prices import store
from operator_prices.errors import ExplainedError
from operator_prices.local import backups
from operator_prices.local.postgres import embedded
from operator_prices.postgres.pooling import require_session
from operator_prices.postgres.reach import reason
from operator_prices.settings import Settings
from operator_prices.store import migrations


class UnusableDatabaseError(ExplainedError):
    """A database that cannot be used, said in one sentence with the fix."""


@contextmanager
def usable_database(settings: Settings, *, session: bool = True) -> Iterator[Settings]:
    """The settings with a database that answers; an embedded one lives as long as needed.

    Where a `session` is needed, an address that leads to a pooler which keeps none is refused.
    """
    if settings.database_url is None:
        with embedded.server(settings.data_dir) as url:
            yield settings.with_database(url)
        return
    try:
        if session:
            require_session(settings.database_url)
        else:
            store.connect(settings.database_url).close()
    except psycopg.Error as error:
        raise unusable(settings.database_url, error) from error
    yield settings


def unusable(
    dsn: str, error: psycopg.Error, variable: str = "DATABASE_URL"
) -> UnusableDatabaseError:
    """What to do about an address that led to an error."""
    said = reason(dsn, error)
    if "FATAL" in said:  # it has answered
        return UnusableDatabaseError(
            f"The database of {variable} takes no connection of ours ({said}): correct {variable},"
            " or mend that at the server, or unset it to use the embedded one."
        )
    return UnusableDatabaseError(
        f"The database of {variable} does not answer ({said}): start it, or correct {variable}, or"
        " unset it to use the embedded one."
    )


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What an upgrade did and saw."""

    applied: Sequence[str]
    put_right: Sequence[str]
    """What somebody had opened, switched off or taken away since the last time."""
    not_right: Sequence[str]
    """What of it this role cannot change."""


def upgrade(settings: Settings, *, backup: bool = True) -> Upgraded:
    """Apply the migrations that the database lacks, after a backup of what it holds.

    Then rights and row-level security are as they should be.
    """
    dsn = str(settings.database_url)
    if backup and (kept := backups.before_migration(dsn, settings.data_dir)):
        print(f"Backup before the migrations: {kept}")  # noqa: T201
    lacking = migrations.pending(dsn)
    found: list[str] = []
    if not lacking:
        found, _ = migrations.protect(dsn)
    applied = migrations.migrate(dsn)
    still = migrations.unprotected(dsn)
    with store.connect(dsn) as connection:
        store.refuse_hidden(connection)
    return Upgraded(applied, [one for one in found if one not in still], still)


@contextmanager
def migrated_database(settings: Settings, *, session: bool = True) -> Iterator[Settings]:
    """The settings with a migrated database: ours is migrated, one that is named must be."""
    with usable_database(settings, session=session) as ready:
        if settings.database_url is None:
            upgrade(ready)
        if lacking := migrations.pending(str(ready.database_url)):
            raise UnusableDatabaseError(
                f"The database lacks {len(lacking)} of our migrations ({', '.join(lacking)}): run"
                " `operator-prices migrate` first."
            )
        with store.connect(str(ready.database_url)) as connection:
            store.refuse_hidden(connection)
        yield ready
