"""Rows that another session changes after a statement has invoked for them.

PostgreSQL waits for the other session and evaluates the row once more (EvalPlanQual), with the answer that it has, so
nothing is invoked again.
"""

import concurrent.futures
import contextlib
import time

import pytest

from scripted import counter, wait_for_invocations, wait_until
from scripted import rows as scripted_rows
from tables import failure

ROWS = 20
# What the other session changes: two rows, in a column that is not sent or in the one that is, or the rows themselves.
OTHER_COLUMN = "UPDATE t SET n = n + 100 WHERE id IN (3, 7)"
INPUT = "UPDATE t SET s = 'changed' WHERE id IN (3, 7)"
ROW = "DELETE FROM t WHERE id IN (3, 7)"

UPDATE = "UPDATE t SET r = f.response FROM f WHERE f.payload = t.s"


@pytest.fixture
def ours(session, endpoint):
    """A session with a table `t` of rows to enrich, and a table `f` of invocations that take a while."""
    session.execute("DROP TABLE IF EXISTS t; DROP FOREIGN TABLE IF EXISTS f")
    session.execute("CREATE TABLE t (id int PRIMARY KEY, s text, n int, r text)")
    session.execute("INSERT INTO t SELECT i, 's' || i, i FROM generate_series(1, %s) i", [ROWS])
    session.execute("ANALYZE t")
    session.execute(
        "CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'accept-20')"
    )
    return session


@contextlib.contextmanager
def blocked(ours, connect, statement, *changes, invocations=ROWS):
    """Runs a statement in the background against changes that are not committed yet, and yields once it waits for them
    and the endpoint has had so many invocations. The changes are committed at the end."""
    theirs, watcher = connect(), connect()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with theirs.transaction():
            for change in changes:
                theirs.execute(change)
            result = pool.submit(ours.execute, statement)
            wait_until(lambda: result.done() or is_blocked(watcher, ours))
            wait_for_invocations(invocations)
            yield result
        concurrent.futures.wait([result], timeout=10)


def is_blocked(watcher, session):
    (pids,) = watcher.execute("SELECT pg_blocking_pids(%s)", [session.info.backend_pid]).fetchone()
    return bool(pids)


def run_against(ours, connect, statement, *changes, invocations=ROWS):
    """Runs a statement against changes that are committed while it waits for them; returns its cursor. No invocation
    comes after the wait, although all rows are evaluated once more."""
    with blocked(ours, connect, statement, *changes, invocations=invocations) as result:
        pass
    cursor = result.result()
    assert counter("invocations") == invocations
    return cursor


def table(session, columns):
    """Columns of `t` by id."""
    return {row[0]: row[1:] for row in session.execute(f"SELECT id, {columns} FROM t").fetchall()}


def enriched(except_for=()):
    """What `r` is by id once all rows have been enriched, except for some."""
    return {i: f"s{i}" for i in range(1, ROWS + 1) if i not in except_for}


def responses(session):
    """What `r` is by id, where it is not null."""
    return {i: r for i, (r,) in table(session, "r").items() if r is not None}


# UPDATE ... FROM


def test_another_column_was_changed(ours, connect):
    """Our answer goes into the row as the other session left it."""
    assert run_against(ours, connect, UPDATE, OTHER_COLUMN).rowcount == ROWS
    assert responses(ours) == enriched()
    assert table(ours, "s, n")[3] == ("s3", 103)
    assert counter("most_in_flight") > 1


def test_the_input_was_changed(ours, connect):
    """The row is no longer one that was invoked for, so it is left alone, as in any join."""
    assert run_against(ours, connect, UPDATE, INPUT).rowcount == ROWS - 2
    assert responses(ours) == enriched(except_for=(3, 7))
    assert table(ours, "s, n, r")[3] == ("changed", 3, None)


def test_the_row_was_deleted(ours, connect):
    assert run_against(ours, connect, UPDATE, ROW).rowcount == ROWS - 2
    assert responses(ours) == enriched(except_for=(3, 7))
    assert 3 not in table(ours, "n")


def test_the_row_was_changed_twice(ours, connect):
    """Away from the value that was sent and back."""
    back = "UPDATE t SET s = 's' || id, n = -id WHERE id IN (3, 7)"
    assert run_against(ours, connect, UPDATE, INPUT, back).rowcount == ROWS
    assert responses(ours) == enriched()
    assert table(ours, "n")[7] == (-7,)


def test_every_row_was_changed(ours, connect):
    """Each in one way or another, so that each is looked at once more."""
    changes = [
        "UPDATE t SET n = -n WHERE id % 3 = 0",
        "UPDATE t SET s = 'changed' WHERE id % 3 = 1",
        "DELETE FROM t WHERE id % 3 = 2",
    ]
    assert run_against(ours, connect, UPDATE, *changes).rowcount == 6
    assert responses(ours) == {i: f"s{i}" for i in range(3, ROWS + 1, 3)}
    assert len(table(ours, "n")) == 13


def test_the_whole_row_is_the_input(ours, connect):
    """So any change makes it another one."""
    statement = """
        UPDATE t SET r = l.response ->> 's' FROM aws_lambda.lambda_invocations l
        WHERE l.function_name = 'accept-20' AND l.payload = to_jsonb(t)
    """
    assert run_against(ours, connect, statement, OTHER_COLUMN).rowcount == ROWS - 2
    assert responses(ours) == enriched(except_for=(3, 7))


def test_a_condition_on_both_sides(ours, connect):
    """It is checked again with the new row and the old answer."""
    statement = UPDATE + " AND length(f.response) + t.n < 50"
    assert run_against(ours, connect, statement, OTHER_COLUMN).rowcount == ROWS - 2
    assert responses(ours) == enriched(except_for=(3, 7))


def test_returning(ours, connect):
    """What is returned of the other side is what the row was joined to at first."""
    statement = UPDATE + " RETURNING t.id, t.n, t.r, f.payload, f"
    rows = {row[0]: row[1:] for row in run_against(ours, connect, statement, OTHER_COLUMN).fetchall()}
    assert rows == {
        i: (i + (100 if i in (3, 7) else 0), f"s{i}", f"s{i}", f"(s{i},s{i})") for i in range(1, ROWS + 1)
    }


def test_two_tables_of_invocations(ours, connect):
    statement = "UPDATE t SET r = g.response FROM f, f g WHERE f.payload = t.s AND g.payload = f.response || t.id"
    changes = [OTHER_COLUMN, "UPDATE t SET s = 'changed' WHERE id = 5"]
    assert run_against(ours, connect, statement, *changes, invocations=2 * ROWS).rowcount == ROWS - 1
    assert responses(ours) == {i: f"s{i}{i}" for i in enriched(except_for=(5,))}


# The same with other shapes. In each, row 3 was changed in another column, 5 in the one that is sent, 7 was deleted.

CHANGES = [
    "UPDATE t SET n = n + 100 WHERE id = 3",
    "UPDATE t SET s = 'changed' WHERE id = 5",
    "DELETE FROM t WHERE id = 7",
]


def run_in_parts(ours, connect, statement, total=ROWS):
    """As run_against, where some invocations may be made one by one, and so after the wait."""
    with blocked(ours, connect, statement, *CHANGES, invocations=1) as result:
        pass
    cursor = result.result()
    assert counter("invocations") == total
    return cursor


@pytest.mark.parametrize("source", [
    "SELECT u.id, f.response FROM t u JOIN f ON f.payload = u.s",
    "SELECT u.id, f.response FROM t u LEFT JOIN f ON f.payload = u.s",
    "SELECT u.id, l.response FROM t u LEFT JOIN LATERAL (SELECT * FROM f WHERE payload = u.s) l ON true",
    "SELECT u.id, l.response FROM t u CROSS JOIN LATERAL (SELECT * FROM f WHERE payload = u.s OFFSET 0) l",
    "SELECT u.id, (SELECT response FROM f WHERE payload = u.s) AS response FROM t u OFFSET 0",
], ids=["join", "left-join", "lateral-left-join", "lateral", "subselect"])  # fmt: skip
def test_values_from_a_subquery(ours, connect, source):
    """It has read the rows once, as they were then, and is not run again for those that have changed."""
    statement = f"UPDATE t SET r = x.response FROM ({source}) x WHERE x.id = t.id"
    assert run_in_parts(ours, connect, statement).rowcount == ROWS - 1
    assert responses(ours) == enriched(except_for=(7,))
    assert table(ours, "s, n")[3] == ("s3", 103) and table(ours, "s, n")[5] == ("changed", 5)


def test_left_join_with_a_condition(ours, connect):
    statement = """
        UPDATE t SET r = COALESCE(x.response, 'none')
        FROM (SELECT u.id, f.response FROM t u LEFT JOIN f ON f.payload = u.s AND u.id <= 10) x WHERE x.id = t.id
    """
    assert run_against(ours, connect, statement, *CHANGES, invocations=10).rowcount == ROWS - 1
    assert responses(ours) == {i: f"s{i}" if i <= 10 else "none" for i in enriched(except_for=(7,))}


def test_merge(ours, connect):
    if ours.info.server_version < 150000:
        pytest.skip("there is no MERGE")
    statement = "MERGE INTO t USING f ON f.payload = t.s WHEN MATCHED THEN UPDATE SET r = f.response"
    assert run_against(ours, connect, statement, *CHANGES).rowcount == ROWS - 2
    assert responses(ours) == enriched(except_for=(5, 7))


def test_delete(ours, connect):
    statement = "DELETE FROM t USING f WHERE f.payload = t.s AND f.response <> 's20'"
    assert run_against(ours, connect, statement, *CHANGES).rowcount == ROWS - 3
    assert table(ours, "s") == {5: ("changed",), 20: ("s20",)}


def test_exists(ours, connect):
    statement = "UPDATE t SET r = 'seen' WHERE EXISTS (SELECT FROM f WHERE f.payload = t.s AND f.response <> 's20')"
    assert run_against(ours, connect, statement, *CHANGES).rowcount == ROWS - 3
    assert set(responses(ours)) == set(enriched(except_for=(5, 7, 20)))


def test_a_subselect_in_set_is_run_again(ours, connect):
    """As PostgreSQL does with any: it is part of what is computed of the new row, so two more are invoked."""
    statement = "UPDATE t SET r = (SELECT response FROM f WHERE payload = t.s)"
    assert run_in_parts(ours, connect, statement, total=ROWS + 2).rowcount == ROWS - 1
    assert responses(ours) == {**enriched(except_for=(7,)), 5: "changed"}


# Locking clauses


def test_for_update(ours, connect):
    statement = "SELECT t.id, t.n, t.s, f.response FROM t JOIN f ON f.payload = t.s FOR UPDATE OF t"
    rows = run_against(ours, connect, statement, *CHANGES).fetchall()
    assert sorted(rows) == [(i, i + (100 if i == 3 else 0), s, s) for i, s in enriched(except_for=(5, 7)).items()]


def test_for_update_of_a_left_join(ours, connect):
    """A row of another value than the one that was sent has no answer any more."""
    statement = "SELECT t.id, t.s, f.response FROM t LEFT JOIN f ON f.payload = t.s AND t.id <> 4 FOR UPDATE OF t"
    rows = run_against(ours, connect, statement, *CHANGES, invocations=ROWS - 1).fetchall()
    expected = {**{i: (s, s) for i, s in enriched(except_for=(7,)).items()}, 4: ("s4", None), 5: ("changed", None)}
    assert {row[0]: row[1:] for row in rows} == expected


def test_rows_locked_below_the_join(ours, connect):
    """Here a row is locked before it is invoked for, and is sent as it is then."""
    statement = "SELECT x.id, f.response FROM (SELECT * FROM t ORDER BY id FOR UPDATE) x JOIN f ON f.payload = x.s"
    with blocked(ours, connect, statement, *CHANGES, invocations=2) as result:
        pass
    assert dict(result.result().fetchall()) == {**enriched(except_for=(7,)), 5: "changed"}
    assert counter("invocations") == ROWS - 1


@pytest.mark.parametrize("statement, invocations", [
    ("SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s FOR UPDATE OF t SKIP LOCKED", ROWS),
    ("SELECT x.id, f.response FROM (SELECT * FROM t FOR UPDATE SKIP LOCKED) x JOIN f ON f.payload = x.s", ROWS - 3),
], ids=["above-the-join", "below-the-join"])  # fmt: skip
def test_skip_locked(ours, connect, statement, invocations):
    """Which rows are locked is found out after a join's invocations, or before them where a subquery asks for it."""
    theirs = connect()
    with theirs.transaction():
        for change in CHANGES:
            theirs.execute(change)
        assert dict(ours.execute(statement).fetchall()) == enriched(except_for=(3, 5, 7))
    assert counter("invocations") == invocations


def test_no_wait(ours, connect, endpoint):
    statement = "SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s FOR UPDATE OF t NOWAIT"
    theirs = connect()
    with theirs.transaction():
        theirs.execute(OTHER_COLUMN)
        assert failure(ours.execute, statement).sqlstate == "55P03"
    assert counter("invocations") <= ROWS
    endpoint.reset()
    assert len(ours.execute(statement).fetchall()) == counter("invocations") == ROWS


# Isolation, waiting


@pytest.mark.parametrize("change", [OTHER_COLUMN, INPUT, ROW], ids=["other-column", "input", "row"])
@pytest.mark.parametrize("statement", [UPDATE, "SELECT FROM t JOIN f ON f.payload = t.s FOR UPDATE OF t"],
                         ids=["update", "for-update"])  # fmt: skip
def test_repeatable_read(ours, connect, endpoint, statement, change):
    """Nothing is looked at once more: the statement fails, and what it did is undone, except for its invocations."""
    ours.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    with blocked(ours, connect, statement, change) as result:
        pass
    assert result.exception().sqlstate == "40001"
    ours.execute("ROLLBACK")
    assert responses(ours) == {}
    assert counter("invocations") == ROWS
    endpoint.reset()
    assert ours.execute(statement).rowcount == counter("invocations") == len(table(ours, "n"))


def test_lock_held_for_longer_than_the_request_timeout(ours, connect):
    """The answers are taken from the network while the session waits for the lock."""
    ours.execute("SET aws_lambda.request_timeout_ms = 300")
    with blocked(ours, connect, UPDATE, *CHANGES) as result:
        time.sleep(0.6)
        assert not result.done()
    assert result.result().rowcount == ROWS - 2
    assert responses(ours) == enriched(except_for=(5, 7))
    assert counter("invocations") == ROWS


def test_few_at_a_time(ours, connect):
    """While the session waits for the lock nothing is started, and the rest is afterwards."""
    ours.execute("SET aws_lambda.max_concurrency = 2")
    with blocked(ours, connect, UPDATE, *CHANGES, invocations=3) as result:
        time.sleep(0.1)
        before = counter("invocations")
        time.sleep(0.1)
        assert counter("invocations") == before < ROWS
    assert result.result().rowcount == ROWS - 2
    assert responses(ours) == enriched(except_for=(5, 7))
    assert counter("invocations") == ROWS and counter("most_in_flight") <= 2


@pytest.mark.parametrize("how", ["cancel", "lock_timeout"])
def test_interrupted_while_waiting_for_a_lock(ours, connect, endpoint, how):
    """Nothing is written, and what was on its way does not disturb the next statement."""
    sqlstate = {"cancel": "57014", "lock_timeout": "55P03"}[how]
    ours.execute("ALTER FOREIGN TABLE f OPTIONS (SET function_name 'mock')")
    ours.execute("UPDATE t SET s = format('{\"id\": %s, \"ms\": %s}', id, CASE WHEN id < 5 THEN 0 ELSE 60000 END)")
    if how == "lock_timeout":
        ours.execute("SET lock_timeout = '300ms'")
    with blocked(ours, connect, UPDATE, OTHER_COLUMN) as result:
        if how == "cancel":
            connect().execute("SELECT pg_cancel_backend(%s)", [ours.info.backend_pid])
        assert result.exception(timeout=10).sqlstate == sqlstate
    assert responses(ours) == {}
    ours.execute("UPDATE t SET s = 's' || id")
    endpoint.reset()
    assert ours.execute(UPDATE).rowcount == counter("invocations") == ROWS


def test_both_enrich(ours, connect):
    """Two sessions with the same statement both invoke for each row, and the answers of the second stay."""
    theirs = UPDATE.replace("= f.response", "= 'their ' || f.response")
    with blocked(ours, connect, UPDATE, theirs, invocations=2 * ROWS) as result:
        pass
    assert result.result().rowcount == ROWS
    assert responses(ours) == enriched()
    assert counter("invocations") == 2 * ROWS


# A subquery that is run once more, and has a join of its own

JOINED = "(SELECT count(f.response) FROM v JOIN f ON f.payload = v.s || t.s)"


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE t SET n = {JOINED} WHERE id IN (1, 3)",
        f"UPDATE t SET n = 4 WHERE id IN (1, 3) AND (t.n < 0 OR {JOINED} = 4)",
    ],
)
def test_joins_of_a_subquery(ours, connect, statement):
    """The subquery reads its own tables whole, also for the row that was changed meanwhile."""
    ours.execute("DROP TABLE IF EXISTS v; CREATE TABLE v AS SELECT 'v' || i AS s FROM generate_series(1, 4) i")
    with blocked(ours, connect, statement, OTHER_COLUMN, invocations=0) as result:
        pass
    assert result.result().rowcount == 2
    assert ours.execute("SELECT n FROM t WHERE id IN (1, 3)").fetchall() == [(4,), (4,)]
    # Four for each of the two rows, and four again for the changed one.
    assert counter("invocations") == 12


# Calls of aws_lambda.invoke: the expression is evaluated again for a row that was changed, and calls again

CALLS = {
    "set": "UPDATE t SET r = (aws_lambda.invoke('accept-20', to_jsonb(s))).payload #>> '{}'",
    "subquery": "UPDATE t SET r = (SELECT payload #>> '{}' FROM aws_lambda.invoke('accept-20', to_jsonb(t.s)))",
    "returning": "UPDATE t SET r = s RETURNING (aws_lambda.invoke('accept-20', to_jsonb(s))).payload",
    "for update": "SELECT id, s, (aws_lambda.invoke('accept-20', to_jsonb(s))).payload FROM t ORDER BY id FOR UPDATE",
}


@pytest.mark.parametrize("change", [OTHER_COLUMN, INPUT, ROW], ids=["other column", "input", "row"])
@pytest.mark.parametrize("statement", CALLS.values(), ids=CALLS)
def test_calls(ours, connect, endpoint, statement, change):
    """With many in flight the rows and the invocations are those that there are with one."""
    outcomes = []
    for most in (1, 64):
        endpoint.reset()
        ours.execute("SELECT set_config('aws_lambda.invoke_concurrency', %s, false)", [str(most)])
        # The first two rows are written or locked before the statement waits.
        with blocked(ours, connect, statement, change, invocations=2) as result:
            pass
        cursor = result.result()
        rows = cursor.fetchall() if cursor.description else []
        outcomes.append((rows, table(ours, "s, n, r"), sorted(payload for *_, payload in scripted_rows("invocations"))))
        assert (counter("most_in_flight") > 1) == (most > 1)
        ours.execute("TRUNCATE t")
        ours.execute("INSERT INTO t SELECT i, 's' || i, i FROM generate_series(1, %s) i", [ROWS])
    ours.execute("RESET aws_lambda.invoke_concurrency")
    assert outcomes[0] == outcomes[1]
