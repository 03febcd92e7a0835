"""Foreign tables with a server of their own, for tests that need other credentials or another endpoint."""

import os
import re

import psycopg
import pytest
from psycopg import sql

EMULATOR = {
    "endpoint_url": os.environ["EMULATOR_URL"],
    "sts_endpoint_url": os.environ["EMULATOR_URL"],
    "region": "us-east-1",
    "request_timeout_ms": "30000",  # a cold start takes seconds on a busy machine
}
COLUMNS = """
    function_name text, payload text, qualifier text, invocation_type text, log_type text,
    status_code integer, response text, executed_version text, log_result text, log text
"""


def options(values):
    pairs = [sql.SQL("{} {}").format(sql.Identifier(name), sql.Literal(value)) for name, value in values.items()]
    return sql.SQL("OPTIONS ({})").format(sql.SQL(", ").join(pairs))


def keys(access_key, secret_key, token=None):
    """Options of a user mapping."""
    found = {"access_key_id": access_key, "secret_access_key": secret_key}
    return {**found, "session_token": token} if token else found


def execute(session, statement, *names, **values):
    """Runs a statement with `{}` for each of the names and `{options}` for an OPTIONS clause."""
    clause = options(values) if values else sql.SQL("")
    session.execute(sql.SQL(statement).format(*map(sql.Identifier, names), options=clause))


def create_server(session, name, **values):
    """Creates a server, and a foreign table of the same name."""
    execute(session, "CREATE SERVER {} FOREIGN DATA WRAPPER aws_lambda_fdw {options}", name, **values)
    execute(session, "CREATE FOREIGN TABLE {} (" + COLUMNS + ") SERVER {}", name, name)


def create_mapping(session, name, role, **values):
    execute(session, "CREATE USER MAPPING FOR {} SERVER {} {options}", role, name, **values)


def create_emulator_table(session, name, mapping, **values):
    """A table of the emulator's functions, which `postgres` invokes with the keys in `mapping`."""
    create_server(session, name, **{**EMULATOR, **values})
    create_mapping(session, name, "postgres", **mapping)


def invoke(session, table, function, payload="{}"):
    """Invokes through a table; returns the response."""
    query = sql.SQL("SELECT response FROM {} WHERE function_name = %s AND payload = %s").format(sql.Identifier(table))
    return session.execute(query, [function, payload]).fetchone()[0]


def failure(call, *arguments):
    """The error of a call, which must fail."""
    with pytest.raises(psycopg.Error) as raised:
        call(*arguments)
    return raised.value


def primary(error):
    """The primary message. That of a table's failed invocation becomes that of a function's."""
    return re.sub(r'^could not invoke ".+": [\w\' ]+$', "invoke API failed", error.diag.message_primary)
