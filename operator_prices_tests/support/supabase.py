"""A Postgres as Supabase hands it out: its roles, its generous default privileges, its own schemas.

The owner is no superuser. What the platform keeps for itself is there, too, and not readable.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo

PUBLIC_ROLES = ("anon", "authenticated", "service_role")
"""Whom the platform's REST API acts as; the key of the first one is in every browser."""

PASSWORD = "of-the-owner"  # noqa: S105

EXTENSIONS = ("pgcrypto", "uuid-ossp", "vector")
"""As many of them as this server can have."""

ROLES = """
DO $$
DECLARE
  name TEXT;
BEGIN
  FOREACH name IN ARRAY '{anon, authenticated, service_role, authenticator}'::text[] LOOP
    IF to_regrole(name) IS NULL THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', name);
    END IF;
  END LOOP;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
  NULL;  -- another session of the tests made them
END
$$;
ALTER ROLE service_role BYPASSRLS;
ALTER ROLE authenticator LOGIN;
GRANT anon, authenticated, service_role TO authenticator;
"""

PLATFORM = """
CREATE SCHEMA extensions;
CREATE SCHEMA auth;
CREATE SCHEMA storage;
CREATE SCHEMA vault;
CREATE TYPE auth.factor_type AS ENUM ('totp', 'phone');
CREATE TABLE auth.users (id UUID PRIMARY KEY DEFAULT gen_random_uuid(), email TEXT);
CREATE FUNCTION auth.uid() RETURNS UUID LANGUAGE sql STABLE AS 'SELECT NULL::uuid';
INSERT INTO auth.users (email) VALUES ('someone@example.com');
CREATE TABLE storage.objects (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name TEXT);
CREATE TABLE vault.secrets (id BIGINT PRIMARY KEY, secret TEXT NOT NULL);
INSERT INTO vault.secrets VALUES (1, 'nobody reads this');
ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;
GRANT USAGE ON SCHEMA auth, storage, extensions TO PUBLIC;
GRANT USAGE ON SCHEMA vault TO {owner};
GRANT SELECT ON auth.users, storage.objects TO {owner};
CREATE FUNCTION extensions.notice_ddl() RETURNS event_trigger LANGUAGE plpgsql
  AS $$ BEGIN NOTIFY pgrst, 'reload schema'; END $$;
CREATE EVENT TRIGGER pgrst_ddl_watch ON ddl_command_end EXECUTE FUNCTION extensions.notice_ddl();
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
"""

GENEROUS = """
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public
  GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public
  GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public
  GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;
"""


@contextmanager
def project(server: str, *, creates_roles: bool = True, bypasses_rls: bool = True) -> Iterator[str]:
    """The address of a new project's database for its owner; both go at the end.

    Supabase's own owner may create roles and passes row-level security by; others may not.
    """
    name = f"project_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(ROLES)
        attributes = "LOGIN CREATEDB" + " CREATEROLE" * creates_roles + " BYPASSRLS" * bypasses_rls
        admin.execute(
            sql.SQL("CREATE ROLE {} {} PASSWORD {}").format(
                sql.Identifier(name), sql.SQL(attributes), PASSWORD
            )
        )
        # As the platform does; a member of the REST API's roles can act as they do.
        admin.execute(
            sql.SQL("GRANT anon, authenticated, service_role TO {}").format(sql.Identifier(name))
        )
        admin.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(name)))
        try:
            lay_platform(make_conninfo(server, dbname=name), name)
            yield make_conninfo(server, dbname=name, user=name, password=PASSWORD)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            _forget(admin, name)


def lay_platform(admin_dsn: str, owner: str) -> None:
    """Lay the platform's schemas, extensions and default privileges into a database."""
    names = {"owner": sql.Identifier(owner)}
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL(PLATFORM).format(**names))
        admin.execute(sql.SQL(GENEROUS).format(**names))
        there = admin.execute(
            "SELECT name FROM pg_available_extensions WHERE name = ANY (%s)", [list(EXTENSIONS)]
        )
        for (extension,) in there.fetchall():
            admin.execute(
                sql.SQL("CREATE EXTENSION {} SCHEMA extensions").format(sql.Identifier(extension))
            )


def rights(
    dsn: str, schemas: tuple[str, ...] = ("public", "dagster")
) -> list[tuple[str, str, str]]:
    """Role, object and right of all that PUBLIC and the platform's roles may do in `schemas`."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(RIGHTS, [["public", *PUBLIC_ROLES], list(schemas)]).fetchall()


RIGHTS = """
WITH role AS (SELECT unnest(%s::text[]) AS name),
schema AS (SELECT oid, nspname FROM pg_namespace WHERE nspname = ANY (%s))
SELECT role.name, c.oid::regclass::text, privilege
  FROM schema JOIN pg_class AS c ON relnamespace = schema.oid AND relkind IN ('r', 'p', 'v', 'm')
  CROSS JOIN role
  CROSS JOIN unnest('{SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER}'::text[])
    AS privilege
  WHERE has_table_privilege(role.name, c.oid, privilege)
     OR CASE WHEN privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
             THEN has_any_column_privilege(role.name, c.oid, privilege) END
UNION ALL
SELECT role.name, c.oid::regclass::text, privilege
  FROM schema JOIN pg_class AS c ON relnamespace = schema.oid AND relkind = 'S'
  CROSS JOIN role CROSS JOIN unnest('{SELECT, UPDATE, USAGE}'::text[]) AS privilege
  WHERE has_sequence_privilege(role.name, c.oid, privilege)
UNION ALL
SELECT role.name, p.oid::regprocedure::text, 'EXECUTE'
  FROM schema JOIN pg_proc AS p ON pronamespace = schema.oid CROSS JOIN role
  WHERE has_function_privilege(role.name, p.oid, 'EXECUTE')
ORDER BY 1, 2, 3
"""


def _forget(admin: Connection, owner: str) -> None:
    """Drop an owner, and what it was granted."""
    named = sql.Identifier(owner)
    admin.execute(sql.SQL("DROP OWNED BY {}").format(named))
    admin.execute(sql.SQL("DROP ROLE {}").format(named))
