"""Every way to interrupt a backend in every state of an invocation: it acts soon, and nothing is sent after it.

At the end, how long each took, in ms; `pytest -rP` shows it.
"""

import contextlib
import os
import pathlib
import signal
import statistics
import time

import psycopg
import pytest

import scripted
import tables
from listeners import full_listener, listener
from own_server import connect, looked_up, own_server
from scripted import EXAMPLE_KEYS, counter, wait_until

ONE = "SELECT response FROM {} WHERE payload = '1'"
ROWS = "SELECT i::text FROM generate_series(1, 200) i"
# The table's name, its server's options, its own options, a statement, and how many invocations wait in it.
STATES = {
    "resolving": ({"endpoint_url": "http://lambda.hangs.test:80"}, {}, ONE, 0),
    "connecting": ({"endpoint_url": "http://127.0.0.1:{full}"}, {}, ONE, 0),
    "shaking hands": ({"endpoint_url": "https://127.0.0.1:{silent}"}, {}, ONE, 0),
    "assuming a role": (
        {"sts_endpoint_url": "http://127.0.0.1:{silent}", "role_arn": "arn:aws:iam::123456789012:role/r"}, {}, ONE, 0,
    ),
    "waiting": ({}, {"function_name": "hang"}, ONE, 1),
    "reading": ({}, {"function_name": "stall-body"}, ONE, 1),
    "backing off": ({}, {"function_name": "throttle", "max_retries": "100"}, ONE, 2),
    "joining": ({}, {"function_name": "hang"}, f"SELECT count(response) FROM ({ROWS}) t (p) JOIN {{}} ON payload = p", 64),
    "inserting": ({}, {"function_name": "hang"}, f"INSERT INTO {{}} (payload) {ROWS}", 64),
    "ending an insert": ({}, {"function_name": "hang"}, "INSERT INTO {} (payload) VALUES ('1'), ('2'), ('3')", 3),
    "copying": ({}, {"function_name": "hang"}, "COPY {} (payload) FROM PROGRAM 'seq 200'", 64),
}  # fmt: skip
STATEMENT_TIMEOUT = 0.5
CHECK_INTERVAL = 0.05


@pytest.fixture(scope="module")
def places():
    with full_listener() as full, listener() as (silent, accepted):
        yield {"full": full.getsockname()[1], "silent": silent}, accepted


@pytest.fixture(scope="module")
def server(places):
    ports, _ = places
    with own_server(resolver=True) as server:
        with contextlib.closing(connect(server)) as session:
            for number, (server_options, options, _, _) in enumerate(STATES.values()):
                name = f"s{number}"
                options = {"function_name": "echo", **options}
                server_options = {key: value.format(**ports) for key, value in server_options.items()}
                tables.execute(
                    session, "CREATE SERVER {} FOREIGN DATA WRAPPER aws_lambda_fdw {options}", name,
                    connect_timeout_ms="900000", request_timeout_ms="900000", **server_options,
                )  # fmt: skip
                tables.execute(
                    session, "CREATE FOREIGN TABLE {} (payload text, response text) SERVER {} {options}", name, name,
                    **options,
                )  # fmt: skip
                tables.create_mapping(session, name, "postgres", **EXAMPLE_KEYS)
        yield server
        log = pathlib.Path(server.log).read_text(errors="replace")
        assert "PANIC" not in log and "was terminated by signal" not in log


@pytest.fixture(scope="module")
def took():
    """Seconds, by state and interrupt."""
    return {}


class Statement:
    """A statement that has reached its state."""

    def __init__(self, server, places, state):
        self.server = server
        self.session = connect(server)
        self.pid = self.session.info.backend_pid
        self.place = list(STATES).index(state)
        _, _, self.text, self.invocations = STATES[state]
        self.state, self.accepted = state, places[1]

    def run(self):
        """Sends it without waiting for its end."""
        before = len(self.accepted), len(looked_up(self.server))
        self.session.pgconn.send_query(self.text.format(f"s{self.place}").encode())
        self.since = time.monotonic()
        if self.invocations:
            scripted.wait_for_invocations(self.invocations)
        elif self.state == "resolving":
            wait_until(lambda: len(looked_up(self.server)) > before[1])
        elif self.state == "connecting":
            wait_until(self.is_waiting)
            time.sleep(0.05)
        else:
            wait_until(lambda: len(self.accepted) > before[0])

    def is_waiting(self):
        with contextlib.closing(connect(self.server)) as other:
            query = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s"
            return other.execute(query, [self.pid]).fetchone() == ("Extension",)

    def sqlstate(self):
        """Of the error that it ends with."""
        result = self.session.pgconn.get_result()
        while self.session.pgconn.get_result():
            pass
        return result.error_field(psycopg.pq.DiagnosticField.SQLSTATE).decode()

    def wait_for_end_of_backend(self):
        while os.path.exists(f"/proc/{self.pid}"):
            assert time.monotonic() < self.since + 20, "the backend is still there"
            time.sleep(0.001)


def cancel(statement):
    statement.run()
    with contextlib.closing(connect(statement.server)) as other:
        since = time.monotonic()
        other.execute("SELECT pg_cancel_backend(%s)", [statement.pid])
        assert statement.sqlstate() == "57014"
    return time.monotonic() - since


def two_signals(statement):
    statement.run()
    since = time.monotonic()
    for _ in range(2):
        os.kill(statement.pid, signal.SIGINT)
    assert statement.sqlstate() == "57014"
    return time.monotonic() - since


def statement_timeout(statement):
    statement.session.execute(f"SET statement_timeout = {STATEMENT_TIMEOUT * 1000}")
    statement.run()
    assert statement.sqlstate() == "57014"
    took = time.monotonic() - statement.since - STATEMENT_TIMEOUT
    statement.session.execute("RESET statement_timeout")
    return took


def terminate(statement):
    statement.run()
    with contextlib.closing(connect(statement.server)) as other:
        since = time.monotonic()
        other.execute("SELECT pg_terminate_backend(%s)", [statement.pid])
        assert statement.sqlstate() == "57P01"
        statement.wait_for_end_of_backend()
    return time.monotonic() - since


def shutdown(statement):
    statement.run()
    since = time.monotonic()
    statement.server.server.send_signal(signal.SIGINT)
    assert statement.sqlstate() == "57P01"
    statement.wait_for_end_of_backend()
    took = time.monotonic() - since
    statement.server.server.wait(timeout=10)
    assert statement.server.server.returncode == 0
    statement.server.start()
    return took


def client_goes(statement):
    statement.session.execute(f"SET client_connection_check_interval = {CHECK_INTERVAL * 1000}")
    statement.run()
    since = time.monotonic()
    statement.session.close()
    statement.wait_for_end_of_backend()
    return time.monotonic() - since - CHECK_INTERVAL


INTERRUPTS = [cancel, two_signals, statement_timeout, terminate, shutdown, client_goes]


@pytest.mark.parametrize("interrupt", INTERRUPTS, ids=lambda interrupt: interrupt.__name__)
@pytest.mark.parametrize("state", STATES)
def test_interrupt(server, places, endpoint, took, state, interrupt):
    statement = Statement(server, places, state)
    took[state, interrupt.__name__] = seconds = interrupt(statement)
    print(f"{seconds * 1000:.0f} ms")
    assert seconds < 2
    sent = counter("invocations")
    time.sleep(0.1)
    assert counter("invocations") == sent
    if state != "backing off":
        assert sent == statement.invocations
    if interrupt in (cancel, two_signals, statement_timeout):
        # One thread for the network, and one for the name that is still being resolved.
        assert len(os.listdir(f"/proc/{statement.pid}/task")) <= 3
        assert scripted.invoke(statement.session, "echo", "[1]") == [1]
    statement.session.close()


def test_they_act_at_once(took):
    names = [interrupt.__name__ for interrupt in INTERRUPTS]
    print(f"{'':18}" + "".join(f"{name:>19}" for name in names))
    for state in STATES:
        print(f"{state:18}" + "".join(f"{took.get((state, name), 0) * 1000:19.0f}" for name in names))
    assert statistics.median(took.values()) < 0.1
