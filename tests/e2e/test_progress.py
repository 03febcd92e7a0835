"""What a statement tells of its invocations while it runs, if aws_lambda.progress_interval says how often."""

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
        ("failing", "told", ", on_error 'return'"),
        ("hanging", "hang", ""),
    ]:
        session.execute(
            f"CREATE FOREIGN TABLE {name} ({columns}) SERVER aws_lambda"
            f" OPTIONS (function_name '{function}', max_concurrency '4'{others})"
        )


def run(database, statement):
    """What a session of its own is told while it runs a statement: when, and severity, SQLSTATE and message."""
    with psycopg.connect(dbname=database, autocommit=True) as session:
        session.execute("LOAD 'aws_lambda_fdw'")
        session.execute("SET aws_lambda.request_timeout_ms = 60000; SET aws_lambda.progress_interval = 1")
        heard = []

        def hear(said):
            heard.append((time.monotonic() - since, said.severity, said.sqlstate, said.message_primary))

        session.add_notice_handler(hear)
        since = time.monotonic()
        try:
            session.execute(statement)
        except psycopg.errors.QueryCanceled:
            assert "statement_timeout" in statement
        return heard


@pytest.fixture(scope="module")
def heard(database):
    """All statements at once, since they only wait."""
    with psycopg.connect(dbname=database, autocommit=True) as session:
        create_tables(session)
    with concurrent.futures.ThreadPoolExecutor(len(STATEMENTS)) as pool:
        running = {name: pool.submit(run, database, statement) for name, statement in STATEMENTS.items()}
    return {name: statement.result() for name, statement in running.items()}


def told(heard):
    """Numbers of the notices: done, total or None, failed, in flight, per second."""
    for seconds, severity, sqlstate, message in heard:
        print(f"{seconds:.2f} s: {message}")
        assert (severity, sqlstate) == ("NOTICE", "00000")
    return [tuple(number and int(number) for number in LINE.fullmatch(message).groups()) for *_, message in heard]


def assert_twice(heard):
    """After one second and after two, give or take what a busy machine needs."""
    assert len(heard) == 2
    for expected, (seconds, *_) in enumerate(heard, start=1):
        assert expected - 0.1 < seconds < expected + 0.5


@pytest.mark.parametrize("name, total", [("a list", 30), ("two scans", 30), ("a join", None)])
def test_told(heard, name, total):
    """Four are done every 300 ms. The total is told where it is known, which that of a join is not."""
    assert_twice(heard[name])
    first, second = told(heard[name])
    assert (first[1], second[1]) == (total, total)
    assert 4 <= first[0] <= 16 and first[0] < second[0] <= 28
    for done, _, failed, in_flight, rate in (first, second):
        assert failed == 0
        assert 1 <= in_flight <= 4
        assert 4 <= rate <= 16


def test_failed(heard):
    assert_twice(heard["failures"])
    for done, total, failed, in_flight, _ in told(heard["failures"]):
        assert total == 30
        assert 4 <= done <= 28
        assert failed == done
        assert 1 <= in_flight <= 4


def test_nothing_happens(heard):
    """What waits for one invocation alone is told so again and again."""
    assert_twice(heard["one that hangs"])
    assert told(heard["one that hangs"]) == [(0, 1, 0, 1, 0)] * 2


def test_interval(heard):
    ((seconds, *_),) = heard["every two seconds"]
    assert 1.9 < seconds < 2.5
    ((done, total, failed, _, _),) = told(heard["every two seconds"])
    assert 8 <= done <= 28 and (total, failed) == (30, 0)


@pytest.mark.parametrize("name", ["off", "the default", "warnings only"])
def test_silence(heard, name):
    assert heard[name] == []


@pytest.mark.usefixtures("heard")
def test_quick_statement(session):
    """What is over before is not told of."""
    said = []
    session.add_notice_handler(said.append)
    session.execute("LOAD 'aws_lambda_fdw'")
    session.execute("SET aws_lambda.progress_interval = 1")
    for _ in range(4):
        assert session.execute("SELECT count(response) FROM slow WHERE payload IN ('1', '2')").fetchone() == (2,)
    assert said == []
