"""A PostgreSQL of its own beside an emulator that runs the functions of examples/functions, as `make psql` gives it.

It has a database `prompt` in which examples/quickstart.sql has run.
"""

import contextlib
import functools
import itertools
import os
import subprocess

from make_commands import ROOT

RUN = ["tests/harness/run", "--emulator", "--functions", "examples/functions", "--"]


@contextlib.contextmanager
def emulated_server():
    """Starts the server, and stops it in the end."""
    # It runs until its standard input ends.
    with subprocess.Popen(
        [*RUN, "sh", "-c", "env | grep ^PG; echo; cat"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            variables = itertools.takewhile(str.strip, process.stdout)
            yield EmulatedServer(dict(line.rstrip("\n").split("=", 1) for line in variables))
        finally:
            process.stdin.close()


class EmulatedServer:
    """A PostgreSQL with the emulator and its functions."""

    def __init__(self, environment):
        self.environment = {**os.environ, **environment, "PSQLRC": "/dev/null"}
        self.psql("CREATE DATABASE prompt", "postgres")
        self.psql((ROOT / "examples/quickstart.sql").read_text(), "prompt")

    def run(self, *command, database="postgres", text=""):
        done = subprocess.run(
            command, cwd=ROOT, env={**self.environment, "PGDATABASE": database}, input=text,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    def psql(self, script, database):
        return self.run("psql", "-X", "-q", "-P", "pager=off", database=database, text=script)

    @functools.cached_property
    def version(self):
        return int(self.psql("\\echo :SERVER_VERSION_NUM", "postgres")) // 10000

    def create(self, template):
        """Creates the database mydb anew."""
        self.drop()
        self.psql(f"CREATE DATABASE mydb TEMPLATE {template}", "postgres")

    def drop(self):
        """Removes mydb and all roles."""
        self.psql(
            "DROP DATABASE IF EXISTS mydb WITH (FORCE);"
            "SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> current_user \\gexec",
            "postgres",
        )
