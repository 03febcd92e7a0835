"""The file descriptors of a backend: connections leave PostgreSQL those that it needs."""

import errno
import os
import resource
import threading
import time

import psycopg
import pytest

import scripted
from listeners import listener
from networks import body_of, proxy, read_head
from own_server import WHERE, connect, open_directory

# The default limit of many shells, and PostgreSQL's default.
OPEN_FILES, MAX_FILES_PER_PROCESS = 1024, 1000
BRANCHES, VALUES = 6, 1000
# The time-out of an attempt in seconds, which is less than all take together.
TIMEOUT = 5
# A quarter of PostgreSQL's, and the client's connection.
MOST_SOCKETS = MAX_FILES_PER_PROCESS // 4 + 10


@pytest.fixture
def server(start):
    return prepared(start, MAX_FILES_PER_PROCESS)


def prepared(start, files, **environment):
    """A server with few descriptors, and a role that may read two foreign tables and write one table."""
    limits = [(resource.RLIMIT_NOFILE, OPEN_FILES)]
    server = start(f"max_files_per_process = {files}", limits=limits, **environment)
    with connect(server) as session:
        for name, ms in (("slow", 200), ("fast", 20)):
            session.execute(f"CREATE FOREIGN TABLE {name} (payload text, response text, region text) "
                            f"SERVER aws_lambda OPTIONS (function_name 'sleep-{ms}')")
        session.execute("CREATE TABLE kept (response text)")
        session.execute("CREATE ROLE caller LOGIN")
        session.execute("GRANT SELECT ON slow, fast TO caller")
        session.execute("GRANT INSERT ON kept TO caller")
    return server


def caller(server):
    session = psycopg.connect(host=server.socket_dir, port=5432, user="caller", dbname="postgres", autocommit=True)
    session.execute("SET aws_lambda.max_concurrency = 1000")
    session.execute(f"SET aws_lambda.request_timeout_ms = {TIMEOUT * 1000}")
    session.execute(f"SET aws_lambda.connect_timeout_ms = {TIMEOUT * 1000}")
    return session


def union(branches, values, table="slow", **columns):
    """A UNION ALL whose branches invoke for this number of values each. `columns` are functions of a branch's number."""
    return " UNION ALL ".join(
        f"SELECT response FROM {table} WHERE payload = ANY (ARRAY(SELECT '{branch}-' || i FROM generate_series(1, {values}) i))"
        + "".join(f" AND {column} = '{of(branch)}'" for column, of in columns.items())
        for branch in range(branches)
    )


def sockets(pid):
    """How many sockets the process has open."""
    count = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
        except FileNotFoundError:
            pass
    return count


def watch(session, statement):
    """Runs a statement, and returns the most sockets that its backend had."""
    pid = session.info.backend_pid
    session.pgconn.send_query(statement.encode())
    most = 0
    while True:
        session.pgconn.consume_input()
        if not session.pgconn.is_busy():
            break
        most = max(most, sockets(pid))
        time.sleep(0.02)
    result = session.pgconn.get_result()
    session.pgconn.get_result()
    assert result.error_message == b"", result.error_message
    print(f"{most} sockets at most")
    return result, most


def test_more_than_a_process_may_open(server, endpoint):
    """Excess invocations wait, and are sent once. Other sessions and the server are not affected."""
    with connect(server) as other, caller(server) as session:
        began = time.monotonic()
        result, most = watch(session, f"INSERT INTO kept {union(BRANCHES, VALUES)}")
        # The wait for a descriptor is not part of an attempt.
        assert time.monotonic() - began > TIMEOUT
        assert result.command_tuples == BRANCHES * VALUES
        assert scripted.counter("invocations") == BRANCHES * VALUES
        assert MOST_SOCKETS / 2 < most < MOST_SOCKETS
        assert other.execute("SELECT 1").fetchone() == (1,)
    assert server.server.poll() is None


@pytest.mark.parametrize("files", [64, 100, 200])
def test_few_files(start, endpoint, files):
    """PostgreSQL keeps its own descriptors, even with the lowest max_files_per_process."""
    server = prepared(start, files)
    with caller(server) as session:
        for statement, count in ((union(1, 1, "fast"), 1), (union(1, 50, "fast"), 50), (union(4, 50, "fast"), 200)):
            assert len(session.execute(statement).fetchall()) == count
    assert scripted.counter("invocations") == 251


def test_behind_a_proxy(start, endpoint):
    """A connection to a proxy counts as any other."""
    with proxy() as company:
        company.upstream = int(scripted.URL.rsplit(":")[-1])
        where = ["aws_lambda.endpoint_override = 'http://lambda.company.test'", *WHERE[1:]]
        server = prepared(start, 200, where=where, HTTP_PROXY=f"127.0.0.1:{company.port}")
        with caller(server) as session:
            result, most = watch(session, f"INSERT INTO kept {union(1, 300, 'fast')}")
            assert result.command_tuples == 300 == len(company.heads)
            assert 10 < most < 200 // 4 + 10
    assert scripted.counter("invocations") == 300


def limit(administrator, pid, more):
    """Limits a process to this number of files more than it has open."""
    files = OPEN_FILES if more is None else max(int(name) for name in os.listdir(f"/proc/{pid}/fd")) + 1 + more
    administrator.execute(f"COPY (SELECT 1) TO PROGRAM 'read line; prlimit --pid {pid} --nofile={files}:{OPEN_FILES}'")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_few_descriptors_left(start, endpoint, host):
    """With few descriptors left, fewer invocations are in flight, and each row is invoked for once."""
    url = f"http://{host}:{scripted.URL.rsplit(':')[-1]}"
    server = prepared(start, MAX_FILES_PER_PROCESS, where=[f"aws_lambda.endpoint_override = '{url}'", *WHERE[1:]])
    with connect(server) as other, caller(server) as session:
        session.execute(union(1, 2, "fast"))
        limit(other, session.info.backend_pid, 12)
        for _ in range(2):
            assert len(session.execute(union(1, 128, "fast")).fetchall()) == 128
        assert scripted.counter("invocations") == 2 + 2 * 128


def test_last_descriptors(server, endpoint):
    """With only a few left, all rows are returned, or an error says that there are too many open files."""
    said = []
    with connect(server) as other:
        for more in range(1, 20, 2):
            with caller(server) as session:
                session.execute("SELECT count(*) FROM pg_class")
                limit(other, session.info.backend_pid, more)
                began = time.monotonic()
                try:
                    assert len(session.execute(union(1, 20, "fast")).fetchall()) == 20
                except psycopg.errors.InsufficientResources as error:
                    said.append(f"{error} {error.diag.message_detail}")
                except psycopg.errors.InternalError_ as error:
                    # PostgreSQL's own, where it makes a set of wait events.
                    assert "Too many open files" in str(error)
                assert time.monotonic() - began < 3
                limit(other, session.info.backend_pid, None)
                assert len(session.execute(union(1, 20, "fast")).fetchall()) == 20
        assert other.execute("SELECT 1").fetchone() == (1,)
    print(*said, sep="\n")
    assert any("Too many open files" in error for error in said)


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENFILE])
def test_connect_fails_for_lack_of_resources(start, endpoint, number):
    """If connect fails for lack of ports, memory or files, the statement waits for its other connections."""
    with open_directory() as directory:
        left = directory / "left"
        # Ten connections can be made.
        left.write_text("." * 10)
        left.chmod(0o666)
        server = prepared(start, MAX_FILES_PER_PROCESS, resolver=True, CONNECT_LACKS=f"{number}", CONNECT_LEFT=str(left))
        with caller(server) as session:
            assert len(session.execute(union(1, 100, "fast")).fetchall()) == 100
            assert scripted.counter("invocations") == 100
        with caller(server) as session:
            began = time.monotonic()
            with pytest.raises(psycopg.errors.InsufficientResources) as raised:
                session.execute(union(1, 3, "fast"))
            assert time.monotonic() - began < 3
            print(raised.value, raised.value.diag.message_detail)
            assert scripted.counter("invocations") == 100


def test_descriptors_and_memory_are_taken_by_others(start):
    """A throttled invocation is retried, although unread responses behind it hold memory and connections."""
    lock, requests = threading.Lock(), []
    throttled = b"HTTP/1.1 429 Too Many Requests\r\nx-amzn-ErrorType: TooManyRequestsException\r\nContent-Length: 2\r\n\r\n{}"

    def handle(connection):
        while head := read_head(connection):
            request = "/functions/b/" in head, body_of(connection, head)
            with lock:
                is_first = request not in requests
                requests.append(request)
            if request == (False, b"7") and is_first:
                time.sleep(0.3)
                connection.sendall(throttled)
                continue
            answer = b'"%s"' % (b"x" * 100_000) if request[0] else request[1]
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)

    with listener(handle) as (port, _):
        where = [f"aws_lambda.endpoint_override = 'http://127.0.0.1:{port}'", *WHERE[1:]]
        server = start("max_files_per_process = 100", where=where)
        with connect(server) as session:
            for name, most in (("a", 2), ("b", 8)):
                session.execute(f"CREATE FOREIGN TABLE {name} (payload text, response text) SERVER aws_lambda "
                                f"OPTIONS (function_name '{name}', max_concurrency '{most}')")
            session.execute("SET aws_lambda.max_memory = '64kB'")
            session.execute(f"SET aws_lambda.request_timeout_ms = {TIMEOUT * 1000}")
            session.execute("SET statement_timeout = '40s'")
            counts = session.execute("""
                SELECT count(*), sum(length(b.response)) FROM a JOIN b ON b.payload = a.response
                WHERE a.payload = ANY (ARRAY(SELECT i::text FROM generate_series(1, 60) i))""").fetchone()
        assert counts == (60, 60 * 100_002)
        assert len(requests) == 121


def test_no_descriptors_left(server, endpoint):
    """With no descriptors left, the statement continues with the connections that it has."""
    with connect(server) as other, caller(server) as session:
        session.execute(union(1, 2))
        limit(other, session.info.backend_pid, 0)
        assert len(session.execute(union(1, 20, "fast")).fetchall()) == 20
        assert scripted.counter("invocations") == 22


@pytest.mark.parametrize("regions, values", [(40, 30), (600, 1)])
def test_many_clients(server, endpoint, regions, values):
    """Each region has a client, which keeps connections. Their total is bounded."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    region = {"region": lambda branch: f"{letters[branch // 26]}{letters[branch % 26]}-west-1"}
    with caller(server) as session:
        for _ in range(2):
            result, most = watch(session, f"SELECT count(response) FROM ({union(regions, values, 'fast', **region)}) branches")
            assert result.get_value(0, 0) == str(regions * values).encode()
            assert most < MOST_SOCKETS
    assert scripted.counter("invocations") == 2 * regions * values
