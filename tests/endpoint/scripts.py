"""The scripted functions. A function's name is its script.

A script returns the Answer to send, or None if it has used the connection
itself and the connection is to be closed. The endpoint turns a 200 into the
answer to an Event or DryRun invocation. Errors and broken connections are the
same for each invocation type. Leaves out the service's checks (valid JSON, size
limits) except in `strict`.
"""

import asyncio
import base64
import functools
import json
import re
from collections import Counter
from typing import NamedTuple, Optional

from wire import Answer

ACCOUNT = "123456789012"

FUNCTION_NAME = re.compile(
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d:)?"
    r"(\d{12}:)?(function:)?(?P<name>[a-zA-Z0-9_.-]+)"
    r"(:(?P<qualifier>\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9_-]+))?"
)

REQUEST_ID = "00000000-0000-0000-0000-000000000000"
LOG = (
    f"START RequestId: {REQUEST_ID} Version: $LATEST\n"
    "hello from the log\n"
    f"END RequestId: {REQUEST_ID}\n"
).encode()
# The service returns the last 4 KB, so the text may begin within a character.
CUT_LOG = b"\xa9 the tail of a longer log\na zero \x00 byte\n"


class Call(NamedTuple):
    """An invocation as it arrived."""

    function: str
    qualifier: Optional[str]
    invocation_type: str
    log_type: Optional[str]
    client_context: Optional[str]
    tenant_id: Optional[str]
    execution: Optional[str]  # the name of a durable execution
    payload: bytes
    region: str
    access_key: str
    session_token: bool
    ordinal: int  # the number of this call among those of the script since the last reset, from 1
    ordinals: Counter  # the last ordinal of each script
    working: Counter  # the number of calls in progress, for each `limit-N-MS`

    def tail_headers(self, log_result):
        if self.log_type == "Tail" and self.invocation_type == "RequestResponse":
            return (("X-Amz-Log-Result", log_result),)
        return ()


def split_name(function):
    """The bare name and the qualifier in a name, partial ARN or ARN."""
    match = FUNCTION_NAME.fullmatch(function)
    return (match["name"], match["qualifier"]) if match else (function, None)


def payload_text(payload):
    """The payload as text, with invalid UTF-8 escaped; None if it is empty."""
    return payload.decode("utf-8", "backslashreplace") if payload else None


def error(status, code, fields, headers=()):
    return Answer(status, json.dumps(fields).encode(), (("x-amzn-ErrorType", code), *headers))


SCRIPTS = []


def script(pattern):
    def register(function):
        SCRIPTS.append((re.compile(pattern), function))
        return function

    return register


@functools.lru_cache(maxsize=1024)
def find(name):
    for pattern, function in SCRIPTS:
        match = pattern.fullmatch(name)
        if match:
            return function, match.groups()
    return not_found, (name,)


async def not_found(call, connection, name):
    arn = f"arn:aws:lambda:{call.region}:{ACCOUNT}:function:{name}"
    fields = {"Type": "User", "Message": f"Function not found: {arn}"}
    return error(404, "ResourceNotFoundException", fields)


# Bodies


@script("echo")
async def echo(call, connection):
    return Answer(200, call.payload)


@script("describe")
async def describe(call, connection):
    fields = {
        "function": call.function,
        "qualifier": call.qualifier,
        "invocation_type": call.invocation_type,
        "log_type": call.log_type,
        "client_context": call.client_context,
        "payload": payload_text(call.payload),
        "region": call.region,
        "access_key": call.access_key,
        "session_token": call.session_token,
    }
    # Most tests have neither.
    if call.tenant_id is not None:
        fields["tenant_id"] = call.tenant_id
    if call.execution is not None:
        fields["durable_execution_name"] = call.execution
    return Answer(200, json.dumps(fields, ensure_ascii=False).encode())


FIXED_BODIES = {
    "empty": b"",
    "null": b"null",
    "number": b"1.0000000000000000001",
    "html": b"<html>not JSON</html>",
    "nul": b'"a\\u0000b"',
    "raw-nul": b'"a\x00b"',
    "invalid-utf8": b'"\xff\xfe"',
}


@script("(" + "|".join(FIXED_BODIES) + ")")
async def fixed(call, connection, name):
    return Answer(200, FIXED_BODIES[name])


@script(r"size-(\d+)")
async def size(call, connection, size):
    return Answer(200, b'"' + b"x" * max(0, int(size) - 2) + b'"')


@script("count")
async def count(call, connection):
    return Answer(200, str(call.ordinal).encode())


# Function errors and logs

FUNCTION_ERROR = b'{"errorMessage":"division by zero","errorType":"ZeroDivisionError"}'


@script("(handled|unhandled)")
async def function_error(call, connection, kind):
    return Answer(200, FUNCTION_ERROR, (("X-Amz-Function-Error", kind.capitalize()),))


@script("unhandled-empty")
async def unhandled_empty(call, connection):
    return Answer(200, b"", (("X-Amz-Function-Error", "Unhandled"),))


@script("unhandled-text")
async def unhandled_text(call, connection):
    return Answer(200, b"division by zero", (("X-Amz-Function-Error", "Unhandled"),))


@script("log")
async def log(call, connection):
    return Answer(200, call.payload, call.tail_headers(base64.b64encode(LOG).decode()))


@script("nul-log")
async def nul_log(call, connection):
    return Answer(200, call.payload, call.tail_headers(base64.b64encode(CUT_LOG).decode()))


@script("bad-log")
async def bad_log(call, connection):
    return Answer(200, call.payload, call.tail_headers("***not base64***"))


# Errors of the service


@script("throttle")
async def throttle(call, connection):
    fields = {
        "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
        "Type": "User",
        "message": "Rate Exceeded.",
    }
    return error(429, "TooManyRequestsException", fields, (("Retry-After", "0"),))


@script(r"throttle-(\d+)")
async def throttle_at_first(call, connection, times):
    if call.ordinal <= int(times):
        return await throttle(call, connection)
    return await echo(call, connection)


@script(r"(limit-(\d+)-(\d+))")
async def limit(call, connection, name, most, ms):
    if call.working[name] >= int(most):
        return await throttle(call, connection)
    call.working[name] += 1
    try:
        return await accept(call, connection, ms)
    finally:
        # Before the answer is sent, so that its client may call again.
        call.working[name] -= 1


@script(r"error-([3-5]\d\d)-(\w+)")
async def service_error(call, connection, status, code):
    # The service's errors spell this key in two ways.
    key = "Message" if code.endswith("Exception") else "message"
    return error(int(status), code, {"Type": "User", key: f"scripted {code}"})


async def already_started(call, connection):
    fields = {"Type": "User", "Message": f"Durable execution {call.execution} already exists"}
    return error(409, "DurableExecutionAlreadyStartedException", fields)


@script(r"plain-([2-5]\d\d)")
async def plain(call, connection, status):
    page = f"<html><body>{status} from a proxy</body></html>".encode()
    return Answer(int(status), page, (("Content-Type", "text/html"),))


@script("strict")
async def strict(call, connection):
    limit = 1_048_576 if call.invocation_type == "Event" else 6_291_456
    if len(call.payload) > limit:
        message = f"Request must be smaller than {limit} bytes for the InvokeFunction operation"
        fields = {"Type": "User", "message": message}
        return error(413, "RequestTooLargeException", fields)
    try:
        json.loads(call.payload or b"null")
    except ValueError as reason:
        message = f"Could not parse request body into json: {reason}"
        fields = {"Type": "User", "message": message}
        return error(400, "InvalidRequestContentException", fields)
    return await echo(call, connection)


# Time


@script(r"sleep-(\d+)")
async def sleep(call, connection, ms):
    if call.invocation_type == "RequestResponse":
        await asyncio.sleep(int(ms) / 1000)
    return Answer(200, call.payload)


@script(r"accept-(\d+)")
async def accept(call, connection, ms):
    # Queueing an Event takes time too.
    await asyncio.sleep(int(ms) / 1000)
    return Answer(200, call.payload)


@script("hang")
async def hang(call, connection):
    await connection.wait_until_closed()


@script(r"slow-headers-(\d+)")
async def slow_headers(call, connection, ms):
    return Answer(200, call.payload, headers_ms=int(ms))


@script(r"slow-body-(\d+)")
async def slow_body(call, connection, ms):
    return Answer(200, call.payload, body_ms=int(ms))


@script("stall-body")
async def stall_body(call, connection):
    body = call.payload or b"null"
    await connection.send_part(Answer(200), len(body), body[: len(body) // 2])
    await connection.wait_until_closed()


# Broken connections and answers. `reset-before` is in endpoint.py, because it resets before the body is read.


@script("cut-body")
async def cut_body(call, connection):
    await connection.send_part(Answer(200), len(call.payload) + 100, call.payload)


@script("reset-after")
async def reset_after(call, connection):
    connection.reset()


@script("close-after")
async def close_after(call, connection):
    pass


@script("close-next")
async def close_next(call, connection):
    return Answer(200, call.payload, closes_idle=True)


@script("garbage")
async def garbage(call, connection):
    await connection.write(b"\x16\x03\x01\x00 this is not HTTP\r\n\r\n")


@script("verbatim(-close)?")
async def verbatim(call, connection, close):
    """Sends the bytes of the payload, a JSON string with a character for each byte."""
    answer = json.loads(call.payload).encode("latin-1")
    if close is None:
        return Answer(200, raw=answer)
    await connection.write(answer)


@script("huge-headers")
async def huge_headers(call, connection):
    return Answer(200, call.payload, (("X-Huge", "x" * (1 << 20)),))


# More than one answer


@script(r"first-(\d+)-(.+)")
async def first(call, connection, times, name):
    """Runs another script for the first calls, and then `describe`."""
    if call.ordinal > int(times):
        return await describe(call, connection)
    function, arguments = find(name)
    return await function(call, connection, *arguments)


@script(r"reset-then-(.+)")
async def reset_then(call, connection, name):
    function, arguments = (reset_after, ()) if call.ordinal == 1 else find(name)
    return await function(call, connection, *arguments)


# Several rows in one invocation


@script("unless-bad")
async def unless_bad(call, connection):
    if b"bad" in call.payload:
        return await function_error(call, connection, "unhandled")
    return await echo(call, connection)


@script("batch-(short|long|text|object)")
async def batch(call, connection, kind):
    """Answers the elements of the payload, but one too few or too many, or in another shape."""
    rows = json.loads(call.payload)
    answers = {
        "short": lambda: rows[:-1],
        "long": lambda: [*rows, None],
        "text": lambda: json.dumps(rows),
        "object": lambda: {"rows": rows},
    }
    return Answer(200, json.dumps(answers[kind]()).encode())


@script("redshift(-(bare|text|quoted|nested|failed|silent|short|miscounted|missing))?")
async def redshift(call, connection, _, kind):
    """Answers the first argument of each row, as Lambda UDFs of Redshift do."""
    rows = [row[0] for row in json.loads(call.payload)["arguments"]]
    whole = {"success": True, "num_records": len(rows), "results": rows}
    answers = {
        None: lambda: whole,
        "bare": lambda: {"results": rows},
        "text": lambda: json.dumps(whole),
        "quoted": lambda: {**whole, "success": "true", "num_records": str(len(rows))},
        "nested": lambda: {"results": json.dumps(rows)},
        "failed": lambda: {"success": False, "error_msg": "no such city", "results": rows},
        "silent": lambda: {"success": "false"},
        "short": lambda: {"results": rows[1:]},
        "miscounted": lambda: {**whole, "num_records": len(rows) + 1},
        "missing": lambda: {"success": True, "num_records": len(rows)},
    }
    return Answer(200, json.dumps(answers[kind]()).encode())


@script(r"deep-(\d+)")
async def deep(call, connection, levels):
    return Answer(200, b"[" * int(levels) + b"]" * int(levels))


# Scripts that the payload names


@script("mock")
async def mock(call, connection):
    try:
        fields = json.loads(call.payload)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        return await echo(call, connection)
    ms, name = fields.get("ms"), fields.get("as")
    if isinstance(ms, (int, float)):
        await asyncio.sleep(ms / 1000)
    # `mock` itself would recurse without end.
    if not isinstance(name, str) or name == "mock":
        return await echo(call, connection)
    call.ordinals[name] += 1
    function, arguments = find(name)
    return await function(call._replace(ordinal=call.ordinals[name]), connection, *arguments)
