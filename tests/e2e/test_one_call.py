"""A single invocation runs in the backend's own thread. Several run in the network thread."""

import pathlib
import re
import time

import pytest

import tables
from background import pid_of, running
from listeners import listener, response
from scripted import EXAMPLE_KEYS, functions, invoke

ANSWER = response("200 OK", "{}")
# The second row takes its time.
ROWS = """(SELECT format('"%s"', i) AS payload FROM generate_series(0, 1) AS i, pg_sleep(i * 3))"""


def switches(session):
    """The voluntary context switches of the backend's other threads."""
    found = 0
    for task in pathlib.Path(f"/proc/{pid_of(session)}/task").iterdir():
        if task.name != str(pid_of(session)):
            lines = (task / "status").read_text().splitlines()
            found += next(int(line.split()[1]) for line in lines if line.startswith("voluntary"))
    return found


def test_no_other_thread_wakes_up(session, endpoint):
    """Except now and then to close connections."""
    tables.execute(session, "CREATE FOREIGN TABLE alone (payload text, response text) SERVER aws_lambda {options}", function_name="echo")
    invoke(session, "echo")
    for _ in range(2):
        time.sleep(0.2)
        before = switches(session)
        for _ in range(50):
            invoke(session, "echo")
            session.execute("SELECT response FROM alone WHERE payload = '{}'")
        assert switches(session) - before < 10
        # A list makes several invocations.
        before = switches(session)
        session.execute("SELECT count(response) FROM alone WHERE payload IN ('1', '2', '3')")
        assert switches(session) > before


def test_a_connection_that_was_closed_meanwhile_is_not_used(session):
    """The backend was not waiting when it was closed."""

    def answer_once(connection):
        requests = b""
        while b"\r\n\r\n{}" not in requests:
            requests += connection.recv(4096)
        connection.sendall(ANSWER)

    with listener(answer_once) as (port, accepted):
        tables.create_server(session, "closes", endpoint_url=f"http://127.0.0.1:{port}", region="us-west-2")
        tables.create_mapping(session, "closes", "postgres", **EXAMPLE_KEYS)
        for number in range(1, 6):
            assert tables.invoke(session, "closes", "f") == "{}"
            assert len(accepted) == number
            time.sleep(0.1)


def test_each_request_says_once_what_sends_it(session):
    """The SDK makes these headers for the first request, and the others copy them."""
    requests = []

    def answer(connection):
        while True:
            request = b""
            while b"\r\n\r\n{}" not in request:
                request += connection.recv(4096)
            requests.append(request)
            connection.sendall(ANSWER)

    with listener(answer) as (port, _):
        tables.create_server(session, "mock", endpoint_url=f"http://127.0.0.1:{port}", region="us-west-2")
        tables.create_mapping(session, "mock", "postgres", **EXAMPLE_KEYS)
        for _ in range(3):
            tables.invoke(session, "mock", "f")
    agents = [sorted(line for line in request.split(b"\r\n") if b"user-agent: " in line) for request in requests]
    assert len(agents) == 3 and agents[0] == agents[1] == agents[2]
    assert [line.split(b":")[0] for line in agents[0]] == [b"user-agent", b"x-amz-user-agent"]
    assert all(b"app/aws_lambda_fdw" in line for line in agents[0])


def test_the_library_takes_few_addresses(session):
    """A backend that has it looks no larger than it is by much: 64 MB and the library."""
    size = lambda: int(re.search(r"VmSize:\s+(\d+)", pathlib.Path(f"/proc/{pid_of(session)}/status").read_text())[1])
    session.execute("SELECT 1")
    before = size()
    session.execute("LOAD 'aws_lambda_fdw'")
    assert size() - before < 150_000


@pytest.mark.parametrize("statement", [
    f"INSERT INTO begins (payload) SELECT payload FROM {ROWS} AS t",
    f"INSERT INTO begins (payload) SELECT payload FROM {ROWS} AS t RETURNING response",
    f"SELECT response FROM {ROWS} AS t JOIN begins USING (payload)",
    f"SELECT (SELECT response FROM begins WHERE payload = t.payload) FROM {ROWS} AS t",
    "SELECT response FROM begins WHERE payload = '\"0\"' UNION ALL SELECT 'late' FROM pg_sleep(3)",
], ids=["insert", "returning", "join", "subquery", "branch"])
def test_it_does_not_wait_for_what_comes_next(session, endpoint, statement):
    tables.execute(session, "DROP FOREIGN TABLE IF EXISTS begins")
    tables.execute(session, "CREATE FOREIGN TABLE begins (payload text, response text) SERVER aws_lambda {options}", function_name="echo")
    since = time.monotonic()
    with running(session, 1, session.execute, statement) as running_statement:
        assert time.monotonic() - since < 2
        assert not running_statement.done()
        running_statement.result(timeout=10)
    assert set(functions()) == {"echo"}
