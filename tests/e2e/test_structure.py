"""What the code promises of its own structure."""

import pathlib
import re

SOURCES = pathlib.Path(__file__).resolve().parent.parent.parent / "src"


def files_with(pattern):
    return sorted(
        str(file.relative_to(SOURCES)) for file in SOURCES.rglob("*.rs") for _ in re.findall(pattern, file.read_text())
    )


def test_invocations_are_waited_for_in_one_loop():
    assert files_with(r"\bdispatch\.wait\(") == ["dispatch/window.rs"]
    # Deliveries of the queue take outcomes in any order. The first waits for the end of what was given up.
    # A delivery also waits for rows that other transactions have locked, with nothing in flight.
    assert files_with(r"\bwait::wait\(") == ["dispatch/counted.rs", *2 * ["dispatch/mod.rs"], "queue/deliver/mod.rs"]


def test_the_node_that_prefetches_knows_no_scan():
    assert [file for file in files_with(r"\bcrate::(?:scan|modify|call)\b") if file.startswith("prefetch/")] == []
