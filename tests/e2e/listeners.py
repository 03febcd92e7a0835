"""Ports of 127.0.0.1 where something else than an endpoint listens."""

import contextlib
import socket
import threading
import time


@contextlib.contextmanager
def listener(talk=None):
    """A port of 127.0.0.1, and what has been accepted there. Each connection is handed to `talk`, and closed after that."""
    accepted = []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                accepted.append(connection)
                if talk:
                    threading.Thread(target=run, args=[connection], daemon=True).start()

    def run(connection):
        with contextlib.suppress(OSError), connection:
            talk(connection)

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
    """A listener that is out of room: it leaves connections unanswered."""
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
