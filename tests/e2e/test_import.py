"""IMPORT FOREIGN SCHEMA: what a user's credentials allow, interrupts, and dumps. tests/regress/sql/import.sql has the rest."""

import contextlib
import subprocess
import time

import psycopg
import pytest
from psycopg import sql

import scripted
import tables
from background import error_within_2_s, pid_of, running_until
from own_server import connect
from tables import failure, keys

IMPORT = "IMPORT FOREIGN SCHEMA lambda FROM SERVER {} INTO {}"


@pytest.fixture
def schema(session):
    session.execute("CREATE SCHEMA app")
    yield "app"
    session.execute("DROP SCHEMA app CASCADE")


def import_into(session, schema, server="aws_lambda"):
    tables.execute(session, IMPORT, server, schema)


def tables_in(session, schema):
    return session.execute("SELECT count(*) FROM pg_class WHERE relnamespace = %s::regnamespace", [schema]).fetchone()[0]


def functions_are(name):
    scripted.control("POST", f"functions?are={name}")


def wait_for_lists(number):
    scripted.wait_until(lambda: scripted.counter("lists") >= number)


@pytest.mark.parametrize(("functions", "lists"), [("hang", 1), ("sleep-60000-few", 1), ("sleep-10-endless", 20)])
def test_cancel(session, connect, endpoint, schema, functions, lists):
    """The statement ends, makes nothing and asks no further. Another one imports."""
    session.execute("SET aws_lambda.request_timeout_ms = 900000")
    other = connect()
    functions_are(functions)
    with running_until(session, lambda: wait_for_lists(lists), import_into, session, schema) as statement:
        since = time.monotonic()
        other.execute("SELECT pg_cancel_backend(%s)", [pid_of(session)])
        assert error_within_2_s(statement, since).sqlstate == "57014"
    asked = scripted.counter("lists")
    time.sleep(0.3)
    assert scripted.counter("lists") == asked
    assert tables_in(session, schema) == 0
    functions_are("few")
    import_into(session, schema)
    assert tables_in(session, schema) == 3


def test_statement_timeout(session, endpoint, schema):
    functions_are("hang")
    session.execute("SET aws_lambda.request_timeout_ms = 900000")
    session.execute("SET statement_timeout = 300")
    assert failure(import_into, session, schema).sqlstate == "57014"
    session.execute("RESET statement_timeout")


def test_thousands_of_functions(session, endpoint, schema):
    """One after the other, 50 to a page, over one connection."""
    functions_are("many-2010")
    import_into(session, schema)
    assert tables_in(session, schema) == 2010
    assert (scripted.counter("lists"), scripted.counter("connections")) == (41, 1)
    assert (scripted.counter("most_in_flight"), scripted.counter("invocations")) == (1, 0)


def test_keys_of_the_role_that_imports(session, endpoint, schema):
    tables.execute(session, "CREATE SERVER keyed FOREIGN DATA WRAPPER aws_lambda_fdw")
    tables.create_mapping(session, "keyed", "postgres", **scripted.OTHER_KEYS)
    import_into(session, schema, "keyed")
    assert [row[-1] for row in scripted.rows("questions")] == ["AKIDOTHER"]
    session.execute("ALTER USER MAPPING FOR postgres SERVER keyed OPTIONS (SET secret_access_key 'wrong')")
    error = failure(import_into, session, schema, "keyed")
    assert error.sqlstate == "28000"
    assert error.diag.message_primary == "could not list functions: no usable credentials"
    session.execute("DROP USER MAPPING FOR postgres SERVER keyed")
    error = failure(import_into, session, schema, "keyed")
    assert (error.sqlstate, "CREATE USER MAPPING" in error.diag.message_hint) == ("28000", True)
    session.execute("DROP SERVER keyed CASCADE")


def test_the_other_role_of_a_server_owner_who_is_no_superuser(session, endpoint, schema):
    """The machine's credentials are not for this server, whoever imports."""
    session.execute("CREATE ROLE server_owner")
    session.execute("GRANT USAGE ON FOREIGN DATA WRAPPER aws_lambda_fdw TO server_owner")
    session.execute("SET ROLE server_owner")
    session.execute("CREATE SERVER theirs FOREIGN DATA WRAPPER aws_lambda_fdw")
    session.execute("RESET ROLE")
    error = failure(import_into, session, schema, "theirs")
    assert error.sqlstate == "28000"
    assert scripted.counter("lists") == 0
    session.execute("DROP SERVER theirs")
    session.execute("DROP OWNED BY server_owner")
    session.execute("DROP ROLE server_owner")


def test_a_missing_permission_is_named(session, emulator, schema):
    user = emulator.create_user_with_key("importer")
    emulator.put_user_policy("importer", ["lambda:InvokeFunction"], ["*"])
    tables.create_emulator_table(session, "emulated", keys(*user))
    error = failure(import_into, session, schema, "emulated")
    assert (error.sqlstate, error.diag.message_primary) == ("42501", "could not list functions: access denied")
    assert error.diag.message_hint == "Allow the action lambda:ListFunctions to the credentials in use."
    emulator.put_user_policy("importer", ["lambda:InvokeFunction", "lambda:ListFunctions"], ["*"])
    emulator.create_function("listed", "def handler(event, context):\n    return event\n", description="It echoes")
    import_into(session, schema, "emulated")
    described = "SELECT obj_description('app.listed'::regclass, 'pg_class')"
    assert session.execute(described).fetchone() == ("It echoes",)
    assert session.execute("""SELECT response FROM app.listed WHERE payload = '{"a": 1}'""").fetchone() == ({"a": 1},)
    emulator.client("lambda").delete_function(FunctionName="listed")
    session.execute("DROP SERVER emulated CASCADE")


def test_dump_and_restore(session, database, endpoint, schema):
    """A dump has the tables, their options and their comments, hostile ones too."""
    functions_are("descriptions")
    tables.execute(session, "IMPORT FOREIGN SCHEMA lambda FROM SERVER aws_lambda INTO app OPTIONS (qualifier 'prod')")
    listed = """
        SELECT c.relname, t.ftoptions::text, obj_description(c.oid, 'pg_class')
        FROM pg_class c JOIN pg_foreign_table t ON t.ftrelid = c.oid WHERE c.relnamespace = 'app'::regnamespace ORDER BY 1
    """
    before = session.execute(listed).fetchall()
    assert len(before) == 6
    dump = subprocess.run(["pg_dump", "-n", "app", database], check=True, stdout=subprocess.PIPE).stdout
    session.execute("CREATE DATABASE restored")
    with psycopg.connect(dbname="restored", autocommit=True) as other:
        other.execute("CREATE EXTENSION aws_lambda CASCADE")
        subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "restored"], check=True, input=dump)
        assert other.execute(listed).fetchall() == before
        assert other.execute("SELECT count(*) FROM pg_class WHERE relname = 'kept'").fetchone() == (0,)
    session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier("restored")))


@pytest.mark.parametrize("libraries", ["pg_stat_statements", "aws_lambda_fdw, pg_stat_statements", "pg_stat_statements, aws_lambda_fdw"])
def test_beside_another_hook(session, start, endpoint, libraries):
    """The hook of another library sees the statement once, and the comments are there."""
    try:
        session.execute("LOAD 'pg_stat_statements'")
    except psycopg.errors.UndefinedFile:
        pytest.skip("needs pg_stat_statements")
    except psycopg.Error:
        pass
    server = start(f"shared_preload_libraries = '{libraries}'", "pg_stat_statements.track = 'all'")
    with contextlib.closing(connect(server)) as other:
        other.execute("CREATE EXTENSION pg_stat_statements")
        other.execute("CREATE SCHEMA app")
        other.execute("SELECT pg_stat_statements_reset()")
        import_into(other, "app")
        assert other.execute("SELECT obj_description('app.alpha'::regclass)").fetchone() == ("the first",)
        calls = "SELECT sum(calls) FROM pg_stat_statements WHERE query LIKE %s"
        assert other.execute(calls, ["IMPORT FOREIGN SCHEMA%"]).fetchone() == (1,)
        failure(other.execute, "CREATE TABLE app.alpha ()")
        assert other.execute("SELECT 1").fetchone() == (1,)
