"""A server whose processes have little memory: what is too much for one statement is its error, and nobody else's.

Rust ends a process that asks for memory that is not there, and PostgreSQL then ends all others.
"""

import resource

import psycopg
import pytest

from own_server import connect

# Address space of a process, the library and what is shared included.
MEMORY = 900 << 20


@pytest.fixture
def server(start):
    """A server with little memory, where an ordinary role may read one table."""
    server = start(limits=[(resource.RLIMIT_AS, MEMORY)])
    with connect(server) as session:
        session.execute("CREATE FOREIGN TABLE f (function_name text, payload text, response text) SERVER aws_lambda")
        session.execute("CREATE ROLE caller LOGIN")
        session.execute("GRANT SELECT ON f TO caller")
    return server


def caller(server):
    session = psycopg.connect(host=server.socket_dir, port=5432, user="caller", dbname="postgres", autocommit=True)
    session.execute("SET aws_lambda.request_timeout_ms = 60000")
    return session


def series(count):
    return f"generate_series(1, {count}) i"


STATEMENTS = {
    "payloads of 100 MB": (
        f"SELECT count(response) FROM {series(40)} JOIN f ON function_name = 'null' AND payload = repeat('x', 100000000) || i",
        psycopg.errors.ProgramLimitExceeded,
    ),
    "a list of 100 MB each": (
        "SELECT count(response) FROM f WHERE function_name = 'null' AND payload IN (repeat('x', 100000000), repeat('y', 100000000))",
        psycopg.errors.ProgramLimitExceeded,
    ),
    "a name of 200 MB": (
        "SELECT response FROM f WHERE function_name = repeat('x', 200000000) AND payload = '{}'",
        psycopg.errors.InvalidParameterValue,
    ),
    "answers": (
        f"SELECT sum(length(response)) FROM f WHERE function_name = 'size-6000000' AND payload = ANY (ARRAY(SELECT i::text FROM {series(256)}))",
        psycopg.errors.OutOfMemory,
    ),
    "a list of many": (
        f"SELECT count(response) FROM f WHERE function_name = 'null' AND payload = ANY (ARRAY(SELECT i::text FROM {series(3000000)})) AND payload < ''",
        psycopg.errors.OutOfMemory,
    ),
    "payloads": (
        f"SELECT count(response) FROM {series(256)} JOIN f ON function_name = 'told'"
        """ AND payload = format('{"as": "null", "ms": 1000, "n": "%s %s"}', i, repeat('x', 6000000))""",
        psycopg.errors.OutOfMemory,
    ),
}


@pytest.mark.parametrize("statement, error", STATEMENTS.values(), ids=STATEMENTS)
def test_an_error_of_the_statement(server, endpoint, statement, error):
    with connect(server) as other, caller(server) as session:
        session.execute("SET aws_lambda.max_concurrency = 256")
        session.execute("SET work_mem = '2GB'")
        with pytest.raises(error) as raised:
            session.execute(statement)
        print(raised.value.sqlstate, str(raised.value)[:400])
        assert session.execute("SELECT response FROM f WHERE function_name = 'echo' AND payload = '1'").fetchone() == ("1",)
        assert other.execute("SELECT 1").fetchone() == (1,)
