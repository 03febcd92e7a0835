"""Tests that need their own server: shutdown, preloading the library, AWS profiles."""

import contextlib
import json
import os
import signal
import stat
import time

import psycopg
import pytest
from psycopg import sql

import scripted
import tables
from own_server import KEYS, connect

OTHER_KEYS = (scripted.OTHER_KEYS["access_key_id"], scripted.OTHER_KEYS["secret_access_key"])


def invoke(session, function):
    return session.execute("SELECT payload FROM aws_lambda.invoke(%s::text, '{}'::jsonb)", [function]).fetchone()[0]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["fast", "smart after the session is ended"])
def test_shutdown_does_not_wait_for_lambda(start, endpoint, how):
    server = start()
    # Closed at the end and not left as a context, which would commit.
    with contextlib.closing(connect(server)) as session:
        session.execute("SET aws_lambda.request_timeout_ms = 900000")
        pid = session.info.backend_pid
        # Sent without waiting for an answer, because none comes.
        session.pgconn.send_query(b"SELECT * FROM aws_lambda.invoke('hang'::text, '{}'::jsonb)")
        scripted.wait_for_invocations(1)
        began = time.monotonic()
        server.server.send_signal(how)
        if how == signal.SIGTERM:
            os.kill(pid, signal.SIGTERM)
        server.server.wait(timeout=10)
        took = time.monotonic() - began
    print(f"the server was gone after {took:.3f} s")
    assert took < 2
    assert server.server.returncode == 0
    assert scripted.counter("invocations") == 1


@pytest.mark.parametrize("setting", ["shared_preload_libraries", "session_preload_libraries"])
def test_preloaded(start, setting):
    with connect(start(f"{setting} = 'aws_lambda_fdw'")) as session:
        assert session.execute("SHOW aws_lambda.request_timeout_ms").fetchone() == ("3s",)
        assert invoke(session, "echo") == {}


def test_profile(start, endpoint):
    """A server's profile comes before the environment, with static keys and with a credential_process."""
    server = start()
    config = os.path.join(server.socket_dir, "no-aws-config")
    process = os.path.join(server.socket_dir, "credentials")
    with open(process, "w") as file:
        file.write(
            '#!/bin/sh\necho \'{"Version": 1, "AccessKeyId": "%s", "SecretAccessKey": "%s"}\'\n' % OTHER_KEYS
        )
    os.chmod(process, stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO)
    with open(config, "w") as file:
        file.write("[profile static]\naws_access_key_id = %s\naws_secret_access_key = %s\n" % OTHER_KEYS)
        file.write(f"[profile process]\ncredential_process = {process}\nregion = eu-west-1\n")
    os.chmod(config, 0o644)
    with connect(server) as session:
        assert invoke(session, "describe")["access_key"] == KEYS["AWS_ACCESS_KEY_ID"]
        for profile in ("static", "process"):
            session.execute(
                sql.SQL("CREATE SERVER {} FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (profile {})").format(
                    sql.Identifier(profile), sql.Literal(profile)
                )
            )
            session.execute(
                sql.SQL(
                    "CREATE FOREIGN TABLE {} (payload jsonb, response jsonb)"
                    " SERVER {} OPTIONS (function_name 'describe')"
                ).format(sql.Identifier("of_" + profile), sql.Identifier(profile))
            )
            response = session.execute(
                sql.SQL("SELECT response FROM {} WHERE payload = '{{}}'").format(sql.Identifier("of_" + profile))
            ).fetchone()[0]
            assert response["access_key"] == OTHER_KEYS[0]
        # Without another region, the profile's is used.
        session.execute("SET aws_lambda.region = ''")
        response = session.execute("SELECT response FROM of_process WHERE payload = '{}'").fetchone()[0]
        assert response["region"] == "eu-west-1"


@pytest.fixture
def eve():
    """Sessions of a role that may select from one table, in a server of the tests."""
    with contextlib.ExitStack() as sessions:

        def log_in(server, table):
            with connect(server) as session:
                session.execute(sql.SQL("CREATE ROLE eve LOGIN; GRANT SELECT ON {} TO eve").format(sql.Identifier(table)))
            session = psycopg.connect(
                host=server.socket_dir, port=5432, user="eve", dbname="postgres", autocommit=True
            )
            return sessions.enter_context(contextlib.closing(session))

        yield log_in


def invoke_with_time_outs(session, table):
    """Invokes with another time-out each time, as any role may. Returns the access keys."""
    found = set()
    for number in range(10):
        session.execute(f"SET aws_lambda.connect_timeout_ms = {3000 + number}")
        session.execute(f"SET aws_lambda.request_timeout_ms = {30000 + number}")
        found.add(json.loads(tables.invoke(session, table, "describe"))["access_key"])
    return found


def test_time_outs_start_no_process(start, endpoint, eve):
    """The process runs once, whatever time-outs a role sets."""
    server = start()
    process, runs = (os.path.join(server.socket_dir, name) for name in ("credentials", "runs"))
    with open(process, "w") as file:
        file.write(
            f"#!/bin/sh\necho run >> {runs}\n"
            'echo \'{"Version": 1, "AccessKeyId": "%s", "SecretAccessKey": "%s"}\'\n' % OTHER_KEYS
        )
    os.chmod(process, 0o755)
    with open(os.path.join(server.socket_dir, "no-aws-config"), "w") as file:
        file.write(f"[profile process]\ncredential_process = {process}\n")
    with connect(server) as session:
        tables.create_server(session, "by_process", profile="process")
    assert invoke_with_time_outs(eve(server, "by_process"), "by_process") == {OTHER_KEYS[0]}
    with open(runs) as file:
        assert file.read() == "run\n"
    assert endpoint.counter("invocations") == 10


def test_time_outs_assume_no_role(start, endpoint, eve):
    server = start()
    role = "arn:aws:iam::123456789012:role/invoker"
    with connect(server) as session:
        tables.create_server(session, "by_role", role_arn=role, sts_endpoint_url=scripted.URL)
    assert invoke_with_time_outs(eve(server, "by_role"), "by_role") == {"ASIAEXAMPLE"}
    assert endpoint.counter("assume_role") == 1


def test_other_encoding(start):
    """In a LATIN1 database payload and response are converted, and messages stay readable."""
    server = start()
    with connect(server) as session:
        session.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with psycopg.connect(host=server.socket_dir, port=5432, user="postgres", dbname="latin", autocommit=True) as session:
        session.execute("SET client_encoding = 'UTF8'")
        session.execute("CREATE EXTENSION aws_lambda CASCADE")
        for kind in ("json", "jsonb"):
            row = session.execute(
                f"SELECT payload->>'a' FROM aws_lambda.invoke('echo'::text, '{{\"a\": \"\u00e9\"}}'::{kind})"
            ).fetchone()
            assert row == ("\u00e9",)
        log = session.execute(
            "SELECT log FROM aws_lambda.lambda_invocations"
            " WHERE function_name = 'nul-log' AND payload = '1' AND log_type = 'Tail'"
        ).fetchone()[0]
        assert log.startswith("? the tail")
        with pytest.raises(psycopg.errors.InvalidParameterValue, match='invalid function_name: "\u00e9"'):
            session.execute("SELECT * FROM aws_lambda.invoke('\u00e9'::text, '{}'::json)")
