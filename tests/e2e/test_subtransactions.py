"""Many failing calls in subtransactions of one statement or transaction: each is made once, and leaks nothing.

SOAK=1 runs three thousand of each kind. `pytest -rP` shows the memory over time. Cursors and loops of few rows are in
tests/regress/sql/cursors.sql and loops.sql.
"""

import json
import os
import pathlib
import socket
import time

import psycopg
import pytest

from background import pid_of
from scripted import EXAMPLE_KEYS, counter, functions, invoke, wait_until
from tables import failure, options

TIMES = 3_000 if os.environ.get("SOAK") else 100
# Warm-up calls, so that memory is measured after one-time allocations.
WARMING = 50

# Failing calls: SQLSTATE, and the number of invocations.
UNHANDLED = '\'{"as": "unhandled"}\''
LAST = f"payload IN ('1', '2', {UNHANDLED})"
KINDS = {
    "function": (f"SELECT response FROM mock WHERE payload = {UNHANDLED}", "38000", 1),
    "documented function": ("SELECT payload FROM aws_lambda.invoke('unhandled', '1'::jsonb)", "38000", 1),
    "Lambda": ("SELECT response FROM mock WHERE payload = '{\"as\": \"error-403-AccessDeniedException\"}'", "42501", 1),
    "throttled": ("SELECT response FROM mock WHERE payload = '{\"as\": \"throttle\"}'", "53400", 1),
    "lost connection": ("SELECT response FROM mock WHERE payload = '{\"as\": \"reset-after\"}'", "08006", 1),
    "no connection": ("SELECT response FROM nobody WHERE payload = '1'", "08001", 0),
    "invalid name": ("SELECT response FROM any_function WHERE function_name = 'a b' AND payload = '1'", "22023", 0),
    "no name": ("SELECT response FROM any_function WHERE payload = '1'", "HV00L", 0),
    "too many": ("SELECT response FROM at_most_one WHERE payload IN ('1', '2')", "53400", 0),
    "no JSON": ("SELECT response FROM into_jsonb WHERE payload = '{\"as\": \"html\"}'", "22P02", 1),
    "last of a list": (f"SELECT count(response) FROM mock WHERE {LAST}", "38000", 3),
    "last of equal ones": (f"SELECT count(response) FROM once WHERE {LAST}", "38000", 3),
    "last of a join": (
        f"SELECT count(response) FROM (VALUES ('1'), ('2'), ({UNHANDLED})) v (p) JOIN mock ON payload = p", "38000", 3,
    ),
    "last of an INSERT": (f"INSERT INTO mock (payload) VALUES ('1'), ('2'), ({UNHANDLED})", "38000", 3),
    "above a list": ("SELECT 1 / (count(response) - 2) FROM mock WHERE payload IN ('1', '2')", "22012", 2),
    "above branches": (
        "SELECT 1 / (count(response) - 2) FROM (SELECT response FROM mock WHERE payload = '1'"
        " UNION ALL SELECT response FROM mock WHERE payload = '2') b", "22012", 2,
    ),
}  # fmt: skip
SUCCEEDING = "SELECT response FROM mock WHERE payload = '1'"

TABLES = """
    CREATE SERVER quick FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (max_retries '0');
    CREATE SERVER closed FOREIGN DATA WRAPPER aws_lambda_fdw
        OPTIONS (max_retries '0', endpoint_url 'http://127.0.0.1:{port}');
    CREATE USER MAPPING FOR PUBLIC SERVER quick {mapping};
    CREATE USER MAPPING FOR PUBLIC SERVER closed {mapping};
    CREATE FOREIGN TABLE mock (payload text, response text) SERVER quick
        OPTIONS (function_name 'mock', invocation_type 'RequestResponse');
    CREATE FOREIGN TABLE into_jsonb (payload text, response jsonb) SERVER quick OPTIONS (function_name 'mock');
    CREATE FOREIGN TABLE once (payload text, response text) SERVER quick
        OPTIONS (function_name 'mock', deduplicate 'true');
    CREATE FOREIGN TABLE at_most_one (payload text, response text) SERVER quick
        OPTIONS (function_name 'mock', max_invocations '1');
    CREATE FOREIGN TABLE any_function (function_name text, payload text, response text) SERVER quick;
    CREATE FOREIGN TABLE nobody (payload text, response text) SERVER closed OPTIONS (function_name 'echo');
    CREATE FOREIGN TABLE waiting_session (payload text, response text) SERVER aws_lambda
        OPTIONS (function_name 'mock', max_retries '100');

    -- Memory in contexts, and how many of them are the extension's.
    CREATE FUNCTION kept(OUT bytes bigint, OUT ours int) LANGUAGE sql AS $$
        SELECT sum(total_bytes), count(*) FILTER (WHERE name LIKE 'aws_lambda%') FROM pg_backend_memory_contexts
    $$;
    -- All but each tenth time fail. Tells how much memory has grown meanwhile, and how many contexts are ours.
    CREATE PROCEDURE fail(
        failing text, state text, succeeding text, times int, commits bool, INOUT grown bigint, INOUT ours int)
    LANGUAGE plpgsql AS $$
    DECLARE
        before bigint;
    BEGIN
        FOR i IN 1..times + {warming} LOOP
            BEGIN
                IF i % 10 = 0 THEN
                    EXECUTE succeeding;
                ELSE
                    EXECUTE failing;
                    RAISE 'it did not fail';
                END IF;
            EXCEPTION WHEN OTHERS THEN
                IF SQLSTATE <> state THEN RAISE; END IF;
            END;
            IF commits THEN COMMIT; END IF;
            IF i = {warming} THEN before := (SELECT bytes FROM kept()); END IF;
        END LOOP;
        SELECT bytes - before, k.ours FROM kept() k INTO grown, ours;
    END $$;
    CREATE FUNCTION fail(failing text, state text, succeeding text, times int, OUT grown bigint, OUT ours int)
    LANGUAGE plpgsql AS $$
    BEGIN
        CALL fail(failing, state, succeeding, times, false, grown, ours);
    END $$;
"""


@pytest.fixture(scope="module")
def schema(database):
    with socket.socket() as closed, psycopg.connect(dbname=database, autocommit=True) as session:
        # Bound and not listening, so that no other process gets the port.
        closed.bind(("127.0.0.1", 0))
        mapping = options(EXAMPLE_KEYS).as_string(session)
        session.execute(TABLES.format(port=closed.getsockname()[1], mapping=mapping, warming=WARMING))
        yield


@pytest.fixture
def usable(schema, session, endpoint):
    """A session that has invoked, and can invoke at the end."""
    # LLVM alone takes 70 MB.
    session.execute("SET jit = off")
    invoke(session, "echo")
    endpoint.reset()
    yield session
    assert invoke(session, "echo", "[1]") == [1]


def resources(session):
    """Memory of a backend in kB, its peak, threads and descriptors."""
    pid = pid_of(session)
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    numbers = {name: int(status[name].split()[0]) for name in ("VmRSS", "VmHWM", "Threads")}
    return {**numbers, "files": len(os.listdir(f"/proc/{pid}/fd"))}


def as_function(session, times, failing, state):
    """In one statement, which frees memory at its end."""
    query = "SELECT * FROM fail(%s, %s, %s, %s)"
    return session.execute(query, [failing, state, SUCCEEDING, times]).fetchone()


def as_procedure(session, times, failing, state):
    """In one statement, each in its own transaction."""
    query = "CALL fail(%s, %s, %s, %s, true, NULL, NULL)"
    return session.execute(query, [failing, state, SUCCEEDING, times]).fetchone()


def with_savepoints(session, times, failing, state):
    """In one transaction, with prepared statements."""
    with session.transaction():
        # Prepared with SQL, because the client prepares failed statements again.
        session.execute(f"PREPARE failing AS {failing}; PREPARE succeeding AS {SUCCEEDING}")
        for number in range(1, times + WARMING + 1):
            session.execute("SAVEPOINT s")
            if number % 10 == 0:
                session.execute("EXECUTE succeeding")
            else:
                assert failure(session.execute, "EXECUTE failing").sqlstate == state
                session.execute("ROLLBACK TO s")
            session.execute("RELEASE s")
            if number == WARMING:
                before, _ = session.execute("SELECT * FROM kept()").fetchone()
        after, ours = session.execute("SELECT * FROM kept()").fetchone()
        session.execute("DEALLOCATE ALL")
        return after - before, ours


@pytest.mark.parametrize("form", [as_function, as_procedure, with_savepoints], ids=lambda form: form.__name__)
@pytest.mark.parametrize("failing, state, invocations", KINDS.values(), ids=KINDS)
def test_failing_often(usable, form, failing, state, invocations):
    form(usable, 0, failing, state)
    before, made = resources(usable), counter("invocations")
    grown, ours = form(usable, TIMES, failing, state)
    after = resources(usable)
    print(f"contexts grew by {grown} bytes\n{before}\n{after}")
    assert made == WARMING // 10 * (9 * invocations + 1)
    assert counter("invocations") - made == (TIMES + WARMING) // 10 * (9 * invocations + 1)
    # In bytes, and in kB.
    assert grown < 40_000 and ours == 0
    assert after["VmHWM"] - before["VmHWM"] < 1_000 and after["VmRSS"] - before["VmRSS"] < 1_000
    # One connection more if the last call lost one, and a file that PostgreSQL opened.
    assert after["Threads"] <= 2 and after["files"] <= before["files"] + 2


def test_savepoints_in_each_other(usable):
    """A hundred levels, rolled back from the innermost or all at once."""
    depth = 100
    with usable.transaction():
        for turn in range(3):
            for level in range(depth):
                usable.execute(f"SAVEPOINT s{level}")
                assert invoke(usable, "echo", str(level)) == level
            for level in (depth - 1, depth // 2, 0):
                assert failure(invoke, usable, "unhandled").sqlstate == "38000"
                assert failure(invoke, usable, "echo").sqlstate == "25P02"
                usable.execute(f"ROLLBACK TO s{level}")
                assert invoke(usable, "echo", "[1]") == [1]
    assert (functions().count("echo"), functions().count("unhandled")) == (3 * depth + 9, 9)


# Cursors and loops with invocations in flight at the end of a subtransaction

PAYLOADS = [json.dumps({"ms": 20, "n": n}) for n in range(1, 9)]
LIST = ", ".join(f"'{payload}'" for payload in PAYLOADS)
QUERIES = {
    "list": f"SELECT response FROM mock WHERE payload IN ({LIST})",
    "join": f"SELECT response FROM unnest(ARRAY[{LIST}]) p JOIN mock ON payload = p",
    "branches": " UNION ALL ".join(f"SELECT response FROM mock WHERE payload = '{payload}'" for payload in PAYLOADS),
    "calls": f"""
        SELECT payload::text AS response FROM unnest(ARRAY[{LIST}]) p, LATERAL aws_lambda.invoke('mock', p::json)
    """,
}
queries = pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)


@queries
def test_cursor_between_failures(usable, query):
    """A cursor that is read in rolled-back savepoints returns each row once."""
    with usable.transaction():
        usable.execute(f"DECLARE c CURSOR FOR {query}")
        rows = usable.execute("FETCH 1 FROM c").fetchall()
        for failing, state, _ in KINDS.values():
            usable.execute("SAVEPOINT s")
            rows += usable.execute("FETCH 1 FROM c").fetchall()
            assert failure(usable.execute, failing).sqlstate == state
            usable.execute("ROLLBACK TO s")
        assert usable.execute("FETCH ALL FROM c").fetchall() == []
    assert sorted(row for row, in rows) == PAYLOADS
    assert counter("invocations") == len(PAYLOADS) + sum(number for _, _, number in KINDS.values())


@queries
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "NULL"])
def test_loop_whose_body_fails(usable, query, end):
    """If the transaction ends in the loop, PostgreSQL materializes the rest of its rows."""
    usable.execute(
        f"""
        CREATE OR REPLACE PROCEDURE looping(INOUT rows text[]) LANGUAGE plpgsql AS $$
        DECLARE
            r record;
        BEGIN
            FOR r IN {query} LOOP
                BEGIN
                    rows := rows || r.response;
                    PERFORM response FROM mock WHERE payload = {UNHANDLED};
                EXCEPTION WHEN external_routine_exception THEN
                    NULL;
                END;
                {end};
            END LOOP;
        END $$
        """
    )
    (rows,) = usable.execute("CALL looping('{}')").fetchone()
    assert sorted(rows) == PAYLOADS
    assert counter("invocations") == 2 * len(PAYLOADS)


@queries
def test_cursor_read_in_blocks_that_fail(usable, query):
    """Invocations started there belong to the cursor and not to the block."""
    usable.execute(
        f"""
        CREATE OR REPLACE FUNCTION reading() RETURNS text[] LANGUAGE plpgsql AS $$
        DECLARE
            c CURSOR FOR {query};
            response text;
            rows text[];
        BEGIN
            OPEN c;
            LOOP
                BEGIN
                    FETCH c INTO response;
                    EXIT WHEN NOT FOUND;
                    rows := rows || response;
                    PERFORM 1 / 0;
                EXCEPTION WHEN division_by_zero THEN
                    NULL;
                END;
            END LOOP;
            RETURN rows;
        END $$
        """
    )
    (rows,) = usable.execute("SELECT reading()").fetchone()
    assert sorted(rows) == PAYLOADS
    assert counter("invocations") == len(PAYLOADS)


# One that ends after some time, and others that are retried until they are dropped.
MIXED = """
    DECLARE c CURSOR FOR SELECT {}
    FROM unnest(ARRAY['1', '2', '{{"ms": 100}}', '{{"as": "throttle"}}', '{{"as": "throttle", "n": 2}}']) p
    JOIN waiting_session ON payload = p
"""
HAS_ALL_ON_THE_WAY = "FETCH 1 FROM c; FETCH 1 FROM c; FETCH 1 FROM c"


def assert_dropped():
    """No attempt comes any more, although retries would take seconds. The first backoff is half a second at most."""
    time.sleep(0.1)
    attempts = counter("throttled")
    assert attempts > 0
    time.sleep(0.6)
    assert counter("throttled") == attempts


@pytest.mark.parametrize("declared", ["before", "inside"])
def test_cursor_that_fails(usable, declared):
    """The cursor's invocations in flight are dropped, and the transaction continues."""
    with usable.transaction():
        if declared == "inside":
            usable.execute("SAVEPOINT s")
        usable.execute(MIXED.format("1 / (length(response) - 11)"))
        if declared == "before":
            usable.execute("SAVEPOINT s")
        assert failure(usable.execute, HAS_ALL_ON_THE_WAY).sqlstate == "22012"
        assert_dropped()
        usable.execute("ROLLBACK TO s")
        assert failure(usable.execute, "FETCH 1 FROM c").sqlstate == ("55000" if declared == "before" else "34000")
        usable.execute("ROLLBACK TO s")
        assert invoke(usable, "echo", "[1]") == [1]


def test_cursor_of_a_savepoint_that_is_rolled_back(usable):
    """The cursor is closed, and its invocations in flight are dropped."""
    with usable.transaction():
        usable.execute("SAVEPOINT s")
        usable.execute(MIXED.format("response"))
        usable.execute(HAS_ALL_ON_THE_WAY)
        wait_until(lambda: counter("throttled") >= 2)
        usable.execute("ROLLBACK TO s")
        assert_dropped()
        assert failure(usable.execute, "FETCH 1 FROM c").sqlstate == "34000"


def test_cursor_of_a_savepoint_that_is_released(usable):
    """The cursor stays open until it is closed, although a later savepoint is rolled back."""
    with usable.transaction():
        usable.execute("SAVEPOINT s")
        usable.execute(MIXED.format("response"))
        usable.execute("FETCH 1 FROM c; FETCH 1 FROM c")
        usable.execute("RELEASE s")
        usable.execute("SAVEPOINT t")
        failure(usable.execute, "SELECT 1 / 0")
        usable.execute("ROLLBACK TO t")
        assert usable.execute("FETCH 1 FROM c").fetchall() == [('{"ms": 100}',)]
        # Retries continue until it is closed.
        attempts = counter("throttled")
        wait_until(lambda: counter("throttled") > attempts)
        usable.execute("CLOSE c")
        assert_dropped()
    assert counter("invocations") - counter("throttled") == 3
