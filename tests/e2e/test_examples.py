"""The examples run to their end as their reader runs them, and print what they are about."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOWN = {
    "quickstart": "Hello, Ada!",
    "lateral": "card from another country",
    "enrich": "Invocations: 2  Retries: 0  Throttles: 0  Errors: 1",
    "trigger": "sent order 5, status 202",
    "least_privilege": "permission denied for foreign server greeter_lambda",
}


def test_every_example_is_here():
    assert set(SHOWN) == {path.stem for path in (ROOT / "examples").glob("*.sql")}


@pytest.mark.parametrize("name", SHOWN)
def test_example(name):
    psql = ["psql", "-X", "-a", "-v", "ON_ERROR_STOP=1", "-P", "pager=off", "-f", f"examples/{name}.sql"]
    run = ["tests/harness/run", "--emulator", "--functions", "examples/functions", "--", *psql]
    done = subprocess.run(run, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    assert SHOWN[name] in done.stdout, done.stdout
