"""The progress messages of a running statement, every aws_lambda.progress_interval seconds."""

import concurrent.futures
import re
import time

import psycopg
import pytest

LIST = "payload = ANY (ARRAY(SELECT generate_series(1, 30)::text))"
ORDERS = """payload = ANY (ARRAY(
    SELECT format('{"as": "handled", "ms": 300, "n": %s}', i) FROM generate_series(1, 30) AS i))"""
# Each takes 2.25 s or more: thirty invocations of 300 ms, four at a time.
STATEMENTS = {
    "a list": f"SELECT count(response) FROM slow WHERE {LIST}",
    "a join": "SELECT count(response) FROM generate_series(1, 30) AS i JOIN slow ON payload = i::text",
    "two scans": "SELECT count(*) FROM slow WHERE payload = ANY (ARRAY(SELECT generate_series(1, 29)::text))"
    " AND response <> (SELECT response FROM slow WHERE payload = 'x')",
    "failures": f"SELECT count(error_code) FROM failing WHERE {ORDERS}",
    "one that hangs": "SET statement_timeout = '2300ms'; SELECT response FROM hanging WHERE payload = 'x'",
    "every two seconds": f"SET aws_lambda.progress_interval = 2; SELECT count(response) FROM slow WHERE {LIST}",
    "off": f"SET aws_lambda.progress_interval = 0; SELECT count(response) FROM slow WHERE {LIST}",
    "the default": f"RESET aws_lambda.progress_interval; SELECT count(response) FROM slow WHERE {LIST}",
    "warnings only": f"SET client_min_messages = warning; SELECT count(response) FROM slow WHERE {LIST}",
}
LINE = re.compile(r"(\d+)(?: of (\d+))? invocations done, (\d+) failed, (\d+) in flight, (\d+) per second")


def create_tables(session):
    columns = "payload text, response text, error_code text"
    for name, function, others in [
        ("slow", "accept-300", ""),
        ("failing", "mock", ", on_error 'return'"),
        ("hanging", "hang", ""),
    ]:
        session.execute(
            f"CREATE FOREIGN TABLE {name} ({columns}) SERVER aws_lambda"
            f" OPTIONS (function_name '{function}', max_concurrency '4'{others})"
        )


def run(database, statement):
    """The notices that a session gets while it runs a statement: time, severity, SQLSTATE and message."""
    with psycopg.connect(dbname=database, autocommit=True) as session:
        session.execute("LOAD 'aws_lambda_fdw'")
        session.execute("SET aws_lambda.request_timeout_ms = 60000; SET aws_lambda.progress_interval = 1")
        notices = []

        def append(notice):
            notices.append((time.monotonic() - since, notice.severity, notice.sqlstate, notice.message_primary))

        session.add_notice_handler(append)
        since = time.monotonic()
        try:
            session.execute(statement)
        except psycopg.errors.QueryCanceled:
            assert "statement_timeout" in statement
        return notices


@pytest.fixture(scope="module")
def notices(database):
    """All statements at once, since they only wait."""
    with psycopg.connect(dbname=database, autocommit=True) as session:
        create_tables(session)
    with concurrent.futures.ThreadPoolExecutor(len(STATEMENTS)) as pool:
        running = {name: pool.submit(run, database, statement) for name, statement in STATEMENTS.items()}
    return {name: statement.result() for name, statement in running.items()}


def numbers(notices):
    """The numbers of the notices: done, total or None, failed, in flight, per second."""
    for seconds, severity, sqlstate, message in notices:
        print(f"{seconds:.2f} s: {message}")
        assert (severity, sqlstate) == ("NOTICE", "00000")
    return [tuple(number and int(number) for number in LINE.fullmatch(message).groups()) for *_, message in notices]


def assert_two_notices(notices):
    """After one second and after two, give or take what a busy machine needs."""
    assert len(notices) == 2
    for expected, (seconds, *_) in enumerate(notices, start=1):
        assert expected - 0.1 < seconds < expected + 0.5


@pytest.mark.parametrize("name, total", [("a list", 30), ("two scans", 30), ("a join", None)])
def test_messages(notices, name, total):
    """Four end every 300 ms. The total of a join is not known."""
    assert_two_notices(notices[name])
    first, second = numbers(notices[name])
    assert (first[1], second[1]) == (total, total)
    assert 4 <= first[0] <= 16 and first[0] < second[0] <= 28
    for done, _, failed, in_flight, rate in (first, second):
        assert failed == 0
        assert 1 <= in_flight <= 4
        assert 4 <= rate <= 16


def test_failed(notices):
    assert_two_notices(notices["failures"])
    for done, total, failed, in_flight, _ in numbers(notices["failures"]):
        assert total == 30
        assert 4 <= done <= 28
        assert failed == done
        assert 1 <= in_flight <= 4


def test_no_invocation_ends(notices):
    """A statement that waits for one invocation reports it at each interval."""
    assert_two_notices(notices["one that hangs"])
    assert numbers(notices["one that hangs"]) == [(0, 1, 0, 1, 0)] * 2


def test_interval(notices):
    ((seconds, *_),) = notices["every two seconds"]
    assert 1.9 < seconds < 2.5
    ((done, total, failed, _, _),) = numbers(notices["every two seconds"])
    assert 8 <= done <= 28 and (total, failed) == (30, 0)


@pytest.mark.parametrize("name", ["off", "the default", "warnings only"])
def test_no_messages(notices, name):
    assert notices[name] == []


@pytest.mark.usefixtures("notices")
def test_quick_statement(session):
    """A statement that ends within the interval reports nothing."""
    notice = []
    session.add_notice_handler(notice.append)
    session.execute("LOAD 'aws_lambda_fdw'")
    session.execute("SET aws_lambda.progress_interval = 1")
    for _ in range(4):
        assert session.execute("SELECT count(response) FROM slow WHERE payload IN ('1', '2')").fetchone() == (2,)
    assert notice == []
