"""Moves a database to a newer PostgreSQL, by pg_upgrade and by dump and restore. `make upgrades` runs this.

The results of queries and their numbers of invocations are the same before and after.
"""

import os
import pathlib
import subprocess

import psycopg
import pytest

import scripted

NAMES = {version: f"PG_CONFIG_{version}" for version in (15, 17, 18)}
PG_CONFIG = {version: os.environ.get(name) for version, name in NAMES.items()}

pytestmark = pytest.mark.skipif(None in PG_CONFIG.values(), reason="needs servers of 15, 17 and 18: make upgrades")

DATABASE = """
CREATE EXTENSION aws_lambda CASCADE;
ALTER DATABASE app SET aws_lambda.region = 'eu-central-1';
ALTER DATABASE app SET aws_lambda.max_invocations = 50;
ALTER ROLE caller IN DATABASE app SET aws_lambda.max_concurrency = 7;

CREATE SERVER own FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (region 'eu-west-1', request_timeout_ms '5000');
CREATE USER MAPPING FOR PUBLIC SERVER own OPTIONS (access_key_id 'AKIDEXAMPLE',
    secret_access_key 'wJalrXUtnFEMI+K7MDENG+bPxRfiCYEXAMPLEKEY');
CREATE USER MAPPING FOR caller SERVER own OPTIONS (access_key_id 'AKIDOTHER', secret_access_key 'othersecret');
ALTER FOREIGN TABLE aws_lambda.lambda_invocations OPTIONS (ADD max_concurrency '3');
ALTER SERVER aws_lambda OPTIONS (ADD max_retries '3');
CREATE USER MAPPING FOR caller SERVER aws_lambda OPTIONS (access_key_id 'AKIDOTHER', secret_access_key 'othersecret');
CREATE FOREIGN TABLE described (payload jsonb, response jsonb) SERVER own OPTIONS (function_name 'describe');

CREATE TABLE measured (region text, payload jsonb, response jsonb) PARTITION BY LIST (region);
CREATE TABLE measured_here PARTITION OF measured FOR VALUES IN ('here');
CREATE FOREIGN TABLE measured_there PARTITION OF measured FOR VALUES IN ('eu-west-1')
    SERVER own OPTIONS (function_name 'echo');
INSERT INTO measured VALUES ('here', '{"a": 1}', '{"b": 2}');

CREATE VIEW echoed AS
    SELECT i, r.payload FROM generate_series(1, 3) AS i, aws_lambda.invoke('echo', to_jsonb(i)) AS r;
CREATE VIEW joined AS
    SELECT i, l.response FROM generate_series(1, 4) AS i
    JOIN aws_lambda.lambda_invocations AS l ON l.function_name = 'echo' AND l.payload = to_jsonb(i);
CREATE MATERIALIZED VIEW kept AS SELECT * FROM echoed;
CREATE MATERIALIZED VIEW never_filled AS SELECT * FROM echoed WITH NO DATA;

CREATE TABLE orders (id int);
CREATE FUNCTION announce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM aws_lambda.invoke('echo', to_jsonb(NEW), invocation_type => 'Event');
    RETURN NEW;
END $$;
CREATE TRIGGER announce AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION announce();
INSERT INTO orders VALUES (1);

SELECT aws_lambda.enqueue('echo', '{"queued": 1}'::jsonb);
INSERT INTO aws_lambda.queue (state, queued_at, queued_by, foreign_table, user_mapping_of, function_name, invocation_type, first_due_at, due_at)
    VALUES ('failed', now(), 'caller', 'described', 'caller', 'echo', 'Event', now(), now());

GRANT USAGE ON SCHEMA aws_lambda TO caller;
GRANT EXECUTE ON FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, jsonb, varchar) TO caller;
GRANT SELECT ON described TO caller;
"""

# Queries before and after, with their role and number of invocations.
QUESTIONS = [
    ("postgres", "SELECT payload->'region' FROM aws_lambda.invoke('describe'::text, '{}'::jsonb)", 1),
    ("postgres", "SELECT response->'region', response->'access_key' FROM described WHERE payload = '{}'", 1),
    ("caller", "SELECT response->'region', response->'access_key' FROM described WHERE payload = '{}'", 1),
    ("caller", "SELECT payload->'region' FROM aws_lambda.invoke('describe'::text, '{}'::jsonb)", 1),
    ("caller", "SELECT payload FROM aws_lambda.invoke('echo'::text, '{}'::json)", 0),
    ("caller", "SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '{}'", 0),
    ("caller", "SHOW aws_lambda.max_concurrency", 0),
    ("postgres", "SHOW aws_lambda.max_invocations", 0),
    ("postgres", "SELECT * FROM measured WHERE region IN ('here', 'eu-west-1') AND payload = '{\"a\": 1}' ORDER BY 1", 1),
    ("postgres", "SELECT * FROM echoed ORDER BY i", 3),
    ("postgres", "SELECT * FROM joined ORDER BY i", 4),
    ("postgres", "INSERT INTO orders VALUES (2) RETURNING id", 1),
    ("postgres", "SELECT extname, extversion FROM pg_extension ORDER BY 1", 0),
    ("postgres", "SELECT tgrelid::regclass::text, tgenabled FROM pg_trigger WHERE tgname = 'ignore_replicated' ORDER BY 1", 0),
]
# Additions to the extension's server and tables.
ADDED = [
    ("postgres", "SELECT srvoptions FROM pg_foreign_server WHERE srvname = 'aws_lambda' AND srvoptions IS NOT NULL", 0),
    ("postgres", "SELECT ftoptions FROM pg_foreign_table WHERE ftrelid = 'aws_lambda.lambda_invocations'::regclass"
        " AND ftoptions IS NOT NULL", 0),
    ("postgres", "SELECT usename, umoptions FROM pg_user_mappings WHERE srvname = 'aws_lambda'", 0),
]  # fmt: skip
# Rows of the queue.
QUEUED = ("postgres", "SELECT * FROM aws_lambda.queue ORDER BY id", 0)
KEPT = ("postgres", "SELECT * FROM kept ORDER BY i", 0)
NEVER_FILLED = ("postgres", "SELECT * FROM never_filled", 0)


def connect_to(server, user="postgres", database="app"):
    return psycopg.connect(host=server.socket_dir, port=5432, user=user, dbname=database, autocommit=True)


def old_server(start, version):
    server = start(pg_config=PG_CONFIG[version])
    with connect_to(server, database="postgres") as session:
        session.execute("CREATE ROLE caller LOGIN")
        session.execute("CREATE DATABASE app")
    with connect_to(server) as session:
        session.execute(DATABASE)
        # Debian's 17.12 gives each column an option pg_attver, which 18 does not know up to 18.6: pg_upgrade fails there with any table.
        session.execute("SET allow_system_table_mods = on")
        session.execute("UPDATE pg_attribute SET attoptions = NULL WHERE attoptions::text LIKE '{pg_attver=%}'")
    return server


def answers(server, questions):
    return [answer(server, *question) for question in questions]


def answer(server, user, question, invocations):
    scripted.reset()
    with connect_to(server, user) as session:
        try:
            rows = session.execute(question).fetchall()
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState) as refused:
            rows = refused.diag.message_primary
    assert scripted.counter("invocations") == invocations, question
    return user, question, rows


@pytest.mark.parametrize("version", [15, 17])
def test_pg_upgrade(start, version):
    old = old_server(start, version)
    asked = [*QUESTIONS, *ADDED, QUEUED, KEPT, NEVER_FILLED]
    before = answers(old, asked)
    assert all(rows for *_, rows in before)
    new = start(pg_config=PG_CONFIG[18])
    old.stop()
    new.stop()
    scripted.reset()
    upgraded = subprocess.run(
        [f"{new.bindir}/pg_upgrade", "-b", old.bindir, "-B", new.bindir, "-d", old.data, "-D", new.data, "-U", "postgres"],
        **{**new.options, "cwd": new.socket_dir}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    logs = pathlib.Path(new.data).glob("pg_upgrade_output.d/*/log/*.log")
    assert upgraded.returncode == 0, "\n".join([upgraded.stdout, *(log.read_text() for log in logs)])
    assert scripted.counter("invocations") == 0
    new.start()
    assert answers(new, asked) == before
    # What is queued is delivered, and the ids go on.
    with connect_to(new) as session:
        assert session.execute("CALL aws_lambda.deliver()").fetchone() == (1, 0, 0)
        assert session.execute("SELECT aws_lambda.enqueue('echo', '1'::json)").fetchone() == (3,)


def run(server, command):
    environment = {**os.environ, "PATH": f"{server.bindir}:{os.environ['PATH']}"}
    environment.update(PGHOST=server.socket_dir, PGUSER="postgres", PGDATABASE="postgres", PGPORT="5432")
    subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=server.socket_dir, env=environment, check=True)


def test_dump_and_restore(start):
    """Restoring refreshes materialized views, which invokes. With a list of contents without them it does not.

    pg_dump does not dump an extension's objects, and so drops additions to its server and tables.
    """
    old = old_server(start, 15)
    before = answers(old, QUESTIONS)
    new = start(pg_config=PG_CONFIG[18])
    elsewhere = f"-h {old.socket_dir}"
    scripted.reset()
    # As PostgreSQL says, with the newer version's pg_dump.
    run(new, f"pg_dumpall --globals-only {elsewhere} | grep -v '^CREATE ROLE postgres' | psql -X -q -v ON_ERROR_STOP=1")
    run(new, f"pg_dump -Fc {elsewhere} app > app.dump")
    assert scripted.counter("invocations") == 0

    run(new, "pg_restore --exit-on-error --create -d postgres app.dump")
    assert scripted.counter("invocations") == 3
    assert answers(new, QUESTIONS) == before
    assert [rows for *_, rows in answers(new, ADDED)] == [[], [], []]
    # A restored copy sends no events of the original.
    assert answer(new, *QUEUED)[2] == []

    run(new, "dropdb app")
    scripted.reset()
    run(new, "pg_restore --list app.dump | grep -v 'MATERIALIZED VIEW DATA' > app.list")
    run(new, "pg_restore --exit-on-error --use-list app.list --create -d postgres app.dump")
    assert scripted.counter("invocations") == 0
    assert answers(new, QUESTIONS) == before
    with connect_to(new) as session:
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="has not been populated"):
            session.execute("SELECT * FROM kept")
        session.execute("REFRESH MATERIALIZED VIEW kept")
    assert answer(new, *KEPT)[2] == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize(
    "version, said",
    [
        # Found out before PostgreSQL looks at the version, as 18 and 16 have other functions in their place.
        (17, "could not load library .*: undefined symbol: pqsignal"),
        (15, "could not load library .*: undefined symbol: expression_tree_walker"),
    ],
)
def test_library_of_another_major_version(start, version, said):
    """PostgreSQL itself says so."""
    library = subprocess.run([PG_CONFIG[version], "--pkglibdir"], check=True, stdout=subprocess.PIPE, text=True).stdout
    with connect_to(start(pg_config=PG_CONFIG[18]), database="postgres") as session:
        with pytest.raises(psycopg.Error, match=said):
            session.execute(f"LOAD '{library.strip()}/aws_lambda_fdw.so'")
