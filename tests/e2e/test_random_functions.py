"""Random queries of the table of functions give what they give of a local copy, with any plan."""

import random

import psycopg
import pytest

import scripted

QUERIES = 150
SETTINGS = ["enable_hashjoin", "enable_mergejoin", "enable_nestloop", "enable_material", "enable_hashagg", "enable_sort"]
COLUMNS = ["function_name", "version", "state", "memory_size", "description", "code_size"]


@pytest.fixture
def names(session):
    scripted.control("POST", "functions?are=many-60")
    session.execute("CREATE TEMPORARY TABLE copied AS SELECT * FROM aws_lambda.functions")
    session.execute(
        """
        CREATE TEMPORARY TABLE names AS
        SELECT CASE WHEN n % 5 = 0 THEN NULL WHEN n % 7 = 0 THEN 'no-function' ELSE format('f%s', lpad((n % 9)::text, 6, '0')) END AS name, n
        FROM generate_series(1, 20) AS n
        """
    )
    session.execute("ANALYZE names, copied")
    return session


def condition(choose, table, others):
    """A condition on a table of functions."""
    name = f"f00000{choose.randrange(10)}"
    return choose.choice(
        [
            "true",
            f"{table}.function_name = '{name}'",
            f"{table}.function_name IN ('{name}', 'f000001', 'no-function', 'a b')",
            f"{table}.function_name <> '{name}'",
            f"{table}.function_name LIKE '%{choose.randrange(10)}'",
            f"{table}.function_name IS NOT NULL",
            f"{table}.function_name IS NULL",
            f"{table}.function_name IS NOT DISTINCT FROM '{name}'",
            f"({table}.function_name = '{name}' OR {table}.memory_size < 10)",
            f"{table}.memory_size > {choose.choice([1, 1000])}",
            f"{table}.state = 'Active'",
            f"EXISTS (SELECT FROM names s WHERE s.name = {table}.function_name AND s.n > {choose.randrange(20)})",
            f"NOT EXISTS (SELECT FROM names s WHERE s.name = {table}.function_name)",
            f"{table}.function_name IN (SELECT name FROM names WHERE n < {choose.randrange(20)})",
            f"{table}.function_name NOT IN (SELECT name FROM names WHERE name IS NOT NULL)",
            f"{table}.function_name = (SELECT min(name) FROM names)",
            f"{table}.function_name = ANY (ARRAY (SELECT name FROM names WHERE n < 6))",
            *[f"{table}.function_name = {other}" for other in others],
        ]
    )


def query(choose):
    shown = ", ".join(f"f.{column}" for column in choose.sample(COLUMNS, choose.randint(1, 3)))
    first = condition(choose, "f", ["n.name"])
    form = choose.randrange(6)
    if form == 0:
        return f"SELECT {shown} FROM FUNCTIONS f WHERE {condition(choose, 'f', [])} AND {condition(choose, 'f', [])}"
    if form == 1:
        kind = choose.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        on = "f.function_name = n.name" if kind == "FULL JOIN" else first
        return f"SELECT n.n, {shown} FROM names n {kind} FUNCTIONS f ON {on} WHERE {choose.choice(['true', 'n.n < 9', 'f.version IS NULL'])}"
    if form == 2:
        return f"SELECT n.n, l.* FROM names n, LATERAL (SELECT {shown} FROM FUNCTIONS f WHERE {first}) l"
    if form == 3:
        second = condition(choose, "g", ["f.function_name", "n.name"])
        return f"SELECT n.n, {shown}, g.function_name FROM names n JOIN FUNCTIONS f ON {first} JOIN FUNCTIONS g ON {second} WHERE n.n < 4"
    if form == 4:
        return f"SELECT n.n, (SELECT count(*) FROM FUNCTIONS f WHERE {first}) FROM names n"
    return f"SELECT n.n FROM names n WHERE {choose.choice(['', 'NOT '])}EXISTS (SELECT FROM FUNCTIONS f WHERE f.function_name = n.name AND {first})"


@pytest.mark.parametrize("seed", range(3))
def test_random_queries(names, seed):
    choose = random.Random(seed)
    for number in range(QUERIES // 3):
        text = query(choose)
        for setting in SETTINGS:
            names.execute(f"SET {setting} = {choose.choice(['on', 'on', 'off'])}")
        found = {}
        for table in ("copied", "aws_lambda.functions"):
            try:
                rows = names.execute(text.replace("FUNCTIONS", table)).fetchall()
            except psycopg.Error as error:
                rows = [error.diag.message_primary]
            found[table] = sorted(rows, key=repr)
        plan = "\n".join(line for (line,) in names.execute("EXPLAIN " + text.replace("FUNCTIONS", "aws_lambda.functions")))
        assert found["copied"] == found["aws_lambda.functions"], f"{number}: {text}\n{plan}"
