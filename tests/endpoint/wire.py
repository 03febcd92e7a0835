"""HTTP/1.1 over one asyncio connection: requests read, answers written, the connection broken.

Written by hand rather than with http.server because the tests need answers no
HTTP library would send. Leaves out TLS, HTTP/2, HEAD, and any
check of a request beyond what is needed to find its end.
"""

import asyncio
import email.utils
import http
import socket
import struct
from typing import NamedTuple

MAX_HEAD = 1 << 20


class Gone(Exception):
    """The client went away, or sent something that is not HTTP."""


class Request(NamedTuple):
    method: str
    path: str  # still percent-encoded, as the signature needs it
    query: str
    headers: dict  # lower-case names; repeated headers joined with a comma


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: tuple = ()
    headers_ms: int = 0  # the time the headers trickle over
    body_ms: int = 0  # the time the body trickles over
    stale: bool = False  # close the connection quietly soon after
    verbatim: bytes = b""  # sent in the place of all of the above


class Connection:
    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    async def read_head(self):
        """The next request up to its body, or None when the client closed in between."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise Gone from error
            return None
        except (asyncio.LimitOverrunError, ConnectionError) as error:
            raise Gone from error
        request_line, *lines = head[:-4].decode("latin-1").split("\r\n")
        try:
            method, target, _ = request_line.split(" ")
        except ValueError as error:
            raise Gone from error
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        path, _, query = target.partition("?")
        return Request(method, path, query, headers)

    async def read_body(self, request):
        if request.headers.get("expect", "").lower() == "100-continue":
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            if "chunked" in request.headers.get("transfer-encoding", "").lower():
                return await self.read_chunks()
            return await self.reader.readexactly(int(request.headers.get("content-length", 0)))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise Gone from error
        except (ConnectionError, ValueError) as error:
            raise Gone from error

    async def read_chunks(self):
        chunks = []
        while True:
            size_line = await self.reader.readuntil(b"\r\n")
            size = int(size_line.split(b";")[0], 16)
            if size == 0:
                break
            chunks.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)
        while await self.reader.readuntil(b"\r\n") != b"\r\n":
            pass  # trailers
        return b"".join(chunks)

    async def send(self, answer):
        if answer.verbatim:
            await self.write(answer.verbatim)
            return
        status_line, headers = format_head(answer, len(answer.body))
        # Neither status may have a body, and a client takes one for the next answer.
        body = b"" if answer.status in (204, 304) else answer.body
        if answer.headers_ms:
            self.writer.write(status_line)
            await self.trickle(headers, answer.headers_ms)
            await self.write(body)
        elif answer.body_ms:
            self.writer.write(status_line + headers)
            await self.trickle(body, answer.body_ms)
        else:
            await self.write(status_line + headers + body)

    async def send_part(self, answer, promised, sent):
        """An answer whose Content-Length is `promised` and whose body is `sent`."""
        status_line, headers = format_head(answer, promised)
        await self.write(status_line + headers + sent)

    async def trickle(self, data, total_ms):
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
            raise Gone from error

    async def wait_until_closed(self):
        try:
            await self.reader.read()
        except ConnectionError as error:
            raise Gone from error

    async def close_stale(self):
        """Closes as a server's idle timeout does. A request that comes first is not answered.

        Returns whether one came.
        """
        try:
            return bool(await asyncio.wait_for(self.reader.read(1), 0.05))
        except asyncio.TimeoutError:
            return False
        except ConnectionError as error:
            raise Gone from error
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
        headers = (("Date", email.utils.formatdate(usegmt=True)), *headers)
    if answer.status not in (204, 304):
        headers += (("Content-Length", content_length),)
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    return status_line.encode(), f"{lines}\r\n".encode("latin-1")
