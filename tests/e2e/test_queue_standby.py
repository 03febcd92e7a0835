"""The queue on a physical standby: nobody delivers there until it is promoted."""

import os
import time

import psycopg
import pytest

from own_server import connect
from scripted import counter, wait_until
from test_queue import ENQUEUE, in_queue, once, sent
from test_queue_worker import workers

PRELOADED = ["shared_preload_libraries = 'aws_lambda_fdw'", "aws_lambda.worker_databases = 'postgres'"]


def has_replayed(standby, position):
    return standby.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [position]).fetchone()[0]


def connect_to_standby(server):
    return psycopg.connect(host=server.socket_dir, port=5432, user="postgres", dbname="postgres", autocommit=True)


def test_a_standby_delivers_after_its_promotion(start, endpoint):
    """What the primary has delivered is not sent again, and what it has not is."""
    primary = start()
    if not os.path.exists(f"{primary.bindir}/pg_basebackup"):
        pytest.skip("this package of PostgreSQL has no pg_basebackup")
    with connect(primary) as session:
        standby = start(*PRELOADED, primary=primary)
        session.execute(ENQUEUE, ["echo", 10])
        assert session.execute("CALL aws_lambda.deliver(3)").fetchone() == (3, 0, 0)
        position = session.execute("SELECT pg_current_wal_flush_lsn()").fetchone()[0]
    with connect_to_standby(standby) as session:
        wait_until(lambda: has_replayed(session, position))
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction, match="in a read-only transaction"):
            session.execute("CALL aws_lambda.deliver()")
        # A worker looks every five seconds.
        time.sleep(6)
        assert workers(session) == []
        assert counter("invocations") == 3
        assert in_queue(session) == 7
        assert session.execute("SELECT waiting FROM aws_lambda.queue_status").fetchall() == [(7,)]
        primary.stop()
        session.execute("SELECT pg_promote()")
        wait_until(lambda: in_queue(session) == 0, seconds=30)
        assert sent() == once(10)
        # A commit wakes its worker.
        wait_until(lambda: [row[2] for row in workers(session)] == ["idle"])
        session.execute("SELECT aws_lambda.enqueue('echo', '11'::json)")
        wait_until(lambda: sent() == once(11))
