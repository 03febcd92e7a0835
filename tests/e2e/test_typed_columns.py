"""Typed columns have what PostgreSQL makes of the same documents: random payloads, and random responses, row for row.

A payload is compared with jsonb_build_object, and the rows of a response with jsonb_to_recordset and jsonb_to_record. The variable RANDOM_QUERIES
is the number of random tables.
"""

import json
import os
import random

import psycopg
import pytest
from psycopg import sql

from scripted import EXAMPLE_KEYS, counter, reset, rows as rows_of
from tables import options as options_of

TABLES = int(os.environ.get("RANDOM_QUERIES", 220)) // 4
# Types with texts of JSON that they take, and of SQL. Any type also meets the values of another.
VALUES = {
    "int": ["1", "-7", '"12"', "2147483647", "0", "-0", "1e2"],
    "bigint": ["9007199254740993", '"-1"', "1E3"],
    "numeric": ["1.10", "12345678901234567890.000000000000000000001", "1e-3", '"NaN"', "-0.00", "1" * 120],
    "float8": ["0.1", "1e300", '"Infinity"', "5"],
    "boolean": ["true", "false", '"off"'],
    "text": ['"a"', '""', '"\\u00e9\\n\\"\\\\"', '"\\ud83d\\ude00"', "1.50", '{"b": 1,  "a": [1.0, 2e1]}', "[]", "true"],
    "varchar(3)": ['"abc"', '"abcd"', "12"],
    "char(4)": ['"ab"', '"ab  "'],
    "date": ['"2024-02-29"', '"2024-02-30"', '"infinity"'],
    "timestamptz": ['"2024-02-29T12:00:00Z"', '"2024-02-29 12:00:00.123456+02"'],
    "interval": ['"1 day"', '"P1DT2H"'],
    "uuid": ['"00000000-0000-0000-0000-00000000000A"'],
    "bytea": ['"\\\\x00ff"'],
    "json": ['{"z": 1,  "a": 2}', '"x"', "1.0"],
    "jsonb": ['{"z": 1,  "a": 2}', '"x"', "1.0", "[1, [2]]"],
    "int[]": ["[1, null, \"3\"]", "[[1,2],[3,4]]", '"{1,2}"', "[]", "[1, [2]]"],
    "text[]": ['["a", {"b": 1}, null]'],
    "pair": ['{"a": 1, "b": {"c": 2}}', '{"b": "x", "z": 0}', '"(1,x)"', "{}", '{"a": "x"}'],
    "pair[]": ['[{"a": 1}, null, "(2,y)"]'],
    "positive": ["1", "0", "-1", '"5"'],
    "color": ['"red"', '"blue"'],
    "int4range": ['"[1,3)"'],
}
MISFITS = ["null", "1", '"x"', "[1]", '{"a": 1}', "true"]
SPACES = ["", "", " ", "\n\t "]
# Of which jsonb_build_object makes JSON, and clauses make values.
SQL_VALUES = {
    "int": ["1", "-7", "NULL"],
    "bigint": ["9007199254740993", "0"],
    "numeric": ["1.10", "'NaN'", "1e40"],
    "float8": ["0.1", "'Infinity'", "1e300"],
    "boolean": ["true", "false"],
    "text": ["''", "'a\"\\b'", "E'\\u00e9\\n\\t\\x01'", "'😀'"],
    "varchar(9)": ["'abc'", "NULL"],
    "char(4)": ["'ab'"],
    "date": ["'2024-02-29'", "'infinity'"],
    "timestamptz": ["'2024-02-29 12:00+02'"],
    "interval": ["'1 day 02:00'"],
    "bytea": ["'\\x00ff'"],
    "jsonb": ["'{\"b\": 1, \"a\": [1.0]}'", "'null'"],
    "int[]": ["'{1,NULL}'", "'{}'", "'{{1},{2}}'"],
    "pair": ["'(1,x)'", "'(,)'"],
    "positive": ["3"],
    "color": ["'red'"],
    "uuid": ["'00000000-0000-0000-0000-00000000000a'"],
}


@pytest.fixture
def types(session):
    session.execute("CREATE TYPE pair AS (a int, b text)")
    session.execute("CREATE TYPE color AS ENUM ('red', 'green')")
    session.execute("CREATE DOMAIN positive AS int CHECK (value > 0)")
    yield session
    session.execute("DROP TYPE pair CASCADE")
    session.execute("DROP TYPE color CASCADE")
    session.execute("DROP DOMAIN positive CASCADE")


def options(**given):
    return "OPTIONS (" + ", ".join(f"\"{name.strip('_')}\" '{value}'" for name, value in given.items()) + ")"


def printed(given, value):
    """A random text of a document: a dict, a list, or the text of a value."""
    space = lambda: given.choice(SPACES)
    if isinstance(value, dict):
        members = [(f'"\\u{ord(name[0]):04x}{name[1:]}"' if given.random() < 0.1 else f'"{name}"', item) for name, item in value.items()]
        if members and given.random() < 0.1:
            # Of two members the last counts.
            members.insert(0, (members[-1][0], "[0]"))
        listed = ",".join(f"{space()}{name}{space()}:{space()}{printed(given, item)}" for name, item in members)
        return "{" + listed + space() + "}"
    if isinstance(value, list):
        return "[" + ",".join(space() + printed(given, item) for item in value) + space() + "]"
    return value


def result(session, query, parameters=()):
    """The rows, or the error's SQLSTATE."""
    try:
        return session.execute(query, parameters).fetchall()
    except psycopg.Error as error:
        return error.sqlstate


def value_of(given, kind):
    return given.choice(VALUES[kind] if given.random() < 0.9 else MISFITS)


def test_rows_are_those_of_jsonb_to_recordset(types):
    given = random.Random(1)
    failed = 0
    for _ in range(TABLES):
        kinds = [given.choice(list(VALUES)) for _ in range(given.randint(1, 6))]
        names = [f"c{index}" for index in range(len(kinds))]
        columns = ", ".join(f"{name} {kind} {options(in_='response')}" for name, kind in zip(names, kinds))
        types.execute(
            f"CREATE FOREIGN TABLE typed (payload text, {columns}, total int {options(in_='response', key='$.total')})"
            " SERVER aws_lambda OPTIONS (function_name 'echo', rows 'body.items')"
        )
        record = ", ".join(f"{name} {kind}" for name, kind in zip(names, kinds))
        for _ in range(6):
            elements = [
                {name: value_of(given, kind) for name, kind in zip(names, kinds) if given.random() < 0.8} for _ in range(given.randint(0, 4))
            ]
            body = printed(given, {"other": "[{}]", "items": elements})
            response = printed(given, {"total": str(len(elements)), "body": json.dumps(body) if given.random() < 0.3 else body, "more": '{"items": 1}'})
            listed = ", ".join(names)
            expected = result(types, f"SELECT ROW({listed}, %s::int)::text FROM jsonb_to_recordset(%s::jsonb -> 'items') AS x ({record})", [len(elements), body])
            reset()
            found = result(types, f"SELECT ROW({listed}, total)::text FROM typed WHERE payload = %s", [response])
            assert found == expected, (record, response)
            assert counter("invocations") == 1
            failed += isinstance(found, str)
        types.execute("DROP FOREIGN TABLE typed")
    assert 0 < failed < TABLES * 6


def test_a_row_has_what_is_at_the_keys(types):
    given = random.Random(2)
    for _ in range(TABLES):
        kinds = [given.choice(list(VALUES)) for _ in range(given.randint(1, 6))]
        keys = [given.choice(["a", "b", "c"]) + "".join(f".{given.choice('abc')}" for _ in range(given.randint(0, 2))) for _ in kinds]
        names = [f"c{index}" for index in range(len(kinds))]
        columns = ", ".join(f"{name} {kind} {options(in_='response', key=key)}" for name, kind, key in zip(names, kinds, keys))
        types.execute(f"CREATE FOREIGN TABLE typed (payload text, {columns}) SERVER aws_lambda OPTIONS (function_name 'echo')")
        record = ", ".join(f"{name} {kind}" for name, kind in zip(names, kinds))
        fields = ", ".join(f"'{name}', %s::jsonb #> '{{{key.replace('.', ',')}}}'" for name, key in zip(names, keys))
        for _ in range(6):
            document = {}
            for kind, key in zip(kinds, keys):
                *path, last = key.split(".")
                place = document
                for name in path:
                    place = place.setdefault(name, {}) if isinstance(place, dict) else None
                if isinstance(place, dict) and given.random() < 0.8 and not isinstance(place.get(last), dict):
                    # A string with a key behind it is no JSON.
                    behind = any(other.startswith(key + ".") for other in keys)
                    place[last] = given.choice(["1", "null", "[[]]"]) if behind else value_of(given, kind)
            response = printed(given, document)
            listed = ", ".join(names)
            expected = result(types, f"SELECT ROW({listed})::text FROM jsonb_to_record(jsonb_build_object({fields})) AS x ({record})", [response] * len(names))
            found = result(types, f"SELECT ROW({listed})::text FROM typed WHERE payload = %s", [response])
            assert found == expected, (record, keys, response)
        types.execute("DROP FOREIGN TABLE typed")


def test_payloads_are_those_of_jsonb_build_object(types):
    given = random.Random(3)
    for _ in range(TABLES):
        kinds = [given.choice(list(SQL_VALUES)) for _ in range(given.randint(1, 5))]
        names = [f"{'z' * given.randint(0, 2)}c{index}" for index in range(len(kinds))]
        columns = ", ".join(f"{name} {kind} {options(in_='payload')}" for name, kind in zip(names, kinds))
        types.execute(f"CREATE FOREIGN TABLE typed ({columns}, invocation_type text) SERVER aws_lambda OPTIONS (function_name 'echo')")
        types.execute(f"CREATE TABLE source ({', '.join(f'{name} {kind}' for name, kind in zip(names, kinds))})")
        count = given.randint(1, 5)
        for _ in range(count):
            values = ", ".join(f"{given.choice(SQL_VALUES[kind])}::{kind}" for kind in kinds)
            types.execute(f"INSERT INTO source VALUES ({values})")
        objects = ", ".join(f"'{name}', s.{name}" for name in names)
        expected = sorted(row[0] for row in types.execute(f"SELECT jsonb_build_object({objects})::text FROM source s").fetchall())
        conditions = " AND ".join(f"t.{name} IS NOT DISTINCT FROM s.{name}" for name in names)
        for statement in (
            f"SELECT s::text, ROW({', '.join(f't.{name}' for name in names)})::text FROM source s JOIN typed t ON {conditions}",
            f"INSERT INTO typed ({', '.join(names)}) SELECT * FROM source",
        ):
            reset()
            cursor = types.execute(statement)
            for of_source, of_table in cursor.fetchall() if cursor.description else []:
                assert of_source == of_table
            assert sorted(unescaped(payload) for *_, payload in rows_of("invocations")) == expected, statement
        types.execute("DROP FOREIGN TABLE typed")
        types.execute("DROP TABLE source")


def unescaped(field):
    """A field in the format of COPY."""
    return field.replace("\\\\", "\\")


@pytest.mark.parametrize("on_error", ["raise", "return"])
def test_hostile_responses_are_errors(types, on_error):
    """Nothing that a function answers ends the server, and each failure is an error of its statement or a row."""
    deep = 100000
    hostile = [
        "", " ", "{", "[", "nul", '"', '"\\', "{}{}", "[1,]", '{"a"}', '{"a":}', "\ufeff{}", '{"n": 01}', "'x'", '{"n": "\\u0000"}', '{"n": "\\ud800"}',
        '{"n": "\\udc00\\ud800"}', "[" * deep, "[" * deep + "]" * deep, '{"n":' * deep + "1" + "}" * deep, '{"n": ' + "[" * deep + "]" * deep + "}",
        '{"body": ' + json.dumps("[" * deep) + "}", '{"n": 1' + "0" * 200000 + "}", '{"n": 1e999999}', '{"n": 1e-999999}', '{"\\u0000": 1}',
        json.dumps({"n": "x" * 3000000}), '{"items": ' + "[" * deep + "]" * deep + "}", '{"items": [' + ",".join(["{}"] * deep) + "]}",
    ]  # fmt: skip
    for name, extra in (("one", ""), ("several", ", rows 'items'")):
        fields = f"n numeric {options(in_='response')}, j jsonb {options(in_='response', key='n')}, p pair[] {options(in_='response', key='n')}"
        types.execute(
            f"CREATE FOREIGN TABLE {name} (payload text, {fields}, b text {options(in_='response', key='$.body.x')}, error_code text)"
            f" SERVER aws_lambda OPTIONS (function_name 'echo', on_error '{on_error}'{extra})"
        )
    for response in hostile:
        for table in ("one", "several"):
            for column in ("n", "j", "p", "b", "count(*)"):
                found = result(types, f"SELECT {column} FROM {table} WHERE payload = %s", [response])
                assert isinstance(found, list) or found in ("22P02", "22P05", "22003", "54001", "54000", "22023", "21000") and on_error == "raise", (
                    found,
                    response[:100],
                )
    assert types.execute("SELECT 1").fetchone() == (1,)
    types.execute("DROP FOREIGN TABLE one, several")


def test_in_latin1(session):
    """Text is converted on both ways, and a character that the database lacks is the field's failure."""
    session.execute("CREATE DATABASE latin1_typed TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        with psycopg.connect(dbname="latin1_typed", autocommit=True, client_encoding="UTF8") as there:
            there.execute("CREATE EXTENSION aws_lambda CASCADE")
            there.execute(sql.SQL("CREATE USER MAPPING FOR PUBLIC SERVER aws_lambda {}").format(options_of(EXAMPLE_KEYS)))
            there.execute(
                f"CREATE FOREIGN TABLE typed (payload text, \"ä\" text {options(in_='payload', key='é')}, t text {options(in_='response', key='é')},"
                f" j jsonb {options(in_='response', key='é')}, n int {options(in_='response')}, error_code text)"
                " SERVER aws_lambda OPTIONS (function_name 'echo', on_error 'return')"
            )
            reset()
            assert there.execute("SELECT t, j FROM typed WHERE \"ä\" = 'ü'").fetchall() == [("ü", "ü")]
            assert [payload for *_, payload in rows_of("invocations")] == ['{"é": "ü"}']
            for response, expected in [
                ('{"é": "\\u00fc"}', ("ü", None)), ('{"é": "\\u20ac", "n": 1}', (None, "InvalidResponse")), ('{"e": "\\u20ac"}', (None, None)),
            ]:  # fmt: skip
                assert there.execute("SELECT t, error_code FROM typed WHERE payload = %s", [response]).fetchone() == expected
                assert there.execute("SELECT j, error_code FROM typed WHERE payload = %s", [response]).fetchone() == expected
            assert there.execute("SELECT n, error_code FROM typed WHERE payload = %s", ['{"é": "\\u20ac", "n": 1}']).fetchone() == (1, None)
    finally:
        session.execute("DROP DATABASE latin1_typed WITH (FORCE)")
