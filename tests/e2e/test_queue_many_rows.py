"""A hundred thousand rows in two tests: the memory of a delivery is flat, and the table takes the space of what waits, not of what was
delivered."""

import contextlib
import multiprocessing
import pathlib
import re
import selectors
import socket
import time

import pytest

from background import pid_of
from own_server import connect
from scripted import wait_until
from test_queue import in_queue
from test_queue_worker import workers

ROUNDS, ROWS = 10, 5_000
# In MB. A leak of 150 bytes a row would be more. The allocators keep some megabytes more or less.
MOST_GROWTH = 6
FILL = "SELECT count(aws_lambda.enqueue('echo', to_json(repeat('x', 100) || i))) FROM generate_series(1, %s) i"
SIZE = "SELECT pg_total_relation_size('aws_lambda.queue')"
MB = 2**20


def anonymous_memory(pid):
    """Memory of the process, in MB, without shared memory and files, of which it touches more with time."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)[1]) / 1024


ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


def accept_events(listener, count):
    """Accepts events at once, and counts them. The scripted endpoint, which checks signatures, would take minutes."""
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        received = {}
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    selector.register(connection, selectors.EVENT_READ)
                    received[connection] = b""
                    continue
                connection = key.fileobj
                data = connection.recv(65536)
                if not data:
                    selector.unregister(connection)
                    connection.close()
                    continue
                received[connection] += data
                head, end, body = received[connection].partition(b"\r\n\r\n")
                length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
                # The next request comes after the answer.
                if end and len(body) == int(length[1]):
                    received[connection] = b""
                    count.value += 1
                    connection.sendall(ACCEPTED)


@pytest.fixture
def events():
    """A port where events are accepted, and their number so far."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0), backlog=128)) as listener:
        count = multiprocessing.Value("q")
        process = multiprocessing.Process(target=accept_events, args=[listener, count], daemon=True)
        process.start()
        yield listener.getsockname()[1], count
        process.kill()
        process.join()


@pytest.fixture
def server(start, events):
    where = [f"aws_lambda.endpoint_override = 'http://127.0.0.1:{events[0]}'", "aws_lambda.region = 'us-west-2'"]
    # VACUUM is the test's.
    return start("autovacuum = off", where=where)


def test_a_worker(server, events):
    """Rounds of rows with VACUUM between them, as autovacuum would run it: after 5,000 dead rows.

    The first round's rows, before they are delivered, show what a queue of that many takes. A dead row's space is there again after the
    VACUUM of its round. A delivery only deletes rows, and deletes write no new ones. So each round fits into the space of the one before.
    Twice the first size is a bound with room for index pages that are half full. Without reuse ten rounds would take ten times as much.
    """
    memory, sizes = [], []
    with connect(server) as session:
        session.execute("SELECT aws_lambda.start_worker()")
        wait_until(lambda: [row[2] for row in workers(session)] == ["idle"])
        ((pid, *_),) = workers(session)
        since = time.monotonic()
        for _ in range(ROUNDS):
            with session.transaction():
                session.execute(FILL, [ROWS])
                sizes.append(session.execute(SIZE).fetchone()[0])
            wait_until(lambda: in_queue(session) == 0, seconds=60)
            memory.append(anonymous_memory(pid))
            session.execute("VACUUM aws_lambda.queue")
            session.execute("VACUUM aws_lambda.queue_deliveries")
        print(f"{time.monotonic() - since:.1f} s", [f"{size / MB:.1f} MB" for size in sizes], [f"{mb:.1f} MB" for mb in memory])
        assert events[1].value == ROUNDS * ROWS
        assert max(sizes) < 2 * sizes[0]
        # The first rounds fill what the allocators keep.
        assert memory[-1] - max(memory[:3]) < MOST_GROWTH


def test_a_procedure(server, events):
    """One call with many rows."""
    rows = ROUNDS * ROWS
    with connect(server) as session, connect(server) as deliverer:
        for _ in range(2):
            session.execute(FILL, [ROWS])
            assert deliverer.execute("CALL aws_lambda.deliver()").fetchone() == (ROWS, 0, 0)
        before = anonymous_memory(pid_of(deliverer))
        session.execute(FILL, [rows])
        since = time.monotonic()
        assert deliverer.execute("CALL aws_lambda.deliver()").fetchone() == (rows, 0, 0)
        after = anonymous_memory(pid_of(deliverer))
        print(f"{time.monotonic() - since:.1f} s, {before:.1f} MB and then {after:.1f} MB")
        assert events[1].value == 2 * ROWS + rows
        assert after - before < MOST_GROWTH
