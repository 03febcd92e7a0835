"""Answers that are no response: those without an AWS error code, and those to a request of a skewed clock."""

import contextlib
import json

import pytest

import scripted
import tables
from listeners import response
from own_server import connect, own_server
from scripted import EXAMPLE_KEYS, counter, functions, invoke
from tables import failure


def answer(status, body, *headers):
    """The payload that has `verbatim` send this."""
    return json.dumps(response(status, body, *headers).decode("latin-1"))


HTML = "Content-Type: text/html"
ID = "x-amzn-RequestId: 11111111-2222"
# An answer, its SQLSTATE, and what DETAIL says of it.
WITHOUT_A_CODE = {
    "a gateway's": (("403 Forbidden", '{"message":"Forbidden"}', ID), "08P01", "'Unexpected answer: Forbidden'. HTTP status 403 without an error code. It came from http://127.0.0.1"),
    "a large payload": (("413 Too Large", '{"message":"Request Too Long"}', ID), "54000", "'Unexpected answer: Request Too Long'. HTTP status 413 without an error code. Function \"verbatim\", request id 11111111-2222."),
    "Message": (("400 Bad", '{"Message":"no"}'), "08P01", "'Unexpected answer: no'"),
    "a page": (
        ("407 Proxy", "<html><head><title>407</title><style>b { color: red }</style>\n</head><body><h1>Log in,\n&amp; go on</h1><!-- x --></body></html>", HTML),
        "08P01", "'Unexpected answer: 407 Log in, &amp; go on'. HTTP status 407",
    ),
    "XML": (
        ("404 Not", "<AccessDeniedException><Message>Unable to determine service</Message></AccessDeniedException>"),
        "08P01", "'Unexpected answer: Unable to determine service'. HTTP status 404",
    ),
    "text": (("503 No", "upstream connect error\nor disconnect"), "08P01", "'Unexpected answer: upstream connect error or disconnect'. HTTP status 503"),
    "a long text": (("502 Bad", "word " * 100_000), "08P01", "'Unexpected answer: word word "),
    "nothing": (("502 Bad", ""), "08P01", "'Unexpected answer'. HTTP status 502 without an error code."),
    "a control character": (("502 Bad", "a\x1b[31m\N{RIGHT-TO-LEFT OVERRIDE}b"), "08P01", "'Unexpected answer: a\\u{1b}[31m\\u{202e}b'"),
    "a code and a page": (("403 No", "<p>Denied</p>", "x-amzn-ErrorType: AccessDeniedException:http://x/"), "42501", "'AccessDeniedException: Denied'"),
    "a list": (("400 Bad", '["message"]'), "08P01", "'Unexpected answer: [\"message\"]'"),
}  # fmt: skip


@pytest.mark.parametrize("sent, sqlstate, said", WITHOUT_A_CODE.values(), ids=WITHOUT_A_CODE)
def test_answer_without_a_code(session, endpoint, sent, sqlstate, said):
    error = failure(invoke, session, "verbatim", answer(*sent))
    assert error.sqlstate == sqlstate and said in error.diag.message_detail, error.diag.message_detail
    assert len(error.diag.message_detail) < 600
    assert functions() == ["verbatim"]


def test_as_rows(session, endpoint):
    """Message, status and request id are there too where a failure is a row."""
    session.execute(
        "CREATE FOREIGN TABLE rows (payload text, status_code integer, request_id text, error_code text, error_message text)"
        " SERVER aws_lambda OPTIONS (function_name 'verbatim', on_error 'return')"
    )
    sent = answer("403 Forbidden", '{"message":"Forbidden"}', ID)
    row = session.execute("SELECT status_code, request_id, error_code, error_message FROM rows WHERE payload = %s", [sent])
    status, request_id, code, message = row.fetchone()
    assert (status, request_id, code) == (403, "11111111-2222", "UnexpectedAnswer") and "Forbidden" in message


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize("code", ["AccessDeniedException", "AccessDenied"])
def test_denied_whatever_the_status(session, endpoint, status, code):
    error = failure(invoke, session, f"error-{status}-{code}")
    assert error.sqlstate == "42501" and functions() == [f"error-{status}-{code}"]


OF_TIME = ["RequestTimeTooSkewed", "RequestExpired", "RequestExpiredException", "RequestInTheFuture"]


@pytest.mark.parametrize("code", OF_TIME)
def test_clock_error_codes(session, endpoint, code):
    """Once: the endpoint's clock tells nothing else than the machine's."""
    error = failure(invoke, session, f"error-403-{code}")
    assert error.sqlstate == "28000" and code in error.diag.message_detail and "clock" in error.diag.message_detail
    assert "did not run" in error.diag.message_hint and "clock" in error.diag.message_hint
    assert functions() == [f"error-403-{code}"]


@pytest.mark.parametrize("date", ["", "Date: yesterday", "Date: Sat, 01 Jan 2000 00:00:00 GMT\r\nAge: 60"], ids=["none", "no date", "cached"])
def test_clock_error_without_a_date(session, endpoint, date):
    """Without it there is nothing to correct, and the message of a signature says it all the same."""
    fields = json.dumps({"message": "Signature expired: 20261129T120000Z is now earlier than 20261129T130000Z"})
    error = failure(invoke, session, "verbatim", answer("403 No", fields, "x-amzn-ErrorType: InvalidSignatureException", *filter(None, [date])))
    assert error.sqlstate == "28000" and "Set the clock" in error.diag.message_hint
    assert "Signature expired" in error.diag.message_detail
    assert len(functions()) <= 2


@pytest.mark.parametrize("code", ["InvalidSignatureException", *OF_TIME])
def test_clock_error_after_the_correction(session, endpoint, code):
    """It is sent once more, and no further."""
    sent = answer("403 No", '{"message":"no"}', f"x-amzn-ErrorType: {code}", "Date: Sat, 01 Jan 2000 00:00:00 GMT")
    error = failure(invoke, session, "verbatim", sent)
    assert error.sqlstate == "28000"
    assert functions()[:1] == ["verbatim"] and 1 <= counter("invocations") + counter("refused") <= 2


HOURS = {"ahead": 2 * 3600, "behind": -2 * 3600}


@pytest.fixture(scope="module", params=HOURS.values(), ids=HOURS)
def skewed(request):
    """A server with keys, on a machine whose clock is skewed."""
    with own_server("aws_lambda.request_timeout_ms = 10000", clock=request.param) as server:
        yield server


def test_clock_that_is_off(skewed, endpoint):
    """The first statement learns the time from a refusal; later ones of the session know it."""
    with contextlib.closing(connect(skewed)) as session:
        assert invoke(session, "echo", "[1]") == [1]
        assert (counter("refused"), counter("invocations")) == (1, 1)
        for number in (2, 3):
            assert invoke(session, "echo", f"[{number}]") == [number]
        assert (counter("refused"), counter("invocations")) == (1, 3)
        # Events and errors too.
        session.execute("SELECT * FROM aws_lambda.invoke('echo'::text, '1'::json, NULL, 'Event')")
        assert failure(invoke, session, "error-403-AccessDeniedException").sqlstate == "42501"
        assert (counter("refused"), counter("invocations")) == (1, 5)


def test_many_with_a_clock_that_is_off(skewed, endpoint):
    with contextlib.closing(connect(skewed)) as session:
        rows = session.execute(
            "SELECT response FROM aws_lambda.lambda_invocations_json"
            " WHERE function_name = 'echo' AND payload = ANY (SELECT i::text FROM generate_series(1, 64) i)"
        ).fetchall()
        assert sorted(number for (number,) in rows) == list(range(1, 65))
        assert counter("invocations") == 64 and 1 <= counter("refused") <= 64


def test_wrong_keys_and_a_clock_that_is_off(skewed, endpoint):
    """What is refused with the right time was not refused for the time."""
    with contextlib.closing(connect(skewed)) as session, session.transaction(force_rollback=True):
        wrong = {**EXAMPLE_KEYS, "secret_access_key": "wrong"}
        tables.create_mapping(session, "aws_lambda", "postgres", **wrong)
        error = failure(invoke, session, "echo")
        assert error.sqlstate == "28000" and "does not match" in error.diag.message_detail
        assert "clock" not in error.diag.message_detail
    assert (counter("refused"), counter("invocations")) == (2, 0)


def test_role_with_a_clock_that_is_off(skewed, endpoint):
    """The SDK corrects it for STS, and keys that seem to have expired are not asked for with each invocation."""
    with contextlib.closing(connect(skewed)) as session, session.transaction(force_rollback=True):
        role = "arn:aws:iam::123456789012:role/invoker"
        tables.create_server(session, "assumes", role_arn=role, sts_endpoint_url=scripted.URL)
        for number in range(5):
            assert tables.invoke(session, "assumes", "echo", f"[{number}]") == f"[{number}]"
    assert counter("invocations") == 5 and 1 <= counter("assume_role") <= 2 and counter("refused") <= 3


def test_explain_counts_the_attempt(skewed, endpoint):
    with contextlib.closing(connect(skewed)) as session:
        lines = session.execute(
            "EXPLAIN (ANALYZE, FORMAT JSON) SELECT response FROM aws_lambda.lambda_invocations"
            " WHERE function_name = 'echo' AND payload = '1'"
        ).fetchone()[0]
    plan = lines[0]["Plan"]
    assert (plan["Invocations"], plan["Retries"]) == (1, 1)
