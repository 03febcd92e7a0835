"""No secret is shown to any client or in the log, with every kind of error and at every log level.

PostgreSQL itself does log the text of a failed statement, CREATE USER MAPPING included (log_min_error_statement). Errors with real
signatures are in test_signatures.py.
"""

import contextlib
import json
import os
import pathlib
import subprocess

import psycopg
import pytest

import tables
from background import pid_of, running
from listeners import listener, respond, response
from own_server import connect, own_server
from scripted import EXAMPLE_KEYS, URL
from tables import failure

SECRET, TOKEN = "SecretThatNobodyMaySee0123456789", "TokenThatNobodyMaySee0123456789"
KEYS = {"access_key_id": "AKIDSEEN", "secret_access_key": SECRET, "session_token": TOKEN}
MACHINES = "MachineSecretThatNobodyMaySee"
PROCESS = "ProcessSecretThatNobodyMaySee"
# For statements that have secrets in them.
QUIET = """
    SET log_min_duration_statement = -1; SET log_min_messages = fatal;
    SET debug_print_parse = off; SET debug_print_rewritten = off; SET debug_print_plan = off
"""
# Keys that the endpoint accepts, for errors of invocations.
KNOWN = EXAMPLE_KEYS
SECRETS = [SECRET, TOKEN, MACHINES, PROCESS, KNOWN["secret_access_key"]]
NOWHERE = {"endpoint_url": "http://127.0.0.1:1", "max_retries": "0"}
# Sources of credentials are asked once.
ONE_ATTEMPT = {"AWS_MAX_ATTEMPTS": "1"}
CONFIG = f"""
[profile token]
aws_access_key_id = AKIDMACHINE
aws_secret_access_key = {MACHINES}
aws_session_token = {MACHINES}Token
"""
VERBOSE_LOGGING = [
    "log_error_verbosity = verbose", "log_min_duration_statement = 0", "debug_print_parse = on",
    "debug_print_rewritten = on", "debug_print_plan = on", "log_parser_stats = on", "log_executor_stats = on",
    # log_min_messages is set later, because a server that starts with debug3 logs its environment.
    # Statements that create user mappings contain secrets.
    "log_min_error_statement = panic",
]  # fmt: skip


@pytest.fixture(scope="module")
def server():
    machine = {"AWS_ACCESS_KEY_ID": "AKIDMACHINE", "AWS_SECRET_ACCESS_KEY": MACHINES}
    environment = {**ONE_ATTEMPT, "RUST_LOG": "trace", "RUST_BACKTRACE": "full", "AWS_LOG_LEVEL": "trace"}
    with own_server(*VERBOSE_LOGGING, keys=machine, **environment) as server:
        configure(server, CONFIG)
        with contextlib.closing(connect(server)) as session:
            session.execute(QUIET)
            for name, where in {
                "here": {},
                "nowhere": NOWHERE,
                "assumes": {"sts_endpoint_url": "http://127.0.0.1:1", "role_arn": "arn:aws:iam::123456789012:role/r"},
                "assumes_here": {"sts_endpoint_url": URL, "role_arn": "arn:aws:iam::123456789012:role/r"},
            }.items():
                tables.create_server(session, name, **where)
                tables.create_mapping(session, name, "postgres", **KEYS)
            known = {"sts_endpoint_url": URL, "role_arn": "arn:aws:iam::123456789012:role/r", **NOWHERE}
            for name, where, mapping in (("known", {}, KNOWN), ("assumed", known, KNOWN)):
                tables.create_server(session, name, **where)
                tables.create_mapping(session, name, "postgres", **mapping)
            for name, where in {
                "machines": {},
                "machines_token": {"profile": "token", **NOWHERE},
                "process": {"profile": "process"},
                "line": {"profile": "line"},
            }.items():
                tables.create_server(session, name, **where)
            session.execute(
                "CREATE FOREIGN TABLE as_row (payload text, error_code text, error_message text, request_id text)"
                " SERVER nowhere OPTIONS (function_name 'f', on_error 'return')"
            )
            session.execute("ALTER DATABASE postgres SET log_min_messages = debug5")
        yield server


def configure(server, text):
    """Writes the machine's AWS configuration."""
    file = pathlib.Path(server.socket_dir, "no-aws-config")
    file.write_text(text)
    file.chmod(0o644)


def log_of(server, since=0):
    """The server's log from an offset on."""
    return pathlib.Path(server.log).read_bytes()[since:].decode(errors="replace")


@pytest.fixture
def shown(server):
    """Runs statements, and keeps all messages to the client."""
    with contextlib.closing(connect(server)) as session:
        said, since = [], os.path.getsize(server.log)
        session.add_notice_handler(lambda diag: said.append(fields(diag)))
        session.execute("SET client_min_messages = debug5")

        def run(statement):
            try:
                cursor = session.execute(statement)
                said.append(str(cursor.fetchall() if cursor.description else ""))
            except psycopg.Error as error:
                said.append(fields(error.diag) + str(error))
            return said[-1]

        run.session, run.said, run.log = session, said, lambda: log_of(server, since)
        yield run
        log = run.log()
        assert f"[{pid_of(session)}] DEBUG:" in log and len(said) > 2
        for secret in SECRETS:
            assert secret not in log
            assert not [text for text in said if secret in text]


def fields(diag):
    names = (name for name in dir(diag) if not name.startswith("_") and name != "encoding")
    return "\n".join(f"{name}: {getattr(diag, name)}" for name in names)


def ask(table, function, payload="1"):
    return f"SELECT * FROM {table} WHERE function_name = '{function}' AND payload = '{payload}'"


def test_errors_of_every_kind(shown, endpoint):
    for table in ("here", "nowhere", "assumes", "assumes_here", "machines"):
        for function in ("echo", "a b", "nosuchfunction"):
            assert "could not invoke" in shown(ask(table, function)) or function == "a b"
        shown(f"INSERT INTO {table} (function_name, payload) VALUES ('echo', '1')")
        for options in ("VERBOSE", "ANALYZE, VERBOSE, SETTINGS, BUFFERS, FORMAT JSON"):
            shown(f"EXPLAIN ({options}) {ask(table, 'echo')}")
    shown("SELECT * FROM pg_stat_activity")
    shown("SELECT * FROM pg_settings WHERE name LIKE 'aws%'")
    shown("SELECT * FROM pg_foreign_server, pg_foreign_table")


# Responses that contain a part of the request.
ECHOES = {
    "message": lambda text: (403, [], json.dumps({"__type": "AccessDeniedException", "message": text})),
    "second line": lambda text: (403, [], json.dumps({"__type": "SignatureException", "message": f"no\n\n{text}"})),
    "code": lambda text: (403, [f"x-amzn-ErrorType: {text}"], "{}"),
    "request id": lambda text: (500, [f"x-amzn-RequestId: {text}", "x-amzn-ErrorType: ServiceException"], "{}"),
    "text": lambda text: (502, ["Content-Type: text/html"], text),
    "function error": lambda text: (200, [f"X-Amz-Function-Error: {text}"], "{}"),
    "failure's id": lambda text: (200, [f"x-amzn-RequestId: {text}", "X-Amz-Function-Error: Unhandled"], "{}"),
    "throttle": lambda text: (400, ["x-amzn-ErrorType: ThrottlingException"], json.dumps({"message": text})),
}


@pytest.mark.parametrize("answer", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("secret", [SECRET, TOKEN])
def test_secret_in_a_response(shown, endpoint, answer, secret):
    """Lambda's response to a wrong signature contains the session token."""
    status, headers, body = answer(f"you sent {secret} here")

    # The listener closes the connection, so the second request comes on another one.
    with listener(respond(f"{status} No", body, *headers, "Connection: close")) as (port, accepted):
        shown.session.execute(f"ALTER SERVER nowhere OPTIONS (SET endpoint_url 'http://127.0.0.1:{port}')")
        said = shown(ask("nowhere", "echo"))
        shown("SELECT * FROM as_row WHERE payload = '1'")
        assert ("could not invoke" in said or "invocation failed" in said) and len(accepted) == 2


def sent(head, name):
    """A header of the request, or the signature in one."""
    for line in head.split("\r\n"):
        key, _, value = line.partition(":")
        if key.lower() == name:
            return value.strip()
        if name == "signature" and key.lower() == "authorization":
            return value.rpartition("Signature=")[2]


@pytest.mark.parametrize("answer", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("header", ["authorization", "signature", "x-amz-security-token"])
@pytest.mark.parametrize("table", ["nowhere", "assumed", "machines_token"])
def test_request_header_in_a_response(shown, endpoint, answer, header, table):
    """Neither the signature nor the token of a mapping, an assumed role or the machine is shown."""
    seen = []

    def handle(connection):
        head = connection.recv(65536).decode("latin-1")
        seen.append({name: sent(head, name) for name in ("signature", "x-amz-security-token")})
        status, headers, body = answer(f"{sent(head, header)} was {header}")
        connection.sendall(response(f"{status} No", body, *headers))

    with listener(handle) as (port, _):
        shown.session.execute(f"ALTER SERVER {table} OPTIONS (SET endpoint_url 'http://127.0.0.1:{port}')")
        said = shown(ask(table, "echo"))
        assert "could not invoke" in said or "invocation failed" in said
    assert seen and all(secret for request in seen for secret in request.values())
    log = shown.log()
    for secret in {secret for request in seen for secret in request.values()}:
        assert secret not in log
        assert not [text for text in shown.said if secret in text]


@pytest.mark.parametrize("length", range(150, 215, 4))
def test_secret_where_a_message_is_cut(shown, length):
    """Messages are truncated. A part of a secret is a secret too."""
    body = json.dumps({"message": "x" * length + SECRET + TOKEN})
    with listener(respond("403 No", body, "x-amzn-ErrorType: AccessDeniedException")) as (port, _):
        shown.session.execute(f"ALTER SERVER nowhere OPTIONS (SET endpoint_url 'http://127.0.0.1:{port}')")
        said = shown(ask("nowhere", "echo"))
        shown("SELECT * FROM as_row WHERE payload = '1'")
    assert "could not invoke" in said
    for secret in (SECRET, TOKEN):
        assert not [text for text in shown.said if secret[:8] in text]


def test_secret_in_an_sts_response(shown):
    error = f"<Error><Code>AccessDenied</Code><Message>{TOKEN} {SECRET}</Message></Error>"
    with listener(respond("403 No", f"<ErrorResponse>{error}</ErrorResponse>")) as (port, accepted):
        shown.session.execute(f"ALTER SERVER assumes OPTIONS (SET sts_endpoint_url 'http://127.0.0.1:{port}')")
        assert "AssumeRole returned 'AccessDenied: *** ***'" in shown(ask("assumes", "echo"))
        assert accepted


@pytest.mark.parametrize("header", ["signature", "x-amz-security-token"])
def test_request_header_in_an_sts_response(shown, header):
    seen = []

    def handle(connection):
        seen.append(sent(connection.recv(65536).decode("latin-1"), header))
        error = f"<Error><Code>IncompleteSignature</Code><Message>{seen[-1]}</Message></Error>"
        connection.sendall(response("403 No", f"<ErrorResponse>{error}</ErrorResponse>"))

    with listener(handle) as (port, _):
        shown.session.execute(f"ALTER SERVER assumes OPTIONS (SET sts_endpoint_url 'http://127.0.0.1:{port}')")
        said = shown(ask("assumes", "echo")) + shown("SELECT 1")
    assert seen and "IncompleteSignature" in said
    assert not [secret for secret in seen if secret in said or secret in shown.log()]


@pytest.mark.parametrize("answer", [
    "<AssumeRoleResponse><AssumeRoleResult><Credentials><SecretAccessKey>{0}</SecretAccessKey></Credentials>",
    "<AssumeRoleResponse><AssumeRoleResult><Credentials><SecretAccessKey>{0}</SecretAccessKey></Credentials>"
    "</AssumeRoleResult></AssumeRoleResponse>",
    "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>A</AccessKeyId>"
    "<SecretAccessKey>{0}</SecretAccessKey><SessionToken>{0}</SessionToken><Expiration>{0}</Expiration></Credentials>"
    "</AssumeRoleResult></AssumeRoleResponse>",
    "<{0}>",
    "{0}",
    '{{"SecretAccessKey": "{0}"}}',
], ids=["cut", "incomplete", "no date", "tag", "text", "json"])  # fmt: skip
def test_malformed_sts_response(shown, answer):
    """A malformed response may contain keys."""
    with listener(respond("200 OK", answer.format(PROCESS))) as (port, accepted):
        shown.session.execute(f"ALTER SERVER assumes OPTIONS (SET sts_endpoint_url 'http://127.0.0.1:{port}')")
        assert "sqlstate: 28000" in shown(ask("assumes", "echo"))
        assert accepted
        shown("SELECT 1")


KEYS_OF_PROCESS = f'"AccessKeyId": "A", "SecretAccessKey": "{PROCESS}"'
PROCESSES = {
    "stderr": f"echo {PROCESS} >&2; exit 1",
    "both": f"echo {PROCESS} >&2; echo {PROCESS}; exit 1",
    "text": f"echo {PROCESS}",
    "cut": f"""echo '{{"SecretAccessKey": "{PROCESS}"'""",
    "bad escape": f"""echo '{{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "{PROCESS}\\q"}}'""",
    "wrong type": f"""echo '{{"Version": 1, "AccessKeyId": 5, "SecretAccessKey": "{PROCESS}"}}'""",
    "version": f"""echo '{{"Version": "{PROCESS}", {KEYS_OF_PROCESS}}}'""",
    "expiration": f"""echo '{{"Version": 1, {KEYS_OF_PROCESS}, "Expiration": "{PROCESS}"}}'""",
}


@pytest.mark.parametrize("script", PROCESSES.values(), ids=PROCESSES)
def test_secret_in_the_output_of_a_process(server, shown, script):
    """The output and the errors of a credential_process are not shown."""
    process = os.path.join(server.socket_dir, "tells")
    pathlib.Path(process).write_text(f"#!/bin/sh\n{script}\n")
    os.chmod(process, 0o755)
    # Its arguments may contain a password.
    configure(server, f"{CONFIG}[profile process]\ncredential_process = {process} --password {PROCESS}\n")
    assert "sqlstate: 28000" in shown(ask("process", "echo"))
    shown(f"EXPLAIN {ask('process', 'echo')}")


@pytest.mark.parametrize("lines", [
    "aws_secret_access_key {0}",
    "aws_secret_access_key = {0}",
    "aws_access_key_id = A\naws_secret_access_key {0}",
    "= {0}",
    "credential_process = /nothing/here {0}",
    "aws_access_key_id = A\n  {0}",
])  # fmt: skip
def test_malformed_profile(server, shown, lines):
    """A malformed line may contain a key."""
    configure(server, f"[profile line]\n{lines.format(PROCESS)}\n")
    try:
        assert "ERROR" in shown(ask("line", "echo"))
        shown(f"EXPLAIN (VERBOSE) {ask('line', 'echo')}")
    finally:
        configure(server, CONFIG)


CONTAINERS = {
    "text": (200, PROCESS),
    "cut": (200, f'{{"SecretAccessKey": "{PROCESS}"'),
    "incomplete": (200, f'{{"SecretAccessKey": "{PROCESS}", "Token": "{PROCESS}"}}'),
    "no date": (200, f'{{{KEYS_OF_PROCESS}, "Token": "{PROCESS}", "Expiration": "{PROCESS}"}}'),
    "refusal": (403, json.dumps({"Code": "No", "Message": f"no {MACHINES}Authorization"})),
    "code": (200, json.dumps({"Code": f"{MACHINES}Authorization", "Message": f"{MACHINES}Authorization"})),
}


@pytest.fixture(scope="module")
def contained():
    """A server in a container. Its credentials endpoint and STS send the first of `answers`."""
    answers = []

    def handle(connection):
        connection.recv(65536)
        status, body = answers[0]
        connection.sendall(response(f"{status} So", body))

    with listener(handle) as (port, accepted):
        environment = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": f"{MACHINES}Authorization",
            "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{port}",
            **ONE_ATTEMPT,
        }
        with own_server(*VERBOSE_LOGGING, keys={}, **environment) as server:
            with contextlib.closing(connect(server)) as session:
                tables.create_server(session, "contained")
                tables.create_server(session, "web", profile="web")
                session.execute("ALTER DATABASE postgres SET log_min_messages = debug5")
            yield server, answers, accepted


@pytest.mark.parametrize("answer", CONTAINERS.values(), ids=CONTAINERS)
def test_secret_in_a_response_of_a_container(contained, answer):
    """The request has a token, and the response has keys."""
    server, answers, accepted = contained
    answers[:] = [answer]
    before, since = len(accepted), os.path.getsize(server.log)
    with contextlib.closing(connect(server)) as session:
        error = failure(session.execute, ask("contained", "echo"))
    assert error.sqlstate == "28000" and len(accepted) > before
    for secret in (PROCESS, MACHINES):
        assert secret not in fields(error.diag)
        assert secret not in log_of(server, since)


def test_web_identity_token_in_an_sts_response(contained):
    """STS gets the token of a file, and may send it back."""
    server, answers, accepted = contained
    token = pathlib.Path(server.socket_dir, "token")
    token.write_text(f"{PROCESS}.token")
    token.chmod(0o644)
    role = "role_arn = arn:aws:iam::123456789012:role/r"
    configure(server, f"[profile web]\n{role}\nweb_identity_token_file = {token}\nregion = us-east-1\n")
    error = f"<Error><Code>InvalidIdentityToken</Code><Message>no {PROCESS}.token</Message></Error>"
    answers[:] = [(400, f"<ErrorResponse>{error}</ErrorResponse>")]
    before, since = len(accepted), os.path.getsize(server.log)
    with contextlib.closing(connect(server)) as session:
        error = failure(session.execute, ask("web", "echo"))
    assert error.sqlstate == "28000" and len(accepted) > before
    assert PROCESS not in fields(error.diag) and PROCESS not in log_of(server, since)


@pytest.mark.parametrize("function", [
    "unhandled", "html", "reset-after", "garbage", "throttle", "plain-502", "huge-headers",
])  # fmt: skip
def test_errors_of_invocations(shown, endpoint, function):
    """Errors after the keys were accepted."""
    shown.session.execute("ALTER SERVER known OPTIONS (ADD max_retries '1')")
    for statement in (ask("known", function), f"INSERT INTO known (function_name, payload) VALUES ('{function}', '1')"):
        shown(statement)
        shown(f"EXPLAIN (ANALYZE, VERBOSE, SETTINGS, FORMAT JSON) {statement}")
    shown.session.execute("ALTER SERVER known OPTIONS (DROP max_retries)")
    assert endpoint.functions()


def test_invocations_that_are_interrupted(server, shown, endpoint):
    """By the time-outs of the statement and the request, while another session reads pg_stat_activity."""
    shown.session.execute("SET aws_lambda.request_timeout_ms = 100")
    assert "sqlstate: 08007" in shown(ask("known", "hang"))
    shown.session.execute("SET aws_lambda.request_timeout_ms = 60000; SET statement_timeout = 300")
    with running(shown.session, 2, shown, ask("known", "hang")), contextlib.closing(connect(server)) as other:
        seen = str(other.execute("SELECT * FROM pg_stat_activity").fetchall())
    assert "hang" in seen and "sqlstate: 57014" in shown.said[-1]
    assert not [secret for secret in SECRETS if secret in seen]


@pytest.mark.parametrize("statement", [
    f"CREATE USER MAPPING FOR PUBLIC SERVER here OPTIONS (access_key_id 'a', secret_access_key '{SECRET} ')",
    f"CREATE USER MAPPING FOR PUBLIC SERVER here OPTIONS (secret_access_key '{SECRET}')",
    f"CREATE USER MAPPING FOR PUBLIC SERVER here OPTIONS (access_key_id 'a', secret_acess_key '{SECRET}')",
    f"CREATE USER MAPPING FOR postgres SERVER here OPTIONS (access_key_id 'a', secret_access_key '{SECRET}')",
    f"ALTER USER MAPPING FOR postgres SERVER here OPTIONS (SET session_token '{TOKEN} ')",
    f"ALTER SERVER here OPTIONS (ADD secret_access_key '{SECRET}')",
    f"CREATE FOREIGN TABLE t (payload text) SERVER here OPTIONS (session_token '{TOKEN}')",
    f"CREATE FOREIGN TABLE t (payload text OPTIONS (session_token '{TOKEN}')) SERVER here",
    f"CREATE FOREIGN DATA WRAPPER w VALIDATOR aws_lambda.aws_lambda_fdw_validator OPTIONS (a '{SECRET}')",
    f"ALTER USER MAPPING FOR postgres SERVER here OPTIONS (ADD secret_access_key '{SECRET}')",
    f"ALTER USER MAPPING FOR postgres SERVER here OPTIONS (DROP access_key_id, SET secret_access_key '{SECRET}')",
    f"ALTER USER MAPPING FOR postgres SERVER here OPTIONS (SET secret_access_key '{SECRET}\n')",
    f"ALTER USER MAPPING FOR postgres SERVER here OPTIONS (SET secret_access_key '{SECRET * 300}')",
])  # fmt: skip
def test_a_mapping_that_is_refused(server, statement):
    """The message names the option and not its value. (PostgreSQL may log the statement.)"""
    with contextlib.closing(connect(server)) as session:
        said, since = [], os.path.getsize(server.log)
        session.add_notice_handler(lambda diag: said.append(fields(diag)))
        session.execute(QUIET)
        session.execute("SET log_min_messages = debug5; SET client_min_messages = debug5")
        error = failure(session.execute, statement)
        assert error.sqlstate in ("22023", "HV00J", "HV00D", "42710")
        for secret in SECRETS:
            assert secret not in fields(error.diag)
            assert not [text for text in said if secret in text]
            assert secret not in log_of(server, since)


# Dumps


def dump(server, role, *arguments):
    """The output and the errors of pg_dump."""
    where = ["-h", server.socket_dir, "-p", "5432", "-U", role, "-d", "postgres"]
    run = subprocess.run(["pg_dump", *where, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return run.returncode, run.stdout, run.stderr


@pytest.fixture
def dumped(server):
    """A server with another role's mapping and a foreign table, and a mapping for the extension's server."""
    with contextlib.closing(connect(server)) as session:
        session.execute(QUIET)
        session.execute("CREATE ROLE reader LOGIN; CREATE ROLE owner LOGIN; CREATE SCHEMA d AUTHORIZATION owner")
        tables.create_mapping(session, "aws_lambda", "postgres", **tables.keys("AKIDEXTENSION", PROCESS))
        tables.create_mapping(session, "here", "owner", **tables.keys("AKIDOWNER", SECRET))
        yield server
        session.execute("DROP USER MAPPING FOR postgres SERVER aws_lambda; DROP USER MAPPING FOR owner SERVER here")
        session.execute("DROP OWNED BY reader, owner CASCADE; DROP ROLE reader, owner")


def test_a_superusers_dump(dumped):
    """It contains the mappings of servers, as docs/operations.md says, but not those of the extension's server."""
    status, dumped_sql, _ = dump(dumped, "postgres")
    assert status == 0
    assert f"secret_access_key '{SECRET}'" in dumped_sql and "CREATE USER MAPPING FOR owner SERVER here" in dumped_sql
    assert PROCESS not in dumped_sql and "SERVER aws_lambda" not in dumped_sql


@pytest.mark.parametrize("role", ["reader", "owner"])
def test_a_dump_of_another_role(dumped, endpoint, role):
    """It contains the mappings without keys, even the role's own if it lacks USAGE on the server."""
    status, written, complaint = dump(dumped, role)
    assert status == 0 and "CREATE USER MAPPING FOR owner SERVER here" in written
    assert not [secret for secret in SECRETS if secret in written + complaint]
    assert endpoint.counter("connections") == 0


def test_a_dump_with_foreign_data(dumped, endpoint):
    """pg_dump reads without clauses, which invokes nothing."""
    status, _, complaint = dump(dumped, "postgres", "--include-foreign-data=known", "--data-only", "-t", "known")
    assert status != 0 and "no value for column" in complaint
    assert endpoint.counter("invocations") == 0
