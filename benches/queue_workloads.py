"""What is measured of the queue: triggers that fill it, its delivery, and the time until a worker has sent what is committed.

As in workloads.py, rounds are interleaved, and medians are of rounds.
"""

import os
import statistics
import time

from ways import Session, timed
from workloads import Places

median = statistics.median

ROWS = 10_000
# Of those that wait for the network.
FEW_ROWS = 100
EVENTS = 20_000
COMMITS = 50

# What the trigger does, and how many rows are inserted.
TRIGGERS = {
    "no trigger": (None, ROWS),
    "writes to a table": ("INSERT INTO outbox (payload) VALUES (to_jsonb(NEW))", ROWS),
    "queues: `aws_lambda.enqueue`": ("PERFORM aws_lambda.enqueue('wait-10', to_jsonb(NEW))", ROWS),
    "sends at once: `aws_lambda.invoke`": (
        "PERFORM aws_lambda.invoke('wait-10', to_jsonb(NEW), invocation_type => 'Event')",
        FEW_ROWS,
    ),
}
NO_TRIGGER, TO_TABLE, TO_QUEUE, _ = TRIGGERS
OUTBOX = """
    CREATE TABLE outbox (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        queued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        payload jsonb
    )
"""
FUNCTION = "CREATE FUNCTION trigger_{0}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {1}; RETURN NULL; END $$"
TRIGGER = "CREATE TRIGGER each_row AFTER INSERT ON target_{0} FOR EACH ROW EXECUTE FUNCTION trigger_{0}()"

QUEUE_EVENTS = f"SELECT count(aws_lambda.enqueue('wait-10', to_jsonb(i))) FROM generate_series(1, {EVENTS}) i"
INSERT_EVENTS = f"""
    INSERT INTO aws_lambda.lambda_invocations (function_name, payload, invocation_type)
    SELECT 'wait-10', to_jsonb(i), 'Event' FROM generate_series(1, {EVENTS}) i
"""
WORKERS = "FROM pg_stat_activity WHERE backend_type = 'aws_lambda delivery'"


def triggers(endpoint, rounds):
    """An INSERT into a table of two columns whose trigger does something for each row."""
    session = Session()
    session.execute(OUTBOX)
    for number, (does, _) in enumerate(TRIGGERS.values()):
        session.execute(f"CREATE TABLE target_{number} (id int, v text)")
        if does:
            session.execute(FUNCTION.format(number, does))
            session.execute(TRIGGER.format(number))

    def seconds_a_row(number, count):
        session.execute(f"TRUNCATE outbox, aws_lambda.queue, target_{number}")
        statement = f"INSERT INTO target_{number} SELECT i, 'some text ' || i FROM generate_series(1, {count}) i"
        return timed(lambda: session.execute(statement)) / count

    taken = []
    with Places([session.pid], [endpoint.process.pid, os.getpid()]):
        for _ in range(rounds + 1):
            taken.append({way: seconds_a_row(number, count) for number, (way, (_, count)) in enumerate(TRIGGERS.items())})
    # The first round plans the statements of the functions.
    del taken[0]
    session.execute("TRUNCATE aws_lambda.queue")
    session.close()
    rows = [{"way": way, "seconds": median(one[way] for one in taken)} for way in TRIGGERS]
    return rows, {"queued, beyond a table": 1e6 * median(one[TO_QUEUE] - one[TO_TABLE] for one in taken)}


def delivery(rounds):
    """Events that are delivered from the queue, compared with an INSERT that sends as many."""
    session = Session()
    session.execute("SET aws_lambda.max_concurrency = 64")
    taken = []
    for _ in range(rounds):
        session.execute(QUEUE_EVENTS)
        delivered = timed(lambda: session.execute("CALL aws_lambda.deliver()"))
        taken.append((timed(lambda: session.execute(INSERT_EVENTS)), delivered))
    session.close()
    inserted, delivered = map(median, zip(*taken))
    share = median(inserted / delivered for inserted, delivered in taken)
    rows = [
        {"way": "`INSERT INTO lambda_invocations SELECT`", "rate": EVENTS / inserted, "share": 1},
        {"way": "`CALL aws_lambda.deliver()`", "rate": EVENTS / delivered, "share": share},
    ]
    return rows, {"delivery": share}


def arrival(endpoint):
    """The time from the start of a COMMIT to the arrival of its event, which a worker sends."""
    session = Session()
    count = lambda what: int(session.execute(f"SELECT count(*) {what}").get_value(0, 0))
    session.execute("SELECT aws_lambda.start_worker()")
    wait_until(lambda: count(f"{WORKERS} AND pid IN (SELECT pid FROM aws_lambda.queue_worker)"))

    def one():
        session.execute("BEGIN")
        session.execute("SELECT aws_lambda.enqueue('answer', '1'::jsonb)")
        began = time.monotonic_ns()
        session.execute("COMMIT")
        wait_until(lambda: endpoint.last() > began)
        arrived = endpoint.last()
        # The worker then sleeps again.
        wait_until(lambda: not count("FROM aws_lambda.queue"))
        return (arrived - began) / 1e9

    # The first one connects.
    taken = [one() for _ in range(COMMITS + 1)][1:]
    session.execute(f"SELECT pg_terminate_backend(pid) {WORKERS}")
    session.close()
    taken.sort()
    return {"late": taken[len(taken) * 9 // 10]}, {"COMMIT to arrival": 1e3 * median(taken)}


def wait_until(is_so):
    until = time.monotonic() + 30
    while not is_so():
        if time.monotonic() > until:
            raise RuntimeError("it has taken more than 30 seconds")
        time.sleep(0.02)
