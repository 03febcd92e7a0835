"""The scripted endpoint as tests see it: what it counted, and invocations of its functions."""

import os
import subprocess
import time

URL = os.environ["ENDPOINT_URL"]
# Options of a user mapping. These are keys that the endpoint knows.
EXAMPLE_KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "wJalrXUtnFEMI+K7MDENG+bPxRfiCYEXAMPLEKEY"}
OTHER_KEYS = {"access_key_id": "AKIDOTHER", "secret_access_key": "othersecret"}


def control(command):
    program, port = os.environ["ENDPOINT_CONTROL"], os.environ["ENDPOINT_PORT"]
    return subprocess.run([program, port, command], check=True, stdout=subprocess.PIPE, text=True).stdout


def reset():
    control("reset")


def counter(name):
    return int(dict(line.split("\t") for line in control("counters").splitlines())[name])


def functions():
    """The names of the functions that were invoked, in order."""
    return [line.split("\t")[0] for line in control("invocations").splitlines()]


def executions():
    """Of the invocations with a durable execution name: that, the tenant, and the payload, in order."""
    return [tuple(line.split("\t")) for line in control("executions").splitlines()]


def wait_for_invocations(number):
    wait_until(lambda: counter("invocations") >= number)


def wait_until(happened, seconds=10):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def invoke(session, function, payload="{}"):
    """Invokes through the documented function; returns the response."""
    return session.execute("SELECT payload FROM aws_lambda.invoke(%s::text, %s::json)", [function, payload]).fetchone()[0]
