"""Statements that run in the background, and are interrupted."""

import concurrent.futures
import contextlib
import os
import pathlib
import time

from scripted import wait_for_invocations


@contextlib.contextmanager
def running(session, invocations, call, *arguments):
    """Calls a function in the background, and yields its future once the endpoint has so many invocations."""
    with running_until(session, lambda: wait_for_invocations(invocations), call, *arguments) as statement:
        yield statement


@contextlib.contextmanager
def running_until(session, wait, call, *arguments):
    """The same, once `wait` has returned."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        statement = pool.submit(call, *arguments)
        try:
            wait()
            yield statement
        finally:
            # If the test failed before it ended the statement.
            if not statement.done():
                session.cancel()


def pid_of(session):
    return session.info.backend_pid


def is_running(pid):
    return os.path.exists(f"/proc/{pid}")


def error_within_2_s(statement, since):
    """The error of the statement, which ends within 2 s after `since`."""
    error = statement.exception(timeout=10)
    took = time.monotonic() - since
    print(f"interrupted after {took * 1000:.0f} ms")
    assert took < 2
    return error


def ticks(pid):
    """CPU time of all threads, in clock ticks, which are hundredths of a second on Linux."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
