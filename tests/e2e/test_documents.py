"""The documents are true: their SQL runs, prints the output that is shown below it, and their links lead somewhere.

The SQL of a page runs in one psql, in the order of the page, where `make psql` gives its prompt: in the database mydb, after
examples/quickstart.sql. README also runs in a database without the extension. A block whose first line says `-- Needs PostgreSQL 18`
runs from that version on. A block that needs anything else, such as pg_cron, does not run. Blocks of Python run as programs.

An output that follows a block is compared, without ids, widths, and what versions of PostgreSQL print differently. A block without an
output ends without an error.
"""

import collections
import functools
import re
import sys

import pytest

from make_commands import ROOT

DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "DESIGN.md", "CHANGELOG.md")]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Blocks that need an extension, such as pg_cron.
MOST_NOT_RUN = 6

Block = collections.namedtuple("Block", "language text output line")


def name_of(path):
    return str(path.relative_to(ROOT))


@functools.cache
def blocks(path):
    """The fenced blocks of a document. The output of one is the block without a language right below it."""
    parts = re.split(r"^```(\w*)\n(.*?)^```\n", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    found, line = [], 1 + parts[0].count("\n")
    for i in range(1, len(parts), 3):
        language, text, after = parts[i : i + 3]
        output = parts[i + 4] if after.strip() == "" and parts[i + 3 : i + 4] == [""] else None
        found.append(Block(language, text, output, line))
        line += text.count("\n") + 2 + after.count("\n")
    return found


def runs(block, version):
    needs = re.match(r"-- Needs (?:PostgreSQL (\d+))?", block.text)
    return block.language in ("sql", "python") and (not needs or (needs[1] is not None and int(needs[1]) <= version))


def comparable(output):
    output = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", output)
    if "QUERY PLAN" in output:
        # Since 18 rows of plans have decimals, and ANALYZE counts buffers.
        output = re.sub(r"(rows=\d+)\.00\b", r"\1", output)
        output = re.sub(r"^ *(Buffers|Planning):?.*\n|^-+\n|^\(\d+ rows\)\n|^ *QUERY PLAN *\n", "", output, flags=re.MULTILINE)
    return [line.rstrip() for line in output.splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("page", "template"),
    [pytest.param(PAGES[0], "template1", id="README.md in a new database")]
    + [pytest.param(page, "prompt", id=name_of(page)) for page in PAGES],
)
def test_sql(page, template, emulated, tmp_path):
    emulated.create(template)
    shown = [block for block in blocks(page) if runs(block, emulated.version)]
    script = ""
    for block in shown:
        text = block.text
        if block.language == "python":
            program = tmp_path / f"{block.line}.py"
            program.write_text(text)
            text = f"\\! {sys.executable} {program} 2>&1\n"
        # A line before each block tells the outputs apart.
        script += f"\\echo @@@ {block.line}\n{text}"
    output = emulated.psql(script + "\\echo @@@ end\n", "mydb")
    emulated.drop()
    printed = dict(re.findall(r"^@@@ (\d+)\n(.*?)(?=^@@@ )", output, re.MULTILINE | re.DOTALL))
    assert list(printed) == [str(block.line) for block in shown], output
    for block in shown:
        came = printed[str(block.line)]
        where = f"{name_of(page)}:{block.line}\n{block.text}{came}"
        if block.output is None:
            assert "ERROR: " not in came and "Traceback" not in came, where
        else:
            expected = comparable(block.output)
            # Notices of statements before the last are not shown.
            assert comparable(came)[-len(expected) :] == expected, where


def test_few_blocks_do_not_run():
    left_out = [(name_of(page), block.line) for page in PAGES for block in blocks(page) if block.language == "sql" and not runs(block, 99)]
    assert len(left_out) <= MOST_NOT_RUN, left_out


def anchors(path):
    """The anchors of the headings of a document, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in re.findall(r"^#+ (.*)", text, re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", sorted({*DOCUMENTS, *PAGES}), ids=name_of)
def test_links(document):
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match("https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("document", [ROOT / "CONTRIBUTING.md", *PAGES], ids=name_of)
def test_paths(document):
    """Files and folders that are named as code."""
    named = re.findall(r"`((?:src|sql|tests|benches|fuzz|packaging|examples|docs)/[\w./-]+)`", document.read_text())
    # Those of a next release are not there yet.
    assert [path for path in named if not (ROOT / path).exists() and not re.search("NAME|NEW", path)] == []


def test_readme_is_short_and_links_to_each_page():
    readme = (ROOT / "README.md").read_text()
    assert readme.count("\n") <= 250
    assert [name_of(page) for page in PAGES[1:] if f"]({name_of(page)})" not in readme] == []


def first_column(page, heading):
    """The first column of the first table below a heading, without backticks, as a list of names in each row."""
    below = (ROOT / page).read_text().partition(f"\n## {heading}\n")[2]
    table = re.search(r"^--- \|.*\n((?:.* \| .*\n)+)", below, re.MULTILINE)[1]
    return [re.findall("`([^`]+)`", row.split(" | ")[0]) for row in table.splitlines()]


def test_all_options_settings_and_columns_are_there(emulated):
    emulated.create("prompt")
    lists = emulated.psql(
        """
        CREATE SERVER s FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (nothing_like_it '');
        CREATE USER MAPPING FOR PUBLIC SERVER aws_lambda OPTIONS (nothing_like_it '');
        CREATE FOREIGN TABLE t () SERVER aws_lambda OPTIONS (nothing_like_it '');
        CREATE FOREIGN TABLE t (a int OPTIONS (nothing_like_it '')) SERVER aws_lambda;
        SELECT 'Settings here are ' || string_agg(name, ', ') || '.' FROM pg_settings WHERE name LIKE 'aws\\_lambda.%';
        SELECT 'Columns here are ' || string_agg(attname, ', ') || '.' FROM pg_attribute
        WHERE attrelid = 'aws_lambda.lambda_invocations'::regclass AND attnum > 0 AND NOT attisdropped;
        """,
        "mydb",
    )
    emulated.drop()

    def there(what):
        return {name for names in re.findall(rf"{what} here are ([^ ].*)\.", lists) for name in names.split(", ")}

    for what, page in (("Options", "configuration"), ("Settings", "configuration"), ("Columns", "tables")):
        assert there(what) == {name for names in first_column(f"docs/{page}.md", what) for name in names}


def test_all_causes_are_there():
    errors = (ROOT / "docs/errors.md").read_text()
    causes = re.findall(r'^    \w+: "(\w+)", "([^"]+)",', (ROOT / "src/error/cause.rs").read_text(), re.MULTILINE)
    assert len(causes) > 10
    assert [phrase for _, phrase in causes if f": {phrase}`" not in errors] == []


def targets():
    makefile = (ROOT / "Makefile").read_text()
    return set(re.findall(r"^([a-z0-9-]+)(?: [a-z-]+)*:(?!=)", makefile, re.MULTILINE)) | {"version-18", "build-18", "package-17"}


@pytest.mark.parametrize("document", sorted({*DOCUMENTS, *PAGES}), ids=name_of)
def test_targets_of_make_are_there(document):
    text = document.read_text()
    shell = "".join(block.text for block in blocks(document) if block.language == "sh")
    for command in [*re.findall(r"`([^`\n]+)`", text), *re.split(r"\n|&&|#.*", shell)]:
        words = command.split()
        if words[:1] == ["make"] or words[:2] == ["sudo", "make"]:
            assert {word for word in words[words.index("make") + 1 :] if "=" not in word} <= targets(), command


def test_a_restore_without_filling_views(emulated, tmp_path):
    # An older server does not know all that a newer pg_dump writes.
    if int(re.search(r"\) (\d+)", emulated.run("pg_dump", "--version"))[1]) > emulated.version:
        pytest.skip("needs a pg_dump of the server's version")
    emulated.create("prompt")
    emulated.psql("CREATE MATERIALIZED VIEW greeted AS SELECT payload FROM aws_lambda.invoke('hello', '{\"name\": \"Ada\"}'::jsonb)", "mydb")
    shell = next(block.text for block in blocks(ROOT / "docs/operations.md") if "pg_restore" in block.text)
    dump, listed, restore = shell.strip().splitlines()
    emulated.run("sh", "-ec", f"cd {tmp_path}; {dump}; {listed}; psql -X -q -c 'DROP DATABASE mydb'; {restore}")
    assert "f" in emulated.psql("\\pset tuples_only\nSELECT relispopulated FROM pg_class WHERE relname = 'greeted'", "mydb").split()
    emulated.drop()
