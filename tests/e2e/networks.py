"""A company's network on 127.0.0.1: an endpoint in TLS, and a proxy that tells what it was asked."""

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
    """A request as far as its empty line, as text; empty if the connection is closed before."""
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


def answer_all(connection, requests, answer=lambda head, body: body):
    """Answers requests of HTTP/1.1 as they come, each with what it brings."""
    while head := read_head(connection):
        body = body_of(connection, head)
        requests.append((head, body))
        said = answer(head, body)
        if said is None:
            return
        connection.sendall(response("200 OK", said))


def in_tls(certificate, talk, protocols=("http/1.1",)):
    """Talks in TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    context.set_alpn_protocols(list(protocols))

    def talk_tls(connection):
        with contextlib.suppress(OSError, EOFError), context.wrap_socket(connection, server_side=True) as tls:
            talk(tls)

    return talk_tls


@contextlib.contextmanager
def https_endpoint(certificate, answer=lambda head, body: body):
    """Its port, and the requests that it has."""
    requests = []
    with listener(in_tls(certificate, lambda tls: answer_all(tls, requests, answer))) as (port, _):
        yield port, requests


class Proxy:
    """`heads` are those of the requests that it had, of which the connections are `accepted`. What it lets through goes to `to`, a port. `answer`
    is what it says instead, or does with a connection."""

    def __init__(self):
        self.to, self.lock, self.active = None, threading.Lock(), 0
        self.reset()

    def reset(self, answer=None):
        self.answer, self.heads = answer, []
        self.accepted = getattr(self, "accepted", [])
        self.accepted.clear()

    def settle(self):
        """Waits until those who asked it before are gone: a pool goes on connecting after its statement has ended."""
        quiet, deadline = 0, time.monotonic() + 2
        while quiet < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
            quiet = quiet + 1 if self.active == 0 else 0

    def talk(self, connection):
        with self.lock:
            self.active += 1
        try:
            self.answer_to(connection)
        finally:
            with self.lock:
                self.active -= 1

    def answer_to(self, connection):
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
            self.join(connection)
        elif head:
            self.join(connection, self.forwarded(head) + body_of(connection, head))

    def forwarded(self, head):
        method, url, rest = head.split(" ", 2)
        path = url.split("/", 3)[3]
        lines = [line for line in rest.split("\r\n") if not line.lower().startswith("proxy-")]
        return f"{method} /{path} ".encode() + "\r\n".join(lines).replace("\r\n", "\r\nConnection: close\r\n", 1).encode()

    def join(self, connection, first=b""):
        with socket.create_connection(("127.0.0.1", self.to)) as other:
            other.sendall(first)
            if first:
                # One request has one connection, and is told so.
                connection.sendall(read_head(other).replace("\r\n", "\r\nConnection: close\r\n", 1).encode("latin-1"))
            back = threading.Thread(target=self.pump, args=[other, connection], daemon=True)
            back.start()
            self.pump(connection, other)
            back.join()

    @staticmethod
    def pump(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            # What has been read of TLS has no other end.
            (target.unwrap if isinstance(target, ssl.SSLSocket) else lambda: target.shutdown(socket.SHUT_WR))()

    def asked(self):
        """What it was asked for, without repetition."""
        return sorted({" ".join(head.split(" ", 2)[:2]) for head in self.heads})


@contextlib.contextmanager
def proxy(certificate=None, protocols=("http/1.1",)):
    """Its port is `port`. With a certificate it speaks TLS."""
    made = Proxy()
    talk = in_tls(certificate, made.talk, protocols) if certificate else made.talk
    with listener(talk) as (made.port, made.accepted):
        yield made
