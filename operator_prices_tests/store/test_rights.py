from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import dagster as dg
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.serving import serving
from operator_prices.local import dagster_home
from operator_prices.settings import READER, Settings
from operator_prices.store import migrations, objects, publication
from operator_prices.store.migrations import MigrationError
from operator_prices.store.objects import NoMigrationsError
from operator_prices.store.publication import PublicationError
from operator_prices.store.rights import PUBLISHED, WRITER
from operator_prices_tests.support import supabase
from operator_prices_tests.support.filling import fill
from operator_prices_tests.support.old_database import OLD_DATABASE
from operator_prices_tests.support.samples import reading

pytestmark = pytest.mark.e2e


@pytest.fixture
def guest(server: str) -> Iterator[str]:
    """A role with a name that needs quotes."""
    name = f'gu"est {uuid4().hex}'
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
        yield name
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def project(server: str) -> Iterator[str]:
    with supabase.project(server) as dsn:
        yield dsn


def run(dsn: str, *statements: str, **names: str) -> None:
    quoted = {name: sql.Identifier(value) for name, value in names.items()}
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(sql.SQL(statement).format(**quoted) if names else statement.encode())


def rows(dsn: str, query: str, *values: object) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode(), values).fetchall()


def dumped_rights(dsn: str) -> list[tuple[object, ...]]:
    """Every right in the database's schemas, row-level security and policies."""
    return rows(
        dsn,
        "SELECT oid::regclass::text, array_sort, relrowsecurity FROM (SELECT oid, relrowsecurity,"
        " (SELECT array_agg(one::text ORDER BY one::text) FROM unnest(coalesce(relacl,"
        " acldefault('r', relowner))) AS one) AS array_sort FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm')) AS held"
        " UNION ALL SELECT oid::regprocedure::text, (SELECT array_agg(one::text ORDER BY one::text)"
        " FROM unnest(coalesce(proacl, acldefault('f', proowner))) AS one), false FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace"
        " UNION ALL SELECT attrelid::regclass || '.' || attname, attacl::text[], false"
        " FROM pg_attribute WHERE attacl IS NOT NULL AND attrelid > 16383"
        " UNION ALL SELECT policyname::text, roles::text[], true FROM pg_policies ORDER BY 1",
    )


def may(dsn: str, role: str, right: str) -> set[str]:
    """The tables and views of ours that a role has a right on."""
    found = rows(
        dsn,
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'v') AND has_table_privilege(%s, oid, %s)",
        role,
        right,
    )
    return {str(name) for (name,) in found}


def test_the_roles_of_a_public_key_may_do_nothing_after_a_migration(project: str) -> None:
    migrations.migrate(project)
    assert supabase.rights(project) == []
    assert migrations.unprotected(project) == []


def test_a_role_with_rights_by_default_everywhere_has_none_of_ours(
    guest: str, project: str
) -> None:
    run(
        project,
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {guest} WITH GRANT OPTION",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO {guest}, PUBLIC",
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO {guest}",
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO {guest}, PUBLIC",
        guest=guest,
    )
    migrations.migrate(project)
    assert supabase.rights(project) == []
    assert may(project, guest, "SELECT") == set()
    assert rows(
        project,
        "SELECT has_schema_privilege(%s, 'dagster', 'USAGE'),"
        " has_function_privilege(%s, 'number_or_null(text)', 'EXECUTE')",
        guest,
        guest,
    ) == [(False, False)]
    run(project, "CREATE TABLE strangers (id BIGINT GENERATED ALWAYS AS IDENTITY)")
    migrations.migrate(project)
    assert may(project, guest, "SELECT") == {"strangers"}


def test_dagsters_tables_are_closed_once_dagster_has_made_them(
    guest: str, project: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(
        project,
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC, {guest}",
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC, {guest}",
        guest=guest,
    )
    migrations.migrate(project)
    for name in ("DAGSTER_HOME", "DAGSTER_PG_URL", "DATABASE_URL", "DATA_DIR"):
        monkeypatch.setenv(name, "")  # what is set from now on is forgotten afterwards
    settings = Settings(data_dir=tmp_path, database_url=project)
    with dagster_home.opened_instance(settings) as instance:
        assert isinstance(instance, dg.DagsterInstance)
    tables = rows(project, "SELECT count(*) > 20 FROM pg_tables WHERE schemaname = 'dagster'")
    assert tables == [(True,)]
    assert supabase.rights(project) == []
    writes = "SELECT has_table_privilege(%s, 'dagster.runs', 'INSERT')"
    assert rows(project, writes, guest) == [(False,)]
    assert rows(project, writes, WRITER) == [(True,)]


@pytest.mark.parametrize(
    ("opening", "said"),
    [
        ("GRANT SELECT ON epochs TO anon", "anon has .*: epochs (SELECT)"),
        ("GRANT UPDATE (name) ON operators_metadata TO anon", "operators_metadata (UPDATE)"),
        ("GRANT ALL ON FUNCTION number_or_null(text) TO PUBLIC", "PUBLIC .*number_or_null"),
        ("GRANT USAGE ON SEQUENCE quarantine_id_seq TO authenticated", "quarantine_id_seq (USAGE)"),
        ("CREATE TABLE dagster.runs (); GRANT ALL ON dagster.runs TO anon", "dagster.runs (SELECT"),
        ("GRANT USAGE ON SCHEMA dagster TO anon", "anon has .*: schema dagster (USAGE)"),
        ("ALTER TABLE epochs DISABLE ROW LEVEL SECURITY", "security is off on epochs"),
        (
            "DROP POLICY operator_prices_read ON operator_points",
            f"{READER} the rows of operator_po",
        ),
        (
            "ALTER POLICY operator_prices_read ON operator_points USING (false)",
            f"no policy shows {READER} the rows of operator_points",
        ),
    ],
)
def test_what_somebody_opens_or_switches_is_named_and_put_right(
    project: str, opening: str, said: str
) -> None:
    migrations.migrate(project)
    run(project, opening)
    (found,) = migrations.unprotected(project)
    for part in said.split(".*"):
        assert part in found
    assert migrations.protect(project) == ([found], [])
    assert supabase.rights(project) == []


@pytest.mark.parametrize(
    ("state", "fact", "fix"),
    [
        (
            "ALTER ROLE {owner} SET search_path = nowhere",
            "names no schema that is there",
            "SET search_path = public.",
        ),
        (
            "CREATE SCHEMA AUTHORIZATION {owner}",  # which "$user" in the path then means
            "has our tables made in the schema .*, and whoever reads them looks in public",
            "SET search_path = public, and",
        ),
        (
            "ALTER SCHEMA public OWNER TO postgres; REVOKE ALL ON SCHEMA public FROM PUBLIC",
            "may make no tables in the schema public",
            "GRANT CREATE ON SCHEMA public TO",
        ),
        (
            "GRANT CREATE ON SCHEMA public TO {owner}; ALTER DATABASE {owner} OWNER TO postgres",
            "may make no schema in the database",
            "GRANT CREATE ON DATABASE",
        ),
    ],
)
def test_where_our_tables_have_no_place_one_sentence_says_what_is_lacking(
    project: str, state: str, fact: str, fix: str
) -> None:
    owner = str(conninfo_to_dict(project)["user"])
    admin = make_conninfo(project, user="postgres", password="")
    run(admin, state, owner=owner)
    with pytest.raises(MigrationError, match=fact) as refused:
        migrations.migrate(project)
    assert fix in str(refused.value)
    assert rows(project, "SELECT FROM pg_tables WHERE tablename ~ 'yoyo'") == []
    assert rows(project, "SELECT FROM pg_namespace WHERE nspname = 'dagster'") == []
    run(admin, "ALTER DATABASE {owner} OWNER TO {owner}", owner=owner)


def test_a_right_that_was_passed_on_goes_with_the_one_it_came_from(
    guest: str, project: str
) -> None:
    migrations.migrate(project)
    run(project, "GRANT SELECT ON epochs TO {guest} WITH GRANT OPTION", guest=guest)
    admin = make_conninfo(project, user="postgres", password="")
    run(
        admin,
        "SET SESSION AUTHORIZATION {guest}; GRANT SELECT ON epochs TO anon",
        guest=guest,
    )
    (found, *rest) = migrations.unprotected(project)
    assert "anon has rights that are not meant for it: epochs (SELECT)" in found
    assert len(rest) == 1  # the guest, whom no policy shows the rows yet
    assert migrations.protect(project)[1] == []
    assert supabase.rights(project) == []
    assert "epochs" in may(project, guest, "SELECT")


def test_an_old_database_gets_its_rights_back_by_a_rollback(guest: str, project: str) -> None:
    run(project, OLD_DATABASE)
    run(
        project,
        "GRANT SELECT (epoch, data) ON epochs TO {guest}",
        "GRANT SELECT ON comprehensive_analytics TO {guest} WITH GRANT OPTION",
        "REVOKE ALL ON epochs FROM authenticated",
        "GRANT SELECT ON epochs TO PUBLIC",
        "CREATE SCHEMA dagster; GRANT USAGE ON SCHEMA dagster TO {guest}, anon",
        guest=guest,
    )
    before = dumped_rights(project)
    migrations.migrate(project)
    assert supabase.rights(project) == []
    assert dumped_rights(project) != before
    migrations.rollback(project)
    assert dumped_rights(project) == before
    assert rows(project, "SELECT has_schema_privilege('anon', 'dagster', 'USAGE')") == [(True,)]


def test_whom_the_old_owner_let_in_by_name_reads_and_writes_on(guest: str, project: str) -> None:
    run(project, OLD_DATABASE)
    run(
        project,
        "GRANT SELECT, UPDATE ON epochs TO {guest}",
        "GRANT SELECT ON comprehensive_analytics TO {guest}",
        guest=guest,
    )
    migrations.migrate(project)
    admin = make_conninfo(project, user="postgres", password="")
    with psycopg.connect(admin) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(guest)))
        assert connection.execute("UPDATE epochs SET data = '{}' WHERE epoch = 3").rowcount == 1
        assert connection.execute("SELECT FROM epochs").rowcount == 50
        assert connection.execute("SELECT FROM comprehensive_analytics_old").rowcount == 50
        assert connection.execute("SELECT FROM comprehensive_analytics").rowcount == 0


def test_an_owner_who_may_create_no_roles_migrates_without_them(server: str) -> None:
    with supabase.project(server, creates_roles=False, bypasses_rls=False) as dsn:
        migrations.migrate(dsn)
        assert supabase.rights(dsn) == []
        assert migrations.unprotected(dsn) == []


def test_the_reader_reads_and_the_writer_changes_rows_and_no_tables(project: str) -> None:
    migrations.migrate(project)
    assert may(project, READER, "INSERT") == set()
    assert {"epochs", "epoch_documents", "comprehensive_analytics"} <= may(
        project, READER, "SELECT"
    )
    assert "alert_incidents" not in may(project, READER, "SELECT")
    assert {"epochs", "operator_shares", "alert_incidents"} <= may(project, WRITER, "DELETE")
    assert may(project, WRITER, "DELETE").isdisjoint({"before_migration", "_yoyo_migration"})
    assert rows(
        project,
        "SELECT has_schema_privilege(%s, 'public', 'CREATE'),"
        " has_schema_privilege(%s, 'dagster', 'CREATE'),"
        " has_function_privilege(%s, 'refresh_epoch_analytics(bigint, bigint)', 'EXECUTE'),"
        " has_function_privilege(%s, 'refresh_epoch_analytics(bigint, bigint)', 'EXECUTE')",
        WRITER,
        WRITER,
        WRITER,
        READER,
    ) == [(False, False, True, False)]


def test_the_writer_fills_tables_that_were_empty_and_changes_none_when_it_does_so_again(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    known = DevChain(Scenario(epochs=8, operators=2, seconds_per_block=0, forced=()))
    database.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(WRITER)))
    with serving(known) as node, reading(node.url, tmp_path) as chain:
        assert fill(chain, database, nominators=True).epochs_read == 8
        assert fill(chain, database, nominators=True).epochs_read == 0
    for table in ("operator_share_prices", "operator_shares", "nominator_positions"):
        found = database.execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(table)))
        assert found.rowcount > 8, table


def test_what_is_ours_is_what_the_migrations_make_and_nothing_else(
    database: psycopg.Connection,
) -> None:
    database.execute(
        "CREATE SCHEMA theirs; CREATE TABLE theirs.epochs (); CREATE TABLE strangers ();"
        "CREATE FUNCTION theirs.number_or_null(text) RETURNS int LANGUAGE sql AS 'SELECT 1';"
        "CREATE FUNCTION public.number_or_null(int) RETURNS int LANGUAGE sql AS 'SELECT 1'"
    )
    known = objects.ours(database)
    relations = database.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'v', 'S') AND relname <> 'strangers' ORDER BY 1"
    ).fetchall()
    functions = database.execute(
        "SELECT oid::bigint FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " AND oid <> 'number_or_null(int)'::regprocedure"
    ).fetchall()
    assert sorted(one.name for one in known.relations) == [name for (name,) in relations]
    assert {one.oid for one in known.functions} == {oid for (oid,) in functions}
    assert {one.schema for one in known.relations} == {"public"}


def test_nothing_is_up_to_date_without_migration_files(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "SQL", tmp_path)
    for step in (migrations.pending, migrations.migrate, migrations.rollback):
        with pytest.raises(NoMigrationsError, match="There is no migration in"):
            step(dsn)


def test_publishing_opens_exactly_the_published_tables_and_revoking_closes_them(
    project: str,
) -> None:
    migrations.migrate(project)
    assert set(publication.publish(project, "anon")) == set(PUBLISHED)
    assert may(project, "anon", "SELECT") == set(PUBLISHED)
    assert {right for _, _, right in supabase.rights(project)} == {"SELECT"}
    assert migrations.unprotected(project) == []
    assert migrations.protect(project) == ([], [])
    run(project, "GRANT INSERT ON epochs TO anon")
    assert "epochs (INSERT)" in migrations.unprotected(project)[0]
    migrations.migrate(project)
    assert may(project, "anon", "INSERT") == set()
    assert publication.withdraw(project, []) == ["anon"]
    assert supabase.rights(project) == []
    assert migrations.unprotected(project) == []


def test_whom_it_is_published_to_reads_every_digit_as_text(project: str) -> None:
    migrations.migrate(project)
    publication.publish(project, "anon")
    price = 340282366920938463463374607431768211455
    run(project, f"INSERT INTO operator_share_prices VALUES (1, 0, {price})")  # noqa: S608
    with psycopg.connect(project) as connection:
        connection.execute("SET ROLE anon")
        told = connection.execute("SELECT share_price_perq FROM operator_share_prices_text")
        assert told.fetchall() == [(str(price),)]
        connection.execute("SELECT total_stake_raw FROM comprehensive_analytics_text")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT FROM epoch_documents")


def test_nothing_is_published_to_a_role_that_is_not_there_or_is_ours(project: str) -> None:
    migrations.migrate(project)
    for role in ("nobody_of_this_name", "public", READER):
        with pytest.raises(PublicationError, match=role):
            publication.publish(project, role)


ADVISED = {
    "function_search_path_mutable": (
        "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " AND NOT EXISTS (SELECT FROM unnest(proconfig) AS one WHERE one LIKE 'search_path=%%')"
    ),
    "security_definer_view": (
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind = 'v' AND NOT coalesce(reloptions, '{}') @> ARRAY['security_invoker=true']"
    ),
    "rls_disabled_in_public": (
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind = 'r' AND NOT relrowsecurity"
    ),
    "policy_exists_rls_disabled": (
        "SELECT relname FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid"
        " WHERE NOT relrowsecurity"
    ),
    "rls_enabled_no_policy": (
        "SELECT relname FROM pg_class WHERE relrowsecurity AND relnamespace ="
        " 'public'::regnamespace AND NOT EXISTS (SELECT FROM pg_policy WHERE polrelid ="
        " pg_class.oid)"
    ),
    "multiple_permissive_policies": (
        "SELECT tablename, role FROM pg_policies, unnest(roles) AS role"
        " GROUP BY tablename, role HAVING count(*) > 1"
    ),
    "permissive_rls_policy": (
        "SELECT tablename FROM pg_policies WHERE cmd <> 'SELECT' AND qual = 'true'"
        " AND roles && '{anon, authenticated, public}'::name[]"
    ),
    "no_primary_key": (
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        " AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary)"
    ),
    "security_definer_function_executable": (
        "SELECT oid::regprocedure::text FROM pg_proc WHERE prosecdef AND pronamespace ="
        " 'public'::regnamespace AND has_function_privilege('anon', oid, 'EXECUTE')"
    ),
}
"""What the adviser of the platform asks, by the names of its findings."""


@pytest.mark.parametrize("lint", ADVISED)
def test_the_adviser_of_the_platform_finds_nothing(project: str, lint: str) -> None:
    migrations.migrate(project)
    publication.publish(project, "anon")
    found = rows(project, ADVISED[lint])
    if lint == "security_definer_view" and server_version(project) < 150_000:
        pytest.skip("views of this server cannot read as whoever asks")
    assert found == []


def server_version(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        return connection.info.server_version
