"""An HTTPS endpoint and a forward proxy on 127.0.0.1."""

import contextlib
import http.client
import io
import socket
import ssl
import threading
import time

from listeners import listener, response

TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"


def read_head(connection):
    """The head of a request or response, as text; empty if the connection is closed before."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return ""
        head += byte
    return head.decode("latin-1")


def header(head, name):
    _, _, lines = head.partition("\r\n")
    return http.client.parse_headers(io.BytesIO(lines.encode("latin-1")))[name]


def body_of(connection, head):
    length = int(header(head, "content-length") or 0)
    # Clients do not send the next request before they have the answer, so the file reads nothing of it.
    with connection.makefile("rb") as file:
        body = file.read(length)
    if len(body) < length:
        raise EOFError
    return body


def serve_requests(connection, requests, answer=lambda head, body: body):
    """Responds to each request, with its own body unless `answer` returns another one."""
    while head := read_head(connection):
        body = body_of(connection, head)
        requests.append((head, body))
        said = answer(head, body)
        if said is None:
            return
        connection.sendall(response("200 OK", said))


def in_tls(certificate, handle, protocols=("http/1.1",)):
    """A handler that accepts TLS, and then calls `handle`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    context.set_alpn_protocols(list(protocols))

    def handle_tls(connection):
        with contextlib.suppress(OSError, EOFError), context.wrap_socket(connection, server_side=True) as tls:
            handle(tls)

    return handle_tls


@contextlib.contextmanager
def https_endpoint(certificate, answer=lambda head, body: body):
    """The endpoint's port, and the requests that it has got."""
    requests = []
    with listener(in_tls(certificate, lambda tls: serve_requests(tls, requests, answer))) as (port, _):
        yield port, requests


class Proxy:
    """Relays to the port `upstream`. With `answer` it sends these bytes instead, or calls it with the connection.

    `heads` are those of its requests, and `accepted` its connections.
    """

    def __init__(self):
        self.upstream, self.lock, self.active = None, threading.Lock(), 0
        self.reset()

    def reset(self, answer=None):
        self.answer, self.heads = answer, []
        self.accepted = getattr(self, "accepted", [])
        self.accepted.clear()

    def wait_until_idle(self):
        """Waits until it has no connection: a pool goes on connecting after its statement has ended."""
        quiet, deadline = 0, time.monotonic() + 2
        while quiet < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
            quiet = quiet + 1 if self.active == 0 else 0

    def handle(self, connection):
        with self.lock:
            self.active += 1
        try:
            self.respond(connection)
        finally:
            with self.lock:
                self.active -= 1

    def respond(self, connection):
        head = read_head(connection)
        with self.lock:
            self.heads.append(head)
        answer = self.answer
        if callable(answer):
            answer(connection)
        elif answer is not None:
            connection.sendall(answer)
        elif head.startswith("CONNECT "):
            connection.sendall(TUNNEL)
            self.relay(connection)
        elif head:
            self.relay(connection, self.forwarded(head) + body_of(connection, head))

    def forwarded(self, head):
        method, url, rest = head.split(" ", 2)
        path = url.split("/", 3)[3]
        lines = [line for line in rest.split("\r\n") if not line.lower().startswith("proxy-")]
        return f"{method} /{path} ".encode() + "\r\n".join(lines).replace("\r\n", "\r\nConnection: close\r\n", 1).encode()

    def relay(self, connection, first=b""):
        with socket.create_connection(("127.0.0.1", self.upstream)) as other:
            other.sendall(first)
            if first:
                # One request for each connection.
                connection.sendall(read_head(other).replace("\r\n", "\r\nConnection: close\r\n", 1).encode("latin-1"))
            back = threading.Thread(target=self.copy, args=[other, connection], daemon=True)
            back.start()
            self.copy(connection, other)
            back.join()

    @staticmethod
    def copy(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            # TLS has no half-closed state.
            (target.unwrap if isinstance(target, ssl.SSLSocket) else lambda: target.shutdown(socket.SHUT_WR))()

    def targets(self):
        """The methods and targets of its requests, each once."""
        return sorted({" ".join(head.split(" ", 2)[:2]) for head in self.heads})


@contextlib.contextmanager
def proxy(certificate=None, protocols=("http/1.1",)):
    """A proxy; its port is `port`. With a certificate it accepts TLS."""
    made = Proxy()
    handle = in_tls(certificate, made.handle, protocols) if certificate else made.handle
    with listener(handle) as (made.port, made.accepted):
        yield made
