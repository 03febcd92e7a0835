"""Random queries with random planner settings invoke once for each row: with every source of rows and position of the invocation, and
although PostgreSQL could use Memoize, other orders of joins or rescans.

A query without invocations returns the expected payloads. The variable RANDOM_QUERIES is the number of queries.
"""

import os
import random

import psycopg
import pytest

from scripted import counter, reset
from test_random_joins import change_settings

QUERIES = int(os.environ.get("RANDOM_QUERIES", 25))
SETUP = """
    SET client_min_messages = warning;
    DROP SCHEMA IF EXISTS random_counts CASCADE;
    CREATE SCHEMA random_counts;
    SET search_path = random_counts, public;
    CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
    CREATE FOREIGN TABLE lt (function_name text, payload text, response text) SERVER aws_lambda;
    -- Of many equal rows, and few in PostgreSQL's mind where a and b are asked for
    CREATE TABLE t AS SELECT i AS id, i % 3 AS n, i % 4 AS a, i % 4 AS b, NULLIF(i % 5, 4)::text AS s FROM generate_series(1, 24) i;
    CREATE TABLE u AS SELECT i AS id, i % 2 AS n FROM generate_series(1, 6) i;
    CREATE TABLE keyed AS SELECT i AS n, i::text AS s FROM generate_series(0, 99) i;
    CREATE UNIQUE INDEX ON keyed (n);
    ANALYZE t, u, keyed;
    CREATE FUNCTION tables(n int) RETURNS TABLE (r text) LANGUAGE plpgsql VOLATILE AS
        $$ BEGIN RETURN QUERY SELECT response FROM random_counts.f WHERE payload = n::text; END $$;
    CREATE FUNCTION sets(n int) RETURNS SETOF text LANGUAGE sql VOLATILE AS
        $$ SELECT payload::text FROM aws_lambda.invoke('echo', to_jsonb(n)) $$;
    CREATE FUNCTION inlined(n int) RETURNS TABLE (r text) LANGUAGE sql STABLE AS
        $$ SELECT response FROM random_counts.f WHERE payload = n::text $$;
    -- It gives more rows than PostgreSQL thinks.
    CREATE FUNCTION few() RETURNS SETOF int LANGUAGE sql IMMUTABLE ROWS 1 AS $$ SELECT i % 3 FROM generate_series(1, 12) i $$;
"""
# Sources of rows, all with a column n.
SOURCES = [
    "t x",
    "t x",
    "(SELECT * FROM t ORDER BY id) x",
    "(SELECT n, count(*) FROM t GROUP BY n, id) x",
    "(VALUES (0), (1), (1), (0), (2), (2), (1)) x (n)",
    "unnest(ARRAY[0, 1, 1, 1, 2, 0]) x (n)",
    "few() x (n)",
    "(SELECT i % 2 AS n FROM generate_series(1, 20) i OFFSET 0) x",
    "(SELECT n FROM t UNION ALL SELECT n FROM u) x",
    "(SELECT y.* FROM t y JOIN u z USING (id) OFFSET 0) x",
]
TABLE = "SELECT response FROM f WHERE payload = x.n::text"
CALL = "SELECT payload::text AS response FROM aws_lambda.invoke('echo', to_jsonb(x.n))"
# A subquery that invokes once for a row of x.
SUBQUERIES = [TABLE, TABLE, CALL, "SELECT r AS response FROM tables(x.n) r", "SELECT r AS response FROM inlined(x.n) r"]
# LATERAL items with a subquery, which give a row for each of x.
ITEMS = [
    "({subquery}) l (r)",
    "({subquery} LIMIT 1) l (r)",
    "({subquery} OFFSET 0) l (r)",
    "({subquery} ORDER BY 1) l (r)",
    "(SELECT DISTINCT response FROM ({subquery}) q) l (r)",
    "(SELECT max(response) FROM ({subquery}) q) l (r)",
    "(SELECT response FROM ({subquery}) q UNION ALL SELECT 'never' WHERE x.n < 0) l (r)",
    "(SELECT response FROM ({subquery}) q UNION SELECT 'never' WHERE x.n < 0) l (r)",
    "(WITH w AS MATERIALIZED ({subquery}) SELECT response FROM w) l (r)",
    "unnest(ARRAY(({subquery}))) l (r)",
    "jsonb_array_elements_text((SELECT jsonb_build_array(response) FROM ({subquery}) q)) l (r)",
    "jsonb_each_text((SELECT jsonb_build_object('k', response) FROM ({subquery}) q)) l (k, r)",
    "jsonb_to_recordset((SELECT jsonb_build_array(jsonb_build_object('r', response)) FROM ({subquery}) q)) l (r text)",
    "generate_series((SELECT response::int FROM ({subquery}) q), x.n) l (r)",
    "ROWS FROM (generate_series(x.n, (SELECT response::int FROM ({subquery}) q)), unnest(ARRAY[1])) l (r, one)",
    "regexp_split_to_table((SELECT response FROM ({subquery}) q), ',') l (r)",
    "(SELECT k.s FROM keyed k WHERE k.n = x.n AND ({subquery}) IS NOT NULL) l (r)",
]
# The same, but PostgreSQL pulls them up. A query that names r twice would run it twice.
MERGED = ["(SELECT ({subquery})) l (r)", "(VALUES (({subquery}))) l (r)"]
FUNCTIONS = [
    "tables(x.n) l (r)",
    "sets(x.n) l (r)",
    "inlined(x.n) l (r)",
    "aws_lambda.invoke('echo', to_jsonb(x.n)) l (status, r)",
    "ROWS FROM (aws_lambda.invoke('echo', to_jsonb(x.n))) l (status, r)",
    "f l (p, r)",
]
# Scans without values, and the same in expressions that may not evaluate them.
DOOMED = ["(SELECT response FROM lt q WHERE q.response = l.r::text)", "EXISTS (SELECT FROM lt q WHERE q.response = l.r::text)"]
GUARDS = ["CASE WHEN l.r IS NOT NULL THEN '' ELSE {doomed}::text END", "COALESCE(l.r::text, {doomed}::text)", "(l.r IS NOT NULL OR {doomed} IS NULL)"]


def invocations():
    return counter("invocations")


def asked(session, query):
    """The rows of a query, or its error's SQLSTATE, and its invocations."""
    reset()
    try:
        rows = session.execute(query).fetchall()
    except psycopg.Error as error:
        rows = error.sqlstate
    return rows, invocations()


def query_of_rows(random):
    """A query that invokes for each row of a source, a query for these rows' values, and the expected result."""
    source = random.choice(SOURCES)
    filters = random.choice(["", "", " WHERE x.n > 0", " WHERE x.n <> 1"])
    kind = random.choice([ITEMS, ITEMS, ITEMS, FUNCTIONS, MERGED])
    item = random.choice(kind).format(subquery=random.choice(SUBQUERIES))
    joins = [("CROSS JOIN LATERAL", ""), ("LEFT JOIN LATERAL", " ON true"), ("JOIN LATERAL", " ON l.r IS NOT NULL")]
    if item == "f l (p, r)":
        joins = [("JOIN", " ON l.p = x.n::text"), ("LEFT JOIN", " ON l.p = x.n::text")]
    join, on = random.choice(joins[:2] if kind is MERGED else joins)
    column, doomed = "l.r", None
    if kind is not MERGED and random.random() < 0.2:
        doomed = random.choice(DOOMED)
        guard = random.choice(GUARDS) if random.random() < 0.4 else None
        column += f", {guard.format(doomed=doomed) if guard else doomed}"
        doomed = doomed if not guard else None
    order = random.choice(["", "", " ORDER BY x.n"])
    return f"SELECT x.n, {column} FROM {source} {join} {item}{on}{filters}{order}", f"SELECT x.n FROM {source}{filters}", doomed


@pytest.mark.parametrize("seed", [1, 2])
def test_a_row_invokes_once(session, seed):
    choose = random.Random(seed)
    session.execute(SETUP)
    for _ in range(QUERIES):
        query, values, doomed = query_of_rows(choose)
        off = change_settings(session, choose)
        expected = [value for (value,) in session.execute(values).fetchall()]
        rows, made = asked(session, query)
        about = f"{query}\nwith {off}: {made} invocations for {len(expected)} rows\nfound {rows}"
        if doomed:
            assert rows == "HV00L" and made == 0, about
            continue
        assert made == len(expected), about
        assert sorted((n, str(r)) for n, r, *_ in rows) == sorted((n, str(n)) for n in expected), about
    session.execute("DROP SCHEMA random_counts CASCADE")
