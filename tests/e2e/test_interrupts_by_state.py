"""Every kind of interrupt in every state of an invocation: the statement ends soon, and no request is in flight afterwards.

`pytest -rP` shows how many ms each took.
"""

import contextlib
import os
import pathlib
import re
import signal
import statistics
import time

import psycopg
import pytest

import scripted
import tables
from background import is_running, pid_of
from listeners import full_listener, listener
from own_server import connect, resolved_names, own_server
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
    "joining": ({}, {"function_name": "hang"}, f"SELECT response FROM ({ROWS}) r (p) JOIN {{}} ON payload = p", 64),
    "inserting": ({}, {"function_name": "hang"}, f"INSERT INTO {{}} (payload) {ROWS}", 64),
    "ending an insert": ({}, {"function_name": "hang"}, "INSERT INTO {} (payload) VALUES ('1'), ('2'), ('3')", 3),
    "copying": ({}, {"function_name": "hang"}, "COPY {} (payload) FROM PROGRAM 'seq 200'", 64),
}  # fmt: skip
# In seconds. Within the first, each state is reached, on a loaded machine too.
STATEMENT_TIMEOUT = 2
CHECK_INTERVAL = 0.05


@pytest.fixture(scope="module")
def unresponsive():
    with full_listener() as full, listener() as (silent, accepted):
        yield {"full": full.getsockname()[1], "silent": silent}, accepted


@pytest.fixture(scope="module")
def server(unresponsive):
    ports, _ = unresponsive
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
        # PostgreSQL warns of what a transaction has left behind, such as "cache reference leak".
        assert re.findall(".*(?:PANIC|was terminated by signal|segfault| leak).*", log) == []


@pytest.fixture(scope="module")
def durations():
    """Seconds, by state and interrupt."""
    return {}


class Statement:
    """A statement, and the state of an invocation that it is brought into."""

    def __init__(self, server, unresponsive, state):
        self.server, self.state = server, state
        self.session = connect(server)
        self.pid = pid_of(self.session)
        self.table = f"s{list(STATES).index(state)}"
        _, _, self.text, self.invocations = STATES[state]
        ports, self.accepted = unresponsive
        self.ports = [int(os.environ["ENDPOINT_PORT"]), *ports.values()]
        self.before = self.connections()

    def connections(self):
        """The client's ends of connections to the ports that it may connect to."""
        remote = [f"0100007F:{port:04X}" for port in self.ports]
        fields = (line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines())
        # ESTABLISHED and SYN_SENT.
        return {field[1] for field in fields if field[2] in remote and field[3] in ("01", "02")}

    def opened(self):
        """How many of them are this statement's."""
        return len(self.connections() - self.before)

    def run(self):
        """Sends the statement, and returns once it is in its state."""
        accepted, names = len(self.accepted), len(resolved_names(self.server))
        self.session.pgconn.send_query(self.text.format(self.table).encode())
        self.since = time.monotonic()
        if self.invocations:
            scripted.wait_for_invocations(self.invocations)
        elif self.state == "resolving":
            wait_until(lambda: len(resolved_names(self.server)) > names)
        elif self.state == "connecting":
            wait_until(self.opened)
        else:
            wait_until(lambda: len(self.accepted) > accepted)
        assert bool(self.opened()) == (self.state != "resolving")

    def sqlstate(self):
        """Of the error that it ends with."""
        result = self.session.pgconn.get_result()
        while self.session.pgconn.get_result():
            pass
        return result.error_field(psycopg.pq.DiagnosticField.SQLSTATE).decode()

    def wait_for_end_of_backend(self):
        # A short interval, because the time is measured.
        deadline = time.monotonic() + 10
        while is_running(self.pid):
            assert time.monotonic() < deadline, "the backend is still there"
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
    postmaster = statement.server.server
    since = time.monotonic()
    postmaster.send_signal(signal.SIGINT)
    try:
        assert statement.sqlstate() == "57P01"
        statement.wait_for_end_of_backend()
        return time.monotonic() - since
    finally:
        assert postmaster.wait(timeout=20) == 0
        statement.server.start()


def client_disconnects(statement):
    statement.session.execute(f"SET client_connection_check_interval = {CHECK_INTERVAL * 1000}")
    statement.run()
    since = time.monotonic()
    statement.session.close()
    statement.wait_for_end_of_backend()
    return time.monotonic() - since - CHECK_INTERVAL


INTERRUPTS = [cancel, two_signals, statement_timeout, terminate, shutdown, client_disconnects]
# The session goes on after these.
OF_STATEMENTS = [cancel, two_signals, statement_timeout]


@pytest.mark.parametrize("interrupt", INTERRUPTS, ids=lambda interrupt: interrupt.__name__)
@pytest.mark.parametrize("state", STATES)
def test_interrupt(server, unresponsive, endpoint, durations, state, interrupt):
    statement = Statement(server, unresponsive, state)
    with contextlib.closing(statement.session):
        durations[state, interrupt.__name__] = seconds = interrupt(statement)
        print(f"{seconds * 1000:.0f} ms")
        assert seconds < 2
        # Between two attempts nothing is in flight, and the session keeps its connection.
        kept = 1 if state == "backing off" and interrupt in OF_STATEMENTS else 0
        wait_until(lambda: statement.opened() <= kept, seconds=2)
        sent = counter("invocations")
        if state != "backing off":
            assert sent == statement.invocations
        if interrupt in OF_STATEMENTS:
            # The first retries are put off by 0.2 s at most.
            time.sleep(0.3)
            assert counter("invocations") == sent
            assert statement.opened() <= kept
            # One thread for the network, and one for the name that is still being resolved.
            assert len(os.listdir(f"/proc/{statement.pid}/task")) == (3 if state == "resolving" else 2)
            assert scripted.invoke(statement.session, "echo", "[1]") == [1]
            sent += 1
    assert counter("invocations") == sent


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM], ids=["cancel", "terminate"])
def test_interrupt_between_statements(server, endpoint, sig):
    """A cancel between statements does not cancel the next one, and the network thread does not delay the end of the session."""
    with contextlib.closing(connect(server)) as session:
        assert scripted.invoke(session, "echo", "[1]") == [1]
        os.kill(pid_of(session), sig)
        if sig == signal.SIGINT:
            time.sleep(0.1)
            assert scripted.invoke(session, "echo", "[2]") == [2]
        else:
            wait_until(lambda: not is_running(pid_of(session)), seconds=2)


def test_interrupts_take_effect_at_once(durations):
    names = [interrupt.__name__ for interrupt in INTERRUPTS]
    print(f"{'':18}" + "".join(f"{name:>19}" for name in names))
    for state in STATES:
        print(f"{state:18}" + "".join(f"{durations[state, name] * 1000:19.0f}" for name in names))
    assert statistics.median(durations.values()) < 0.1
