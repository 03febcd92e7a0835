"""Real functions in the emulator: inputs, outputs and errors."""

import base64
import json

import psycopg
import pytest

from scripted import wait_until
from tables import create_emulator_table, failure, invoke, keys, primary

ECHO = "def handler(event, context):\n    return event\n"
VERSION = "def handler(event, context):\n    return context.function_version\n"
PRINT = "def handler(event, context):\n    print('hello from the log')\n"
FAIL = "def handler(event, context):\n    raise ValueError('no such customer: ' + event['name'])\n"
WRITE = """
def handler(event, context):
    with open(event["path"], "a") as file:
        file.write(event["text"])
"""
SOURCES = {
    "echo": ECHO, "version": VERSION, "print": PRINT, "fail": FAIL, "write": WRITE, "busy": ECHO,
}  # fmt: skip


@pytest.fixture(scope="module")
def arns(emulator):
    """Each function's ARN. `version` has the version 1 with the alias `live`, and `busy` has a concurrency of 0."""
    created = {name: emulator.create_function(name, source, wait=False) for name, source in SOURCES.items()}
    for name in created:
        emulator.wait_active(name)
    client = emulator.client("lambda")
    published = client.publish_version(FunctionName="version")["Version"]
    client.create_alias(FunctionName="version", Name="live", FunctionVersion=published)
    client.put_function_concurrency(FunctionName="busy", ReservedConcurrentExecutions=0)
    yield created
    for name in created:
        client.delete_function(FunctionName=name)


@pytest.fixture(scope="module")
def table(database, emulator, arns):
    with psycopg.connect(dbname=database, autocommit=True) as session:
        create_emulator_table(session, "functions", keys(emulator.access_key, emulator.secret_key))
    return "functions"


def test_payload_and_response_keep_their_value(session, table):
    payload = '{"z": [1, null, true, 12345678901234567890123], "a": "é \\" \\\\ \\n 😀", "": {}}'
    assert json.loads(invoke(session, table, "echo", payload)) == json.loads(payload)


@pytest.mark.parametrize("payload", ["null", "0", '""', "[]", '"x"', "true"])
def test_payload_need_not_be_an_object(session, table, payload):
    assert json.loads(invoke(session, table, "echo", payload)) == json.loads(payload)


def test_documented_function(session, table, emulator):
    """aws_lambda.invoke works with the emulator as it does with the scripted endpoint."""
    session.execute("BEGIN")
    session.execute("SELECT set_config('aws_lambda.endpoint_override', %s, true)", [emulator.url])
    session.execute("SET LOCAL aws_lambda.region = 'us-east-1'")
    session.execute(
        "ALTER USER MAPPING FOR PUBLIC SERVER aws_lambda"
        f" OPTIONS (SET access_key_id '{emulator.access_key}', SET secret_access_key '{emulator.secret_key}')"
    )
    row = session.execute("SELECT * FROM aws_lambda.invoke('echo', '{\"a\": 1}'::json)").fetchone()
    session.execute("ROLLBACK")
    assert row == (200, {"a": 1}, "$LATEST", None)


@pytest.mark.parametrize("name, qualifier, version", [
    ("version", None, "$LATEST"),
    ("version", "$LATEST", "$LATEST"),
    ("version", "1", "1"),
    ("version", "live", "1"),
    ("version:live", None, "1"),
    ("version:1", None, "1"),
])  # fmt: skip
def test_aliases_and_versions(session, table, name, qualifier, version):
    row = session.execute(
        "SELECT status_code, executed_version, response FROM functions"
        " WHERE function_name = %s AND payload = '{}' AND qualifier IS NOT DISTINCT FROM %s",
        [name, qualifier],
    ).fetchone()
    assert row == (200, version, json.dumps(version))


def test_arn(session, table, arns):
    assert invoke(session, table, arns["echo"], "[1]") == "[1]"
    assert json.loads(invoke(session, table, arns["version"] + ":live")) == "1"


def invoke_as(session, invocation_type, payload):
    return session.execute(
        "SELECT status_code, response FROM functions"
        " WHERE function_name = 'write' AND payload = %s AND invocation_type = %s",
        [json.dumps(payload), invocation_type],
    ).fetchall()


def test_event_runs_in_the_background(session, table, tmp_path):
    path = tmp_path / "written"
    assert invoke_as(session, "Event", {"path": str(path), "text": "once."}) == [(202, None)]
    wait_until(lambda: path.exists() and path.read_text())
    assert path.read_text() == "once."


def test_dry_run_does_not_run(session, table, tmp_path):
    path = tmp_path / "written"
    assert invoke_as(session, "DryRun", {"path": str(path), "text": "dry."}) == [(204, None)]
    # The same function, synchronously. If the dry run had run it, the file would have that text too.
    assert invoke_as(session, "RequestResponse", {"path": str(path), "text": "real."}) == [(200, "null")]
    assert path.read_text() == "real."


def test_log_tail(session, table):
    query = "SELECT log_result, log FROM functions WHERE function_name = 'print' AND payload = '{}' AND log_type = %s"
    log_result, log = session.execute(query, ["Tail"]).fetchone()
    assert "hello from the log" in log
    assert base64.b64decode(log_result).decode() == log
    assert session.execute(query, ["None"]).fetchone() == (None, None)


def test_exception_in_the_function(session, table):
    error = failure(invoke, session, table, "fail", '{"name": "Ada"}')
    assert (error.sqlstate, error.diag.message_primary) == ("38000", "lambda invocation failed")
    assert error.diag.message_detail.startswith('"fail" returned error "Unhandled", details: ')
    assert "no such customer: Ada" in error.diag.message_detail


@pytest.mark.parametrize("name", ["nothing", "version:nothing", "version:77"])
def test_unknown_function_alias_or_version(session, table, name):
    error = failure(invoke, session, table, name)
    assert (error.sqlstate, primary(error)) == ("42883", "invoke API failed")
    assert "ResourceNotFoundException" in error.diag.message_detail


def test_throttled_function(session, table):
    error = failure(invoke, session, table, "busy")
    assert (error.sqlstate, primary(error)) == ("53400", "invoke API failed")
    assert "TooManyRequestsException" in error.diag.message_detail
