"""Writes the results as a page of Markdown and as pictures."""

import datetime
import os
import platform
import subprocess
import tempfile

FOLDER = os.path.dirname(__file__)
LIBRARY = os.environ.get("LIBRARY")
WAYS = {
    "hyper": "(a) raw HTTP POST, hyper",
    "sdk": "(b) bare aws-sdk-lambda",
    "asked": "(b) bare aws-sdk-lambda, each call asked for by another process",
    "threads": "(b) bare aws-sdk-lambda, a thread for each core",
    "table": "(c) `SELECT` from the foreign table, prepared",
    "function": "(d) `aws_lambda.invoke`, prepared",
    "PL/Python": "(e) PL/Python with boto3",
    "boto3": "(f) a client-side loop with boto3",
}


def table(head, rows):
    lines = [" | ".join(head), " | ".join(["---"] + ["---:"] * (len(head) - 1))]
    return "\n".join(lines + [" | ".join(row) for row in rows]) + "\n"


def time_of(seconds):
    return f"{seconds * 1e6:,.0f} µs" if seconds < 0.01 else f"{seconds * 1e3:,.0f} ms" if seconds < 10 else f"{seconds:,.1f} s"


def machine():
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), platform.machine())
    server = subprocess.run(["postgres", "--version"], stdout=subprocess.PIPE, text=True).stdout.split()[2]
    return f"{len(os.sched_getaffinity(0))} cores of {model}, Linux {platform.release().split('-')[0]}, PostgreSQL {server}"


def size_of_library():
    with tempfile.NamedTemporaryFile() as stripped:
        subprocess.run(["strip", "-o", stripped.name, LIBRARY], check=True)
        sizes = [os.path.getsize(file) / 1e6 for file in (LIBRARY, stripped.name, LIBRARY + ".debug")]
    return "{:.0f} MB, {:.0f} MB of them without the names of functions; line numbers take {:.0f} MB in a file of their own".format(*sizes)


def of_targets(targets):
    return table(
        ["Target", "measured", "at", "holds"],
        [
            [
                target["name"],
                f"{target['value']:.2f}",
                f"{target['which']} {target['bound']}",
                "yes" if target["held"] else "**no**",
            ]
            for target in targets
        ],
    )


def text(results, numbers, targets):
    parts = [
        "# Benchmarks\n",
        f"{datetime.date.today()}, {machine()}. Written by `make bench`. Machines are noisy: only ratios of one run mean something.\n",
        f"The library has {size_of_library()}.\n",
        "## Targets\n",
        of_targets(targets),
        "## One call after the other\n",
        "Net of `SELECT 1`, or of a payload sent there and back without a call; medians. One core for what is measured, and one for the "
        "endpoint and the client.\n",
        table(
            ["Way", "payload", "time", "× (b)", "CPU"],
            [
                [WAYS[row["way"]], row["payload"], time_of(row["seconds"]), f"{row['ratio']:.2f}", time_of(row["cpu"])]
                for row in results["single"] + results["secure"]
            ],
        ),
        "## Many at once\n",
        "At an endpoint that answers at once. The share is that of the faster program of (b). The endpoint is not what is measured: while "
        f"(b) has 64 in flight, it is busy for {numbers['endpoint, 64 in flight']:.0%} of the time.\n",
        table(
            ["Way", "in flight", "calls a second", "share"],
            [
                [WAYS.get(row["way"], row["way"]), str(row["in_flight"]), f"{row['rate']:,.0f}", f"{row['share']:.2f}"]
                for row in results["sets"]
            ],
        ),
        "## A join of 10,000 rows\n",
        table(
            ["Latency", "time", "ideal", "ratio"],
            [
                [
                    f"{row['latency']} ms",
                    time_of(row["seconds"]),
                    time_of(row["ideal"]),
                    f"{row['ratio']:.2f}" if row["ratio"] else "",
                ]
                for row in results["joins"]
            ],
        ),
        "## A million rows in batches of 1,000\n",
        "A function of 50 ms that echoes, 64 in flight. The ratio is to the longer of the first two.\n",
        table(
            ["Way", "time", "ratio"],
            [[row["way"], time_of(row["seconds"]), f"{row['ratio']:.2f}" if row["ratio"] else ""] for row in results["batches"]],
        ),
        "## A trigger for each row\n",
        "An INSERT of 10,000 rows, or of 100 where each row waits for its invocation, which takes 10 ms.\n",
        table(
            ["The trigger", "time a row"],
            [[row["way"], time_of(row["seconds"])] for row in results["triggers"]],
        ),
        "## The queue\n",
        "20,000 events of 10 ms, 64 in flight.\n",
        table(
            ["Way", "events a second", "share"],
            [[row["way"], f"{row['rate']:,.0f}", f"{row['share']:.2f}"] for row in results["delivery"]],
        ),
        f"A worker has an event at the endpoint {numbers['COMMIT to arrival']:.1f} ms after the start of its COMMIT: the median of 50. "
        f"One of ten takes {results['arrival']['late'] * 1e3:.1f} ms or longer.\n",
        "## 50 backends\n",
        table(["Way", "calls a second"], [[WAYS.get(row["way"], row["way"]), f"{row['rate']:,.0f}"] for row in results["backends"]]),
        "## The first call\n",
        "A backend's time is net of `SELECT 1`. All trust the system's authorities and one more.\n",
        table(["In a new", "time", "CPU"], [[row["who"], time_of(row["seconds"]), time_of(row["cpu"])] for row in results["first"]]),
        "## Memory of a backend\n",
        table(["What", "at most"], [[row["what"], f"{row['bytes'] / 1e6:.1f} MB"] for row in results["memory"]]),
    ]
    return "\n".join(parts)


def picture(title, bars, unit):
    """A picture of bars, each a label, a number and a colour."""
    width, left, most = 760, 300, 340
    longest = max(number for _, number, _ in bars)
    height = 52 + 34 * len(bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"',
        ' font-family="system-ui, sans-serif" font-size="15" fill="#1f2933" role="img">',
        f"<title>{title}: " + ", ".join(f"{label} {number:,.1f} {unit}" for label, number, _ in bars) + "</title>",
        '<rect width="100%" height="100%" rx="6" fill="#ffffff"/>',
        f'<text x="16" y="27">{title}</text>',
    ]
    for place, (label, number, colour) in enumerate(bars):
        y = 42 + 34 * place
        length = max(2.0, number / longest * most)
        shown = f"{number:,.1f}" if number < 100 else f"{number:,.0f}"
        parts += [
            f'<text x="{left - 12}" y="{y + 19}" text-anchor="end">{label}</text>',
            f'<rect x="{left}" y="{y}" width="{length:.1f}" height="26" rx="2" fill="{colour}"/>',
            f'<text x="{left + length + 10:.1f}" y="{y + 19}" font-weight="600">{shown} {unit}</text>',
        ]
    return "".join(parts) + "</svg>\n"


GREY, ORANGE = "#9aa5b1", "#d9730d"


def write(text, results):
    def save(name, content):
        with open(os.path.join(FOLDER, name), "w", encoding="utf-8") as file:
            file.write(content)

    single = {row["way"]: row["seconds"] * 1e6 for row in results["single"] if row["payload"] == "2 bytes"}
    save(
        "results.svg",
        picture(
            "One call, at an endpoint that answers at once",
            [
                ("bare aws-sdk-lambda", single["sdk"], GREY),
                ("SELECT from the foreign table", single["table"], ORANGE),
                ("aws_lambda.invoke", single["function"], ORANGE),
                ("PL/Python with boto3", single["PL/Python"], GREY),
                ("boto3 in the client", single["boto3"], GREY),
            ],
            "µs",
        ),
    )
    enrichment = results["enrichment"]
    save(
        "sets.svg",
        picture(
            "1,000 rows, a function that takes 50 ms",
            [
                ("a call for each row", enrichment["one by one"], GREY),
                ("one join", enrichment["together"], ORANGE),
                ("the same SQL, one SET", enrichment["at once"], ORANGE),
            ],
            "s",
        ),
    )
    save("results.md", text)
