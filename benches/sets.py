#!/usr/bin/env python3
"""How long many invocations take: as a list, a join and an INSERT, and one after the other.

    tests/harness/run --endpoint -- target/venv/bin/python benches/sets.py [--svg FILE]

1,000 invocations of a function that takes 50 ms, 64 in flight. Prints the median of three rounds of each against the
ideal, ceil(N / concurrency) x latency, and against a loop of aws_lambda.invoke in PL/pgSQL, which runs once, for a minute.
The scripted endpoint is a part of every time: a bare client of it needs 1.05 x ideal. With --svg it draws the picture of README.md.
"""

import argparse
import math
import statistics
import sys
import time

import psycopg

N, LATENCY_MS, CONCURRENCY, ROUNDS = 1000, 50, 64, 3
FUNCTION = f"accept-{LATENCY_MS}"
MOST_OVER_IDEAL, LEAST_SPEEDUP = 1.1, 50

SETUP = f"""
    SET client_min_messages = warning;
    CREATE EXTENSION IF NOT EXISTS aws_lambda CASCADE;
    SET aws_lambda.max_concurrency = {CONCURRENCY};
    DROP FOREIGN TABLE IF EXISTS invocations;
    CREATE FOREIGN TABLE invocations (payload jsonb, invocation_type text, response jsonb)
        SERVER aws_lambda OPTIONS (function_name '{FUNCTION}');
    DROP TABLE IF EXISTS orders;
    CREATE TABLE orders AS SELECT i AS id, md5(i::text) AS customer FROM generate_series(1, {N}) AS i;
    ANALYZE orders;
"""
SETS = {
    "list": "SELECT count(response) FROM invocations WHERE payload = ANY (ARRAY(SELECT to_jsonb(o) FROM orders o))",
    "join": "SELECT count(response) FROM orders o JOIN invocations l ON l.payload = to_jsonb(o)",
    "UPDATE ... FROM": "UPDATE orders o SET customer = l.response->>'customer' FROM invocations l WHERE l.payload = to_jsonb(o)",
    "INSERT": "INSERT INTO invocations (payload) SELECT to_jsonb(o) FROM orders o",
    "INSERT ... RETURNING": "INSERT INTO invocations (payload, invocation_type) "
    "SELECT to_jsonb(o), 'RequestResponse' FROM orders o RETURNING response",
}
ONE_BY_ONE = f"""
    DO $$
    DECLARE
        o record;
    BEGIN
        FOR o IN SELECT * FROM orders LOOP
            PERFORM aws_lambda.invoke('{FUNCTION}'::text, to_json(o));
        END LOOP;
    END $$
"""


def seconds(session, statement):
    began = time.perf_counter()
    session.execute(statement)
    return time.perf_counter() - began


def picture(one_by_one, as_a_set):
    """Two bars, of the same rows."""
    width, left, most = 720, 176, 450
    bars = [
        ("a call for each row", one_by_one, "#9aa5b1", 44),
        ("one join", as_a_set, "#d9730d", 88),
    ]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} 134" width="{width}" height="134"',
        ' font-family="system-ui, sans-serif" font-size="15" fill="#1f2933" role="img">',
        f"<title>{N:,} invocations of {LATENCY_MS} ms: {one_by_one:.1f} s with a call for each row,",
        f" {as_a_set:.1f} s with one join</title>",
        '<rect width="100%" height="100%" rx="6" fill="#ffffff"/>',
        f'<text x="16" y="27">{N:,} rows, a function that takes {LATENCY_MS} ms</text>',
    ]
    for label, taken, colour, y in bars:
        length = max(2.0, taken / one_by_one * most)
        parts += [
            f'<text x="{left - 12}" y="{y + 20}" text-anchor="end">{label}</text>',
            f'<rect x="{left}" y="{y}" width="{length:.1f}" height="30" rx="2" fill="{colour}"/>',
            f'<text x="{left + length + 10:.1f}" y="{y + 20}" font-weight="600">{taken:.1f} s</text>',
        ]
    return "".join(parts) + "</svg>\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--svg", metavar="FILE")
    arguments = parser.parse_args()
    session = psycopg.connect(autocommit=True)
    session.execute(SETUP)
    # The first statement makes the connections.
    seconds(session, SETS["list"])
    taken = {name: [] for name in SETS}
    for _ in range(ROUNDS):
        for name, statement in SETS.items():
            taken[name].append(seconds(session, statement))
    ideal = math.ceil(N / CONCURRENCY) * LATENCY_MS / 1000
    one_by_one = seconds(session, ONE_BY_ONE)
    print(f"{N} invocations of {LATENCY_MS} ms, {CONCURRENCY} in flight; ideal {ideal * 1000:.0f} ms\n")
    print(f"{'':22} {'ms':>7} {'x ideal':>8} {'x faster':>9}")
    held = True
    for name, times in taken.items():
        median = statistics.median(times)
        over, speedup = median / ideal, one_by_one / median
        held &= over <= MOST_OVER_IDEAL and speedup >= LEAST_SPEEDUP
        print(f"{name:22} {median * 1000:7.0f} {over:8.2f} {speedup:9.0f}")
    print(f"{'loop of invoke':22} {one_by_one * 1000:7.0f}")
    print(f"\nat most {MOST_OVER_IDEAL} x ideal and at least {LEAST_SPEEDUP} x faster: {'yes' if held else 'NO'}")
    if arguments.svg:
        with open(arguments.svg, "w", encoding="utf-8") as file:
            file.write(picture(one_by_one, statistics.median(taken["join"])))
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
