"""Throttled functions: how often, how soon and how many at once they are retried, and the counters of EXPLAIN."""

import time

import pytest

import tables
from scripted import counter, functions
from tables import failure

FIRST_BACKOFF = 0.1
# For a slow test machine.
SLACK = 1.5


@pytest.fixture
def table(session):
    """Makes a table of one function, with options."""

    def create(function, **options):
        tables.execute(session, "DROP FOREIGN TABLE IF EXISTS throttled")
        columns = "payload text, response text, status_code int, error_code text"
        tables.execute(
            session,
            f"CREATE FOREIGN TABLE throttled ({columns}) SERVER aws_lambda {{options}}",
            function_name=function,
            **options,
        )

    return create


def timed(call, *arguments):
    since = time.monotonic()
    return call(*arguments), time.monotonic() - since


def as_list(count):
    values = f"ARRAY(SELECT generate_series(1, {count})::text)"
    return f"SELECT payload, response FROM throttled WHERE payload = ANY ({values})"


def as_join(count):
    return f"SELECT i::text, response FROM generate_series(1, {count}) AS i JOIN throttled ON payload = i::text"


def rows(session, query):
    return session.execute(query).fetchall()


def every_row(count):
    return [(str(i), str(i)) for i in range(1, count + 1)]


# One invocation


@pytest.mark.parametrize("times", [1, 2])
def test_throttled_at_first(session, endpoint, table, times):
    """Each backoff is at most twice as long as the one before it."""
    table(f"throttle-{times}")
    found, took = timed(rows, session, as_list(1))
    assert found == [("1", "1")]
    assert functions() == [f"throttle-{times}"] * (times + 1)
    assert took < FIRST_BACKOFF * (2**times - 1) + SLACK


@pytest.mark.parametrize("retries", [1, 2])
def test_always_throttled(session, endpoint, table, retries):
    table("throttle", max_retries=str(retries))
    error, took = timed(failure, session.execute, as_list(1))
    assert error.sqlstate == "53400"
    assert counter("invocations") == retries + 1
    assert took < FIRST_BACKOFF * (2**retries - 1) + SLACK


def test_without_retries_it_fails_at_once(session, endpoint, table):
    table("throttle", max_retries="0")
    error, took = timed(failure, session.execute, as_list(1))
    assert error.sqlstate == "53400" and took < 1
    assert counter("invocations") == 1


def test_backoffs_differ(session, endpoint, table):
    """Otherwise all invocations that were throttled together would be retried together. A backoff is at most 0.2 s."""
    table("throttle-1")
    pauses = []
    for _ in range(7):
        endpoint.reset()
        found, took = timed(rows, session, as_list(1))
        assert found == [("1", "1")]
        pauses.append(took)
    print("pauses in ms:", *(f"{pause * 1000:.0f}" for pause in sorted(pauses)))
    assert max(pauses) - min(pauses) > 0.02


@pytest.mark.parametrize("form", [as_list, as_join])
def test_time_for_retries(session, endpoint, table, form):
    """No attempt starts after retry_timeout_ms, however many retries are left."""
    table("throttle", max_retries="100", retry_timeout_ms="400")
    error, took = timed(failure, session.execute, form(3))
    assert error.sqlstate == "53400"
    assert took < 0.4 + SLACK
    assert 3 <= counter("invocations") < 60


def test_the_table_comes_before_its_server(session, endpoint, table):
    session.execute("BEGIN")
    session.execute("ALTER SERVER aws_lambda OPTIONS (ADD max_retries '1', ADD retry_timeout_ms '10000')")
    for options, attempts in [({}, 2), ({"max_retries": "2"}, 3), ({"max_retries": "0"}, 1)]:
        table("throttle", on_error="return", **options)
        endpoint.reset()
        assert session.execute("SELECT status_code, error_code FROM throttled WHERE payload = '1'").fetchall() == [
            (429, "TooManyRequestsException")
        ]
        assert counter("invocations") == attempts
    session.execute("ROLLBACK")


# Many invocations


@pytest.mark.parametrize("form", [as_list, as_join])
def test_many_that_are_throttled_at_first(session, endpoint, table, form):
    """Of sixty-four that are sent together, thirty-two are throttled. Each row is right, in order, and ran once."""
    table("throttle-32")
    assert rows(session, form(64)) == every_row(64)
    assert (counter("invocations"), counter("throttled")) == (64 + 32, 32)


@pytest.mark.parametrize("form", [as_list, as_join])
def test_one_attempt_is_always_in_flight(session, endpoint, table, form):
    """However often a limit of two is halved."""
    table("throttle-4", max_concurrency="2")
    assert rows(session, form(6)) == every_row(6)
    assert (counter("invocations"), counter("throttled")) == (6 + 4, 4)


@pytest.mark.parametrize("form", [as_list, as_join])
def test_it_is_throttled_and_returned(session, endpoint, table, form):
    table("throttle", max_retries="0", on_error="return")
    query = form(20).replace("response", "error_code")
    assert rows(session, query) == [(str(i), "TooManyRequestsException") for i in range(1, 21)]
    assert (counter("invocations"), counter("throttled")) == (20, 20)


@pytest.mark.parametrize("form", [as_list, as_join])
@pytest.mark.parametrize("limit, values, most_throttled", [(1, 60, 250), (4, 200, 150), (16, 300, 100)])
def test_limit(session, endpoint, table, limit, values, most_throttled, form):
    """A function with this concurrency limit gets many values, with up to sixty-four in flight. Each row is right, and each
    value ran once. Once the client's limit is low enough, almost none is throttled."""
    table(f"limit-{limit}-10")
    found, took = timed(rows, session, form(values))
    print(f"{counter('invocations')} requests, {counter('throttled')} throttled, {took:.2f} s")
    assert found == every_row(values)
    assert counter("invocations") - counter("throttled") == values
    assert counter("throttled") < most_throttled


def test_limit_that_is_kept(session, endpoint, table):
    """With no more in flight than the function takes, none is throttled."""
    table("limit-8-10", max_concurrency="8")
    assert rows(session, as_list(100)) == every_row(100)
    assert rows(session, as_join(100)) == every_row(100)
    assert (counter("invocations"), counter("throttled")) == (200, 0)


# What EXPLAIN counts


def explained(session, query, options=""):
    """The nodes of a plan that ran which have our counters, and how long it took in milliseconds."""
    plan = session.execute(f"EXPLAIN (ANALYZE, FORMAT JSON{options}) {query}").fetchone()[0][0]

    def nodes(node):
        yield node
        for below in node.get("Plans", []):
            yield from nodes(below)

    return [node for node in nodes(plan["Plan"]) if "Invocations" in node], plan["Execution Time"]


def counts(node, *names):
    return tuple(node[name] for name in names)


@pytest.mark.parametrize("form", [as_list, as_join])
def test_explain(session, endpoint, table, form):
    """Twenty payloads of which eleven have two characters: 31 bytes, and those of the attempts after the first ones."""
    table("throttle-5")
    (node,), took = explained(session, form(20))
    assert counts(node, "Invocations", "Retries", "Throttles", "Errors") == (20, 5, 5, 0)
    assert (counter("invocations"), counter("throttled")) == (25, 5)
    assert node["Bytes Received"] == 31
    assert 31 + 5 <= node["Bytes Sent"] <= 31 + 10
    assert 1 <= node["Most In Flight"] <= 20
    assert 0 < node["Time Waited"] <= took


@pytest.mark.parametrize("form", [as_list, as_join])
def test_explain_in_flight(session, endpoint, table, form):
    table("accept-100", max_concurrency="6")
    (node,), _ = explained(session, form(12))
    assert counts(node, "Invocations", "Retries", "Throttles", "Errors") == (12, 0, 0, 0)
    assert node["Most In Flight"] == counter("most_in_flight") == 6
    # Two rounds of 100 ms.
    assert node["Time Waited"] > 150


@pytest.mark.parametrize("form", [as_list, as_join])
def test_explain_errors(session, endpoint, table, form):
    """Five invocations fail after two attempts each."""
    table("throttle", max_retries="1", on_error="return")
    (node,), _ = explained(session, form(5))
    counted = counts(node, "Invocations", "Retries", "Throttles", "Errors", "Bytes Sent", "Bytes Received")
    assert counted == (5, 5, 10, 5, 10, 0)
    assert (counter("invocations"), counter("throttled")) == (10, 10)


def test_explain_function_errors(session, endpoint, table):
    table("handled", on_error="return")
    (node,), _ = explained(session, as_list(4))
    assert counts(node, "Invocations", "Retries", "Throttles", "Errors") == (4, 0, 0, 4)
    table("a-name", on_error="return")
    session.execute("ALTER FOREIGN TABLE throttled OPTIONS (DROP function_name)")
    session.execute("ALTER FOREIGN TABLE throttled ADD COLUMN function_name text")
    (node,), _ = explained(session, "SELECT error_code FROM throttled WHERE payload = '1' AND function_name = 'a b'")
    assert counts(node, "Invocations", "Errors") == (0, 1)


def test_explain_of_what_is_not_needed(session, endpoint, table):
    table("echo")
    (node,), _ = explained(session, as_list(20) + " LIMIT 3")
    assert node["Invocations"] == counter("invocations") == 3
    (node,), _ = explained(session, as_list(20) + " LIMIT 0")
    assert node["Invocations"] == 0
    (node,), _ = explained(session, as_join(0))
    assert node["Invocations"] == 0
    (node,), _ = explained(session, as_list(2), ", TIMING OFF")
    assert node["Invocations"] == 2 and "Time Waited" not in node
    assert counter("invocations") == 5


def test_explain_counts_all_loops(session, endpoint, table):
    """A scan that is begun once for each of four rows, and two scans each of which has its own counts."""
    table("echo")
    lateral = "(SELECT * FROM throttled WHERE payload = i::text OFFSET 0)"
    nodes, _ = explained(session, f"SELECT response FROM generate_series(1, 4) AS i, LATERAL {lateral} AS l")
    assert sum(node["Invocations"] for node in nodes) == counter("invocations") == 4
    nodes, _ = explained(session, f"{as_list(3)} UNION ALL {as_list(2)}")
    assert sorted(node["Invocations"] for node in nodes) == [2, 3]


def test_explain_as_text(session, endpoint, table):
    table("throttle-1")
    found = rows(session, "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) " + as_list(1))
    lines = [line.strip() for (line,) in found]
    assert "Invocations: 1  Retries: 1  Throttles: 1  Errors: 0  Most In Flight: 1" in lines
    assert "Bytes Sent: 2  Bytes Received: 1" in lines
