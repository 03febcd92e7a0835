"""Connections and time-outs: the number of connections, and no second invocation after one breaks."""

import contextlib
import os
import pathlib
import socket
import time

import psycopg
import pytest
from psycopg import sql

import tables
from background import running
from listeners import full_listener
from scripted import EXAMPLE_KEYS, OTHER_KEYS, counter, functions, invoke
from tables import failure, primary


def test_a_session_keeps_its_connection(session, endpoint):
    for number in range(20):
        assert invoke(session, "echo", str(number)) == number
    assert (counter("invocations"), counter("connections")) == (20, 1)


def test_a_connection_that_waits_is_kept_alive(session, endpoint):
    """A NAT drops connections that are idle for minutes, and a function may run for half an hour."""
    session.execute("SET aws_lambda.request_timeout_ms = '1h'")
    with running(session, 1, failure, invoke, session, "hang"):
        port = f":{int(os.environ['ENDPOINT_PORT']):04X}"
        lines = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()]
        # Local and remote address, state, queues, timer (proc_net_tcp.rst): 01 is established, 02 the timer of keepalive.
        timers = [line[5] for line in lines if line[2].endswith(port) and line[3] == "01"]
        assert len(timers) == 1
        kind, _, ticks = timers[0].partition(":")
        assert kind == "02" and int(ticks, 16) <= 60 * os.sysconf("SC_CLK_TCK")
        session.cancel()


def test_each_session_has_its_own_connection(connect, endpoint):
    for _ in range(3):
        invoke(connect(), "echo")
    assert (counter("invocations"), counter("connections")) == (3, 3)


# Time-outs


@pytest.mark.parametrize("setting", ["connect_timeout_ms", "request_timeout_ms"])
def test_bounds_of_time_outs(session, setting):
    session.execute("LOAD 'aws_lambda_fdw'")
    for value in (1, 3600000):
        session.execute(f"SET aws_lambda.{setting} = {value}")
    for value in (0, -1, 3600001):
        assert failure(session.execute, f"SET aws_lambda.{setting} = {value}").sqlstate == "22023"


@pytest.mark.parametrize("function", ["hang", "sleep-1500", "stall-body", "slow-headers-1500", "slow-body-1500"])
def test_request_timeout(session, endpoint, function):
    """It bounds the whole answer. The function may have run, and is not invoked again."""
    session.execute("SET aws_lambda.request_timeout_ms = 300")
    since = time.monotonic()
    error = failure(invoke, session, function, '"some text of some length"')
    assert 0.25 < time.monotonic() - since < 1.2
    assert error.sqlstate == "08007"
    assert_not_sent_again([function])


def test_request_timeout_long_enough(session, endpoint):
    session.execute("SET aws_lambda.request_timeout_ms = 2000")
    assert invoke(session, "sleep-500", "[1]") == [1]


def test_server_options_come_before_settings(session, endpoint):
    session.execute("SET aws_lambda.request_timeout_ms = '1h'")
    session.execute("BEGIN")
    session.execute("ALTER SERVER aws_lambda OPTIONS (ADD request_timeout_ms '300')")
    assert failure(invoke, session, "hang").sqlstate == "08007"
    session.execute("ROLLBACK")


def test_connect_timeout(session):
    """A listener with a full backlog does not accept connections. Nothing is sent to it."""
    with full_listener() as listener:
        send_to(session, listener.getsockname()[1])
        session.execute("SET aws_lambda.connect_timeout_ms = 200")
        since = time.monotonic()
        error = failure(invoke, session, "echo")
        took = time.monotonic() - since
        assert (error.sqlstate, primary(error)) == ("08004", "invoke API failed")
        assert 0.15 < took < 2
        assert received(listener) == b""


def received(listener):
    """The bytes that a listener gets until there are none for a second and a half."""
    listener.settimeout(1.5)
    found = b""
    with contextlib.suppress(socket.timeout):
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(BlockingIOError):
                connection.setblocking(False)
                found += connection.recv(4096)
    return found


def send_to(session, port):
    session.execute(sql.SQL("SET aws_lambda.endpoint_override = {}").format(f"http://127.0.0.1:{port}"))


def test_connection_refused(session, endpoint):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    send_to(session, port)
    error = failure(invoke, session, "echo")
    assert (error.sqlstate, primary(error)) == ("08001", "invoke API failed")
    assert error.diag.message_detail.startswith("AWS Lambda client returned 'Unable to connect to endpoint'.")


# What may have run is never sent again


def assert_not_sent_again(expected):
    """Checks twice, because an extra attempt would come later."""
    assert functions() == expected
    time.sleep(0.3)
    assert functions() == expected
    assert counter("invocations") == len(expected)


@pytest.mark.parametrize("kept_alive", [False, True], ids=["new", "kept-alive"])
@pytest.mark.parametrize("function, sqlstate", [
    ("reset-after", "08006"),
    ("close-after", "08006"),
    ("cut-body", "08006"),
    ("garbage", "08P01"),
    ("huge-headers", "08P01"),
    ("error-500-ServiceException", "58000"),
    ("error-502-KMSAccessDeniedException", "55000"),
    ("error-503-ServiceUnavailable", "58000"),
    ("plain-502", "08P01"),
    ("plain-504", "08P01"),
])  # fmt: skip
def test_no_second_attempt(session, endpoint, function, sqlstate, kept_alive):
    """Neither on a new connection nor on a kept one."""
    before = ["echo"] if kept_alive else []
    for name in before:
        invoke(session, name)
    error = failure(invoke, session, function)
    assert error.sqlstate == sqlstate
    assert_not_sent_again(before + [function])
    assert invoke(session, "echo", "[1]") == [1]


def test_a_function_error_is_no_reason_for_a_second_attempt(session, endpoint):
    assert failure(invoke, session, "unhandled").sqlstate == "38000"
    assert_not_sent_again(["unhandled"])


def test_always_throttled(session, endpoint):
    """A throttled function did not run, so it is retried, a limited number of times."""
    assert failure(invoke, session, "throttle").sqlstate == "53400"
    assert_not_sent_again(["throttle"] * 11)


def test_throttled_twice(session, endpoint):
    assert invoke(session, "throttle-2", "[1]") == [1]
    assert_not_sent_again(["throttle-2"] * 3)


def test_connection_that_was_closed_in_between(session, endpoint):
    assert invoke(session, "close-next", "[1]") == [1]
    time.sleep(0.2)
    assert invoke(session, "echo", "[2]") == [2]
    assert_not_sent_again(["close-next", "echo"])
    assert (counter("connections"), counter("aborted")) == (2, 0)


@pytest.mark.parametrize("pause_ms", [0, 10, 30, 45, 48, 50, 52, 55, 70])
def test_connection_that_is_being_closed(session, endpoint, pause_ms):
    """The endpoint closes 50 ms after its answer, and does not answer a request before that. The second invocation may fail.
    The endpoint gets it once."""
    invoke(session, "close-next")
    time.sleep(pause_ms / 1000)
    try:
        invoke(session, "echo")
        answered = 1
    except psycopg.OperationalError as error:
        assert error.sqlstate == "08006"
        answered = 0
    time.sleep(0.3)
    unanswered = counter("aborted")
    print(f"after {pause_ms} ms: answered {answered}, read but not answered {unanswered}")
    assert functions() == ["close-next"] + ["echo"] * answered
    assert answered + unanswered <= 1


def test_connections_that_are_reset_before_the_function_runs(session, endpoint):
    """The client can't distinguish them from those that are reset afterwards."""
    assert failure(invoke, session, "reset-before").sqlstate == "08006"
    time.sleep(0.3)
    assert (counter("aborted"), counter("invocations")) == (1, 0)


# Roles


@pytest.fixture
def roles(session):
    """Two roles with keys of their own for the table `shared`, and one without."""
    tables.create_server(session, "shared")
    for role, mapping in [("one", EXAMPLE_KEYS), ("other", OTHER_KEYS), ("keyless", None)]:
        session.execute(f"CREATE ROLE {role}")
        session.execute(f"GRANT SELECT ON shared TO {role}")
        if mapping:
            tables.create_mapping(session, "shared", role, **mapping)
    yield
    session.execute("RESET ROLE")
    session.execute("DROP SERVER shared CASCADE")
    session.execute("DROP ROLE one, other, keyless")


def access_key_of(session, role):
    session.execute(f"SET ROLE {role}")
    query = "SELECT response::json ->> 'access_key' FROM shared WHERE function_name = 'describe' AND payload = '1'"
    return session.execute(query).fetchone()[0]


def test_each_role_signs_with_its_own_key(session, endpoint, roles):
    """In one session, alternating, often enough for the driver to prepare the statement."""
    for _ in range(7):
        assert access_key_of(session, "one") == "AKIDEXAMPLE"
        assert access_key_of(session, "other") == "AKIDOTHER"
    # Each role has its own connection.
    assert counter("connections") == 2


def test_a_role_without_keys_may_not_use_those_of_others(session, endpoint, roles):
    assert access_key_of(session, "one") == "AKIDEXAMPLE"
    assert failure(access_key_of, session, "keyless").sqlstate == "28000"
    assert functions() == ["describe"]


def test_a_role_without_keys_may_not_use_the_machines(session, endpoint, roles):
    """The server's owner is no superuser, and not even a connection is made."""
    session.execute("CREATE ROLE owner")
    session.execute("GRANT USAGE ON FOREIGN DATA WRAPPER aws_lambda_fdw TO owner")
    session.execute("ALTER SERVER shared OWNER TO owner")
    error = failure(access_key_of, session, "keyless")
    session.execute("RESET ROLE")
    session.execute("ALTER SERVER shared OWNER TO postgres")
    session.execute("DROP OWNED BY owner")
    session.execute("DROP ROLE owner")
    assert (error.sqlstate, error.diag.message_primary) == ("28000", 'no AWS credentials for server "shared"')
    assert (counter("invocations"), counter("refused"), counter("connections")) == (0, 0, 0)
