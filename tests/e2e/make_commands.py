"""The command `tests/harness/run ...` of a target of `make`, without what comes before it."""

import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def command_of(target, *variables):
    # The variables of an outer make would change the output.
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    would = subprocess.run(["make", "-n", target, *variables], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return ["sh", "-c", re.search(r"^tests/harness/run (.*\\\n)*.*", would.stdout, re.MULTILINE)[0]]
