"""A throwaway PostgreSQL cluster in one directory.

It listens on a Unix socket in that directory, and on no TCP port. fsync is off. Its extensions are those that are installed
for `pg_config`; none is created in the databases.
"""

import atexit
import os
import pwd
import resource
import shutil
import signal
import subprocess
import tempfile

from processes import StartError, show_end, start, stop, wait_until

SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{socket_dir}'
fsync = off
shared_buffers = 32MB
max_connections = 100
timezone = UTC
log_timezone = UTC
log_line_prefix = '%m [%p] '
"""

# Data directories as initdb makes them, by the directory of its program.
TEMPLATES = {}


class Cluster:
    def __init__(self, directory, settings, aws_environment, program=None, limits=(), primary=None):
        """Creates and starts a cluster in `directory/pg`, with lines of postgresql.conf and AWS_* variables.

        `program` is its pg_config, by default PG_CONFIG. `limits` are pairs for `resource.setrlimit`: a resource, and its limit.
        It is a standby of `primary`, if that is given.
        """
        self.socket_dir = os.path.join(directory, "pg")
        self.data = os.path.join(self.socket_dir, "data")
        self.log = os.path.join(self.socket_dir, "postgresql.log")
        self.bindir = pg_config("--bindir", program)
        self.user = server_user()

        os.mkdir(self.socket_dir, 0o700)
        if self.user:
            shutil.chown(self.socket_dir, self.user)
            os.chmod(directory, 0o711)  # so that the server's user gets through to its own
        self.options = {"cwd": self.socket_dir, "env": self.environment(aws_environment), **run_as(self.user)}

        self.limits = limits
        if primary:
            self.back_up(primary)
        else:
            self.initdb()
        with open(os.path.join(self.data, "postgresql.conf"), "a") as conf:
            conf.write(SETTINGS.format(socket_dir=self.socket_dir) + "\n".join(settings) + "\n")
        self.start()

    def start(self):
        """Starts the server, which may have been stopped before."""
        self.server = start([f"{self.bindir}/postgres", "-D", self.data], self.log, preexec_fn=self.limit, **self.options)
        try:
            wait_until(self.is_ready, self.server, "PostgreSQL", self.log)
        except BaseException:
            stop(self.server, signal.SIGINT)
            raise

    def limit(self):
        for what, most in self.limits:
            resource.setrlimit(what, (most, most))

    def initdb(self):
        """Makes the data directory, from a copy of the first one: tests start many servers, and initdb takes a second."""
        copy = TEMPLATES.get(self.bindir)
        if copy is None:
            copy = TEMPLATES[self.bindir] = tempfile.mkdtemp(prefix="aws_lambda_fdw.", dir="/tmp")
            atexit.register(shutil.rmtree, copy, ignore_errors=True)
            if self.user:
                shutil.chown(copy, self.user)
            # With checksums, which are the default since 18: pg_upgrade wants the same of both.
            self.execute(
                f"{self.bindir}/initdb", "-D", f"{copy}/data", "-U", "postgres",
                "-A", "trust", "-E", "UTF8", "--locale=C", "--data-checksums", "--no-sync",
            )  # fmt: skip
        self.execute("cp", "-a", f"{copy}/data", self.data)

    def back_up(self, primary):
        """Makes the data directory of a standby."""
        self.execute(
            f"{self.bindir}/pg_basebackup", "-D", self.data, "-h", primary.socket_dir, "-p", "5432", "-U", "postgres",
            "--checkpoint=fast", "--write-recovery-conf", "--no-sync",
        )  # fmt: skip

    def execute(self, *command):
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **self.options
        )
        if done.returncode != 0:
            raise StartError(f"{command[0]} failed:\n{done.stdout}")

    def environment(self, aws_environment):
        """The machine's environment without its AWS, proxy and PostgreSQL variables."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "PG")) and not name.lower().endswith("_proxy")
        }
        environment = {
            **kept,
            "HOME": self.socket_dir,
            # Files that do not exist, and no requests to instance metadata.
            "AWS_CONFIG_FILE": os.path.join(self.socket_dir, "no-aws-config"),
            "AWS_SHARED_CREDENTIALS_FILE": os.path.join(self.socket_dir, "no-aws-credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
            **aws_environment,
        }
        # None removes a variable.
        return {name: value for name, value in environment.items() if value is not None}

    def is_ready(self):
        """Whether the last line of postmaster.pid is the server's state "ready" or "standby", for which pg_ctl waits too."""
        try:
            with open(os.path.join(self.data, "postmaster.pid")) as f:
                return f.read().rstrip().endswith(("ready", "standby"))
        except FileNotFoundError:
            return False

    def client_environment(self):
        """The environment with PG* variables for psql, libpq and pg_regress, and without other PG* variables."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG") or name[:3] == "PG_"}
        return {
            **kept,
            "PATH": self.bindir + os.pathsep + os.environ["PATH"],
            "PGHOST": self.socket_dir,
            "PGPORT": "5432",
            "PGUSER": "postgres",
            "PGDATABASE": "postgres",
            "PGDATA": self.data,
            "PG_LOG": self.log,
            "POSTMASTER_PID": str(self.server.pid),
        }

    def stop(self):
        """Stops the server (fast shutdown). Shows the log if it had ended before, or if one of its processes crashed."""
        ended_by_itself = self.server.poll() is not None
        if not ended_by_itself:
            stop(self.server, signal.SIGINT)  # a "fast" shutdown: open connections are closed
        with open(self.log, errors="replace") as log:
            crashed = "was terminated by signal" in log.read()
        if ended_by_itself or crashed:
            show_end(self.log)


def pg_config(option, program=None):
    program = program or os.environ.get("PG_CONFIG", "pg_config")
    try:
        return subprocess.run([program, option], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as e:
        raise StartError(f"{program} {option}: {e}")


def server_user():
    """The account that runs PostgreSQL if this process is root, else None: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            pass
    raise StartError("root cannot run PostgreSQL, and there is no user postgres or nobody")


def run_as(user):
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
