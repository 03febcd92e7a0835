"""HTTP/2, which is spoken where an endpoint offers it in TLS: many invocations on a connection, and none sent twice.

The least of a server is here: it reads frames, and writes what a test wants. HTTP/1.1 is in test_faults.py.
"""

import collections
import contextlib
import pathlib
import ssl
import struct
import threading
import time

import pytest
import trustme
from psycopg import sql

import scripted
import tables
from listeners import listener
from own_server import connect, own_server
from tables import failure, primary

DATA, HEADERS, RESET, SETTINGS, PUSH, GOAWAY = 0, 1, 3, 4, 5, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1
NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL, CALM = 0, 2, 7, 8, 11
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# The status 200 and 500, out of HPACK's static table.
OK, OOPS = b"\x88", b"\x8e"


def frame(kind, flags, stream, body=b""):
    return struct.pack("!I", len(body))[1:] + struct.pack("!BBI", kind, flags, stream) + body


def integers(*values):
    return struct.pack(f"!{len(values)}I", *values)


def answer(stream, body=b"[1]"):
    return frame(HEADERS, END_HEADERS, stream, OK) + frame(DATA, END_STREAM, stream, body)


def header(name, value):
    """Of HPACK, without an index and without a code."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def goaway(last, reason):
    return frame(GOAWAY, 0, 0, integers(last, reason))


class Endpoint:
    """What arrived: streams with a request by connection, and frames by kind. `reply` gets a complete request's stream
    and its body, and returns what to send, None to close the connection."""

    def __init__(self, certificate):
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.set_alpn_protocols(["h2"])
        certificate.configure_cert(self.context)
        self.set(lambda stream, body: answer(stream))

    def set(self, reply, settings=b"", greeting=b""):
        self.reply, self.greeting = reply, frame(SETTINGS, 0, 0, settings) + greeting
        self.requests, self.frames, self.connections = [], collections.Counter(), 0
        self.lock = threading.Lock()

    def talk(self, connection):
        with contextlib.suppress(ssl.SSLError, OSError, EOFError):
            with self.context.wrap_socket(connection, server_side=True) as tls, tls.makefile("rb") as stream:
                self.connections += 1
                self.converse(tls, lambda size: exactly(stream, size))

    def converse(self, tls, read):
        assert read(len(PREFACE)) == PREFACE
        tls.sendall(self.greeting)
        bodies = collections.defaultdict(bytes)
        while True:
            head = read(9)
            kind, flags, stream = struct.unpack("!xxxBBI", head)
            body = read(int.from_bytes(head[:3], "big"))
            with self.lock:
                self.frames[kind] += 1
                if kind == HEADERS:
                    self.requests.append(stream)
            if kind == SETTINGS and not flags & ACK:
                tls.sendall(frame(SETTINGS, ACK, 0))
            elif kind in (HEADERS, DATA):
                bodies[stream] += body if kind == DATA else b""
                if flags & END_STREAM:
                    said = self.reply(stream, bodies.pop(stream))
                    if said is None:
                        return
                    tls.sendall(said)


def exactly(stream, size):
    found = stream.read(size)
    if len(found) < size:
        raise EOFError
    return found


@pytest.fixture(scope="module")
def place():
    """A server that trusts an authority of ours, and the endpoint that its table `h2` is at."""
    authority = trustme.CA()
    endpoint = Endpoint(authority.issue_cert("localhost"))
    with contextlib.ExitStack() as stack:
        roots = stack.enter_context(authority.cert_pem.tempfile(dir="/tmp"))
        pathlib.Path(roots).chmod(0o644)
        server = stack.enter_context(own_server(SSL_CERT_FILE=roots))
        port, _ = stack.enter_context(listener(endpoint.talk))
        with contextlib.closing(connect(server)) as session:
            tables.create_server(session, "h2", endpoint_url=f"https://localhost:{port}", region="us-east-1")
            session.execute("ALTER SERVER h2 OPTIONS (ADD request_timeout_ms '700', ADD max_retries '2')")
        yield server, endpoint


@pytest.fixture
def endpoint(place):
    place[1].set(lambda stream, body: answer(stream))
    return place[1]


@pytest.fixture
def session(place):
    with contextlib.closing(connect(place[0])) as session:
        yield session


def invoke(session, payload="[1]"):
    return tables.invoke(session, "h2", "f", payload)


def assert_goes_on(session, endpoint, requests):
    """No more requests come, and the next invocation has its own answer."""
    time.sleep(0.2)
    assert len(endpoint.requests) == requests
    endpoint.reply = lambda stream, body: answer(stream, body)
    endpoint.greeting = frame(SETTINGS, 0, 0)
    assert invoke(session, "[42]") == "[42]"
    assert len(endpoint.requests) == requests + 1


def test_one_connection(session, endpoint):
    endpoint.reply = lambda stream, body: answer(stream, body)
    for number in range(10):
        assert invoke(session, f"[{number}]") == f"[{number}]"
    assert (len(endpoint.requests), endpoint.connections) == (10, 1)


@pytest.mark.parametrize("most", [None, 10, 1], ids=["as many as wanted", "10 at once", "1 at once"])
def test_many(session, endpoint, most):
    """Each has its own answer, though answers come out of order where they may, and is sent once."""
    endpoint.set(None, b"" if most is None else struct.pack("!HI", 3, most))
    waiting = []

    def reply(stream, body):
        waiting.append(answer(stream, body))
        if len(waiting) < min(most or 20, 20) and len(endpoint.requests) < 100:
            return b""
        said = b"".join(reversed(waiting))
        waiting.clear()
        return said

    endpoint.reply = reply
    payloads = [f"[{number}]" for number in range(100)]
    query = sql.SQL("SELECT payload, response FROM h2 WHERE function_name = 'f' AND payload = ANY (%s)")
    rows = session.execute(query, [payloads]).fetchall()
    assert sorted(rows) == sorted((payload, payload) for payload in payloads)
    assert_goes_on(session, endpoint, 100)


LOST = ("08006", "It was not invoked again")
LATE = ("08007", "may have run")
HALF = frame(DATA, 0, 1, b"[")
START = frame(HEADERS, END_HEADERS, 1, OK)
# What the first stream of a connection is answered, and the error. All of them may have run.
ANSWERS = {
    "closed": (None, LOST),
    "refused": (frame(RESET, 0, 1, integers(REFUSED_STREAM)), LOST),
    "reset": (frame(RESET, 0, 1, integers(INTERNAL_ERROR)), LOST),
    "reset in the middle": (START + HALF + frame(RESET, 0, 1, integers(INTERNAL_ERROR)), LOST),
    # The same with NO_ERROR and without a length can't be told from a whole answer; see README, "Limits".
    "reset before the length": (
        frame(HEADERS, END_HEADERS, 1, OK + header("content-length", "9")) + HALF
        + frame(RESET, 0, 1, integers(NO_ERROR)), LOST,
    ),
    "cancelled in the middle": (START + HALF + frame(RESET, 0, 1, integers(CANCEL)), LOST),
    "told to go away, it was not seen": (goaway(0, NO_ERROR), LOST),
    "told to go away, it was too much": (goaway(0, CALM), LOST),
    # That it was not seen is not said of the first stream, so its end may come still.
    "told to go away in the middle": (START + HALF + goaway(1, INTERNAL_ERROR), LATE),
    "less than the length": (
        frame(HEADERS, END_HEADERS, 1, OK + header("content-length", "9")) + frame(DATA, END_STREAM, 1, b"[1]"), LOST,
    ),
    "more than the length": (
        frame(HEADERS, END_HEADERS, 1, OK + header("content-length", "1")) + frame(DATA, END_STREAM, 1, b"[1]"), LOST,
    ),
    "no status": (frame(HEADERS, END_HEADERS, 1, header("a", "b")) + frame(DATA, END_STREAM, 1, b"[1]"), LOST),
    "headers that are none": (frame(HEADERS, END_HEADERS, 1, b"\xff" * 9), LOST),
    "pushed": (frame(PUSH, END_HEADERS, 1, integers(2) + b"\x82\x84\x87"), LOST),
    "of another stream": (answer(99), LOST),
    "a frame that is too long": (frame(DATA, 0, 1, b"x" * 70_000), LOST),
    "not HTTP/2": (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]", LOST),
    "silent": (b"", LATE),
    "silent in the middle": (START + HALF, LATE),
}  # fmt: skip


@pytest.mark.parametrize("said, outcome", ANSWERS.values(), ids=ANSWERS)
def test_answer(session, endpoint, said, outcome):
    endpoint.reply = lambda stream, body: said
    since = time.monotonic()
    error = failure(invoke, session)
    assert time.monotonic() - since < 2.5
    assert (error.sqlstate, primary(error)) == (outcome[0], "invoke API failed")
    assert outcome[1] in error.diag.message_hint and "may have run" in error.diag.message_hint
    assert_goes_on(session, endpoint, 1)


@pytest.mark.parametrize("said, outcome", ANSWERS.values(), ids=ANSWERS)
def test_answer_of_a_connection_in_use(session, endpoint, said, outcome):
    """A request on a connection that has served before is sent again by none of the layers below either."""
    assert invoke(session) == "[1]"
    # A client's streams have odd numbers.
    said = said and said.replace(integers(1), integers(3))
    endpoint.reply = lambda stream, body: said
    assert failure(invoke, session).sqlstate == outcome[0]
    assert_goes_on(session, endpoint, 2)


def test_told_to_go_away_between_two(session, endpoint):
    """A connection that takes no more requests is left, and the next one is sent on another."""
    endpoint.reply = lambda stream, body: answer(stream) + goaway(stream, NO_ERROR)
    for _ in range(5):
        assert invoke(session) == "[1]"
        time.sleep(0.05)
    assert (len(endpoint.requests), endpoint.connections) == (5, 5)


def test_told_to_go_away_at_once(session, endpoint):
    """It is luck whether that comes before the request is sent; that it is sent once for each connection is not."""
    endpoint.set(endpoint.reply, greeting=goaway(0, NO_ERROR))
    assert failure(invoke, session).sqlstate in ("08001", "08006")
    time.sleep(0.2)
    sent = len(endpoint.requests)
    assert sent <= 1
    assert_goes_on(session, endpoint, sent)


def test_told_to_go_away_with_many_on_their_way(session, endpoint):
    """What the endpoint says it has not seen may have run all the same."""
    endpoint.reply = lambda stream, body: goaway(0, NO_ERROR) if len(endpoint.requests) >= 5 else b""
    query = "SELECT response FROM h2 WHERE function_name = 'f' AND payload = ANY ('{1,2,3,4,5}')"
    assert failure(session.execute, query).sqlstate == "08006"
    assert_goes_on(session, endpoint, 5)


def test_no_room_for_the_payload(session, endpoint):
    """The endpoint takes the first 64 KB of it and no more. The time-out bounds that, too, and what comes next is not
    kept waiting by it."""
    error = failure(invoke, session, '"' + "x" * 1_000_000 + '"')
    assert error.sqlstate == "08007" and "may have run" in error.diag.message_hint
    assert endpoint.frames[DATA] >= 1
    assert_goes_on(session, endpoint, 1)


def test_connection_that_falls_silent(session, endpoint):
    """As one does that a firewall has forgotten. It times out once, and is not used again."""
    over = threading.Event()

    def reply(stream, body):
        if endpoint.connections == 1:
            over.wait(5)
            return None
        return answer(stream, body)

    endpoint.reply = reply
    try:
        assert failure(invoke, session).sqlstate == "08007"
        assert invoke(session, "[2]") == "[2]"
        assert (len(endpoint.requests), endpoint.connections) == (2, 2)
    finally:
        over.set()


def test_large_answers(session, endpoint):
    """More than HTTP/2 has room for at first, and together more than the connection has."""
    body = b'"' + b"x" * 1_500_000 + b'"'
    pieces = [body[start : start + 16_384] for start in range(0, len(body), 16_384)]

    def reply(stream, _):
        data = b"".join(frame(DATA, 0, stream, piece) for piece in pieces)
        return frame(HEADERS, END_HEADERS, stream, OK) + data + frame(DATA, END_STREAM, stream)

    endpoint.reply = reply
    session.execute("ALTER SERVER h2 OPTIONS (SET request_timeout_ms '5000')")
    for _ in range(6):
        assert invoke(session) == body.decode()
    session.execute("ALTER SERVER h2 OPTIONS (SET request_timeout_ms '700')")
    assert_goes_on(session, endpoint, 6)
    assert endpoint.connections == 1


def test_a_cancelled_one_is_taken_back(session, endpoint):
    """Its stream is reset, so that it does not count as open for ever; the connection goes on."""
    endpoint.reply = lambda stream, body: b""
    session.execute("SET statement_timeout = '300ms'")
    assert failure(invoke, session).sqlstate == "57014"
    session.execute("RESET statement_timeout")
    scripted.wait_until(lambda: endpoint.frames[RESET] == 1, seconds=2)
    assert_goes_on(session, endpoint, 1)
    assert endpoint.connections == 1


def test_throttled(session, endpoint):
    """What did not run is sent again, on the same connection."""
    refused = header("x-amzn-errortype", "TooManyRequestsException")

    def reply(stream, body):
        if len(endpoint.requests) < 3:
            # 429, with :status by its number in the static table.
            return frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\x08\x03429" + refused)
        return answer(stream, body)

    endpoint.reply = reply
    assert invoke(session, "[7]") == "[7]"
    assert (len(endpoint.requests), endpoint.connections) == (3, 1)


def test_failed(session, endpoint):
    endpoint.reply = lambda stream, body: frame(
        HEADERS, END_HEADERS | END_STREAM, stream, OOPS + header("x-amzn-errortype", "ServiceException")
    )
    assert failure(invoke, session).sqlstate == "58000"
    assert_goes_on(session, endpoint, 1)
