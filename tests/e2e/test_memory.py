"""The memory that a statement needs is bounded by what is in flight, not by how much is invoked or comes back."""

import psycopg
import pytest

TABLES = """
    CREATE FOREIGN TABLE echoes (payload text, response text, invocation_type text)
        SERVER aws_lambda OPTIONS (function_name 'echo');
    CREATE FOREIGN TABLE small (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'size-10000');
    CREATE FOREIGN TABLE large (payload text, response text)
        SERVER aws_lambda OPTIONS (function_name 'size-6000000', max_concurrency '8');
"""
# How many, and of how many bytes each: kept, they would be 50 MB.
COUNT, SIZE = 5000, 10_000
NUMBERS = f"generate_series(1, {COUNT}) i"
STATEMENTS = {
    "list": f"SELECT count(response) FROM small WHERE payload = ANY (ARRAY(SELECT i::text FROM {NUMBERS}))",
    "join": f"SELECT count(response) FROM {NUMBERS} JOIN echoes ON payload = i || repeat(' ', {SIZE})",
    "insert": f"INSERT INTO echoes (payload) SELECT i || repeat(' ', {SIZE}) FROM {NUMBERS}",
    "copy": f"COPY echoes (payload) FROM PROGRAM 'seq -f %0{SIZE}.0f {COUNT}'",
    "insert returning": f"""
        WITH inserted AS (
            INSERT INTO echoes (invocation_type, payload)
            SELECT 'RequestResponse', i || repeat(' ', {SIZE}) FROM {NUMBERS} RETURNING response)
        SELECT count(response) FROM inserted
    """,
    "append": " UNION ALL ".join(
        f"SELECT response FROM small WHERE payload = ANY (ARRAY(SELECT i::text FROM {NUMBERS} WHERE i % 2 = {branch}))"
        for branch in range(2)
    ),
}
STATEMENTS["append"] = f"SELECT count(response) FROM ({STATEMENTS['append']}) branches"


@pytest.fixture(scope="module")
def schema(database):
    with psycopg.connect(dbname=database, autocommit=True) as administrator:
        administrator.execute(TABLES)


@pytest.fixture
def warm(schema, session):
    """A session that has invoked, so that its code and its network thread are there."""
    # LLVM alone takes 70 MB.
    session.execute("SET jit = off")
    session.execute("SET aws_lambda.request_timeout_ms = 30000")
    session.execute("SELECT count(response) FROM echoes WHERE payload IN ('1', '2')")
    return session


def peak(session):
    """The most memory that the backend has had so far, in MB."""
    status = session.execute("SELECT pg_read_file('/proc/' || pg_backend_pid() || '/status')").fetchone()[0]
    return int(dict(line.split(":", 1) for line in status.splitlines())["VmHWM"].split()[0]) / 1024


def growth(session, statement):
    """How much more memory the backend has had once the statement is done."""
    before = peak(session)
    cursor = session.execute(statement)
    grown = peak(session) - before
    print(f"{before:.0f} MB and {grown:.1f} MB more")
    return cursor, grown


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_many(warm, endpoint, statement):
    cursor, grown = growth(warm, statement)
    assert cursor.rowcount == COUNT or cursor.fetchone() == (COUNT,)
    assert endpoint.counter("invocations") == COUNT
    assert grown < 30


def test_large_responses(warm, endpoint):
    """100 of 6 MB, 8 in flight: a response is there more than once until it is a row."""
    numbers = "SELECT i::text FROM generate_series(1, 100) i"
    query = f"SELECT sum(length(response)) FROM large WHERE payload = ANY (ARRAY({numbers}))"
    cursor, grown = growth(warm, query)
    assert cursor.fetchone() == (100 * 6_000_000,)
    assert endpoint.counter("invocations") == 100
    assert grown < 200
