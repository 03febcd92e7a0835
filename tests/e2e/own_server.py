"""PostgreSQL servers for one test or module, with their own settings and environment.

With `resolver`, `resolver.c` resolves names. Those in `.fails.test` do not exist, in `.again.test` fail temporarily, in
`.hangs.test` get no answer for 30 s, in `.local.test` are 127.0.0.1, and in `.two.test` 127.0.0.9 and 127.0.0.1. With
LINK_LOCAL_PORT in its environment, connections to 169.254.0.0/16 go to that port. `resolved_names` returns the names that a server
has resolved, and these addresses.

With `home`, the password database has this home for the server's user. With `clock`, the machine's clock is so many seconds
ahead (`machine.c`).
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import psycopg

import scripted
from cluster import Cluster

KEYS = {
    "AWS_ACCESS_KEY_ID": scripted.EXAMPLE_KEYS["access_key_id"],
    "AWS_SECRET_ACCESS_KEY": scripted.EXAMPLE_KEYS["secret_access_key"],
}
WHERE = [f"aws_lambda.endpoint_override = '{scripted.URL}'", "aws_lambda.region = 'us-west-2'"]
RESOLVER = pathlib.Path(__file__).with_name("resolver.c")
MACHINE = pathlib.Path(__file__).with_name("machine.c")


@contextlib.contextmanager
def own_server(
    *settings, keys=KEYS, where=WHERE, resolver=False, home=None, clock=0, pg_config=None, limits=(), primary=None, **environment
):
    """Starts a server with `settings` in postgresql.conf and `environment` added to its environment, and stops it afterwards.

    `keys` are added to the environment too, and the settings `where` point it to the scripted endpoint. `pg_config` is the
    path of its PostgreSQL's, and `limits` are pairs for `setrlimit`. The server is a standby of `primary`, if that is given.
    """
    # In /tmp, for the same reasons as in tests/harness/run.
    directory = tempfile.mkdtemp(prefix="aws_lambda_fdw.", dir="/tmp")
    server = None
    try:
        os.chmod(directory, 0o711)
        if resolver:
            environment = {**environment, "LD_PRELOAD": build_resolver(directory), "RESOLVER_LOG": log_of(directory)}
        if home or clock:
            machine = {"MACHINE_HOME": str(home or ""), "MACHINE_CLOCK": str(clock)}
            environment = {**environment, "LD_PRELOAD": build(MACHINE, directory), **machine}
        server = Cluster(directory, [*where, *settings], {**keys, **environment}, pg_config, limits, primary)
        yield server
    finally:
        if server and server.server.poll() is None:
            server.stop()
        shutil.rmtree(directory)


@contextlib.contextmanager
def open_directory():
    """A directory that the server's user may read and write."""
    # In /tmp, because other users have no access to pytest's directories.
    directory = tempfile.mkdtemp(prefix="aws_lambda_fdw.", dir="/tmp")
    try:
        os.chmod(directory, 0o777)
        yield pathlib.Path(directory)
    finally:
        shutil.rmtree(directory)


def build_resolver(directory):
    """Compiles the resolver into the directory; returns the library's path."""
    return build(RESOLVER, directory)


def build(source, directory):
    library = os.path.join(directory, source.stem + ".so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O", "-o", library, str(source), "-ldl"], check=True)
    os.chmod(library, 0o755)
    return library


def log_of(directory):
    # The cluster makes this directory, and the server's user may write there.
    return os.path.join(directory, "pg", "resolver.log")


def resolved_names(server):
    """The names that the server has resolved, in order."""
    try:
        return pathlib.Path(server.socket_dir, "resolver.log").read_text().splitlines()
    except FileNotFoundError:
        return []


def connect(server):
    """A superuser's session, in a database with the extension."""
    session = psycopg.connect(host=server.socket_dir, port=5432, user="postgres", dbname="postgres", autocommit=True)
    session.execute("CREATE EXTENSION IF NOT EXISTS aws_lambda CASCADE")
    return session
