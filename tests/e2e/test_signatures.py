"""Credentials, checked by an emulator that verifies every signature and IAM policy."""

import os

import psycopg
import pytest
from botocore.exceptions import ClientError

from tables import create_emulator_table, execute, failure, invoke, keys, primary

ECHO = "def handler(event, context):\n    return event\n"
GARBAGE_TOKEN = "IQoJb3JpZ2luGarbageToken"


@pytest.fixture(scope="module")
def arns(emulator):
    """The ARNs of two functions. Most callers here may invoke the first only."""
    names = ["allowed", "forbidden"]
    created = [emulator.create_function(name, ECHO, wait=False) for name in names]
    for name in names:
        emulator.wait_active(name)
    yield created
    for name in names:
        emulator.client("lambda").delete_function(FunctionName=name)


@pytest.fixture(scope="module")
def user(emulator, arns):
    """(access key, secret key) of a user who may invoke `allowed`."""
    user = emulator.create_user_with_key("user")
    emulator.put_user_policy("user", ["lambda:InvokeFunction"], [arns[0]])
    return user


@pytest.fixture(scope="module")
def role(emulator, arns):
    """The ARN of a role that may invoke `allowed`."""
    return emulator.create_role("role", ["lambda:InvokeFunction"], [arns[0]])


@pytest.fixture(scope="module")
def assumer(emulator, role):
    """(access key, secret key) of a user who may assume the role, and nothing else."""
    assumer = emulator.create_user_with_key("assumer")
    emulator.put_user_policy("assumer", ["sts:AssumeRole"], [role])
    return assumer


@pytest.fixture
def table(session, request):
    """Makes tables that are dropped after the test: table(mapping options, server options...)."""
    made = []

    def make(mapping, **server):
        name = f"table_{len(made)}"
        create_emulator_table(session, name, mapping, **server)
        made.append(name)
        return name

    yield make
    for name in made:
        execute(session, "DROP SERVER {} CASCADE", name)


def assert_refused(error, sqlstate, code):
    assert (error.sqlstate, primary(error)) == (sqlstate, "invoke API failed")
    assert code in error.diag.message_detail


def test_the_emulator_checks_signatures(emulator, user):
    """Otherwise the tests below would prove nothing."""
    with pytest.raises(ClientError) as refused:
        emulator.as_user(user[0], "wrong").invoke("allowed", {})
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_right_key(session, table, user):
    assert invoke(session, table(keys(*user)), "allowed", "[1]") == "[1]"


def test_wrong_secret(session, table, user):
    error = failure(invoke, session, table(keys(user[0], "wrongsecret")), "allowed")
    assert_refused(error, "28000", "InvalidSignatureException")


def test_unknown_key(session, table):
    error = failure(invoke, session, table(keys("AKIAUNKNOWNKEY", "whatever")), "allowed")
    assert_refused(error, "28000", "UnrecognizedClientException")


def test_no_keys_at_all(session, table):
    """The server's owner is a superuser, so the machine's sources are tried, and have none."""
    name = table({"access_key_id": "AKIAEXAMPLE", "secret_access_key": "x"})
    execute(session, "DROP USER MAPPING FOR postgres SERVER {}", name)
    error = failure(invoke, session, name, "allowed")
    assert_refused(error, "28000", "No usable credentials")


def test_policy_allows_one_function(session, table, user):
    name = table(keys(*user))
    assert invoke(session, name, "allowed", "[1]") == "[1]"
    assert_refused(failure(invoke, session, name, "forbidden"), "42501", "AccessDeniedException")


def test_assumed_role(session, table, assumer, role):
    """The keys in the user mapping may only assume the role; what the role may do counts."""
    name = table(keys(*assumer), role_arn=role)
    assert invoke(session, name, "allowed", "[1]") == "[1]"
    assert_refused(failure(invoke, session, name, "forbidden"), "42501", "AccessDeniedException")


def test_without_its_role_the_assumer_may_not_invoke(session, table, assumer):
    assert_refused(failure(invoke, session, table(keys(*assumer)), "allowed"), "42501", "AccessDeniedException")


def test_refused_role(session, table, user, role):
    """The user has no policy for sts:AssumeRole."""
    error = failure(invoke, session, table(keys(*user), role_arn=role), "allowed")
    assert_refused(error, "28000", "AccessDenied")


def test_wrong_secret_for_a_role(session, table, assumer, role):
    error = failure(invoke, session, table(keys(assumer[0], "wrongsecret"), role_arn=role), "allowed")
    assert_refused(error, "28000", "No usable credentials")


def test_temporary_keys(session, table, emulator, assumer, role):
    caller = emulator.as_user(*assumer).assume_role(role)
    name = table(keys(caller.access_key, caller.secret_key, caller.token))
    assert invoke(session, name, "allowed", "[1]") == "[1]"
    assert_refused(failure(invoke, session, name, "forbidden"), "42501", "AccessDeniedException")


@pytest.mark.parametrize("token", [GARBAGE_TOKEN, None])
def test_temporary_keys_with_a_wrong_token(session, table, emulator, assumer, role, token):
    caller = emulator.as_user(*assumer).assume_role(role)
    error = failure(invoke, session, table(keys(caller.access_key, caller.secret_key, token)), "allowed")
    assert_refused(error, "28000", "UnrecognizedClientException")


def test_altered_mapping_counts_from_the_next_statement(session, table, user):
    name = table(keys(user[0], "wrongsecret"))
    alter = "ALTER USER MAPPING FOR postgres SERVER {} OPTIONS (SET secret_access_key "
    assert failure(invoke, session, name, "allowed").sqlstate == "28000"
    execute(session, alter + f"'{user[1]}')", name)
    assert invoke(session, name, "allowed", "[1]") == "[1]"
    execute(session, alter + "'wrongagain')", name)
    assert failure(invoke, session, name, "allowed").sqlstate == "28000"


def test_altered_mapping_counts_in_a_prepared_statement(session, table, user):
    name = table(keys(*user))
    session.execute(f"PREPARE call AS SELECT response FROM {name} WHERE function_name = 'allowed' AND payload = '[1]'")
    assert session.execute("EXECUTE call").fetchall() == [("[1]",)]
    execute(session, "ALTER USER MAPPING FOR postgres SERVER {} OPTIONS (SET secret_access_key 'wrong')", name)
    assert failure(session.execute, "EXECUTE call").sqlstate == "28000"


def test_altered_server_counts_from_the_next_statement(session, table, assumer, role):
    name = table(keys(*assumer))
    assert failure(invoke, session, name, "allowed").sqlstate == "42501"
    execute(session, f"ALTER SERVER {{}} OPTIONS (ADD role_arn '{role}')", name)
    assert invoke(session, name, "allowed", "[1]") == "[1]"
    execute(session, "ALTER SERVER {} OPTIONS (DROP role_arn)", name)
    assert failure(invoke, session, name, "allowed").sqlstate == "42501"


def texts(error):
    diag = error.diag
    fields = [diag.message_primary, diag.message_detail, diag.message_hint, diag.context, diag.internal_query]
    return "\n".join(filter(None, fields))


def test_no_secret_in_errors_or_in_the_server_log(connect, emulator, user, assumer, role):
    """No failed invocation shows a secret, neither to the client nor in the most verbose log."""
    session = connect()
    session.execute("SET log_min_messages = debug5")
    session.execute("SET client_min_messages = debug5")
    session.execute("SET log_statement = 'none'")
    notices = []
    session.add_notice_handler(lambda diag: notices.append(f"{diag.message_primary} {diag.message_detail}"))
    caller = emulator.as_user(*assumer).assume_role(role)
    failing = [
        (keys(user[0], "wrongsecret1"), {}, "allowed"),
        (keys("AKIAUNKNOWNKEY", "wrongsecret2"), {}, "allowed"),
        (keys(*user), {}, "forbidden"),
        (keys(*user), {}, "missing"),
        (keys(*user), {"role_arn": role}, "allowed"),
        (keys(assumer[0], "wrongsecret3"), {"role_arn": role}, "allowed"),
        (keys(*assumer), {"role_arn": role}, "forbidden"),
        (keys(*assumer), {"role_arn": role, "sts_endpoint_url": "http://127.0.0.1:1"}, "allowed"),
        (keys(*user), {"endpoint_url": "http://127.0.0.1:1"}, "allowed"),
        (keys(caller.access_key, caller.secret_key, caller.token), {}, "forbidden"),
        (keys(caller.access_key, "wrongsecret4", caller.token), {}, "allowed"),
        (keys(caller.access_key, caller.secret_key, GARBAGE_TOKEN), {}, "allowed"),
    ]
    secrets, shown = {GARBAGE_TOKEN}, []
    for number, (mapping, server, function) in enumerate(failing):
        name = f"failing_{number}"
        create_emulator_table(session, name, mapping, **server)
        shown.append(texts(failure(invoke_in_a_function, session, name, function)))
        secrets.update(mapping[option] for option in ("secret_access_key", "session_token") if option in mapping)
    shown += notices
    with open(os.environ["PG_LOG"], encoding="utf-8", errors="replace") as log:
        logged = log.read()
    # Both have messages.
    assert len(notices) > len(failing) and f"[{session.info.backend_pid}] DEBUG:" in logged
    assert [error for error in shown if "could not invoke" in error]
    for secret in secrets:
        assert secret not in "\n".join(shown)
        assert secret not in logged


def invoke_in_a_function(session, table, function):
    """Invokes from PL/pgSQL, so that the error has a CONTEXT."""
    session.execute(
        f"DO $$ BEGIN PERFORM response FROM {table} WHERE function_name = '{function}' AND payload = '1'; END $$"
    )


def test_no_secret_in_the_error_of_a_malformed_option(session, table, user):
    name = table(keys(*user))
    for option in ("access_key_id", "secret_access_key", "session_token"):
        verb = "ADD" if option == "session_token" else "SET"
        with pytest.raises(psycopg.Error) as raised:
            execute(session, f"ALTER USER MAPPING FOR postgres SERVER {{}} OPTIONS ({verb} {option} 'hunter 2')", name)
        assert raised.value.sqlstate == "22023"
        assert "hunter" not in texts(raised.value)
