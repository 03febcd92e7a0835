"""What a row needs is dropped before its delivery: it fails visibly, and the others go on. Invocations are counted at the endpoint."""

import psycopg
import pytest
from psycopg import sql

import scripted
from scripted import counter
from tables import options
from test_queue import once, sent

MAPPING = sql.SQL("CREATE USER MAPPING FOR dropped SERVER own {}").format(options(scripted.OTHER_KEYS))
FAILURES = "SELECT payload, state, attempts, error_code, error_message FROM aws_lambda.queue ORDER BY id"


@pytest.fixture
def queue(session, endpoint):
    """A session with an empty queue, where the first failure is the last."""
    session.execute("DELETE FROM aws_lambda.queue")
    session.execute("SET aws_lambda.queue_max_attempts = 1")
    return session


@pytest.fixture
def role(queue):
    """The role `dropped`, which queues through a foreign table with its own mapping."""
    queue.execute("CREATE ROLE dropped")
    queue.execute("CREATE SERVER own FOREIGN DATA WRAPPER aws_lambda_fdw")
    queue.execute("CREATE FOREIGN TABLE own (payload text) SERVER own OPTIONS (function_name 'echo', events 'queue')")
    queue.execute("GRANT INSERT ON own TO dropped")
    queue.execute("GRANT USAGE ON SCHEMA aws_lambda TO dropped")
    queue.execute("GRANT EXECUTE ON FUNCTION aws_lambda.enqueue(text, json, text, text, text, json, varchar, timestamptz, text) TO dropped")
    queue.execute(MAPPING)
    yield "dropped"
    queue.execute("RESET ROLE; DROP SERVER IF EXISTS own CASCADE; DROP FOREIGN TABLE IF EXISTS own")
    if queue.execute("SELECT oid FROM pg_roles WHERE rolname = 'dropped'").fetchone():
        queue.execute("DROP OWNED BY dropped; DROP ROLE dropped")


def lost(what, oid):
    return f"{what} of a queued invocation does not exist. It had the OID {oid}. The function was not invoked."


def as_role(session, role, statement):
    session.execute(f"SET ROLE {role}")
    session.execute(statement)
    session.execute("RESET ROLE")


def oid_of(session, what, name):
    return session.execute(f"SELECT {what}(%s)::oid::text", [name]).fetchone()[0]


def enqueue(session, *payloads):
    for payload in payloads:
        session.execute("SELECT aws_lambda.enqueue('echo', to_json(%s::int))", [payload])


def test_a_role_whose_mapping_counts(queue, role):
    """Its row is signed with nobody else's keys. It fails, and names the role by its oid."""
    oid = oid_of(queue, "to_regrole", role)
    enqueue(queue, 1)
    as_role(queue, role, "INSERT INTO own VALUES ('2')")
    enqueue(queue, 3)
    # PostgreSQL does not drop a role that has a mapping. DROP OWNED drops the mapping too.
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        queue.execute("DROP ROLE dropped")
    queue.execute("DROP OWNED BY dropped CASCADE; DROP ROLE dropped")
    assert queue.execute("CALL aws_lambda.deliver()").fetchone() == (2, 0, 1)
    assert queue.execute(FAILURES).fetchall() == [("2", "failed", 1, "InvalidParameterValue", lost("role", oid))]
    assert queue.execute("SELECT queued_by::text, user_mapping_of::text FROM aws_lambda.queue").fetchone() == (oid, oid)
    assert sent() == {1: 1, 3: 1}


def test_a_mapping(queue, role):
    """The row of a role that has no mapping any more says so while it waits, as there may be one again. It is delivered then."""
    as_role(queue, role, "INSERT INTO own VALUES ('1')")
    enqueue(queue, 2)
    queue.execute("DROP USER MAPPING FOR dropped SERVER own")
    assert queue.execute("CALL aws_lambda.deliver()").fetchone() == (1, 1, 0)
    ((*row, message),) = queue.execute(FAILURES).fetchall()
    assert row == ["1", "waiting", 0, "NoUsableCredentials"]
    assert 'Role "dropped" has no user mapping for server "own".' in message
    assert 'It owns the function or view that invokes, or has queued the invocation' in message
    assert sent() == {2: 1}
    # With a mapping it is delivered after all.
    queue.execute(MAPPING)
    queue.execute("UPDATE aws_lambda.queue SET due_at = now()")
    assert queue.execute("CALL aws_lambda.deliver()").fetchone() == (1, 0, 0)
    assert sent() == once(2)


def test_a_role_that_used_enqueue(queue, role):
    """Its row is delivered with the mapping of the extension's owner, as it is due. The column keeps the oid of who queued."""
    oid = oid_of(queue, "to_regrole", role)
    as_role(queue, role, "SELECT aws_lambda.enqueue('describe', '1'::json, invocation_type => 'RequestResponse')")
    queue.execute("DROP OWNED BY dropped CASCADE; DROP ROLE dropped")
    assert queue.execute("SELECT queued_by::text FROM aws_lambda.queue").fetchone() == (oid,)
    queue.execute("SET aws_lambda.queue_keep = '1h'")
    assert queue.execute("CALL aws_lambda.deliver()").fetchone() == (1, 0, 0)
    (response,) = queue.execute("SELECT response::json->>'access_key' FROM aws_lambda.queue").fetchone()
    assert response == scripted.EXAMPLE_KEYS["access_key_id"]
    assert counter("invocations") == 1


@pytest.mark.parametrize("drop", ["DROP FOREIGN TABLE own", "DROP SERVER own CASCADE"])
def test_a_foreign_table(queue, role, drop):
    """Its rows fail, also where a table of the same name is there again, and name it by its oid."""
    oid = oid_of(queue, "to_regclass", "own")
    enqueue(queue, 1)
    queue.execute(sql.SQL("CREATE USER MAPPING FOR CURRENT_USER SERVER own {}").format(options(scripted.EXAMPLE_KEYS)))
    queue.execute("INSERT INTO own VALUES ('2')")
    enqueue(queue, 3)
    queue.execute(drop)
    queue.execute("CREATE FOREIGN TABLE own (payload text) SERVER aws_lambda OPTIONS (function_name 'echo', events 'queue')")
    queue.execute("INSERT INTO own VALUES ('4')")
    assert queue.execute("CALL aws_lambda.deliver()").fetchone() == (3, 0, 1)
    assert queue.execute(FAILURES).fetchall() == [("2", "failed", 1, "InvalidParameterValue", lost("foreign table", oid))]
    status = queue.execute("SELECT failed, last_error FROM aws_lambda.queue_status WHERE failed > 0")
    assert status.fetchone() == (1, lost("foreign table", oid))
    assert sent() == {1: 1, 3: 1, 4: 1}
