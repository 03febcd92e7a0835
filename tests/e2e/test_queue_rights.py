"""Who may do what with the queue, as ordinary roles, and whose keys a delivery uses. The endpoint counts.

The server process has credentials here, as on EC2.
"""

import contextlib

import psycopg
import pytest

from listeners import listener, respond
from own_server import KEYS, connect, own_server
from scripted import EXAMPLE_KEYS, OTHER_KEYS, counter
from tables import execute, failure, keys

MACHINE = KEYS["AWS_ACCESS_KEY_ID"]
TOKEN_KEYS = keys("ASIAEXAMPLE", "sessionsecret", "example-session-token")
ALICE, BOB = OTHER_KEYS["access_key_id"], TOKEN_KEYS["access_key_id"]
SECRETS = [EXAMPLE_KEYS["secret_access_key"], OTHER_KEYS["secret_access_key"], *list(TOKEN_KEYS.values())[1:]]
ENQUEUE = "SELECT aws_lambda.enqueue('describe', '1'::json, invocation_type => 'RequestResponse')"
SIGNATURE = "aws_lambda.enqueue(text, json, text, text, text, json, varchar, timestamptz, text)"
TABLES = ["queue", "queue_deliveries", "queue_worker", "queue_status"]


@pytest.fixture(scope="module")
def server():
    with own_server("aws_lambda.queue_keep = '1h'", "aws_lambda.max_retries = 0") as server:
        with contextlib.closing(connect(server)) as session:
            session.execute("CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE eve LOGIN")
        yield server


@pytest.fixture
def administrator(server, endpoint):
    with contextlib.closing(connect(server)) as session:
        session.execute("GRANT USAGE ON SCHEMA aws_lambda TO alice, bob, eve")
        yield session
        session.execute("DELETE FROM aws_lambda.queue; DROP OWNED BY alice, bob, eve CASCADE")
        session.execute("DROP SERVER IF EXISTS shared, sent_back, refused, answered CASCADE")


@pytest.fixture
def as_role(server):
    """Sessions of roles that logged in as themselves."""
    with contextlib.ExitStack() as sessions:

        def log_in(role):
            session = psycopg.connect(host=server.socket_dir, port=5432, user=role, dbname="postgres", autocommit=True)
            return sessions.enter_context(contextlib.closing(session))

        yield log_in


def outcomes(session):
    """The payloads, states, error codes and access keys of the rows."""
    return session.execute(
        "SELECT payload, state, error_code, response::json->>'access_key' FROM aws_lambda.queue ORDER BY id"
    ).fetchall()


def test_a_role_that_may_queue(administrator, as_role):
    """It can do nothing else with the queue, not even with its own row."""
    administrator.execute(f"GRANT EXECUTE ON FUNCTION {SIGNATURE} TO eve")
    eve = as_role("eve")
    eve.execute(ENQUEUE)
    for statement in [
        *(f"SELECT * FROM aws_lambda.{table}" for table in TABLES),
        *(f"DELETE FROM aws_lambda.{table}" for table in TABLES[:3]),
        "INSERT INTO aws_lambda.queue_worker VALUES (1, now())",
        "UPDATE aws_lambda.queue SET function_name = 'other'",
        "COPY aws_lambda.queue TO STDOUT",
        "TRUNCATE aws_lambda.queue",
        "SELECT nextval('aws_lambda.queue_id_seq')",
        "CREATE TRIGGER t BEFORE DELETE ON aws_lambda.queue EXECUTE FUNCTION aws_lambda.ignore_replicated()",
        "CALL aws_lambda.deliver()",
        "SELECT aws_lambda.retry(1)",
        "SELECT aws_lambda.start_worker()",
        "SET aws_lambda.queue_max_attempts = 1",
        "SET aws_lambda.queue_max_age = 1",
        "SET aws_lambda.queue_keep = '1d'",
    ]:
        assert failure(eve.execute, statement).sqlstate == "42501", statement
    assert counter("connections") == 0
    assert administrator.execute("SELECT state, queued_by::text FROM aws_lambda.queue").fetchall() == [("waiting", "eve")]


def test_a_role_that_may_deliver(administrator, as_role):
    """It reads and queues nothing, and no keys of its own are used: rows of `enqueue` are signed as `invoke` signs, and rows of a
    foreign table with the mapping of the role that inserted."""
    administrator.execute(f"GRANT EXECUTE ON FUNCTION {SIGNATURE} TO alice")
    administrator.execute("GRANT EXECUTE ON PROCEDURE aws_lambda.deliver TO bob")
    administrator.execute("CREATE SERVER shared FOREIGN DATA WRAPPER aws_lambda_fdw")
    administrator.execute(
        "CREATE FOREIGN TABLE shared (payload text) SERVER shared OPTIONS (function_name 'describe', events 'queue')"
    )
    administrator.execute("GRANT INSERT ON shared TO alice")
    for server in ("shared", "aws_lambda"):
        execute(administrator, "CREATE USER MAPPING FOR alice SERVER {} {options}", server, **OTHER_KEYS)
        execute(administrator, "CREATE USER MAPPING FOR bob SERVER {} {options}", server, **TOKEN_KEYS)
    try:
        alice, bob = as_role("alice"), as_role("bob")
        alice.execute(ENQUEUE)
        alice.execute("INSERT INTO shared VALUES ('2')")
        # So that the function's answer says whose key it was.
        administrator.execute("UPDATE aws_lambda.queue SET invocation_type = 'RequestResponse'")
        assert failure(bob.execute, ENQUEUE).sqlstate == "42501"
        assert failure(bob.execute, "SELECT * FROM aws_lambda.queue").sqlstate == "42501"
        assert bob.execute("CALL aws_lambda.deliver()").fetchone() == (2, 0, 0)
        assert outcomes(administrator) == [("1", "delivered", None, MACHINE), ("2", "delivered", None, ALICE)]
    finally:
        administrator.execute("DROP USER MAPPING FOR alice SERVER aws_lambda; DROP USER MAPPING FOR bob SERVER aws_lambda")


def test_a_role_without_a_mapping(administrator, as_role):
    """Its row is not signed with the machine's credentials where its foreign table would not be, nor with anybody else's. It says so while
    it is tried again, and fails once it is too old."""
    administrator.execute("GRANT USAGE ON FOREIGN DATA WRAPPER aws_lambda_fdw TO alice; GRANT CREATE ON SCHEMA public TO alice")
    alice, bob = as_role("alice"), as_role("bob")
    alice.execute("CREATE SERVER shared FOREIGN DATA WRAPPER aws_lambda_fdw")
    alice.execute("CREATE FOREIGN TABLE shared (payload text) SERVER shared OPTIONS (function_name 'describe', events 'queue')")
    alice.execute("GRANT INSERT ON shared TO bob")
    execute(administrator, "CREATE USER MAPPING FOR alice SERVER {} {options}", "shared", **OTHER_KEYS)
    execute(administrator, "CREATE USER MAPPING FOR bob SERVER {} {options}", "shared", **TOKEN_KEYS)
    bob.execute("INSERT INTO shared VALUES ('1')")
    alice.execute("INSERT INTO shared VALUES ('2')")
    administrator.execute("DROP USER MAPPING FOR bob SERVER shared")
    assert administrator.execute("CALL aws_lambda.deliver()").fetchone() == (1, 1, 0)
    waiting = administrator.execute("SELECT state, attempts, error_code, error_message FROM aws_lambda.queue WHERE payload = '1'")
    state, attempts, code, message = waiting.fetchone()
    assert (state, attempts, code) == ("waiting", 0, "InvalidParameterValue")
    assert "bob" in message
    administrator.execute("UPDATE aws_lambda.queue SET due_at = now(), first_due_at = now() - interval '2 days' WHERE state = 'waiting'")
    assert administrator.execute("CALL aws_lambda.deliver()").fetchone() == (0, 0, 1)
    assert administrator.execute("SELECT failed, last_error FROM aws_lambda.queue_status").fetchall() == [(1, message)]
    assert counter("invocations") == 1


def test_no_secret_is_in_the_queue(administrator, as_role):
    """Neither before a delivery nor after one that succeeded or failed, also where the other end sends back what it was sent."""
    token = TOKEN_KEYS["session_token"]
    error = ["x-amzn-ErrorType: AccessDeniedException", f"x-amzn-RequestId: {token}"]
    sends_back = respond("400 No", f'{{"message": "token {token}"}}', *error)
    with listener(sends_back) as (port, _):
        for name, where in {
            "sent_back": {"endpoint_url": f"http://127.0.0.1:{port}"},
            "refused": {"endpoint_url": "http://127.0.0.1:1"},
            "answered": {},
        }.items():
            execute(administrator, "CREATE SERVER {} FOREIGN DATA WRAPPER aws_lambda_fdw {options}", name, **where)
            queue = {"function_name": "echo", "events": "queue"}
            execute(administrator, "CREATE FOREIGN TABLE {} (payload text) SERVER {} {options}", name, name, **queue)
            execute(administrator, "CREATE USER MAPPING FOR alice SERVER {} {options}", name, **TOKEN_KEYS)
            administrator.execute(f"GRANT INSERT ON {name} TO alice")
            as_role("alice").execute(f"INSERT INTO {name} VALUES ('1')")
        administrator.execute("SELECT aws_lambda.enqueue('error-403-AccessDeniedException', '1'::json)")
        assert_no_secrets(administrator)
        assert administrator.execute("CALL aws_lambda.deliver()").fetchone() == (1, 3, 0)
        assert_no_secrets(administrator)
    assert administrator.execute("SELECT count(error_message) FROM aws_lambda.queue").fetchone() == (3,)


def assert_no_secrets(session):
    text = "\n".join(str(session.execute(f"SELECT t::text FROM aws_lambda.{table} t").fetchall()) for table in TABLES)
    assert "echo" in text
    assert [secret for secret in SECRETS if secret in text] == []
