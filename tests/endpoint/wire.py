"""HTTP/1.1 over one asyncio connection. httptools parses requests. Answers are written here, because many of them are to be wrong.

Leaves out TLS, HTTP/2 and HEAD.
"""

import asyncio
import collections
import dataclasses
import email.utils
import functools
import http
import socket
import struct
import time
from typing import NamedTuple

import httptools


class Disconnected(Exception):
    """The client closed the connection, or sent something that is not HTTP."""


@dataclasses.dataclass
class Request:
    method: str = ""
    path: str = ""  # still percent-encoded, as the signature needs it
    query: str = ""
    headers: dict = dataclasses.field(default_factory=dict)  # lower-case names; repeated headers joined with a comma
    target: str = ""  # the path and the query
    body: bytearray = dataclasses.field(default_factory=bytearray)
    has_head: bool = False
    is_complete: bool = False


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: tuple = ()
    headers_ms: int = 0  # the time over which the headers are sent
    body_ms: int = 0  # the time over which the body is sent
    closes_idle: bool = False  # close the connection soon after, as an idle timeout does
    raw: bytes = b""  # sent instead of all of the above


class Connection:
    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer
        self.parser = httptools.HttpRequestParser(self)
        # Those whose body has not been read. A client may send several without waiting for answers.
        self.requests = collections.deque()

    # The parser's callbacks

    def on_message_begin(self):
        self.requests.append(Request())

    def on_url(self, part):
        self.requests[-1].target += part.decode("latin-1")

    def on_header(self, name, value):
        headers = self.requests[-1].headers
        name, value = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        headers[name] = f"{headers[name]},{value}" if name in headers else value

    def on_headers_complete(self):
        request = self.requests[-1]
        request.method, request.has_head = self.parser.get_method().decode(), True
        request.path, _, request.query = request.target.partition("?")

    def on_body(self, part):
        self.requests[-1].body += part

    def on_message_complete(self):
        self.requests[-1].is_complete = True

    async def receive(self):
        """Reads and parses some bytes. Returns whether there were any."""
        try:
            data = await self.reader.read(1 << 16)
            if data:
                self.parser.feed_data(data)
            return bool(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, ConnectionError) as error:
            raise Disconnected from error

    async def read_head(self):
        """The next request up to its body, or None when the client closed in between."""
        while not self.requests or not self.requests[0].has_head:
            if not await self.receive():
                if self.requests:
                    raise Disconnected
                return None
        return self.requests[0]

    async def read_body(self):
        request = self.requests[0]
        if request.headers.get("expect", "").lower() == "100-continue":
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not request.is_complete:
            if not await self.receive():
                raise Disconnected
        self.requests.popleft()
        return bytes(request.body)

    async def send(self, answer):
        if answer.raw:
            await self.write(answer.raw)
            return
        status_line, headers = format_head(answer, len(answer.body))
        # Neither status may have a body, and a client takes one for the next answer.
        body = b"" if answer.status in (204, 304) else answer.body
        if answer.headers_ms:
            self.writer.write(status_line)
            await self.write_slowly(headers, answer.headers_ms)
            await self.write(body)
        elif answer.body_ms:
            self.writer.write(status_line + headers)
            await self.write_slowly(body, answer.body_ms)
        else:
            await self.write(status_line + headers + body)

    async def send_part(self, answer, content_length, body):
        """An answer with this Content-Length and this body, which may be shorter."""
        status_line, headers = format_head(answer, content_length)
        await self.write(status_line + headers + body)

    async def write_slowly(self, data, total_ms):
        size = max(1, -(-len(data) // 10))
        pieces = [data[i : i + size] for i in range(0, len(data), size)] or [b""]
        for piece in pieces:
            await asyncio.sleep(total_ms / len(pieces) / 1000)
            await self.write(piece)

    async def write(self, data):
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError as error:
            raise Disconnected from error

    async def wait_until_closed(self):
        try:
            await self.reader.read()
        except ConnectionError as error:
            raise Disconnected from error

    async def close_idle(self):
        """Closes as a server's idle timeout does. A request that comes first is not answered.

        Returns whether one came.
        """
        try:
            return bool(self.requests or await asyncio.wait_for(self.reader.read(1), 0.05))
        except asyncio.TimeoutError:
            return False
        except ConnectionError as error:
            raise Disconnected from error
        finally:
            self.writer.close()

    def reset(self):
        if self.writer.transport.is_closing():
            return
        # With a linger time of zero, close() sends RST instead of FIN.
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


REASONS = {status.value: status.phrase for status in http.HTTPStatus}


def format_head(answer, content_length):
    status_line = f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Unknown')}\r\n"
    headers = answer.headers
    if not any(name.lower() == "date" for name, _ in headers):
        headers = (("Date", date(int(time.time()))), *headers)
    if answer.status not in (204, 304):
        headers += (("Content-Length", content_length),)
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    return status_line.encode(), f"{lines}\r\n".encode("latin-1")


@functools.lru_cache(maxsize=1)
def date(seconds):
    return email.utils.formatdate(seconds, usegmt=True)
