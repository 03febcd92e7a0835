"""The scripted endpoint: its counters, and invocations of its functions."""

import contextlib
import http.client
import os
import time

URL = os.environ["ENDPOINT_URL"]
# Options of a user mapping. These are keys that the endpoint knows.
EXAMPLE_KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "wJalrXUtnFEMI+K7MDENG+bPxRfiCYEXAMPLEKEY"}
OTHER_KEYS = {"access_key_id": "AKIDOTHER", "secret_access_key": "othersecret"}


def control(method, command):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", int(os.environ["ENDPOINT_PORT"]))) as connection:
        connection.request(method, f"/_control/{command}")
        answer = connection.getresponse()
        assert answer.status in (200, 204)
        return answer.read().decode()


def rows(command):
    return [tuple(line.split("\t")) for line in control("GET", command).splitlines()]


def reset():
    control("POST", "reset")


def revoke(key, code):
    """From now on the endpoint refuses this key with this error."""
    control("POST", f"revoke?key={key}&code={code}")


def counter(name):
    return int(dict(rows("counters"))[name])


def functions():
    """The names of the functions that were invoked, in order."""
    return [function for function, *_ in rows("invocations")]


def executions():
    """The name, the tenant and the payload of each invocation that has a durable execution name, in order."""
    return rows("executions")


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
