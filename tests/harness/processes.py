"""Starts servers in the background, and ends every process of a run.

Linux only: PR_SET_CHILD_SUBREAPER adopts orphans, and /proc lists them.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36


class StartError(Exception):
    """A server that did not come up. The message is for the user."""


def adopt_orphans():
    """Makes this process the parent of every descendant whose own parent has died."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start(command, log, **options):
    """Starts a server with its output in the file `log`, in a new session, which Ctrl-C does not reach."""
    with open(log, "ab") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, **options
        )


def wait_until(ready, server, what, log, seconds=120):
    """Waits until ready() is true. Shows the end of the server's log if it dies or takes too long."""
    deadline = time.monotonic() + seconds
    while not ready():
        if server.poll() is not None:
            show_end(log)
            raise StartError(f"{what} ended with status {server.returncode} while starting")
        if time.monotonic() > deadline:
            show_end(log)
            raise StartError(f"{what} was not ready after {seconds} s")
        time.sleep(0.02)


def stop(process, sig=signal.SIGTERM, seconds=10):
    """Ends a process with the given signal, or with SIGKILL if that is not enough."""
    process.send_signal(sig)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def kill_descendants():
    """Kills the descendants of this process: workers of a server, background jobs of the command."""
    while True:
        children = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if parent_of(pid) == os.getpid()]
        if not children:
            return
        # Their children become this process's when they die, and the next round finds them.
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass


def parent_of(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            # The name, in parentheses, may hold spaces and parentheses; state and parent follow it.
            return int(stat.read().rpartition(")")[2].split()[1])
    except OSError:
        return None


def free_port():
    """A port that is free now. If another process takes it first, the server and the run fail."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def show_end(log, lines=30):
    """Prints the last lines of a log to stderr."""
    with open(log, errors="replace") as f:
        text = f.readlines()[-lines:]
    sys.stderr.write(f"--- the end of {os.path.basename(log)}:\n" + "".join(text) + "---\n")
