"""A failed statement sends no further attempts, even while its transaction is still open.

PostgreSQL then frees a query's memory late: at ROLLBACK, or at the end of the block that caught the error.
"""

import time

import psycopg
import pytest

from scripted import counter

# The first fails or ends. The others are throttled, and would be retried for a while.
FIRST = "jsonb_build_object('as', CASE i WHEN 1 THEN '{first}' ELSE 'throttle' END, 'i', i)"
STATEMENTS = {
    "a list": ("unhandled", "SELECT count(response) FROM mock WHERE payload = ANY (ARRAY(SELECT {first} FROM generate_series(1, 8) i))"),
    "a join": ("unhandled", "SELECT count(response) FROM generate_series(1, 8) i JOIN mock ON payload = {first}"),
    "an error above the scan": (
        "echo",
        "SELECT sum(1 / ((response->>'i')::int - 1)) FROM mock WHERE payload = ANY (ARRAY(SELECT {first} FROM generate_series(1, 8) i))",
    ),
    "an error above the join": (
        "echo",
        "SELECT sum(1 / ((response->>'i')::int - 1)) FROM generate_series(1, 8) i JOIN mock ON payload = {first}",
    ),
    "rows that are inserted": ("unhandled", "INSERT INTO mock (payload) SELECT {first} FROM generate_series(1, 8) i"),
}


@pytest.fixture
def table(session, endpoint):
    session.execute("DROP FOREIGN TABLE IF EXISTS mock")
    session.execute(
        "CREATE FOREIGN TABLE mock (payload jsonb, response jsonb) SERVER aws_lambda"
        " OPTIONS (function_name 'mock', invocation_type 'RequestResponse')"
    )
    return session


def no_attempt_follows():
    """Whether no attempt comes any more. Otherwise each would be retried ten times within some seconds."""
    time.sleep(0.1)
    before = counter("invocations")
    time.sleep(1.5)
    return counter("invocations") == before


def in_a_function(session, name):
    first, statement = STATEMENTS[name]
    statement = statement.replace("{first}", FIRST.replace("{first}", first))
    session.execute("CREATE OR REPLACE FUNCTION failing() RETURNS void LANGUAGE plpgsql AS $$ BEGIN %s; RETURN; END $$" % (
        statement.replace("SELECT", "PERFORM", 1) if statement.startswith("SELECT") else statement
    ))


@pytest.mark.parametrize("name", STATEMENTS)
def test_in_an_open_transaction(table, name):
    in_a_function(table, name)
    with pytest.raises(psycopg.errors.Error):
        with table.transaction():
            try:
                table.execute("SELECT failing()")
            finally:
                assert no_attempt_follows()


@pytest.mark.parametrize("name", STATEMENTS)
def test_where_the_error_is_caught(table, name):
    in_a_function(table, name)
    table.execute(
        "CREATE OR REPLACE FUNCTION catching() RETURNS int LANGUAGE plpgsql AS $$ BEGIN"
        " BEGIN PERFORM failing(); EXCEPTION WHEN OTHERS THEN NULL; END;"
        " PERFORM pg_sleep(1.6); RETURN 1; END $$"
    )
    assert table.execute("SELECT catching()").fetchone() == (1,)
    # Each of the eight was tried once, and perhaps once more before the error came.
    assert counter("invocations") <= 16


def test_a_cursor_survives_a_savepoint(table):
    """Invocations that a cursor has started inside a savepoint are not dropped when that is rolled back."""
    with table.transaction():
        table.execute(
            "DECLARE c CURSOR FOR SELECT response->>'i' FROM generate_series(1, 6) i JOIN mock ON payload = jsonb_build_object('ms', 50, 'i', i)"
        )
        assert table.execute("FETCH 1 FROM c").fetchall() == [("1",)]
        table.execute("SAVEPOINT s")
        assert table.execute("FETCH 1 FROM c").fetchall() == [("2",)]
        table.execute("ROLLBACK TO s")
        assert table.execute("FETCH ALL FROM c").fetchall() == [("3",), ("4",), ("5",), ("6",)]
    assert counter("invocations") == 6
