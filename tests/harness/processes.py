"""Starting servers in the background, and ending every process that came out of a run.

Linux only: orphans are collected with PR_SET_CHILD_SUBREAPER and found in /proc. It knows nothing of what the
servers are.
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
    """Makes this process the parent of every descendant whose own parent dies, so that none can get away."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start(command, log, **options):
    """Starts a server with its output in the file `log`, in a session of its own: Ctrl-C does not reach it."""
    with open(log, "ab") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, **options
        )


def wait_until(ready, server, what, log, seconds=120):
    """Waits until ready() is true, with patience for a busy machine. Shows the end of the server's log if it dies or takes too long."""
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
    """Kills what is left below this process: workers of a server, background jobs of the command."""
    while True:
        children = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if parent_of(pid) == os.getpid()]
        if not children:
            return
        # Their own children become ours when they die, and are found in the next round.
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
    """A port that was free a moment ago. Someone else may take it first; then the server says so and the run fails."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def show_end(log, lines=30):
    """Prints the last lines of a log to stderr."""
    with open(log, errors="replace") as f:
        text = f.readlines()[-lines:]
    sys.stderr.write(f"--- the end of {os.path.basename(log)}:\n" + "".join(text) + "---\n")
