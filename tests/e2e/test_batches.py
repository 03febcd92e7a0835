"""Many rows in one invocation: what arrives at the endpoint, what comes back to each row, and what a batch does under cancels, limits and
changes by other sessions."""

import collections
import json
import os
import random
import time

import psycopg
import pytest

import scripted
from background import error_within_2_s, running
from scripted import counter
from tables import create_emulator_table, keys

SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
QUERIES = int(os.environ.get("RANDOM_QUERIES", 40))


@pytest.fixture
def table(session, endpoint):
    """Makes a table of a function with options."""

    def make(name, function, **options):
        given = "".join(f", {option} '{value}'" for option, value in options.items())
        session.execute(f"DROP FOREIGN TABLE IF EXISTS {name}")
        session.execute(
            f"CREATE FOREIGN TABLE {name} (payload jsonb, response jsonb, function_name text, invocation_type text, error_code text, request_id text)"
            f" SERVER aws_lambda OPTIONS (function_name '{function}'{given})"
        )
        return session

    return make


def sent():
    """The rows of each invocation that arrived."""
    return [json.loads(payload) for *_, payload in scripted.rows("invocations")]


def test_full_batches_and_many_in_flight(table):
    session = table("b", "accept-50", batch_rows=100, max_concurrency=16)
    query = "SELECT count(*), bool_and(b.response = to_jsonb(i)) FROM generate_series(1, 10000) i JOIN b ON payload = to_jsonb(i)"
    assert session.execute(query).fetchone() == (10000, True)
    assert [len(rows) for rows in sent()] == [100] * 100
    assert 8 <= counter("most_in_flight") <= 16


def test_rows_keep_their_order(table):
    session = table("b", "echo", batch_rows=7, max_concurrency=1)
    session.execute("SELECT response FROM generate_series(1, 100) i JOIN b ON payload = to_jsonb(i)")
    rows = sent()
    assert sum(rows, []) == list(range(1, 101))
    assert {len(batch) for batch in rows[:-1]} == {7}


@pytest.mark.parametrize("limit", [1, 10, 150])
def test_limit(table, limit):
    session = table("b", "accept-20", batch_rows=100)
    query = f"SELECT response FROM generate_series(1, 100000) i JOIN b ON payload = to_jsonb(i) LIMIT {limit}"
    assert len(session.execute(query).fetchall()) == limit
    assert sorted(sum(sent(), [])) == list(range(1, limit + 1))
    # The rest is not held back until the first batch has ended.
    assert counter("most_in_flight") == -(-limit // 100)


def test_unknown_demand_grows_row_by_row(table):
    """A semijoin may stop at any row."""
    session = table("b", "echo", batch_rows=100, max_concurrency=1)
    session.execute("SELECT EXISTS (SELECT FROM b WHERE payload = ANY (ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 1000) i)) AND response = '5')")
    rows = sent()
    assert len(rows[0]) == 1 and len(rows[1]) <= 2
    assert sum(map(len, rows)) <= 32


def test_unknown_demand_doubles_by_batches(table):
    """Rows that a filter leaves out are no more than twice as many as the query has read."""
    session = table("b", "accept-20", batch_rows=1000)
    session.execute("SELECT response FROM generate_series(1, 100000) i JOIN b ON payload = to_jsonb(i) WHERE response::int >= 20 LIMIT 1")
    assert [len(rows) for rows in sent()] == [1, 1, 2, 4, 8, 16]


def test_rows_of_a_join_share_invocations(table):
    """The rows of a join with other tables are prefetched together, and not for each row of one of them."""
    session = table("b", "echo", batch_rows=1000)
    session.execute("CREATE TEMP TABLE buyers (id int PRIMARY KEY, city text)")
    session.execute("CREATE TEMP TABLE bought (id int PRIMARY KEY, buyer int, n int)")
    session.execute("INSERT INTO buyers SELECT i, 'city' || i FROM generate_series(1, 5000) i")
    session.execute("INSERT INTO bought SELECT i, 1 + i % 5000, i FROM generate_series(1, 20000) i")
    session.execute("CREATE INDEX ON bought (buyer)")
    session.execute("ANALYZE buyers, bought")
    query = """
        SELECT count(response) FROM bought JOIN buyers ON buyers.id = buyer
        JOIN b ON payload = jsonb_build_object('city', city, 'n', n) WHERE bought.id <= 20
    """
    assert session.execute(query).fetchone() == (20,)
    assert [len(rows) for rows in sent()] == [20]


def test_fetches(table):
    session = table("b", "echo", batch_rows=1000)
    with session.transaction():
        session.execute("DECLARE c CURSOR FOR SELECT response FROM generate_series(1, 5000) i JOIN b ON payload = to_jsonb(i)")
        session.execute("FETCH 10 FROM c")
        assert sent() == [list(range(1, 11))]
        session.execute("FETCH 10 FROM c")
        assert len(sum(sent(), [])) <= 30


def test_fetches_of_one_row(table):
    """No more rows are sent ahead than were fetched."""
    session = table("b", "echo", batch_rows=1000)
    with session.transaction():
        session.execute("DECLARE c CURSOR FOR SELECT response FROM generate_series(1, 5000) i JOIN b ON payload = to_jsonb(i)")
        for number in range(1, 21):
            assert session.execute("FETCH c").fetchone() == (number,)
        assert len(sum(sent(), [])) <= 40


def test_rows_that_nobody_wants_are_not_sent(table):
    """A cursor that is closed before its batch is full."""
    session = table("b", "echo", batch_rows=1000)
    with session.transaction():
        session.execute("DECLARE c CURSOR FOR SELECT response FROM generate_series(1, 5000) i JOIN b ON payload = to_jsonb(i)")
        session.execute("FETCH 1 FROM c")
        session.execute("CLOSE c")
    assert sent() == [[1]]


def test_a_failure_in_the_middle(table):
    """Each row of the batch shows it. Others are not sent again, and not lost."""
    session = table("b", "unless-bad", batch_rows=10, on_error="return")
    query = """SELECT i, b.response = to_jsonb(i), b.error_code FROM generate_series(1, 100) i
        JOIN b ON payload = CASE i WHEN 55 THEN '"bad"' ELSE to_jsonb(i) END"""
    rows = session.execute(query).fetchall()
    assert [row[0] for row in rows if row[2]] == list(range(51, 61))
    assert all(row[1] for row in rows if not row[2])
    assert collections.Counter(map(len, sent())) == {10: 10}


def test_raise_names_the_first_in_order(table):
    session = table("b", "unless-bad", batch_rows=10)
    query = """SELECT count(*) FROM generate_series(1, 1000) i JOIN b ON payload = CASE WHEN i > 20 THEN '"bad"' ELSE to_jsonb(i) END"""
    with pytest.raises(psycopg.errors.ExternalRoutineException):
        session.execute(query)
    assert len(sent()) <= 100
    assert session.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("function", ["hang", "stall-body"])
def test_cancel(table, connect, function):
    session = table("b", function, batch_rows=100)
    session.execute("SET aws_lambda.request_timeout_ms = 60000")
    query = "SELECT count(*) FROM generate_series(1, 1000) i JOIN b ON payload = to_jsonb(i)"
    with running(session, 10, session.execute, query) as statement:
        since = time.monotonic()
        session.cancel()
        assert isinstance(error_within_2_s(statement, since), psycopg.errors.QueryCanceled)
    assert counter("invocations") == 10
    assert session.execute("SELECT 1").fetchone() == (1,)


def test_a_large_response_of_few_rows_is_an_error_that_names_the_invocation(table):
    session = table("b", "size-20000000", batch_rows=100)
    with pytest.raises(psycopg.Error) as error:
        session.execute("SELECT count(response) FROM b WHERE payload IN ('1', '2')")
    assert "size-20000000" in error.value.diag.message_detail
    assert counter("invocations") == 1


def test_another_session_changes_a_row(table, connect):
    """PostgreSQL evaluates the row again with the answer that it has."""
    session = table("b", "accept-100", batch_rows=10)
    session.execute("DROP TABLE IF EXISTS t; CREATE TABLE t AS SELECT i AS id, to_jsonb(i) AS p, NULL::jsonb AS r FROM generate_series(1, 30) i")
    other = connect()
    other.execute("BEGIN; UPDATE t SET id = -id WHERE id IN (3, 17)")
    with running(session, 3, session.execute, "UPDATE t SET r = b.response FROM b WHERE b.payload = t.p") as statement:
        other.execute("COMMIT")
        assert statement.result(timeout=10).rowcount == 30
    assert session.execute("SELECT count(*) FROM t WHERE r = p").fetchone() == (30,)
    assert sorted(map(len, sent())) == [10, 10, 10]


def test_queue(table):
    """A delivery sends events of the queue in batches too."""
    session = table("b", "echo", batch_rows=10, events="queue")
    session.execute("INSERT INTO b (payload) SELECT to_jsonb(i) FROM generate_series(1, 25) i")
    assert counter("invocations") == 0
    session.execute("CALL aws_lambda.deliver()")
    assert session.execute("SELECT count(*) FROM aws_lambda.queue").fetchone() == (0,)
    assert sorted(sum(sent(), [])) == list(range(1, 26))
    assert len(sent()) == 3


def test_queued_failure_is_tried_alone(table):
    """A row that makes its invocation fail does not keep the others that shared it from being delivered."""
    session = table("b", "echo")
    session.execute("ALTER FOREIGN TABLE aws_lambda.lambda_invocations OPTIONS (ADD batch_rows '10')")
    session.execute("""
        SELECT aws_lambda.enqueue('unless-bad', CASE i WHEN 2 THEN '"bad"' ELSE to_jsonb(i) END, invocation_type => 'RequestResponse')
        FROM generate_series(1, 6) i
    """)
    session.execute("CALL aws_lambda.deliver()")
    assert sent() == [[1, "bad", 3, 4, 5, 6]]
    session.execute("UPDATE aws_lambda.queue SET due_at = now()")
    session.execute("CALL aws_lambda.deliver()")
    assert sorted(map(str, sent()[1:])) == sorted(map(str, [[1], ["bad"], [3], [4], [5], [6]]))
    assert session.execute("SELECT payload FROM aws_lambda.queue").fetchall() == [('"bad"',)]
    session.execute("DELETE FROM aws_lambda.queue")
    session.execute("ALTER FOREIGN TABLE aws_lambda.lambda_invocations OPTIONS (DROP batch_rows)")


def test_queue_refuses_what_fits_into_no_batch(session, endpoint):
    """An event that can never be delivered is refused when it is queued."""
    session.execute("DROP FOREIGN TABLE IF EXISTS q")
    session.execute(
        "CREATE FOREIGN TABLE q (payload text) SERVER aws_lambda OPTIONS (function_name 'echo', events 'queue', batch_rows '10')"
    )
    insert = "INSERT INTO q VALUES (%s)"
    # The array has two brackets, and an event 1 MB.
    longest = f'"{"x" * ((1 << 20) - 4)}"'
    for payload, message in (("1],[2", "payload is not valid JSON"), (f"{longest} ", "payload is too large")):
        with pytest.raises(psycopg.Error, match=message):
            session.execute(insert, [payload])
    session.execute(insert, [longest])
    session.execute("CALL aws_lambda.deliver()")
    assert sent() == [[json.loads(longest)]]
    assert session.execute("SELECT count(*) FROM aws_lambda.queue").fetchone() == (0,)
    session.execute("DROP FOREIGN TABLE q")


# Random queries

LISTS = "payload = ANY (ARRAY(SELECT to_jsonb(i % {modulus}) FROM generate_series(1, {count}) i))"
SHAPES = [
    "SELECT payload, response FROM {table} WHERE " + LISTS,
    "SELECT payload, response FROM {table} WHERE " + LISTS + " AND response > '3'",
    "SELECT payload, response, invocation_type FROM {table} WHERE " + LISTS + " AND invocation_type = ANY ('{{RequestResponse,Event,DryRun}}')",
    "SELECT i, response FROM generate_series(1, {count}) i JOIN {table} ON payload = to_jsonb(i % {modulus})",
    "SELECT i, response FROM generate_series(1, {count}) i LEFT JOIN {table} ON payload = to_jsonb(i) AND i % 3 > 0 AND response <> '4'",
    "SELECT i, response FROM generate_series(1, {count}) i JOIN {table} ON payload = to_jsonb(i % {modulus}) LIMIT {limit}",
    "SELECT i, response FROM generate_series(1, {count}) i, LATERAL (SELECT response FROM {table} WHERE payload IN (to_jsonb(i), '0') LIMIT 1) l",
    "SELECT i FROM generate_series(1, {count}) i WHERE EXISTS (SELECT FROM {table} WHERE payload IN (to_jsonb(i), '-1') AND response > '5')",
    "SELECT a.response, b.response FROM {table} a JOIN {table} b ON b.payload = a.response WHERE a.payload = ANY (ARRAY(SELECT to_jsonb(i) FROM generate_series(1, {count}) i))",
    "SELECT response, error_code FROM generate_series(1, {count}) i JOIN {table} ON payload = to_jsonb(i) AND function_name = CASE WHEN i % 5 = 0 THEN 'unhandled' ELSE 'echo' END",
    "WITH n AS (INSERT INTO {table} (payload, invocation_type) SELECT to_jsonb(i), 'RequestResponse' FROM generate_series(1, {count}) i RETURNING payload, response) SELECT * FROM n",
]
# These send rows for nobody where they stop early, so the counts may differ.
STOPPING = ("LIMIT", "EXISTS")


def test_random_queries(session, endpoint):
    """A batched table has the rows of one without batches, in the same order."""
    print(f"SEED={SEED}")
    choose = random.Random(SEED)
    columns = "payload jsonb, response jsonb, function_name text, invocation_type text, error_code text"
    session.execute(f"CREATE FOREIGN TABLE plain ({columns}) SERVER aws_lambda OPTIONS (on_error 'return')")
    for number in range(QUERIES):
        shape = choose.choice(SHAPES)
        options = f"batch_rows '{choose.choice([2, 3, 7, 100, 5000])}', batch_bytes '{choose.choice([1024, 5 << 20])}', max_concurrency '{choose.choice([1, 2, 64])}'"
        values = {"count": choose.choice([0, 1, 5, 40, 300]), "modulus": choose.choice([2, 7, 1000]), "limit": choose.choice([1, 3, 20])}
        session.execute(f"DROP FOREIGN TABLE IF EXISTS batched; CREATE FOREIGN TABLE batched ({columns}) SERVER aws_lambda OPTIONS (on_error 'return', {options})")
        if "function_name" not in shape:
            session.execute("ALTER FOREIGN TABLE batched OPTIONS (ADD function_name 'echo')")
            session.execute("ALTER FOREIGN TABLE plain OPTIONS (ADD function_name 'echo')")
        found = {}
        for table in ("plain", "batched"):
            scripted.reset()
            rows = session.execute(shape.format(table=table, **values)).fetchall()
            payloads = [json.loads(payload) for *_, payload in scripted.rows("invocations")]
            if table == "batched":
                payloads = sum(payloads, [])
            found[table] = rows, sorted(map(json.dumps, payloads))
        where = f"SEED={SEED}, query {number} with {options}: {shape.format(table='batched', **values)}"
        assert found["plain"][0] == found["batched"][0], where
        if not any(word in shape for word in STOPPING):
            assert found["plain"][1] == found["batched"][1], where
        if "function_name" not in shape:
            session.execute("ALTER FOREIGN TABLE plain OPTIONS (DROP function_name)")


# Memory


def peak(session):
    status = session.execute("SELECT pg_read_file('/proc/' || pg_backend_pid() || '/status')").fetchone()[0]
    return int(dict(line.split(":", 1) for line in status.splitlines())["VmHWM"].split()[0]) / 1024


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(response) FROM generate_series(1, {count}) i JOIN b ON payload = to_jsonb(repeat('x', 100) || i)",
        "INSERT INTO b (payload) SELECT to_jsonb(repeat('x', 100) || i) FROM generate_series(1, {count}) i",
    ],
    ids=["join", "insert"],
)
def test_memory_is_bounded(table, statement):
    session = table("b", "echo", batch_rows=1000, max_memory="16MB")
    session.execute("SET jit = off; SET aws_lambda.request_timeout_ms = 30000")
    session.execute(statement.format(count=2000))
    before = peak(session)
    scripted.reset()
    session.execute(statement.format(count=200_000))
    assert peak(session) - before < 16 + 40
    assert counter("invocations") <= 210


# A Lambda UDF of Redshift, with what AWS's samples have in common: it returns JSON in a string, and gives no number of records.
UDF = """
import json

def lambda_handler(event, context):
    ret = dict()
    try:
        res = []
        for argument in event["arguments"]:
            try:
                number, factor = argument
                res.append(None if number is None else number * factor)
            except Exception:
                res.append(None)
        ret["success"] = True
        ret["results"] = res
    except Exception as e:
        ret["success"] = False
        ret["error_msg"] = str(e)
    return json.dumps(ret)

handler = lambda_handler
"""


def test_a_lambda_udf_of_redshift_runs_unchanged(session, emulator):
    emulator.create_function("exfunc_multiply", UDF)
    create_emulator_table(session, "udf", keys(emulator.access_key, emulator.secret_key))
    session.execute("ALTER FOREIGN TABLE udf OPTIONS (ADD batch_rows '1000', ADD batch_format 'redshift')")
    query = """SELECT i, response::int FROM generate_series(1, 2500) i
        JOIN udf ON function_name = 'exfunc_multiply' AND payload = jsonb_build_array(i, 3)::text"""
    assert session.execute(query).fetchall() == [(i, 3 * i) for i in range(1, 2501)]
    counts = session.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}").fetchone()[0]
    assert '"Invocations": 3' in json.dumps(counts)
    emulator.client("lambda").delete_function(FunctionName="exfunc_multiply")
