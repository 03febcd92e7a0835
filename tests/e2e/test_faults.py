"""Faults of the endpoint and of the way to it: what each is reported as, and that it costs no second invocation.

After each of them the session goes on, and the next invocation has its own answer. Errors that the API models, broken
connections and time-outs are in tests/regress/sql/api_errors.sql and test_connections.py.
"""

import contextlib
import datetime
import json
import pathlib
import ssl
import time

import pytest
import trustme
from psycopg import sql

import scripted
import tables
from listeners import listener
from own_server import connect as connect_to, looked_up, own_server
from scripted import EXAMPLE_KEYS, counter, functions, invoke
from tables import failure


def facts(error):
    return error.sqlstate, error.diag.message_primary, error.diag.message_detail or ""


def assert_goes_on(session, sent):
    """The endpoint has seen that and nothing else, and the next invocation gets its own payload."""
    assert functions() == sent
    for number in (41, 42):
        assert invoke(session, "echo", f"[{number}]") == [number]
    assert functions() == sent + ["echo", "echo"]
    assert counter("aborted") == 0


# HTTP

HEAD = "HTTP/1.1 200 OK\r\n"
ONE = "Content-Length: 3\r\n\r\n[1]"
CHUNKS = HEAD + "Transfer-Encoding: chunked\r\n\r\n"
BAD = ("08P01", "invoke API failed")
LOST = ("08006", "invoke API failed")
# What the endpoint sends, whether it closes then, and what comes of it.
ANSWERS = {
    "plain": (HEAD + ONE, False, [1]),
    "more than the length": (HEAD + ONE + "leftovers", False, [1]),
    "another answer behind it": (HEAD + ONE + HEAD + "Content-Length: 3\r\n\r\n[2]", False, [1]),
    "less than the length": (HEAD + "Content-Length: 30\r\n\r\n[1]", True, LOST),
    "a length that is no number": (HEAD + "Content-Length: three\r\n\r\n[1]", True, BAD),
    "a negative length": (HEAD + "Content-Length: -3\r\n\r\n[1]", True, BAD),
    "two lengths": (HEAD + "Content-Length: 3\r\nContent-Length: 4\r\n\r\n[1] ", True, BAD),
    "chunks": (CHUNKS + "1\r\n[\r\n2\r\n1]\r\n0\r\n\r\n", False, [1]),
    "chunks that are cut": (CHUNKS + "1\r\n[\r\n2\r\n", True, LOST),
    "chunks without the last one": (CHUNKS + "3\r\n[1]\r\n", True, LOST),
    "a chunk's length that is no number": (CHUNKS + "x\r\n[1]\r\n0\r\n\r\n", True, LOST),
    "no length": (HEAD + "\r\n[1]", True, [1]),
    "HTTP/1.0": ("HTTP/1.0 200 OK\r\n\r\n[1]", True, [1]),
    "100 before it": ("HTTP/1.1 100 Continue\r\n\r\n" + HEAD + ONE, False, [1]),
    "103 before it": ("HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" + HEAD + ONE, False, [1]),
    "103 and nothing else": ("HTTP/1.1 103 Early Hints\r\n\r\n", True, LOST),
    "a status that is no number": ("HTTP/1.1 two OK\r\n" + ONE, True, BAD),
    "another protocol": ("SSH-2.0-OpenSSH_9.2\r\n", True, BAD),
    "a name with a space": (HEAD + "X Y: 1\r\n" + ONE, True, BAD),
    "a zero byte in a header": (HEAD + "X-Y: a\0b\r\n" + ONE, True, BAD),
    "200 headers": (HEAD + "".join(f"X-{i}: 1\r\n" for i in range(200)) + ONE, True, BAD),
    "a version in Latin-1": (HEAD + "X-Amz-Executed-Version: \xe9\r\n" + ONE, False, BAD),
    "a long version": (HEAD + f"X-Amz-Executed-Version: {'9' * 5000}\r\n" + ONE, False, [1]),
    "a request id in Latin-1": (HEAD + "x-amzn-RequestId: \xe9\r\n" + ONE, False, [1]),
}  # fmt: skip


@pytest.mark.parametrize("kept_alive", [False, True], ids=["new", "kept alive"])
@pytest.mark.parametrize("answer, closes, outcome", ANSWERS.values(), ids=ANSWERS)
def test_answer(session, endpoint, answer, closes, outcome, kept_alive):
    sent = ["echo"] if kept_alive else []
    for name in sent:
        invoke(session, name)
    function = "verbatim-close" if closes else "verbatim"
    if isinstance(outcome, tuple):
        error = failure(invoke, session, function, json.dumps(answer))
        assert facts(error)[:2] == outcome, error.diag.message_detail
        assert "may have run" in error.diag.message_hint
    else:
        assert invoke(session, function, json.dumps(answer)) == outcome
    assert_goes_on(session, sent + [function])


def test_redirect(session, endpoint):
    """It is not followed, neither with the payload nor without it."""
    with listener() as (port, accepted):
        for status in (301, 302, 307, 308):
            answer = f"HTTP/1.1 {status} Moved\r\nLocation: http://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\r\n"
            assert facts(failure(invoke, session, "verbatim", json.dumps(answer)))[:2] == BAD
        assert accepted == []
    assert_goes_on(session, ["verbatim"] * 4)


# What a function says


@pytest.fixture
def answered(session):
    """Invokes functions whose answer is given, through a table whose response is of that type."""
    for kind in ("jsonb", "json", "text"):
        for on_error in ("raise", "return"):
            session.execute(
                f"CREATE FOREIGN TABLE IF NOT EXISTS {kind}_{on_error} (function_name text, payload text, log_type text,"
                f" response {kind}, error_code text, error_message text, function_error text, log text, log_result text)"
                f" SERVER aws_lambda OPTIONS (on_error '{on_error}')"
            )

    def fetch(kind, on_error, headers, body, columns="response::text, error_code, error_message"):
        head = f"{HEAD}Content-Length: {len(body)}\r\n" + "".join(f"{header}\r\n" for header in headers)
        answer = json.dumps((head + "\r\n").encode().decode("latin-1") + body.decode("latin-1"))
        query = sql.SQL(f"SELECT {columns} FROM {kind}_{on_error} WHERE function_name = 'verbatim' AND payload = %s")
        return session.execute(query, [answer]).fetchone()

    return fetch


DEEP = b"[" * 100_000 + b"]" * 100_000
LONG = b'{"errorType": "' + b"T" * 50_000 + b'", "errorMessage": "m"}'
THROWN = {
    "all of it": (b'{"errorMessage":"why","errorType":"What","stackTrace":["a","b"]}', "What", "why"),
    "an object": (b'{"a": 1}', "Unhandled", '{"a": 1}'),
    "an empty object": (b"{}", "Unhandled", "{}"),
    "a message that is a number": (b'{"errorMessage": 5}', "Unhandled", '{"errorMessage": 5}'),
    "a message that is null": (b'{"errorMessage":null,"errorType":"What"}', "What", '{"errorMessage":null,"errorType":"What"}'),
    "a message that is an object": (b'{"errorMessage": {"a": 1}}', "Unhandled", '{"errorMessage": {"a": 1}}'),
    "a list": (b"[1, 2]", "Unhandled", "[1, 2]"),
    "a number": (b"5", "Unhandled", "5"),
    "a string": (b'"why"', "Unhandled", '"why"'),
    "null": (b"null", "Unhandled", "null"),
    "nothing": (b"", "Unhandled", None),
    "text": (b"why", "Unhandled", "why"),
    "invalid UTF-8": (b"\xff\xfe", "Unhandled", "\N{REPLACEMENT CHARACTER}" * 2),
    "a zero byte": (b"a\0b", "Unhandled", "a?b"),
    "an escaped zero byte": (b'{"errorMessage":"a\\u0000b"}', "Unhandled", "a?b"),
    "half a surrogate pair": (b'{"errorMessage":"\\ud800"}', "Unhandled", '{"errorMessage":"\\ud800"}'),
    "6 MB": (b"x" * 6_000_000, "Unhandled", "x" * 200 + "..."),
    "deep": (DEEP, "Unhandled", "[" * 200 + "..."),
    "a long type": (LONG, "T" * 50_000, "m"),
}  # fmt: skip


@pytest.mark.parametrize("payload, code, message", THROWN.values(), ids=THROWN)
def test_function_error(session, endpoint, answered, payload, code, message):
    session.execute("SET aws_lambda.request_timeout_ms = 30000")
    headers = ["X-Amz-Function-Error: Unhandled"]
    for kind in ("jsonb", "json", "text"):
        error = failure(answered, kind, "raise", headers, payload)
        sqlstate, primary, detail = facts(error)
        assert (sqlstate, primary) == ("38000", "lambda invocation failed")
        assert detail.startswith('"verbatim" returned error "Unhandled", details: "') and len(detail) < 9000
        # With what a type can't hold, the row says so too; what the function threw comes first.
        row = answered(kind, "return", headers, payload)
        assert row[1:] == (code, message)
    assert_goes_on(session, ["verbatim"] * 6)


def test_a_kind_of_function_error_that_nobody_knows(session, endpoint, answered):
    error = failure(answered, "json", "raise", ["X-Amz-Function-Error: Who \x1b[31m knows"], b"{}")
    assert error.sqlstate in ("38000", "08P01") and "\x1b" not in str(error)
    assert len(functions()) == 1


HOLDS = None
RESPONSES = {
    "invalid UTF-8": (b'"\xff"', {kind: "22021" for kind in ("jsonb", "json", "text")}),
    "a zero byte": (b'"a\0b"', {kind: "22P05" for kind in ("jsonb", "json", "text")}),
    "an escaped zero byte": (b'"a\\u0000b"', {"jsonb": "22P05", "json": HOLDS, "text": HOLDS}),
    "half a surrogate pair": (b'"\\ud800"', {"jsonb": "22P02", "json": HOLDS, "text": HOLDS}),
    "a number out of range": (b"1e200000", {"jsonb": "22003", "json": HOLDS, "text": HOLDS}),
    "deep": (DEEP, {"jsonb": "54001", "json": "54001", "text": HOLDS}),
    "the largest": (b'"' + b"x" * 6_291_554 + b'"', {"jsonb": HOLDS, "json": HOLDS, "text": HOLDS}),
    "one byte more": (b'"' + b"x" * 6_291_555 + b'"', {"jsonb": HOLDS, "json": HOLDS, "text": HOLDS}),
    "not JSON": (b"x", {"jsonb": "22P02", "json": "22P02", "text": HOLDS}),
    "two of them": (b"1 2", {"jsonb": "22P02", "json": "22P02", "text": HOLDS}),
}


@pytest.mark.parametrize("body, outcomes", RESPONSES.values(), ids=RESPONSES)
def test_response(session, endpoint, answered, body, outcomes):
    session.execute("SET aws_lambda.request_timeout_ms = 30000")
    for kind, outcome in outcomes.items():
        if outcome is HOLDS:
            assert answered(kind, "raise", [], body)[0] == body.decode()
        else:
            assert failure(answered, kind, "raise", [], body).sqlstate == outcome
    assert_goes_on(session, ["verbatim"] * 3)


def test_an_answer_without_end(session, endpoint):
    """What is read of it is bounded, so that it does not take all memory."""
    session.execute("SET aws_lambda.request_timeout_ms = 60000")
    error = failure(invoke, session, "size-70000000")
    assert facts(error)[:2] == BAD and "Length limit exceeded" in error.diag.message_detail
    assert_goes_on(session, ["size-70000000"])


LOGS = {
    "not base64": ("***", None),
    "invalid UTF-8 and a zero byte": ("qQBh", "??a"),
    "empty": ("", ""),
    "100 KB": ("YWFh" * 25_000, "aaa" * 25_000),
}


@pytest.mark.parametrize("encoded, text", LOGS.values(), ids=LOGS)
def test_log(session, endpoint, answered, encoded, text):
    row = answered("json", "raise", [f"X-Amz-Log-Result: {encoded}"], b"[1]", "response, log, log_result")
    assert row == ([1], text, encoded)
    assert_goes_on(session, ["verbatim"])


# The way to the endpoint


def answer_once(connection):
    """What an endpoint that is reached answers: how many bytes of a request came does not matter here."""
    connection.recv(65536)
    connection.sendall((HEAD + ONE).encode())


def over_tls(certificate, requests):
    """Talks TLS; what gets through the handshake is noted."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)

    def talk(connection):
        with contextlib.suppress(ssl.SSLError, OSError), context.wrap_socket(connection, server_side=True) as tls:
            if request := tls.recv(65536):
                requests.append(request)
                tls.sendall((HEAD + ONE).encode())

    return talk


@pytest.fixture(scope="module")
def trusted():
    return trustme.CA()


@pytest.fixture(scope="module")
def server(trusted):
    """A server that trusts an authority of ours, and whose resolver can fail."""
    with trusted.cert_pem.tempfile(dir="/tmp") as roots:
        pathlib.Path(roots).chmod(0o644)
        with own_server("aws_lambda.connect_timeout_ms = 500", resolver=True, SSL_CERT_FILE=roots) as server:
            with connect_to(server) as session:
                tables.create_server(session, "faulty", endpoint_url="http://127.0.0.1:1", region="us-east-1")
                session.execute("ALTER SERVER faulty OPTIONS (ADD max_retries '2')")
            yield server


@pytest.fixture
def faulty(server):
    """A session there, and a way to invoke at an endpoint."""
    with contextlib.closing(connect_to(server)) as session:

        def invoke_at(url):
            session.execute(sql.SQL("ALTER SERVER faulty OPTIONS (SET endpoint_url {})").format(url))
            return tables.invoke(session, "faulty", "echo", "[1]")

        invoke_at.session = session
        yield invoke_at
        # A session that has seen a fault still works.
        session.execute(sql.SQL("ALTER SERVER faulty OPTIONS (SET endpoint_url {})").format(scripted.URL))
        assert tables.invoke(session, "faulty", "echo", "[43]") == "[43]"


def test_tls(faulty, trusted):
    requests = []
    with listener(over_tls(trusted.issue_cert("localhost"), requests)) as (port, accepted):
        assert faulty(f"https://localhost:{port}") == "[1]"
    assert len(requests) == len(accepted) == 1


YESTERDAY = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
# What is wrong with the certificate, and how DETAIL calls it.
CERTIFICATES = {
    "unknown authority": (lambda ca: trustme.CA().issue_cert("localhost"), "UnknownIssuer"),
    "other name": (lambda ca: ca.issue_cert("lambda.example"), "not valid for name"),
    "expired": (lambda ca: ca.issue_cert("localhost", not_after=YESTERDAY), "xpired"),
}


@pytest.mark.parametrize("issue, word", CERTIFICATES.values(), ids=CERTIFICATES)
def test_wrong_certificate(faulty, trusted, issue, word):
    """Nothing is sent, and as it is not going to be right a moment later, it is not tried again."""
    requests = []
    with listener(over_tls(issue(trusted), requests)) as (port, accepted):
        url = f"https://localhost:{port}"
        sqlstate, primary, detail = facts(failure(faulty, url))
    assert (sqlstate, primary) == ("08001", "invoke API failed")
    assert url in detail and "certificate" in detail and word in detail
    assert (len(requests), len(accepted)) == (0, 1)


def test_no_tls_at_an_https_url(faulty):
    """Our hello is no HTTP request, so nothing was invoked."""
    with listener(answer_once) as (port, _):
        error = failure(faulty, f"https://localhost:{port}")
    assert facts(error)[:2] == ("08001", "invoke API failed") and "did not run" in error.diag.message_hint


def test_tls_at_an_http_url(faulty, trusted):
    """What is there has a request in the clear, and breaks the connection or answers with an alert."""
    requests = []
    with listener(over_tls(trusted.issue_cert("localhost"), requests)) as (port, accepted):
        error = failure(faulty, f"http://localhost:{port}")
    assert error.sqlstate in ("08006", "08P01") and "may have run" in error.diag.message_hint
    assert (len(requests), len(accepted)) == (0, 1)


def test_handshake_that_never_ends(faulty):
    with listener() as (port, accepted):
        since = time.monotonic()
        error = failure(faulty, f"https://localhost:{port}")
        assert facts(error)[:2] == ("08004", "invoke API failed")
        assert 0.4 < time.monotonic() - since < 2.5 and len(accepted) == 1
    assert "did not run" in error.diag.message_hint


def test_handshake_that_is_cut(faulty):
    with listener(lambda connection: connection.recv(1)) as (port, accepted):
        error = failure(faulty, f"https://localhost:{port}")
    assert facts(error)[:2] == ("08001", "invoke API failed")
    # Such a connection was never made, so it is tried again.
    assert len(accepted) == 3


@pytest.mark.parametrize("host", ["lambda.fails.test", "lambda.again.test"])
def test_name_that_cannot_be_resolved(faulty, server, host):
    sqlstate, primary, detail = facts(failure(faulty, f"http://{host}:80"))
    assert (sqlstate, primary) == ("08001", "invoke API failed") and host in detail
    assert looked_up(server).count(host) == 3


def test_name_whose_resolution_hangs(faulty, server):
    since = time.monotonic()
    error = failure(faulty, "http://lambda.hangs.test:80")
    assert facts(error)[:2] == ("08004", "invoke API failed") and "lambda.hangs.test" in error.diag.message_detail
    assert 0.4 < time.monotonic() - since < 2.5


def test_session_ends_while_a_name_is_being_resolved(server):
    session = connect_to(server)
    session.execute("ALTER SERVER faulty OPTIONS (SET endpoint_url 'http://lambda.hangs.test:80')")
    failure(tables.invoke, session, "faulty", "echo")
    pid = session.info.backend_pid
    session.close()
    scripted.wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), seconds=2)


# Credentials and regions that the machine is asked for


def hang(connection):
    while connection.recv(65536):
        pass


def refuse(connection):
    pass


def garbage(connection):
    connection.recv(65536)
    connection.sendall(HEAD.encode() + b"Content-Length: 9\r\n\r\nnot JSON!")


def fail(connection):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")


def give(connection):
    connection.recv(65536)
    body = json.dumps({
        "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "sessionsecret",
        "Token": "example-session-token", "Expiration": "2999-01-01T00:00:00Z",
    })  # fmt: skip
    connection.sendall(f"{HEAD}Content-Length: {len(body)}\r\n\r\n{body}".encode())


every_way = pytest.mark.parametrize("talk", [hang, refuse, garbage, fail])


def assert_no_credentials(server, longest):
    """Nothing is sent, soon, and the wait can be cancelled."""
    with contextlib.closing(connect_to(server)) as session:
        since = time.monotonic()
        error = failure(invoke, session, "echo")
        took = time.monotonic() - since
        print(f"{took:.1f} s: {error}\n{error.diag.message_detail}")
        assert facts(error)[:2] == ("28000", "invoke API failed") and took < longest
        session.execute("SET statement_timeout = '50ms'")
        since = time.monotonic()
        # It may be quick to fail.
        assert failure(invoke, session, "echo").sqlstate in ("57014", "28000")
        assert time.monotonic() - since < 2
    assert (counter("invocations"), counter("refused"), counter("connections")) == (0, 0, 0)


@every_way
def test_instance_metadata(start, endpoint, talk):
    with listener(talk) as (port, accepted):
        server = start(
            keys={}, AWS_EC2_METADATA_DISABLED="false", AWS_EC2_METADATA_SERVICE_ENDPOINT=f"http://127.0.0.1:{port}"
        )
        assert_no_credentials(server, 5)
        assert accepted


@every_way
def test_container_credentials(start, endpoint, talk):
    with listener(talk) as (port, accepted):
        assert_no_credentials(start(keys={}, AWS_CONTAINER_CREDENTIALS_FULL_URI=f"http://127.0.0.1:{port}/c"), 5)
        assert accepted


def test_container_credentials_that_are_there(start, endpoint):
    with listener(give) as (port, accepted):
        server = start(keys={}, AWS_CONTAINER_CREDENTIALS_FULL_URI=f"http://127.0.0.1:{port}/c")
        with contextlib.closing(connect_to(server)) as session:
            for _ in range(3):
                invoke(session, "describe")
            assert invoke(session, "describe")["access_key"] == "ASIAEXAMPLE"
        # Asked for once.
        assert len(accepted) == 1


@every_way
def test_no_region_anywhere(start, endpoint, talk):
    """Where the region is looked for is as patient as any other part of an invocation."""
    with listener(talk) as (port, accepted):
        where = [f"aws_lambda.endpoint_override = '{scripted.URL}'"]
        server = start(
            where=where, AWS_EC2_METADATA_DISABLED="false",
            AWS_EC2_METADATA_SERVICE_ENDPOINT=f"http://127.0.0.1:{port}",
        )  # fmt: skip
        with contextlib.closing(connect_to(server)) as session:
            since = time.monotonic()
            error = failure(invoke, session, "echo")
            took = time.monotonic() - since
            assert facts(error)[:2] == ("HV00L", "invoke API failed") and took < 5
            assert "Nothing was sent" in error.diag.message_detail
        assert accepted
    assert counter("connections") == 0


@pytest.mark.parametrize("talk", [hang, refuse, garbage, fail])
def test_sts(session, endpoint, talk):
    with listener(talk) as (port, accepted):
        tables.create_server(
            session, "assumes", sts_endpoint_url=f"http://127.0.0.1:{port}",
            role_arn="arn:aws:iam::123456789012:role/name",
        )  # fmt: skip
        tables.create_mapping(session, "assumes", "postgres", **EXAMPLE_KEYS)
        since = time.monotonic()
        error = failure(tables.invoke, session, "assumes", "echo")
        took = time.monotonic() - since
        session.execute("DROP SERVER assumes CASCADE")
        assert facts(error)[:2] == ("28000", "invoke API failed") and took < 5
        assert accepted
    assert counter("invocations") == 0
    assert_goes_on(session, [])
