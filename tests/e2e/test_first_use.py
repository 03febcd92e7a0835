"""A session's first use of the library, by an ordinary role: the session's settings count from the first invocation on.

PostgreSQL applies the session's settings when a library is loaded, but not while a parallel query runs. So planning loads it. If that is
not possible, the statement is an error.
"""

import contextlib

import psycopg
import pytest

from own_server import connect, own_server
from scripted import counter
from tables import failure

CALL = "(aws_lambda.invoke('describe', '1'::json)).payload ->> 'region'"
# With these settings a few rows are read in parallel.
PARALLEL = "-c parallel_setup_cost=0 -c parallel_tuple_cost=0 -c min_parallel_table_scan_size=0"


@pytest.fixture(scope="module")
def server():
    with own_server() as server:
        with contextlib.closing(connect(server)) as administrator:
            administrator.execute(
                """
                CREATE ROLE eve LOGIN;
                GRANT USAGE ON SCHEMA aws_lambda TO eve;
                GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA aws_lambda TO eve;
                CREATE TABLE t AS SELECT i FROM generate_series(1, 10) i;
                ALTER TABLE t SET (parallel_workers = 2);
                ANALYZE t;
                GRANT SELECT ON t TO eve;
                """
            )
            for name, safety in [("restricted", "RESTRICTED"), ("safe", "SAFE"), ("unsafe", "UNSAFE")]:
                administrator.execute(
                    f"CREATE FUNCTION {name}() RETURNS text LANGUAGE plpgsql PARALLEL {safety} SECURITY DEFINER AS"
                    f" $$ BEGIN RETURN {CALL}; END $$"
                )
        yield server


@pytest.fixture
def eve(server, endpoint):
    """A new session of the role."""
    with contextlib.ExitStack() as sessions:

        def log_in():
            session = psycopg.connect(
                host=server.socket_dir, port=5432, user="eve", dbname="postgres", autocommit=True,
                options=f"{PARALLEL} -c aws_lambda.region=eu-west-1 -c aws_lambda.max_invocations=3",
            )  # fmt: skip
            return sessions.enter_context(contextlib.closing(session))

        yield log_in


def is_parallel(session, query):
    return "Gather" in str(session.execute(f"EXPLAIN {query}").fetchall())


@pytest.mark.parametrize("query", [
    f"SELECT {CALL} FROM t WHERE i < 3",
    "SELECT l.payload ->> 'region' FROM t, LATERAL (SELECT * FROM aws_lambda.invoke('describe', i::text::json)) l WHERE i < 3",
    "SELECT l.payload ->> 'region' FROM t CROSS JOIN aws_lambda.invoke('describe', i::text::json) l WHERE i < 3",
])  # fmt: skip
def test_settings_count_in_a_parallel_plan(eve, query):
    session = eve()
    assert is_parallel(eve(), query)
    assert session.execute(query).fetchall() == [("eu-west-1",)] * 2
    assert counter("invocations") == 2
    assert failure(session.execute, query.replace("i < 3", "i < 9")).sqlstate == "53400"
    assert counter("invocations") <= 2 + 3


@pytest.mark.parametrize("function", ["restricted", "safe"])
def test_a_function_that_hides_the_call_is_refused(eve, function):
    """A session whose settings do not apply invokes nothing. Once they apply, the same statement runs."""
    session = eve()
    query = f"SELECT {function}() FROM t WHERE i < 3"
    assert is_parallel(session, query)
    for _ in range(2):
        error = failure(session.execute, query)
        assert error.sqlstate == "55000" and "PARALLEL UNSAFE" in error.diag.message_hint
    assert counter("invocations") == 0
    assert session.execute(f"SELECT {CALL}").fetchall() == [("eu-west-1",)]
    assert session.execute(query).fetchall() == [("eu-west-1",)] * 2
    assert counter("invocations") == 3


def test_a_function_that_is_unsafe_needs_nothing(eve):
    session = eve()
    assert not is_parallel(session, "SELECT unsafe() FROM t WHERE i < 3")
    assert session.execute("SELECT unsafe() FROM t WHERE i < 3").fetchall() == [("eu-west-1",)] * 2
