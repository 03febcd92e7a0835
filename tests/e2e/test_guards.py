"""What guards: a view or a policy says which functions an ordinary role invokes, and that is known before anything is sent.

Each is tried as that role. What reached the endpoint is counted there, by the names of the functions.
"""

import contextlib

import psycopg
import pytest

from own_server import connect, own_server
from scripted import functions, reset
from tables import failure

TABLE = "aws_lambda.lambda_invocations"
# PostgreSQL's own errors: of a view's check, and of a policy's.
VIEW, POLICY = "44000", "42501"


@pytest.fixture(scope="module")
def server():
    with own_server() as server:
        with contextlib.closing(connect(server)) as administrator:
            administrator.execute("CREATE ROLE eve LOGIN")
        yield server


@pytest.fixture
def administrator(server, endpoint):
    """The owner of what is tried; it is in a schema that goes with the test."""
    with contextlib.closing(connect(server)) as session:
        session.execute("CREATE SCHEMA guarded; GRANT USAGE ON SCHEMA guarded TO PUBLIC; SET search_path = guarded")
        session.execute("ALTER DEFAULT PRIVILEGES IN SCHEMA guarded GRANT SELECT, INSERT, UPDATE ON TABLES TO eve")
        yield session
        session.execute("SET client_min_messages = warning; DROP SCHEMA guarded CASCADE")


@pytest.fixture
def eve(server, administrator):
    with contextlib.closing(
        psycopg.connect(
            host=server.socket_dir, port=5432, user="eve", dbname="postgres", autocommit=True,
            options="-c search_path=guarded",
        )  # fmt: skip
    ) as session:
        yield session


# Rows that are sent


EVENT = "payload, invocation_type"
FIFTY = "FROM generate_series(1, 50) i"
INSERTS = [
    "INSERT INTO {} (function_name, payload) VALUES ('{}', '1')",
    "INSERT INTO {} (function_name, payload) VALUES ('{}', '1') RETURNING status_code",
    "INSERT INTO {} (function_name, payload) SELECT '{}', to_jsonb(i) FROM generate_series(1, 50) i",
    "INSERT INTO {} (function_name, payload) SELECT '{}', to_jsonb(i) FROM generate_series(1, 50) i RETURNING status_code",
    "WITH w AS (INSERT INTO {} (function_name, payload) VALUES ('{}', '1') RETURNING *) SELECT count(*) FROM w",
    "DO $$ BEGIN INSERT INTO {} (function_name, payload) VALUES ('{}', '1'); END $$",
]


def refuses(session, statement, sqlstate):
    reset()
    error = failure(session.execute, statement)
    assert error.sqlstate == sqlstate, error
    assert functions() == [], statement


def sends(session, statement, count):
    reset()
    session.execute(statement)
    assert functions() == ["echo"] * count, statement


def count_of(statement):
    return 50 if "generate_series" in statement else 1


@pytest.mark.parametrize("insert", INSERTS)
@pytest.mark.parametrize("check", [
    "WHERE function_name = 'echo' WITH CHECK OPTION",
    "WHERE function_name LIKE 'echo%' WITH LOCAL CHECK OPTION",
    "WHERE function_name IN (SELECT fn FROM allowed) WITH CHECK OPTION",
    "WHERE function_name = 'echo' AND status_code = 202 WITH CHECK OPTION",
])  # fmt: skip
def test_a_view_with_check_option(administrator, eve, check, insert):
    administrator.execute(
        f"""
        CREATE TABLE allowed AS SELECT 'echo' AS fn;
        REVOKE ALL ON allowed FROM eve;
        CREATE VIEW v AS SELECT * FROM {TABLE} {check};
        CREATE VIEW w AS SELECT function_name, payload, status_code FROM v;
        """
    )
    for view in ("v", "w") if "LOCAL" not in check else ("v",):
        refuses(eve, insert.format(view, "evil"), VIEW)
        sends(eve, insert.format(view, "echo"), count_of(insert))


def test_a_check_of_the_answer_comes_after(administrator, eve):
    """It can't come before, so it is none that keeps a row from being sent."""
    administrator.execute(f"CREATE VIEW v AS SELECT * FROM {TABLE} WHERE status_code = 200 WITH CHECK OPTION")
    for insert in INSERTS[:2]:
        reset()
        assert failure(eve.execute, insert.format("v", "echo")).sqlstate == VIEW
        assert functions() == ["echo"]


def test_rows_before_the_one_that_is_refused(administrator, eve):
    """Each row is checked before it is sent. What was sent is sent."""
    administrator.execute(f"CREATE VIEW v AS SELECT * FROM {TABLE} WHERE function_name = 'echo' WITH CHECK OPTION")
    for returning in ("", " RETURNING status_code"):
        reset()
        rows = "SELECT CASE WHEN i = 40 THEN 'evil' ELSE 'echo' END, to_jsonb(i) FROM generate_series(1, 50) i"
        assert failure(eve.execute, f"INSERT INTO v (function_name, payload) {rows}{returning}").sqlstate == VIEW
        assert set(functions()) <= {"echo"} and len(functions()) < 40


@pytest.fixture
def parted(administrator):
    """A partitioned table with a policy, whose one partition is a foreign table, and the other is not."""
    administrator.execute(
        """
        CREATE TABLE p (kind text, function_name text, payload jsonb, status_code int) PARTITION BY LIST (function_name);
        CREATE TABLE kept PARTITION OF p FOR VALUES IN ('kept');
        ALTER TABLE p DROP COLUMN kind;
        CREATE FOREIGN TABLE sent (payload jsonb, function_name text, status_code int) SERVER aws_lambda;
        ALTER TABLE p ATTACH PARTITION sent DEFAULT;
        REVOKE ALL ON kept, sent FROM eve;
        ALTER TABLE p ENABLE ROW LEVEL SECURITY;
        CREATE POLICY reading ON p FOR SELECT USING (true);
        CREATE POLICY inserting ON p FOR INSERT WITH CHECK (function_name IN ('echo', 'kept', 'lost'));
        CREATE POLICY updating ON p FOR UPDATE USING (true) WITH CHECK (function_name IN ('echo', 'kept', 'found'));
        """
    )
    return administrator


@pytest.mark.parametrize("insert", INSERTS)
def test_a_policy_of_a_partitioned_table(parted, eve, insert):
    refuses(eve, insert.format("p", "evil"), POLICY)
    refuses(eve, insert.format("p", "found"), POLICY)
    sends(eve, insert.format("p", "echo"), count_of(insert))


def test_a_policy_on_rows_that_move(parted, eve):
    """UPDATE moves a row to the partition that its new values belong to, which here is to send it."""
    parted.execute("INSERT INTO kept (function_name, payload) VALUES ('kept', '1')")
    statement = "UPDATE p SET function_name = '{}' WHERE function_name = 'kept'"
    refuses(eve, statement.format("evil"), POLICY)
    refuses(eve, statement.format("lost"), POLICY)
    sends(eve, statement.format("echo"), 1)


def test_a_policy_under_copy(parted, eve):
    """PostgreSQL does not check policies in COPY, and says so."""
    with pytest.raises(psycopg.errors.FeatureNotSupported), eve.cursor().copy("COPY p (function_name, payload) FROM STDIN"):
        pass
    assert functions() == []


def test_a_view_of_a_partitioned_table(administrator, eve):
    administrator.execute(
        """
        CREATE TABLE p (function_name text, payload jsonb, status_code int) PARTITION BY LIST (function_name);
        CREATE FOREIGN TABLE sent (payload jsonb, status_code int, function_name text) SERVER aws_lambda;
        ALTER TABLE p ATTACH PARTITION sent DEFAULT;
        CREATE VIEW v AS SELECT * FROM p WHERE function_name = 'echo' WITH CHECK OPTION;
        REVOKE ALL ON p, sent FROM eve;
        """
    )
    for insert in INSERTS:
        refuses(eve, insert.format("v", "evil"), VIEW)
        sends(eve, insert.format("v", "echo"), count_of(insert))


# Rows that are asked for


def reads(session, query, rows, *sent):
    reset()
    assert session.execute(query).fetchall() == rows, query
    assert functions() == list(sent), query


# A view that is a barrier takes no clauses on jsonb, whose equality PostgreSQL does not call leakproof.
TEXTS = "aws_lambda.lambda_invocations_json"
LEAK = """
    CREATE FUNCTION pg_temp.leak(anything text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE COST 0.0000001 AS
        $$ BEGIN RAISE NOTICE 'leaked %', anything; RETURN true; END $$
"""


@pytest.mark.parametrize("view", [
    f"SELECT * FROM {TEXTS} WHERE function_name LIKE 'ech%'",
    f"SELECT * FROM {TEXTS} WHERE function_name LIKE 'ech%' AND payload::json ->> 'tenant' = current_user",
    f"SELECT * FROM {TEXTS} l WHERE"
    " (EXISTS (SELECT FROM allowed WHERE fn LIKE l.function_name || '%' AND role = current_user)) IS TRUE",
    f"SELECT * FROM {TEXTS} l WHERE (NOT EXISTS (SELECT FROM allowed WHERE fn = l.function_name AND role <> 'eve')) IS TRUE",
    f"SELECT * FROM {TEXTS} l WHERE function_name = ANY (ARRAY(SELECT fn FROM allowed WHERE role = current_user))",
    "SELECT * FROM guarded.parted",
])  # fmt: skip
def test_a_filter_of_inputs_guards(administrator, eve, view):
    """In a view, and in a policy, of a partitioned table whose only partition is foreign."""
    administrator.execute(
        f"""
        CREATE TABLE allowed AS SELECT 'echo' AS fn, 'eve' AS role UNION SELECT 'evil', 'bob';
        CREATE TABLE parted (function_name text, payload text, response text) PARTITION BY LIST (function_name);
        CREATE FOREIGN TABLE part PARTITION OF parted DEFAULT SERVER aws_lambda;
        ALTER TABLE parted ENABLE ROW LEVEL SECURITY;
        ALTER TABLE parted FORCE ROW LEVEL SECURITY;
        CREATE POLICY reading ON parted FOR SELECT
            USING (EXISTS (SELECT FROM allowed WHERE fn = function_name AND role = current_user));
        REVOKE ALL ON allowed, part FROM eve;
        GRANT SELECT ON allowed TO eve;
        CREATE VIEW v WITH (security_barrier) AS {view};
        GRANT SELECT ON v TO eve;
        """
    )
    table = "parted" if "parted" in view else "v"
    payload = """'{"tenant": "eve"}'"""
    for clause in [
        "function_name = '{}'",
        "function_name = (SELECT '{}')",
        "function_name IN ('{}', 'evil')",
        "function_name = ANY (ARRAY['{}', 'evil'])",
        # What is joined to a view that is a barrier gives it no values.
        *(["function_name IN (SELECT fn FROM (VALUES ('{}'), ('evil')) v (fn))"] if table == "parted" else []),
    ]:
        query = f"SELECT response IS NULL FROM {table} WHERE payload = {payload} AND "
        reads(eve, query + clause.format("evil"), [])
        reads(eve, query + clause.format("echo"), [(False,)], "echo")
    if table == "parted":
        joined = f"(VALUES ('echo'), ('evil')) x (fn) JOIN parted ON function_name = fn AND payload = {payload}"
        reads(eve, f"SELECT fn FROM {joined}", [("echo",)], "echo")
    eve.execute(f"PREPARE p AS SELECT function_name FROM {table} WHERE function_name = $1 AND payload = {payload}")
    for _ in range(7):
        reads(eve, "EXECUTE p ('evil')", [])
        reads(eve, "EXECUTE p ('echo')", [("echo",)], "echo")


def test_what_a_filter_of_inputs_may_see(administrator, eve):
    """A function of the query sees no value that the view keeps from it, whether before or after it is invoked."""
    administrator.execute(
        f"""
        CREATE TABLE ours (payload jsonb, open boolean);
        INSERT INTO ours VALUES ('"mine"', true), ('"secret 1"', false), ('"secret 2"', true);
        REVOKE ALL ON ours FROM eve;
        CREATE VIEW v WITH (security_barrier) AS SELECT l.payload, l.response FROM ours o JOIN {TABLE} l USING (payload)
            WHERE o.open AND l.function_name = 'echo' AND l.response::text NOT LIKE '"secret%';
        CREATE TABLE parted (payload text, response text) PARTITION BY LIST (payload);
        CREATE FOREIGN TABLE part PARTITION OF parted DEFAULT SERVER aws_lambda OPTIONS (function_name 'echo');
        ALTER TABLE parted ENABLE ROW LEVEL SECURITY;
        CREATE POLICY reading ON parted FOR SELECT USING (response NOT LIKE 'secret%' AND payload <> 'never');
        REVOKE ALL ON part FROM eve;
        """
    )
    eve.execute(LEAK)
    heard = []
    eve.add_notice_handler(lambda diag: heard.append(diag.message_primary))
    reads(eve, "SELECT payload FROM v WHERE pg_temp.leak(payload::text)", [("mine",)], "echo", "echo")
    assert heard == ['leaked "mine"']
    heard.clear()
    query = "SELECT payload FROM parted WHERE payload IN ('mine', 'secret 1', 'never') AND pg_temp.leak(payload)"
    reads(eve, query, [("mine",)], "echo", "echo")
    assert heard == ["leaked mine"]
