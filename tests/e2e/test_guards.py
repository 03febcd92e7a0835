"""A view or a policy restricts the functions that an ordinary role invokes. It is checked before anything is sent.

The endpoint's log has the functions that were invoked.
"""

import contextlib

import psycopg
import pytest

from own_server import connect, own_server
from scripted import functions, reset
from tables import failure

TABLE = "aws_lambda.lambda_invocations"
# PostgreSQL's errors: of a view's check option, and of a policy.
VIEW, POLICY = "44000", "42501"


@pytest.fixture(scope="module")
def server():
    with own_server() as server:
        with contextlib.closing(connect(server)) as administrator:
            administrator.execute("CREATE ROLE eve LOGIN")
        yield server


@pytest.fixture
def administrator(server, endpoint):
    """The owner of the tests' objects, in a schema that is dropped after the test."""
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


# Inserted rows


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
    """A check of the response is evaluated afterwards, and does not keep a row from being sent."""
    administrator.execute(f"CREATE VIEW v AS SELECT * FROM {TABLE} WHERE status_code = 200 WITH CHECK OPTION")
    for insert in INSERTS[:2]:
        reset()
        assert failure(eve.execute, insert.format("v", "echo")).sqlstate == VIEW
        assert functions() == ["echo"]


def test_rows_before_the_one_that_is_refused(administrator, eve):
    """Each row is checked before it is sent. Rows before it have been sent."""
    administrator.execute(f"CREATE VIEW v AS SELECT * FROM {TABLE} WHERE function_name = 'echo' WITH CHECK OPTION")
    for returning in ("", " RETURNING status_code"):
        reset()
        rows = "SELECT CASE WHEN i = 40 THEN 'evil' ELSE 'echo' END, to_jsonb(i) FROM generate_series(1, 50) i"
        assert failure(eve.execute, f"INSERT INTO v (function_name, payload) {rows}{returning}").sqlstate == VIEW
        assert set(functions()) <= {"echo"} and len(functions()) < 40


@pytest.fixture
def partitioned(administrator):
    """A partitioned table with a policy, and with a foreign and a local partition."""
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
def test_a_policy_of_a_partitioned_table(partitioned, eve, insert):
    refuses(eve, insert.format("p", "evil"), POLICY)
    refuses(eve, insert.format("p", "found"), POLICY)
    sends(eve, insert.format("p", "echo"), count_of(insert))


def test_a_policy_on_rows_that_move(partitioned, eve):
    """UPDATE moves a row to the foreign partition, which invokes."""
    partitioned.execute("INSERT INTO kept (function_name, payload) VALUES ('kept', '1')")
    statement = "UPDATE p SET function_name = '{}' WHERE function_name = 'kept'"
    refuses(eve, statement.format("evil"), POLICY)
    refuses(eve, statement.format("lost"), POLICY)
    sends(eve, statement.format("echo"), 1)


def test_a_policy_on_rows_that_a_merge_moves(partitioned, eve):
    """MERGE updates or inserts a row of the local partition, which moves to the foreign one."""
    version = partitioned.info.server_version
    if version < 150000:
        pytest.skip("there is no MERGE")
    partitioned.execute("INSERT INTO kept (function_name, payload) VALUES ('kept', '1')")
    statement = """
        MERGE INTO p USING (VALUES ('{}')) s (fn) ON p.function_name = 'kept'
        WHEN MATCHED THEN UPDATE SET function_name = s.fn
    """
    refuses(eve, statement.format("evil"), POLICY)
    refuses(eve, statement.format("lost"), POLICY)
    if version >= 170000:
        reset()
        assert failure(eve.execute, statement.format("found")).sqlstate == "42883"
    sends(eve, statement.format("echo"), 1)


def test_a_policy_under_copy(partitioned, eve):
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


# Queried rows


def reads(session, query, rows, *sent):
    reset()
    assert session.execute(query).fetchall() == rows, query
    assert functions() == list(sent), query


# A security-barrier view takes no clauses on jsonb, because its equality is not leakproof.
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
    "SELECT * FROM guarded.partitioned",
])  # fmt: skip
def test_a_filter_of_inputs_guards(administrator, eve, view):
    """In a view, and in a policy, of a partitioned table whose only partition is foreign."""
    administrator.execute(
        f"""
        CREATE TABLE allowed AS SELECT 'echo' AS fn, 'eve' AS role UNION SELECT 'evil', 'bob';
        CREATE TABLE partitioned (function_name text, payload text, response text) PARTITION BY LIST (function_name);
        CREATE FOREIGN TABLE part PARTITION OF partitioned DEFAULT SERVER aws_lambda;
        ALTER TABLE partitioned ENABLE ROW LEVEL SECURITY;
        ALTER TABLE partitioned FORCE ROW LEVEL SECURITY;
        CREATE POLICY reading ON partitioned FOR SELECT
            USING (EXISTS (SELECT FROM allowed WHERE fn = function_name AND role = current_user));
        REVOKE ALL ON allowed, part FROM eve;
        GRANT SELECT ON allowed TO eve;
        CREATE VIEW v WITH (security_barrier) AS {view};
        GRANT SELECT ON v TO eve;
        """
    )
    table = "partitioned" if "partitioned" in view else "v"
    payload = """'{"tenant": "eve"}'"""
    for clause in [
        "function_name = '{}'",
        "function_name = (SELECT '{}')",
        "function_name IN ('{}', 'evil')",
        "function_name = ANY (ARRAY['{}', 'evil'])",
        # A join gives a security-barrier view no values.
        *(["function_name IN (SELECT fn FROM (VALUES ('{}'), ('evil')) v (fn))"] if table == "partitioned" else []),
    ]:
        query = f"SELECT response IS NULL FROM {table} WHERE payload = {payload} AND "
        reads(eve, query + clause.format("evil"), [])
        reads(eve, query + clause.format("echo"), [(False,)], "echo")
    if table == "partitioned":
        joined = f"(VALUES ('echo'), ('evil')) x (fn) JOIN partitioned ON function_name = fn AND payload = {payload}"
        reads(eve, f"SELECT fn FROM {joined}", [("echo",)], "echo")
    eve.execute(f"PREPARE p AS SELECT function_name FROM {table} WHERE function_name = $1 AND payload = {payload}")
    for _ in range(7):
        reads(eve, "EXECUTE p ('evil')", [])
        reads(eve, "EXECUTE p ('echo')", [("echo",)], "echo")


def test_what_a_filter_of_inputs_may_see(administrator, eve):
    """A function of the query gets no value that the view hides, neither before nor after the invocation."""
    administrator.execute(
        f"""
        CREATE TABLE ours (payload jsonb, open boolean);
        INSERT INTO ours VALUES ('"mine"', true), ('"secret 1"', false), ('"secret 2"', true);
        REVOKE ALL ON ours FROM eve;
        CREATE VIEW v WITH (security_barrier) AS SELECT l.payload, l.response FROM ours o JOIN {TABLE} l USING (payload)
            WHERE o.open AND l.function_name = 'echo' AND l.response::text NOT LIKE '"secret%';
        CREATE TABLE partitioned (payload text, response text) PARTITION BY LIST (payload);
        CREATE FOREIGN TABLE part PARTITION OF partitioned DEFAULT SERVER aws_lambda OPTIONS (function_name 'echo');
        ALTER TABLE partitioned ENABLE ROW LEVEL SECURITY;
        CREATE POLICY reading ON partitioned FOR SELECT USING (response NOT LIKE 'secret%' AND payload <> 'never');
        REVOKE ALL ON part FROM eve;
        """
    )
    eve.execute(LEAK)
    heard = []
    eve.add_notice_handler(lambda diag: heard.append(diag.message_primary))
    reads(eve, "SELECT payload FROM v WHERE pg_temp.leak(payload::text)", [("mine",)], "echo", "echo")
    assert heard == ['leaked "mine"']
    heard.clear()
    query = "SELECT payload FROM partitioned WHERE payload IN ('mine', 'secret 1', 'never') AND pg_temp.leak(payload)"
    reads(eve, query, [("mine",)], "echo", "echo")
    assert heard == ["leaked mine"]


# Tables that are joined


SHAPES = {
    "a join": "SELECT l.function_name, l.payload FROM allowed a JOIN {l} l ON l.function_name = a.fn WHERE a.role = current_user",
    "the other way around": "SELECT l.function_name, l.payload FROM {l} l, allowed a WHERE a.role = current_user AND l.function_name = a.fn",
    "IN": "SELECT function_name, payload FROM {l} WHERE function_name IN (SELECT fn FROM allowed WHERE role = current_user)",
    "EXISTS": "SELECT function_name, payload FROM {l} l"
    " WHERE EXISTS (SELECT FROM allowed a WHERE a.fn = l.function_name AND a.role = current_user)",
    "two tables": "SELECT l.function_name, l.payload FROM {l} l JOIN allowed a ON l.function_name = a.fn"
    " JOIN roles r ON r.role = a.role WHERE r.role = current_user",
    "a table that is joined to nothing": "SELECT l.function_name, l.payload FROM {l} l, allowed a"
    " WHERE a.fn = 'echo' AND a.role = CASE l.function_name WHEN 'evil' THEN 'nobody' ELSE current_user END",
    "a pattern": "SELECT l.function_name, l.payload FROM {l} l JOIN allowed a ON l.function_name LIKE a.fn || '%' WHERE a.role = current_user",
    "rows beside": "SELECT l.function_name, l.payload FROM rows t JOIN {l} l ON l.payload = t.p"
    " JOIN allowed a ON a.fn = l.function_name JOIN roles r ON r.role = a.role WHERE r.role = current_user",
    "rows that are restricted": "SELECT l.function_name, l.payload FROM rows t JOIN {l} l ON l.payload = t.p"
    " AND l.function_name = t.fn JOIN allowed a ON a.fn = t.fn WHERE a.role = current_user",
    "a subquery": "SELECT l.function_name, l.payload FROM (SELECT DISTINCT fn FROM allowed WHERE role = current_user) a"
    " JOIN {l} l ON l.function_name = a.fn",
    "the answer beside": "SELECT l.function_name, l.payload FROM {l} l JOIN allowed a ON l.function_name = a.fn"
    " JOIN rows t ON t.p = l.response::text WHERE a.role = current_user",
    "the answer first": "SELECT l.function_name, l.payload FROM {l} l JOIN rows t ON t.p = l.response::text"
    " JOIN allowed a ON l.function_name = a.fn JOIN roles r ON r.role = a.role WHERE r.role = current_user",
    "several answers first": "SELECT l.function_name, l.payload FROM {l} l JOIN rows t ON t.p = l.response::text JOIN rows u ON u.p = t.p"
    " JOIN (allowed a JOIN roles r ON r.role = a.role) ON l.function_name = a.fn WHERE r.role = current_user",
    "a left join": "SELECT l.function_name, l.payload FROM allowed a JOIN {l} l ON l.function_name = a.fn"
    " LEFT JOIN rows t ON t.p = l.response::text WHERE a.role = current_user",
    "a CTE": "WITH l AS (SELECT * FROM {l}) SELECT l.function_name, l.payload FROM rows t JOIN l ON l.payload = t.p"
    " JOIN allowed a ON a.fn = l.function_name WHERE a.role = current_user",
    "invocations beside": "SELECT t.fn AS function_name, t.p AS payload FROM rows t LEFT JOIN {l} l ON l.function_name = t.fn AND l.payload = t.p"
    " JOIN allowed a ON a.fn = t.fn WHERE a.role = current_user",
    "invocations in EXISTS": "SELECT t.fn AS function_name, t.p AS payload FROM rows t JOIN allowed a ON a.fn = t.fn WHERE a.role = current_user"
    " AND EXISTS (SELECT FROM {l} l WHERE l.function_name = t.fn AND l.payload = t.p)",
    "a left join first": "SELECT l.function_name, l.payload FROM {l} l LEFT JOIN rows t ON t.p = l.response::text"
    " JOIN allowed a ON l.function_name = a.fn WHERE a.role = current_user",
}  # fmt: skip


@pytest.fixture
def permissions(administrator):
    """Only bob may invoke the function "evil"."""
    administrator.execute(
        f"""
        CREATE TABLE allowed AS SELECT 'echo' AS fn, 'eve'::name AS role UNION SELECT 'evil', 'bob';
        CREATE TABLE roles AS SELECT rolname AS role FROM pg_roles WHERE rolname <> 'bob';
        CREATE TABLE rows (p text, fn text);
        INSERT INTO rows VALUES ('1', 'echo'), ('1', 'evil');
        INSERT INTO rows SELECT '2', 'evil' FROM generate_series(1, 7);
        ANALYZE;
        CREATE TABLE parts (LIKE {TEXTS}) PARTITION BY LIST (function_name);
        CREATE FOREIGN TABLE part PARTITION OF parts DEFAULT SERVER aws_lambda;
        REVOKE ALL ON ALL TABLES IN SCHEMA guarded FROM eve;
        """
    )
    return administrator


def every_way(session):
    """Yields for each combination of planner settings."""
    settings = [
        {}, {"enable_nestloop": "off"}, {"enable_hashjoin": "off", "enable_mergejoin": "off"},
        {f"enable_{name}": "off" for name in ("nestloop", "hashjoin", "mergejoin", "material", "seqscan", "sort", "hashagg")},
        {"join_collapse_limit": "1", "from_collapse_limit": "1"}, {"geqo_threshold": "2"}, {"seq_page_cost": "1e9"},
        {"plan_cache_mode": "force_generic_plan"},
    ]  # fmt: skip
    for setting in settings:
        session.execute("RESET ALL; SET search_path = guarded")
        for name, value in setting.items():
            session.execute(f"SET {name} = {value}")
        yield setting
    session.execute("RESET ALL; SET search_path = guarded")


@pytest.mark.parametrize("table", [TEXTS, "parts"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_permission_table(permissions, eve, shape, table):
    """The permission table is read before anything is invoked, with every plan and whatever values the caller gives."""
    permissions.execute(f"CREATE VIEW v WITH (security_barrier) AS {SHAPES[shape].format(l=table)}; GRANT SELECT ON v TO eve")
    given = ["function_name = '{}'", "function_name = (SELECT '{}')", "function_name IN ('{}', 'evil')"]
    payload = "payload IN ('1', '2')" if "rows t " in SHAPES[shape] and "first" not in shape else "payload = '1'"
    for setting in every_way(eve):
        eve.execute(f"PREPARE p AS SELECT function_name FROM v WHERE {payload} AND function_name = $1")
        queries = [f"SELECT function_name FROM v WHERE {payload} AND {clause}" for clause in given] + ["EXECUTE p ('{}')"]
        for query in queries:
            found, sent = reads_names(eve, query.format("evil"))
            assert (found or [], sent) == ([], []), (query, setting)
            found, sent = reads_names(eve, query.format("echo"))
            # If the join order puts the response first, there is no plan.
            if found is None:
                assert sent == [] and "first" in shape and "join_collapse_limit" in setting, (query, setting)
            else:
                assert found and set(found) | set(sent) == {"echo"}, (query, setting)
        for exists in ("EXISTS", "NOT EXISTS"):
            query = f"SELECT 1 WHERE {exists} (SELECT FROM v WHERE {payload} AND function_name = 'evil')"
            assert reads_names(eve, query)[1] == [], (query, setting)
        eve.execute("DEALLOCATE p")


def reads_names(session, query):
    """The first column, or None if no plan can invoke, and the names of the invoked functions."""
    reset()
    try:
        found = [row[0] for row in session.execute(query).fetchall()]
    except psycopg.errors.FdwUnableToCreateExecution:
        found = None
    return found, functions()
