"""A server with little memory: a statement that needs too much gets an error, and other sessions are not affected.

By default Rust aborts the process when an allocation fails, and PostgreSQL then ends all other backends.
"""

import os
import pathlib
import re
import resource

import psycopg
import pytest
import trustme

import scripted
from networks import https_endpoint
from own_server import WHERE, connect, open_directory

# The address space of a process, with the library and shared memory.
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
    "a list of many": (
        f"SELECT count(response) FROM f WHERE function_name = 'null' AND payload = ANY (ARRAY(SELECT i::text FROM {series(3000000)})) AND payload < ''",
        psycopg.errors.OutOfMemory,
    ),
}


@pytest.mark.parametrize("statement, error", STATEMENTS.values(), ids=STATEMENTS)
def test_an_error_of_the_statement(server, endpoint, statement, error):
    with connect(server) as other, caller(server) as session:
        session.execute("SET aws_lambda.max_concurrency = 256")
        session.execute("SET aws_lambda.max_memory = '1TB'")
        with pytest.raises(error) as raised:
            session.execute(statement)
        print(raised.value.sqlstate, str(raised.value)[:400])
        assert session.execute("SELECT response FROM f WHERE function_name = 'echo' AND payload = '1'").fetchone() == ("1",)
        assert other.execute("SELECT 1").fetchone() == (1,)


# Additional memory of a backend in MB, from almost none to enough for some statements.
SOAK = bool(os.environ.get("SOAK"))
HEADROOMS = (*range(1, 30), *range(30, 300, 10)) if SOAK else (1, 10, 60)
# The address space of all processes of a server, in KB.
ADDRESS_SPACES = (400_000, 500_000, 600_000, 700_000, 900_000) if SOAK else (500_000,)
# The blocks of the last one are too small for the check in advance.
SHORTAGES = {
    "responses of a list": f"SELECT sum(length(response)) FROM f WHERE function_name = 'size-5900000' AND payload = ANY (ARRAY(SELECT i::text FROM {series(40)}))",
    "responses of a join": f"SELECT sum(length(response)) FROM {series(60)} JOIN f ON function_name = 'size-1000000' AND payload = i::text",
    "payloads": f"SELECT count(response) FROM {series(60)} JOIN f ON function_name = 'echo' AND payload = to_jsonb(repeat('x', 1000000) || i)::text",
    "small ones": f"SELECT count(response) FROM f WHERE function_name = 'echo' AND payload = ANY (ARRAY(SELECT i::text FROM {series(400)}))",
    "small ones that are kept": f"SELECT sum(length(response)) FROM k WHERE function_name = 'size-120000' AND payload = ANY (ARRAY(SELECT i::text FROM {series(511)}))",
}
TABLES = """
    CREATE FOREIGN TABLE f (function_name text, payload text, response text) SERVER aws_lambda;
    CREATE FOREIGN TABLE k (function_name text, payload text, response text) SERVER aws_lambda OPTIONS (deduplicate 'true');
"""


def answer(head, body):
    """As the scripted endpoint does."""
    size = re.search(r"/functions/size-(\d+)/", head)
    return b'"' + b"x" * (int(size[1]) - 2) + b'"' if size else body


@pytest.fixture(scope="module")
def endpoints():
    """The URLs of endpoints by their scheme, and the environment of a server that trusts them."""
    authority = trustme.CA()
    with open_directory() as directory, https_endpoint(authority.issue_cert("localhost"), answer) as (port, _):
        bundle = directory / "bundle.pem"
        bundle.write_bytes(authority.cert_pem.bytes())
        bundle.chmod(0o644)
        yield {"http": scripted.URL, "https": f"https://localhost:{port}"}, {"SSL_CERT_FILE": str(bundle)}


def limit(administrator, pid, megabytes):
    """Limits a process to this much more than it has; None removes the limit."""
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[0])
    most = "unlimited" if megabytes is None else pages * resource.getpagesize() + (megabytes << 20)
    administrator.execute(f"COPY (SELECT 1) TO PROGRAM 'read line; prlimit --pid {pid} --as={most}:unlimited'")


def ends(session, statement):
    """The outcome of a statement, which is its result or a lack of memory."""
    try:
        count = session.execute(statement).fetchone()[0]
    except psycopg.Error as error:
        assert error.sqlstate == "53200", str(error)
        return str(error)
    assert count in (60, 400, 40 * 5_900_000, 60 * 1_000_000, 511 * 120_000)
    return "all of it"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_memory_limit(start, endpoint, endpoints, scheme):
    """Wherever an allocation fails, the statement fails, and the session works."""
    urls, environment = endpoints
    server = start(where=[f"aws_lambda.endpoint_override = '{urls[scheme]}'", *WHERE[1:]], **environment)
    with connect(server) as other:
        other.execute(TABLES)
        for name, statement in SHORTAGES.items():
            for megabytes in HEADROOMS:
                with connect(server) as session:
                    session.execute("SET aws_lambda.max_memory = '1TB'")
                    session.execute("SET aws_lambda.request_timeout_ms = 60000")
                    session.execute("SELECT response FROM f WHERE function_name = 'echo' AND payload IN ('1', '2')")
                    pid = session.info.backend_pid
                    limit(other, pid, megabytes)
                    print(name, megabytes, ends(session, statement))
                    limit(other, pid, None)
                    again = session.execute("SELECT response FROM f WHERE function_name = 'echo' AND payload = '1'")
                    assert again.fetchone() == ("1",)
        assert other.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("kilobytes", ADDRESS_SPACES)
def test_little_address_space(start, endpoint, kilobytes):
    """With a limit as of `ulimit -v` for the whole server, a statement succeeds or fails with its error."""
    server = start(limits=[(resource.RLIMIT_AS, kilobytes << 10)])
    with connect(server) as other:
        other.execute(TABLES)
        for most in ("64MB", "1TB"):
            with connect(server) as session:
                session.execute(f"SET aws_lambda.max_memory = '{most}'")
                session.execute("SET aws_lambda.request_timeout_ms = 60000")
                for name in ("responses of a list", "payloads"):
                    print(most, name, ends(session, SHORTAGES[name]))
        assert other.execute("SELECT 1").fetchone() == (1,)
