"""Random statements with calls of aws_lambda.invoke, under random planner settings, have the same rows and send the same payloads with one
call in flight and with 64.

The variable RANDOM_QUERIES is the number of statements.
"""

import os
import random

import psycopg
import pytest

from scripted import reset
from scripted import rows as scripted_rows
from test_random_joins import change_settings

QUERIES = int(os.environ.get("RANDOM_QUERIES", 40))
SETUP = """
    SET client_min_messages = warning;
    DROP SCHEMA IF EXISTS random_calls CASCADE;
    CREATE SCHEMA random_calls;
    SET search_path = random_calls, public;
    CREATE TABLE t AS SELECT i AS id, i % 3 AS n, NULLIF(i % 5, 4)::text AS s, NULL::jsonb AS r FROM generate_series(1, 12) i;
    CREATE TABLE u AS SELECT i AS id, i % 2 AS n, 'u' || i AS s, NULL::jsonb AS r FROM generate_series(1, 4) i;
    CREATE UNIQUE INDEX ON t (id);
    CREATE TABLE p (id int, n int, s text, r jsonb) PARTITION BY RANGE (id);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (5);
    CREATE TABLE p2 (r jsonb, s text, n int, id int);
    ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (5) TO (99);
    INSERT INTO p SELECT id, n, s FROM t WHERE id < 10;
    ANALYZE t, u, p;
    CREATE FUNCTION inlined(x anyelement) RETURNS jsonb LANGUAGE sql AS $$ SELECT (aws_lambda.invoke('echo', to_jsonb(x))).payload $$;
    CREATE FUNCTION table_of(x int) RETURNS TABLE (r jsonb) LANGUAGE sql STABLE AS $$ SELECT payload FROM aws_lambda.invoke('echo', to_jsonb(x)) $$;
    CREATE VIEW v AS SELECT id, n, s, (aws_lambda.invoke('echo', jsonb_build_array('v', id))).payload AS r FROM t;
"""
# Sources of rows, with columns id, n, s and r, of which id is unique.
SOURCES = [
    "t x",
    "t x",
    "p x",
    "v x",
    "(SELECT * FROM t ORDER BY n, id LIMIT 7) x",
    "(SELECT id, n, s, r FROM u UNION ALL SELECT id + 100, n, s, r FROM t) x",
    "(SELECT t.id, u.n, t.s, u.r FROM t LEFT JOIN u USING (id)) x",
    "(SELECT a.id * 100 + b.id AS id, a.n, b.s, a.r FROM u a JOIN t b ON a.n = b.n) x",
    "(SELECT max(id) AS id, n, min(s) AS s, NULL::jsonb AS r FROM t GROUP BY n) x",
    "(SELECT id, n, s, to_jsonb(i) AS r FROM t, aws_lambda.invoke('echo', jsonb_build_array('f', t.id)) i) x",
]
ARGUMENTS = ["to_jsonb(x.id)", "to_jsonb(x)", "jsonb_build_array(x.n, x.s)", "to_jsonb(x.s)", "x.r || to_jsonb(x.id)", "'7'::jsonb", "to_jsonb(random() < 2)"]
CALLS = [
    "(aws_lambda.invoke('echo', {})).payload",
    "(aws_lambda.invoke('echo', {})).payload",
    "(SELECT payload FROM aws_lambda.invoke('echo', {}))",
    "(SELECT payload || to_jsonb(status_code) FROM aws_lambda.invoke('echo', {}))",
    "to_jsonb((SELECT i FROM aws_lambda.invoke('echo', {}) i))",
    "to_jsonb(aws_lambda.invoke('echo', {}))",
    "inlined({})",
    "CASE WHEN x.n = 1 THEN (aws_lambda.invoke('echo', {})).payload END",
    "COALESCE(to_jsonb(NULLIF(x.n, 0)), (aws_lambda.invoke('echo', {})).payload)",
    "(SELECT jsonb_agg(payload) FROM u y, aws_lambda.invoke('echo', {} || to_jsonb(y.id)))",
    "(SELECT payload FROM aws_lambda.invoke('echo', {}) WHERE x.n > 0)",
]
WRAPPERS = ["{}", "{}", "{} || '[1]'", "jsonb_build_object('a', {}, 'b', x.n)", "to_jsonb(({})::text || x.id)", "to_jsonb({} IS NULL)", "jsonb_typeof({})::text::name"]
ITEMS = [
    ", LATERAL aws_lambda.invoke('echo', {}) l",
    " LEFT JOIN LATERAL aws_lambda.invoke('echo', {}) l ON l.status_code = 200 AND x.n > 0",
    ", LATERAL (SELECT * FROM aws_lambda.invoke('echo', {})) l",
    ", LATERAL aws_lambda.invoke('echo', {}) WITH ORDINALITY l",
    " CROSS JOIN aws_lambda.invoke('echo', '[0]'::jsonb) l",
]


def call(choose, depth=0):
    """An expression of jsonb with a call for a row of x."""
    argument = choose.choice(ARGUMENTS)
    if depth < 2 and choose.random() < 0.2:
        argument = f"jsonb_build_array({call(choose, depth + 1)})"
    return choose.choice(CALLS).format(argument)


def column(choose):
    return choose.choice(WRAPPERS).format(call(choose))


def query(choose):
    """A query, and whether its rows have an order."""
    columns = ["x.id", *(column(choose) for _ in range(choose.choice([1, 1, 2, 3])))]
    source, order = choose.choice(SOURCES), choose.choice(["", "", " ORDER BY x.id DESC", " ORDER BY 2, 1"])
    wheres = ["", "", " WHERE x.n <> 1", " WHERE x.id IN (SELECT id FROM u)"]
    if choose.random() < 0.3:
        source += choose.choice(ITEMS).format(choose.choice(ARGUMENTS))
        columns.append("l.payload")
    if "aws_lambda" in source:
        # PostgreSQL may join u before or after a call in FROM.
        wheres.pop()
    where = choose.choice(wheres)
    if choose.random() < 0.15:
        return f"SELECT DISTINCT {', '.join(columns)} FROM {source}{where}", False
    text = f"SELECT {', '.join(columns)} FROM {source}{where}{order}"
    if choose.random() < 0.2:
        text = choose.choice(["SELECT * FROM ({}) q", "WITH q AS MATERIALIZED ({}) SELECT * FROM q", "SELECT count(*), jsonb_agg(to_jsonb(q)) FROM ({}) q"]).format(text)
    return text, bool(order)


def change(choose):
    """A statement that writes."""
    target, expression = choose.choice(["t", "p"]), call(choose)
    where = choose.choice(["", " WHERE x.n <> 1"])
    returning = choose.choice(["", "", f" RETURNING x.id, {call(choose)}"])
    kinds = [
        f"UPDATE {target} x SET r = {expression}{where}{returning}",
        f"UPDATE {target} x SET r = {expression}, s = 'new' FROM u WHERE u.id = x.id{returning}",
        f"UPDATE {target} x SET (n, s) = (SELECT x.n + 1, 'new'), r = {expression}{where}{returning}",
        f"INSERT INTO {target} AS x (id, n, r) SELECT id + 20, n, {expression} FROM u x{returning}",
        f"DELETE FROM {target} x{where} RETURNING x.id, {expression}",
    ]
    return choose.choice(kinds), target


def outcome(session, most, statement, target=None):
    """The rows of a statement, what it has written, or its error's SQLSTATE; and the payloads."""
    reset()
    session.execute("SELECT set_config('aws_lambda.invoke_concurrency', %s, false)", [str(most)])
    found = []
    try:
        with session.transaction(force_rollback=True):
            cursor = session.execute(statement)
            found.append(cursor.fetchall() if cursor.description else cursor.rowcount)
            if target:
                found.append(session.execute(f"SELECT * FROM {target} ORDER BY id").fetchall())
    except psycopg.Error as error:
        return error.sqlstate, None
    return found, sorted(payload for *_, payload in scripted_rows("invocations"))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_same_rows_and_payloads(session, seed, endpoint):
    choose = random.Random(seed)
    session.execute(SETUP)
    failures = 0
    for number in range(QUERIES):
        off = change_settings(session, choose)
        statement, target = change(choose) if number % 4 == 3 else (None, None)
        is_ordered = True
        if not statement:
            statement, is_ordered = query(choose)
        one, many = (outcome(session, most, statement, target) for most in (1, 64))
        failures += one[1] is None
        if not is_ordered and one[1] is not None and many[1] is not None:
            for found, _ in (one, many):
                found[0] = sorted(found[0], key=str)
        assert one == many, f"{statement}\nwith {off}"
    # Some are mistakes, which are the same too.
    assert failures < QUERIES / 4
    session.execute("RESET aws_lambda.invoke_concurrency; DROP SCHEMA random_calls CASCADE")
