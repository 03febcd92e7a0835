"""Settings of ALTER DATABASE and ALTER ROLE, in sessions that have not loaded the library yet.

PostgreSQL lets an ordinary role set only known settings there. docs/configuration.md says what a database's owner can do.
"""

import psycopg
import pytest
from psycopg import errors

REGION = "SELECT payload->>'region' FROM aws_lambda.invoke('describe', '{}'::jsonb)"


@pytest.fixture
def server(start):
    """A server with a database whose owner is an ordinary role that may call functions."""
    server = start()
    with connect(server, "postgres", "postgres") as session:
        session.execute("CREATE ROLE owner LOGIN")
        session.execute("CREATE DATABASE owned OWNER owner")
    with connect(server, "postgres") as session:
        session.execute("CREATE EXTENSION aws_lambda CASCADE")
        session.execute("GRANT USAGE ON SCHEMA aws_lambda TO owner")
        session.execute("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA aws_lambda TO owner")
    return server


def connect(server, user, database="owned"):
    return psycopg.connect(host=server.socket_dir, port=5432, user=user, dbname=database, autocommit=True)


def region(server):
    with connect(server, "owner") as session:
        return session.execute(REGION).fetchone()[0]


def keep(session, region):
    session.execute(f"ALTER DATABASE owned SET aws_lambda.region = '{region}'")


def test_owner_of_a_database_after_a_call(server):
    with connect(server, "owner") as session:
        # PostgreSQL 14 has no privileges on settings, and another message.
        with pytest.raises((errors.InsufficientPrivilege, errors.UndefinedObject)):
            keep(session, "eu-west-1")
        session.execute(f"EXPLAIN {REGION}")
        keep(session, "eu-west-1")
    assert region(server) == "eu-west-1"


def test_a_function_of_an_ordinary_role_after_a_call(server):
    with connect(server, "owner") as session:
        session.execute("CREATE FUNCTION tries_once() RETURNS int LANGUAGE sql AS 'SELECT 1'")
        keep_once = "ALTER FUNCTION tries_once() SET aws_lambda.max_retries = 0"
        with pytest.raises((errors.InsufficientPrivilege, errors.UndefinedObject)):
            session.execute(keep_once)
        session.execute(f"EXPLAIN {REGION}")
        session.execute(keep_once)


def test_owner_of_a_database_with_the_library_preloaded(server):
    with connect(server, "postgres") as session:
        session.execute("ALTER DATABASE owned SET session_preload_libraries = 'aws_lambda_fdw'")
    with connect(server, "owner") as session:
        keep(session, "eu-west-1")
        with pytest.raises(errors.InvalidParameterValue, match="eu west 1"):
            keep(session, "eu west 1")
    assert region(server) == "eu-west-1"


def test_superuser(server):
    with connect(server, "postgres") as session:
        keep(session, "eu-west-1")
    assert region(server) == "eu-west-1"


def test_a_region_that_is_none(server, endpoint):
    with connect(server, "postgres") as session:
        keep(session, "eu west 1")
    with connect(server, "owner") as session:
        for _ in range(2):
            with pytest.raises(errors.InvalidParameterValue, match="eu west 1") as error:
                session.execute(REGION)
            assert "No function was invoked." in error.value.diag.message_detail
        assert endpoint.counter("invocations") == 0
        session.execute("SET aws_lambda.region = 'eu-west-2'")
        assert session.execute(REGION).fetchone() == ("eu-west-2",)
    # A superuser can still connect, and correct it.
    with connect(server, "postgres") as session:
        session.execute("ALTER DATABASE owned SET session_preload_libraries = 'aws_lambda_fdw'")
    with connect(server, "postgres") as session:
        keep(session, "eu-west-1")
    assert region(server) == "eu-west-1"
