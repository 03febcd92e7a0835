"""`max_memory` bounds the memory of a statement, whatever the size of payloads and responses, and waits for memory end."""

import psycopg
import pytest

import tables
from scripted import EXAMPLE_KEYS

TABLES = """
    CREATE FOREIGN TABLE echoes (payload text, response text, invocation_type text)
        SERVER aws_lambda OPTIONS (function_name 'echo');
    CREATE FOREIGN TABLE small (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'size-10000');
    CREATE FOREIGN TABLE large (payload text, response text)
        SERVER aws_lambda OPTIONS (function_name 'size-6000000', max_concurrency '8');
    CREATE FOREIGN TABLE mock (payload text, response text, invocation_type text)
        SERVER aws_lambda OPTIONS (function_name 'mock', max_payload_bytes '6291456');
    CREATE SERVER narrow FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (max_concurrency '2', max_memory '64kB');
    CREATE FOREIGN TABLE narrow (function_name text, payload text, response text, error_code text) SERVER narrow;
    CREATE FOREIGN TABLE crowded (payload text, response text)
        SERVER narrow OPTIONS (function_name 'size-50000', max_concurrency '12');
    CREATE FOREIGN TABLE narrow_too (function_name text, payload text, response text) SERVER narrow;
    CREATE FOREIGN TABLE parts (items jsonb OPTIONS ("in" 'payload'), pad text OPTIONS ("in" 'payload'), n int OPTIONS ("in" 'payload'), part int OPTIONS ("in" 'response'))
        SERVER aws_lambda OPTIONS (function_name 'echo', rows 'items');
    CREATE FOREIGN TABLE numbers (n int OPTIONS ("in" 'payload'), same int OPTIONS ("in" 'response', key 'n'))
        SERVER aws_lambda OPTIONS (function_name 'echo');
    CREATE FUNCTION asks(text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
        BEGIN RETURN (SELECT left(response, 1) FROM narrow_too WHERE function_name = 'size-30000' AND payload = $1); END $$;
"""
# The number of invocations, and the bytes of each. Together they are 50 MB.
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
        tables.execute(administrator, "CREATE USER MAPPING FOR PUBLIC SERVER {} {options}", "narrow", **EXAMPLE_KEYS)


@pytest.fixture
def warm(schema, session):
    """A session that has invoked, so that its library and its network thread are there."""
    # LLVM alone takes 70 MB.
    session.execute("SET jit = off")
    session.execute("SET aws_lambda.request_timeout_ms = 30000")
    session.execute("SELECT count(response) FROM echoes WHERE payload IN ('1', '2')")
    return session


def peak(session):
    """The peak memory of the backend so far, in MB."""
    status = session.execute("SELECT pg_read_file('/proc/' || pg_backend_pid() || '/status')").fetchone()[0]
    return int(dict(line.split(":", 1) for line in status.splitlines())["VmHWM"].split()[0]) / 1024


def growth(session, statement):
    """The growth of the peak memory by a statement."""
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


def test_responses_without_rows(warm, endpoint):
    """What was printed to be sent is freed although no row comes."""
    cursor, grown = growth(
        warm, f"SELECT count(part) FROM parts WHERE items = '[]' AND pad = repeat('x', {SIZE}) AND n = ANY (ARRAY(SELECT i FROM {NUMBERS}))"
    )
    assert cursor.fetchone() == (0,)
    assert endpoint.counter("invocations") == COUNT
    assert grown < 30


def test_typed_values_in_one_invocation(warm, endpoint):
    """Many values are printed before the first row comes."""
    warm.execute("ALTER FOREIGN TABLE numbers OPTIONS (ADD batch_rows '200000')")
    numbers = "SELECT i FROM generate_series(1, 200000) i"
    alone = growth(warm, f"SELECT count(*) FROM unnest(ARRAY({numbers})) n")[1]
    cursor, grown = growth(warm, f"SELECT count(same) FROM numbers WHERE n = ANY (ARRAY({numbers}))")
    assert cursor.fetchone() == (200_000,)
    assert endpoint.counter("invocations") == 1
    assert grown - alone < 150


def test_large_responses(warm, endpoint):
    """100 responses of 6 MB, 8 in flight. A response is copied until it is a row."""
    numbers = "SELECT i::text FROM generate_series(1, 100) i"
    query = f"SELECT sum(length(response)) FROM large WHERE payload = ANY (ARRAY({numbers}))"
    cursor, grown = growth(warm, query)
    assert cursor.fetchone() == (100 * 6_000_000,)
    assert endpoint.counter("invocations") == 100
    assert grown < 200


MB = 1_000_000
# max_memory, and the allowance for other memory.
BUDGET, BESIDE = 16, 10
# The first takes 700 ms, and the others no time.
ORDER = """format('{{"as": "{}", "ms": %s, "n": "%s%s"}}', CASE i WHEN 1 THEN 700 ELSE 0 END, i, {})"""
PADDED, SHORT = f"repeat(' ', {2 * MB})", "''"
FIRST_LATE = {
    "payloads": (f"SELECT count(response) FROM generate_series(1, 40) i JOIN mock ON payload = {ORDER.format('null', PADDED)}", 0),
    "outer rows": (
        "SELECT count(response), sum(length(wide)) > 0 FROM (SELECT i, {} || i AS wide FROM generate_series(1, 40) i OFFSET 0) s "
        "JOIN mock ON payload = {}".format(PADDED, ORDER.format("null", SHORT)),
        0,
    ),
    "responses": (f"SELECT count(response) FROM mock WHERE payload = ANY (ARRAY(SELECT {ORDER.format('size-2000000', SHORT)} FROM generate_series(1, 40) i))", 2),
    "responses of a join": (f"SELECT count(response) FROM generate_series(1, 40) i JOIN mock ON payload = {ORDER.format('size-2000000', SHORT)}", 2),
    "branches": (
        "SELECT count(response) FROM ("
        + " UNION ALL ".join(
            f"SELECT response FROM mock WHERE payload = ANY (ARRAY(SELECT {ORDER.format('size-1000000', SHORT)} || {branch} FROM generate_series(1, 20) i))"
            for branch in range(2)
        )
        + ") branches",
        1,
    ),
    "insert": (f"INSERT INTO mock (payload) SELECT {ORDER.format('null', PADDED)} FROM generate_series(1, 40) i", 0),
}


@pytest.mark.parametrize("statement, largest", FIRST_LATE.values(), ids=FIRST_LATE)
def test_late_first_answer(warm, endpoint, statement, largest):
    """The 80 MB of responses behind it wait."""
    warm.execute(f"SET aws_lambda.max_memory = '{BUDGET}MB'")
    # The wait for room is not part of an attempt.
    warm.execute("SET aws_lambda.request_timeout_ms = 5000")
    # PostgreSQL's memory for one payload is not part of it.
    warm.execute(f"SELECT sum(length({ORDER.format('null', PADDED)})) FROM generate_series(1, 2) i")
    cursor, grown = growth(warm, statement)
    assert cursor.rowcount == 40 or cursor.fetchone()[0] == 40
    assert endpoint.counter("invocations") == 40
    assert grown < BUDGET + 2 * largest + BESIDE


# With little memory and concurrency, and with the responses of other scans in the way.
CROWDED = {
    "a join of two": """
        SELECT count(b.response) FROM generate_series(1, 12) i
        JOIN narrow a ON a.function_name = 'size-50000' AND a.payload = i::text
        JOIN narrow_too b ON b.function_name = 'size-50001' AND b.payload = left(a.response, 2) || i""",
    "a function that asks": """
        SELECT count(asks(i || left(a.response, 2))) FROM generate_series(1, 12) i
        JOIN narrow a ON a.function_name = 'size-50000' AND a.payload = i::text""",
    "branches that ask": """
        SELECT count(asks(payload || left(response, 2))) FROM (
            SELECT payload, response FROM narrow WHERE function_name = 'size-50000' AND payload IN ('1', '2', '3', '4', '5', '6')
            UNION ALL
            SELECT payload, response FROM narrow WHERE function_name = 'size-50001' AND payload IN ('7', '8', '9', '10', '11', '12')
        ) branches""",
    "some that are throttled": """
        SELECT count(response) FROM narrow
        WHERE function_name = 'mock' AND payload = ANY (ARRAY(
            SELECT format('{"as": "%s", "n": %s}', CASE i WHEN 1 THEN 'throttle-2' ELSE 'size-50000' END, i)
            FROM generate_series(1, 12) i))""",
}


@pytest.mark.parametrize("statement", CROWDED.values(), ids=CROWDED)
def test_statement_ends_with_little_memory(warm, endpoint, statement):
    """The invocation that the executor waits for proceeds, although others hold all memory and concurrency."""
    warm.execute("SET statement_timeout = '20s'")
    warm.execute("SET aws_lambda.request_timeout_ms = 2000")
    assert warm.execute(statement).fetchone() == (12,)
    # Two invocations, or one that was throttled twice.
    assert endpoint.counter("invocations") == (14 if "throttle" in statement else 24)


def test_waiting_to_be_read_is_no_part_of_the_time_out(warm, endpoint):
    """The last of twelve responses is read after 4.4 s, as there is memory for one and each row takes 0.4 s."""
    warm.execute("SET aws_lambda.request_timeout_ms = 2000")
    rows = warm.execute("""
        SELECT length(response), pg_sleep(0.4) FROM crowded
        WHERE payload = ANY (ARRAY(SELECT i::text FROM generate_series(1, 12) i))""").fetchall()
    assert [length for length, _ in rows] == [50_000] * 12
    assert endpoint.counter("invocations") == 12


def test_an_option(session, schema):
    """Its value is an amount of memory, with PostgreSQL's units."""
    for value in ("64kB", "65536B", "1GB", "100000"):
        session.execute(f"ALTER FOREIGN TABLE small OPTIONS (ADD max_memory '{value}')")
        session.execute("ALTER FOREIGN TABLE small OPTIONS (DROP max_memory)")
    for value in ("63kB", "1 MB", "-1", "9TB", "mb", "1mb"):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="max_memory"):
            session.execute(f"ALTER FOREIGN TABLE small OPTIONS (ADD max_memory '{value}')")
