"""The examples run to their end, and print the expected output."""

import subprocess

import pytest

from make_commands import ROOT, command_of

SHOWN = {
    "quickstart": ["Hello, Ada!"],
    "geocode": ["Tokyo  | 35.683", "li   | Lima    | -12.046 |     2", "Rows Sent: 3  Rows per Invocation: 3.0", 'new york    | "New York"'],
    "lateral": ["card from another country"],
    "enrich": ["Invocations: 2  Retries: 0  Throttles: 0  Errors: 1"],
    "trigger": ["delivered"],
    "import": ["Greets: the smallest function that shows payload and answer."],
    "least_privilege": ["permission denied for foreign server greeter_lambda"],
}


def test_every_example_is_here():
    assert set(SHOWN) == {path.stem for path in (ROOT / "examples").glob("*.sql")}


@pytest.mark.parametrize("name", SHOWN)
def test_example(name, emulated):
    emulated.create("template1")
    # A second time right after the first.
    output = emulated.run("psql", "-X", "-a", "-v", "ON_ERROR_STOP=1", *(2 * ["-f", f"examples/{name}.sql"]), database="mydb")
    emulated.drop()
    # Each example begins with this statement.
    _, *runs = output.split("CREATE EXTENSION IF NOT EXISTS aws_lambda CASCADE;\n")
    assert len(runs) == 2
    assert [(run, shown) for run in runs for shown in SHOWN[name] if shown not in run] == []


def test_the_demo_where_functions_start_slowly(tmp_path):
    """The start takes longer than an invocation's 3 seconds, as on a busy machine."""
    for source in (ROOT / "examples/functions").glob("*.py"):
        (tmp_path / source.name).write_text(source.read_text() + "\n\nimport time\n\ntime.sleep(3.1)\n")
    demo = command_of("demo", f"EMULATOR=--emulator --functions {tmp_path}")
    done = subprocess.run(demo, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    assert "Tokyo   | 35.683" in done.stdout, done.stdout
