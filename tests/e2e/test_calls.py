"""Calls of aws_lambda.invoke in FROM, many at once, in a database of another encoding."""

import psycopg
from psycopg import sql

import scripted
from tables import options

QUERIES = [
    "SELECT i.payload::text FROM t, aws_lambda.invoke('echo', to_jsonb(t.s)) i",
    "SELECT i.payload::text FROM t, aws_lambda.invoke('echo', to_json(t.s)) i",
    # Constants with characters that are other bytes in UTF-8: where they decide how the call is planned, too.
    "SELECT i.payload::text FROM t, aws_lambda.invoke('échò', to_jsonb(t.s)) i",
    "SELECT i.payload::text FROM t, aws_lambda.invoke('echo', to_jsonb(t.s), NULL, 'é', 'None', NULL::jsonb) i",
    "SELECT i.payload::text FROM t, aws_lambda.invoke('échò', to_jsonb(t.s), 'é', 'Tail', 'é', 'é') i",
]


def outcome(session, query):
    scripted.reset()
    try:
        rows = session.execute(query).fetchall()
    except psycopg.Error as error:
        rows = error.sqlstate
    return rows, [payload for *_, payload in scripted.rows("invocations")]


def test_in_latin1(session, endpoint):
    session.execute("CREATE DATABASE latin1_calls TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        with psycopg.connect(dbname="latin1_calls", autocommit=True, client_encoding="UTF8") as there:
            there.execute("CREATE EXTENSION aws_lambda CASCADE")
            there.execute("CREATE TABLE t AS SELECT 'é' || i AS s FROM generate_series(1, 3) i")
            there.execute(sql.SQL("CREATE USER MAPPING FOR PUBLIC SERVER aws_lambda {}").format(options(scripted.EXAMPLE_KEYS)))
            for query in QUERIES:
                there.execute("SET aws_lambda.invoke_concurrency = 1")
                expected = outcome(there, query)
                there.execute("SET aws_lambda.invoke_concurrency = 64")
                assert outcome(there, query) == expected
            assert len(outcome(there, QUERIES[0])[1]) == 3
    finally:
        session.execute("DROP DATABASE latin1_calls WITH (FORCE)")
