"""What README shows, in the order in which it shows it: its SQL runs as pasted into psql, and prints what stands below it.

Once at the prompt of `make psql`, where examples/quickstart.sql has run, and once in a new database, as after `make install`. A block
that shows no error ends without one. Left out of the comparison are ids, widths, and what versions of PostgreSQL print differently.
"""

import os
import re
import subprocess

import pytest

from of_make import ROOT, command_of

README = (ROOT / "README.md").read_text()
# What README says of a block, right before it.
SINCE = re.compile(r"From PostgreSQL (\d+) on")
RUN = ["tests/harness/run", "--emulator", "--functions", "examples/functions", "--", "sh", "-c"]
# As after make install; the name is the one that README uses.
NEW_DATABASE = [*RUN, 'psql -X -q -c "CREATE DATABASE mydb"; PGDATABASE=mydb exec psql']


def blocks():
    """README's blocks of code: each one's language, its text, the output right below or None, the words before it, and its line."""
    parts = re.split(r"^```(\w*)\n(.*?)^```\n", README, flags=re.MULTILINE | re.DOTALL)
    before, line = parts[0], 1 + parts[0].count("\n")
    for i in range(1, len(parts), 3):
        language, text, after = parts[i : i + 3]
        output = parts[i + 4] if after.strip() == "" and parts[i + 3 : i + 4] == [""] else None
        yield language, text, output, before, line
        before, line = after, line + text.count("\n") + 2 + after.count("\n")


def sql_blocks(version):
    for language, text, output, before, line in blocks():
        since = SINCE.findall(before.strip().rpartition("\n\n")[2])
        if language == "sql" and not (since and version < int(since[0])):
            yield text, output, line


def output_of(command, script):
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PSQLRC": "/dev/null"}, input="\\set QUIET on\n\\pset pager off\n" + script,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def version():
    said = subprocess.run([os.environ.get("PG_CONFIG", "pg_config"), "--version"], check=True, stdout=subprocess.PIPE, text=True)
    return int(re.match(r"PostgreSQL (\d+)", said.stdout)[1])


def comparable(output):
    output = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", output)
    if "QUERY PLAN" in output:
        # Since 18 rows of plans have decimals, and ANALYZE counts buffers.
        output = re.sub(r"(rows=\d+)\.00\b", r"\1", output)
        output = re.sub(r"^ *(Buffers|Planning):?.*\n|^-+\n|^\(\d+ rows\)\n|^ *QUERY PLAN *\n", "", output, flags=re.MULTILINE)
    return [line.rstrip() for line in output.splitlines() if line.strip()]


@pytest.mark.parametrize("where", ["make psql", "make install"])
def test_sql(where):
    shown = list(sql_blocks(version()))
    assert len(shown) > 20
    # A line of its own before each block tells the outputs apart.
    script = "".join(f"\\echo @@@ {line}\n{text}" for text, _, line in shown) + "\\echo @@@ end\n"
    if where == "make install":
        # And the examples after that, which end without an error that they do not show on purpose.
        script += "\\set ON_ERROR_STOP on\n" + "".join(f"\\i examples/{path.name}\n" for path in (ROOT / "examples").glob("*.sql"))
    said = output_of(command_of("psql") if where == "make psql" else NEW_DATABASE, script)
    printed = dict(re.findall(r"^@@@ (\d+)\n(.*?)(?=^@@@ )", said, re.MULTILINE | re.DOTALL))
    assert list(printed) == [str(line) for _, _, line in shown], said
    for text, output, line in shown:
        if output is None:
            assert "ERROR: " not in printed[str(line)], f"README.md:{line}\n{text}{printed[str(line)]}"
        else:
            expected = comparable(output)
            # Notices of statements before the last are not shown.
            came = comparable(printed[str(line)])[-len(expected) :]
            assert came == expected, f"README.md:{line}\n{text}{printed[str(line)]}"


def targets():
    makefile = (ROOT / "Makefile").read_text()
    return set(re.findall(r"^([a-z0-9-]+)(?: [a-z-]+)*:(?!=)", makefile, re.MULTILINE))


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_targets_of_make_are_there(document):
    text = (ROOT / document).read_text()
    shell = "".join(re.findall(r"^```sh\n(.*?)^```\n", text, re.MULTILINE | re.DOTALL))
    commands = [*re.findall(r"`([^`\n]+)`", text), *re.split(r"\n|&&|#.*", shell)]
    named = set()
    for command in commands:
        words = command.split()
        if words[:1] == ["make"] or words[:2] == ["sudo", "make"]:
            named |= {word for word in words[words.index("make") + 1 :] if "=" not in word}
    assert len(named) > 2
    patterns = targets() | {"version-18", "build-18", "package-17"}
    assert named - patterns == set()


def test_the_restore_without_filling_views():
    shell = next(text for language, text, *_ in blocks() if language == "sh" and "pg_restore" in text)
    dump, listed, restore = shell.strip().splitlines()
    script = f"""
        set -e
        cd "$(mktemp -d)"
        psql -X -q -c 'CREATE DATABASE mydb'
        psql -X -q -d mydb -v ON_ERROR_STOP=1 <<'SQL'
            SET client_min_messages = warning;
            CREATE EXTENSION aws_lambda CASCADE;
            CREATE MATERIALIZED VIEW greeted AS SELECT payload FROM aws_lambda.invoke('hello', '{{"name": "Ada"}}'::jsonb);
SQL
        {dump}
        {listed}
        psql -X -q -c 'DROP DATABASE mydb'
        {restore}
        psql -X -A -t -d mydb -c "SELECT relispopulated FROM pg_class WHERE relname = 'greeted'"
        rm mydb.dump mydb.list
    """
    done = subprocess.run([*RUN, script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.strip() == "f"
