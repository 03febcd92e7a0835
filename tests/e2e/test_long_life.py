"""Long sessions and many sessions: memory does not grow, and each statement makes exactly its invocations.

Statements of all kinds are chosen at random. A good tenth of them fail, are cancelled or follow the change of an object. SOAK=1
runs 50,000 statements in one backend. `pytest -rP` shows its memory over time.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import random
import threading

import psycopg
import pytest

from background import pid_of
from own_server import connect as connect_to
from scripted import EXAMPLE_KEYS, OTHER_KEYS, counter, functions, invoke, wait_until
from tables import failure, options

SOAK = bool(os.environ.get("SOAK"))
STATEMENTS = 50_000 if SOAK else 2_500
SUBTRANSACTIONS = 10_000

SETUP = """
    SET client_min_messages = warning;
    DROP SERVER IF EXISTS other CASCADE;
    CREATE SERVER other FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (connect_timeout_ms '1000', max_retries '1');
    CREATE FOREIGN TABLE mock (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'mock');
    CREATE FOREIGN TABLE rows (payload text, response text, error_code text)
        SERVER aws_lambda OPTIONS (function_name 'mock', on_error 'return');
    CREATE FOREIGN TABLE once (payload text, response text)
        SERVER aws_lambda OPTIONS (function_name 'echo', deduplicate 'true');
    CREATE FOREIGN TABLE any_function (function_name text, payload text, response text) SERVER other;
    CREATE FOREIGN TABLE into_jsonb (function_name text, payload text, response jsonb) SERVER other;
    GRANT SELECT ON any_function TO one, another;
    CREATE FUNCTION caught(failing text) RETURNS text LANGUAGE plpgsql AS $$
    BEGIN
        RETURN (SELECT response FROM mock WHERE payload = failing);
    EXCEPTION WHEN OTHERS THEN
        RETURN sqlstate;
    END $$;
"""
MAPPINGS = {"postgres": EXAMPLE_KEYS, "one": EXAMPLE_KEYS, "another": OTHER_KEYS}


@pytest.fixture(scope="module")
def schema(database):
    with psycopg.connect(dbname=database, autocommit=True) as session:
        for role in ("one", "another"):
            session.execute(f"CREATE ROLE {role}")
        session.execute(SETUP)
        for role, mapping in MAPPINGS.items():
            session.execute(f"CREATE USER MAPPING FOR {role} SERVER other {options(mapping).as_string(session)}")
    yield
    with psycopg.connect(dbname=database, autocommit=True) as session:
        session.execute("SET client_min_messages = warning")
        session.execute("DROP SERVER other CASCADE; DROP ROLE one, another")


@pytest.fixture
def usable(schema, session):
    # LLVM alone takes 70 MB.
    session.execute("SET jit = off")
    return session


class Statements:
    """Statements of a session. Each method is a kind of them, and returns how many invocations it made."""

    def __init__(self, session, canceller, seed):
        self.session, self.canceller = session, canceller
        self.random = random.Random(seed)
        self.number = 0

    def one(self, statement, *arguments, **kinds):
        return self.session.execute(statement, arguments or None, **kinds).fetchone()

    def number_of(self, statement, count):
        assert self.one(statement) == (count,)
        return count

    def fails(self, statement, sqlstate, count):
        assert failure(self.session.execute, statement).sqlstate == sqlstate
        return count

    def json_function(self):
        assert invoke(self.session, "echo", str(self.number)) == self.number
        return 1

    def jsonb_function(self):
        query = "SELECT payload FROM aws_lambda.invoke('echo', to_jsonb(%s::int), 'us-west-2', 'RequestResponse', 'Tail')"
        assert self.one(query, self.number) == (self.number,)
        return 1

    def prepared(self):
        query = "SELECT response FROM mock WHERE payload = %s::text"
        assert self.one(query, str(self.number), prepare=True) == (str(self.number),)
        return 1

    def large(self):
        query = "SELECT length(response) FROM mock WHERE payload = repeat('x', 200000)"
        assert self.one(query) == (200_000,)
        return 1

    def list(self):
        return self.number_of("SELECT count(response) FROM mock WHERE payload IN ('1', '2', '3', '4', '5')", 5)

    def join(self):
        query = "SELECT count(response) FROM generate_series(1, 10) i JOIN mock ON payload = i::text AND response = i::text"
        return self.number_of(query, 10)

    def branches(self):
        branch = "SELECT response FROM mock WHERE payload IN ('1', '2')"
        return self.number_of(f"SELECT count(response) FROM ({branch} UNION ALL {branch}) b", 4)

    def deduplicated(self):
        query = "SELECT count(DISTINCT response) FROM generate_series(1, 10) JOIN once ON payload = 'x' || generate_series % 1"
        return self.number_of(query, 1)

    def errors_as_rows(self):
        query = "SELECT count(error_code) FROM rows WHERE payload IN ('{\"as\": \"handled\"}', '1')"
        assert self.one(query) == (1,)
        return 2

    def insert(self):
        return self.session.execute("INSERT INTO mock (payload) SELECT i::text FROM generate_series(1, 3) i").rowcount

    def insert_returning(self):
        query = "INSERT INTO mock (payload) SELECT i::text FROM generate_series(1, 3) i RETURNING payload"
        return len(self.session.execute(query).fetchall())

    def copy(self):
        with self.session.cursor().copy("COPY mock (payload) FROM STDIN") as copy:
            for number in range(4):
                copy.write_row([str(number)])
        return 4

    def cursor(self):
        with self.session.transaction():
            self.session.execute("DECLARE c CURSOR FOR SELECT response FROM mock WHERE payload = ANY ('{1,2,3,4,5,6,7,8,9}')")
            assert len(self.session.execute("FETCH 3 FROM c").fetchall()) == 3
        return 3

    def explained(self):
        self.session.execute("EXPLAIN (ANALYZE, VERBOSE) SELECT response FROM mock WHERE payload = '1'").fetchall()
        return 1

    def not_run(self):
        self.session.execute("EXPLAIN SELECT response FROM mock WHERE payload = '1'").fetchall()
        return self.number_of("SELECT count(*) FROM mock WHERE payload = NULL", 0)

    def caught(self):
        assert self.one("SELECT caught('{\"as\": \"unhandled\"}')") == ("38000",)
        return 1

    def as_roles(self):
        for role, key in (("one", "AKIDEXAMPLE"), ("another", "AKIDOTHER")):
            self.session.execute(f"SET ROLE {role}")
            query = "SELECT response::json ->> 'access_key' FROM any_function WHERE function_name = 'describe' AND payload = '1'"
            assert self.one(query) == (key,)
        self.session.execute("RESET ROLE")
        return 2

    # Failing statements

    def function_error(self):
        return self.fails("SELECT * FROM mock WHERE payload = '{\"as\": \"unhandled\"}'", "38000", 1)

    def denied(self):
        return self.fails("SELECT * FROM mock WHERE payload = '{\"as\": \"error-403-AccessDeniedException\"}'", "42501", 1)

    def lost(self):
        return self.fails("SELECT * FROM mock WHERE payload = '{\"as\": \"reset-after\"}'", "08006", 1)

    def throttled(self):
        query = "SELECT * FROM any_function WHERE function_name = 'throttle' AND payload = '1'"
        return self.fails(query, "53400", 2)

    def invalid_name(self):
        return self.fails("SELECT * FROM any_function WHERE function_name = 'a b' AND payload = '1'", "22023", 0)

    def not_json(self):
        return self.fails("SELECT * FROM into_jsonb WHERE function_name = 'html' AND payload = '1'", "22P02", 1)

    def in_a_list(self):
        """A list that fails at its second value has sent all invocations in flight."""
        payloads = ['{"as": "sleep-5"}', '{"as": "unhandled", "ms": 20}', '{"as": "hang"}', '{"as": "hang", "n": 2}']
        failed = failure(self.session.execute, "SELECT * FROM mock WHERE payload = ANY (%s)", [payloads])
        assert failed.sqlstate == "38000"
        return 4

    def timed_out(self):
        self.session.execute("SET statement_timeout = '40ms'")
        self.fails("SELECT * FROM mock WHERE payload IN ('{\"as\": \"hang\"}', '{\"as\": \"hang\", \"n\": 2}')", "57014", 2)
        self.session.execute("RESET statement_timeout")
        return 2

    def cancelled(self):
        timer = threading.Timer(0.04, self.canceller.execute, ["SELECT pg_cancel_backend(%s)", [pid_of(self.session)]])
        timer.start()
        self.fails("SELECT * FROM generate_series(1, 8) i JOIN mock ON payload = '{\"as\": \"hang\"}' || repeat(' ', i)", "57014", 8)
        timer.join()
        return 8

    def rolled_back(self):
        with self.session.transaction(force_rollback=True):
            for _ in range(3):
                with contextlib.suppress(psycopg.Error), self.session.transaction():
                    self.function_error()
                    self.session.execute("SELECT 1/0")
            return 3 + self.json_function()

    # Changes between statements

    def alter_server(self):
        self.session.execute(f"ALTER SERVER other OPTIONS (SET connect_timeout_ms '{1000 + self.random.randrange(40)}')")
        return self.as_roles()

    def alter_mapping(self):
        keys = self.random.choice([EXAMPLE_KEYS, OTHER_KEYS])
        self.session.execute(
            "ALTER USER MAPPING FOR postgres SERVER other"
            f" OPTIONS (SET access_key_id '{keys['access_key_id']}', SET secret_access_key '{keys['secret_access_key']}')"
        )
        query = "SELECT response::json ->> 'access_key' FROM any_function WHERE function_name = 'describe' AND payload = '1'"
        assert self.one(query) == (keys["access_key_id"],)
        return 1

    def alter_table(self):
        self.session.execute("ALTER FOREIGN TABLE once OPTIONS (SET function_name 'describe')")
        assert self.one("SELECT response LIKE '%describe%' FROM once WHERE payload = '1'") == (True,)
        self.session.execute("ALTER FOREIGN TABLE once OPTIONS (SET function_name 'echo')")
        return 1

    def discard(self):
        # Prepared statements stay, because the client uses them.
        self.session.execute("DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES; RESET ALL; SET jit = off")
        return 0


COMMON = [
    Statements.json_function, Statements.jsonb_function, Statements.prepared, Statements.list, Statements.join, Statements.branches, Statements.deduplicated,
    Statements.errors_as_rows, Statements.insert, Statements.insert_returning, Statements.copy, Statements.cursor, Statements.explained, Statements.not_run, Statements.caught,
    Statements.as_roles, Statements.large,
]  # fmt: skip
RARE = [
    Statements.function_error, Statements.denied, Statements.lost, Statements.throttled, Statements.invalid_name, Statements.not_json, Statements.in_a_list, Statements.timed_out,
    Statements.cancelled, Statements.rolled_back, Statements.alter_server, Statements.alter_mapping, Statements.alter_table, Statements.discard,
]  # fmt: skip


def sample(session):
    """Memory of a backend in kB, and its numbers of threads and descriptors."""
    pid = pid_of(session)
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    contexts = session.execute("SELECT sum(total_bytes) / 1024, count(*) FROM pg_backend_memory_contexts").fetchone()
    files = []
    for file in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            files.append(os.readlink(f"/proc/{pid}/fd/{file}"))
    return {
        "RSS": int(status["VmRSS"].split()[0]),
        "contexts": int(contexts[0]),
        "number of contexts": contexts[1],
        "threads": int(status["Threads"]),
        "files": len(files),
        "sockets": sum(file.startswith("socket:") for file in files),
    }


def grown(before, after, what):
    return after[what] - before[what]


def test_one_backend(usable, connect, endpoint):
    seed = int(os.environ.get("SEED", random.randrange(10**6)))
    print(f"SEED={seed}")
    statements, expected, samples = Statements(usable, connect(), seed), 0, []
    # After the warm-up all clients are kept, and PostgreSQL's caches are full.
    warm = STATEMENTS // 4
    # The C library returns memory some time after a client is dropped.
    for statements.number in range(1, STATEMENTS + 1):
        kind = statements.random.choice(COMMON if statements.random.random() < 0.88 else RARE)
        made = kind(statements)
        expected += made
        if statements.number % (STATEMENTS // 20) == 0:
            samples.append({"statements": statements.number, **sample(usable)})
            assert counter("invocations") == expected, f"after {kind.__name__} or one before it"
            print(samples[-1])
    first, last = next(s for s in samples if s["statements"] >= warm), samples[-1]
    assert grown(first, last, "RSS") < 6_000
    assert grown(first, last, "contexts") < 2_000 and grown(first, last, "number of contexts") < 40
    assert last["threads"] == first["threads"] == 2
    # PostgreSQL opens files of its own.
    assert grown(first, last, "files") - grown(first, last, "sockets") <= 3
    assert max(s["sockets"] for s in samples[len(samples) // 2 :]) < 32 * 8


def test_fifty_backends(schema, connect, endpoint):
    """Each session gets its own answers."""

    def run(number):
        made = 0
        for turn in range(6 if SOAK else 2):
            with contextlib.closing(connect()) as session:
                for _ in range(5):
                    query = "SELECT array_agg(response ORDER BY response) FROM mock WHERE payload = ANY (%s)"
                    payloads = sorted(f"{number}-{turn}-{i}" for i in range(8))
                    assert session.execute(query, [payloads]).fetchone() == (payloads,)
                    made += 8
        return made

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        made = sum(pool.map(run, range(50)))
    assert counter("invocations") == made
    with contextlib.closing(connect()) as session:
        query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = current_database()"
        wait_until(lambda: session.execute(query).fetchone() == (1,))


def test_subtransactions_in_one_statement(usable, endpoint):
    """Each call is in a block with EXCEPTION. Most fail, with each kind of error."""
    block = f"""
        DO $$
        DECLARE
            calls text[] := ARRAY['unhandled', 'error-403-AccessDeniedException', 'a b', 'html', 'echo', 'nosuchfunction'];
            failed int := 0;
        BEGIN
            FOR i IN 1..{{}} LOOP
                BEGIN
                    PERFORM response FROM into_jsonb WHERE function_name = calls[1 + i % 6] AND payload = '1';
                EXCEPTION WHEN OTHERS THEN
                    failed := failed + 1;
                END;
            END LOOP;
            ASSERT failed = {{}} / 6 * 5;
        END $$
    """
    few = 300
    usable.execute(block.format(few, few))
    before = sample(usable)
    many = SUBTRANSACTIONS // 6 * 6
    usable.execute(block.format(many, many))
    after = sample(usable)
    print(f"{before}\n{after}")
    assert counter("invocations") == (few + many) // 6 * 5
    assert grown(before, after, "RSS") < 3_000 and grown(before, after, "contexts") < 500
    assert after["threads"] <= 2 and after["files"] <= before["files"] + 1


def test_savepoints_of_a_client(usable, endpoint):
    def fail_often(times):
        with usable.transaction():
            for number in range(times):
                usable.execute("SAVEPOINT s")
                assert failure(invoke, usable, "unhandled").sqlstate == "38000"
                usable.execute("ROLLBACK TO s")
                if number % 10 == 0:
                    assert invoke(usable, "echo", str(number)) == number
                usable.execute("RELEASE s")

    fail_often(50)
    before = sample(usable)
    fail_often(SUBTRANSACTIONS // 5)
    after = sample(usable)
    assert counter("invocations") == (50 + SUBTRANSACTIONS // 5) * 11 // 10
    assert grown(before, after, "RSS") < 3_000 and grown(before, after, "contexts") < 500


def test_cursor_across_a_failure(usable, endpoint):
    with usable.transaction():
        usable.execute("DECLARE c CURSOR FOR SELECT response FROM mock WHERE payload = ANY ('{1,2,3,4}') ")
        assert usable.execute("FETCH 1 FROM c").fetchall() == [("1",)]
        for _ in range(3):
            usable.execute("SAVEPOINT s")
            failure(invoke, usable, "unhandled")
            usable.execute("ROLLBACK TO s")
        assert usable.execute("FETCH ALL FROM c").fetchall() == [("2",), ("3",), ("4",)]
    assert (functions().count("mock"), functions().count("unhandled")) == (4, 3)


def test_extension_that_is_dropped_and_made_again(connect, endpoint):
    """In a session that has used it, and keeps its client and thread."""
    session = connect()
    invoke(session, "echo")
    with session.transaction(force_rollback=True):
        session.execute("DROP EXTENSION aws_commons CASCADE")
        assert failure(invoke, session, "echo").sqlstate in ("42883", "3F000")
    assert invoke(session, "echo", "[1]") == [1]
    with session.transaction(force_rollback=True):
        session.execute("SET LOCAL client_min_messages = warning")
        session.execute("DROP EXTENSION aws_commons CASCADE")
        session.execute("CREATE EXTENSION aws_lambda CASCADE")
        session.execute(f"CREATE USER MAPPING FOR PUBLIC SERVER aws_lambda {options(OTHER_KEYS).as_string(session)}")
        assert invoke(session, "describe")["access_key"] == "AKIDOTHER"
    session.execute("LOAD 'aws_lambda_fdw'")
    assert invoke(session, "describe")["access_key"] == "AKIDEXAMPLE"


# Parallel workers

WORKERS = """
    SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
    SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
    SET max_parallel_workers_per_gather = 2;
"""
LIBRARIES = ["", "shared_preload_libraries = 'aws_lambda_fdw'", "session_preload_libraries = 'aws_lambda_fdw'"]


@pytest.mark.parametrize("leader", ["on", "off"])
@pytest.mark.parametrize("library", LIBRARIES, ids=["on demand", "shared", "session"])
def test_parallel_workers(start, endpoint, library, leader):
    """A function that is PARALLEL SAFE invokes in workers, once for each row. The foreign tables are not scanned in workers."""
    with contextlib.closing(connect_to(start(*[library] if library else []))) as session:
        if library:
            assert session.execute("SHOW aws_lambda.max_invocations").fetchone() == ("0",)
        session.execute(
            """
            CREATE TABLE many AS SELECT i FROM generate_series(1, 40) i;
            CREATE FUNCTION ask(i int) RETURNS text LANGUAGE plpgsql PARALLEL SAFE AS $$
            BEGIN
                RETURN (SELECT payload ->> 'n' FROM aws_lambda.invoke('echo', jsonb_build_object('n', i))) || ' ' || pg_backend_pid();
            END $$
            """
        )
        session.execute("CREATE FOREIGN TABLE echoes (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo')")
        session.execute(WORKERS + f"SET parallel_leader_participation = {leader};")
        query = "SELECT ask(i) FROM many"
        plan = "\n".join(line for line, in session.execute(f"EXPLAIN {query}"))
        assert "Gather" in plan
        rows = [row.split() for row, in session.execute(query)]
        assert sorted(int(number) for number, _ in rows) == list(range(1, 41))
        assert counter("invocations") == 40
        if leader == "off":
            assert str(pid_of(session)) not in {pid for _, pid in rows}
        for pid in {pid for _, pid in rows} - {str(pid_of(session))}:
            wait_until(lambda: not os.path.exists(f"/proc/{pid}"), seconds=2)
        plan = "\n".join(line for line, in session.execute("EXPLAIN SELECT * FROM many JOIN echoes ON payload = i::text"))
        # Above the Gather node, not below.
        assert 0 < plan.index("LambdaReadAhead") < plan.index("Gather") and "Gather" not in plan.partition("Foreign Scan")[2]
        query = "SELECT count(response) FROM many JOIN echoes ON payload = i::text"
        assert session.execute(query).fetchone() == (40,)
        session.execute("SELECT pg_reload_conf()")
        session.execute("SET aws_lambda.max_invocations = 3")
        assert failure(session.execute, query).sqlstate == "53400"
        assert counter("invocations") <= 83
        assert session.execute("INSERT INTO echoes (payload) VALUES ('1'), ('2')").rowcount == 2
