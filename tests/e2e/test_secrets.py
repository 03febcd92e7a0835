"""No secret is shown: whatever fails, whoever listens, and however much the server logs.

The one who does show them is PostgreSQL, which logs the text of a statement that fails, CREATE USER MAPPING included; see
log_min_error_statement. Errors with real signatures are in test_signatures.py.
"""

import contextlib
import json
import os
import pathlib
import stat

import psycopg
import pytest

import tables
from background import pid_of
from listeners import listener
from own_server import connect, own_server
from scripted import URL, wait_for_invocations
from tables import failure

SECRET, TOKEN = "SecretThatNobodyMaySee0123456789", "TokenThatNobodyMaySee0123456789"
KEYS = {"access_key_id": "AKIDSEEN", "secret_access_key": SECRET, "session_token": TOKEN}
MACHINES = "MachineSecretThatNobodyMaySee"
PROCESS = "ProcessSecretThatNobodyMaySee"
SECRETS = [SECRET, TOKEN, MACHINES, PROCESS]
TALKATIVE = [
    "log_error_verbosity = verbose", "log_min_duration_statement = 0", "debug_print_parse = on",
    "debug_print_rewritten = on", "debug_print_plan = on", "log_parser_stats = on", "log_executor_stats = on",
    # log_min_messages comes later: a server that starts with debug3 logs its whole environment.
    # The statements of this test that make user mappings have secrets in them.
    "log_min_error_statement = panic",
]  # fmt: skip


@pytest.fixture(scope="module")
def server():
    machine = {"AWS_ACCESS_KEY_ID": "AKIDMACHINE", "AWS_SECRET_ACCESS_KEY": MACHINES}
    with own_server(*TALKATIVE, keys=machine, RUST_LOG="trace", RUST_BACKTRACE="full", AWS_LOG_LEVEL="trace") as server:
        with contextlib.closing(connect(server)) as session:
            session.execute("SET log_min_duration_statement = -1; SET log_min_messages = fatal")
            session.execute("SET debug_print_parse = off; SET debug_print_rewritten = off; SET debug_print_plan = off")
            for name, where in {
                "here": {},
                "nowhere": {"endpoint_url": "http://127.0.0.1:1", "max_retries": "0"},
                "assumes": {"sts_endpoint_url": "http://127.0.0.1:1", "role_arn": "arn:aws:iam::123456789012:role/r"},
                "assumes_here": {"sts_endpoint_url": URL, "role_arn": "arn:aws:iam::123456789012:role/r"},
            }.items():
                tables.create_server(session, name, **where)
                tables.create_mapping(session, name, "postgres", **KEYS)
            for name, where in {"machines": {}, "process": {"profile": "process"}}.items():
                tables.create_server(session, name, **where)
            session.execute(
                "CREATE FOREIGN TABLE as_row (payload text, error_code text, error_message text, request_id text)"
                " SERVER nowhere OPTIONS (function_name 'f', on_error 'return')"
            )
            session.execute("ALTER DATABASE postgres SET log_min_messages = debug5")
        yield server


@pytest.fixture
def shown(server):
    """Runs statements, and keeps all that a client can see of them."""
    with contextlib.closing(connect(server)) as session:
        said = []
        session.add_notice_handler(lambda diag: said.append(fields(diag)))
        session.execute("SET client_min_messages = debug5")

        def run(statement):
            try:
                cursor = session.execute(statement)
                said.append(str(cursor.fetchall() if cursor.description else ""))
            except psycopg.Error as error:
                said.append(fields(error.diag) + str(error))
            return said[-1]

        run.session, run.said = session, said
        yield run
        log = pathlib.Path(server.log).read_text(errors="replace")
        assert f"[{pid_of(session)}] DEBUG:" in log and len(said) > 2
        for secret in SECRETS:
            assert secret not in log
            assert not [text for text in said if secret in text]


def fields(diag):
    names = (name for name in dir(diag) if not name.startswith("_") and name != "encoding")
    return "\n".join(f"{name}: {getattr(diag, name)}" for name in names)


def ask(table, function, payload="1"):
    return f"SELECT * FROM {table} WHERE function_name = '{function}' AND payload = '{payload}'"


def test_whatever_fails(shown, endpoint):
    for table in ("here", "nowhere", "assumes", "assumes_here", "machines"):
        for function in ("echo", "a b", "nosuchfunction"):
            assert "invoke API failed" in shown(ask(table, function)) or function == "a b"
        shown(f"INSERT INTO {table} (function_name, payload) VALUES ('echo', '1')")
        for options in ("VERBOSE", "ANALYZE, VERBOSE, SETTINGS, BUFFERS, FORMAT JSON"):
            shown(f"EXPLAIN ({options}) {ask(table, 'echo')}")
    shown("SELECT * FROM pg_stat_activity")
    shown("SELECT * FROM pg_settings WHERE name LIKE 'aws%'")
    shown("SELECT * FROM pg_foreign_server, pg_foreign_table")


# How an endpoint that is not Lambda's could make us show what we have sent it.
ECHOES = {
    "message": lambda text: (403, [], json.dumps({"__type": "AccessDeniedException", "message": text})),
    "second line": lambda text: (403, [], json.dumps({"__type": "InvalidSignatureException", "message": f"no\n\n{text}"})),
    "code": lambda text: (403, [f"x-amzn-ErrorType: {text}"], "{}"),
    "request id": lambda text: (500, [f"x-amzn-RequestId: {text}", "x-amzn-ErrorType: ServiceException"], "{}"),
    "text": lambda text: (502, ["Content-Type: text/html"], text),
    "throttle": lambda text: (400, ["x-amzn-ErrorType: ThrottlingException"], json.dumps({"message": text})),
}


@pytest.mark.parametrize("answer", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("secret", [SECRET, TOKEN])
def test_an_endpoint_that_tells(shown, endpoint, answer, secret):
    """Lambda's own answer to a wrong signature has the session token in it."""
    status, headers, body = answer(f"you sent {secret} here")

    def talk(connection):
        connection.recv(65536)
        head = "".join(f"{header}\r\n" for header in headers)
        connection.sendall(f"HTTP/1.1 {status} No\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())

    with listener(talk) as (port, accepted):
        shown.session.execute(f"ALTER SERVER nowhere OPTIONS (SET endpoint_url 'http://127.0.0.1:{port}')")
        said = shown(ask("nowhere", "echo"))
        shown("SELECT * FROM as_row WHERE payload = '1'")
        assert "invoke API failed" in said and len(accepted) == 2


def test_an_sts_that_tells(shown):
    def talk(connection):
        connection.recv(65536)
        body = f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{TOKEN} {SECRET}</Message></Error></ErrorResponse>"
        connection.sendall(f"HTTP/1.1 403 No\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    with listener(talk) as (port, accepted):
        shown.session.execute(f"ALTER SERVER assumes OPTIONS (SET sts_endpoint_url 'http://127.0.0.1:{port}')")
        assert "AssumeRole returned 'AccessDenied: *** ***'" in shown(ask("assumes", "echo"))
        assert accepted


def test_a_process_that_tells(server, shown):
    """What a credential_process writes to its standard error, and what it returns."""
    directory = server.socket_dir
    process = os.path.join(directory, "tells")
    with open(process, "w") as file:
        file.write(f"#!/bin/sh\necho {PROCESS} >&2\necho '{{\"SecretAccessKey\": \"{PROCESS}\"'\nexit 1\n")
    os.chmod(process, stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO)
    config = os.path.join(directory, "no-aws-config")
    with open(config, "w") as file:
        file.write(f"[profile process]\ncredential_process = {process}\n")
    os.chmod(config, 0o644)
    assert "28000" in shown(ask("process", "echo"))
    with open(process, "w") as file:
        file.write(f"#!/bin/sh\necho '{{\"Version\": 1, \"AccessKeyId\": 5, \"SecretAccessKey\": \"{PROCESS}\"}}'\n")
    assert "28000" in shown(ask("process", "echo"))


def test_a_cancelled_invocation(server, shown, endpoint):
    shown.session.execute("SET statement_timeout = '200ms'")
    known = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "wJalrXUtnFEMI+K7MDENG+bPxRfiCYEXAMPLEKEY"}
    with contextlib.closing(connect(server)) as session:
        session.execute("SET log_min_duration_statement = -1")
        tables.create_server(session, "hangs")
        tables.create_mapping(session, "hangs", "postgres", **known)
    assert "57014" in shown(ask("hangs", "hang"))
    wait_for_invocations(1)
    assert not [text for text in shown.said if known["secret_access_key"] in text]


@pytest.mark.parametrize("statement", [
    f"CREATE USER MAPPING FOR PUBLIC SERVER here OPTIONS (access_key_id 'a', secret_access_key '{SECRET} ')",
    f"CREATE USER MAPPING FOR PUBLIC SERVER here OPTIONS (secret_access_key '{SECRET}')",
    f"CREATE USER MAPPING FOR PUBLIC SERVER here OPTIONS (access_key_id 'a', secret_acess_key '{SECRET}')",
    f"CREATE USER MAPPING FOR postgres SERVER here OPTIONS (access_key_id 'a', secret_access_key '{SECRET}')",
    f"ALTER USER MAPPING FOR postgres SERVER here OPTIONS (SET session_token '{TOKEN} ')",
    f"ALTER SERVER here OPTIONS (ADD secret_access_key '{SECRET}')",
    f"CREATE FOREIGN TABLE t (payload text) SERVER here OPTIONS (session_token '{TOKEN}')",
])  # fmt: skip
def test_a_mapping_that_is_refused(server, statement):
    """Our message names the option and not its value. (The statement is PostgreSQL's to log or not.)"""
    with contextlib.closing(connect(server)) as session:
        session.execute("SET log_min_duration_statement = -1; SET debug_print_parse = off; SET debug_print_rewritten = off")
        error = failure(session.execute, statement)
        assert error.sqlstate in ("22023", "HV00J", "HV00D", "42710")
        for secret in SECRETS:
            assert secret not in fields(error.diag)
