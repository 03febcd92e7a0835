"""A worker while Lambda cannot be reached: nothing is lost, and no attempt is used up."""

import contextlib
import socket
import threading
import time
from urllib.parse import urlsplit

import scripted
from own_server import connect
from scripted import counter, wait_until
from test_queue import ENQUEUE, in_queue, once, sent


class Relay:
    """A port of 127.0.0.1 that refuses connections, and after `open` passes them on to the scripted endpoint."""

    def __init__(self, stack):
        self.stack = stack
        self.socket = stack.enter_context(socket.socket())
        # A port that is bound is nobody else's. Without a listener it refuses connections.
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def open(self):
        self.socket.listen(128)
        self.stack.callback(self.socket.shutdown, socket.SHUT_RDWR)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.socket.accept()
                target = urlsplit(scripted.URL)
                endpoint = socket.create_connection((target.hostname, target.port))
                for source, sink in ((client, endpoint), (endpoint, client)):
                    threading.Thread(target=copy, args=[source, sink], daemon=True).start()


def copy(source, sink):
    with contextlib.suppress(OSError), sink:
        while data := source.recv(65536):
            sink.sendall(data)


def test_a_worker_while_the_endpoint_is_down(start, endpoint):
    """Ten seconds stand for a minute or an hour: the pauses between attempts grow to some seconds in them, and nothing counts time but
    `queue_max_age`."""
    rows = 200
    with contextlib.ExitStack() as stack:
        relay = Relay(stack)
        server = start(
            f"aws_lambda.endpoint_override = 'http://127.0.0.1:{relay.port}'", "aws_lambda.region = 'us-west-2'",
            # One attempt that counted would have a row fail.
            "aws_lambda.queue_max_attempts = 1", "aws_lambda.max_retries = 0", where=[],
        )  # fmt: skip
        with connect(server) as session:
            session.execute("SELECT aws_lambda.start_worker()")
            session.execute(ENQUEUE, ["echo", rows])
            down_until = time.monotonic() + 10
            wait_until(lambda: least_postponements(session) >= 3, seconds=30)
            time.sleep(max(0, down_until - time.monotonic()))
            states = session.execute("SELECT DISTINCT state, attempts, error_code FROM aws_lambda.queue").fetchall()
            assert states == [("waiting", 0, "ConnectionRefused")]
            assert in_queue(session) == rows
            assert counter("invocations") == 0
            # Another row is tried at once, though the others have waited for longer.
            relay.open()
            session.execute("SELECT aws_lambda.enqueue('echo', to_json(%s::int))", [rows + 1])
            wait_until(lambda: rows + 1 in sent(), seconds=5)
            wait_until(lambda: in_queue(session) == 0, seconds=60)
        assert sent() == once(rows + 1)


def least_postponements(session):
    return session.execute("SELECT min(postponements) FROM aws_lambda.queue").fetchone()[0]
