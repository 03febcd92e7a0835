"""What functions and endpoints answer to a delivery: the row gets an outcome. It neither stops the delivery nor is sent again and again."""

import contextlib
import json

import psycopg
import pytest
from psycopg import sql

import scripted
from listeners import response
from own_server import connect as connect_to
from scripted import counter, wait_until
from tables import options
from test_queue import sent

# Functions, and what becomes of a row with their answer: the state, the response and the error code.
ANSWERS = {
    "html": ("delivered", "<html>not JSON</html>", None),
    "empty": ("delivered", None, None),
    "null": ("delivered", "null", None),
    "nul": ("delivered", '"a\\u0000b"', None),
    "raw-nul": ("delivered", None, "InvalidResponse"),
    "invalid-utf8": ("delivered", None, "InvalidResponse"),
    "bad-log": ("delivered", "1", None),
    "garbage": ("failed", None, "UnexpectedAnswer"),
    "cut-body": ("failed", None, "ConnectionLost"),
    "huge-headers": ("failed", None, "UnexpectedAnswer"),
    "unhandled-text": ("failed", "division by zero", "Unhandled"),
    "plain-502": ("failed", None, "UnexpectedAnswer"),
}
OUTCOMES = "SELECT function_name, state, response, error_code FROM aws_lambda.queue ORDER BY id"


@pytest.fixture
def queue(session, endpoint):
    """A session with an empty queue, where delivered rows are kept and the first failure is the last."""
    session.execute("DELETE FROM aws_lambda.queue")
    prepare(session)
    return session


@pytest.fixture
def encoded(connect, endpoint):
    """Makes a database of another encoding, and yields a session in it whose client sends UTF-8."""

    @contextlib.contextmanager
    def make(encoding):
        name = f"queue_{encoding}".lower()
        administrator = connect()
        administrator.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING {encoding} LC_COLLATE 'C' LC_CTYPE 'C'")
        try:
            with psycopg.connect(dbname=name, autocommit=True, client_encoding="UTF8") as session:
                session.execute("CREATE EXTENSION aws_lambda CASCADE")
                mapping = "CREATE USER MAPPING FOR PUBLIC SERVER aws_lambda {}"
                session.execute(sql.SQL(mapping).format(options(scripted.EXAMPLE_KEYS)))
                prepare(session)
                yield session
        finally:
            administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")

    return make


def prepare(session):
    session.execute("SET aws_lambda.queue_keep = '1h'")
    session.execute("SET aws_lambda.queue_max_attempts = 1")
    session.execute("SET aws_lambda.max_retries = 0")


def ask(session, function, payload="1"):
    session.execute(
        "SELECT aws_lambda.enqueue(%s, %s::json, invocation_type => 'RequestResponse', log_type => 'Tail')", [function, payload]
    )


def silent_failures(session):
    """The number of rows that have failed and do not say why, or the other way round."""
    return session.execute(
        "SELECT count(*) FROM aws_lambda.queue WHERE (error_code IS NULL) <> (error_message IS NULL)"
        " OR state = 'failed' AND error_code IS NULL"
    ).fetchone()[0]


def test_answers_of_any_kind(queue):
    for function in ANSWERS:
        ask(queue, function)
    assert queue.execute("CALL aws_lambda.deliver()").fetchone() == (7, 0, 5)
    outcomes = queue.execute(OUTCOMES).fetchall()
    assert {name: tuple(outcome) for name, *outcome in outcomes} == ANSWERS
    assert silent_failures(queue) == 0
    assert queue.execute("CALL aws_lambda.deliver()").fetchone() == (0, 0, 0)
    assert counter("invocations") == len(ANSWERS)


def test_an_answer_of_six_megabytes(queue):
    """It is kept as it is, also twice at once."""
    for _ in range(2):
        ask(queue, "size-6291456")
    assert queue.execute("CALL aws_lambda.deliver()").fetchone() == (2, 0, 0)
    assert queue.execute("SELECT state, length(response) FROM aws_lambda.queue").fetchall() == [("delivered", 6291456)] * 2
    assert counter("invocations") == 2


def answer(status, body, *headers):
    """The payload with which the script `verbatim` sends an answer: a JSON string with a character for each byte."""
    return json.dumps(response(status, body, *headers).decode("latin-1"))


# Of bodies and headers that no text can hold, or only other text.
HOSTILE = {
    "zero in an error's message": answer("400 No", r'{"message": "a\u0000b"}', "x-amzn-ErrorType: AccessDeniedException"),
    "zero in a function's error": answer("200 OK", r'{"errorMessage": "a\u0000b"}', "X-Amz-Function-Error: Unhandled"),
    "half a surrogate": answer("200 OK", r'{"errorMessage": "a\ud800b"}', "X-Amz-Function-Error: Unhandled"),
    "bytes in a function's error": answer("200 OK", b'{"errorMessage": "\xff\x00"}', "X-Amz-Function-Error: Unhandled"),
    "bytes in an error": answer("500 No", b"\xff\x00\xfe", "x-amzn-ErrorType: ServiceException"),
    "bytes in headers": answer(
        "200 OK", "1", *(f"{name}: \xe9\xff" for name in ("X-Amz-Executed-Version", "X-Amz-Log-Result", "x-amzn-RequestId"))
    ),
    "bytes in the kind of error": answer("200 OK", "1", "X-Amz-Function-Error: \xe9\xff"),
    "euro in an error": answer("400 No", '{"message": "€"}', "x-amzn-ErrorType: AccessDeniedException"),
    "euro": answer("200 OK", '"€"'),
}


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1", "SQL_ASCII"])
def test_hostile_answers(encoded, encoding):
    """Each row gets an outcome, and those of others behind them are delivered."""
    with encoded(encoding) as session:
        for payload in HOSTILE.values():
            ask(session, "verbatim", payload)
        ask(session, "echo")
        delivered, postponed, failed = session.execute("CALL aws_lambda.deliver()").fetchone()
        assert (delivered + failed, postponed) == (len(HOSTILE) + 1, 0)
        assert silent_failures(session) == 0
        assert session.execute(OUTCOMES).fetchall()[-1] == ("echo", "delivered", "1", None)
        assert session.execute("CALL aws_lambda.deliver()").fetchone() == (0, 0, 0)
        assert counter("invocations") == len(HOSTILE) + 1


@pytest.mark.parametrize("encoding, euro", [("LATIN1", (None, "InvalidResponse")), ("SQL_ASCII", ('"€"', None))])
def test_characters_that_the_database_lacks(encoded, encoding, euro):
    """The row is delivered, and says why it has no response."""
    with encoded(encoding) as session:
        for function, payload in [("echo", '"é"'), ("echo", '"\\u20ac"'), ("verbatim", HOSTILE["euro"])]:
            ask(session, function, payload)
        assert session.execute("CALL aws_lambda.deliver()").fetchone() == (3, 0, 0)
        assert session.execute(OUTCOMES).fetchall() == [
            ("echo", "delivered", '"é"', None), ("echo", "delivered", '"\\u20ac"', None), ("verbatim", "delivered", *euro),
        ]  # fmt: skip
        assert session.execute("CALL aws_lambda.deliver()").fetchone() == (0, 0, 0)
        assert counter("invocations") == 3


def test_poison_rows_hold_up_nobody(start, endpoint):
    """A worker tries rows of a function that was deleted, or that AWS cannot run, as often as the setting says. Rows of others that were
    queued behind them come before the second attempts. Then the worker leaves the failed rows alone."""
    server = start("aws_lambda.queue_max_attempts = 2", "aws_lambda.max_concurrency = 4")
    with connect_to(server) as session:
        session.execute("SELECT count(aws_lambda.enqueue('missing', to_json(i))) FROM generate_series(1, 100) i")
        session.execute("SELECT count(aws_lambda.enqueue('error-500-ServiceException', to_json(i))) FROM generate_series(101, 200) i")
        session.execute("SELECT count(aws_lambda.enqueue('echo', to_json(i))) FROM generate_series(201, 300) i")
        session.execute("SELECT aws_lambda.start_worker()")
        wait_until(lambda: states(session) == {"failed": 200}, seconds=60)
        failed = "SELECT DISTINCT function_name, attempts, error_code FROM aws_lambda.queue ORDER BY 1"
        assert session.execute(failed).fetchall() == [
            ("error-500-ServiceException", 2, "ServiceException"), ("missing", 2, "ResourceNotFoundException"),
        ]  # fmt: skip
        # As many as are in flight may overtake each other.
        assert "echo" not in scripted.functions()[300 + 4 :]
        # What is queued afterwards is delivered.
        session.execute("SELECT aws_lambda.enqueue('echo', '301'::json)")
        wait_until(lambda: 301 in sent())
        assert sent() == {row: 2 for row in range(1, 201)} | {row: 1 for row in range(201, 302)}


def states(session):
    return dict(session.execute("SELECT state, count(*) FROM aws_lambda.queue GROUP BY state").fetchall())
