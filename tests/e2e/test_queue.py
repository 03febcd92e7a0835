"""The queue under everything that happens to it: several deliverers, cancels, crashes, prepared transactions, rows that others hold.

What is committed is delivered at least once or visible as failed, and what is rolled back is never sent. Invocations are counted at the
endpoint.
"""

import collections
import concurrent.futures
import contextlib
import os
import pathlib
import signal
import time

import psycopg
import pytest

import scripted
from background import error_within_2_s, is_running, pid_of, running
from own_server import connect
from scripted import counter, wait_for_invocations, wait_until

# Nobody listens there.
DOWN = ["aws_lambda.endpoint_override = 'http://127.0.0.1:9'", "aws_lambda.region = 'us-east-1'", "aws_lambda.max_retries = 0"]
ENQUEUE = "SELECT count(aws_lambda.enqueue(%s, to_json(i))) FROM generate_series(1, %s) i"


def sent():
    """How often each payload arrived."""
    return collections.Counter(int(payload) for *_, payload in scripted.rows("invocations"))


def once(rows):
    return {row: 1 for row in range(1, rows + 1)}


def kill_backend(server, watcher, pid):
    """Kills it, and waits until the postmaster has ended the other sessions."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: is_lost(watcher))


def is_lost(session):
    try:
        session.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def is_alive(pid):
    """Whether the process runs. Nobody may have waited for the postmaster's processes."""
    return is_running(pid) and pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def kill_postmaster(server, watcher, pid):
    """Kills it, and starts it once its processes have noticed."""
    pids = [pid for pid, in watcher.execute("SELECT pid FROM pg_stat_activity")]
    server.server.kill()
    server.server.wait()
    wait_until(lambda: not any(map(is_alive, pids)))
    os.remove(os.path.join(server.data, "postmaster.pid"))
    server.start()


def connect_once_ready(server):
    """A session, as soon as recovery has ended."""
    sessions = []

    def is_ready():
        with contextlib.suppress(psycopg.OperationalError):
            sessions.append(connect(server))
        return sessions

    wait_until(is_ready, seconds=30)
    return sessions[0]


def in_queue(session):
    return session.execute("SELECT count(*) FROM aws_lambda.queue").fetchone()[0]


@pytest.fixture
def queue(session, endpoint):
    """A session with an empty queue."""
    session.execute("DELETE FROM aws_lambda.queue")
    return session


def test_deliverers_share_the_rows(queue, connect):
    """Four at once send each row once."""
    queue.execute(ENQUEUE, ["accept-5", 600])
    deliverers = [connect() for _ in range(4)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        rows = [pool.submit(lambda d=d: d.execute("CALL aws_lambda.deliver()").fetchone()) for d in deliverers]
    assert sum(row.result()[0] for row in rows) == 600
    assert sent() == once(600)
    assert in_queue(queue) == 0
    assert advisory_locks(queue) == 0


def advisory_locks(session):
    return session.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()[0]


def test_as_many_in_flight_as_max_concurrency(queue):
    queue.execute(ENQUEUE, ["accept-50", 100])
    queue.execute("SET aws_lambda.max_concurrency = 7")
    assert queue.execute("CALL aws_lambda.deliver()").fetchone() == (100, 0, 0)
    assert counter("most_in_flight") == 7


def test_vacuum_is_not_held_back(queue, connect):
    """While the network is waited for, the deliverer has no snapshot and no transaction id, and holds no lock that DROP needs."""
    queue.execute("SELECT aws_lambda.enqueue('sleep-1500', '1'::json, invocation_type => 'RequestResponse')")
    deliverer = connect()
    with running(deliverer, 1, deliverer.execute, "CALL aws_lambda.deliver()") as delivery:
        # The first transactions may be about to end.
        wait_until(lambda: horizons(queue, deliverer) == (None, None))
        locks = queue.execute(
            "SELECT relation::regclass::text FROM pg_locks WHERE pid = %s AND locktype = 'relation'", [pid_of(deliverer)]
        ).fetchall()
        assert locks == []
        # The row is locked by nobody, so it can be read and even deleted.
        queue.execute("BEGIN; DELETE FROM aws_lambda.queue; ROLLBACK")
        assert delivery.result(timeout=10).fetchone() == (1, 0, 0)


def horizons(session, deliverer):
    return session.execute(
        "SELECT backend_xid, backend_xmin FROM pg_stat_activity WHERE pid = %s", [pid_of(deliverer)]
    ).fetchone()


def test_a_cancelled_delivery(queue, connect):
    """It ends at once, and its rows are free again."""
    queue.execute(ENQUEUE, ["hang", 3])
    deliverer = connect()
    deliverer.execute("SET aws_lambda.request_timeout_ms = '1h'")
    with running(deliverer, 3, deliverer.execute, "CALL aws_lambda.deliver()") as delivery:
        deliverer.cancel()
        assert isinstance(error_within_2_s(delivery, since=time.monotonic()), psycopg.errors.QueryCanceled)
    assert advisory_locks(queue) == 0
    assert in_queue(queue) == 3
    queue.execute("UPDATE aws_lambda.queue SET function_name = 'echo'")
    assert queue.execute("CALL aws_lambda.deliver()").fetchone() == (3, 0, 0)
    assert sent() == {1: 2, 2: 2, 3: 2}
    # The session that was cancelled can deliver again.
    assert deliverer.execute("CALL aws_lambda.deliver()").fetchone() == (0, 0, 0)


def test_a_row_that_another_transaction_has(queue, connect):
    """It is skipped. If that transaction deletes it, it is never sent."""
    queue.execute(ENQUEUE, ["echo", 3])
    other = connect()
    with other.transaction():
        other.execute("DELETE FROM aws_lambda.queue WHERE payload = '2'")
        assert queue.execute("CALL aws_lambda.deliver()").fetchone() == (2, 0, 0)
    assert queue.execute("CALL aws_lambda.deliver()").fetchone() == (0, 0, 0)
    assert sent() == {1: 1, 3: 1}


def test_a_row_in_flight_that_another_transaction_has(queue, connect):
    """Its outcome is written once that transaction has ended. Meanwhile the outcomes of others are, and none is sent again."""
    queue.execute(ENQUEUE, ["accept-500", 3])
    deliverer, other = connect(), connect()
    with running(deliverer, 3, deliverer.execute, "CALL aws_lambda.deliver()") as delivery:
        with other.transaction(force_rollback=True):
            other.execute("DELETE FROM aws_lambda.queue WHERE payload = '2'")
            wait_until(lambda: in_queue(queue) == 1)
            assert not delivery.done()
            # Others go on with new rows, and skip that one.
            queue.execute("SELECT aws_lambda.enqueue('echo', '4'::json)")
            assert queue.execute("CALL aws_lambda.deliver()").fetchone() == (1, 0, 0)
        assert delivery.result(timeout=10).fetchone() == (3, 0, 0)
    assert in_queue(queue) == 0
    assert sent() == once(4)
    assert advisory_locks(queue) == 0


def test_a_row_in_flight_that_is_deleted(queue, connect):
    """Its delivery is counted, and its outcome is nowhere."""
    queue.execute(ENQUEUE, ["accept-500", 3])
    deliverer, other = connect(), connect()
    with running(deliverer, 3, deliverer.execute, "CALL aws_lambda.deliver()") as delivery:
        with other.transaction():
            other.execute("DELETE FROM aws_lambda.queue WHERE payload = '2'")
            wait_until(lambda: in_queue(queue) == 1)
        assert delivery.result(timeout=10).fetchone() == (3, 0, 0)
    assert in_queue(queue) == 0


REFUSALS = {
    "foreign key": (
        "CREATE TABLE refuses (id bigint REFERENCES aws_lambda.queue)",
        "INSERT INTO refuses SELECT id FROM aws_lambda.queue WHERE payload = '2'",
    ),
    "error": (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF OLD.payload = '2' THEN RAISE 'no'; END IF; RETURN OLD; END $$",
        "CREATE TRIGGER refuse BEFORE DELETE ON aws_lambda.queue FOR EACH ROW EXECUTE FUNCTION refuse()",
    ),
    "skipped": (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF OLD.payload = '2' THEN RETURN NULL; END IF; RETURN OLD; END $$",
        "CREATE TRIGGER refuse BEFORE DELETE ON aws_lambda.queue FOR EACH ROW EXECUTE FUNCTION refuse()",
    ),
}


@pytest.mark.parametrize("statements", REFUSALS.values(), ids=REFUSALS)
def test_a_row_that_cannot_be_written(start, endpoint, statements):
    """The others are. That row stays in delivery, with a warning, and nothing is sent again."""
    server = start()
    with connect(server) as session, connect(server) as deliverer:
        session.execute(ENQUEUE, ["echo", 5])
        for statement in statements:
            session.execute(statement)
        warnings = []
        deliverer.add_notice_handler(lambda notice: warnings.append((notice.severity, notice.message_detail)))
        with running(deliverer, 5, deliverer.execute, "CALL aws_lambda.deliver()") as delivery:
            wait_until(lambda: in_queue(session) == 1)
            time.sleep(3)
            assert not delivery.done()
            assert counter("invocations") == 5
            session.execute("DROP TABLE IF EXISTS refuses")
            session.execute("DROP FUNCTION IF EXISTS refuse() CASCADE")
            assert delivery.result(timeout=20).fetchone() == (5, 0, 0)
        assert in_queue(session) == 0
        assert 1 <= len(warnings) < 10
        assert all(severity == "WARNING" and detail.startswith("Row 2 of") for severity, detail in warnings)
    assert sent() == once(5)


def test_a_trigger_that_waits_for_a_lock(start, endpoint):
    """Others are written, and a cancel ends the wait."""
    server = start()
    with connect(server) as session, connect(server) as deliverer, connect(server) as other:
        session.execute(ENQUEUE, ["echo", 5])
        session.execute("CREATE TABLE child (id bigint REFERENCES aws_lambda.queue ON DELETE CASCADE)")
        session.execute("INSERT INTO child SELECT id FROM aws_lambda.queue WHERE payload = '2'")
        other.execute("BEGIN")
        other.execute("SELECT FROM child FOR UPDATE")
        with running(deliverer, 5, deliverer.execute, "CALL aws_lambda.deliver()") as delivery:
            wait_until(lambda: in_queue(session) == 1)
            deliverer.cancel()
            assert isinstance(error_within_2_s(delivery, since=time.monotonic()), psycopg.errors.QueryCanceled)
        other.execute("ROLLBACK")
    assert sent() == once(5)


def test_a_backend_can_be_cancelled_after_errors_that_were_caught(start, endpoint):
    """A trigger catches an error while an outcome is written."""
    server = start()
    with connect(server) as session:
        session.execute(
            "CREATE FUNCTION catches() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM 1 / 0; RETURN OLD; EXCEPTION WHEN OTHERS THEN RETURN OLD; END $$"
        )
        session.execute("CREATE TRIGGER catches BEFORE DELETE ON aws_lambda.queue FOR EACH ROW EXECUTE FUNCTION catches()")
        session.execute(ENQUEUE, ["echo", 5])
        assert session.execute("CALL aws_lambda.deliver()").fetchone() == (5, 0, 0)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            sleep = pool.submit(session.execute, "SELECT pg_sleep(60)")
            time.sleep(0.3)
            session.cancel()
            assert isinstance(error_within_2_s(sleep, since=time.monotonic()), psycopg.errors.QueryCanceled)


def test_a_row_with_the_id_of_one_in_flight(start, endpoint):
    """It is another row, and is sent."""
    server = start()
    with connect(server) as session, connect(server) as deliverer:
        session.execute("SELECT aws_lambda.enqueue('accept-700', '1'::json)")
        with running(deliverer, 1, deliverer.execute, "CALL aws_lambda.deliver()") as delivery:
            session.execute("TRUNCATE aws_lambda.queue RESTART IDENTITY")
            assert session.execute("SELECT aws_lambda.enqueue('echo', '2'::json)").fetchone() == (1,)
            assert delivery.result(timeout=10).fetchone()[0] >= 1
        session.execute("CALL aws_lambda.deliver()")
        assert in_queue(session) == 0
    assert sent() == once(2)


def test_a_row_in_flight_that_was_given_up(queue, connect):
    """An operator has decided about it meanwhile."""
    payload = '{"ms": 500, "as": "unhandled"}'
    queue.execute("SELECT aws_lambda.enqueue('mock', %s::json, invocation_type => 'RequestResponse')", [payload])
    deliverer = connect()
    with running(deliverer, 1, deliverer.execute, "CALL aws_lambda.deliver()") as delivery:
        queue.execute("UPDATE aws_lambda.queue SET state = 'failed', error_message = 'given up'")
        delivery.result(timeout=10)
    assert queue.execute("SELECT state, error_message, attempts FROM aws_lambda.queue").fetchall() == [("failed", "given up", 0)]


def test_many_rows_that_another_transaction_has(queue, connect):
    """The free one behind them is found, and its outcome does not wait for the rest of the search."""
    queue.execute(ENQUEUE, ["hang", 10_000])
    other = connect()
    with other.transaction(force_rollback=True):
        other.execute("UPDATE aws_lambda.queue SET due_at = due_at")
        queue.execute("SELECT aws_lambda.enqueue('echo', '0'::json)")
        assert queue.execute("CALL aws_lambda.deliver()").fetchone() == (1, 0, 0)
    assert sent() == {0: 1}


def test_tables_of_somebody_else_in_the_extensions_schema(start, endpoint):
    """Nothing is written to them: their owner's triggers would run with the rights of who queues."""
    server = start()
    with connect(server) as session:
        session.execute("DROP EXTENSION aws_lambda CASCADE")
        session.execute("CREATE EXTENSION IF NOT EXISTS aws_lambda_fdw")
        session.execute("CREATE SCHEMA IF NOT EXISTS aws_lambda")
        session.execute("CREATE TABLE aws_lambda.queue (id bigint)")
        session.execute("CREATE TABLE aws_lambda.queue_worker (pid int)")
        session.execute("CREATE TABLE aws_lambda.queue_deliveries (pid int)")
        session.execute("CREATE SERVER s FOREIGN DATA WRAPPER aws_lambda_fdw")
        session.execute("CREATE FOREIGN TABLE f (payload text) SERVER s OPTIONS (function_name 'echo', events 'queue')")
        with pytest.raises(psycopg.errors.UndefinedTable):
            session.execute("INSERT INTO f VALUES ('1')")
        assert in_queue(session) == 0


@pytest.mark.parametrize("table", ["queue", "queue_deliveries"])
def test_a_table_that_another_transaction_has_locked(queue, connect, table):
    """Outcomes are written once it is free again, and nothing is sent twice. A cancel ends the wait."""
    queue.execute(ENQUEUE, ["accept-300", 3])
    deliverer, other = connect(), connect()
    with running(deliverer, 3, deliverer.execute, "CALL aws_lambda.deliver()") as delivery:
        with other.transaction():
            other.execute(f"LOCK TABLE aws_lambda.{table}")
            time.sleep(1)
            assert not delivery.done()
        assert delivery.result(timeout=10).fetchone() == (3, 0, 0)
    assert sent() == once(3)
    with other.transaction(), concurrent.futures.ThreadPoolExecutor(1) as pool:
        other.execute(f"LOCK TABLE aws_lambda.{table}")
        delivery = pool.submit(deliverer.execute, "CALL aws_lambda.deliver()")
        time.sleep(0.3)
        deliverer.cancel()
        assert isinstance(error_within_2_s(delivery, since=time.monotonic()), psycopg.errors.QueryCanceled)


def test_a_foreign_table_that_is_being_altered(queue, connect):
    """Its rows are left for later. Those of others are delivered, and nobody waits."""
    queue.execute("CREATE FOREIGN TABLE altered (payload text) SERVER aws_lambda OPTIONS (function_name 'echo', events 'queue')")
    queue.execute("INSERT INTO altered VALUES ('1')")
    queue.execute("SELECT aws_lambda.enqueue('echo', '2'::json)")
    other = connect()
    queue.execute("SET statement_timeout = '5s'")
    with other.transaction():
        other.execute("ALTER FOREIGN TABLE altered OPTIONS (ADD max_concurrency '1')")
        assert queue.execute("CALL aws_lambda.deliver()").fetchone() == (1, 0, 0)
        assert sent() == {2: 1}
    assert queue.execute("CALL aws_lambda.deliver()").fetchone() == (1, 0, 0)
    queue.execute("DROP FOREIGN TABLE altered")
    assert sent() == once(2)


def test_rows_before_others_are_not_left_behind(queue, connect):
    """A row that was locked when the delivery began is delivered soon after it is free, though hundreds of others are due."""
    queue.execute("SET aws_lambda.max_concurrency = 1")
    queue.execute("SELECT aws_lambda.enqueue('echo', '1'::json)")
    queue.execute("SELECT count(aws_lambda.enqueue('accept-20', to_json(i))) FROM generate_series(2, 400) i")
    other, watcher = connect(), connect()
    with other.transaction(force_rollback=True), concurrent.futures.ThreadPoolExecutor(1) as pool:
        other.execute("DELETE FROM aws_lambda.queue WHERE payload = '1'")
        delivery = pool.submit(queue.execute, "CALL aws_lambda.deliver()")
        wait_for_invocations(5)
        other.execute("ROLLBACK")
        wait_until(lambda: 1 in sent())
        assert counter("invocations") < 390
        assert in_queue(watcher) > 5
        assert delivery.result(timeout=60).fetchone() == (400, 0, 0)
    assert sent() == once(400)


def test_rows_in_delivery_are_not_delivered_elsewhere(queue, connect):
    """A second deliverer finds other rows behind those that the first one has in flight."""
    queue.execute(ENQUEUE, ["hang", 5])
    first = connect()
    first.execute("SET aws_lambda.request_timeout_ms = '1h'")
    with running(first, 5, first.execute, "CALL aws_lambda.deliver()"):
        assert queue.execute("CALL aws_lambda.deliver()").fetchone() == (0, 0, 0)
        queue.execute(ENQUEUE, ["echo", 2])
        queue.execute("SET aws_lambda.max_concurrency = 1")
        assert queue.execute("CALL aws_lambda.deliver()").fetchone() == (2, 0, 0)
        first.cancel()
    assert counter("invocations") == 7


def test_an_endpoint_that_is_down(start):
    """Nothing is lost, and no attempt is used up, while nobody listens."""
    server = start(*DOWN, where=[])
    with connect(server) as session:
        session.execute("SET aws_lambda.queue_max_attempts = 1")
        session.execute(ENQUEUE, ["echo", 20])
        assert session.execute("CALL aws_lambda.deliver()").fetchone() == (0, 20, 0)
        rows = session.execute("SELECT DISTINCT state, attempts, postponements, error_code FROM aws_lambda.queue").fetchall()
        assert rows == [("waiting", 0, 1, "ConnectionRefused")]


def test_prepared_transactions(start, endpoint):
    """COMMIT PREPARED queues, ROLLBACK PREPARED does not."""
    server = start("max_prepared_transactions = 2")
    with connect(server) as session:
        for name, function in [("kept", "echo"), ("dropped", "mock")]:
            session.execute("BEGIN")
            session.execute("SELECT aws_lambda.enqueue(%s, '1'::json)", [function])
            session.execute(f"PREPARE TRANSACTION '{name}'")
        assert session.execute("CALL aws_lambda.deliver()").fetchone() == (0, 0, 0)
        session.execute("COMMIT PREPARED 'kept'")
        session.execute("ROLLBACK PREPARED 'dropped'")
        assert session.execute("CALL aws_lambda.deliver()").fetchone() == (1, 0, 0)
        assert scripted.functions() == ["echo"]


@pytest.mark.parametrize("kill", [kill_backend, kill_postmaster])
def test_a_crash_in_delivery(start, endpoint, kill):
    """What was in flight is sent again, and nothing else. Nothing is lost."""
    server = start("aws_lambda.request_timeout_ms = '1h'")
    answered, in_flight = 192, 8
    with connect(server) as session:
        session.execute(ENQUEUE, ["accept-2", answered])
        session.execute("SELECT count(aws_lambda.enqueue('hang', to_json(%s + i))) FROM generate_series(1, %s) i", [answered, in_flight])
    with connect(server) as deliverer, connect(server) as watcher, concurrent.futures.ThreadPoolExecutor(1) as pool:
        deliverer.execute(f"SET aws_lambda.max_concurrency = {in_flight}")
        delivery = pool.submit(deliverer.execute, "CALL aws_lambda.deliver()")
        wait_for_invocations(answered + in_flight)
        wait_until(lambda: in_queue(watcher) == in_flight)
        kill(server, watcher, pid_of(deliverer))
        with pytest.raises(psycopg.OperationalError):
            delivery.result(timeout=30)
    with connect_once_ready(server) as session:
        session.execute("UPDATE aws_lambda.queue SET function_name = 'echo'")
        assert session.execute("CALL aws_lambda.deliver()").fetchone() == (in_flight, 0, 0)
        assert in_queue(session) == 0
    assert sent() == once(answered) | {answered + row: 2 for row in range(1, in_flight + 1)}


def test_commits_that_are_not_on_disk(start, endpoint):
    """With synchronous_commit off, a crash takes back neither an outcome nor a transaction whose event was sent."""
    server = start("synchronous_commit = off", "wal_writer_delay = '10s'")
    with connect(server) as session, connect(server) as watcher:
        session.execute("CREATE TABLE orders (id int)")
        session.execute("CHECKPOINT")
        with session.transaction():
            session.execute("INSERT INTO orders VALUES (1)")
            session.execute(ENQUEUE, ["echo", 1])
        assert session.execute("CALL aws_lambda.deliver()").fetchone() == (1, 0, 0)
        kill_postmaster(server, watcher, None)
    with connect_once_ready(server) as session:
        assert session.execute("SELECT id FROM orders").fetchall() == [(1,)]
        assert session.execute("CALL aws_lambda.deliver()").fetchone() == (0, 0, 0)
    assert sent() == once(1)


def test_inserts_and_copies_are_queued(queue):
    """The table option has events written to the queue, with the mapping of the role that inserts."""
    queue.execute(
        "CREATE FOREIGN TABLE queued_events (payload text, invocation_type text, status_code int)"
        " SERVER aws_lambda OPTIONS (function_name 'echo', events 'queue')"
    )
    with queue.transaction(force_rollback=True):
        queue.execute("INSERT INTO queued_events VALUES ('0')")
    queue.execute("INSERT INTO queued_events SELECT i::text FROM generate_series(1, 3) i")
    with queue.cursor().copy("COPY queued_events (payload) FROM STDIN") as copy:
        copy.write("4\n5\n")
    returned = queue.execute("INSERT INTO queued_events VALUES ('6') RETURNING payload, status_code").fetchall()
    assert returned == [("6", 202)]
    assert counter("invocations") == 0
    # Other invocation types have a response, so they are made at once.
    queue.execute("INSERT INTO queued_events VALUES ('7', 'RequestResponse')")
    assert sent() == {7: 1}
    assert queue.execute("CALL aws_lambda.deliver()").fetchone() == (6, 0, 0)
    assert sent() == once(7)
