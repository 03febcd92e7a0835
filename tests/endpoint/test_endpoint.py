"""Tests of the scripted endpoint itself, over plain sockets and through botocore's clients."""

import base64
import datetime
import hashlib
import http.client
import json
import pathlib
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import quote

import botocore.config
import botocore.exceptions
import botocore.session
import pytest

import sigv4
from wire import Request

HERE = pathlib.Path(__file__).parent
ARN = "arn:aws:lambda:us-west-2:123456789012:function:"


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    port_file = tmp_path_factory.mktemp("endpoint") / "port"
    server = subprocess.Popen(
        [sys.executable, "-B", str(HERE / "endpoint.py"), "--port-file", str(port_file)],
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 10
    while not port_file.exists():
        assert server.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    yield int(port_file.read_text())
    server.send_signal(signal.SIGTERM)
    _, complaints = server.communicate(timeout=10)
    assert (server.returncode, complaints) == (0, b"")


@pytest.fixture(autouse=True)
def reset(port):
    control(port, "refuse-connections-off")
    control(port, "reset")


def control(port, command):
    done = subprocess.run([str(HERE / "control"), str(port), command], stdout=subprocess.PIPE)
    assert done.returncode == 0
    return done.stdout.decode()


def counters(port):
    lines = control(port, "counters").splitlines()
    return {name: int(value) for name, value in (line.split("\t") for line in lines)}


def logged(port, command="invocations"):
    return [line.split("\t") for line in control(port, command).splitlines()]


def request_bytes(
    path,
    body=b"",
    query="",
    headers=(),
    access_key="AKIDEXAMPLE",
    secret=None,
    token=None,
    service="lambda",
    region="us-west-2",
    age=datetime.timedelta(0),
    unsigned_headers=(),
):
    now = datetime.datetime.now(datetime.timezone.utc) - age
    timestamp = now.strftime(sigv4.TIMESTAMP)
    sent = {"host": "127.0.0.1", "x-amz-date": timestamp, **dict(headers)}
    if token:
        sent["x-amz-security-token"] = token
    signed = sorted(sent)
    secret = secret or sigv4.KEYS[access_key].secret
    scope = f"{access_key}/{timestamp[:8]}/{region}/{service}/aws4_request"
    request = Request("POST", path, query, sent)
    value = sigv4.signature(request, body, signed, secret, timestamp, region, service)
    sent["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={';'.join(signed)}, Signature={value}"
    )
    sent.setdefault("content-length", len(body))
    sent.update(unsigned_headers)
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items() if value is not None)
    target = f"{path}?{query}" if query else path
    return f"POST {target} HTTP/1.1\r\n{lines}\r\n".encode() + body


def invoke_bytes(function, body=b"", qualifier=None, **options):
    path = f"/2015-03-31/functions/{quote(function, safe='')}/invocations"
    query = f"Qualifier={quote(qualifier, safe='')}" if qualifier else ""
    return request_bytes(path, body, query, **options)


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def receive(self):
        response = http.client.HTTPResponse(self.socket, method="POST")
        response.begin()
        return response, response.read()

    def drain(self):
        pieces = []
        while True:
            piece = self.socket.recv(1 << 16)
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)

    def invoke(self, function, body=b"", **options):
        self.send(invoke_bytes(function, body, **options))
        return self.receive()


@pytest.fixture
def client(port):
    with Client(port) as client:
        yield client


# Signatures


INVALID = "InvalidSignatureException"
UNRECOGNIZED = "UnrecognizedClientException"
SECOND = datetime.timedelta(seconds=1)
MINUTE = datetime.timedelta(minutes=1)


@pytest.mark.parametrize(
    "options, code, message",
    [
        (
            {"unsigned_headers": {"authorization": None}},
            "MissingAuthenticationTokenException",
            "Missing Authentication Token",
        ),
        (
            {"unsigned_headers": {"authorization": "AWS4-HMAC-SHA256 x"}},
            "IncompleteSignatureException",
            "Authorization header requires",
        ),
        ({"access_key": "AKIDUNKNOWN", "secret": "x"}, UNRECOGNIZED, "The security token"),
        ({"access_key": "ASIAEXAMPLE"}, UNRECOGNIZED, "The security token"),
        ({"access_key": "ASIAEXAMPLE", "token": "wrong"}, UNRECOGNIZED, "The security token"),
        ({"token": "example-session-token"}, UNRECOGNIZED, "The security token"),
        ({"secret": "wrong"}, INVALID, "The request signature we calculated does not match"),
        ({"service": "sts"}, INVALID, "Credential should be scoped to correct service"),
        ({"region": "nowhere"}, INVALID, "Credential should be scoped to a valid region"),
        ({"age": 15 * MINUTE + SECOND}, INVALID, "Signature expired: "),
        ({"age": -16 * MINUTE}, INVALID, "Signature not yet current: "),
        ({"unsigned_headers": {"x-amz-log-type": "Tail"}}, INVALID, "'x-amz-log-type' must be"),
        ({"headers": {"x-amz-date": "now"}}, INVALID, "Date in Credential scope does not"),
    ],
)
def test_refused(port, client, options, code, message):
    response, body = client.invoke("echo", b"1", **options)
    assert response.status == 403
    assert response.headers["x-amzn-ErrorType"] == code
    assert json.loads(body)["message"].startswith(message)
    assert (counters(port)["refused"], counters(port)["invocations"]) == (1, 0)


def test_changed_body_is_refused(client):
    client.send(invoke_bytes("echo", b"1").replace(b"\r\n\r\n1", b"\r\n\r\n2"))
    response, _ = client.receive()
    assert response.headers["x-amzn-ErrorType"] == INVALID


def test_claimed_body_hash_must_be_the_body_s(client):
    claim = {"x-amz-content-sha256": hashlib.sha256(b"1").hexdigest()}
    assert client.invoke("echo", b"1", headers=claim)[0].status == 200
    client.send(invoke_bytes("echo", b"1", headers=claim).replace(b"\r\n\r\n1", b"\r\n\r\n2"))
    assert client.receive()[0].status == 403


def test_unsigned_payload(client):
    response, body = client.invoke(
        "echo", b"1", headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    )
    assert (response.status, body) == (200, b"1")


@pytest.mark.parametrize(
    "age, accepted",
    [
        (-15 * MINUTE - SECOND, False),
        (-15 * MINUTE, True),
        (15 * MINUTE, True),
        (15 * MINUTE + SECOND, False),
    ],
)
def test_fifteen_minutes(age, accepted):
    now = datetime.datetime(2020, 1, 1, 12, tzinfo=datetime.timezone.utc)
    timestamp = (now - age).strftime(sigv4.TIMESTAMP)
    if accepted:
        sigv4.check_age(timestamp, now)
    else:
        with pytest.raises(sigv4.Refused):
            sigv4.check_age(timestamp, now)


# The Invoke API


def test_echo_and_keep_alive(port, client):
    for body in (b'{"a": 1}', b"", b"\x00\xff not JSON"):
        response, answered = client.invoke("echo", body)
        assert (response.status, answered) == (200, body)
        assert response.headers["X-Amz-Executed-Version"] == "$LATEST"
        assert response.headers["Content-Type"] == "application/json"
        assert len(response.headers["x-amzn-RequestId"]) == 36
    assert (counters(port)["connections"], counters(port)["invocations"]) == (1, 3)


def test_describe(client):
    context = base64.b64encode(b'{"custom":{}}').decode()
    headers = {
        "x-amz-invocation-type": "RequestResponse",
        "x-amz-log-type": "Tail",
        "x-amz-client-context": context,
    }
    response, body = client.invoke(
        f"{ARN}describe",
        "é".encode(),
        qualifier="prod",
        headers=headers,
        access_key="ASIAEXAMPLE",
        token="example-session-token",
    )
    assert response.headers["X-Amz-Executed-Version"] == "prod"
    assert list(json.loads(body).items()) == [
        ("function", f"{ARN}describe"),
        ("qualifier", "prod"),
        ("invocation_type", "RequestResponse"),
        ("log_type", "Tail"),
        ("client_context", '{"custom":{}}'),
        ("payload", "é"),
        ("region", "us-west-2"),
        ("access_key", "ASIAEXAMPLE"),
        ("session_token", True),
    ]


def test_describe_of_nothing(client):
    described = json.loads(client.invoke("describe", access_key="AKIDOTHER", region="eu-west-1")[1])
    assert described == {
        "function": "describe",
        "qualifier": None,
        "invocation_type": "RequestResponse",
        "log_type": None,
        "client_context": None,
        "payload": None,
        "region": "eu-west-1",
        "access_key": "AKIDOTHER",
        "session_token": False,
    }


@pytest.mark.parametrize(
    "function, version",
    [
        ("echo", "$LATEST"),
        ("echo:7", "7"),
        ("123456789012:function:echo", "$LATEST"),
        ("123456789012:function:echo:prod", "prod"),
        (f"{ARN}echo", "$LATEST"),
        (f"{ARN}echo:$LATEST", "$LATEST"),
        ("arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:echo:9", "9"),
    ],
)
def test_name_forms(port, client, function, version):
    response, _ = client.invoke(function, b"1")
    assert (response.status, response.headers["X-Amz-Executed-Version"]) == (200, version)
    assert logged(port)[0][0] == function


def test_unencoded_arn(client):
    path = f"/2015-03-31/functions/{ARN}echo/invocations"
    client.send(request_bytes(path, b"1"))
    assert client.receive()[0].status == 200


@pytest.mark.parametrize(
    "invocation_type, status, version", [("Event", 202, None), ("DryRun", 204, "$LATEST")]
)
@pytest.mark.parametrize("function", ["echo", "unhandled", "sleep-5000", "size-100"])
def test_other_invocation_types(client, function, invocation_type, status, version):
    response, body = client.invoke(
        function, b"1", headers={"x-amz-invocation-type": invocation_type}
    )
    assert (response.status, body) == (status, b"")
    assert response.headers["X-Amz-Executed-Version"] == version
    # The connection is still in step.
    assert client.invoke("echo", b"2")[1] == b"2"


@pytest.mark.parametrize(
    "function, expected",
    [
        ("empty", b""),
        ("null", b"null"),
        ("html", b"<html>not JSON</html>"),
        ("nul", b'"a\\u0000b"'),
        ("raw-nul", b'"a\x00b"'),
        ("invalid-utf8", b'"\xff\xfe"'),
        ("number", b"1.0000000000000000001"),
        ("size-2", b'""'),
        ("size-5", b'"xxx"'),
        ("sleep-1", b"given"),
        ("slow-headers-20", b"given"),
        ("slow-body-20", b"given"),
        ("log", b"given"),
        ("strict", None),
    ],
)
def test_bodies(client, function, expected):
    response, body = client.invoke(function, b"given")
    if expected is None:
        assert response.headers["x-amzn-ErrorType"] == "InvalidRequestContentException"
    else:
        assert (response.status, body) == (200, expected)
    assert client.invoke("echo", b"2")[1] == b"2"


def test_a_large_body(client):
    body = client.invoke("size-6000000")[1]
    assert len(body) == 6_000_000 and json.loads(body) == "x" * 5_999_998


ZERO_DIVISION = b'{"errorMessage":"division by zero","errorType":"ZeroDivisionError"}'


@pytest.mark.parametrize(
    "function, kind, expected",
    [
        ("handled", "Handled", ZERO_DIVISION),
        ("unhandled", "Unhandled", ZERO_DIVISION),
        ("unhandled-empty", "Unhandled", b""),
        ("unhandled-text", "Unhandled", b"division by zero"),
    ],
)
def test_function_errors(client, function, kind, expected):
    response, body = client.invoke(function)
    assert (response.status, response.headers["X-Amz-Function-Error"]) == (200, kind)
    assert body == expected


def test_logs(client):
    tail = {"x-amz-log-type": "Tail"}
    assert client.invoke("log")[0].headers["X-Amz-Log-Result"] is None
    log = base64.b64decode(client.invoke("log", headers=tail)[0].headers["X-Amz-Log-Result"])
    assert log.decode() == (
        "START RequestId: 00000000-0000-0000-0000-000000000000 Version: $LATEST\n"
        "hello from the log\n"
        "END RequestId: 00000000-0000-0000-0000-000000000000\n"
    )
    bad = client.invoke("bad-log", headers=tail)[0].headers["X-Amz-Log-Result"]
    assert bad == "***not base64***"
    cut = client.invoke("nul-log", headers=tail)[0].headers["X-Amz-Log-Result"]
    assert base64.b64decode(cut) == b"\xa9 the tail of a longer log\na zero \x00 byte\n"


def test_throttle(client):
    response, body = client.invoke("throttle")
    assert response.status == 429
    assert response.headers["x-amzn-ErrorType"] == "TooManyRequestsException"
    assert response.headers["Retry-After"] == "0"
    assert json.loads(body) == {
        "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
        "Type": "User",
        "message": "Rate Exceeded.",
    }


def test_first(client):
    found = [client.invoke("first-2-error-502-ENINotReady")[0].status for _ in range(3)]
    assert found == [502, 502, 200]
    assert client.invoke("first-1-throttle-1")[0].status == 429


def test_a_durable_execution(port, client):
    """The same payload under its name is the same execution, and another is refused."""
    headers = {"x-amz-durable-execution-name": "order-1", "x-amz-tenant-id": "a  b"}
    for _ in range(2):
        response, body = client.invoke("describe", b"1", headers=headers)
        described = json.loads(body)
        assert (described["durable_execution_name"], described["tenant_id"]) == ("order-1", "a  b")
        arn = f"{ARN}describe:$LATEST/durable-execution/order-1/1"
        assert response.headers["X-Amz-Durable-Execution-Arn"] == arn
    response, _ = client.invoke("describe", b"2", headers=headers)
    assert (response.status, response.headers["x-amzn-ErrorType"]) == (
        409,
        "DurableExecutionAlreadyStartedException",
    )
    assert logged(port, "executions") == [["order-1", "a  b", payload] for payload in "112"]
    assert client.invoke("echo", b"2")[0].headers["X-Amz-Durable-Execution-Arn"] is None


def test_throttle_at_first(port, client):
    assert [client.invoke("throttle-2")[0].status for _ in range(4)] == [429, 429, 200, 200]
    assert client.invoke("throttle-1")[0].status == 429
    control(port, "reset")
    assert client.invoke("throttle-2")[0].status == 429


def test_limit(port, client):
    event = {"x-amz-invocation-type": "Event"}
    with Client(port) as one, Client(port) as other:
        began = time.monotonic()
        one.send(invoke_bytes("limit-2-500", b"1"))
        other.send(invoke_bytes(f"{ARN}limit-2-500:prod", headers=event))
        while len(logged(port)) < 2:
            pass
        response, body = client.invoke("limit-2-500")
        throttled = client.invoke("throttle")
        assert (response.status, body) == (429, throttled[1])
        assert response.headers["x-amzn-ErrorType"] == "TooManyRequestsException"
        assert response.headers["Retry-After"] == "0"
        assert client.invoke("limit-2-500", headers=event)[0].status == 429
        # Another function has its own limit.
        assert client.invoke("limit-2-1", b"2")[1] == b"2"
        assert time.monotonic() - began < 0.5
        assert (one.receive()[1], other.receive()[0].status) == (b"1", 202)
        assert time.monotonic() - began >= 0.495


def test_throttled_one_takes_no_place(port):
    with Client(port) as one, Client(port) as other:
        for _ in range(3):
            one.send(invoke_bytes("limit-1-200"))
            while counters(port)["most_in_flight"] == 0:
                pass
            assert [other.invoke("limit-1-200")[0].status for _ in range(3)] == [429] * 3
            assert one.receive()[0].status == 200
            control(port, "reset")
        assert [one.invoke("limit-1-1")[0].status for _ in range(50)] == [200] * 50
        assert other.invoke("limit-0-1")[0].status == 429


def test_reset_lifts_the_limit(port, client):
    client.send(invoke_bytes("limit-1-1000"))
    while not logged(port):
        pass
    control(port, "reset")
    time.sleep(0.5)
    with Client(port) as other:
        other.send(invoke_bytes("limit-1-1000"))
        assert client.receive()[0].status == 200
        # What was begun before the reset has not made room for one more.
        assert client.invoke("limit-1-1000")[0].status == 429
        assert other.receive()[0].status == 200


def test_count(port, client):
    assert [client.invoke("count")[1] for _ in range(3)] == [b"1", b"2", b"3"]
    control(port, "reset")
    assert client.invoke("count")[1] == b"1"


def test_service_errors(client):
    response, body = client.invoke("error-502-KMSAccessDeniedException")
    assert (response.status, response.reason) == (502, "Bad Gateway")
    assert response.headers["x-amzn-ErrorType"] == "KMSAccessDeniedException"
    assert json.loads(body) == {"Type": "User", "Message": "scripted KMSAccessDeniedException"}

    response, body = client.invoke("error-400-Odd")
    assert json.loads(body) == {"Type": "User", "message": "scripted Odd"}

    response, body = client.invoke("plain-503")
    assert (response.status, response.headers["x-amzn-ErrorType"]) == (503, None)
    assert response.headers["Content-Type"] == "text/html"
    assert body.startswith(b"<html>")


def test_not_found(client):
    response, body = client.invoke("nope:1", region="eu-west-1")
    assert response.status == 404
    assert response.headers["x-amzn-ErrorType"] == "ResourceNotFoundException"
    assert json.loads(body) == {
        "Type": "User",
        "Message": "Function not found: arn:aws:lambda:eu-west-1:123456789012:function:nope",
    }


def test_strict_limits(client):
    event = {"x-amz-invocation-type": "Event"}
    body = b'"' + b"x" * 1_048_574 + b'"'
    assert client.invoke("strict", body, headers=event)[0].status == 202
    assert client.invoke("strict", body + b" ")[0].status == 200
    response, _ = client.invoke("strict", body + b" ", headers=event)
    assert response.status == 413
    assert response.headers["x-amzn-ErrorType"] == "RequestTooLargeException"


# Bodies on the wire


def test_chunked_body(port, client):
    # A signature covers the body, not how it is sent.
    chunked = {"content-length": None, "transfer-encoding": "chunked"}
    head = invoke_bytes("echo", b"hello world", unsigned_headers=chunked)[: -len(b"hello world")]
    client.send(head + b"5\r\nhello\r\n")
    client.send(b"6;ext=1\r\n world\r\n0\r\nTrailer: x\r\n\r\n")
    assert client.receive()[1] == b"hello world"
    assert logged(port)[0][5] == "hello world"


def test_expect_continue(client):
    expect = {"expect": "100-continue"}
    client.send(invoke_bytes("echo", b"hello", unsigned_headers=expect)[: -len(b"hello")])
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert client.socket.recv(100) == interim
    client.send(b"hello")
    assert client.receive()[1] == b"hello"


# Time and broken connections


@pytest.mark.parametrize("function", ["sleep-60", "slow-headers-60", "slow-body-60"])
def test_takes_its_time(client, function):
    began = time.monotonic()
    client.invoke(function, b"a body long enough to come in ten pieces")
    assert 0.055 <= time.monotonic() - began < 1


@pytest.mark.parametrize(
    "invocation_type, status", [("RequestResponse", 200), ("Event", 202), ("DryRun", 204)]
)
@pytest.mark.parametrize(
    "function, body", [("accept-60", b"1"), ("limit-1-60", b"1"), ("mock", b'{"ms": 60}')]
)
def test_any_invocation_type_takes_its_time(client, function, body, invocation_type, status):
    headers = {"x-amz-invocation-type": invocation_type}
    began = time.monotonic()
    response, answered = client.invoke(function, body, headers=headers)
    assert 0.055 <= time.monotonic() - began < 1
    assert (response.status, answered) == (status, body if status == 200 else b"")


def test_slow_body_sends_headers_at_once(client):
    client.send(invoke_bytes("slow-body-2000", b"0123456789"))
    client.socket.settimeout(0.5)
    assert b"\r\n\r\n" in client.socket.recv(4096)


def test_hang(port, client):
    client.send(invoke_bytes("hang"))
    client.socket.settimeout(0.05)
    with pytest.raises(socket.timeout):
        client.socket.recv(1)
    assert counters(port)["most_in_flight"] == 1


def test_stall_body(client):
    client.send(invoke_bytes("stall-body", b"0123456789"))
    received = b""
    while not received.endswith(b"01234"):
        received += client.socket.recv(4096)
    assert b"Content-Length: 10\r\n" in received
    client.socket.settimeout(0.05)
    with pytest.raises(socket.timeout):
        client.socket.recv(1)


def test_cut_body(client):
    client.send(invoke_bytes("cut-body", b"0123456789"))
    head, _, body = client.drain().partition(b"\r\n\r\n")
    assert b"Content-Length: 110" in head and body == b"0123456789"


def test_close_after(port, client):
    client.send(invoke_bytes("close-after"))
    assert client.drain() == b""
    assert counters(port)["invocations"] == 1


def test_reset_after(port, client):
    client.send(invoke_bytes("reset-after", b"1"))
    with pytest.raises(ConnectionResetError):
        client.drain()
    assert (counters(port)["invocations"], counters(port)["aborted"]) == (1, 0)


def test_reset_before(port, client):
    client.send(invoke_bytes("reset-before", b"1" * 100)[:-100])
    with pytest.raises(ConnectionResetError):
        client.drain()
    assert (counters(port)["invocations"], counters(port)["aborted"]) == (0, 1)


def test_body_cut_by_the_client(port, client):
    client.send(invoke_bytes("echo", b"12345")[:-1])
    client.socket.shutdown(socket.SHUT_WR)
    assert client.drain() == b""
    assert (counters(port)["invocations"], counters(port)["aborted"]) == (0, 1)


def test_garbage(client):
    client.send(invoke_bytes("garbage"))
    assert not client.drain().startswith(b"HTTP/")


def test_verbatim(client):
    payload = json.dumps("HTTP/1.1 299 \xe9\r\n\0").encode()
    client.send(invoke_bytes("verbatim", payload) + invoke_bytes("verbatim-close", payload))
    assert client.drain() == b"HTTP/1.1 299 \xe9\r\n\0" * 2


def test_huge_headers(client):
    client.send(invoke_bytes("huge-headers"))
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.socket.recv(1 << 20)
    assert len(received) > 1 << 20


def test_close_next(port, client):
    assert client.invoke("close-next", b"1")[1] == b"1"
    assert client.drain() == b""
    assert counters(port)["aborted"] == 0


def test_close_next_answers_nothing_more(port, client):
    client.send(invoke_bytes("close-next") + invoke_bytes("echo"))
    assert client.drain().count(b"HTTP/1.1") == 1
    assert (counters(port)["invocations"], counters(port)["aborted"]) == (1, 1)


def test_not_http(port, client):
    client.send(b"nonsense\r\n\r\n")
    assert client.drain() == b""


# Scripts that the payload names


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"1",
        b"not JSON",
        b'"\xff"',
        b'[{"as": "unhandled"}]',
        b"{}",
        b'{"as": null, "ms": null}',
        b'{"as": 1, "ms": "1"}',
        b'{"as": "echo", "ms": 1.5}',
        b'{"as": "mock", "ms": 1}',
    ],
)
def test_mock_of_nothing_is_echo(client, body):
    response, answered = client.invoke("mock", body)
    assert (response.status, answered) == (200, body)
    assert response.headers["X-Amz-Function-Error"] is None


@pytest.mark.parametrize("function", ["unhandled", "size-5", "throttle", "plain-503", "nope"])
@pytest.mark.parametrize("ms", [0, 60])
def test_mock(client, function, ms):
    began = time.monotonic()
    response, body = client.invoke("mock", json.dumps({"as": function, "ms": ms}).encode())
    assert time.monotonic() - began >= ms / 1000 - 0.005
    direct, expected = client.invoke(function)
    assert (response.status, body) == (direct.status, expected)
    for name in ("Content-Type", "X-Amz-Function-Error", "x-amzn-ErrorType", "Retry-After"):
        assert response.headers[name] == direct.headers[name]


def test_mock_counts_as_both(port, client):
    described = [client.invoke("mock", b'{"as": "count"}')[1] for _ in range(2)]
    assert [*described, client.invoke("count")[1]] == [b"1", b"2", b"3"]
    once = [client.invoke("mock", b'{"as": "throttle-1"}')[0].status for _ in range(2)]
    assert once == [429, 200]
    assert [call[0] for call in logged(port)] == ["mock", "mock", "count", "mock", "mock"]


def test_mock_breaks_the_connection(port, client):
    client.send(invoke_bytes("mock", b'{"as": "close-after"}'))
    assert client.drain() == b""


# Counting and control


def test_most_in_flight(port):
    clients = [Client(port) for _ in range(64)]
    for client in clients:
        client.send(invoke_bytes("sleep-500"))
    for client in clients:
        client.receive()
        client.socket.close()
    assert counters(port) == {
        "invocations": 64,
        "lists": 0,
        "configurations": 0,
        "refused": 0,
        "throttled": 0,
        "aborted": 0,
        "assume_role": 0,
        "connections": 64,
        "most_in_flight": 64,
    }


def test_one_after_another_is_one_in_flight(port):
    with Client(port) as one, Client(port) as other:
        for _ in range(100):
            one.invoke("echo")
            other.invoke("size-100000")
    assert counters(port)["most_in_flight"] == 1


def test_most_in_flight_is_of_all_functions(port, client):
    with Client(port) as one, Client(port) as other:
        one.send(invoke_bytes("hang"))
        other.send(invoke_bytes("limit-1-500"))
        while len(logged(port)) < 2:
            pass
        client.invoke("limit-1-500")
        assert counters(port)["most_in_flight"] == 3
        other.receive()


def test_throttled(port, client):
    event = {"x-amz-invocation-type": "Event"}
    for function, body, headers in (
        ("throttle", b"", {}),
        ("throttle", b"", event),
        ("throttle-1", b"", {}),
        ("throttle-1", b"", {}),
        ("limit-0-1", b"", {}),
        ("mock", b'{"as": "throttle"}', {}),
        ("plain-429", b"", {}),
        ("error-429-Odd", b"", {}),
        ("plain-503", b"", {}),
        ("echo", b"", {}),
    ):
        client.invoke(function, body, headers=headers)
    client.invoke("throttle", secret="wrong")
    counted = counters(port)
    assert (counted["throttled"], counted["invocations"], counted["refused"]) == (7, 10, 1)
    control(port, "reset")
    assert counters(port)["throttled"] == 0


def test_reset_forgets_what_is_in_flight(port, client):
    client.send(invoke_bytes("sleep-200"))
    while not logged(port):
        pass
    control(port, "reset")
    with Client(port) as other:
        other.invoke("echo")
    client.receive()
    assert (counters(port)["most_in_flight"], counters(port)["connections"]) == (1, 1)


def test_invocations_are_copy_text(port, client):
    client.invoke("echo")
    headers = {
        "x-amz-client-context": base64.b64encode(b"a\tb").decode(),
        "x-amz-log-type": "None",
    }
    client.invoke("echo:1", b"\\ \t \n \r \x00 \xff", qualifier="1", headers=headers)
    client.invoke("nope", "é".encode(), headers={"x-amz-invocation-type": "Event"})
    assert control(port, "invocations") == (
        "echo\t\\N\tRequestResponse\t\\N\t\\N\t\\N\n"
        "echo:1\t1\tRequestResponse\tNone\ta\\tb\t\\\\ \\t \\n \\r \\\\x00 \\\\xff\n"
        "nope\t\\N\tEvent\t\\N\t\\N\té\n"
    )


def test_undecodable_client_context_is_shown_as_it_came(port, client):
    client.invoke("echo", headers={"x-amz-client-context": "{not base64}"})
    assert logged(port)[0][4] == "{not base64}"


def test_refuse_connections(port, client):
    client.invoke("echo")
    control(port, "refuse-connections-on")
    with Client(port) as other:
        with pytest.raises(ConnectionResetError):
            other.invoke("echo")
    with pytest.raises(ConnectionResetError):
        client.invoke("echo")
    control(port, "refuse-connections-off")
    with Client(port) as other:
        assert other.invoke("echo")[0].status == 200
    assert (counters(port)["invocations"], counters(port)["aborted"]) == (2, 2)


def test_revoke(port, client):
    assert client.invoke("echo")[0].headers["Date"]
    control(port, "revoke-AKIDEXAMPLE-ExpiredTokenException")
    refused, _ = client.invoke("echo")
    assert (refused.status, refused.headers["x-amzn-ErrorType"]) == (403, "ExpiredTokenException")
    assert client.invoke("echo", access_key="AKIDOTHER")[0].status == 200
    assert (counters(port)["invocations"], counters(port)["refused"]) == (2, 1)
    control(port, "reset")
    assert client.invoke("echo")[0].status == 200


def test_counters_and_reset(port, client):
    client.invoke("echo")
    assert "invocations\t1\n" in control(port, "counters-reset")
    assert "invocations\t0\n" in control(port, "counters")
    client.invoke("echo")
    assert control(port, "invocations-reset").startswith("echo\t")
    assert control(port, "invocations") == ""


def test_control_usage(port):
    for arguments in ([str(port), "nonsense"], [str(port)], ["1", "reset"]):
        done = subprocess.run(
            [str(HERE / "control"), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert done.returncode != 0 and done.stdout == b"" and done.stderr != b""


def test_unknown_paths(port, client):
    client.send(request_bytes("/2015-03-31/elsewhere"))
    assert client.receive()[0].status == 404
    client.send(request_bytes("/_control/elsewhere"))
    assert client.receive()[0].status == 404
    assert counters(port)["invocations"] == 0


# STS


def assume(client, role, external_id=None, **options):
    form = f"Action=AssumeRole&Version=2011-06-15&RoleSessionName=s&RoleArn={quote(role, safe='')}"
    if external_id:
        form += f"&ExternalId={external_id}"
    options.setdefault("service", "sts")
    client.send(request_bytes("/", form.encode(), **options))


ROLE = "arn:aws:iam::123456789012:role/"


def test_assume_role(port, client):
    assume(client, f"{ROLE}invoker", "an-id")
    response, body = client.receive()
    assert response.status == 200
    assert b"<AccessKeyId>ASIAEXAMPLE</AccessKeyId>" in body
    assert b"<SecretAccessKey>sessionsecret</SecretAccessKey>" in body
    assert b"<SessionToken>example-session-token</SessionToken>" in body
    assert b":assumed-role/invoker/s</Arn>" in body
    assert logged(port, "assume-roles") == [[f"{ROLE}invoker", "s", "an-id"]]
    assert (counters(port)["assume_role"], counters(port)["invocations"]) == (1, 0)


def test_assume_role_refused(port, client):
    assume(client, f"{ROLE}invoker", secret="wrong")
    response, body = client.receive()
    assert response.status == 403 and b"<Code>SignatureDoesNotMatch</Code>" in body
    assume(client, f"{ROLE}invoker", service="lambda")
    assert client.receive()[0].status == 403
    assert (counters(port)["refused"], counters(port)["assume_role"]) == (2, 0)


def test_assume_role_denied(port, client):
    for role, external_id, status in (
        ("denied", None, 403),
        ("needs-external-id", None, 403),
        ("needs-external-id", "wrong", 403),
        ("needs-external-id", "example-external-id", 200),
    ):
        assume(client, ROLE + role, external_id)
        response, body = client.receive()
        assert response.status == status
        assert (b"<Code>AccessDenied</Code>" in body) == (status == 403)
    assert counters(port)["assume_role"] == 4


def test_assume_role_hangs(port, client):
    assume(client, f"{ROLE}hang")
    client.socket.settimeout(0.05)
    with pytest.raises(socket.timeout):
        client.socket.recv(1)
    assert logged(port, "assume-roles") == [[f"{ROLE}hang", "s", "\\N"]]


# botocore's clients


@pytest.fixture
def botocore_client(port):
    def make(service, access_key="AKIDEXAMPLE", **options):
        key = sigv4.KEYS[access_key]
        return botocore.session.Session().create_client(
            service,
            region_name="us-west-2",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id=access_key,
            aws_secret_access_key=options.get("secret", key.secret),
            aws_session_token=key.session_token,
            config=botocore.config.Config(retries={"total_max_attempts": 1}),
        )

    return make


def test_botocore_invokes(port, botocore_client):
    client = botocore_client("lambda")
    for function, qualifier in (
        ("echo", None),
        ("echo:prod", None),
        (f"{ARN}echo", None),
        (f"{ARN}echo", "prod"),
        (f"{ARN}echo", "$LATEST"),
        (f"{ARN}echo:$LATEST", None),
        ("123456789012:function:echo", "1"),
    ):
        options = {"Qualifier": qualifier} if qualifier else {}
        answer = client.invoke(FunctionName=function, Payload=b'{"a": 1}', **options)
        assert (answer["StatusCode"], answer["Payload"].read()) == (200, b'{"a": 1}')
    assert (counters(port)["invocations"], counters(port)["refused"]) == (7, 0)


def test_botocore_inputs(botocore_client):
    context = base64.b64encode(b"{}").decode()
    client = botocore_client("lambda", access_key="ASIAEXAMPLE")
    answer = client.invoke(FunctionName="describe", LogType="Tail", ClientContext=context)
    described = json.load(answer["Payload"])
    assert (described["client_context"], described["log_type"], described["session_token"]) == ("{}", "Tail", True)
    assert client.invoke(FunctionName="echo", InvocationType="Event")["StatusCode"] == 202
    assert client.invoke(FunctionName="echo", InvocationType="DryRun")["StatusCode"] == 204
    assert client.invoke(FunctionName="unhandled")["FunctionError"] == "Unhandled"


def test_botocore_errors(botocore_client):
    def code(client, function):
        with pytest.raises(botocore.exceptions.ClientError) as raised:
            client.invoke(FunctionName=function)
        return raised.value.response["Error"]["Code"]

    client = botocore_client("lambda")
    assert code(client, "nope") == "ResourceNotFoundException"
    assert code(client, "throttle") == "TooManyRequestsException"
    assert code(client, "error-502-KMSAccessDeniedException") == "KMSAccessDeniedException"
    assert code(botocore_client("lambda", secret="x"), "echo") == "InvalidSignatureException"


def test_botocore_assumes_role(port, botocore_client):
    client = botocore_client("sts")
    answer = client.assume_role(
        RoleArn=f"{ROLE}invoker", RoleSessionName="session", ExternalId="an-id"
    )
    credentials = answer["Credentials"]
    ahead = credentials["Expiration"] - datetime.datetime.now(datetime.timezone.utc)
    assert credentials["AccessKeyId"] == "ASIAEXAMPLE"
    assert datetime.timedelta(minutes=59) < ahead <= datetime.timedelta(hours=1)

    with pytest.raises(botocore.exceptions.ClientError) as raised:
        client.assume_role(RoleArn=f"{ROLE}denied", RoleSessionName="session")
    assert raised.value.response["Error"]["Code"] == "AccessDenied"
    assert counters(port)["assume_role"] == 2


def test_lists(port, botocore_client):
    """A page of 50, and what comes after it. They are no invocations."""
    client = botocore_client("lambda")
    control(port, "functions-many-60")
    page = client.list_functions()
    assert (len(page["Functions"]), page["NextMarker"]) == (50, "50")
    page = client.list_functions(Marker=page["NextMarker"])
    assert (len(page["Functions"]), "NextMarker" in page) == (10, False)
    control(port, "reset")
    assert [one["FunctionName"] for one in client.list_functions()["Functions"]] == ["alpha", "beta", "Gamma-1_x"]
    assert (counters(port)["lists"], counters(port)["invocations"]) == (1, 0)


def test_configurations(port, botocore_client):
    client = botocore_client("lambda")
    assert client.get_function_configuration(FunctionName="alpha")["Version"] == "$LATEST"
    assert client.get_function_configuration(FunctionName="alpha", Qualifier="prod")["Version"] == "3"
    for function, qualifier in (("omega", "prod"), ("alpha", "other")):
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            client.get_function_configuration(FunctionName=function, Qualifier=qualifier)
        assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"
    assert [line[:3] for line in logged(port, "questions")] == [
        ["GetFunctionConfiguration", "alpha", r"\N"],
        ["GetFunctionConfiguration", "alpha", "prod"],
        ["GetFunctionConfiguration", "omega", "prod"],
        ["GetFunctionConfiguration", "alpha", "other"],
    ]
