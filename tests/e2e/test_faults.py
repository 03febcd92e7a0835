"""Faults of the endpoint and of the network: how each is reported, and that it causes no second invocation.

After each of them the session works, and the next invocation has its own answer. Errors of the API's model, broken
connections and time-outs are in tests/regress/sql/api_errors.sql and test_connections.py.
"""

import contextlib
import datetime
import itertools
import json
import pathlib
import re
import ssl
import time
import types

import pytest
import trustme
from psycopg import sql

import scripted
import tables
from listeners import listener, respond, response
from own_server import WHERE, connect as connect_to, resolved_names, own_server
from scripted import EXAMPLE_KEYS, counter, functions, invoke
from tables import failure


def diagnostics(error):
    return error.sqlstate, tables.primary(error), error.diag.message_detail or ""


def assert_session_works(session, sent):
    """The endpoint has got these invocations and no others, and the next invocation gets its own payload."""
    assert functions() == sent
    for number in (41, 42):
        assert invoke(session, "echo", f"[{number}]") == [number]
    assert functions() == sent + ["echo", "echo"]
    assert counter("aborted") == 0


# HTTP

HEAD = "HTTP/1.1 200 OK\r\n"
ONE = "Content-Length: 3\r\n\r\n[1]"
TWO = "Content-Length: 3\r\n\r\n[2]"
CHUNKS = HEAD + "Transfer-Encoding: chunked\r\n\r\n"
BAD = ("08P01", "invoke API failed")
LOST = ("08006", "invoke API failed")
BAD_LENGTH, BAD_STATUS = (*BAD, "Invalid content-length"), (*BAD, "Invalid HTTP status-code")
BAD_HEADER, BAD_VERSION = (*BAD, "Invalid HTTP header"), (*BAD, "Invalid HTTP version")
BAD_CHUNK, CUT = (*LOST, "Invalid chunk"), (*LOST, "End of file before")
NOT_READ = (*BAD, "HTTP status 200")
# The bytes that the endpoint sends, whether it closes the connection then, and the response, or an error with words of its DETAIL.
ANSWERS = {
    "plain": (HEAD + ONE, False, [1]),
    "more than the length": (HEAD + ONE + "leftovers", False, [1]),
    "another answer behind it": (HEAD + ONE + HEAD + TWO, False, [1]),
    "less than the length": (HEAD + "Content-Length: 30\r\n\r\n[1]", True, CUT),
    "a length that is no number": (HEAD + "Content-Length: three\r\n\r\n[1]", True, BAD_LENGTH),
    "a negative length": (HEAD + "Content-Length: -3\r\n\r\n[1]", True, BAD_LENGTH),
    "a length beyond all numbers": (HEAD + f"Content-Length: {10**30}\r\n\r\n[1]", True, BAD_LENGTH),
    "a length with a sign": (HEAD + "Content-Length: +3\r\n\r\n[1]", True, BAD_LENGTH),
    "the same length twice": (HEAD + "Content-Length: 3\r\n" + ONE, False, [1]),
    "a length and chunks": (CHUNKS[:-2] + "Content-Length: 2\r\n\r\n3\r\n[1]\r\n0\r\n\r\n", False, [1]),
    "two lengths": (HEAD + "Content-Length: 3\r\nContent-Length: 4\r\n\r\n[1] ", True, BAD_LENGTH),
    "chunks": (CHUNKS + "1\r\n[\r\n2\r\n1]\r\n0\r\n\r\n", False, [1]),
    "chunks and another answer": (CHUNKS + "3\r\n[1]\r\n0\r\n\r\n" + HEAD + TWO, False, [1]),
    "chunks and a failure": (CHUNKS + "3\r\n[1]\r\n0\r\nX-Amz-Function-Error: Late\r\n\r\n", False, [1]),
    "chunks that are cut": (CHUNKS + "1\r\n[\r\n2\r\n", True, CUT),
    "chunks without the last one": (CHUNKS + "3\r\n[1]\r\n", True, (*LOST, "EOF")),
    "a chunk's length that is no number": (CHUNKS + "x\r\n[1]\r\n0\r\n\r\n", True, BAD_CHUNK),
    "a chunk's length beyond all numbers": (CHUNKS + "f" * 17 + "\r\n[1]\r\n0\r\n\r\n", True, BAD_CHUNK),
    "a chunk that is too long": (CHUNKS + "2\r\n[1]\r\n0\r\n\r\n", True, BAD_CHUNK),
    "no length": (HEAD + "\r\n[1]", True, [1]),
    "HTTP/1.0": ("HTTP/1.0 200 OK\r\n\r\n[1]", True, [1]),
    "HTTP/1.0 and another answer": ("HTTP/1.0 200 OK\r\n" + ONE + HEAD + TWO, False, [1]),
    "100 before it": ("HTTP/1.1 100 Continue\r\n\r\n" + HEAD + ONE, False, [1]),
    "many of 100 before it": ("HTTP/1.1 100 Continue\r\n\r\n" * 1000 + HEAD + ONE, False, [1]),
    "103 before it": ("HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" + HEAD + ONE, False, [1]),
    "103 and nothing else": ("HTTP/1.1 103 Early Hints\r\n\r\n", True, (*LOST, "before message completed")),
    "101 before it": ("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n" + HEAD + ONE, True, (*BAD, "HTTP status 101")),
    "204 with a body": ("HTTP/1.1 204 No Content\r\n" + ONE, False, None),
    "304 with a body": ("HTTP/1.1 304 Not Modified\r\n" + ONE, False, (*BAD, "HTTP status 304")),
    "a status that is no number": ("HTTP/1.1 two OK\r\n" + ONE, True, BAD_STATUS),
    "a status of four digits": ("HTTP/1.1 2000 OK\r\n" + ONE, True, BAD_STATUS),
    "another protocol": ("SSH-2.0-OpenSSH_9.2\r\n", True, BAD_VERSION),
    "another version": ("HTTP/2 200 OK\r\n" + ONE, True, BAD_VERSION),
    "a name with a space": (HEAD + "X Y: 1\r\n" + ONE, True, BAD_HEADER),
    "a zero byte in a header": (HEAD + "X-Y: a\0b\r\n" + ONE, True, BAD_HEADER),
    "200 headers": (HEAD + "".join(f"X-{i}: 1\r\n" for i in range(200)) + ONE, True, (*BAD, "head is too large")),
    "a header in two lines": (HEAD + "X-Y: 1\r\n 2\r\n" + ONE, True, BAD_HEADER),
    "two versions": (HEAD + "X-Amz-Executed-Version: 1\r\nX-Amz-Executed-Version: 2\r\n" + ONE, False, NOT_READ),
    "two failures": (HEAD + "X-Amz-Function-Error: A\r\nX-Amz-Function-Error: B\r\n" + ONE, False, NOT_READ),
    "a version in Latin-1": (HEAD + "X-Amz-Executed-Version: \xe9\r\n" + ONE, False, NOT_READ),
    "a long version": (HEAD + f"X-Amz-Executed-Version: {'9' * 5000}\r\n" + ONE, False, [1]),
    "a request id in Latin-1": (HEAD + "x-amzn-RequestId: \xe9\r\n" + ONE, False, [1]),
    "a long request id": (HEAD + f"x-amzn-RequestId: {'9' * 100_000}\r\n" + ONE, False, [1]),
    "a log in Latin-1": (HEAD + "X-Amz-Log-Result: \xe9\r\n" + ONE, False, NOT_READ),
    "a failure in Latin-1": (HEAD + "X-Amz-Function-Error: \xe9\r\n" + ONE, False, NOT_READ),
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
        sqlstate, primary, detail = diagnostics(error)
        assert (sqlstate, primary) == outcome[:2] and outcome[2] in detail
        assert "may have run" in error.diag.message_hint
    else:
        assert invoke(session, function, json.dumps(answer)) == outcome
    assert_session_works(session, sent + [function])


ENDLESS = {
    "100 and nothing else": "HTTP/1.1 100 Continue\r\n\r\n",
    "less than the length": HEAD + "Content-Length: 30\r\n\r\n[1]",
    "chunks without the last one": CHUNKS + "3\r\n[1]\r\n",
    "no length": HEAD + "\r\n[1]",
}


@pytest.mark.parametrize("answer", ENDLESS.values(), ids=ENDLESS)
def test_answer_that_does_not_end(session, endpoint, answer):
    """The connection stays open, and is not used again."""
    session.execute("SET aws_lambda.request_timeout_ms = 300")
    error = failure(invoke, session, "verbatim", json.dumps(answer))
    assert diagnostics(error)[:2] == ("08007", "invoke API failed") and "may have run" in error.diag.message_hint
    assert_session_works(session, ["verbatim"])
    assert counter("connections") == 2


def test_each_of_many_has_its_own_answer(session, endpoint, answered):
    """Bytes behind an answer on a shared connection change nothing."""
    answers = {
        json.dumps(f"{HEAD}Content-Length: 5\r\n\r\n[{number}]{HEAD}{TWO}"): f"[{number}]" for number in range(100, 200)
    }
    rows = session.execute(
        "SELECT payload, response FROM text_raise WHERE function_name = 'verbatim' AND payload = ANY (%s)",
        [list(answers)],
    ).fetchall()
    assert len(rows) == 100 and dict(rows) == answers
    assert_session_works(session, ["verbatim"] * 100)


def test_second_answer_that_comes_late(faulty):
    """Bytes that come without a request are no answer."""

    def handle(connection):
        for number in itertools.count(1):
            if not connection.recv(65536):
                return
            connection.sendall(f"{HEAD}Content-Length: 3\r\n\r\n[{number}]".encode())
            time.sleep(0.05)
            connection.sendall(f"{HEAD}Content-Length: 4\r\n\r\n[-1]".encode())

    with listener(handle) as (port, accepted):
        for number in (1, 2, 3):
            assert faulty(f"http://127.0.0.1:{port}") == "[1]"
            time.sleep(0.2)
        assert len(accepted) == 3


def test_redirect(session, endpoint):
    """A redirect is not followed, neither with the payload nor without it."""
    with listener() as (port, accepted):
        for status in (301, 302, 303, 307, 308):
            answer = f"HTTP/1.1 {status} Moved\r\nLocation: http://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\r\n"
            assert diagnostics(failure(invoke, session, "verbatim", json.dumps(answer)))[:2] == BAD
        assert accepted == []
    assert_session_works(session, ["verbatim"] * 5)


# Requests that are not read to their end

LARGE = json.dumps("x" * 6_000_000)


def read_a_part(connection):
    connection.recv(1000)


def refuse_early(connection):
    """As a proxy does: responds first, then reads the rest of the request."""
    connection.recv(1000)
    connection.sendall(
        b"HTTP/1.1 413 Too Large\r\nx-amzn-ErrorType: RequestTooLargeException\r\nContent-Length: 2\r\n\r\n{}"
    )
    while connection.recv(65536):
        pass


def read_no_more(connection):
    connection.recv(1000)
    time.sleep(2)


NOT_READ_TO_THE_END = {
    "cut": (read_a_part, "08006", "It was not invoked again"),
    "refused": (refuse_early, "54000", "6 MB"),
    "left": (read_no_more, "08007", "may have run"),
}


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("handle, sqlstate, hint", NOT_READ_TO_THE_END.values(), ids=NOT_READ_TO_THE_END)
def test_request_that_is_not_read_to_its_end(faulty, trusted, handle, sqlstate, hint, secure):
    faulty.session.execute("SET aws_lambda.request_timeout_ms = 700")
    if secure:
        handle = through_tls(trusted.issue_cert("localhost"), handle)
    with listener(handle) as (port, accepted):
        since = time.monotonic()
        error = failure(faulty, f"{'https' if secure else 'http'}://localhost:{port}", LARGE)
        assert time.monotonic() - since < 2.5
        assert diagnostics(error)[:2] == (sqlstate, "invoke API failed")
        assert hint in error.diag.message_hint
        time.sleep(0.3)
        assert len(accepted) == 1
    faulty.session.execute("RESET aws_lambda.request_timeout_ms")


# Responses of functions


@pytest.fixture
def answered(session):
    """Invokes functions whose answer is given, through a table whose response is of that type."""
    for kind in ("jsonb", "json", "text"):
        for on_error in ("raise", "return"):
            session.execute(
                f"CREATE FOREIGN TABLE IF NOT EXISTS {kind}_{on_error} (function_name text, payload text,"
                f" response {kind}, log_type text, log text, log_result text,"
                f" error_code text, error_message text, function_error text)"
                f" SERVER aws_lambda OPTIONS (on_error '{on_error}', max_payload_bytes '7000000')"
            )

    def fetch(kind, on_error, headers, body, columns=None):
        head = f"{HEAD}Content-Length: {len(body)}\r\n" + "".join(f"{header}\r\n" for header in headers)
        answer = json.dumps((head + "\r\n").encode().decode("latin-1") + body.decode("latin-1"))
        columns = columns or ("response::text" + ", error_code, error_message" * (on_error == "return"))
        query = sql.SQL(f"SELECT {columns} FROM {kind}_{on_error} WHERE function_name = 'verbatim' AND payload = %s")
        return session.execute(query, [answer]).fetchone()

    return fetch


DEEP = b"[" * 100_000 + b"]" * 100_000
LONG = b'{"errorType": "' + b"T" * 50_000 + b'", "errorMessage": "m"}'
NULL_MESSAGE, NUMBER_MESSAGE = '{"errorType":"What","errorMessage":null}', '{"errorType":"What","errorMessage":5}'
THROWN = {
    "all of it": (b'{"errorMessage":"why","errorType":"What","stackTrace":["a","b"]}', "What", "why"),
    "an object": (b'{"a": 1}', "Unhandled", '{"a": 1}'),
    "an empty object": (b"{}", "Unhandled", "{}"),
    "a message that is a number": (b'{"errorMessage": 5}', "Unhandled", '{"errorMessage": 5}'),
    "a type and a message that is a number": (NUMBER_MESSAGE.encode(), "What", NUMBER_MESSAGE),
    "a type and a message that is null": (NULL_MESSAGE.encode(), "What", NULL_MESSAGE),
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
        sqlstate, primary, detail = diagnostics(error)
        assert (sqlstate, primary) == ("38000", "lambda invocation failed")
        assert detail.startswith('"verbatim" returned error "Unhandled", details: "') and len(detail) < 9000
        # A type that can't hold the payload leaves no response; what the function threw is there all the same.
        response, *thrown = answered(kind, "return", headers, payload)
        assert thrown == [code, message]
        assert response in (None, payload.decode(errors="replace")) or json.loads(response) == json.loads(payload)
    # The last of them was text, which holds whatever is text.
    assert response == (payload.decode() if payload.isascii() and payload and b"\0" not in payload else None)
    assert_session_works(session, ["verbatim"] * 6)


@pytest.mark.parametrize(
    "kind, shown", [("Odd", "Odd"), ("", ""), ("Z" * 5000, "Z" * 200 + "...")], ids=["odd", "empty", "long"]
)
def test_unknown_kind_of_function_error(session, endpoint, answered, kind, shown):
    """It is one all the same."""
    headers = [f"X-Amz-Function-Error: {kind}"]
    sqlstate, primary, detail = diagnostics(failure(answered, "json", "raise", headers, b"{}"))
    assert (sqlstate, primary, detail) == (
        "38000", "lambda invocation failed", f'"verbatim" returned error "{shown}", details: "{{}}".'
    )  # fmt: skip
    row = answered("json", "return", headers, b"{}", "error_code, error_message, function_error")
    assert row == (kind, "{}", kind)
    assert_session_works(session, ["verbatim"] * 2)


def test_a_control_character_in_a_kind_of_function_error(session, endpoint, answered):
    error = failure(answered, "json", "raise", ["X-Amz-Function-Error: Who \x1b[31m knows"], b"{}")
    assert diagnostics(error)[:2] == BAD and "\x1b" not in str(error)
    assert_session_works(session, ["verbatim"])


HOLDS = None
NOT_UTF8 = ("22021", "response of the function is not valid UTF-8")
ZERO_BYTE = ("22P05", "response of the function is not text: it has a zero byte")
NOT_JSON = ("22P02", "response of the function is not valid JSON")
NOT_JSONB = ("22P05", "response of the function is not valid jsonb: it escapes a character that text cannot hold")
TOO_LARGE = ("22003", "value overflows numeric format")
TOO_DEEP = ("54001", "stack depth limit exceeded")
# What jsonb, json and text make of it.
RESPONSES = {
    "invalid UTF-8": (b'"\xff"', NOT_UTF8, NOT_UTF8, NOT_UTF8),
    "a zero byte": (b'"a\0b"', ZERO_BYTE, ZERO_BYTE, ZERO_BYTE),
    "an escaped zero byte": (b'"a\\u0000b"', NOT_JSONB, HOLDS, HOLDS),
    "half a surrogate pair": (b'"\\ud800"', NOT_JSON, HOLDS, HOLDS),
    "a number out of range": (b"1e200000", TOO_LARGE, HOLDS, HOLDS),
    "deep": (DEEP, TOO_DEEP, TOO_DEEP, HOLDS),
    "the largest": (b'"' + b"x" * 6_291_554 + b'"', HOLDS, HOLDS, HOLDS),
    "one byte more": (b'"' + b"x" * 6_291_555 + b'"', HOLDS, HOLDS, HOLDS),
    "not JSON": (b"x", NOT_JSON, NOT_JSON, HOLDS),
    "two of them": (b"1 2", NOT_JSON, NOT_JSON, HOLDS),
}


@pytest.mark.parametrize("body, as_jsonb, as_json, as_text", RESPONSES.values(), ids=RESPONSES)
def test_response(session, endpoint, answered, body, as_jsonb, as_json, as_text):
    """A column that can't hold it ends the statement, or leaves a row that says so."""
    session.execute("SET aws_lambda.request_timeout_ms = 30000")
    sent = []
    for kind, outcome in (("jsonb", as_jsonb), ("json", as_json), ("text", as_text)):
        sent.append("verbatim")
        if outcome is HOLDS:
            assert answered(kind, "raise", [], body) == (body.decode(),)
        else:
            assert diagnostics(failure(answered, kind, "raise", [], body))[:2] == outcome
            sent.append("verbatim")
            response, code, message = answered(kind, "return", [], body)
            assert (response, code) == (None, "InvalidResponse")
            assert message.startswith("response of the function is not ") and "The function ran." in message
    assert_session_works(session, sent)


def test_an_answer_without_end(session, endpoint):
    """What is read of it is bounded, so that it does not take all memory."""
    session.execute("SET aws_lambda.request_timeout_ms = 60000")
    error = failure(invoke, session, "size-70000000")
    assert diagnostics(error)[:2] == BAD and "more than 7340032 bytes" in error.diag.message_detail
    length = "SELECT octet_length(payload::text) FROM aws_lambda.invoke('size-7340032', '{}'::json)"
    assert session.execute(length).fetchone() == (7_340_032,)
    assert diagnostics(failure(invoke, session, "size-7340033"))[:2] == BAD
    assert_session_works(session, ["size-70000000", "size-7340032", "size-7340033"])


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
    assert_session_works(session, ["verbatim"])


# DNS, TCP and TLS


answer_once = respond("200 OK", "[1]")


def through_tls(certificate, handle, context=None):
    """Handles in TLS, without close_notify at the end."""
    context = context or ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)

    def handle_tls(connection):
        with contextlib.suppress(ssl.SSLError, OSError), context.wrap_socket(connection, server_side=True) as tls:
            handle(tls)

    return handle_tls


def over_tls(certificate, requests, answer=HEAD + ONE, context=None):
    """Responds in TLS. `requests` has what came after the handshake."""

    def handle(tls):
        if request := tls.recv(65536):
            requests.append(request)
            tls.sendall(answer.encode())

    return through_tls(certificate, handle, context)


@pytest.fixture(scope="module")
def trusted():
    return trustme.CA()


@pytest.fixture(scope="module")
def server(trusted):
    """A server that trusts an authority of the tests, and whose resolver can fail."""
    with trusted.cert_pem.tempfile(dir="/tmp") as roots:
        pathlib.Path(roots).chmod(0o644)
        with own_server("aws_lambda.connect_timeout_ms = 500", resolver=True, SSL_CERT_FILE=roots) as server:
            with connect_to(server) as session:
                tables.create_server(session, "faulty", endpoint_url="http://127.0.0.1:1", region="us-east-1")
                session.execute("ALTER SERVER faulty OPTIONS (ADD max_retries '2')")
            yield server


@pytest.fixture
def faulty(server):
    """Invokes in a session there, at an endpoint."""
    with contextlib.closing(connect_to(server)) as session:

        def invoke_at(url, payload="[1]"):
            session.execute(sql.SQL("ALTER SERVER faulty OPTIONS (SET endpoint_url {})").format(url))
            return tables.invoke(session, "faulty", "echo", payload)

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


@pytest.mark.parametrize("name", ["less than the length", "chunks without the last one", "no length"])
def test_answer_that_is_cut_in_tls(faulty, trusted, name):
    """Who cuts the connection can't make a response shorter, not even one that ends with the connection."""
    requests = []
    with listener(over_tls(trusted.issue_cert("localhost"), requests, ENDLESS[name])) as (port, accepted):
        error = failure(faulty, f"https://localhost:{port}")
    assert diagnostics(error)[:2] == LOST and "may have run" in error.diag.message_hint
    assert len(requests) == len(accepted) == 1


def test_no_authority_that_is_trusted(start, endpoint):
    """A machine without any certificates: what needs none works."""
    requests = []
    server = start(SSL_CERT_FILE="/nowhere", SSL_CERT_DIR="/nowhere")
    with contextlib.closing(connect_to(server)) as session:
        with listener(over_tls(trustme.CA().issue_cert("localhost"), requests)) as (port, accepted):
            session.execute(sql.SQL("SET aws_lambda.endpoint_override = {}").format(f"https://localhost:{port}"))
            error = failure(invoke, session, "echo")
        assert diagnostics(error)[:2] == ("F0000", "invoke API failed") and "/nowhere" in error.diag.message_detail
        assert (len(requests), len(accepted)) == (0, 0)
        session.execute("RESET aws_lambda.endpoint_override")
        assert_session_works(session, [])


NOW, DAY = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
# What is wrong with the certificate, and how DETAIL calls it.
CERTIFICATES = {
    "unknown authority": (lambda ca: trustme.CA().issue_cert("localhost"), "UnknownIssuer"),
    "other name": (lambda ca: ca.issue_cert("lambda.example"), "not valid for name"),
    "expired": (lambda ca: ca.issue_cert("localhost", not_after=NOW - DAY), "xpired"),
    "not valid yet": (lambda ca: ca.issue_cert("localhost", not_before=NOW + DAY), "not valid yet"),
}


@pytest.mark.parametrize("issue, word", CERTIFICATES.values(), ids=CERTIFICATES)
def test_wrong_certificate(faulty, trusted, issue, word):
    """Nothing is sent, and as it is not going to be right a moment later, it is not tried again."""
    requests = []
    with listener(over_tls(issue(trusted), requests)) as (port, accepted):
        url = f"https://localhost:{port}"
        error = failure(faulty, url)
    sqlstate, primary, detail = diagnostics(error)
    assert (sqlstate, primary) == ("08001", "invoke API failed")
    assert url in detail and "certificate" in detail and word in detail
    assert "did not run" in error.diag.message_hint
    assert (len(requests), len(accepted)) == (0, 1)


@pytest.mark.parametrize(
    "version, outcome", [("TLSv1_2", ("08001", "did not run", 3)), ("TLSv1_3", ("08006", "may have run", 1))]
)
def test_client_certificate_requested(faulty, trusted, version, outcome):
    """We have none. In TLS 1.3 that is said only after the handshake, when the request is on its way."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.verify_mode = ssl.CERT_REQUIRED
    trusted.configure_trust(context)
    requests = []
    with listener(over_tls(trusted.issue_cert("localhost"), requests, context=context)) as (port, accepted):
        error = failure(faulty, f"https://localhost:{port}")
    sqlstate, hint, connections = outcome
    assert diagnostics(error)[:2] == (sqlstate, "invoke API failed") and hint in error.diag.message_hint
    assert (len(requests), len(accepted)) == (0, connections)


def test_no_tls_at_an_https_url(faulty):
    """Our hello is no HTTP request, so nothing was invoked, and nothing will be."""
    with listener(answer_once) as (port, accepted):
        error = failure(faulty, f"https://localhost:{port}")
    assert diagnostics(error)[:2] == ("08001", "invoke API failed") and "did not run" in error.diag.message_hint
    assert "The endpoint may speak http, not https." in error.diag.message_detail and len(accepted) == 1


def test_tls_at_an_http_url(faulty, trusted):
    """What is there has a request in the clear, and breaks the connection or answers with an alert."""
    requests = []
    with listener(over_tls(trusted.issue_cert("localhost"), requests)) as (port, accepted):
        error = failure(faulty, f"http://localhost:{port}")
    assert error.sqlstate in ("08006", "08P01") and "may have run" in error.diag.message_hint
    assert "The endpoint may speak https, not http." in error.diag.message_detail
    assert (len(requests), len(accepted)) == (0, 1)


def test_handshake_that_never_ends(faulty):
    with listener() as (port, accepted):
        since = time.monotonic()
        error = failure(faulty, f"https://localhost:{port}")
        assert diagnostics(error)[:2] == ("08004", "invoke API failed")
        assert 0.4 < time.monotonic() - since < 2.5 and len(accepted) == 1
    assert "did not run" in error.diag.message_hint


def test_handshake_that_is_cut(faulty):
    with listener(lambda connection: connection.recv(1)) as (port, accepted):
        error = failure(faulty, f"https://localhost:{port}")
    assert diagnostics(error)[:2] == ("08001", "invoke API failed")
    # Such a connection was never made, so it is tried again.
    assert len(accepted) == 3


@pytest.mark.parametrize("host", ["lambda.fails.test", "lambda.again.test"])
def test_name_that_cannot_be_resolved(faulty, server, host):
    error = failure(faulty, f"http://{host}:80")
    sqlstate, primary, detail = diagnostics(error)
    assert (sqlstate, primary) == ("08001", "invoke API failed") and host in detail
    assert "did not run" in error.diag.message_hint
    assert resolved_names(server).count(host) == 3


def test_name_whose_resolution_hangs(faulty, server):
    since = time.monotonic()
    error = failure(faulty, "http://lambda.hangs.test:80")
    assert diagnostics(error)[:2] == ("08004", "invoke API failed") and "lambda.hangs.test" in error.diag.message_detail
    assert 0.4 < time.monotonic() - since < 2.5


def test_session_ends_while_a_name_is_being_resolved(server):
    session = connect_to(server)
    session.execute("ALTER SERVER faulty OPTIONS (SET endpoint_url 'http://lambda.hangs.test:80')")
    assert failure(tables.invoke, session, "faulty", "echo").sqlstate == "08004"
    pid = session.info.backend_pid
    session.close()
    scripted.wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), seconds=2)


# Credentials and regions that the machine is asked for

SESSION_KEYS = {
    "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "sessionsecret",
    "Token": "example-session-token", "Expiration": "2999-01-01T00:00:00Z",
}  # fmt: skip


def hang(connection):
    while connection.recv(65536):
        pass


def refuse(connection):
    pass


garbage = respond("200 OK", "not JSON!")
fail = respond("500 Oops")
give = respond("200 OK", json.dumps(SESSION_KEYS))


INSTANCE_ANSWERS = {
    "/latest/api/token": "token",
    "/latest/meta-data/placement/region": "eu-west-1",
    "/latest/meta-data/iam/security-credentials/": "role",
    "/latest/meta-data/iam/security-credentials/role": json.dumps({"Code": "Success", **SESSION_KEYS}),
}


def give_of_instance(connection):
    _, path, _ = connection.recv(65536).decode("latin-1").split(" ", 2)
    body = INSTANCE_ANSWERS.get(path)
    status = "404 Not Found" if body is None else "200 OK"
    ttl = "x-aws-ec2-metadata-token-ttl-seconds: 21600"
    connection.sendall(response(status, (body or "").encode("latin-1"), ttl, "Connection: close"))


every_way = pytest.mark.parametrize("handle", [hang, refuse, garbage, fail], ids=["hang", "refuse", "garbage", "fail"])
# The environment that says where to ask for credentials. The server has no other keys, and no region.
MACHINES = {
    "instance": {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:{}"},
    "container": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:{}/c"},
}
every_machine = pytest.mark.parametrize("machine", MACHINES, indirect=True)
instance = pytest.mark.parametrize("machine", ["instance"], indirect=True)


def environment_of(kind, port):
    return {name: value.format(port) for name, value in MACHINES[kind].items()}


@pytest.fixture(scope="module")
def machine(request):
    """A server on such a machine. `handle` responds to its requests for credentials, and `accepted` has their connections."""
    machine = types.SimpleNamespace()
    with listener(lambda connection: machine.handle(connection)) as (port, machine.accepted):
        with own_server(
            "aws_lambda.request_timeout_ms = 1500", keys={}, where=WHERE[:1], **environment_of(request.param, port)
        ) as machine.server:
            yield machine


@contextlib.contextmanager
def asking(machine, handle, region="us-west-2"):
    """A session there. At the end it invokes with keys of its own."""
    machine.handle = handle
    machine.accepted.clear()
    with contextlib.closing(connect_to(machine.server)) as session:
        session.execute(sql.SQL("SET aws_lambda.region = {}").format(region))
        yield session
        assert machine.accepted
        session.execute("RESET statement_timeout; SET aws_lambda.region = 'us-west-2'")
        assert counter("connections") == 0
        with session.transaction(force_rollback=True):
            tables.create_mapping(session, "aws_lambda", "postgres", **EXAMPLE_KEYS)
            assert invoke(session, "echo", "[44]") == [44]


def fails_in_time(session, sqlstate):
    """The error comes within the time-out of a request, which is 1.5 s here."""
    since = time.monotonic()
    error = failure(invoke, session, "echo")
    took = time.monotonic() - since
    print(f"{took:.1f} s: {error.diag.message_detail}")
    assert diagnostics(error)[:2] == (sqlstate, "invoke API failed") and took < 3
    return error.diag.message_detail


@every_machine
@every_way
def test_no_credentials_on_the_machine(machine, endpoint, handle):
    with asking(machine, handle) as session:
        detail = fails_in_time(session, "28000")
        assert re.search("Environment variables: .* Shared config file .* Web identity token: .* Container credentials: ", detail)
        # The SDK stops at the first source that is configured.
        assert ("Instance metadata: " in detail) == ("Container credentials: neither" in detail)
        assert 'Role "postgres" has no user mapping for server "aws_lambda".' in detail


@instance
@every_way
def test_no_region_anywhere(machine, endpoint, handle):
    """The look-up of the region ends with the time-out of the request."""
    with asking(machine, handle, region="") as session:
        detail = fails_in_time(session, "HV00L")
        assert "Nothing was sent" in detail and re.search("Environment variables: .*Instance metadata: ", detail)


@instance
def test_region_is_looked_for_once(machine, endpoint):
    """Once for all invocations that wait for it."""
    with asking(machine, hang, region="") as session:
        session.execute(
            "CREATE FOREIGN TABLE several (payload text, error_code text) SERVER aws_lambda"
            " OPTIONS (function_name 'echo', on_error 'return')"
        )
        since = time.monotonic()
        rows = session.execute("SELECT error_code FROM several WHERE payload IN ('1', '2', '3')").fetchall()
        assert time.monotonic() - since < 3
        assert rows == [("NoRegion",)] * 3
        session.execute("DROP FOREIGN TABLE several")


@pytest.mark.parametrize(
    "machine, region", [("instance", "us-west-2"), ("instance", ""), ("container", "us-west-2")], indirect=["machine"]
)
def test_looking_for_them_can_be_cancelled(machine, endpoint, region):
    with asking(machine, hang, region) as session:
        session.execute("SET statement_timeout = '300ms'")
        since = time.monotonic()
        assert failure(invoke, session, "echo").sqlstate == "57014"
        assert time.monotonic() - since < 2


@pytest.mark.parametrize(
    "kind, place", [("instance", "Instance metadata: not reachable"), ("container", "Container credentials: what AWS_CONTAINER")], ids=MACHINES
)
def test_credential_source_refuses_connections(start, endpoint, kind, place):
    """DETAIL names each source that was asked, and is not cut before."""
    server = start("aws_lambda.request_timeout_ms = 6000", keys={}, **environment_of(kind, 1))
    with contextlib.closing(connect_to(server)) as session:
        sqlstate, primary, detail = diagnostics(failure(invoke, session, "echo"))
    assert (sqlstate, primary) == ("28000", "invoke API failed")
    assert re.search(place, detail) and "?" not in detail
    assert counter("connections") == 0


@instance
def test_instance_that_has_both(machine, endpoint):
    """It is asked once for the region and once for the credentials."""
    machine.handle = give_of_instance
    machine.accepted.clear()
    with contextlib.closing(connect_to(machine.server)) as session:
        seen = invoke(session, "describe")
        asked = len(machine.accepted)
        assert (seen["region"], seen["access_key"], seen["session_token"]) == ("eu-west-1", "ASIAEXAMPLE", True)
        invoke(session, "describe")
        assert 0 < asked == len(machine.accepted)


@instance
@pytest.mark.parametrize("region", ["example.com/", "a@example.com", "eu-west-1.example.com#", "x" * 2000, "", "\xe9"])
def test_instance_whose_region_is_none(machine, endpoint, monkeypatch, region):
    """The region of instance metadata can't change the host that the request goes to."""
    monkeypatch.setitem(INSTANCE_ANSWERS, "/latest/meta-data/placement/region", region)
    with asking(machine, give_of_instance, region="") as session:
        assert failure(invoke, session, "echo").sqlstate in ("22023", "HV00L")


@pytest.mark.parametrize("machine", ["container"], indirect=True)
def test_container_that_has_credentials(machine, endpoint):
    machine.handle = give
    machine.accepted.clear()
    with contextlib.closing(connect_to(machine.server)) as session:
        session.execute("SET aws_lambda.region = 'us-west-2'")
        for _ in range(3):
            assert invoke(session, "describe")["access_key"] == "ASIAEXAMPLE"
    # Asked for once.
    assert len(machine.accepted) == 1


# Roles

ROLE = "arn:aws:iam::123456789012:role/name"


@pytest.fixture
def assumes(session):
    """Invokes as a role, with the STS at a port."""

    def invoke_as(port, **options):
        tables.create_server(session, "assumes", sts_endpoint_url=f"http://127.0.0.1:{port}", role_arn=ROLE, **options)
        tables.create_mapping(session, "assumes", "postgres", **EXAMPLE_KEYS)
        return tables.invoke(session, "assumes", "echo")

    yield invoke_as
    session.execute("DROP SERVER IF EXISTS assumes CASCADE")


@every_way
def test_sts(session, endpoint, assumes, handle):
    with listener(handle) as (port, accepted):
        since = time.monotonic()
        error = failure(lambda: assumes(port, request_timeout_ms="1500"))
        sqlstate, primary, detail = diagnostics(error)
        assert (sqlstate, primary) == ("28000", "invoke API failed") and time.monotonic() - since < 3
        assert accepted and re.search(f"AssumeRole|{ROLE}", detail)
    assert counter("connections") == 0
    assert_session_works(session, [])


def test_sts_that_hangs_for_long(session, endpoint, assumes):
    """The SDK's own time-out ends first. The error is the same."""
    with listener(hang) as (port, accepted):
        error = failure(lambda: assumes(port, request_timeout_ms="7000"))
        assert diagnostics(error)[:2] == ("28000", "invoke API failed")
        assert "AWS Lambda client returned 'No usable credentials'" in error.diag.message_detail
        assert accepted
    assert_session_works(session, [])


def test_no_sts(session, endpoint, assumes):
    """The connection is refused. DETAIL names the role or the address."""
    sqlstate, primary, detail = diagnostics(failure(lambda: assumes(1, request_timeout_ms="6000")))
    assert (sqlstate, primary) == ("28000", "invoke API failed")
    assert re.search(f"AssumeRole|127.0.0.1:1|{ROLE}", detail) and "refused" in detail
    assert_session_works(session, [])


@pytest.mark.parametrize(
    "expiration, refused_by", [("2001-01-01T00:00:00Z", "UnrecognizedClientException"), ("soon", "AssumeRole")]
)
def test_keys_that_have_expired(session, endpoint, assumes, expiration, refused_by):
    """Expired keys are sent, and Lambda refuses them. A malformed time is an error of STS's response."""
    body = (
        '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
        "<AccessKeyId>ASIAEXPIRED</AccessKeyId><SecretAccessKey>expiredsecret</SecretAccessKey>"
        "<SessionToken>expired-token</SessionToken>"
        f"<Expiration>{expiration}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
    with listener(respond("200 OK", body)) as (port, accepted):
        sqlstate, primary, detail = diagnostics(failure(assumes, port))
        assert (sqlstate, primary) == ("28000", "invoke API failed") and refused_by in detail
        assert len(accepted) == 1
    assert (counter("invocations"), counter("refused")) == (0, int(refused_by != "AssumeRole"))
    assert_session_works(session, [])
