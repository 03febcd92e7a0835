"""INSERT, COPY, an Append and calls in sets can be interrupted with many invocations in flight, and wait without CPU."""

import os
import time

import psycopg
import pytest

from cluster import pg_config
from background import error_within_2_s, is_running, pid_of, running, ticks
from scripted import functions, invoke, wait_for_invocations, wait_until
from tables import failure

TABLES = """
    CREATE FOREIGN TABLE hangs (payload text, response text, status_code integer)
        SERVER aws_lambda OPTIONS (function_name 'hang');
    CREATE FOREIGN TABLE echoes (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
    CREATE FOREIGN TABLE fails (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'handled');
    CREATE TABLE divided (payload text, response text) PARTITION BY LIST (response);
    CREATE FOREIGN TABLE division PARTITION OF divided DEFAULT SERVER aws_lambda OPTIONS (function_name 'hang');
    CREATE TABLE parent (payload text, response text);
    CREATE FOREIGN TABLE child () INHERITS (parent) SERVER aws_lambda OPTIONS (function_name 'hang');
    CREATE FOREIGN TABLE other_child () INHERITS (parent) SERVER aws_lambda OPTIONS (function_name 'hang');
    CREATE FUNCTION insert_many() RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO hangs (payload) SELECT i::text FROM generate_series(1, 200) i; END $$;
"""

# More rows than the limit of concurrent invocations, and the limit.
ROWS = "SELECT i::text FROM generate_series(1, 200) i"
MOST = 64
INSERTS = {
    "plain": f"INSERT INTO hangs (payload) {ROWS}",
    "returning": f"INSERT INTO hangs (payload) {ROWS} RETURNING status_code",
    "with": f"WITH i AS (INSERT INTO hangs (payload) {ROWS}) SELECT 1",
    "partition": f"INSERT INTO divided (payload) {ROWS}",
    "function": "SELECT insert_many()",
}
# All are sent at once, and waited for at the end of the statement.
FEW = "INSERT INTO hangs (payload) VALUES ('1'), ('2'), ('3')"
BRANCHES = """
    SELECT response FROM hangs WHERE payload IN ('1', '2', '3') UNION ALL
    SELECT response FROM hangs WHERE payload IN ('4', '5')
"""
# 14 runs the branches of a UNION ALL one after the other.
ONE_BY_ONE = pg_config("--version").startswith("PostgreSQL 14")
ALL_BRANCHES = 3 if ONE_BY_ONE else 5
at_the_same_time = pytest.mark.skipif(ONE_BY_ONE, reason="branches run one after the other")
# Queries, and their number of invocations in flight.
APPENDS = {
    "two": (BRANCHES, ALL_BRANCHES),
    "aggregate": (f"SELECT count(response) FROM ({BRANCHES}) branches", ALL_BRANCHES),
    "ordinary rows": (f"SELECT i::text FROM generate_series(1, 3) i UNION ALL {BRANCHES}", ALL_BRANCHES),
    "limit": (f"{BRANCHES} LIMIT 5", 1),
    "inherited": ("SELECT response FROM parent WHERE payload IN ('1', '2')", 4),
    "inner side": ("SELECT p.response FROM generate_series(1, 3) i JOIN parent p ON p.payload = i::text", 2),
}
WAITS = {
    "insert": (INSERTS["plain"], MOST),
    "end of insert": (FEW, 3),
    "append": APPENDS["two"],
    "calls": ("SELECT (aws_lambda.invoke('hang', to_jsonb(i))).payload FROM generate_series(1, 200) i", MOST),
}

every_wait = pytest.mark.parametrize("statement, number", WAITS.values(), ids=WAITS)


@pytest.fixture(scope="module")
def schema(database):
    with psycopg.connect(dbname=database, autocommit=True) as administrator:
        administrator.execute(TABLES)


@pytest.fixture
def waiting_session(schema, session):
    """A session with a long request time-out."""
    session.execute(f"SET aws_lambda.request_timeout_ms = 900000; SET aws_lambda.invoke_concurrency = {MOST}")
    return session


def threads(session):
    return len(os.listdir(f"/proc/{pid_of(session)}/task"))


def descriptors(session):
    return len(os.listdir(f"/proc/{pid_of(session)}/fd"))


def cancel(session, other, number, run, *arguments):
    """Cancels a waiting statement. It ends soon and sends no more, and the session works."""
    with running(session, number, run, *arguments) as statement:
        since = time.monotonic()
        other.execute("SELECT pg_cancel_backend(%s)", [pid_of(session)])
        assert error_within_2_s(statement, since).sqlstate == "57014"
    time.sleep(0.1)
    assert functions() == ["hang"] * number
    assert invoke(session, "echo", "[1]") == [1]


def copy(session):
    with session.cursor() as cursor, cursor.copy("COPY hangs (payload) FROM STDIN") as rows:
        for row in range(200):
            rows.write_row([str(row)])


@pytest.mark.parametrize("statement", INSERTS.values(), ids=INSERTS)
def test_cancel_insert(waiting_session, connect, endpoint, statement):
    cancel(waiting_session, connect(), MOST, waiting_session.execute, statement)


def test_cancel_insert_one_at_a_time(waiting_session, connect, endpoint):
    """RETURNING of a partition waits for each row before the next one is read."""
    cancel(waiting_session, connect(), 1, waiting_session.execute, f"{INSERTS['partition']} RETURNING response")


def test_cancel_end_of_insert(waiting_session, connect, endpoint):
    cancel(waiting_session, connect(), 3, waiting_session.execute, FEW)


def test_cancel_copy(waiting_session, connect, endpoint):
    cancel(waiting_session, connect(), MOST, copy, waiting_session)


@pytest.mark.parametrize("query, number", APPENDS.values(), ids=APPENDS)
def test_cancel_append(waiting_session, connect, endpoint, query, number):
    cancel(waiting_session, connect(), number, waiting_session.execute, query)


@every_wait
def test_cancel_many_times(waiting_session, connect, endpoint, statement, number):
    """No thread and no file descriptor is leaked. Kept connections have some."""
    other, left = connect(), []
    for _ in range(10):
        endpoint.reset()
        cancel(waiting_session, other, number, waiting_session.execute, statement)
        left.append(descriptors(waiting_session))
    assert max(left[5:]) <= max(left[:5])
    assert threads(waiting_session) == 2


@every_wait
def test_statement_timeout(waiting_session, endpoint, statement, number):
    waiting_session.execute("SET statement_timeout = '500ms'")
    since = time.monotonic()
    error = failure(waiting_session.execute, statement)
    took = time.monotonic() - since
    waiting_session.execute("RESET statement_timeout")
    assert error.sqlstate == "57014" and 0.45 < took < 2
    assert functions() == ["hang"] * number
    assert invoke(waiting_session, "echo", "[1]") == [1]


@every_wait
def test_terminate(waiting_session, connect, endpoint, statement, number):
    other, pid = connect(), pid_of(waiting_session)
    with running(waiting_session, number, waiting_session.execute, statement) as ended:
        since = time.monotonic()
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
        assert error_within_2_s(ended, since).sqlstate == "57P01"
    wait_until(lambda: not is_running(pid), seconds=2)
    assert functions() == ["hang"] * number


@every_wait
def test_client_disconnects(waiting_session, endpoint, statement, number):
    """With client_connection_check_interval, the backend ends when its client has disconnected."""
    waiting_session.execute("SET client_connection_check_interval = '200ms'")
    pid = pid_of(waiting_session)
    waiting_session.pgconn.send_query(statement.encode())
    wait_for_invocations(number)
    waiting_session.close()
    wait_until(lambda: not is_running(pid), seconds=2)
    assert functions() == ["hang"] * number


@every_wait
def test_waiting_uses_no_cpu(waiting_session, endpoint, statement, number):
    with running(waiting_session, number, waiting_session.execute, statement):
        time.sleep(0.2)
        before = ticks(pid_of(waiting_session))
        time.sleep(1)
        assert ticks(pid_of(waiting_session)) - before < 5


@at_the_same_time
def test_waiting_for_one_branch_uses_no_cpu(waiting_session, endpoint):
    """Although another branch has ended, and the last one has unread rows."""
    query = "SELECT response FROM echoes WHERE payload IN ('6', '7')"
    query = f"{query} UNION ALL {BRANCHES} UNION ALL {query} UNION ALL SELECT 'ordinary'"
    with running(waiting_session, 9, waiting_session.execute, query):
        time.sleep(0.2)
        before = ticks(pid_of(waiting_session))
        time.sleep(1)
        assert ticks(pid_of(waiting_session)) - before < 5


@at_the_same_time
def test_error_of_a_branch_ends_the_others(waiting_session, endpoint):
    since = time.monotonic()
    error = failure(waiting_session.execute, f"{BRANCHES} UNION ALL SELECT response FROM fails WHERE payload = '6'")
    assert error.sqlstate == "38000" and time.monotonic() - since < 2
    assert sorted(functions()) == ["handled"] + ["hang"] * 5
    assert invoke(waiting_session, "echo", "[1]") == [1]


def test_cancel_in_a_subtransaction(waiting_session, connect, endpoint):
    """The invocations in flight are dropped after the block, and the transaction continues and commits."""
    other = connect()
    waiting_session.execute("CREATE TABLE IF NOT EXISTS kept (what text)")
    block = """
        DO $$ BEGIN
            BEGIN
                PERFORM insert_many();
            EXCEPTION WHEN query_canceled THEN
                INSERT INTO kept SELECT response FROM echoes WHERE payload = '"after"';
            END;
        END $$
    """
    with running(waiting_session, MOST, waiting_session.execute, block) as statement:
        other.execute("SELECT pg_cancel_backend(%s)", [pid_of(waiting_session)])
        statement.result(timeout=2)
    assert waiting_session.execute("SELECT * FROM kept").fetchall() == [('"after"',)]
    assert functions() == ["hang"] * MOST + ["echo"]
