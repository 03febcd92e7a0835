"""Background workers that deliver the queue: they wake, stop, start again and give way."""

import contextlib
import re
import time

import psycopg
import pytest

import scripted
from background import running, ticks
from own_server import connect
from test_queue import kill_backend, kill_postmaster
from scripted import counter, wait_for_invocations, wait_until

PRELOADED = ["shared_preload_libraries = 'aws_lambda_fdw'", "aws_lambda.worker_databases = 'postgres, other'"]
WORKERS = "SELECT pid, datname, state, query FROM pg_stat_activity WHERE backend_type = 'aws_lambda delivery' ORDER BY datname"


def workers(session):
    return session.execute(WORKERS).fetchall()


def enqueue(session, function="echo"):
    session.execute("SELECT aws_lambda.enqueue(%s, '1'::json)", [function])


@pytest.fixture
def preloaded(start, endpoint):
    """A server whose database postgres has a worker."""
    server = start(*PRELOADED)
    with connect(server) as session:
        wait_until(lambda: workers(session), seconds=20)
    return server


def test_a_commit_wakes_it(start, endpoint):
    """Without the library preloaded. The worker would look after five seconds by itself."""
    server = start()
    with connect(server) as session:
        session.execute("SELECT aws_lambda.start_worker()")
        wait_until(lambda: [row[2] for row in workers(session)] == ["idle"])
        took = []
        for number in range(1, 6):
            since = time.monotonic()
            enqueue(session)
            wait_for_invocations(number)
            took.append(time.monotonic() - since)
        print([f"{seconds * 1000:.0f} ms" for seconds in took])
        # One may come while the worker starts.
        assert sorted(took)[2] < 2
        # In a transaction, no event is sent before the commit.
        with session.transaction():
            enqueue(session)
            time.sleep(0.2)
            assert counter("invocations") == 5
        wait_for_invocations(6)
        wait_until(lambda: session.execute("SELECT count(*) FROM aws_lambda.queue").fetchone() == (0,))


def test_one_delivers(start, endpoint):
    """A second one ends. One that is terminated stays away."""
    server = start("log_min_messages = debug1")
    with connect(server) as session:
        for _ in range(3):
            session.execute("SELECT aws_lambda.start_worker()")
        # The others have ended, and it has noted its process id. One that starts later would take its place.
        wait_until(lambda: ended_workers(server) == 2)
        wait_until(lambda: [row[2] for row in workers(session)] == ["idle"])
        ((pid, database, *_),) = workers(session)
        assert database == "postgres"
        assert session.execute("SELECT pid FROM aws_lambda.queue_worker").fetchone() == (pid,)
        session.execute("SELECT pg_terminate_backend(%s)", [pid])
        wait_until(lambda: workers(session) == [])


def ended_workers(server):
    """How many have ended by themselves."""
    with open(server.log) as log:
        return len(re.findall(r'background worker "aws_lambda delivery" \(PID \d+\) exited with exit code 0', log.read()))


def test_it_stops_with_the_server(start, endpoint):
    server = start("aws_lambda.request_timeout_ms = '1h'")
    with connect(server) as session:
        session.execute("SELECT aws_lambda.start_worker()")
        enqueue(session, "hang")
        wait_for_invocations(1)
    since = time.monotonic()
    server.stop()
    assert time.monotonic() - since < 5


@pytest.mark.parametrize("stop", ["server", "worker"])
def test_it_stops_while_no_standby_answers(start, endpoint, stop):
    """What it commits waits for a standby that is not there."""
    server = start()
    with connect(server) as session:
        session.execute("SELECT aws_lambda.start_worker()")
        wait_until(lambda: [row[2] for row in workers(session)] == ["idle"])
        session.execute("SET synchronous_commit = local")
        session.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        session.execute("SELECT pg_reload_conf()")
        wait_until(lambda: session.execute("SHOW synchronous_standby_names").fetchone() == ("nobody",))
        enqueue(session)
        wait_until(lambda: waits_for(session) == "SyncRep")
        since = time.monotonic()
        if stop == "worker":
            session.execute("SELECT pg_terminate_backend(pid) FROM aws_lambda.queue_worker")
            wait_until(lambda: workers(session) == [])
            # It stays away. It would be started again after five seconds.
            time.sleep(7)
            assert workers(session) == []
        else:
            server.stop()
            assert time.monotonic() - since < 5


def waits_for(session):
    return session.execute("SELECT max(wait_event) FROM pg_stat_activity WHERE backend_type = 'aws_lambda delivery'").fetchone()[0]


def test_it_stops_while_it_waits_for_a_lock(start, endpoint):
    server = start()
    with connect(server) as session, connect(server) as other:
        other.execute("BEGIN")
        other.execute("INSERT INTO aws_lambda.queue_worker VALUES (0, now())")
        other.execute("COMMIT")
        other.execute("BEGIN")
        other.execute("SELECT FROM aws_lambda.queue_worker FOR UPDATE")
        session.execute("SELECT aws_lambda.start_worker()")
        wait_until(lambda: waits_for(session) == "transactionid")
        session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'aws_lambda delivery'")
        wait_until(lambda: workers(session) == [])


def test_the_owner_is_a_superuser(start, endpoint):
    """Triggers of another owner could leave what runs at the commit, with the rights of who commits."""
    server = start()
    with connect(server) as session:
        session.execute("CREATE ROLE owner")
        enqueue(session)
        session.execute("ALTER TABLE aws_lambda.queue OWNER TO owner")
        for statement in ("SELECT aws_lambda.enqueue('echo', '1'::json)", "CALL aws_lambda.deliver()"):
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="is not a superuser"):
                session.execute(statement)
        session.execute("SELECT aws_lambda.start_worker()")
        time.sleep(1)
        assert workers(session) == []
        assert counter("invocations") == 0
        session.execute("ALTER TABLE aws_lambda.queue OWNER TO postgres")
        # It is started again.
        wait_until(lambda: counter("invocations") == 1, seconds=20)


def test_what_is_in_flight_is_written_before_it_stops(start, endpoint):
    server = start()
    with connect(server) as session:
        session.execute("SELECT aws_lambda.start_worker()")
        wait_until(lambda: [row[2] for row in workers(session)] == ["idle"])
        session.execute("SELECT count(aws_lambda.enqueue('accept-500', to_json(i))) FROM generate_series(1, 100) i")
        wait_for_invocations(64)
        session.execute("SELECT pg_terminate_backend(pid) FROM aws_lambda.queue_worker")
        wait_until(lambda: workers(session) == [])
        left = 100 - counter("invocations")
        assert session.execute("SELECT count(*) FROM aws_lambda.queue").fetchone() == (left,)
        assert session.execute("CALL aws_lambda.deliver()").fetchone() == (left, 0, 0)
        assert counter("invocations") == 100


def test_it_reads_its_configuration_while_it_delivers(start, endpoint):
    server = start()
    with connect(server) as session:
        session.execute("SELECT aws_lambda.start_worker()")
        session.execute("SELECT count(aws_lambda.enqueue('accept-200', to_json(i))) FROM generate_series(1, 2000) i")
        wait_for_invocations(100)
        session.execute("ALTER SYSTEM SET aws_lambda.max_concurrency = 1")
        session.execute("SELECT pg_reload_conf()")
        # What was locked before goes on as it was.
        time.sleep(4)
        scripted.reset()
        time.sleep(2)
        # Of 600 with 64 in flight.
        assert 1 <= counter("invocations") < 100


def test_it_does_not_spin_while_others_deliver(start, endpoint):
    """The rows are due, and in flight elsewhere."""
    server = start("aws_lambda.request_timeout_ms = '1h'")
    with connect(server) as session, connect(server) as deliverer:
        enqueue(session, "hang")
        with running(deliverer, 1, deliverer.execute, "CALL aws_lambda.deliver()"):
            session.execute("SELECT aws_lambda.start_worker()")
            wait_until(lambda: [row[2] for row in workers(session)] == ["idle"])
            ((pid, *_),) = workers(session)
            before = ticks(pid)
            time.sleep(3)
            # Of 300.
            assert ticks(pid) - before < 30
            # It goes on with other rows.
            enqueue(session)
            wait_for_invocations(2)
            deliverer.cancel()


def test_it_ends_with_the_postmaster(start, endpoint):
    """Also while it waits. Otherwise the server could not be started again."""
    server = start()
    with connect(server) as session:
        session.execute("SELECT aws_lambda.start_worker()")
        wait_until(lambda: [row[2] for row in workers(session)] == ["idle"])
        kill_postmaster(server, session, None)


def test_tables_of_somebody_else(preloaded):
    """Without the extension, tables of these names are not touched by the superuser's process."""
    with connect(preloaded) as session:
        session.execute("CREATE DATABASE other")
        with other(preloaded) as there:
            there.execute("CREATE SCHEMA aws_lambda")
            for table in ("queue", "queue_worker", "queue_deliveries"):
                there.execute(f"CREATE TABLE aws_lambda.{table} (pid int, started_at timestamptz)")
            time.sleep(7)
            assert there.execute("SELECT count(*) FROM aws_lambda.queue_worker").fetchone() == (0,)


def test_the_launcher_starts_with_the_server(preloaded):
    """It is connected to no database, and starts before any process has left descriptions of catalogs on disk."""
    with open(preloaded.log) as log:
        assert "FATAL" not in log.read()


def test_it_starts_again_after_a_crash(preloaded):
    with connect(preloaded) as session:
        ((pid, *_),) = workers(session)
        enqueue(session)
        wait_for_invocations(1)
        # What is in flight is sent again.
        wait_until(lambda: session.execute("SELECT count(*) FROM aws_lambda.queue").fetchone() == (0,))
        kill_backend(preloaded, session, pid)
    with contextlib.ExitStack() as stack:
        sessions = []

        def is_up():
            with contextlib.suppress(psycopg.OperationalError):
                sessions.append(stack.enter_context(connect(preloaded)))
            return sessions

        wait_until(is_up, seconds=30)
        enqueue(sessions[0])
        wait_until(lambda: counter("invocations") == 2, seconds=30)


def test_databases_come_and_go(preloaded):
    """The worker of a dropped extension or database ends, and that of a new one starts. Neither stops the others."""
    with connect(preloaded) as session:
        # Other than the extension's, nothing holds the database.
        session.execute("CREATE DATABASE other")
        with other(preloaded) as there:
            there.execute("CREATE EXTENSION aws_lambda CASCADE")
            wait_until(lambda: len(workers(session)) == 2, seconds=20)
            enqueue(there)
            wait_for_invocations(1)
            there.execute("DROP EXTENSION aws_lambda CASCADE")
            wait_until(lambda: len(workers(session)) == 1, seconds=20)
            there.execute("CREATE EXTENSION aws_lambda")
            wait_until(lambda: len(workers(session)) == 2, seconds=20)
            enqueue(there)
            wait_for_invocations(2)
        session.execute("DROP DATABASE other WITH (FORCE)")
        wait_until(lambda: [row[1] for row in workers(session)] == ["postgres"])
        enqueue(session)
        wait_for_invocations(3)


def other(server):
    return psycopg.connect(host=server.socket_dir, port=5432, user="postgres", dbname="other", autocommit=True)


def test_the_extension_is_dropped_in_delivery(start, endpoint):
    server = start("aws_lambda.request_timeout_ms = '3s'")
    with connect(server) as session:
        session.execute("SELECT aws_lambda.start_worker()")
        enqueue(session, "hang")
        wait_for_invocations(1)
        session.execute("SET statement_timeout = '2s'")
        session.execute("DROP EXTENSION aws_lambda CASCADE")
        wait_until(lambda: workers(session) == [], seconds=20)
        assert session.execute("SELECT 1").fetchone() == (1,)


def test_prepared_transactions_are_found(start, endpoint):
    """Nobody wakes the worker at COMMIT PREPARED. It looks by itself."""
    server = start("max_prepared_transactions = 1")
    with connect(server) as session:
        session.execute("SELECT aws_lambda.start_worker()")
        wait_until(lambda: [row[2] for row in workers(session)] == ["idle"])
        session.execute("BEGIN")
        enqueue(session)
        session.execute("PREPARE TRANSACTION 'p'")
        session.execute("COMMIT PREPARED 'p'")
        wait_until(lambda: counter("invocations") == 1, seconds=20)


def test_rows_that_become_due(start, endpoint):
    """While the worker waits, and while another row is in flight."""
    server = start("aws_lambda.request_timeout_ms = '1h'")
    with connect(server) as session:
        session.execute("SELECT aws_lambda.start_worker()")
        session.execute("SELECT aws_lambda.enqueue('echo', '1'::json, not_before => now() + interval '1.5 s')")
        time.sleep(0.5)
        assert counter("invocations") == 0
        wait_until(lambda: counter("invocations") == 1, seconds=4.5)
        enqueue(session, "hang")
        wait_for_invocations(2)
        session.execute("SELECT aws_lambda.enqueue('echo', '1'::json, not_before => now() + interval '0.5 s')")
        wait_for_invocations(3)
        enqueue(session)
        wait_for_invocations(4)
