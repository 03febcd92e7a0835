"""A function that takes long, behind a stateful firewall that drops the packets of idle connections, as NAT gateways do too.

The server and the endpoint have a network each. This process is the firewall: it forwards packets between them. SOAK=1 takes
the real times, some minutes.
"""

import contextlib
import ctypes
import fcntl
import os
import queue
import select
import socket
import struct
import subprocess
import threading
import time

import pytest

from networks import serve_requests
from own_server import connect, own_server

SOAK = bool(os.environ.get("SOAK"))
# In seconds: TCP's keepalive interval, the firewall's idle timeout, and the duration of the function.
KEEPALIVE, IDLE_TIMEOUT, DURATION = (60, 100, 250) if SOAK else (1, 2.5, 4)
SERVER, ENDPOINT, PORT = "10.99.0.1", "10.99.0.2", 8080
TUNSETIFF, TUN, WITHOUT_HEADER = 0x400454CA, 1, 0x1000
NEW_NETWORK = 0x40000000


def in_a_network(address, work):
    """Runs `work` in a thread that has its own network namespace, with a device of this address. Returns the device and the result."""
    done = queue.Queue()

    def run():
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK) != 0:
                raise PermissionError(ctypes.get_errno(), "unshare")
            device = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"firewall", TUN | WITHOUT_HEADER))
            for words in (f"addr add {address}/24 dev firewall", "link set firewall up", "link set lo up"):
                subprocess.run(["ip", *words.split()], check=True)
            done.put((device, work()))
        except Exception as error:
            done.put(error)

    threading.Thread(target=run).start()
    found = done.get(timeout=60)
    if isinstance(found, Exception):
        raise found
    return found


class Firewall:
    """Forwards the packets of a connection from its SYN on, and drops them once it has seen none for some time."""

    def __init__(self, one, other):
        self.last_packet, self.dropped, self.open = {}, 0, True
        self.other = {one: other, other: one}
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while self.open:
            for device in select.select(list(self.other), [], [], 0.1)[0]:
                packet = os.read(device, 65536)
                # TCP over IPv4.
                if packet[0] >> 4 == 4 and packet[9] == 6:
                    self.forward(device, packet)

    def forward(self, device, packet):
        tcp = packet[(packet[0] & 15) * 4 :]
        connection = frozenset(struct.unpack("!HH", tcp[:4]))
        now, is_first = time.monotonic(), tcp[13] & 2
        if not is_first and now - self.last_packet.get(connection, 0) > IDLE_TIMEOUT:
            self.dropped += 1
            return
        self.last_packet[connection] = now
        os.write(self.other[device], packet)

    def close(self):
        self.open = False
        self.thread.join()
        for device in self.other:
            os.close(device)


def serve():
    return socket.create_server((ENDPOINT, PORT))


@pytest.fixture(scope="module")
def network():
    """The firewall, the requests that the endpoint has got, and a server."""
    requests, stack = [], contextlib.ExitStack()

    def answer(head, body):
        time.sleep(DURATION)
        return body

    def accept(listening):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=serve_requests, args=[connection, requests, answer], daemon=True).start()

    def start():
        where = [f"aws_lambda.endpoint_override = 'http://{ENDPOINT}:{PORT}'", "aws_lambda.region = 'us-west-2'"]
        environment = {} if SOAK else {"KEEPALIVE_SECONDS": str(KEEPALIVE)}
        return stack.enter_context(own_server(where=where, resolver=True, **environment))

    with stack:
        try:
            one, listening = in_a_network(ENDPOINT, serve)
            other, server = in_a_network(SERVER, start)
        except (PermissionError, FileNotFoundError) as error:
            pytest.skip(f"Networks can't be made here: {error}")
        stack.callback(listening.close)
        firewall = Firewall(one, other)
        stack.callback(firewall.close)
        threading.Thread(target=accept, args=[listening], daemon=True).start()
        yield firewall, requests, server


def test_a_function_that_takes_long(network):
    """TCP's keepalive packets come within the idle timeout."""
    firewall, requests, server = network
    with contextlib.closing(connect(server)) as session:
        session.execute("SET aws_lambda.request_timeout_ms = %d" % (DURATION * 3 * 1000))
        assert session.execute("SELECT payload FROM aws_lambda.invoke('f', '[1]'::json)").fetchone() == ([1],)
        assert len(requests) == 1 and firewall.dropped == 0
