"""Rotated credentials: once the old ones are refused, the next statement uses the new ones.

The source of the credentials is asked once for a statement, however many of its invocations fail.
"""

import contextlib
import json
import re

import pytest

import scripted
import tables
from listeners import listener, response
from own_server import WHERE, connect, open_directory, own_server
from scripted import EXAMPLE_KEYS, OTHER_KEYS, invoke
from tables import failure

ROLE = "arn:aws:iam::123456789012:role/invoker"
FIRST = ("ASIAEXAMPLE", "sessionsecret", "example-session-token")
SECOND = ("ASIAOTHER", "othersessionsecret", "other-session-token")
CODES = ["ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException"]


def profile(keys):
    return "[default]\n" + "".join(f"aws_{name} = {value}\n" for name, value in keys.items())


def revoke(key, code="ExpiredTokenException"):
    scripted.revoke(key, code)


class Machine:
    """A server, and the sources of its credentials. `asked` has the requests to them."""

    def __init__(self, directory):
        self.port = None
        self.asked = []
        self.files = {name: directory / name for name in ("config", "credentials", "token", "process", "runs", "keys")}

    def forget(self):
        self.asked.clear()
        for file in self.files.values():
            file.unlink(missing_ok=True)

    def write(self, name, text):
        self.files[name].write_text(text)
        self.files[name].chmod(0o755)

    def handle(self, connection):
        """The credentials endpoint of a container, and STS. The keys depend on the request's token, or on the number of requests."""
        request = connection.recv(65536).decode("latin-1")
        self.asked.append(request)
        second = "second" in request if "first" in request or "second" in request else len(self.asked) > 1
        key, secret, token = SECOND if second else FIRST
        if request.startswith("GET"):
            body = json.dumps(
                {"AccessKeyId": key, "SecretAccessKey": secret, "Token": token, "Expiration": "2999-01-01T00:00:00Z"}
            )
        else:
            action = re.search(r"Action=(\w+)", request)[1]
            body = (
                f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>'
                f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>"
                f"<SessionToken>{token}</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials>"
                f"</{action}Result></{action}Response>"
            )
        connection.sendall(response("200 OK", body, "Connection: close"))


@pytest.fixture(scope="module")
def shared():
    with open_directory() as directory:
        machine = Machine(directory)
        with listener(machine.handle) as (machine.port, _), a_server(machine) as machine.server:
            yield machine


@pytest.fixture
def machine(shared):
    """The shared machine without files, for a test to write."""
    shared.forget()
    return shared


def a_server(machine, **environment):
    files = {"AWS_CONFIG_FILE": machine.files["config"], "AWS_SHARED_CREDENTIALS_FILE": machine.files["credentials"]}
    environment = {name: str(value) for name, value in {**files, **environment}.items()}
    return own_server(keys={}, where=[*WHERE, "aws_lambda.request_timeout_ms = 10000"], **environment)


@contextlib.contextmanager
def session_on(machine, **environment):
    """A session there, or on a server with these variables. Its objects are dropped at the end."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(a_server(machine, **environment)) if environment else machine.server
        session = stack.enter_context(contextlib.closing(connect(server)))
        yield session
        session.execute("DROP SERVER IF EXISTS assumes CASCADE")
        session.execute("DROP FOREIGN TABLE IF EXISTS many; DROP FUNCTION IF EXISTS call()")


def key_of(session):
    return invoke(session, "describe")["access_key"]


@pytest.mark.parametrize("code", CODES)
def test_keys_of_a_profile(machine, endpoint, code):
    machine.write("credentials", profile(EXAMPLE_KEYS))
    with session_on(machine) as session:
        assert key_of(session) == "AKIDEXAMPLE"
        revoke("AKIDEXAMPLE", code)
        machine.write("credentials", profile(OTHER_KEYS))
        error = failure(key_of, session)
        assert error.sqlstate == "28000" and code in error.diag.message_detail
        assert key_of(session) == "AKIDOTHER"
        # The first key was sent once more, and never again.
        assert (endpoint.counter("refused"), endpoint.counter("invocations")) == (1, 2)


def test_keys_of_a_profile_in_a_prepared_statement_and_a_transaction(machine, endpoint):
    machine.write("credentials", profile(EXAMPLE_KEYS))
    with session_on(machine) as session:
        session.execute("PREPARE call AS SELECT payload->>'access_key' FROM aws_lambda.invoke('describe'::text, '1'::json)")
        with session.transaction():
            assert session.execute("EXECUTE call").fetchone() == ("AKIDEXAMPLE",)
            revoke("AKIDEXAMPLE")
            machine.write("credentials", profile(OTHER_KEYS))
            with contextlib.suppress(Exception), session.transaction():
                session.execute("EXECUTE call")
            assert session.execute("EXECUTE call").fetchone() == ("AKIDOTHER",)


def process_of(machine):
    """A credential_process that counts its runs and prints the file `keys`."""
    machine.write("process", f"#!/bin/sh\necho run >> {machine.files['runs']}\ncat {machine.files['keys']}\n")
    machine.write("config", f"[default]\ncredential_process = {machine.files['process']}\n")


def say(machine, keys):
    machine.write(
        "keys",
        json.dumps({"Version": 1, "AccessKeyId": keys["access_key_id"], "SecretAccessKey": keys["secret_access_key"]}),
    )


def runs(machine):
    return len(machine.files["runs"].read_text().splitlines())


def test_keys_of_a_process(machine, endpoint):
    process_of(machine)
    say(machine, EXAMPLE_KEYS)
    with session_on(machine) as session:
        assert key_of(session) == "AKIDEXAMPLE"
        revoke("AKIDEXAMPLE")
        say(machine, OTHER_KEYS)
        assert failure(key_of, session).sqlstate == "28000"
        assert runs(machine) == 1
        assert key_of(session) == "AKIDOTHER"
        assert runs(machine) == 2


# A statement, and the number of requests for credentials.
STATEMENTS = {
    "a scan": "SELECT count(*) FROM many WHERE payload = ANY (SELECT i::text FROM generate_series(1, 40) i)",
    "scans": "SELECT sum(n) FROM (" + " UNION ALL ".join(f"SELECT count(*) AS n FROM many WHERE payload = '{i}'" for i in range(40)) + ") x",
    "calls": "SELECT count(error_code) FROM generate_series(1, 40) i, LATERAL (SELECT error_code FROM many WHERE payload = i::text OFFSET 0) x",
    "a select list": "SELECT count((SELECT error_code FROM many WHERE payload = i::text)) FROM generate_series(1, 40) i",
}  # fmt: skip


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
@pytest.mark.parametrize("how", ["refused", "failing"])
def test_a_statement_asks_once(machine, endpoint, statement, how):
    """However many rows fail, because the keys are refused or because there are none."""
    process_of(machine)
    say(machine, {**EXAMPLE_KEYS, "access_key_id": "AKIDNOBODY"})
    if how == "failing":
        machine.write("keys", "nothing")
    with session_on(machine) as session:
        session.execute(
            "CREATE FOREIGN TABLE many (payload text, error_code text) SERVER aws_lambda"
            " OPTIONS (function_name 'echo', on_error 'return')"
        )
        for number in (1, 2, 3):
            assert session.execute(statement).fetchone() == (40,)
            assert runs(machine) == number
        assert endpoint.counter("refused") == (120 if how == "refused" else 0)


def test_a_function_that_goes_on_asks_again(machine, endpoint):
    """Each query of the function counts as a statement."""
    process_of(machine)
    machine.write("keys", "nothing")
    with session_on(machine) as session:
        session.execute(
            "CREATE FUNCTION call() RETURNS text LANGUAGE plpgsql AS $$ BEGIN"
            " RETURN (SELECT payload->>'access_key' FROM aws_lambda.invoke('describe'::text, '1'::json));"
            " EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END $$"
        )
        said = session.execute("SELECT call() FROM generate_series(1, 3)").fetchall()
        assert said == [("28000",)] * 3 and runs(machine) == 3


def test_a_denial_asks_for_nothing(machine, endpoint):
    """AccessDenied does not mean that the credentials are wrong."""
    process_of(machine)
    say(machine, EXAMPLE_KEYS)
    with session_on(machine) as session:
        for status in (400, 403):
            error = failure(invoke, session, f"error-{status}-AccessDeniedException")
            assert error.sqlstate == "42501"
        assert key_of(session) == "AKIDEXAMPLE"
    assert runs(machine) == 1


def test_a_web_identity_token(machine, endpoint):
    machine.write("token", "first")
    environment = {
        "AWS_WEB_IDENTITY_TOKEN_FILE": machine.files["token"],
        "AWS_ROLE_ARN": ROLE,
        "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{machine.port}",
    }
    with session_on(machine, **environment) as session:
        assert [key_of(session), key_of(session)] == ["ASIAEXAMPLE"] * 2
        revoke("ASIAEXAMPLE")
        machine.write("token", "second")
        assert failure(key_of, session).sqlstate == "28000"
        assert [key_of(session), key_of(session)] == ["ASIAOTHER"] * 2
    assert len(machine.asked) == 2


def test_a_container_token(machine, endpoint):
    machine.write("token", "first")
    environment = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{machine.port}/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": machine.files["token"],
    }
    with session_on(machine, **environment) as session:
        assert [key_of(session), key_of(session)] == ["ASIAEXAMPLE"] * 2
        revoke("ASIAEXAMPLE")
        machine.write("token", "second")
        assert failure(key_of, session).sqlstate == "28000"
        assert [key_of(session), key_of(session)] == ["ASIAOTHER"] * 2
    assert len(machine.asked) == 2


@pytest.mark.parametrize("keys", ["mapping", "machine"])
def test_an_assumed_role(machine, endpoint, keys):
    """The session's keys are refused, so the role is assumed again, once."""
    machine.write("credentials", profile(EXAMPLE_KEYS))
    with session_on(machine) as session:
        tables.create_server(
            session, "assumes", role_arn=ROLE, sts_endpoint_url=f"http://127.0.0.1:{machine.port}"
        )
        if keys == "mapping":
            tables.create_mapping(session, "assumes", "postgres", **EXAMPLE_KEYS)

        def key():
            return json.loads(tables.invoke(session, "assumes", "describe"))["access_key"]

        assert [key(), key()] == ["ASIAEXAMPLE"] * 2
        revoke("ASIAEXAMPLE")
        assert failure(key).sqlstate == "28000"
        assert [key(), key()] == ["ASIAOTHER"] * 2
    assert len(machine.asked) == 2


def test_sts_refuses_the_keys_of_a_profile(machine, endpoint):
    """The next statement uses the profile's new keys."""
    machine.write("credentials", profile(EXAMPLE_KEYS))
    revoke("AKIDEXAMPLE")
    with session_on(machine) as session:
        tables.create_server(session, "assumes", role_arn=ROLE, sts_endpoint_url=scripted.URL)
        error = failure(tables.invoke, session, "assumes", "describe")
        assert error.sqlstate == "28000" and "AssumeRole returned 'ExpiredTokenException" in error.diag.message_detail
        machine.write("credentials", profile(OTHER_KEYS))
        assert json.loads(tables.invoke(session, "assumes", "describe"))["access_key"] == "ASIAEXAMPLE"
    assert (endpoint.counter("refused"), endpoint.counter("assume_role")) == (1, 1)


def test_keys_that_seem_to_have_expired(machine, endpoint):
    """Keys that are expired from the start, or by a skewed clock, are not requested for each invocation."""
    process_of(machine)
    keys = {"AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": EXAMPLE_KEYS["secret_access_key"]}
    machine.write("keys", json.dumps({"Version": 1, "Expiration": "2001-01-01T00:00:00Z", **keys}))
    with session_on(machine) as session:
        for _ in range(5):
            assert key_of(session) == "AKIDEXAMPLE"
    assert runs(machine) <= 2
