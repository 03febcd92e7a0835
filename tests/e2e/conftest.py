"""The fixtures of the end-to-end tests: a database per module, sessions in it, the scripted endpoint and the emulator.

The tests run under `tests/harness/run --endpoint --emulator --auth`. The server process has no AWS credentials, and the
settings point to the scripted endpoint.
"""

import contextlib
import os
import pathlib
import shutil
import tempfile

import psycopg
import pytest
from psycopg import sql

import scripted
from emulated import emulated_server
from emulator import Emulator
from own_server import own_server
from tables import options


@pytest.fixture(scope="module")
def database(request):
    """A database with the extension, and with a user mapping for PUBLIC that has a key of the scripted endpoint."""
    name = sql.Identifier(request.module.__name__)
    with psycopg.connect(autocommit=True) as administrator:
        administrator.execute(sql.SQL("CREATE DATABASE {}").format(name))
    with psycopg.connect(dbname=request.module.__name__, autocommit=True) as session:
        session.execute("CREATE EXTENSION aws_lambda CASCADE")
        session.execute(
            sql.SQL("CREATE USER MAPPING FOR PUBLIC SERVER aws_lambda {}").format(options(scripted.EXAMPLE_KEYS))
        )
    yield request.module.__name__
    with psycopg.connect(autocommit=True) as administrator:
        administrator.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture
def connect(database):
    """Opens sessions in the module's database, and closes them after the test."""
    opened = []

    def open_session():
        opened.append(psycopg.connect(dbname=database, autocommit=True))
        return opened[-1]

    yield open_session
    for session in opened:
        session.close()


@pytest.fixture
def session(connect):
    """A new session, whose backend has not invoked anything yet."""
    return connect()


@pytest.fixture
def start():
    """Starts servers for the test, as `own_server` does, and stops them after it."""
    with contextlib.ExitStack() as servers:
        yield lambda *settings, **options: servers.enter_context(own_server(*settings, **options))


@pytest.fixture
def scripts():
    """A directory with the extensions' scripts, for the setting `extension_control_path` of a test's server. A test may add files."""
    with psycopg.connect() as session:
        if session.info.server_version < 180000:
            pytest.skip("needs extension_control_path, of PostgreSQL 18")
    root = pathlib.Path(__file__).resolve().parent.parent.parent
    # In /tmp, to which the server's user has access.
    with tempfile.TemporaryDirectory(prefix="aws_lambda_fdw.", dir="/tmp") as directory:
        os.chmod(directory, 0o755)
        scripts = pathlib.Path(directory, "extension")
        scripts.mkdir()
        for file in [*root.glob("*.control"), *root.glob("sql/*.sql")]:
            shutil.copy(file, scripts)
        yield scripts


@pytest.fixture
def endpoint():
    """The scripted endpoint after a reset."""
    scripted.reset()
    return scripted


@pytest.fixture(scope="session")
def emulator():
    """The emulator, called with its administrator's key."""
    return Emulator(
        os.environ["EMULATOR_URL"],
        os.environ["EMULATOR_ACCESS_KEY_ID"],
        os.environ["EMULATOR_SECRET_ACCESS_KEY"],
    )


@pytest.fixture(scope="session")
def emulated():
    """A server beside an emulator with the functions of examples/functions, as `make psql` gives it."""
    with emulated_server() as server:
        yield server
