"""Random joins with random planner settings return the same rows with a table of invocations of `echo` as with an
ordinary table that has each payload with itself as the response.

Numbers of invocations are not compared, because they depend on the order of joins. -k and RANDOM_QUERIES run one seed more often.
"""

import os
import random

import psycopg
import pytest

QUERIES = int(os.environ.get("RANDOM_QUERIES", 50))
# Booleans are inverted, and the others get this value.
OTHER_SETTINGS = {"geqo_threshold": "2", "join_collapse_limit": "1", "from_collapse_limit": "1"}
# All payloads of the queries below.
PAYLOADS = " UNION ".join(
    f"SELECT {value} FROM {table}"
    for table in ("t1", "t2", "t3")
    for value in ("s", "s || n", "coalesce(s, 'z')", "coalesce(s, 'z') || n", "n::text", "unnest(arr)")
)
SETUP = f"""
    SET client_min_messages = warning;
    DROP SCHEMA IF EXISTS random_joins CASCADE;
    CREATE SCHEMA random_joins;
    SET search_path = random_joins, public;
    CREATE TABLE t1 (id int, s text, n int, arr text[]);
    CREATE TABLE t2 (LIKE t1);
    CREATE TABLE t3 (LIKE t1) PARTITION BY HASH (id);
    CREATE TABLE t3_even PARTITION OF t3 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE t3_odd PARTITION OF t3 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
"""
TABLES = f"""
    CREATE TABLE pool AS SELECT DISTINCT payload FROM ({PAYLOADS} UNION VALUES ('a'), ('b'), ('k')) AS x (payload)
        WHERE payload IS NOT NULL;
    INSERT INTO pool SELECT payload || '!' FROM pool;
    INSERT INTO pool SELECT payload || '!' FROM pool WHERE payload LIKE '%!';
    CREATE VIEW model AS SELECT payload, payload AS response FROM pool;
    CREATE VIEW view_of_model AS SELECT * FROM model;
    CREATE FOREIGN TABLE lambda (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
    CREATE VIEW view_of_lambda AS SELECT * FROM lambda;
    CREATE FUNCTION of_model(p text) RETURNS TABLE (payload text, response text) LANGUAGE plpgsql VOLATILE AS
        $$ BEGIN RETURN QUERY SELECT m.payload, m.response FROM random_joins.model m WHERE m.payload = p; END $$;
    CREATE FUNCTION of_lambda(p text) RETURNS TABLE (payload text, response text) LANGUAGE plpgsql VOLATILE AS
        $$ BEGIN RETURN QUERY SELECT l.payload, l.response FROM random_joins.lambda l WHERE l.payload = p; END $$;
    ANALYZE t1, t2, t3, pool;
"""


def change_settings(session, choose):
    """Sets a few of the planner's settings to other values than the default, and resets the others. They differ by version."""
    settings = session.execute(
        "SELECT name, boot_val FROM pg_settings WHERE name LIKE 'enable\\_%%' OR name = ANY (%s) ORDER BY name",
        [["debug_parallel_query", "force_parallel_mode", *OTHER_SETTINGS]],
    ).fetchall()
    changed = choose.sample(settings, choose.choice([0, 0, 1, 2, 3, 5]))
    if choose.random() < 0.3:
        changed += [setting for setting in settings if setting[0] in OTHER_SETTINGS and setting[0].endswith("limit")]
    values = dict(settings) | {name: OTHER_SETTINGS.get(name, "off" if value == "on" else "on") for name, value in changed}
    session.execute(
        "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS s (name, value)",
        [list(values), list(values.values())],
    )
    return [f"{name} = {values[name]}" for name, _ in changed]


class Queries:
    """Makes queries in which {F} stands for the table of invocations, and {V} for a view of it."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def one_of(self, *choices):
        return self.random.choice(choices)

    def often(self, share):
        return self.random.random() < share

    def value(self, alias):
        return self.one_of(f"{alias}.s", f"{alias}.s || {alias}.n", f"coalesce({alias}.s, 'z')", f"{alias}.n::text")

    def condition(self, aliases):
        a, b = self.random.choice(aliases), self.random.choice(aliases)
        return self.one_of(
            f"{a}.n > 1",
            f"{a}.id = {b}.id",
            f"{a}.s <> 'a'",
            f"{a}.n IS NOT NULL",
            f"({a}.id < 6 OR {b}.n = 2)",
            f"{a}.id % 2 = 0",
        )

    def tables(self):
        """A FROM clause, the names of its tables, and those of its invocations."""
        outer, invoked, clause = [], [], ""
        count = self.one_of(1, 1, 2, 2, 3)
        for number in range(count):
            name = f"a{number}"
            table = self.one_of("t1", "t2", "t3", "t3")
            if self.often(0.2):
                # An expression below an outer join becomes a placeholder above it.
                table = f"(SELECT id, coalesce(s, 'z') AS s, n, arr FROM {table})"
            if outer:
                more = f" AND {self.condition(outer + [name])}" if self.often(0.3) else ""
                join = self.one_of("JOIN", "LEFT JOIN")
                joined = f"{table} {name}"
                if self.often(0.25):
                    joined = f"({joined}{self.invocations(f'f{len(invoked)}', [name], [])})"
                    invoked.append(f"f{len(invoked)}")
                clause += f" {join} {joined} ON {name}.id = {self.random.choice(outer)}.id{more}"
            else:
                clause = f"{table} {name}"
            outer.append(name)
            if self.often(0.6) or number == count - 1:
                clause += self.invocations(f"f{len(invoked)}", outer, invoked)
                invoked.append(f"f{len(invoked)}")
        return clause, outer, invoked

    def invocations(self, name, outer, invoked):
        source, join = self.one_of("{F}", "{F}", "{V}"), self.one_of("JOIN", "LEFT JOIN")
        value = self.value(self.random.choice(outer))
        if invoked and self.often(0.3):
            value = f"{self.random.choice(invoked)}.response"
        if self.often(0.15):
            tail = self.one_of("", " OFFSET 0", " LIMIT 1")
            return f" {join} LATERAL (SELECT payload, response FROM {source} WHERE payload = {value}{tail}) {name} ON true"
        if self.often(0.1):
            return f" {join} LATERAL {self.item(source, value)} {name} (payload, response) ON true"
        equal = self.one_of(
            *[f"{name}.payload = {value}"] * 5,
            f"{name}.payload = ANY (ARRAY[{value}, 'k', NULL])",
            f"{name}.payload IN ({value}, 'k')",
            f"({name}.payload IS NOT DISTINCT FROM {value} AND {value} IS NOT NULL)",
        )
        clause = f" {join} {source} {name} ON {equal}"
        if invoked and self.often(0.2):
            # Where both are tables, either could give the other its payload.
            clause += f" AND {name}.payload = {self.random.choice(invoked)}.payload"
        if self.often(0.25):
            clause += f" AND {self.condition(outer)}"
        if self.often(0.15):
            clause += f" AND {name}.response <> 'b'"
        return clause

    def item(self, source, value):
        """Other items of FROM that read the table."""
        response = f"(SELECT response FROM {source} WHERE payload = {value})"
        return self.one_of(
            f"(SELECT {value}, r FROM unnest(ARRAY[{response}, 'a']) r)",
            f"(VALUES ({value}, {response}), ('a', 'b'))",
            f"ROWS FROM (unnest(ARRAY[{value}]), regexp_split_to_table({response}, ','))",
            f"jsonb_each_text((SELECT jsonb_build_object('k', response) FROM {source} WHERE payload = {value}))",
            f"{{functions}}({value})",
        )

    def filters(self, outer):
        filters = []
        name = self.random.choice(outer)
        if self.often(0.5):
            filters.append(self.condition(outer))
        if self.often(0.25):
            more = self.one_of("", " AND q.response <> 'a'")
            filters.append(
                f"{self.one_of('', 'NOT ')}EXISTS (SELECT FROM {{F}} q WHERE q.payload = {self.value(name)}{more})"
            )
        if self.often(0.15):
            filters.append(f"{self.value(name)} IN (SELECT response FROM {{F}} q WHERE q.payload IN ('a', 'b', 'k'))")
        if self.often(0.1):
            # A join by a subquery's row. A hash join evaluates it again.
            filters.append(f"(SELECT response FROM {{F}} q WHERE q.payload = {self.value(name)}) IN (SELECT s FROM t2)")
        if self.often(0.1):
            filters.append(
                f"EXISTS (SELECT FROM {{F}} q, t3 WHERE q.payload = ANY (t3.arr) AND t3.id = {name}.id)"
            )
        return f" WHERE {' AND '.join(filters)}" if filters else ""

    def query(self):
        clause, outer, invoked = self.tables()
        columns = [f"{name}.id" for name in outer] + [f"{name}.response" for name in invoked]
        if self.often(0.15):
            value = self.value(self.random.choice(outer))
            columns.append(f"(SELECT response FROM {{F}} q WHERE q.payload = {value})")
        if self.often(0.2):
            columns.append(self.random.choice(outer))
        body = f"FROM {clause}{self.filters(outer)}"
        plain = f"SELECT {', '.join(columns)} {body}"
        return self.one_of(
            plain,
            plain,
            plain,
            f"SELECT count(*), min({columns[-1]}::text) {body}",
            f"SELECT {columns[0]}, count(*) {body} GROUP BY 1",
            f"{plain} UNION ALL {plain}",
        )


def fetched(session, queries, query):
    """All rows, a few at a time."""
    rows = []
    with session.transaction():
        session.execute(f"DECLARE c CURSOR FOR {query}")
        while some := session.execute(f"FETCH {queries.one_of(1, 2, 7)} FROM c").fetchall():
            rows += some
    return rows


@pytest.mark.parametrize("seed, concurrency", [(1, 1), (2, 3), (3, 64)])
def test_same_rows(session, seed, concurrency):
    queries = Queries(seed)
    session.execute(SETUP)
    for table in ("t1", "t2", "t3"):
        for number in range(12):
            values = [number, queries.one_of(None, *"abcd", f"v{number}"), queries.one_of(None, 1, 2, 3)]
            session.execute(f"INSERT INTO {table} VALUES (%s, %s, %s, ARRAY['a', 'x', NULL])", values)
    session.execute(TABLES)
    session.execute(f"SET aws_lambda.max_concurrency = {concurrency}")
    for _ in range(QUERIES):
        query = queries.query()
        changed = change_settings(session, queries.random)
        expected = session.execute(query.format(F="model", V="view_of_model", functions="of_model")).fetchall()
        query = query.format(F="lambda", V="view_of_lambda", functions="of_lambda")
        try:
            rows = fetched(session, queries, query) if queries.often(0.2) else session.execute(query).fetchall()
        except psycopg.Error as error:
            pytest.fail(f"{error}\n{query}\nwith {changed}")
        assert sorted(map(str, rows)) == sorted(map(str, expected)), f"{query}\nwith {changed}"
    session.execute("RESET aws_lambda.max_concurrency; DROP SCHEMA random_joins CASCADE")
