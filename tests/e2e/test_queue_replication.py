"""The queue under logical replication: its rows are delivered where they were queued, and nowhere a second time."""

import time

import pytest

from own_server import connect
from scripted import counter, wait_until
from test_queue import ENQUEUE, in_queue, once, sent
from test_queue_worker import workers

LATER = """
    SELECT count(aws_lambda.enqueue('echo', to_json(i), not_before => now() + interval '1 hour')) FROM generate_series(%s::int, %s::int) i
"""


@pytest.fixture
def publisher(start, endpoint):
    """A session in a publisher of all tables, and its server."""
    server = start("wal_level = logical")
    with connect(server) as session:
        session.execute("CREATE TABLE marks (id int PRIMARY KEY); CREATE PUBLICATION everything FOR ALL TABLES")
        yield session, server


@pytest.fixture
def subscriber(start, publisher):
    """A session in a server that can subscribe."""
    with connect(start()) as session:
        session.execute("CREATE TABLE marks (id int PRIMARY KEY)")
        yield session
        session.execute("DROP SUBSCRIPTION IF EXISTS subscription")


def subscribe(subscriber, server, publication="everything"):
    """Subscribes, and waits until the tables' rows were copied."""
    where = f"host={server.socket_dir} port=5432 user=postgres dbname=postgres"
    subscriber.execute(f"CREATE SUBSCRIPTION subscription CONNECTION '{where}' PUBLICATION {publication}")
    copied = "SELECT count(*) > 0 AND bool_and(srsubstate IN ('s', 'r')) FROM pg_subscription_rel"
    wait_until(lambda: subscriber.execute(copied).fetchone()[0], seconds=30)


def wait_until_applied(publisher, subscriber):
    """Waits until what was committed before is at the subscriber: changes are applied in order."""
    (mark,) = publisher.execute("INSERT INTO marks SELECT count(*) FROM marks RETURNING id").fetchone()
    wait_until(lambda: subscriber.execute("SELECT id FROM marks WHERE id = %s", [mark]).fetchone(), seconds=30)


def test_a_publisher_of_all_tables_delivers(publisher):
    """PostgreSQL refuses to delete from a published table without a replica identity."""
    session, _ = publisher
    session.execute(ENQUEUE, ["echo", 2])
    assert session.execute("CALL aws_lambda.deliver()").fetchone() == (2, 0, 0)
    session.execute("SELECT aws_lambda.start_worker()")
    wait_until(lambda: [row[2] for row in workers(session)] == ["idle"])
    session.execute("SELECT aws_lambda.enqueue('echo', '3'::json)")
    wait_until(lambda: sent() == once(3))
    wait_until(lambda: in_queue(session) == 0)


def test_a_subscriber_delivers_nothing_of_its_publisher(publisher, subscriber):
    """Neither what its worker finds after the first copy, nor what comes later. A failure that is tried again does not reach it either."""
    session, server = publisher
    session.execute("SET aws_lambda.max_retries = 0")
    subscriber.execute("SELECT aws_lambda.start_worker()")
    session.execute(ENQUEUE, ["echo", 3])
    subscribe(subscriber, server)
    session.execute("SELECT aws_lambda.enqueue('echo', '4'::json)")
    session.execute("SELECT aws_lambda.enqueue('throttle', '5'::json)")
    wait_until_applied(session, subscriber)
    # A worker looks every five seconds.
    time.sleep(6)
    assert counter("invocations") == 0
    assert session.execute("CALL aws_lambda.deliver()").fetchone() == (4, 1, 0)
    wait_until_applied(session, subscriber)
    assert in_queue(subscriber) == 0
    assert subscriber.execute("SELECT * FROM aws_lambda.queue_status").fetchall() == []
    assert sent() == once(5)


def test_a_subscriber_has_a_queue_of_its_own(publisher, subscriber):
    """Ids are the same on both sides. What the publisher changes and deletes leaves the subscriber's rows as they are."""
    session, server = publisher
    session.execute(LATER, [1, 5])
    subscriber.execute(LATER, [6, 10])
    subscribe(subscriber, server)
    before = subscriber.execute("SELECT * FROM aws_lambda.queue ORDER BY id").fetchall()
    assert [row[0] for row in before] == [1, 2, 3, 4, 5]
    session.execute("UPDATE aws_lambda.queue SET due_at = now()")
    assert session.execute("CALL aws_lambda.deliver()").fetchone() == (5, 0, 0)
    wait_until_applied(session, subscriber)
    assert subscriber.execute("SELECT * FROM aws_lambda.queue ORDER BY id").fetchall() == before
    subscriber.execute("UPDATE aws_lambda.queue SET due_at = now()")
    assert subscriber.execute("CALL aws_lambda.deliver()").fetchone() == (5, 0, 0)
    assert sent() == once(10)


def test_a_queue_that_is_left_out(publisher, subscriber):
    """A publication of the schemas of the application. The subscriber needs no roles of the publisher's then."""
    session, server = publisher
    if session.info.server_version < 150000:
        pytest.skip("needs FOR TABLES IN SCHEMA, of PostgreSQL 15")
    session.execute("CREATE ROLE app SUPERUSER")
    session.execute("CREATE PUBLICATION application FOR TABLES IN SCHEMA public")
    subscribe(subscriber, server, "application")
    session.execute("SET ROLE app")
    session.execute("SELECT aws_lambda.enqueue('echo', '1'::json)")
    assert session.execute("CALL aws_lambda.deliver()").fetchone() == (1, 0, 0)
    session.execute("RESET ROLE")
    wait_until_applied(session, subscriber)
    assert subscriber.execute("SELECT srrelid::regclass::text FROM pg_subscription_rel").fetchall() == [("marks",)]
    assert sent() == once(1)


def test_a_session_that_fires_no_triggers(publisher):
    """It queues and delivers as others do: only a subscription's changes are left out."""
    session, _ = publisher
    session.execute("SET session_replication_role = replica")
    session.execute(ENQUEUE, ["echo", 2])
    assert session.execute("CALL aws_lambda.deliver()").fetchone() == (2, 0, 0)
    session.execute(LATER, [3, 3])
    session.execute("UPDATE aws_lambda.queue SET due_at = now()")
    assert session.execute("CALL aws_lambda.deliver()").fetchone() == (1, 0, 0)
    session.execute(LATER, [4, 4])
    session.execute("DELETE FROM aws_lambda.queue")
    assert in_queue(session) == 0
    assert sent() == once(3)
