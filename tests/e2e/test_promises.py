"""Each promise of the documents names a test, and that is there."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGETS = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


def promises():
    for document, section in (("docs/operations.md", "## Reliability"), ("docs/security.md", "## Promised")):
        text = (ROOT / document).read_text().partition(section + "\n")[2].partition("\n## ")[0]
        rows = [line.split(" | ") for line in text.splitlines() if " | " in line]
        assert len(rows) > 10
        # Behind the heading and the line below it.
        for row in rows[2:]:
            yield pytest.param(row[-1], id=row[0])


def is_there(name):
    if name.startswith("make "):
        return name.split()[1] in TARGETS
    return any((ROOT / folder / name).is_file() for folder in (".", "tests/e2e", "tests/regress/sql"))


@pytest.mark.parametrize("held_by", list(promises()))
def test_promise(held_by):
    if held_by.startswith("[security]"):
        return
    names = [name for name in re.findall("`([^`]+)`", held_by) if "." in name or name.startswith("make ")]
    assert names
    assert [name for name in names if not is_there(name)] == []


def test_the_releases_that_were_run():
    releases = re.search(r"^POSTGRESQL_RELEASES = (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    readme = (ROOT / "README.md").read_text()
    assert f"was tested with {', '.join(releases[:-1])} and {releases[-1]}." in readme
