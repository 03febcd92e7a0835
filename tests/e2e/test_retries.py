"""Which errors are retried, how often, and what a retry sends. The endpoint counts; its `first-N-…` fails N times.

Throttling is in test_throttling.py. test_faults.py too shows that nothing is sent again without a durable execution name.
"""

import time

import psycopg
import pytest

import tables
from background import error_within_2_s, running
from scripted import counter, executions, functions
from tables import failure

# After these the function may have run.
UNKNOWN = [
    ("reset-after", "08006"),
    ("close-after", "08006"),
    ("cut-body", "08006"),
    ("stall-body", "08007"),
    ("hang", "08007"),
    ("error-500-ServiceException", "58000"),
    ("error-503-ServiceUnavailable", "58000"),
    ("plain-502", "08P01"),
    ("plain-504", "08P01"),
]
# These are temporary, and the function did not run.
NOT_READY = [
    "error-409-CodeArtifactUserPending",
    "error-502-EC2Throttled",
    "error-502-ENINotReady",
    "error-502-ResourceNotReady",
    "error-409-SnapStartNotReady",
]
# These are permanent, and the function did not run.
REFUSED = [
    ("error-502-KMSAccessDeniedException", "55000"),
    ("error-502-EC2AccessDeniedException", "55000"),
    ("error-502-SubnetIPAddressLimitReachedException", "55000"),
    ("error-408-EFSMountTimeoutException", "55000"),
    ("error-502-InvalidRuntimeException", "55000"),
    ("error-409-SnapStartRegenerationFailureException", "55000"),
    ("error-403-AccessDeniedException", "42501"),
    ("error-404-ResourceNotFoundException", "42883"),
]
PAYLOAD = '{"b" : 1,  "a": "é"}'


@pytest.fixture
def table(session):
    """Makes a table of one function, with options."""

    def create(function, **options):
        tables.execute(session, "DROP FOREIGN TABLE IF EXISTS retried")
        tables.execute(
            session,
            "CREATE FOREIGN TABLE retried (payload text, tenant_id text, durable_execution_name text, invocation_type text,"
            " status_code int, response text, error_code text, error_message text, durable_execution_arn text)"
            " SERVER aws_lambda {options}",
            function_name=function,
            **options,
        )
        # Long enough for a loaded machine, and short for functions that hang.
        timeout = "300ms" if function.endswith(("hang", "stall-body")) else "10s"
        session.execute(f"SET aws_lambda.request_timeout_ms = '{timeout}'")

    return create


def invoke(session, name="order-1", payload=PAYLOAD, columns="response"):
    """With a durable execution name, or without."""
    clause = "durable_execution_name IS NOT DISTINCT FROM %s AND payload = %s"
    return session.execute(f"SELECT {columns} FROM retried WHERE {clause}", [name, payload]).fetchall()


@pytest.mark.parametrize("function, sqlstate", UNKNOWN)
def test_with_a_name_what_may_have_run_is_sent_again(session, endpoint, table, function, sqlstate):
    """The same name, tenant and payload, byte for byte."""
    table(f"first-2-{function}", tenant_id="a  b")
    (response,) = invoke(session)[0]
    assert '"durable_execution_name": "order-1"' in response
    assert executions() == [("order-1", "a  b", PAYLOAD)] * 3
    assert counter("invocations") == 3


@pytest.mark.parametrize("function, sqlstate", UNKNOWN)
def test_without_a_name_it_is_sent_once(session, endpoint, table, function, sqlstate):
    table(f"first-2-{function}")
    error = failure(invoke, session, None)
    assert error.sqlstate == sqlstate
    assert "may have run" in error.diag.message_hint and "durable" not in error.diag.message_hint
    assert functions() == [f"first-2-{function}"] and executions() == []


@pytest.mark.parametrize("function, sqlstate", [UNKNOWN[0], UNKNOWN[4], UNKNOWN[5], UNKNOWN[7]])
def test_the_bounds_hold_with_a_name(session, endpoint, table, function, sqlstate):
    """The error says that it may have run, how often it was tried, and that it may be invoked again."""
    table(function, max_retries="2")
    error = failure(invoke, session)
    assert error.sqlstate == sqlstate
    assert 'tried 3 times with durable execution name "order-1"' in error.diag.message_detail
    assert "may have run" in error.diag.message_hint
    assert "same durable execution name and payload" in error.diag.message_hint
    assert "was not invoked again" not in error.diag.message_hint
    assert executions() == [("order-1", r"\N", PAYLOAD)] * 3
    endpoint.reset()
    table(function, max_retries="100", retry_timeout_ms="1")
    assert failure(invoke, session).sqlstate == sqlstate
    assert counter("invocations") == 1


@pytest.mark.parametrize("last", ["error-403-AccessDeniedException", "throttle"])
def test_last_attempt_did_not_run_and_the_first_may_have(session, endpoint, table, last):
    """The error says that the first attempt may have run."""
    table(f"reset-then-{last}", max_retries="1")
    error = failure(invoke, session)
    assert error.sqlstate == "08006"
    assert "The last attempt: " in error.diag.message_detail and "may have run" in error.diag.message_hint
    assert counter("invocations") == 2


def test_events_too(session, endpoint, table):
    table("first-1-reset-after")
    values = "(durable_execution_name, payload) VALUES ('a', '1'), ('b', '2')"
    session.execute(f"INSERT INTO retried {values}")
    assert sorted(executions()) == [("a", r"\N", "1"), ("a", r"\N", "1"), ("b", r"\N", "2")] or sorted(executions()) == [
        ("a", r"\N", "1"),
        ("b", r"\N", "2"),
        ("b", r"\N", "2"),
    ]


@pytest.mark.parametrize("name", [None, "order-1"])
@pytest.mark.parametrize("function, sqlstate", REFUSED)
def test_what_would_fail_again_is_not_sent_again(session, endpoint, table, function, sqlstate, name):
    table(function)
    assert failure(invoke, session, name).sqlstate == sqlstate
    assert counter("invocations") == 1


def test_execution_name_in_use(session, endpoint, table):
    """By an execution with another payload. It is not retried."""
    table("echo", on_error="raise")
    assert invoke(session, payload="1") == [("1",)]
    assert invoke(session, payload="1") == [("1",)]
    error = failure(invoke, session, "order-1", "2")
    assert (error.sqlstate, error.diag.message_primary) == ("42710", 'could not invoke "echo": durable execution already started')
    assert "DurableExecutionAlreadyStartedException" in error.diag.message_detail
    assert error.diag.message_hint.startswith("The function did not run with this payload. Use another durable execution name")
    assert executions() == [("order-1", r"\N", payload) for payload in "112"]
    table("echo", on_error="return")
    assert invoke(session, "order-1", "2", "status_code, error_code") == [(409, "DurableExecutionAlreadyStartedException")]


# Functions that Lambda is still preparing


@pytest.mark.parametrize("ending", ["", "Exception"])
@pytest.mark.parametrize("function", NOT_READY)
def test_not_ready(session, endpoint, table, function, ending):
    table(f"first-2-{function}{ending}", retry_timeout_ms="2000")
    since = time.monotonic()
    assert len(invoke(session, None)) == 1
    # Half a tenth of a second and half of two tenths, at least: a tenth of what there is with the default.
    assert time.monotonic() - since > 0.15
    assert (counter("invocations"), executions()) == (3, [])


@pytest.mark.parametrize("function", NOT_READY)
def test_never_ready(session, endpoint, table, function):
    table(function, max_retries="2", retry_timeout_ms="2000")
    error = failure(invoke, session, None)
    assert error.sqlstate == "55006"
    assert error.diag.message_hint.startswith("The function did not run. Lambda is still preparing it: try again later")
    assert counter("invocations") == 3
    endpoint.reset()
    table(function, max_retries="100", retry_timeout_ms="200", on_error="return")
    code = function.split("-")[2]
    assert invoke(session, None, columns="error_code") == [(code,)]
    # Ten milliseconds, twenty, forty, eighty, and a hundred each: halves of these at least.
    assert 1 <= counter("invocations") < 12


def test_not_ready_counts_as_a_retry_and_does_not_lower_the_limit(session, endpoint, table):
    """All are retried together: the limit of attempts in flight is not halved, as it is after throttling."""
    table("first-8-error-502-ENINotReadyException", retry_timeout_ms="2000")
    query = "SELECT FROM retried WHERE payload = ANY (ARRAY(SELECT generate_series(1, 8)::text))"
    plan = session.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}").fetchone()[0][0]["Plan"]
    assert (plan["Invocations"], plan["Retries"], plan["Throttles"], plan["Errors"]) == (8, 8, 0, 0)
    assert counter("invocations") == 16


@pytest.mark.parametrize("way", ["cancel", "statement_timeout"])
def test_interrupt_during_a_backoff(session, endpoint, table, way):
    """The default has the first two pauses take more than half a second, and one."""
    table("error-502-ResourceNotReadyException")
    if way == "statement_timeout":
        session.execute("SET statement_timeout = '700ms'")
        since = time.monotonic()
        error = failure(invoke, session, None)
        assert isinstance(error, psycopg.errors.QueryCanceled) and time.monotonic() - since < 2.7
    else:
        with running(session, 1, invoke, session, None) as statement:
            since = time.monotonic()
            session.cancel()
            assert isinstance(error_within_2_s(statement, since), psycopg.errors.QueryCanceled)
    session.execute("RESET statement_timeout")
    made = counter("invocations")
    assert made <= 2
    table("echo")
    assert invoke(session, None, "1") == [("1",)]
    assert counter("invocations") == made + 1
