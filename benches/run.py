#!/usr/bin/env python3
"""Runs every benchmark, prints the table of targets, and writes benches/results.md with its pictures.

    make bench

Takes some minutes, of a machine that has nothing else to do; only ratios mean something. A target that is missed is said to be, and is
no failure.
"""

import argparse
import sys

import psycopg

import queue_workloads as queue
import report
import workloads
from ways import KEYS, TABLES, Bare, Endpoint

# What is promised: a number, its bound, and whether that is the most or the least.
TARGETS = [
    ("SELECT from the foreign table, to the bare SDK", "table, 2 bytes", 1.15, "most"),
    ("aws_lambda.invoke, to the bare SDK", "function, 2 bytes", 1.4, "most"),
    ("PL/Python with boto3, to aws_lambda.invoke", "PL/Python to function, 2 bytes", 3, "least"),
    ("List, 64 in flight, share of the bare SDK's rate", "list, 64 in flight", 0.9, "least"),
    ("Join, 64 in flight, share of the bare SDK's rate", "join, 64 in flight", 0.9, "least"),
    ("INSERT, 64 in flight, share of the bare SDK's rate", "INSERT, 64 in flight", 0.9, "least"),
    ("6 MB each way, to the bare SDK", "table, 6 MB", 1.25, "most"),
    ("6 MB each way, memory in payloads", "memory, 6 MB", 3, "most"),
    ("64 in flight of 2 MB each way behind a late one, memory beyond max_memory and two responses, in MB", "memory, late first", 10, "most"),
    ("First call of a new backend, to a new program's", "first, backend, preloaded", 1.2, "most"),
    ("First call of a new backend, CPU of https over that of http, in ms", "CPU of TLS in a first call", 10, "most"),
    ("Threads of a backend that never calls", "threads without a call", 1, "most"),
    ("Join of 10,000 rows of 50 ms, to the ideal", "join, 50 ms", 1.1, "most"),
    ("1,000 calls of 50 ms in FROM, 64 in flight, to the ideal", "calls in FROM, 50 ms", 1.15, "most"),
    ("1,000 calls of 50 ms in a select list, 64 in flight, to the ideal", "calls in a select list, 50 ms", 1.15, "most"),
    ("1,000 calls of 50 ms in SET, 64 in flight, to the ideal", "calls in SET, 50 ms", 1.15, "most"),
    ("List of a million rows of 50 ms, 1,000 in each invocation, to the longer of the wait and the same in SQL", "batches, list", 1.5, "most"),
    ("Join of them", "batches, join", 1.5, "most"),
    ("INSERT of them", "batches, INSERT", 1.5, "most"),
    ("Memory of a join of a million rows beyond that of 200,000, in MB", "batches, memory", 10, "most"),
    ("Trigger that queues, beyond one that writes to a table, in µs a row", "queued, beyond a table", 40, "most"),
    ("Delivery of 20,000 queued events of 10 ms, share of an INSERT's rate", "delivery", 0.8, "least"),
    ("From COMMIT to arrival with a worker, median, in ms", "COMMIT to arrival", 20, "most"),
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15, help="of single calls; fewer are quicker and noisier")
    parser.add_argument("--write", action="store_true", help="write the results into benches/")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    endpoint = Endpoint()
    bare = Bare(endpoint.url)
    with psycopg.connect(autocommit=True) as session:
        session.execute(TABLES.format(url=endpoint.url, **KEYS))
    results = {}
    numbers = {}

    def measure(name, workload, *of):
        print(f"==> {name}", file=sys.stderr, flush=True)
        results[name], more = workload(*of)
        numbers.update(more)

    measure("single", workloads.single, endpoint, bare, rounds)
    measure("secure", workloads.secure, endpoint, rounds)
    measure("first", workloads.first, endpoint, rounds)
    measure("sets", workloads.sets, endpoint, bare, max(rounds // 3, 1))
    measure("joins", workloads.joins, max(rounds // 5, 1))
    measure("calls", workloads.calls, max(rounds // 3, 1))
    measure("batches", workloads.batches, max(rounds // 5, 1))
    measure("memory", workloads.memory)
    measure("triggers", queue.triggers, endpoint, rounds)
    measure("delivery", queue.delivery, max(rounds // 5, 1))
    measure("arrival", queue.arrival, endpoint)
    print("==> backends", file=sys.stderr, flush=True)
    results["backends"] = workloads.backends(bare, 10)
    print("==> enrichment", file=sys.stderr, flush=True)
    results["enrichment"] = workloads.enrichment()
    bare.stop()
    endpoint.stop()

    targets = []
    for name, number, bound, which in TARGETS:
        value = numbers[number]
        held = value <= bound if which == "most" else value >= bound
        targets.append({"name": name, "value": value, "bound": bound, "which": which, "held": held})
    text = report.text(results, numbers, targets)
    print(text)
    if arguments.write:
        report.write(text, results)


if __name__ == "__main__":
    main()
