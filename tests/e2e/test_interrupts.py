"""A backend that waits for Lambda can be interrupted, uses no CPU, and leaves its signals to its main thread."""

import concurrent.futures
import os
import pathlib
import signal
import time

import pytest
from psycopg import sql

import tables
from background import error_within_2_s, is_running, pid_of, running, ticks
from scripted import EXAMPLE_KEYS, URL, counter, functions, invoke, wait_for_invocations, wait_until
from tables import failure

HANGING_ROLE = "arn:aws:iam::123456789012:role/hang"


@pytest.fixture
def waiting_session(session):
    """A session with a long request time-out."""
    session.execute("SET aws_lambda.request_timeout_ms = 900000")
    return session


def waiting(session, function="hang"):
    """Runs an invocation in the background, and yields once the endpoint has it."""
    return running(session, 1, invoke, session, function)


@pytest.mark.parametrize("function", ["hang", "stall-body", "sleep-60000"])
def test_cancel(waiting_session, connect, endpoint, function):
    """The statement ends, nothing is sent again, and the session works."""
    other = connect()
    with waiting(waiting_session, function) as statement:
        since = time.monotonic()
        other.execute("SELECT pg_cancel_backend(%s)", [pid_of(waiting_session)])
        assert error_within_2_s(statement, since).sqlstate == "57014"
    time.sleep(0.5)
    assert functions() == [function]
    assert invoke(waiting_session, "echo", "[1]") == [1]
    assert functions() == [function, "echo"]


def test_cancel_while_a_role_is_assumed(waiting_session, connect, endpoint):
    """Getting credentials is part of the invocation, so it can be interrupted too."""
    tables.create_server(waiting_session, "hanging_role", sts_endpoint_url=URL, role_arn=HANGING_ROLE)
    tables.create_mapping(waiting_session, "hanging_role", "postgres", **EXAMPLE_KEYS)
    other = connect()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        statement = pool.submit(tables.invoke, waiting_session, "hanging_role", "echo")
        wait_until(lambda: endpoint.counter("assume_role") == 1)
        since = time.monotonic()
        other.execute("SELECT pg_cancel_backend(%s)", [pid_of(waiting_session)])
        assert error_within_2_s(statement, since).sqlstate == "57014"
    assert functions() == []
    assert invoke(waiting_session, "echo", "[1]") == [1]


def test_cancel_many_times(waiting_session, connect, endpoint):
    """A cancelled invocation does not disturb or end the next ones."""
    other = connect()
    for _ in range(20):
        endpoint.reset()
        with waiting(waiting_session) as statement:
            other.execute("SELECT pg_cancel_backend(%s)", [pid_of(waiting_session)])
            assert statement.exception(timeout=10).sqlstate == "57014"
        assert invoke(waiting_session, "echo", "[1]") == [1]
    assert len(threads(pid_of(waiting_session))) == 2


def test_a_timeout_before_it_waits(waiting_session, endpoint):
    """PostgreSQL checks for no interrupts while it hashes 400 MB. The invocation may begin, and is not waited for."""
    tables.execute(waiting_session, "CREATE FOREIGN TABLE late (payload text, response text) SERVER aws_lambda {options}", function_name="hang")
    waiting_session.execute("SET plan_cache_mode = force_generic_plan")
    waiting_session.execute("PREPARE late (text) AS SELECT response FROM late WHERE payload = md5(repeat(repeat($1, 1000000), 400))")
    waiting_session.execute("SET statement_timeout = '600ms'")
    since = time.monotonic()
    error = failure(waiting_session.execute, "EXECUTE late ('x')")
    assert error.sqlstate == "57014" and 0.5 < time.monotonic() - since < 8
    waiting_session.execute("RESET statement_timeout")
    assert invoke(waiting_session, "echo", "[1]") == [1]


def test_statement_timeout(waiting_session, endpoint):
    waiting_session.execute("SET statement_timeout = '300ms'")
    since = time.monotonic()
    error = failure(invoke, waiting_session, "hang")
    took = time.monotonic() - since
    assert error.sqlstate == "57014" and 0.25 < took < 2
    waiting_session.execute("RESET statement_timeout")
    assert invoke(waiting_session, "echo", "[1]") == [1]
    assert functions() == ["hang", "echo"]


def test_terminate(waiting_session, connect, endpoint):
    other, pid = connect(), pid_of(waiting_session)
    with waiting(waiting_session) as statement:
        since = time.monotonic()
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
        assert error_within_2_s(statement, since).sqlstate == "57P01"
    wait_until(lambda: not is_running(pid), seconds=2)
    assert functions() == ["hang"]


def test_client_disconnects(waiting_session, endpoint):
    """With client_connection_check_interval, the backend ends when its client has disconnected."""
    waiting_session.execute("SET client_connection_check_interval = '200ms'")
    pid = pid_of(waiting_session)
    waiting_session.pgconn.send_query(b"SELECT aws_lambda.invoke('hang'::text, '1'::json)")
    wait_for_invocations(1)
    waiting_session.close()
    wait_until(lambda: not is_running(pid), seconds=2)
    with open(os.environ["PG_LOG"], errors="replace") as log:
        said = [line for line in log if f"[{pid}] FATAL:" in line]
    assert len(said) == 1 and "connection to client lost" in said[0]
    assert functions() == ["hang"]


def test_session_ends_without_delay(session):
    """The network thread does not delay the end of the backend."""
    pid = pid_of(session)
    invoke(session, "echo")
    session.close()
    wait_until(lambda: not is_running(pid), seconds=1)


def test_wait_event(waiting_session, connect, endpoint):
    other = connect()
    with waiting(waiting_session):
        row = other.execute(
            "SELECT state, wait_event_type FROM pg_stat_activity WHERE pid = %s", [pid_of(waiting_session)]
        ).fetchone()
    assert row == ("active", "Extension")


@pytest.mark.parametrize("function", ["hang", "stall-body"])
def test_waiting_uses_no_cpu(waiting_session, endpoint, function):
    with waiting(waiting_session, function):
        before = ticks(pid_of(waiting_session))
        time.sleep(1)
        assert ticks(pid_of(waiting_session)) - before < 5


# Many invocations at once: of a hundred values the first sixty-four are in flight

LIST = "SELECT count(response) FROM {} WHERE payload = ANY (ARRAY(SELECT generate_series(1, 100)::text))"
JOIN = "SELECT count(response) FROM generate_series(1, 100) AS i JOIN {} ON payload = i::text"
forms = pytest.mark.parametrize("form", [LIST, JOIN], ids=["list", "join"])


@pytest.fixture
def sets(waiting_session):
    """The session, with a table for each function."""
    for name, function, others in [
        ("hanging", "hang", ""),
        ("hanging_rows", "hang", ", on_error 'return'"),
        ("hanging_once", "hang", ", deduplicate 'true'"),
        ("throttled", "throttle", ", max_retries '100'"),
        ("mock", "mock", ""),
        ("slow", "accept-100", ""),
        ("echoing", "echo", ""),
    ]:
        waiting_session.execute(
            f"CREATE FOREIGN TABLE IF NOT EXISTS {name} (payload text, response text, error_code text) SERVER aws_lambda"
            f" OPTIONS (function_name '{function}'{others})"
        )
    return waiting_session


def connections():
    """The number of connections to the endpoint."""
    remote = f"0100007F:{int(os.environ['ENDPOINT_PORT']):04X}"
    fields = (line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines())
    # 01 is ESTABLISHED.
    return sum(field[2:4] == [remote, "01"] for field in fields)


def assert_dropped(invocations):
    """Nothing is in flight any more, and nothing is sent again."""
    wait_until(lambda: connections() == 0, seconds=2)
    time.sleep(0.2)
    assert (counter("invocations"), connections()) == (invocations, 0)


def assert_usable(session):
    for form in (LIST, JOIN):
        assert session.execute(form.format("echoing")).fetchone() == (100,)


@pytest.mark.parametrize("form, table", [
    (LIST, "hanging"), (JOIN, "hanging"), (LIST, "hanging_once"), (JOIN, "hanging_rows"),
], ids=["list", "join", "deduplicated list", "join that returns errors"])  # fmt: skip
def test_cancel_many(sets, connect, endpoint, form, table):
    """The statement ends, with on_error 'return' too, and drops its invocations."""
    other = connect()
    with running(sets, 64, sets.execute, form.format(table)) as statement:
        since = time.monotonic()
        other.execute("SELECT pg_cancel_backend(%s)", [pid_of(sets)])
        assert error_within_2_s(statement, since).sqlstate == "57014"
    assert_dropped(64)
    assert_usable(sets)


@forms
def test_cancel_while_throttled(sets, connect, endpoint, form):
    """Sixty-four wait for their next attempt or for a permit."""
    other = connect()
    with running(sets, 128, sets.execute, form.format("throttled")) as statement:
        since = time.monotonic()
        other.execute("SELECT pg_cancel_backend(%s)", [pid_of(sets)])
        assert error_within_2_s(statement, since).sqlstate == "57014"
    time.sleep(0.1)
    attempts = counter("invocations")
    time.sleep(0.3)
    assert counter("invocations") == counter("throttled") == attempts
    assert_usable(sets)


@forms
def test_statement_timeout_of_many(sets, endpoint, form):
    sets.execute("SET statement_timeout = '300ms'")
    since = time.monotonic()
    error = failure(sets.execute, form.format("hanging"))
    assert error.sqlstate == "57014" and 0.25 < time.monotonic() - since < 2.3
    sets.execute("RESET statement_timeout")
    assert_dropped(64)
    assert_usable(sets)


@pytest.mark.parametrize("form, table", [(LIST, "throttled"), (JOIN, "hanging")], ids=["throttled list", "join"])
def test_terminate_many(sets, connect, endpoint, form, table):
    other, pid = connect(), pid_of(sets)
    with running(sets, 64, sets.execute, form.format(table)) as statement:
        since = time.monotonic()
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
        assert error_within_2_s(statement, since).sqlstate == "57P01"
    wait_until(lambda: not is_running(pid), seconds=2)
    assert_dropped(counter("invocations"))


def test_client_of_many_disconnects(sets, endpoint):
    sets.execute("SET client_connection_check_interval = '200ms'")
    pid = pid_of(sets)
    sets.pgconn.send_query(JOIN.format("hanging").encode())
    wait_for_invocations(64)
    sets.close()
    wait_until(lambda: not is_running(pid), seconds=2)
    assert_dropped(64)


@pytest.mark.parametrize("query", [
    "SELECT response FROM mock WHERE payload = ANY (ARRAY({}))",
    "SELECT response FROM ({} OFFSET 0) AS orders JOIN mock USING (payload)",
], ids=["list", "join"])  # fmt: skip
def test_cancel_a_cursor(sets, connect, endpoint, query):
    """The rows before are returned, and after the cancelled FETCH the transaction can only be rolled back."""
    other = connect()
    orders = """SELECT format('{"as": "%s", "n": %s}', CASE i WHEN 1 THEN 'number' ELSE 'hang' END, i) AS payload
        FROM generate_series(1, 100) AS i"""
    sets.execute("BEGIN")
    sets.execute("DECLARE c CURSOR FOR " + query.format(orders))
    assert sets.execute("FETCH 1 FROM c").fetchall() == [("1.0000000000000000001",)]
    before = counter("invocations")
    with running(sets, before + 1, sets.execute, "FETCH ALL FROM c") as statement:
        since = time.monotonic()
        other.execute("SELECT pg_cancel_backend(%s)", [pid_of(sets)])
        assert error_within_2_s(statement, since).sqlstate == "57014"
    assert failure(sets.execute, "FETCH 1 FROM c").sqlstate == "25P02"
    sets.execute("ROLLBACK")
    assert_usable(sets)


@forms
def test_cancel_that_a_function_catches(sets, connect, endpoint, form):
    """The statement continues, and the invocations in flight are dropped meanwhile: soon their connections are closed."""
    other = connect()
    sets.execute(
        f"""
        CREATE OR REPLACE FUNCTION catching() RETURNS bigint LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM * FROM ({form.format("hanging")}) AS q;
            RETURN NULL;
        EXCEPTION WHEN query_canceled THEN
            PERFORM pg_sleep(0.1);
            RETURN ({form.format("slow")});
        END $$
        """
    )
    with running(sets, 64, sets.execute, "SELECT catching()") as statement:
        other.execute("SELECT pg_cancel_backend(%s)", [pid_of(sets)])
        assert statement.result(timeout=10).fetchone() == (100,)
    assert (counter("invocations"), counter("most_in_flight")) == (164, 64)
    assert_usable(sets)


def test_cancel_many_again_and_again(sets, connect, endpoint):
    """No thread, file or connection is leaked."""
    other, pid = connect(), pid_of(sets)
    assert_usable(sets)
    files = None
    for turn in range(6):
        endpoint.reset()
        with running(sets, 64, sets.execute, (LIST, JOIN)[turn % 2].format("hanging")) as statement:
            other.execute("SELECT pg_cancel_backend(%s)", [pid])
            assert statement.exception(timeout=10).sqlstate == "57014"
        wait_until(lambda: connections() == 0, seconds=2)
        files = files or len(os.listdir(f"/proc/{pid}/fd"))
    assert len(os.listdir(f"/proc/{pid}/fd")) <= files
    assert len(threads(pid)) == 2
    assert_usable(sets)


def test_waiting_for_many_uses_no_cpu(sets, endpoint):
    with running(sets, 64, sets.execute, JOIN.format("hanging")):
        time.sleep(0.2)
        before = ticks(pid_of(sets))
        time.sleep(0.5)
        assert ticks(pid_of(sets)) - before < 5


def threads(pid):
    return sorted(map(int, os.listdir(f"/proc/{pid}/task")))


def blocked_signals(pid, thread):
    status = pathlib.Path(f"/proc/{pid}/task/{thread}/status").read_text()
    mask = int(dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)["SigBlk"], 16)
    return {s for s in signal.Signals if mask >> (s - 1) & 1}


POSTGRES_SIGNALS = {
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGURG, signal.SIGCHLD, signal.SIGPIPE, signal.SIGFPE,
}  # fmt: skip


def test_one_thread_until_the_first_invocation(session):
    """EXPLAIN is no invocation."""
    session.execute("SELECT count(*) FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND false")
    session.execute("EXPLAIN SELECT * FROM aws_lambda.invoke('echo', '1'::json)")
    session.execute("LOAD 'aws_lambda_fdw'")
    assert threads(pid_of(session)) == [pid_of(session)]


@pytest.mark.parametrize("call", [lambda session: invoke(session, "echo"), lambda session: assert_usable(session)], ids=["alone", "two"])
def test_one_thread_more_after_the_first(sets, call):
    """It runs several invocations, and otherwise sleeps until connections are to be closed."""
    before = blocked_signals(pid_of(sets), pid_of(sets))
    for _ in range(3):
        call(sets)
    main, network = threads(pid_of(sets))
    assert main == pid_of(sets)
    assert blocked_signals(main, main) == before
    assert blocked_signals(main, network) >= POSTGRES_SIGNALS


def test_signals_are_blocked_in_every_other_thread(session, endpoint):
    """A third thread resolves host names. `127.1` is a name that needs no name server."""
    session.execute(sql.SQL("SET aws_lambda.endpoint_override = {}").format(URL.replace("127.0.0.1", "127.1")))
    invoke(session, "echo")
    main, *others = threads(pid_of(session))
    assert others
    for thread in others:
        assert blocked_signals(main, thread) >= POSTGRES_SIGNALS
