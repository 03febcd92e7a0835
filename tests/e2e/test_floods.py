"""An endpoint that never stops sending, with a role that may only invoke.

Data that can't be an answer any more is an error at once. Otherwise the statement can be interrupted, in both threads that run
invocations. The backend's memory stays bounded. Answers that end are in test_faults.py.
"""

import contextlib
import pathlib
import socket
import time

import psycopg
import pytest
import trustme

import tables
from background import error_within_2_s, is_running, pid_of, running_until
from listeners import listener
from networks import in_tls
from own_server import connect, own_server
from scripted import wait_until
from tables import failure, primary

HEAD = "HTTP/1.1 200 OK\r\n"
CHUNKS = HEAD + "Transfer-Encoding: chunked\r\n\r\n"
HINT = "HTTP/1.1 103 Early Hints\r\n"
NO_ANSWER = ("08P01", "1000 heads")
TOO_LARGE = ("08P01", "too large")
PIECES = ("08P01", "pieces")
# The beginning, the part that is repeated without end, and the error if it ends the statement.
FLOODS = {
    "heads of 100": ("", "HTTP/1.1 100 Continue\r\n\r\n", NO_ANSWER),
    "heads of 103": ("", HINT + "Link: </style.css>; rel=preload\r\n\r\n", NO_ANSWER),
    "large heads": ("", HINT + f"X: {'x' * 30_000}\r\n" * 3 + "\r\n", NO_ANSWER),
    "a header": (HEAD + "X: ", "x", TOO_LARGE),
    "empty lines": ("", "\r\n", TOO_LARGE),
    "a chunk's length": (CHUNKS, "0", None),
    "blanks behind a chunk's length": (CHUNKS + "1", " ", None),
    "a chunk's extension": (CHUNKS + "1;", "x", ("08006", "extensions")),
    "chunks of one byte": (CHUNKS, "1\r\n1\r\n", PIECES),
    "trailers": (CHUNKS + "1\r\n1\r\n0\r\n", "X: x\r\n", ("08006", "trailers")),
    "a body": (HEAD + "\r\n", "1", ("08P01", "")),
}  # fmt: skip
# Those that are tried in TLS too, which decrypts a record as a whole.
IN_TLS = ["heads of 103", "a chunk's length"]


class Endpoints:
    """A server with the tables `clear` and `secure`, whose endpoints use HTTP and HTTPS. They flood with what is set, and otherwise
    answer."""

    def __init__(self):
        self.flooding = []
        self.set(None)

    def set(self, what):
        for connection in self.flooding:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.what, self.requests, self.flooding = what, 0, []

    def handle(self, connection):
        while connection.recv(65536):
            self.requests += 1
            if self.what:
                self.flood(connection, *(text.encode() for text in self.what[:2]))
            connection.sendall(f"{HEAD}Content-Length: 3\r\n\r\n[1]".encode())

    def flood(self, connection, beginning, rest):
        connection.sendall(beginning)
        block = rest * max(1, (1 << 20) // len(rest))
        self.flooding.append(connection)
        while True:
            connection.sendall(block)


@pytest.fixture(scope="module")
def endpoints():
    authority = trustme.CA()
    endpoints = Endpoints()
    with contextlib.ExitStack() as stack:
        roots = stack.enter_context(authority.cert_pem.tempfile(dir="/tmp"))
        pathlib.Path(roots).chmod(0o644)
        endpoints.server = stack.enter_context(own_server(SSL_CERT_FILE=roots))
        port, _ = stack.enter_context(listener(endpoints.handle))
        secure, _ = stack.enter_context(listener(in_tls(authority.issue_cert("localhost"), endpoints.handle)))
        endpoints.administrator = stack.enter_context(contextlib.closing(connect(endpoints.server)))
        for name, url in (("clear", f"http://127.0.0.1:{port}"), ("secure", f"https://localhost:{secure}")):
            tables.create_server(
                endpoints.administrator, name, endpoint_url=url, region="us-east-1", request_timeout_ms="30000"
            )
        endpoints.administrator.execute("CREATE ROLE eve LOGIN; GRANT SELECT ON clear, secure TO eve")
        yield endpoints


@pytest.fixture
def eve(endpoints):
    session = psycopg.connect(host=endpoints.server.socket_dir, port=5432, user="eve", dbname="postgres", autocommit=True)
    with contextlib.closing(session):
        yield session


# A single invocation runs in the backend's thread, and several in the network thread.
every_driver = pytest.mark.parametrize("payloads", ["'[1]'", "'[1]', '[2]'"], ids=["alone", "many"])


def floods(ends):
    """The floods that end the statement, or the others."""
    return pytest.mark.parametrize(
        "table, what",
        [
            pytest.param(table, what, id=f"{table} {name}")
            for table, names in (("clear", FLOODS), ("secure", IN_TLS))
            for name, what in FLOODS.items()
            if name in names and (what[2] is not None) == ends
        ],
    )


def query(table, payloads="'[1]'"):
    return f"SELECT count(response) FROM {table} WHERE function_name = 'f' AND payload IN ({payloads})"


def memory(session):
    """The peak memory of the backend, in MB."""
    status = pathlib.Path(f"/proc/{pid_of(session)}/status").read_text()
    return int(dict(line.split(":", 1) for line in status.splitlines())["VmHWM"].split()[0]) / 1024


@contextlib.contextmanager
def bounded_memory(session):
    before = memory(session)
    yield
    grown = memory(session) - before
    print(f"{grown:.0f} MB more")
    # A response of up to 64 MB for each invocation in flight is part of it.
    assert grown < 300


def assert_session_works(endpoints, session, table, payloads):
    """Nothing was sent again, and the next invocation has its own answer."""
    assert endpoints.requests <= payloads.count("[")
    endpoints.set(None)

    def is_answered():
        # The end of a flooded connection may be noticed only at its next use.
        with contextlib.suppress(psycopg.errors.ConnectionFailure):
            return session.execute(query(table)).fetchone() == (1,)

    wait_until(is_answered)


@every_driver
@floods(ends=True)
def test_error(endpoints, eve, table, what, payloads):
    endpoints.set(what)
    eve.execute("SET statement_timeout = '20s'")
    with bounded_memory(eve):
        error = failure(eve.execute, query(table, payloads))
    sqlstate, word = what[2]
    assert error.sqlstate.startswith(sqlstate) and primary(error) == "invoke API failed"
    assert "may have run" in error.diag.message_hint
    assert word in error.diag.message_detail
    assert_session_works(endpoints, eve, table, payloads)


def flooded(endpoints, session, table, what, payloads):
    """Runs a statement in the background, and yields when buffers are full."""

    def wait():
        wait_until(lambda: endpoints.flooding)
        time.sleep(0.5)

    endpoints.set(what)
    return running_until(session, wait, session.execute, query(table, payloads))


@every_driver
@floods(ends=False)
def test_cancel(endpoints, eve, table, what, payloads):
    with bounded_memory(eve), flooded(endpoints, eve, table, what, payloads) as running:
        since = time.monotonic()
        endpoints.administrator.execute("SELECT pg_cancel_backend(%s)", [pid_of(eve)])
        assert error_within_2_s(running, since).sqlstate == "57014"
    assert_session_works(endpoints, eve, table, payloads)


@every_driver
@floods(ends=False)
def test_terminate(endpoints, eve, table, what, payloads):
    pid = pid_of(eve)
    with flooded(endpoints, eve, table, what, payloads) as running:
        since = time.monotonic()
        endpoints.administrator.execute("SELECT pg_terminate_backend(%s)", [pid])
        assert error_within_2_s(running, since).sqlstate == "57P01"
        wait_until(lambda: not is_running(pid), seconds=2)


@every_driver
@floods(ends=False)
def test_statement_timeout(endpoints, eve, table, what, payloads):
    endpoints.set(what)
    eve.execute("SET statement_timeout = '700ms'")
    since = time.monotonic()
    assert failure(eve.execute, query(table, payloads)).sqlstate == "57014"
    assert 0.6 < time.monotonic() - since < 2.7
    eve.execute("RESET statement_timeout")
    assert_session_works(endpoints, eve, table, payloads)


@every_driver
@floods(ends=False)
def test_request_timeout(endpoints, eve, table, what, payloads):
    """Tokio's timers fire too."""
    endpoints.set(what)
    endpoints.administrator.execute(f"ALTER SERVER {table} OPTIONS (SET request_timeout_ms '700')")
    since = time.monotonic()
    error = failure(eve.execute, query(table, payloads))
    assert error.sqlstate == "08007" and 0.6 < time.monotonic() - since < 2.7
    endpoints.administrator.execute(f"ALTER SERVER {table} OPTIONS (SET request_timeout_ms '30000')")
    assert_session_works(endpoints, eve, table, payloads)
