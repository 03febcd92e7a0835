"""The limits of an ordinary role: each promise is tried as such a role, and the endpoint counts requests.

The server process has credentials here, as on EC2. tests/regress/sql/privileges.sql too has statements that are refused without
GRANT.
"""

import contextlib

import psycopg
import pytest

import scripted
from listeners import listener, respond
from own_server import KEYS, connect, own_server
from scripted import EXAMPLE_KEYS, OTHER_KEYS, URL, counter, functions
from tables import failure, keys, options

MACHINE = KEYS["AWS_ACCESS_KEY_ID"]
DENIED = "42501"
NO_KEYS = "28000"
NOWHERE = "http://127.0.0.1:1"
TOKEN_KEYS = keys("ASIAEXAMPLE", "sessionsecret", "example-session-token")
ALICE, BOB = OTHER_KEYS["access_key_id"], TOKEN_KEYS["access_key_id"]


@pytest.fixture(scope="module")
def elsewhere():
    """The endpoint of the machine's AWS configuration, so that no test calls AWS. It refuses everything."""
    with listener(respond("403 No", "{}", "x-amzn-ErrorType: AccessDeniedException")) as (port, accepted):
        yield f"http://127.0.0.1:{port}", accepted


@pytest.fixture(scope="module")
def server(elsewhere):
    with own_server(AWS_ENDPOINT_URL_LAMBDA=elsewhere[0]) as server:
        with contextlib.closing(connect(server)) as administrator:
            administrator.execute("CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE eve LOGIN")
            # An ordinary role can't set the option endpoint_url, so all use the setting.
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


def changed(keys):
    return ", ".join(f"SET {name} '{value}'" for name, value in keys.items())


# Without GRANT


def test_nothing_without_grant(administrator, as_role):
    eve = as_role("eve")
    objects = administrator.execute(
        """
        SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
        WHERE nspname LIKE 'aws%'
        """
    ).fetchall()
    assert len(objects) == 20
    for statement in [
        "SELECT * FROM aws_lambda.invoke('echo', '1'::json)",
        "SELECT * FROM aws_lambda.invoke('echo', '1'::jsonb)",
        "SELECT aws_lambda.enqueue('echo', '1'::json)",
        "SELECT aws_lambda.enqueue('echo', '1'::jsonb)",
        "CALL aws_lambda.deliver()",
        "SELECT aws_lambda.retry(1)",
        "SELECT aws_lambda.start_worker()",
        "SELECT * FROM aws_lambda.queue",
        "SELECT * FROM aws_lambda.queue_status",
        "SELECT * FROM aws_lambda.queue_deliveries",
        "DELETE FROM aws_lambda.queue_worker",
        "SELECT aws_lambda.ignore_replicated()",
        "SELECT aws_lambda.invoke_support(NULL)",
        "SELECT aws_lambda.aws_lambda_fdw_validator('{}', 0)",
        "SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '1'",
        "SELECT * FROM aws_lambda.lambda_invocations_json WHERE function_name = 'echo' AND payload = '1'",
        "INSERT INTO aws_lambda.lambda_invocations (function_name, payload) VALUES ('echo', '1')",
        "COPY aws_lambda.lambda_invocations (payload) FROM STDIN",
        "EXPLAIN SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '1'",
        "CREATE FOREIGN TABLE pg_temp.t (payload text) SERVER aws_lambda",
        "CREATE USER MAPPING FOR eve SERVER aws_lambda",
        "CREATE SERVER mine FOREIGN DATA WRAPPER aws_lambda_fdw",
        "CREATE FOREIGN DATA WRAPPER mine HANDLER aws_lambda.aws_lambda_fdw_handler",
        "ALTER SERVER aws_lambda OWNER TO eve",
        "ALTER FOREIGN TABLE aws_lambda.lambda_invocations OPTIONS (ADD function_name 'f')",
        "SELECT * FROM aws_lambda.functions",
        "SELECT * FROM aws_lambda.functions WHERE function_name = 'alpha'",
        "IMPORT FOREIGN SCHEMA lambda FROM SERVER aws_lambda INTO public",
    ]:
        assert sqlstate(eve, statement) in (DENIED, "42704"), statement
    assert counter("connections") == 0


DOES = {
    "invoke": "SELECT * FROM aws_lambda.invoke('echo', '1'::json)",
    "invoke by ARN": "SELECT * FROM aws_lambda.invoke(aws_commons.create_lambda_function_arn('echo'), '1'::json)",
    "select": "SELECT response FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '1'",
    "insert": "INSERT INTO aws_lambda.lambda_invocations_json (function_name, payload) VALUES ('echo', '1')",
    "insert and see": "INSERT INTO aws_lambda.lambda_invocations (function_name, payload) VALUES ('echo', '1')"
    " RETURNING payload",
    "make a table": "CREATE FOREIGN TABLE public.made (payload text) SERVER aws_lambda OPTIONS (function_name 'echo');"
    " SELECT * FROM public.made WHERE payload = '1'; DROP FOREIGN TABLE public.made",
    "map oneself": "CREATE USER MAPPING FOR eve SERVER aws_lambda; DROP USER MAPPING FOR eve SERVER aws_lambda",
    "map another": "CREATE USER MAPPING FOR bob SERVER aws_lambda",
    "map all": "CREATE USER MAPPING FOR PUBLIC SERVER aws_lambda",
    "make a server": "CREATE SERVER made FOREIGN DATA WRAPPER aws_lambda_fdw; DROP SERVER made",
    "make a wrapper": "CREATE FOREIGN DATA WRAPPER made HANDLER aws_lambda.aws_lambda_fdw_handler",
    "alter the server": "ALTER SERVER aws_lambda OPTIONS (ADD region 'us-east-1')",
    "alter the table": "ALTER FOREIGN TABLE aws_lambda.lambda_invocations OPTIONS (ADD function_name 'f')",
    "alter the function": "ALTER FUNCTION aws_lambda.invoke(text, json, text, text, text, json, varchar)"
    " SECURITY INVOKER",
    "list functions": "SELECT count(*) FROM aws_lambda.functions",
    "import": "IMPORT FOREIGN SCHEMA lambda LIMIT TO (alpha) FROM SERVER aws_lambda INTO public; DROP FOREIGN TABLE public.alpha",
    "drop the table": "DROP FOREIGN TABLE aws_lambda.lambda_invocations",
}  # fmt: skip
INVOKES = {"invoke", "invoke by ARN", "select", "insert", "insert and see", "make a table"}
SCHEMAS = "USAGE ON SCHEMA aws_lambda, aws_commons"
EXECUTE = "EXECUTE ON ALL FUNCTIONS IN SCHEMA aws_lambda"
BOTH = "ON aws_lambda.lambda_invocations, aws_lambda.lambda_invocations_json"


@pytest.mark.parametrize("grants, allowed", [
    ([], set()),
    ([SCHEMAS], set()),
    (["USAGE ON SCHEMA aws_lambda", EXECUTE], {"invoke", "invoke by ARN"}),
    ([SCHEMAS, f"{EXECUTE}, aws_commons"], {"invoke", "invoke by ARN"}),
    ([SCHEMAS, f"SELECT {BOTH}"], {"select"}),
    ([SCHEMAS, f"INSERT {BOTH}"], {"insert"}),
    ([SCHEMAS, f"SELECT, INSERT {BOTH}"], {"select", "insert", "insert and see"}),
    ([SCHEMAS, "SELECT (response) ON aws_lambda.lambda_invocations"], set()),
    (["USAGE ON FOREIGN SERVER aws_lambda", "CREATE ON SCHEMA public"], {"make a table", "import", "map oneself"}),
    ([SCHEMAS, "SELECT ON aws_lambda.functions"], {"list functions"}),
    (["USAGE ON FOREIGN DATA WRAPPER aws_lambda_fdw", "CREATE ON SCHEMA public"], {"make a server"}),
], ids=lambda value: " + ".join(value) if isinstance(value, list) else "")  # fmt: skip
def test_each_grant_gives_what_it_says_and_no_more(administrator, as_role, grants, allowed):
    for grant in grants:
        administrator.execute(f"GRANT {grant} TO eve")
    eve = as_role("eve")
    may = set()
    for name, statement in DOES.items():
        try:
            eve.execute(statement)
            may.add(name)
        except psycopg.errors.InsufficientPrivilege:
            pass
    assert may == allowed
    assert functions() == ["echo"] * len(allowed & INVOKES)
    # A revoked privilege ends in a session that has used it.
    administrator.execute("DROP OWNED BY eve")
    for statement in DOES.values():
        assert sqlstate(eve, statement) == DENIED
    assert counter("invocations") == len(allowed & INVOKES)


# The machine's credentials


@pytest.fixture
def maker(administrator, as_role):
    """A role that may create servers."""
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
    assert sqlstate(maker, "ALTER USER MAPPING FOR PUBLIC SERVER own OPTIONS (ADD access_key_id 'A')") == "HV00J"
    # Assuming a role needs keys too.
    maker.execute("ALTER SERVER own OPTIONS (ADD role_arn 'arn:aws:iam::123456789012:role/name')")
    assert sqlstate(maker, "SELECT * FROM f WHERE payload = '1'") == NO_KEYS
    maker.execute("ALTER SERVER own OPTIONS (DROP role_arn)")
    # Nor through a superuser, or a superuser's view or function.
    assert sqlstate(maker, "ALTER SERVER own OWNER TO postgres") == DENIED
    administrator.execute("CREATE SCHEMA private; CREATE VIEW private.v AS SELECT * FROM f")
    assert sqlstate(administrator, "SELECT * FROM f WHERE payload = '1'") == NO_KEYS
    assert sqlstate(administrator, "SELECT * FROM private.v WHERE payload = '1'") == NO_KEYS
    assert counter("connections") == 0
    maker.execute(f"CREATE USER MAPPING FOR alice SERVER own OPTIONS ({keys_of()})")
    assert key_of(maker) == "AKIDOTHER"


def test_a_role_is_assumed_with_ones_own_keys(administrator, maker):
    """The request to STS is signed with the mapping's keys, although the machine has keys."""
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
    """An ordinary role can't set, change or drop options that direct the server process to a host or file."""
    value = "default" if option == "profile" else "http://127.0.0.1:1"
    wrapper = "FOREIGN DATA WRAPPER aws_lambda_fdw"
    assert sqlstate(maker, f"CREATE SERVER own {wrapper} OPTIONS ({option} '{value}')") == DENIED
    maker.execute(f"CREATE SERVER own {wrapper}")
    assert sqlstate(maker, f"ALTER SERVER own OPTIONS (ADD {option} '{value}')") == DENIED
    administrator.execute(f"ALTER SERVER own OPTIONS (ADD {option} '{value}')")
    assert sqlstate(maker, f"ALTER SERVER own OPTIONS (SET {option} '{value}2')") == DENIED


def test_a_server_that_is_given_away(administrator, maker):
    """A new owner who is no superuser can't use the machine's credentials, even in sessions that have used them."""
    administrator.execute("CREATE SERVER shared FOREIGN DATA WRAPPER aws_lambda_fdw")
    administrator.execute("GRANT USAGE ON FOREIGN SERVER shared TO alice")
    describing(maker, "shared")
    # As docs/security.md says of USAGE.
    maker.execute("PREPARE p AS SELECT response::json ->> 'access_key' FROM f WHERE payload = '1'")
    for _ in range(7):
        assert maker.execute("EXECUTE p").fetchone() == (MACHINE,)
    administrator.execute("ALTER SERVER shared OWNER TO alice")
    assert sqlstate(maker, "EXECUTE p") == NO_KEYS
    administrator.execute("ALTER SERVER shared OWNER TO postgres")
    assert maker.execute("EXECUTE p").fetchone() == (MACHINE,)


@pytest.fixture
def own(maker):
    """A server of the role's own, with a table and without keys."""
    maker.execute("CREATE SERVER own FOREIGN DATA WRAPPER aws_lambda_fdw")
    describing(maker, "own")
    return maker


WAYS_TO_MACHINE_CREDENTIALS = {
    "a superuser's query": "SET ROLE postgres; {}",
    "a superuser's function": "SELECT private.definer()",
    "a superuser's function with rights of the caller's": "SELECT private.invoker()",
    "a superuser's view": "SELECT * FROM private.view WHERE payload = '1'",
    "a superuser's table on it": "SELECT * FROM private.f WHERE payload = '1'",
    "a superuser's cursor": "BEGIN; SELECT private.cursor(); FETCH ALL FROM c",
    "another's function": "SELECT public.trap()",
    "the session of a superuser": "RESET SESSION AUTHORIZATION; SET SESSION AUTHORIZATION alice; {}",
    "as a member of a superuser": "SET ROLE postgres; GRANT postgres TO alice; SET ROLE alice; {}",
    "owned by a group": "SET ROLE postgres; ALTER SERVER own OWNER TO bob; GRANT bob TO alice; SET ROLE alice; {}",
    "a superuser's profile": "SET ROLE postgres; ALTER SERVER own OPTIONS (ADD profile 'default'); SET ROLE alice; {}",
    "an endpoint of a superuser's": f"SET ROLE postgres; ALTER SERVER own OPTIONS (ADD endpoint_url '{URL}');"
    " SET ROLE alice; {}",
    "a mapping without keys": "CREATE USER MAPPING FOR alice SERVER own; CREATE USER MAPPING FOR PUBLIC SERVER own; {}",
    "keys dropped": "CREATE USER MAPPING FOR alice SERVER own OPTIONS (access_key_id 'a', secret_access_key 'b');"
    " ALTER USER MAPPING FOR alice SERVER own OPTIONS (DROP access_key_id, DROP secret_access_key); {}",
    "keys for others": "CREATE USER MAPPING FOR PUBLIC SERVER own OPTIONS (access_key_id 'a', secret_access_key 'b');"
    " CREATE USER MAPPING FOR alice SERVER own; {}",
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS_TO_MACHINE_CREDENTIALS.values(), ids=WAYS_TO_MACHINE_CREDENTIALS)
def test_server_process_credentials_cannot_be_used(administrator, own, way):
    """Only the owner of the server counts, even if a superuser takes part."""
    query = "SELECT * FROM f WHERE payload = '1'"
    administrator.execute(
        f"""
        CREATE SCHEMA private; GRANT USAGE ON SCHEMA private TO alice;
        GRANT USAGE ON FOREIGN DATA WRAPPER aws_lambda_fdw TO bob;
        CREATE VIEW private.view AS SELECT * FROM f;
        CREATE FUNCTION private.definer() RETURNS SETOF f LANGUAGE sql SECURITY DEFINER AS $$ {query} $$;
        CREATE FUNCTION private.invoker() RETURNS SETOF f LANGUAGE sql AS $$ {query} $$;
        CREATE FUNCTION private.cursor() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
            $$ DECLARE c CURSOR FOR {query}; BEGIN c := 'c'; OPEN c; END $$;
        GRANT SELECT ON private.view TO alice;
        """
    )
    describing(administrator, "own", "private.f")
    administrator.execute("GRANT SELECT ON private.f TO alice")
    own.execute(f"CREATE FUNCTION public.trap() RETURNS SETOF f LANGUAGE sql SECURITY DEFINER AS $$ {query} $$")
    administrator.execute("SET ROLE alice")
    error = failure(administrator.execute, way.format(query))
    # The error is not about a lack in the machine's configuration.
    assert (error.sqlstate, error.diag.message_primary) == (NO_KEYS, 'no AWS credentials for server "own"')
    assert counter("connections") == 0
    administrator.execute("ROLLBACK; RESET SESSION AUTHORIZATION; RESET ROLE; REVOKE postgres, bob FROM alice")


def test_options_of_a_superuser_on_ones_own_server(administrator, own):
    """They stay, and the role may drop them. While they are set, it can change nothing else."""
    administrator.execute(f"ALTER SERVER own OPTIONS (ADD endpoint_url '{URL}', ADD region 'eu-west-1')")
    own.execute(f"CREATE USER MAPPING FOR alice SERVER own OPTIONS ({keys_of()})")
    role = "ADD role_arn 'arn:aws:iam::123456789012:role/r'"
    for change in ("SET region 'us-east-1'", role, f"SET endpoint_url '{NOWHERE}'"):
        assert sqlstate(own, f"ALTER SERVER own OPTIONS ({change})") == DENIED
    region = "SELECT response::json ->> 'region' FROM f WHERE payload = '1'"
    assert own.execute(region).fetchone() == ("eu-west-1",)
    own.execute("ALTER SERVER own OPTIONS (DROP endpoint_url, SET region 'us-east-1')")
    assert own.execute(region).fetchone() == ("us-east-1",)


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


CALL = "SELECT payload ->> 'region' FROM aws_lambda.invoke('describe', '1'::json)"
ENDPOINT = "aws_lambda.endpoint_override"


@pytest.fixture
def invoker(administrator):
    """A role that may invoke, and owns the database."""
    administrator.execute(f"GRANT USAGE ON SCHEMA aws_lambda TO eve; GRANT {EXECUTE} TO eve")
    administrator.execute("ALTER DATABASE postgres OWNER TO eve")
    yield "eve"
    administrator.execute("ALTER DATABASE postgres OWNER TO postgres")


@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "not-loaded"])
@pytest.mark.parametrize("statement", [
    f"ALTER ROLE eve SET {ENDPOINT} = '{NOWHERE}'",
    f"ALTER ROLE eve IN DATABASE postgres SET {ENDPOINT} = '{NOWHERE}'",
    f"ALTER ROLE ALL SET {ENDPOINT} = '{NOWHERE}'",
    f"ALTER DATABASE postgres SET {ENDPOINT} = '{NOWHERE}'",
    f"ALTER SYSTEM SET {ENDPOINT} = '{NOWHERE}'",
    f"CREATE FUNCTION pg_temp.f() RETURNS int SET {ENDPOINT} = '{NOWHERE}' LANGUAGE sql AS 'SELECT 1'",
    f"SET {ENDPOINT} = '{NOWHERE}';"
    f" CREATE FUNCTION pg_temp.f() RETURNS int SET {ENDPOINT} FROM CURRENT LANGUAGE sql AS 'SELECT 1'",
])  # fmt: skip
def test_endpoint_settings_that_stay_need_a_superuser(invoker, as_role, statement, loaded):
    """Including ALTER ROLE and ALTER DATABASE, by the role or the owner, before the library is loaded."""
    session = as_role(invoker)
    if loaded:
        session.execute(CALL)
    assert sqlstate(session, statement) == DENIED


@pytest.mark.parametrize("statement", [
    f"SET {ENDPOINT} = '{NOWHERE}'",
    f"BEGIN; SET LOCAL {ENDPOINT} = '{NOWHERE}'",
    f"SELECT set_config('{ENDPOINT}', '{NOWHERE}', false)",
    f"DO $$ BEGIN PERFORM set_config('{ENDPOINT}', '{NOWHERE}', false); END $$",
    f"UPDATE pg_settings SET setting = '{NOWHERE}' WHERE name = '{ENDPOINT}'",
])  # fmt: skip
def test_endpoint_settings_of_a_session_need_a_superuser(invoker, as_role, statement):
    """PostgreSQL accepts unknown settings. The library drops them when the first call loads it."""
    session = as_role(invoker)
    assert session.execute(CALL).fetchone() == ("us-west-2",)
    assert sqlstate(session, statement) == DENIED
    session.execute("ROLLBACK")
    assert session.execute(CALL).fetchone() == ("us-west-2",)
    session = as_role(invoker)
    session.execute(statement)
    assert session.execute(CALL).fetchone() == ("us-west-2",)
    assert session.execute(f"SHOW {ENDPOINT}").fetchone() == (URL,)
    session.execute("ROLLBACK")
    assert session.execute(CALL).fetchone() == ("us-west-2",)


def test_endpoint_settings_of_a_connection(invoker, as_role, elsewhere):
    """PostgreSQL drops the value of postgresql.conf with the refused one. The machine's configuration is left."""
    before = len(elsewhere[1])
    session = as_role(invoker, options=f"-c {ENDPOINT}={NOWHERE}")
    assert sqlstate(session, CALL) == DENIED
    assert session.execute(f"SHOW {ENDPOINT}").fetchone() == ("",)
    assert (len(elsewhere[1]) - before, counter("connections")) == (1, 0)


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
    # docs/security.md: with USAGE on the server a role sees its own.
    administrator.execute("GRANT USAGE ON FOREIGN SERVER shared TO bob")
    query = "SELECT usename, umoptions::text LIKE '%othersecret%' FROM pg_user_mappings"
    seen = as_role("bob").execute(query).fetchall()
    assert ("bob", True) in seen and ("public", True) not in seen


def test_whose_mappings_the_owner_of_a_server_sees(administrator, own, as_role):
    """PUBLIC's mapping and its own, but not those of other roles."""
    administrator.execute("GRANT USAGE ON FOREIGN SERVER own TO bob")
    bob = as_role("bob")
    for session, role in ((bob, "bob"), (own, "PUBLIC"), (own, "alice")):
        session.execute(f"CREATE USER MAPPING FOR {role} SERVER own OPTIONS ({keys_of(keys('a', role + 'secret'))})")
    for query in (
        "SELECT coalesce(string_agg(umoptions::text, ''), '') FROM pg_user_mappings",
        "SELECT coalesce(string_agg(option_value, ''), '') FROM information_schema.user_mapping_options",
    ):
        for session, seen in ((own, {"PUBLIC", "alice"}), (bob, {"bob"}), (as_role("eve"), set())):
            found = session.execute(query).fetchone()[0]
            assert {role for role in ("bob", "PUBLIC", "alice") if f"{role}secret" in found} == seen


# Whose keys


@pytest.fixture
def shared(administrator):
    """A table for all roles. alice and bob have keys, and eve has none."""
    administrator.execute("CREATE SERVER shared FOREIGN DATA WRAPPER aws_lambda_fdw; CREATE SCHEMA private")
    administrator.execute("GRANT USAGE ON SCHEMA private TO PUBLIC")
    describing(administrator, "shared", "private.f")
    administrator.execute("GRANT SELECT, INSERT ON private.f TO alice, bob, eve")
    administrator.execute(f"CREATE USER MAPPING FOR alice SERVER shared OPTIONS ({keys_of()})")
    administrator.execute(f"CREATE USER MAPPING FOR bob SERVER shared OPTIONS ({keys_of(TOKEN_KEYS)})")
    return administrator


def test_set_role_back_and_forth(shared):
    shared.execute("PREPARE p AS SELECT response::json ->> 'access_key' FROM private.f WHERE payload = '1'")
    for _ in range(4):
        for role, key in (("alice", ALICE), ("bob", BOB), ("postgres", MACHINE)):
            shared.execute(f"SET ROLE {role}")
            assert key_of(shared, "private.f") == key
            assert shared.execute("EXECUTE p").fetchone() == (key,)
    # Each role has its own client and connection.
    assert counter("connections") == 3


def test_views_and_functions_use_their_owners_keys(shared):
    shared.execute("GRANT CREATE ON SCHEMA private TO alice; SET ROLE alice")
    shared.execute("CREATE VIEW private.v AS SELECT * FROM private.f; GRANT SELECT, INSERT ON private.v TO bob")
    body = "SELECT response::json ->> 'access_key' FROM private.f WHERE payload = '1'"
    shared.execute(f"CREATE FUNCTION private.definer() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ {body} $$")
    shared.execute(f"CREATE FUNCTION private.invoker() RETURNS text LANGUAGE sql VOLATILE AS $$ {body} $$")
    shared.execute(
        f"CREATE FUNCTION private.plpgsql() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS"
        f" $$ BEGIN RETURN ({body}); END $$"
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
        role = "alice" if key == ALICE else "bob"
        shared.execute(f"ALTER USER MAPPING FOR {role} SERVER shared OPTIONS (SET secret_access_key 'wrong')")
        shared.execute("SET ROLE bob")
        assert sqlstate(shared, f"INSERT INTO private.{table} (payload) VALUES ('1')") == NO_KEYS
    assert counter("invocations") == before + 2


TWICE = "SELECT response::json ->> 'access_key' FROM private.f WHERE payload IN ('1', '2')"
INSERTED = "(payload, invocation_type) VALUES ('1', 'RequestResponse') RETURNING response::json ->> 'access_key'"


@pytest.fixture
def partitioned(shared):
    """The table and one for INSERT as partitions, and a view of alice's over them."""
    shared.execute(
        """
        CREATE TABLE private.p (payload text, response text, invocation_type text) PARTITION BY LIST (payload);
        CREATE FOREIGN TABLE private.part PARTITION OF private.p FOR VALUES IN ('1', '2')
            SERVER shared OPTIONS (function_name 'describe');
        GRANT SELECT, INSERT ON private.p, private.part TO alice, bob, eve;
        GRANT CREATE ON SCHEMA private TO alice; SET ROLE alice;
        CREATE VIEW private.v AS SELECT * FROM private.part;
        CREATE VIEW private.vp AS SELECT * FROM private.p;
        GRANT SELECT, INSERT ON private.v, private.vp TO bob, eve;
        RESET ROLE;
        """
    )
    return shared


@pytest.mark.parametrize("table, owners", [("part", False), ("p", False), ("v", True), ("vp", True)])
def test_whose_keys_by_way_of_partitions_and_views(partitioned, table, owners):
    """Scans, lists, joins and INSERT, plain and prepared, alternating between roles."""
    partitioned.execute(
        f"""
        PREPARE read AS SELECT response::json ->> 'access_key' FROM private.{table} WHERE payload = '1';
        PREPARE list AS SELECT DISTINCT response::json ->> 'access_key'
            FROM private.{table} WHERE payload IN ('1', '2');
        PREPARE joined AS SELECT DISTINCT response::json ->> 'access_key'
            FROM generate_series(1, 2) i JOIN private.{table} ON payload = i::text;
        PREPARE put AS INSERT INTO private.{table} {INSERTED};
        """
    )
    for role, key in [("bob", BOB), ("alice", ALICE), ("postgres", MACHINE)] * 2:
        if role != "alice" and owners:
            key = ALICE
        partitioned.execute(f"SET ROLE {role}")
        for statement in ("read", "list", "joined", "put"):
            assert partitioned.execute(f"EXECUTE {statement}").fetchall() == [(key,)], (role, statement)
        partitioned.execute("RESET ROLE")


def test_whose_keys_in_branches(partitioned):
    """One statement with two owners."""
    partitioned.execute("SET ROLE bob")
    query = """
        SELECT response::json ->> 'access_key' FROM private.v WHERE payload IN ('1', '2')
        UNION ALL SELECT response::json ->> 'access_key' FROM private.part WHERE payload IN ('1', '2')
        UNION ALL SELECT response::json ->> 'access_key' FROM private.vp WHERE payload IN ('1', '2')
    """
    plan = "\n".join(line for (line,) in partitioned.execute(f"EXPLAIN (COSTS OFF) {query}"))
    assert "Async Foreign Scan" in plan
    assert sorted(partitioned.execute(query).fetchall()) == [(ALICE,)] * 4 + [(BOB,)] * 2


@pytest.mark.parametrize("table", ["part", "p", "v", "vp"])
def test_whose_keys_in_copy(partitioned, table):
    """Other roles' keys are wrong then, and do not matter."""
    signer = "alice" if table.startswith("v") else "bob"
    if signer == "alice":
        # COPY takes no view, but INSERT of many rows does.
        def put():
            partitioned.execute(f"INSERT INTO private.{table} (payload) SELECT '1' FROM generate_series(1, 3)")
    else:

        def put():
            with partitioned.cursor().copy(f"COPY private.{table} (payload) FROM STDIN") as copy:
                copy.write("1\n" * 3)

    partitioned.execute("SET ROLE bob")
    put()
    assert functions() == ["describe"] * 3
    for role, works in (("alice", signer != "alice"), ("bob", False)):
        partitioned.execute("RESET ROLE")
        partitioned.execute(f"ALTER USER MAPPING FOR {role} SERVER shared OPTIONS (SET secret_access_key 'wrong')")
        partitioned.execute("SET ROLE bob")
        if works:
            put()
        else:
            assert failure(put).sqlstate == NO_KEYS
    assert functions() == ["describe"] * (6 if signer == "bob" else 3)


def test_plans_kept_by_a_function(shared):
    """PL/pgSQL caches the plan of a query for the next caller."""
    body = "SELECT response::json ->> 'access_key' FROM private.f WHERE payload = '1'"
    shared.execute(f"CREATE FUNCTION private.kept() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN ({body}); END $$")
    for role, key in [("alice", ALICE), ("bob", BOB), ("postgres", MACHINE)] * 7:
        shared.execute(f"SET SESSION AUTHORIZATION {role}")
        assert shared.execute("SELECT private.kept()").fetchone() == (key,)
        shared.execute("RESET SESSION AUTHORIZATION")
    assert counter("connections") == 3


def test_servers_share_no_client(shared):
    """Nor a connection, even with equal keys and the same role."""
    shared.execute("CREATE SERVER twin FOREIGN DATA WRAPPER aws_lambda_fdw")
    shared.execute(f"CREATE USER MAPPING FOR alice SERVER twin OPTIONS ({keys_of()})")
    describing(shared, "twin", "private.g")
    shared.execute("GRANT SELECT ON private.g TO alice; SET ROLE alice")
    for _ in range(3):
        assert (key_of(shared, "private.f"), key_of(shared, "private.g")) == (ALICE, ALICE)
    assert counter("connections") == 2
    shared.execute("RESET ROLE; DROP SERVER twin CASCADE")


def test_cursors_of_a_definer(shared):
    """A function's cursor, or one WITH HOLD, invokes with the keys of the role that opened it."""
    shared.execute("GRANT CREATE ON SCHEMA private TO alice; SET ROLE alice")
    shared.execute(
        f"CREATE FUNCTION private.opened() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS"
        f" $$ DECLARE c CURSOR FOR {TWICE}; BEGIN c := 'c'; OPEN c; END $$"
    )
    with shared.transaction():
        shared.execute("SET LOCAL ROLE bob")
        shared.execute("SELECT private.opened()")
        assert shared.execute("FETCH ALL FROM c").fetchall() == [(ALICE,)] * 2
    shared.execute("RESET ROLE; BEGIN; SET LOCAL ROLE bob")
    shared.execute(f"DECLARE held CURSOR WITH HOLD FOR {TWICE}")
    shared.execute("COMMIT; SET ROLE alice")
    assert shared.execute("FETCH ALL FROM held").fetchall() == [(BOB,)] * 2
    shared.execute("CLOSE held")


def test_cursor_of_another_role(shared):
    with shared.transaction():
        shared.execute("SET LOCAL ROLE alice")
        shared.execute(f"DECLARE c CURSOR FOR {TWICE}")
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
    shared.execute("ALTER SERVER shared OWNER TO postgres")
    shared.execute(f"CREATE USER MAPPING FOR alice SERVER shared OPTIONS ({keys_of()})")
    assert alice.execute("EXECUTE p").fetchone() == (ALICE,)
    shared.execute("REVOKE SELECT ON private.f FROM alice")
    assert sqlstate(alice, "EXECUTE p") == DENIED
    assert counter("invocations") == 8


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_changed_keys_count_from_the_next_statement(shared, as_role, isolation):
    """In a transaction of any isolation level. An open cursor keeps the old keys."""
    alice = as_role("alice")
    query = "SELECT response::json ->> 'access_key' FROM private.f WHERE payload = '1'"
    alice.execute(f"PREPARE p AS {query}")
    alice.execute(f"BEGIN ISOLATION LEVEL {isolation}")
    alice.execute(f"DECLARE c CURSOR FOR {TWICE}")
    assert alice.execute("FETCH 1 FROM c").fetchone() == (ALICE,)
    for change, key in [
        (f"ALTER USER MAPPING FOR alice SERVER shared OPTIONS ({changed(EXAMPLE_KEYS)})", MACHINE),
        (f"ALTER USER MAPPING FOR alice SERVER shared OPTIONS ({changed(OTHER_KEYS)})", ALICE),
        # Without a mapping, a role uses PUBLIC's, and then the machine's, because a superuser owns the server.
        (f"CREATE USER MAPPING FOR PUBLIC SERVER shared OPTIONS ({keys_of(TOKEN_KEYS)})", ALICE),
        ("DROP USER MAPPING FOR alice SERVER shared", BOB),
        ("DROP USER MAPPING FOR PUBLIC SERVER shared", MACHINE),
    ]:
        shared.execute(change)
        assert alice.execute("EXECUTE p").fetchone() == alice.execute(query).fetchone() == (key,), change
    assert alice.execute("FETCH 1 FROM c").fetchone() == (ALICE,)
    alice.execute("ROLLBACK")


def test_keys_that_a_transaction_changed_and_took_back(shared):
    """They count in the transaction, and not after its rollback."""
    query = "SELECT private.again()"
    body = "SELECT response::json ->> 'access_key' FROM private.f WHERE payload = '1'"
    shared.execute(f"CREATE FUNCTION private.again() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN ({body}); END $$")
    shared.execute(f"CREATE USER MAPPING FOR postgres SERVER shared OPTIONS ({keys_of()})")
    assert shared.execute(query).fetchone() == (ALICE,)
    shared.execute("BEGIN; SAVEPOINT s")
    shared.execute(f"ALTER USER MAPPING FOR postgres SERVER shared OPTIONS ({changed(EXAMPLE_KEYS)})")
    assert shared.execute(query).fetchone() == (MACHINE,)
    shared.execute("ROLLBACK TO s")
    assert shared.execute(query).fetchone() == (ALICE,)
    shared.execute("DROP USER MAPPING FOR postgres SERVER shared")
    assert shared.execute(query).fetchone() == (MACHINE,)
    shared.execute("ROLLBACK")
    assert shared.execute(query).fetchone() == (ALICE,)


# Rows that a role may not see


LEAK = """
    CREATE FUNCTION pg_temp.leak(anything text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
        $$ BEGIN RAISE NOTICE 'leaked %', anything; RETURN true; END $$;
    CREATE FUNCTION pg_temp.telling(anything text) RETURNS text LANGUAGE plpgsql STABLE COST 0.0000001 AS
        $$ BEGIN PERFORM pg_temp.leak(anything); RETURN anything; END $$;
"""


def test_rows_behind_a_barrier(shared, as_role):
    """Neither a function of the query nor an invocation gets a row that a view or a policy hides from the role."""
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
        "SELECT * FROM private.rows WHERE EXISTS (SELECT FROM private.f WHERE payload = name AND pg_temp.leak(name))",
        # With the value itself as the secret, and with prefetching.
        "SELECT * FROM private.mine JOIN private.f ON payload = pg_temp.telling(name)",
        "SELECT * FROM private.rows LEFT JOIN private.f ON payload = pg_temp.telling(name)",
        "SELECT * FROM private.rows, LATERAL (SELECT * FROM private.f WHERE payload = pg_temp.telling(name)) l",
        "SELECT * FROM private.rows JOIN private.f ON payload = name ORDER BY pg_temp.telling(name) LIMIT 5",
        "INSERT INTO private.f (payload) SELECT pg_temp.telling(name) FROM private.rows RETURNING payload",
        "SELECT * FROM (SELECT pg_temp.telling(name) AS n FROM private.rows OFFSET 0) r JOIN private.f ON payload = n",
    ]:
        before = counter("invocations")
        # All of these joins prefetch.
        if " JOIN private.f" in query:
            assert "LambdaReadAhead" in str(alice.execute(f"EXPLAIN {query}").fetchall()), query
        assert len(alice.execute(query).fetchall()) == 1, query
        assert counter("invocations") == before + 1, query
    assert heard and all("alice" in text and "bob" not in text for text in heard)


def test_answers_behind_a_barrier(shared, as_role):
    """A view hides some responses, and a function of the query does not get them. Each value invokes once."""
    shared.execute(
        """
        CREATE FOREIGN TABLE private.echoes (payload text, response text) SERVER shared OPTIONS (function_name 'echo');
        CREATE VIEW private.public_echoes WITH (security_barrier) AS
            SELECT payload, response FROM private.echoes WHERE response NOT LIKE 'secret%';
        GRANT SELECT ON private.public_echoes TO alice;
        """
    )
    alice, heard = as_role("alice"), []
    alice.execute(LEAK)
    alice.add_notice_handler(lambda diag: heard.append(diag.message_primary))
    query = "SELECT response FROM private.public_echoes WHERE payload IN ('seen', 'secret1', 'secret2') AND"
    for condition in ("leak(response)", "telling(response) = response", "leak(response || payload)"):
        before = counter("invocations")
        assert alice.execute(f"{query} pg_temp.{condition}").fetchall() == [("seen",)]
        assert counter("invocations") == before + 3
    assert heard and not [text for text in heard if "secret" in text]


# A table that is bound to a function


def test_a_region_that_is_not_bound(shared, as_role):
    """The caller may set it by a setting, or by a clause if the table has the column."""
    shared.execute(
        """
        CREATE SERVER regional FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (region 'eu-west-1');
        CREATE FOREIGN TABLE private.nowhere (payload text, response text)
            SERVER shared OPTIONS (function_name 'describe');
        CREATE FOREIGN TABLE private.by_table (payload text, response text)
            SERVER shared OPTIONS (function_name 'describe', region 'eu-west-1');
        CREATE FOREIGN TABLE private.by_server (payload text, response text)
            SERVER regional OPTIONS (function_name 'describe');
        CREATE FOREIGN TABLE private.by_server_with_column (payload text, region text, response text)
            SERVER regional OPTIONS (function_name 'describe');
        GRANT SELECT ON ALL TABLES IN SCHEMA private TO alice;
        """
    )
    try:
        alice = as_role("alice")
        alice.execute("SET aws_lambda.region = 'us-east-2'")

        def region(table, clause="true"):
            query = f"SELECT response::json ->> 'region' FROM private.{table} WHERE payload = '1' AND {clause}"
            return alice.execute(query).fetchone()[0]

        assert region("nowhere") == "us-east-2"
        assert region("by_table") == "eu-west-1"
        assert region("by_server") == "eu-west-1"
        assert region("by_server_with_column") == "eu-west-1"
        assert region("by_server_with_column", "region = 'us-east-2'") == "us-east-2"
    finally:
        shared.execute("DROP SERVER regional CASCADE")


def test_options_of_the_tables_bind_the_functions(administrator, as_role):
    """invoke of jsonb uses the options of lambda_invocations, and invoke of json those of lambda_invocations_json."""
    administrator.execute(
        "GRANT USAGE ON SCHEMA aws_lambda, aws_commons TO eve; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA aws_lambda TO eve"
    )
    eve = as_role("eve")

    def invoke(kind, function):
        return eve.execute(f"SELECT status_code FROM aws_lambda.invoke('{function}', '1'::{kind})").fetchone()[0]

    def bind(action):
        for table in tables_bound:
            administrator.execute(f"ALTER FOREIGN TABLE aws_lambda.{table} OPTIONS ({action})")

    tables_bound = ["lambda_invocations"]
    bind("ADD function_name 'echo'")
    try:
        assert [invoke("jsonb", "echo"), invoke("jsonb", "describe")] == [200, None]
        assert [invoke("json", "echo"), invoke("json", "describe")] == [200, 200]
        administrator.execute("ALTER FOREIGN TABLE aws_lambda.lambda_invocations_json OPTIONS (ADD function_name 'echo')")
        tables_bound.append("lambda_invocations_json")
        assert [invoke("json", "echo"), invoke("json", "describe")] == [200, None]
    finally:
        bind("DROP function_name")
    assert functions() == ["echo", "echo", "describe", "echo"]


def test_a_bound_table_stays_bound(shared, as_role):
    shared.execute(
        """
        CREATE FOREIGN TABLE private.bound (function_name text, qualifier text, region text, invocation_type text,
            tenant_id text, payload text, response text, status_code int)
            SERVER shared OPTIONS (function_name 'echo', qualifier 'v1', region 'eu-west-1', invocation_type 'DryRun', tenant_id 'blue');
        GRANT SELECT, INSERT ON private.bound TO alice;
        """
    )
    alice = as_role("alice")
    given = {
        "function_name": ("describe", "echo:v2", "us-east-1:123456789012:function:echo", "ECHO"),
        "qualifier": ("v2", "$LATEST"),
        "region": ("us-east-1",),
        "invocation_type": ("RequestResponse", "Event"),
        "tenant_id": ("green", "Blue"),
    }
    select = "SELECT * FROM private.bound WHERE payload = '1'"
    for column, values in given.items():
        for value in values:
            for clause in ("{} = %s", "{} IN (%s, 'x')", "{} IS NOT DISTINCT FROM %s", "{}::varchar = %s OR {} = ''"):
                query = f"{select} AND ({clause.format(column, column)})"
                assert alice.execute(query, [value]).fetchall() == []
            joined = f"SELECT * FROM (VALUES (%s)) v (x) JOIN private.bound ON {column} = x AND payload = '1'"
            assert alice.execute(joined, [value]).fetchall() == []
            insert = f"INSERT INTO private.bound (payload, {column}) VALUES ('1', %s)"
            assert sqlstate(alice, insert, value) == "23514"
            assert sqlstate(alice, f"{insert} RETURNING status_code", value) == "23514"
            with pytest.raises(psycopg.errors.CheckViolation):
                with alice.cursor().copy(f"COPY private.bound (payload, {column}) FROM STDIN") as copy:
                    copy.write_row(["1", value])
            name = f"p_{column}_{values.index(value)}"
            alice.execute(f"PREPARE {name} AS {select} AND {column} = $1")
            alice.execute(f"PREPARE {name}_list AS {select} AND {column} = ANY ($1)")
            # Often enough for a generic plan.
            for _ in range(6):
                assert alice.execute(f"EXECUTE {name} ('{value}')").fetchall() == []
                assert alice.execute(f"EXECUTE {name}_list ('{{{value},x}}')").fetchall() == []
        assert alice.execute(f"{select} AND {column} IS NULL").fetchall() == []
    for statement in [
        "ALTER FOREIGN TABLE private.bound OPTIONS (SET function_name 'describe')",
        "CREATE FOREIGN TABLE pg_temp.other (payload text) SERVER shared OPTIONS (function_name 'describe')",
        "CREATE TEMPORARY TABLE parent (LIKE private.bound); ALTER FOREIGN TABLE private.bound INHERIT parent",
        "CREATE TEMPORARY TABLE parts (LIKE private.bound) PARTITION BY LIST (payload);"
        " ALTER TABLE parts ATTACH PARTITION private.bound DEFAULT",
        "CREATE TEMPORARY TABLE child () INHERITS (private.bound)",
        "CREATE TRIGGER t BEFORE INSERT ON private.bound FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "ALTER FOREIGN TABLE private.bound ALTER function_name SET DEFAULT 'describe'",
        "ALTER FOREIGN TABLE private.bound DROP COLUMN qualifier",
    ]:
        assert sqlstate(alice, statement) == DENIED, statement
    assert counter("invocations") == 0
    # Functions and operators of the same names belong to another role.
    alice.execute(
        """
        CREATE TEMPORARY TABLE bound (function_name text, payload text);
        INSERT INTO bound VALUES ('describe', '1');
        CREATE FUNCTION pg_temp.eq(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
        CREATE OPERATOR pg_temp.= (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.eq);
        SET search_path = pg_temp, private, pg_catalog;
        """
    )
    query = """
        SELECT b.status_code FROM bound o JOIN private.bound b
        ON b.function_name OPERATOR(pg_temp.=) o.function_name AND b.payload OPERATOR(pg_catalog.=) o.payload
    """
    assert alice.execute(query).fetchall() == [(204,)]
    query = "SELECT status_code FROM private.bound WHERE payload OPERATOR(pg_catalog.=) '1'"
    assert alice.execute(query).fetchall() == [(204,)]
    alice.execute("RESET search_path")
    alice.execute("INSERT INTO private.bound (payload, qualifier) VALUES ('1', 'v1')")
    assert functions() == ["echo"] * 3
    assert {invocation_type for _, _, invocation_type, *_ in scripted.rows("invocations")} == {"DryRun"}
