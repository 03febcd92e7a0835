"""Ports of 127.0.0.1 where something other than the scripted endpoint listens, and what it answers."""

import contextlib
import socket
import threading
import time


def response(status, body="", *headers):
    """A response of HTTP, in bytes. `status` is a code and a reason."""
    body = body if isinstance(body, bytes) else body.encode()
    head = "".join(f"{line}\r\n" for line in [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"])
    return head.encode() + b"\r\n" + body


def respond(*arguments):
    """A handler that sends this response to the first request of a connection."""

    def handle(connection):
        connection.recv(65536)
        connection.sendall(response(*arguments))

    return handle


@contextlib.contextmanager
def listener(handle=None):
    """A port of 127.0.0.1, and the connections that were accepted there. `handle` gets each; then it is closed."""
    accepted = []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                accepted.append(connection)
                if handle:
                    threading.Thread(target=run, args=[connection], daemon=True).start()

    def run(connection):
        with contextlib.suppress(OSError), connection:
            handle(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1], accepted
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in accepted:
                connection.close()


@contextlib.contextmanager
def full_listener(address=("127.0.0.1", 0)):
    """A listener whose backlog is full. It does not respond to connections."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(address)
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        time.sleep(0.1)
        yield listener
