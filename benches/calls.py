#!/usr/bin/env python3
"""How long one call takes in SQL: SELECT 1, a prepared SELECT from a foreign table, aws_lambda.invoke.

    tests/harness/run --endpoint -- target/venv/bin/python benches/calls.py [ROUNDS]

Prints the median of each in microseconds, interleaved so that a noisy machine is noisy for all. The scripted endpoint
answers in its own time, which is part of both calls: look at differences and ratios. Throughput is not measured here.
"""

import statistics
import sys
import time

import psycopg

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 2000

session = psycopg.connect(autocommit=True, prepare_threshold=0)
session.execute("SET client_min_messages = warning")
session.execute("CREATE EXTENSION IF NOT EXISTS aws_lambda CASCADE")
session.execute("DROP FOREIGN TABLE IF EXISTS echo")
session.execute(
    "CREATE FOREIGN TABLE echo (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo')"
)
statements = {
    "SELECT 1": ("SELECT 1", ()),
    "foreign table": ("SELECT response FROM echo WHERE payload = %s", ("{}",)),
    "aws_lambda.invoke": ("SELECT payload FROM aws_lambda.invoke('echo'::text, %s::json)", ("{}",)),
}
times = {name: [] for name in statements}
for number in range(ROUNDS):
    for name, (statement, arguments) in statements.items():
        began = time.perf_counter()
        session.execute(statement, arguments).fetchall()
        if number >= ROUNDS // 10:
            times[name].append(time.perf_counter() - began)
nothing = statistics.median(times["SELECT 1"])
for name, taken in times.items():
    median = statistics.median(taken)
    print(f"{name:20} {median * 1e6:7.0f} us   {(median - nothing) * 1e6:7.0f} us more than SELECT 1")
