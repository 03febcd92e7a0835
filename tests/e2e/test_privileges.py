"""What an ordinary role can't do: each promise, tried as such a role, with a count of what reached the endpoint.

The server process has credentials of its own here, as on a machine of Amazon's, for someone to ride on. What is refused without
GRANT is in tests/regress/sql/privileges.sql too.
"""

import contextlib

import psycopg
import pytest

from listeners import listener
from own_server import KEYS, connect, own_server
from scripted import OTHER_KEYS, URL, counter, functions
from tables import failure, options

MACHINE = KEYS["AWS_ACCESS_KEY_ID"]
DENIED = "42501"
NO_KEYS = "28000"


@pytest.fixture(scope="module")
def server():
    with own_server() as server:
        with contextlib.closing(connect(server)) as administrator:
            administrator.execute("CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE eve LOGIN")
            # Servers of an ordinary role's reach no endpoint option, so all reach the endpoint by the setting.
        yield server


@pytest.fixture
def administrator(server, endpoint):
    with contextlib.closing(connect(server)) as session:
        yield session
        session.execute("RESET SESSION AUTHORIZATION; RESET ROLE; SET client_min_messages = warning")
        session.execute("DROP OWNED BY alice, bob, eve CASCADE; DROP SCHEMA IF EXISTS private CASCADE")
        session.execute("DROP SERVER IF EXISTS shared CASCADE")


@pytest.fixture
def as_role(server):
    """Sessions of roles that logged in as themselves."""
    with contextlib.ExitStack() as sessions:

        def log_in(role, **settings):
            session = psycopg.connect(
                host=server.socket_dir, port=5432, user=role, dbname="postgres", autocommit=True, **settings
            )
            return sessions.enter_context(contextlib.closing(session))

        yield log_in


def sqlstate(session, statement, *arguments):
    return failure(session.execute, statement, arguments or None).sqlstate


def key_of(session, table="f"):
    """The access key that an invocation was signed with."""
    query = f"SELECT response::json ->> 'access_key' FROM {table} WHERE payload = '1'"
    return session.execute(query).fetchone()[0]


def describing(session, server, name="f", **table_options):
    session.execute(
        f"CREATE FOREIGN TABLE {name} (payload text, response text) SERVER {server} "
        + options({"function_name": "describe", **table_options}).as_string(session)
    )


def keys_of(keys=OTHER_KEYS):
    return ", ".join(f"{name} '{value}'" for name, value in keys.items())


# Without GRANT


def test_nothing_without_grant(administrator, as_role):
    eve = as_role("eve")
    objects = administrator.execute(
        """
        SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname LIKE 'aws%'
        """
    ).fetchall()
    assert len(objects) == 7
    for statement in [
        "SELECT * FROM aws_lambda.invoke('echo', '1'::json)",
        "SELECT * FROM aws_lambda.invoke('echo', '1'::jsonb)",
        "SELECT aws_commons.create_lambda_function_arn('f')",
        "SELECT NULL::aws_commons._lambda_function_arn_1",
        "SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '1'",
        "SELECT * FROM aws_lambda.lambda_invocations_json WHERE function_name = 'echo' AND payload = '1'",
        "INSERT INTO aws_lambda.lambda_invocations (function_name, payload) VALUES ('echo', '1')",
        "COPY aws_lambda.lambda_invocations (payload) FROM STDIN",
        "EXPLAIN SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '1'",
        "CREATE FOREIGN TABLE pg_temp.t (payload text) SERVER aws_lambda",
        "CREATE USER MAPPING FOR eve SERVER aws_lambda",
        "CREATE SERVER mine FOREIGN DATA WRAPPER aws_lambda_fdw",
        "CREATE FOREIGN DATA WRAPPER mine HANDLER aws_lambda_fdw_handler",
        "ALTER SERVER aws_lambda OWNER TO eve",
        "ALTER FOREIGN TABLE aws_lambda.lambda_invocations OPTIONS (ADD function_name 'f')",
        "IMPORT FOREIGN SCHEMA x FROM SERVER aws_lambda INTO public",
    ]:
        assert sqlstate(eve, statement) in (DENIED, "42704"), statement
    assert counter("connections") == 0


def test_execute_gives_the_functions_and_not_the_tables(administrator, as_role):
    administrator.execute("GRANT USAGE ON SCHEMA aws_lambda TO eve; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA aws_lambda TO eve")
    eve = as_role("eve")
    assert eve.execute("SELECT payload FROM aws_lambda.invoke('echo', '[1]'::json)").fetchone() == ([1],)
    assert sqlstate(eve, "SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '1'") == DENIED
    assert sqlstate(eve, "CREATE FOREIGN TABLE pg_temp.t (payload text) SERVER aws_lambda") == DENIED
    administrator.execute("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA aws_lambda FROM eve")
    assert sqlstate(eve, "SELECT payload FROM aws_lambda.invoke('echo', '[1]'::json)") == DENIED
    assert functions() == ["echo"]


# The machine's credentials


@pytest.fixture
def maker(administrator, as_role):
    """A role that may make servers."""
    administrator.execute(
        "GRANT USAGE ON FOREIGN DATA WRAPPER aws_lambda_fdw TO alice; GRANT CREATE ON SCHEMA public TO alice"
    )
    return as_role("alice")


def test_a_server_of_ones_own_needs_keys_of_ones_own(administrator, maker):
    maker.execute("CREATE SERVER own FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (region 'us-east-1')")
    describing(maker, "own")
    assert sqlstate(maker, "SELECT * FROM f WHERE payload = '1'") == NO_KEYS
    assert sqlstate(maker, "INSERT INTO f (payload) VALUES ('1')") == NO_KEYS
    maker.execute("CREATE USER MAPPING FOR PUBLIC SERVER own")
    assert sqlstate(maker, "SELECT * FROM f WHERE payload = '1'") == NO_KEYS
    assert sqlstate(maker, "ALTER USER MAPPING FOR PUBLIC SERVER own OPTIONS (ADD access_key_id 'AKIDEXAMPLE')") == "HV00J"
    # A role to assume takes keys too.
    maker.execute("ALTER SERVER own OPTIONS (ADD role_arn 'arn:aws:iam::123456789012:role/name')")
    assert sqlstate(maker, "SELECT * FROM f WHERE payload = '1'") == NO_KEYS
    maker.execute("ALTER SERVER own OPTIONS (DROP role_arn)")
    # Nor are they to be had by way of someone who has them: a superuser, or a superuser's view or function.
    assert sqlstate(maker, "ALTER SERVER own OWNER TO postgres") == DENIED
    administrator.execute("CREATE SCHEMA private; CREATE VIEW private.v AS SELECT * FROM f")
    assert sqlstate(administrator, "SELECT * FROM f WHERE payload = '1'") == NO_KEYS
    assert sqlstate(administrator, "SELECT * FROM private.v WHERE payload = '1'") == NO_KEYS
    assert counter("connections") == 0
    maker.execute(f"CREATE USER MAPPING FOR alice SERVER own OPTIONS ({keys_of()})")
    assert key_of(maker) == "AKIDOTHER"


def test_a_role_is_assumed_with_ones_own_keys(administrator, maker):
    """STS is asked with the mapping's keys, although the machine has some."""
    asked = []
    with listener(lambda connection: asked.append(connection.recv(65536))) as (port, _):
        maker.execute("CREATE SERVER own FOREIGN DATA WRAPPER aws_lambda_fdw")
        administrator.execute(f"ALTER SERVER own OPTIONS (ADD sts_endpoint_url 'http://127.0.0.1:{port}',"
                              " ADD role_arn 'arn:aws:iam::123456789012:role/name')")  # fmt: skip
        maker.execute(f"CREATE USER MAPPING FOR alice SERVER own OPTIONS ({keys_of()})")
        describing(maker, "own")
        assert sqlstate(maker, "SELECT * FROM f WHERE payload = '1'") == NO_KEYS
    assert asked and all(b"AKIDOTHER" in request and MACHINE.encode() not in request for request in asked)


@pytest.mark.parametrize("option", ["endpoint_url", "sts_endpoint_url", "profile"])
def test_options_of_superusers(administrator, maker, option):
    """What points the server process somewhere is not an ordinary role's to set, to change or to drop around."""
    value = "default" if option == "profile" else "http://127.0.0.1:1"
    wrapper = "FOREIGN DATA WRAPPER aws_lambda_fdw"
    assert sqlstate(maker, f"CREATE SERVER own {wrapper} OPTIONS ({option} '{value}')") == DENIED
    maker.execute(f"CREATE SERVER own {wrapper}")
    assert sqlstate(maker, f"ALTER SERVER own OPTIONS (ADD {option} '{value}')") == DENIED
    administrator.execute(f"ALTER SERVER own OPTIONS (ADD {option} '{value}')")
    assert sqlstate(maker, f"ALTER SERVER own OPTIONS (SET {option} '{value}2')") == DENIED


def test_a_server_that_is_given_away(administrator, maker):
    """The machine's credentials go with the superuser who owned it, also in sessions that have used them."""
    administrator.execute("CREATE SERVER shared FOREIGN DATA WRAPPER aws_lambda_fdw; GRANT USAGE ON FOREIGN SERVER shared TO alice")
    describing(maker, "shared")
    # As README says of USAGE.
    maker.execute("PREPARE p AS SELECT response::json ->> 'access_key' FROM f WHERE payload = '1'")
    for _ in range(7):
        assert maker.execute("EXECUTE p").fetchone() == (MACHINE,)
    administrator.execute("ALTER SERVER shared OWNER TO alice")
    assert sqlstate(maker, "EXECUTE p") == NO_KEYS
    administrator.execute("ALTER SERVER shared OWNER TO postgres")
    assert maker.execute("EXECUTE p").fetchone() == (MACHINE,)


def test_an_owner_who_is_no_superuser_any_more(administrator, as_role):
    administrator.execute("ALTER ROLE alice SUPERUSER")
    try:
        alice = as_role("alice")
        alice.execute("CREATE SERVER own FOREIGN DATA WRAPPER aws_lambda_fdw")
        describing(alice, "own")
        assert key_of(alice) == MACHINE
    finally:
        administrator.execute("ALTER ROLE alice NOSUPERUSER")
    assert sqlstate(alice, "SELECT * FROM f WHERE payload = '1'") == NO_KEYS
    assert counter("invocations") == 1


# Settings


def test_endpoint_settings_need_a_superuser(administrator, as_role):
    """In all the ways to set one, also before the library is there and so before it can refuse anything."""
    administrator.execute("GRANT USAGE ON SCHEMA aws_lambda TO eve; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA aws_lambda TO eve")
    call = "SELECT payload ->> 'region' FROM aws_lambda.invoke('describe', '1'::json)"
    name, elsewhere = "aws_lambda.endpoint_override", "http://127.0.0.1:1"
    eve = as_role("eve")
    assert eve.execute(call).fetchone() == ("us-west-2",)
    for statement in [
        f"SET {name} = '{elsewhere}'",
        f"SET LOCAL {name} = '{elsewhere}'",
        f"SELECT set_config('{name}', '{elsewhere}', false)",
        f"ALTER ROLE eve SET {name} = '{elsewhere}'",
        f"CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql SET {name} = '{elsewhere}' AS 'SELECT 1'; SELECT pg_temp.f()",
        f"UPDATE pg_settings SET setting = '{elsewhere}' WHERE name = '{name}'",
    ]:
        assert sqlstate(eve, statement) in (DENIED, "25P01"), statement
        assert eve.execute(call).fetchone() == ("us-west-2",)
    # The library comes with the first call.
    session = as_role("eve")
    session.execute(f"SET {name} = '{elsewhere}'")
    assert session.execute(call).fetchone() == ("us-west-2",)
    assert session.execute(f"SHOW {name}").fetchone() == (URL,)
    # PostgreSQL forgets postgresql.conf's value for one that it refuses only later. What is left is AWS's own endpoint.
    session = as_role("eve", options=f"-c {name}={elsewhere}")
    assert sqlstate(session, call) == "08001"
    assert session.execute(f"SHOW {name}").fetchone() == ("",)


def test_endpoint_settings_where_the_library_is_preloaded(start):
    server = start("session_preload_libraries = 'aws_lambda_fdw'")
    with contextlib.closing(connect(server)) as administrator:
        administrator.execute("CREATE ROLE eve LOGIN")
        where = {"host": server.socket_dir, "port": 5432, "user": "eve", "dbname": "postgres"}
        options = "-c aws_lambda.endpoint_override=http://127.0.0.1:1"
        with contextlib.closing(psycopg.connect(**where, options=options)) as session:
            assert session.execute("SHOW aws_lambda.endpoint_override").fetchone() == ("",)
    server = start("shared_preload_libraries = 'aws_lambda_fdw'")
    with contextlib.closing(connect(server)) as administrator:
        administrator.execute("CREATE ROLE eve LOGIN")
        where["host"] = server.socket_dir
        with pytest.raises(psycopg.OperationalError, match="permission denied to set parameter"):
            psycopg.connect(**where, options=options)


# Mappings


def test_mappings_are_unreadable(administrator, as_role):
    administrator.execute("CREATE SERVER shared FOREIGN DATA WRAPPER aws_lambda_fdw")
    administrator.execute(f"CREATE USER MAPPING FOR bob SERVER shared OPTIONS ({keys_of()})")
    administrator.execute(f"CREATE USER MAPPING FOR PUBLIC SERVER shared OPTIONS ({keys_of()})")
    for role in ("eve", "bob"):
        session = as_role(role)
        assert sqlstate(session, "SELECT * FROM pg_user_mapping") == DENIED
        for query in [
            "SELECT umoptions::text FROM pg_user_mappings",
            "SELECT option_value FROM information_schema.user_mapping_options",
            "SELECT option_value FROM information_schema.foreign_server_options",
            "SELECT srvoptions::text FROM pg_foreign_server",
            "SELECT array_agg(q)::text FROM pg_stat_activity q",
        ]:
            assert "othersecret" not in str(session.execute(query).fetchall()), query
    # README: with USAGE on the server a role sees its own.
    administrator.execute("GRANT USAGE ON FOREIGN SERVER shared TO bob")
    seen = as_role("bob").execute("SELECT usename, umoptions::text LIKE '%othersecret%' FROM pg_user_mappings").fetchall()
    assert ("bob", True) in seen and ("public", True) not in seen


# Whose keys


@pytest.fixture
def shared(administrator):
    """A table for all, with keys of alice's and bob's, and none of eve's."""
    administrator.execute("CREATE SERVER shared FOREIGN DATA WRAPPER aws_lambda_fdw; CREATE SCHEMA private")
    administrator.execute("GRANT USAGE ON SCHEMA private TO PUBLIC")
    describing(administrator, "shared", "private.f")
    administrator.execute("GRANT SELECT, INSERT ON private.f TO alice, bob, eve")
    administrator.execute(f"CREATE USER MAPPING FOR alice SERVER shared OPTIONS ({keys_of()})")
    token = {"access_key_id": "ASIAEXAMPLE", "secret_access_key": "sessionsecret", "session_token": "example-session-token"}
    administrator.execute(f"CREATE USER MAPPING FOR bob SERVER shared OPTIONS ({keys_of(token)})")
    return administrator


ALICE, BOB = "AKIDOTHER", "ASIAEXAMPLE"


def test_set_role_back_and_forth(shared):
    shared.execute("PREPARE p AS SELECT response::json ->> 'access_key' FROM private.f WHERE payload = '1'")
    for _ in range(4):
        for role, key in (("alice", ALICE), ("bob", BOB), ("postgres", MACHINE)):
            shared.execute(f"SET ROLE {role}")
            assert key_of(shared, "private.f") == key
            assert shared.execute("EXECUTE p").fetchone() == (key,)
    # Each role has a client, and so a connection, of its own.
    assert counter("connections") == 3


def test_views_and_functions_use_their_owners_keys(shared):
    shared.execute("GRANT CREATE ON SCHEMA private TO alice; SET ROLE alice")
    shared.execute("CREATE VIEW private.v AS SELECT * FROM private.f; GRANT SELECT, INSERT ON private.v TO bob")
    body = "SELECT response::json ->> 'access_key' FROM private.f WHERE payload = '1'"
    shared.execute(f"CREATE FUNCTION private.definer() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ {body} $$")
    shared.execute(f"CREATE FUNCTION private.invoker() RETURNS text LANGUAGE sql VOLATILE AS $$ {body} $$")
    shared.execute(
        f"CREATE FUNCTION private.plpgsql() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN ({body}); END $$"
    )
    shared.execute("SET ROLE bob")
    for _ in range(7):
        query = "SELECT private.definer(), private.invoker(), private.plpgsql()"
        assert shared.execute(query).fetchone() == (ALICE, BOB, ALICE)
        assert (key_of(shared, "private.v"), key_of(shared, "private.f")) == (ALICE, BOB)
    joined = """
        SELECT a.response::json ->> 'access_key', b.response::json ->> 'access_key'
        FROM generate_series(1, 3) i JOIN private.v a ON a.payload = i::text JOIN private.f b ON b.payload = i::text
    """
    assert shared.execute(joined).fetchall() == [(ALICE, BOB)] * 3
    # An INSERT as well, which is signed with the keys of the view's owner.
    before = counter("invocations")
    for table, key in (("v", ALICE), ("f", BOB)):
        query = f"""WITH i AS (INSERT INTO private.{table} (payload) VALUES ('1') RETURNING *) SELECT count(*) FROM i"""
        assert shared.execute(query).fetchone() == (1,)
        shared.execute("SET ROLE postgres")
        shared.execute(f"ALTER USER MAPPING FOR {'alice' if key == ALICE else 'bob'} SERVER shared OPTIONS (SET secret_access_key 'wrong')")
        shared.execute("SET ROLE bob")
        assert sqlstate(shared, f"INSERT INTO private.{table} (payload) VALUES ('1')") == NO_KEYS
    assert counter("invocations") == before + 2


def test_cursor_of_another_role(shared):
    with shared.transaction():
        shared.execute("SET LOCAL ROLE alice")
        shared.execute("DECLARE c CURSOR FOR SELECT response::json ->> 'access_key' FROM private.f WHERE payload IN ('1', '2')")
        shared.execute("SET LOCAL ROLE bob")
        assert shared.execute("FETCH ALL FROM c").fetchall() == [(ALICE,)] * 2


def test_changes_count_from_the_next_statement(shared, as_role):
    prepare = "PREPARE p AS SELECT response::json ->> 'access_key' FROM private.f WHERE payload = '1'"
    alice = as_role("alice")
    alice.execute(prepare)
    alice.execute("BEGIN")
    for _ in range(7):
        assert alice.execute("EXECUTE p").fetchone() == (ALICE,)
    shared.execute("DROP USER MAPPING FOR alice SERVER shared; ALTER SERVER shared OWNER TO alice")
    assert sqlstate(alice, "EXECUTE p") == NO_KEYS
    alice.execute("ROLLBACK")
    # The client has dropped the statement by now.
    alice.execute(prepare)
    shared.execute(f"ALTER SERVER shared OWNER TO postgres; CREATE USER MAPPING FOR alice SERVER shared OPTIONS ({keys_of()})")
    assert alice.execute("EXECUTE p").fetchone() == (ALICE,)
    shared.execute("REVOKE SELECT ON private.f FROM alice")
    assert sqlstate(alice, "EXECUTE p") == DENIED
    assert counter("invocations") == 8


# Rows that a role may not see


LEAK = """
    CREATE FUNCTION pg_temp.leak(anything text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
        $$ BEGIN RAISE NOTICE 'leaked %', anything; RETURN true; END $$;
"""


def test_rows_behind_a_barrier(shared, as_role):
    """Neither a function in the query nor an invocation gets to see a row that a view, or a policy, keeps from the role."""
    shared.execute(
        """
        CREATE TABLE private.people (name text, owner text);
        INSERT INTO private.people VALUES ('alice''s', 'alice'), ('bob''s', 'bob'), ('also bob''s', 'bob');
        CREATE VIEW private.mine WITH (security_barrier) AS SELECT * FROM private.people WHERE owner = current_user;
        CREATE VIEW private.answers WITH (security_barrier) AS
            SELECT name, response FROM private.people JOIN private.f ON payload = name WHERE owner = current_user;
        GRANT SELECT ON private.mine, private.answers TO alice;
        CREATE TABLE private.rows (LIKE private.people);
        INSERT INTO private.rows SELECT * FROM private.people;
        ALTER TABLE private.rows ENABLE ROW LEVEL SECURITY;
        CREATE POLICY own ON private.rows USING (owner = current_user);
        GRANT SELECT ON private.rows TO alice;
        """
    )
    alice, heard = as_role("alice"), []
    alice.execute(LEAK)
    alice.add_notice_handler(lambda diag: heard.append(diag.message_primary))
    for query in [
        "SELECT * FROM private.mine JOIN private.f ON payload = name WHERE pg_temp.leak(name)",
        "SELECT * FROM private.mine LEFT JOIN private.f ON payload = name AND pg_temp.leak(name)",
        "SELECT * FROM private.mine JOIN private.f ON payload = name AND pg_temp.leak(response)",
        "SELECT * FROM private.answers WHERE pg_temp.leak(name)",
        "SELECT * FROM private.answers WHERE pg_temp.leak(response) AND pg_temp.leak(name)",
        "SELECT * FROM private.rows JOIN private.f ON payload = name WHERE pg_temp.leak(name)",
        "SELECT * FROM private.rows LEFT JOIN private.f ON payload = name AND pg_temp.leak(name)",
        "SELECT name, (SELECT response FROM private.f WHERE payload = name AND pg_temp.leak(name)) FROM private.rows",
        "SELECT * FROM private.rows r WHERE EXISTS (SELECT FROM private.f WHERE payload = r.name AND pg_temp.leak(r.name))",
    ]:
        before = counter("invocations")
        assert len(alice.execute(query).fetchall()) == 1, query
        assert counter("invocations") == before + 1, query
    assert heard and all("alice" in text and "bob" not in text for text in heard)


# A table that is bound to a function


def test_a_bound_table_stays_bound(shared, as_role):
    shared.execute(
        """
        CREATE FOREIGN TABLE private.bound (function_name text, qualifier text, region text, invocation_type text,
            payload text, response text, status_code int)
            SERVER shared OPTIONS (function_name 'echo', qualifier 'v1', region 'eu-west-1', invocation_type 'DryRun');
        GRANT SELECT, INSERT ON private.bound TO alice;
        """
    )
    alice = as_role("alice")
    given = {
        "function_name": ("describe", "echo:v2", "us-east-1:123456789012:function:echo", "ECHO"),
        "qualifier": ("v2", "$LATEST"),
        "region": ("us-east-1",),
        "invocation_type": ("RequestResponse", "Event"),
    }
    for column, values in given.items():
        for value in values:
            for clause in ("{} = %s", "{} IN (%s, 'nothing')", "{} IS NOT DISTINCT FROM %s", "{}::varchar = %s OR {} = ''"):
                query = f"SELECT * FROM private.bound WHERE payload = '1' AND ({clause.format(column, column)})"
                assert alice.execute(query, [value]).fetchall() == []
            joined = f"SELECT * FROM (VALUES (%s)) v (x) JOIN private.bound ON {column} = x AND payload = '1'"
            assert alice.execute(joined, [value]).fetchall() == []
            insert = f"INSERT INTO private.bound (payload, {column}) VALUES ('1', %s)"
            assert sqlstate(alice, insert, value) == "23514"
            assert sqlstate(alice, f"{insert} RETURNING status_code", value) == "23514"
            with pytest.raises(psycopg.errors.CheckViolation):
                with alice.cursor().copy(f"COPY private.bound (payload, {column}) FROM STDIN") as copy:
                    copy.write_row(["1", value])
        query = f"SELECT * FROM private.bound WHERE payload = '1' AND {column} IS NULL"
        assert alice.execute(query).fetchall() == []
    for statement in [
        "ALTER FOREIGN TABLE private.bound OPTIONS (SET function_name 'describe')",
        "CREATE FOREIGN TABLE pg_temp.other (payload text) SERVER shared OPTIONS (function_name 'describe')",
        "CREATE TEMPORARY TABLE parent (LIKE private.bound); ALTER FOREIGN TABLE private.bound INHERIT parent",
        "ALTER FOREIGN TABLE private.bound DROP COLUMN qualifier",
    ]:
        assert sqlstate(alice, statement) == DENIED, statement
    assert counter("invocations") == 0
    assert alice.execute("SELECT status_code FROM private.bound WHERE payload = '1'").fetchall() == [(204,)]
    alice.execute("INSERT INTO private.bound (payload, qualifier) VALUES ('1', 'v1')")
    assert functions() == ["echo"] * 2
