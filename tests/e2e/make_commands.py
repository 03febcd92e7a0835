"""The command that a target of `make` ends with, where all that comes before it is done: tests/harness/run, with what it runs."""

import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def command_of(target, *variables):
    # The tests may run below a make of their own, which would have its say.
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    would = subprocess.run(["make", "-n", target, *variables], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return ["sh", "-c", re.search(r"^tests/harness/run (.*\\\n)*.*", would.stdout, re.MULTILINE)[0]]
