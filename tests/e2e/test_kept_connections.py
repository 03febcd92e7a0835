"""Idle and new connections: how long and how many are kept, the address that they go to, and that they use HTTP/1.1."""

import contextlib
import os
import pathlib
import resource
import threading
import time

import pytest
import trustme
from psycopg import sql

import tables
from background import pid_of
from listeners import full_listener, listener, response
from networks import body_of, in_tls, read_head
from own_server import connect, resolved_names, own_server
from scripted import wait_until
from tables import failure, primary

IN_USE, CLOSE_WAIT = "01", "08"


class Endpoint:
    """Echoes payloads in TLS. After `most` requests on a connection it sends "Connection: close" and closes it."""

    def __init__(self):
        self.set()

    def set(self, most=10**9, ms=0):
        self.most, self.ms, self.requests, self.connections, self.protocols = most, ms, [], 0, set()
        self.lock = threading.Lock()

    def handle(self, tls):
        with self.lock:
            self.connections += 1
            self.protocols.add(tls.selected_alpn_protocol())
        for number in range(1, self.most + 1):
            head = read_head(tls)
            if not head:
                return
            body = body_of(tls, head)
            with self.lock:
                self.requests.append(body)
            time.sleep(self.ms / 1000)
            tls.sendall(response("200 OK", body, *["Connection: close"] * (number == self.most)))


@pytest.fixture(scope="module")
def shared_endpoint():
    """A server with a resolver, and an endpoint that offers HTTP/2 first."""
    authority = trustme.CA()
    endpoint = Endpoint()
    certificate = authority.issue_cert("lambda.local.test", "lambda.two.test")
    with contextlib.ExitStack() as stack:
        roots = stack.enter_context(authority.cert_pem.tempfile(dir="/tmp"))
        pathlib.Path(roots).chmod(0o644)
        handle = in_tls(certificate, endpoint.handle, ["h2", "http/1.1"])
        endpoint.port, _ = stack.enter_context(listener(handle))
        endpoint.roots = roots
        server = stack.enter_context(own_server("aws_lambda.connect_timeout_ms = 3000", resolver=True, SSL_CERT_FILE=roots))
        endpoint.server = server
        with contextlib.closing(connect(server)) as session:
            for name in ("local", "two"):
                url = f"https://lambda.{name}.test:{endpoint.port}"
                tables.create_server(session, name, endpoint_url=url, region="us-east-1", request_timeout_ms="20000")
        yield endpoint


@pytest.fixture
def endpoint(shared_endpoint):
    shared_endpoint.set()
    return shared_endpoint


@pytest.fixture
def session(shared_endpoint):
    with contextlib.closing(connect(shared_endpoint.server)) as session:
        yield session


def invoke_many(session, count, table="local"):
    query = sql.SQL("SELECT payload, response FROM {} WHERE function_name = 'f' AND payload = ANY (%s)")
    payloads = [f"[{number}]" for number in range(count)]
    rows = session.execute(query.format(sql.Identifier(table)), [payloads]).fetchall()
    assert sorted(rows) == sorted((payload, payload) for payload in payloads)


def states(session, port):
    """The states of a backend's connections to a port (proc_net_tcp.rst)."""
    descriptors = pathlib.Path(f"/proc/{pid_of(session)}/fd").iterdir()
    own = set()
    for descriptor in descriptors:
        with contextlib.suppress(FileNotFoundError):
            own.add(os.readlink(descriptor))
    lines = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [line[3] for line in lines if line[2].endswith(f":{port:04X}") and f"socket:[{line[9]}]" in own]


def switches(session):
    """The context switches of the backend's threads."""
    tasks = pathlib.Path(f"/proc/{pid_of(session)}/task").iterdir()
    lines = [line for task in tasks for line in (task / "status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)


@pytest.fixture(scope="module")
def idle(shared_endpoint):
    """Two idle sessions, of which one has had many invocations in flight and the other a single one, and when they became idle."""
    with contextlib.ExitStack() as stack:
        many, alone = (stack.enter_context(contextlib.closing(connect(shared_endpoint.server))) for _ in range(2))
        shared_endpoint.set(ms=100)
        invoke_many(many, 200)
        assert len(states(many, shared_endpoint.port)) > 30
        shared_endpoint.set()
        assert tables.invoke(alone, "local", "f", "[1]") == "[1]"
        yield many, alone, time.monotonic()


def test_few_idle_connections_are_kept(shared_endpoint, idle):
    """The number falls soon, in an idle backend."""
    many, alone, since = idle
    wait_until(lambda: len(states(many, shared_endpoint.port)) <= 4, seconds=5)
    assert time.monotonic() - since < 5
    if time.monotonic() - since < 8:
        assert len(states(many, shared_endpoint.port)) == 4 and states(alone, shared_endpoint.port) == [IN_USE]


def test_endpoint_closes_connections(endpoint, session):
    """A connection that the endpoint has closed is neither used nor kept."""
    endpoint.set(most=3)
    invoke_many(session, 150)
    assert len(endpoint.requests) == 150 and endpoint.connections >= 50
    wait_until(lambda: CLOSE_WAIT not in states(session, endpoint.port), seconds=5)


def test_http_1_1_alone(endpoint, session):
    """With one request at a time on a connection, the client knows whether any of it was sent."""
    invoke_many(session, 20)
    assert endpoint.protocols == {"http/1.1"}


def test_one_look_up_serves_all(endpoint, session):
    endpoint.set(most=2)
    before = len(resolved_names(endpoint.server))
    invoke_many(session, 200)
    assert endpoint.connections >= 100
    assert resolved_names(endpoint.server)[before:] == ["lambda.local.test"]


def test_little_memory(endpoint):
    """Threads take memory, so the resolver has few."""
    limits = [(resource.RLIMIT_AS, 700_000 * 1024)]
    with own_server(resolver=True, limits=limits, SSL_CERT_FILE=endpoint.roots) as server:
        with contextlib.closing(connect(server)) as session:
            url = f"https://lambda.local.test:{endpoint.port}"
            tables.create_server(session, "local", endpoint_url=url, region="us-east-1", request_timeout_ms="20000", connect_timeout_ms="10000")
            endpoint.set(most=2)
            invoke_many(session, 500)


def test_no_thread_for_a_name(endpoint):
    """The error says so, and the name can be resolved once there is a thread."""
    with contextlib.closing(connect(endpoint.server)) as session, contextlib.closing(connect(endpoint.server)) as other:
        session.execute("LOAD 'aws_lambda_fdw'")
        backend = pid_of(session)
        limits = pathlib.Path(f"/proc/{backend}/limits").read_text().splitlines()
        before = next(line.split()[2] for line in limits if line.startswith("Max processes"))

        def threads(most):
            # prlimit runs as the server's user, who may use it.
            other.execute(f"COPY (SELECT 1) TO PROGRAM 'read line; prlimit --pid {backend} --nproc={most}:'")

        threads(1)
        error = failure(invoke_many, session, 1)
        assert error.sqlstate == "53000"
        assert "'No thread for a connection'" in error.diag.message_detail
        assert "ulimit -u" in error.diag.message_hint
        threads(before)
        invoke_many(session, 1)
    assert endpoint.requests == [b"[0]"]


def test_an_answer_before_the_request_was_read(session):
    """The connection of an unfinished request is closed."""
    over = threading.Event()

    def handle(connection):
        read_head(connection)
        connection.sendall(response("200 OK", "{}"))
        over.wait(30)

    with listener(handle) as (port, accepted):
        session.execute(f"SET aws_lambda.endpoint_override = 'http://127.0.0.1:{port}'")
        for _ in range(8):
            session.execute("SELECT aws_lambda.invoke('f', to_json(repeat('x', 5000000)), 'us-east-1')")
        wait_until(lambda: len(states(session, port)) <= 4)
        assert len(accepted) == 8
        over.set()


def test_an_answer_that_nobody_asked_for(session):
    """An idle connection on which the server has sent something, as a time-out that it leaves open, is not used."""
    requests = []

    def handle(connection):
        while head := read_head(connection):
            requests.append(body_of(connection, head))
            connection.sendall(response("200 OK", requests[-1]))
            time.sleep(0.05)
            connection.sendall(response("408 Request Timeout", b""))

    with listener(handle) as (port, accepted):
        session.execute(f"SET aws_lambda.endpoint_override = 'http://127.0.0.1:{port}'")
        for number in range(3):
            row = session.execute("SELECT payload FROM aws_lambda.invoke('f', %s::json, 'us-east-1')", [str(number)])
            assert row.fetchone() == (number,)
            time.sleep(0.3)
        assert requests == [b"0", b"1", b"2"] and len(accepted) == 3


def test_name_resolution_hangs(endpoint, session):
    """They take connect_timeout_ms at most, and nothing was invoked. Two threads resolve names, not one for each row."""
    session.execute("SET aws_lambda.connect_timeout_ms = 500")
    url = f"https://lambda.hangs.test:{endpoint.port}"
    tables.create_server(session, "hangs", endpoint_url=url, region="us-east-1", max_retries="0")
    try:
        error = failure(invoke_many, session, 20, "hangs")
        assert (error.sqlstate, primary(error)) == ("08004", "invoke API failed")
        assert "lambda.hangs.test was still looked up" in error.diag.message_detail
        assert len(list(pathlib.Path(f"/proc/{pid_of(session)}/task").iterdir())) <= 3
        # Another name can be resolved meanwhile.
        invoke_many(session, 20)
    finally:
        tables.execute(session, "DROP SERVER {} CASCADE", "hangs")


def test_first_address_does_not_respond(endpoint, session):
    """The next address is tried too, and later connections use it first."""
    with full_listener(("127.0.0.9", endpoint.port)):
        since = time.monotonic()
        endpoint.set(most=1)
        invoke_many(session, 20, "two")
        took = time.monotonic() - since
        assert 0.2 < took < 2.5
        since = time.monotonic()
        for _ in range(10):
            assert tables.invoke(session, "two", "f", "[1]") == "[1]"
        assert time.monotonic() - since < 2
    assert len(endpoint.requests) == 30


def test_no_address_responds(session):
    """The function did not run, and the message names the addresses."""
    with full_listener(("127.0.0.9", 0)) as one:
        port = one.getsockname()[1]
        with full_listener(("127.0.0.1", port)):
            session.execute("SET aws_lambda.connect_timeout_ms = 400")
            session.execute(f"SET aws_lambda.endpoint_override = 'http://lambda.two.test:{port}'")
            query = "SELECT aws_lambda.invoke('f', '1'::json, 'us-east-1')"
            error = failure(session.execute, query)
            assert (error.sqlstate, primary(error)) == ("08004", "invoke API failed")
            assert "no answer of 127.0.0.9, 127.0.0.1" in error.diag.message_detail
            # The same with the time-out of the whole request.
            session.execute("SET aws_lambda.connect_timeout_ms = 5000")
            session.execute("SET aws_lambda.request_timeout_ms = 300")
            error = failure(session.execute, query)
            assert (error.sqlstate, primary(error)) == ("08004", "invoke API failed")
            assert "The function did not run" in error.diag.message_hint
            assert "aws_lambda.request_timeout_ms" in error.diag.message_hint


def test_idle_connections_are_closed(shared_endpoint, idle):
    """By either end, and without polling."""
    many, alone, since = idle
    before = switches(many) + switches(alone)
    wait_until(lambda: states(many, shared_endpoint.port) + states(alone, shared_endpoint.port) == [], seconds=12)
    assert time.monotonic() - since > 8
    # A few switches to close connections, and some of the system's.
    assert switches(many) + switches(alone) - before < 50
    shared_endpoint.set()
    assert tables.invoke(alone, "local", "f", "[2]") == "[2]"
    assert shared_endpoint.connections == 1
