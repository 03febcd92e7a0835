"""What is measured. Each workload gives rows of a table, and the numbers that targets are about, by name.

Rounds are interleaved, so that a noisy machine is noisy for all, and a ratio is one of the same round; medians are of rounds.
"""

import math
import os
import re
import statistics
import subprocess
import tempfile
import time

from ways import Bare, Session, boto3_client, payload_of, timed

median = statistics.median

NOTHING = "SELECT 1"
BACK = "SELECT $1::text"
TABLE = "SELECT response FROM {} WHERE payload = $1"
FUNCTION = "SELECT payload FROM aws_lambda.invoke('{}'::text, $1::json)"
PL_PYTHON = "SELECT boto3_invoke('{}', $1)"

# Name, function, bytes, and calls in a round.
PAYLOADS = [("2 bytes", "answer", 2, 200), ("100 KB", "echo", 100_000, 50), ("6 MB", "echo", 6_000_000, 4)]
CONCURRENCIES = [(1, 2_000), (8, 10_000), (64, 10_000)]
SETS = {
    "list": "SELECT count(response) FROM {0} WHERE payload = ANY (ARRAY(SELECT payload FROM orders LIMIT {1}))",
    "join": "SELECT count(response) FROM (SELECT * FROM orders LIMIT {1}) o JOIN {0} USING (payload)",
    "INSERT": "INSERT INTO {0} (payload) SELECT payload FROM orders LIMIT {1}",
}
BATCHES = {
    "list": "SELECT count(response) FROM batched WHERE payload = ANY (ARRAY(SELECT payload FROM million))",
    "join": "SELECT count(response) FROM million JOIN batched USING (payload)",
    "INSERT": "INSERT INTO batched (payload) SELECT payload FROM million",
}


def pin(pid, cores):
    for task in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(task), cores)


class Places:
    """Pins the measured process to one core, and the endpoint and the client to another. Otherwise times differ by a factor of two,
    with the kernel's placement of four processes on two cores."""

    def __init__(self, measured, others):
        self.all = os.sched_getaffinity(0)
        self.measured, self.others = measured, others

    def __enter__(self):
        if len(self.all) > 1:
            first, *_, last = sorted(self.all)
            for pids, cores in ((self.measured, {first}), (self.others, {last})):
                for pid in pids:
                    pin(pid, cores)

    def __exit__(self, *_):
        for pid in self.measured + self.others:
            pin(pid, self.all)


def single(endpoint, bare, rounds):
    """Sequential calls. The time of a statement that sends and returns as much without a call is subtracted."""
    return singles(endpoint, endpoint.url, bare, rounds, PAYLOADS, ("hyper", "sdk", "asked", "table", "function", "PL/Python", "boto3"))


def secure(endpoint, rounds):
    """The same in TLS, of which only the first call has a handshake."""
    bare = Bare(endpoint.secure_url)
    payloads = [(f"{name}, TLS", *others) for name, *others in PAYLOADS[:2]]
    result = singles(endpoint, endpoint.secure_url, bare, rounds, payloads, ("sdk", "table", "function", "boto3"))
    bare.stop()
    return result


def singles(endpoint, url, bare, rounds, payloads, ways):
    session, client = Session(), boto3_client(url)
    session.execute(f"SET aws_lambda.endpoint_override = '{url}'")
    rows, numbers = [], {}
    with Places([bare.process.pid, session.pid], [endpoint.process.pid, os.getpid()]):
        for name, function, size, calls in payloads:
            payload = payload_of(size)
            in_sql = {
                "nothing": (NOTHING, []) if size < 100 else (BACK, [payload]),
                "table": (TABLE.format(function), [payload]),
                "function": (FUNCTION.format(function), [payload]),
                "PL/Python": (PL_PYTHON.format(function), [payload]),
            }
            in_sql = {way: statement for way, statement in in_sql.items() if way in ("nothing", *ways)}

            def by_libpq(statement):
                cpu = session.cpu()
                times = [timed(lambda: session.prepared(*statement)) for _ in range(calls)]
                return median(times), (session.cpu() - cpu) / calls

            def by_program(how):
                times, _, cpu = bare.run(how, function, size, calls)
                return median(times), cpu / calls

            def when_asked():
                """The time of the SDK in a program that gets each call from another process, as a server does from its clients."""
                taken = [bare.run("sdk", function, size, 1) for _ in range(calls)]
                return median(times[0] for times, _, _ in taken), median(cpu for _, _, cpu in taken)

            def by_boto3():
                cpu = time.process_time()
                call = lambda: client.invoke(FunctionName=function, Payload=payload)["Payload"].read()
                times = [timed(call) for _ in range(max(calls // 2, 2))]
                return median(times), (time.process_time() - cpu) / len(times)

            taken = []
            for _ in range(rounds + 1):
                one = {way: by_libpq(statement) for way, statement in in_sql.items()}
                one |= {way: by_program(way) for way in ("hyper", "sdk") if way in ways}
                one |= {"asked": when_asked()} if "asked" in ways else {}
                one |= {"boto3": by_boto3()}
                taken.append(one)
            # The first round makes connections.
            del taken[0]

            def net(one, way):
                less = one["nothing"][0] if way in in_sql else 0
                return one[way][0] - less

            def ratio(way, to):
                return median(net(one, way) / net(one, to) for one in taken)

            for way in ways:
                less = median(one["nothing"][1] for one in taken) if way in in_sql else 0
                rows.append(
                    {
                        "payload": name,
                        "way": way,
                        "seconds": median(net(one, way) for one in taken),
                        "ratio": ratio(way, "sdk"),
                        "cpu": median(one[way][1] for one in taken) - less,
                    }
                )
            numbers[f"table, {name}"] = ratio("table", "sdk")
            numbers[f"function, {name}"] = ratio("function", "sdk")
            if "PL/Python" in ways:
                numbers[f"PL/Python to function, {name}"] = ratio("PL/Python", "function")
    session.close()
    return rows, numbers


def first(endpoint, rounds):
    """The first call of a new backend, with and without the library preloaded, of a new program, and of a new client of boto3. CPU is that of
    the backend, the program, or boto3's client."""

    def of_backend(url):
        session = Session()
        session.execute(f"SET aws_lambda.endpoint_override = '{url}'")
        session.execute(NOTHING)
        nothing, cpu = timed(lambda: session.execute(NOTHING)), session.cpu()
        taken = timed(lambda: session.execute(TABLE.format("answer"), [b"{}"]))
        cpu = session.cpu() - cpu
        session.close()
        return taken - nothing, cpu

    def of_boto3(url):
        cpu = time.process_time()
        call = lambda: boto3_client(url).invoke(FunctionName="answer", Payload=b"{}")["Payload"].read()
        return timed(call), time.process_time() - cpu

    administrator = Session()
    urls = {"": endpoint.url, ", TLS": endpoint.secure_url}
    taken = {}
    for _ in range(rounds):
        for over, url in urls.items():
            for who, of, preload in (
                ("program", Bare.first, False),
                ("client of boto3", of_boto3, False),
                ("backend", of_backend, False),
                ("backend, preloaded", of_backend, True),
            ):
                if preload:
                    administrator.execute("ALTER DATABASE postgres SET session_preload_libraries = 'aws_lambda_fdw'")
                taken.setdefault(who + over, []).append(of(url))
                if preload:
                    administrator.execute("ALTER DATABASE postgres RESET session_preload_libraries")
    administrator.close()
    found = {who: [median(part) for part in zip(*all_of_them)] for who, all_of_them in taken.items()}
    rows = [{"who": who, "seconds": seconds, "cpu": cpu} for who, (seconds, cpu) in found.items()]
    numbers = {f"first, {who}": seconds / found["program"][0] for who, (seconds, _) in found.items()}
    numbers["CPU of TLS in a first call"] = 1e3 * (found["backend, preloaded, TLS"][1] - found["backend, preloaded"][1])
    return rows, numbers


def sets(endpoint, bare, rounds):
    """Concurrent calls of a function that takes no time, compared with the faster of the SDK's two programs."""
    session = Session()
    session.execute("SET jit = off")
    rows, numbers = [], {}
    for in_flight, count in CONCURRENCIES:
        session.execute(f"SET aws_lambda.max_concurrency = {in_flight}")
        taken = []
        for _ in range(rounds):
            one = {}
            busy = endpoint.cpu()
            _, one["sdk"], cpu = bare.run("sdk", "answer", 2, count, in_flight)
            one["endpoint"] = (endpoint.cpu() - busy) / one["sdk"]
            if in_flight > 1:
                _, one["threads"], _ = bare.run("threads", "answer", 2, count, in_flight)
            for name, statement in SETS.items():
                one[name] = timed(lambda: session.execute(statement.format("answer", count)))
            taken.append(one)
        programs = [way for way in ("sdk", "threads") if way in taken[0]]
        for way in (*programs, *SETS):
            share = median(min(one[program] for program in programs) / one[way] for one in taken)
            rows.append(
                {"in_flight": in_flight, "way": way, "rate": count / median(one[way] for one in taken), "share": share}
            )
            numbers[f"{way}, {in_flight} in flight"] = share
        numbers[f"endpoint, {in_flight} in flight"] = median(one["endpoint"] for one in taken)
    session.close()
    return rows, numbers


def joins(rounds):
    """A join of 10,000 rows with a function that takes its time."""
    session = Session()
    session.execute("SET aws_lambda.max_concurrency = 64")
    rows, numbers = [], {}
    count, in_flight = 10_000, 64
    for milliseconds, table in ((0, "answer"), (5, "wait_5"), (50, "wait_50")):
        statement = SETS["join"].format(table, count)
        seconds = median(timed(lambda: session.execute(statement)) for _ in range(rounds))
        ideal = math.ceil(count / in_flight) * milliseconds / 1000
        ratio = seconds / ideal if ideal else None
        rows.append({"latency": milliseconds, "seconds": seconds, "ideal": ideal, "ratio": ratio})
        numbers[f"join, {milliseconds} ms"] = ratio
    session.close()
    return rows, numbers


def batches(rounds):
    """A million rows, 1,000 in each invocation, with a function of 50 ms that echoes. Compared with the longer of two: the wait of 64 in
    flight, and what the same bytes take in SQL, made into arrays of 1,000 and taken apart again."""
    session = Session()
    for setting in ("jit = off", "max_parallel_workers_per_gather = 0", "aws_lambda.request_timeout_ms = '1min'"):
        session.execute(f"SET {setting}")
    session.execute("CREATE TABLE million AS SELECT i AS id, format('{\"id\": %s}', i) AS payload FROM generate_series(1, 1000000) i")
    session.execute("VACUUM ANALYZE million")
    waiting = math.ceil(1000 / 64) * 0.05
    in_sql = """SELECT count(e) FROM (SELECT '[' || string_agg(payload, ',') || ']' AS a FROM million GROUP BY id / 1000) x,
        json_array_elements_text(a::json) e"""
    session.execute("SELECT count(response) FROM batched WHERE payload IN ('1', '2')")
    rows, numbers = [], {}
    taken = {way: [] for way in ("SQL", *BATCHES)}
    for _ in range(rounds):
        busy = session.cpu()
        session.execute(in_sql)
        taken["SQL"].append(session.cpu() - busy)
        for way, statement in BATCHES.items():
            taken[way].append(timed(lambda statement=statement: session.execute(statement)))
    ideal = max(waiting, median(taken["SQL"]))
    rows.append({"way": "in SQL, without a call: CPU", "seconds": median(taken["SQL"]), "ratio": None})
    rows.append({"way": "64 in flight: the wait alone", "seconds": waiting, "ratio": None})
    for way in BATCHES:
        seconds = median(taken[way])
        rows.append({"way": way, "seconds": seconds, "ratio": seconds / ideal})
        numbers[f"batches, {way}"] = seconds / ideal
    peaks = [session.peak(lambda count=count: session.execute(f"{BATCHES['join']} WHERE id <= {count}")) for count in (200_000, 1_000_000)]
    numbers["batches, memory"] = (peaks[1] - peaks[0]) / 1e6
    session.close()
    return rows, numbers


# Places of a query that have calls. The rows to update are in a table of the session.
CALLS = {
    "FROM": "SELECT count(i.payload) FROM (SELECT payload FROM orders LIMIT {}) o, LATERAL aws_lambda.invoke('wait-{}', o.payload::jsonb) i",
    "a select list": (
        "SELECT count(p) FROM (SELECT (aws_lambda.invoke('wait-{1}', o.payload::jsonb)).payload AS p"
        " FROM (SELECT payload FROM orders LIMIT {0}) o) x"
    ),
    "SET": "UPDATE updated SET r = (SELECT payload FROM aws_lambda.invoke('wait-{1}', updated.payload::jsonb))",
}


def calls(rounds):
    """1,000 calls of 50 ms in each of these places, with 64 in flight, compared with the ideal."""
    session = Session()
    session.execute("SET aws_lambda.invoke_concurrency = 64")
    count, in_flight, milliseconds = 1000, 64, 50
    session.execute(f"CREATE TEMP TABLE updated AS SELECT payload, NULL::jsonb AS r FROM orders LIMIT {count}")
    ideal = math.ceil(count / in_flight) * milliseconds / 1000
    numbers = {}
    for place, statement in CALLS.items():
        statement = statement.format(count, milliseconds)
        taken = [timed(lambda: session.execute(statement)) for _ in range(rounds)]
        numbers[f"calls in {place}, 50 ms"] = median(taken) / ideal
    session.close()
    return [], numbers


def enrichment():
    """1,000 rows of 50 ms: as one join, with a call for each row, and the same statement with many calls in flight."""
    session = Session()
    session.execute("SET aws_lambda.max_concurrency = 64")
    together = median(timed(lambda: session.execute(SETS["join"].format("wait_50", 1000))) for _ in range(3))
    statement = CALLS["a select list"].format(1000, 50)
    one_by_one = timed(lambda: session.execute(statement))
    session.execute("SET aws_lambda.invoke_concurrency = 64")
    at_once = median(timed(lambda: session.execute(statement)) for _ in range(3))
    session.close()
    return {"one by one": one_by_one, "together": together, "at once": at_once}


def backends(bare, seconds):
    """Sequential calls in each of 50 sessions, with pgbench."""
    in_flight = 50
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write("SELECT response FROM answer WHERE payload = '{}';\n")
        script.flush()
        command = ["pgbench", "-n", "-M", "prepared", "-c", str(in_flight), "-j", "1", "-T", str(seconds), "-f", script.name]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    rate = float(re.search(r"tps = ([0-9.]+)", said)[1])
    count = 20_000
    _, all_of_them, _ = bare.run("threads", "answer", 2, count, in_flight)
    return [
        {"way": "threads", "rate": count / all_of_them},
        {"way": f"{in_flight} backends", "rate": rate},
    ]


# Rows whose payloads have 2 MB, the first of which is answered last.
LATE = """
    (SELECT '"' || CASE i WHEN 1 THEN 'late' ELSE 'soon' END || i || repeat('x', 2000000) || '"' AS payload FROM generate_series(1, 100) i)
"""
BEHIND_LATE = {
    "list": f"SELECT count(response) FROM late WHERE payload = ANY (ARRAY{LATE})",
    "join": f"SELECT count(response) FROM {LATE} o JOIN late USING (payload)",
}


def behind_late():
    """Memory growth of a backend by 100 calls of 2 MB each way, 64 in flight, that wait for the first. What SQL alone takes for a list is
    subtracted, and so is what they may take: `max_memory`, and two of the largest response."""
    session = Session()
    session.execute("SET aws_lambda.request_timeout_ms = '1min'")
    session.execute("SELECT count(response) FROM wait_5 WHERE payload IN ('1', '2')")
    most = int(session.execute("SELECT setting FROM pg_settings WHERE name = 'aws_lambda.max_memory'").get_value(0, 0)) * 1024
    at_rest = session.peak(lambda: session.execute("SELECT 1"))
    alone = session.peak(lambda: session.execute(f"SELECT count(x) FROM unnest(ARRAY{LATE}) x"))
    # The array, and the list of its values.
    without = {"list": at_rest + 2 * (alone - at_rest), "join": at_rest}
    rows = []
    for way, statement in BEHIND_LATE.items():
        grown = session.peak(lambda statement=statement: session.execute(statement)) - without[way]
        rows.append({"what": f"100 of 2 MB each way behind a late one, {way}", "bytes": grown})
    session.close()
    return rows, {"memory, late first": (rows[-1]["bytes"] - most - 2 * 2_000_000) / 1e6}


def memory():
    """Peak memory of a backend: of a call of 6 MB each way, less that of the same payload without a call; of a small call, less that of no
    call; and of a backend that has loaded the library and makes no call."""
    size = 6_000_000
    payload = payload_of(size)
    session = Session()
    session.prepared(NOTHING)
    bare_backend = session.peak(lambda: session.prepared(NOTHING))
    session.execute("LOAD 'aws_lambda_fdw'")
    loaded = session.peak(lambda: session.prepared(NOTHING))
    threads = len(os.listdir(f"/proc/{session.pid}/task"))
    small = max(session.peak(lambda: session.prepared(TABLE.format("answer"), [b"{}"])) for _ in range(3))
    for _ in range(3):
        without = session.peak(lambda: session.prepared(BACK, [payload]))
        call = session.peak(lambda: session.prepared(TABLE.format("echo"), [payload]))
    session.close()
    late, numbers = behind_late()
    rows = [
        {"what": "library loaded", "bytes": loaded - bare_backend},
        {"what": "first small call", "bytes": small - loaded},
        {"what": "6 MB there and back in SQL alone", "bytes": without - small},
        {"what": "6 MB echo, above that", "bytes": call - without},
    ]
    return rows + late, {"memory, 6 MB": (call - without) / size, "threads without a call": threads, **numbers}
