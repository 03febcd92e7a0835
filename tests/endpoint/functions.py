"""The functions that the endpoint tells of: the answers to ListFunctions and GetFunctionConfiguration.

`/_control/functions?are=NAME` resets, and says which functions there are until the next reset. NAME is a script, as the name of a function is in
scripts.py. Invocations do not depend on it.
"""

import asyncio
import json
import re
from typing import NamedTuple, Optional

import scripts
from wire import Answer

PAGE = 50
USUAL = "few"


class Question(NamedTuple):
    """A request about functions as it arrived."""

    operation: str
    function: Optional[str]
    qualifier: Optional[str]
    marker: Optional[str]
    region: str
    access_key: str
    ordinal: int  # the number of this request among all questions since the last reset, from 1


def configuration(name, description="", region="us-west-2", version="$LATEST", **fields):
    return {
        "FunctionName": name,
        "FunctionArn": f"arn:aws:lambda:{region}:{scripts.ACCOUNT}:function:{name}",
        "Runtime": "python3.12",
        "Role": f"arn:aws:iam::{scripts.ACCOUNT}:role/lambda",
        "Handler": "app.handler",
        "CodeSize": 3_000_000_000 if name == "beta" else 1024,
        "Description": description,
        "Timeout": 30,
        "MemorySize": 128,
        "LastModified": "2026-03-01T12:30:45.678+0000",
        "Version": version,
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        **fields,
    }


LISTS = []


def functions(pattern):
    def register(function):
        LISTS.append((re.compile(pattern), function))
        return function

    return register


def find(name):
    for pattern, function in LISTS:
        match = pattern.fullmatch(name)
        if match:
            return function, match.groups()
    raise ValueError(f"no such functions: {name}")


async def answer(name, question, connection):
    """The answer to send, or None if the connection is to be closed."""
    function, arguments = find(name)
    return await function(question, connection, *arguments)


def of(all_of_them, question):
    """The answer where these are all functions."""
    if question.operation == "GetFunctionConfiguration":
        return one_of(all_of_them, question)
    start = int(question.marker or 0)
    page = {"Functions": all_of_them[start : start + PAGE]}
    if start + PAGE < len(all_of_them):
        page["NextMarker"] = str(start + PAGE)
    return body(page)


def one_of(all_of_them, question):
    versions = {None: "$LATEST", "$LATEST": "$LATEST", "prod": "3", "3": "3"}
    found = [one for one in all_of_them if one["FunctionName"] == question.function]
    if not found or question.qualifier not in versions:
        fields = {"Type": "User", "Message": f"Function not found: {question.function}"}
        return scripts.error(404, "ResourceNotFoundException", fields)
    # The list leaves the state out, as Lambda's does.
    return body({**found[0], "Version": versions[question.qualifier], "State": "Active"})


def body(fields):
    return Answer(200, json.dumps(fields).encode())


@functions("few")
async def few(question, connection):
    return of(
        [
            configuration("alpha", "the first", region=question.region),
            configuration("beta", region=question.region, Runtime=None, PackageType="Image"),
            configuration("Gamma-1_x", "it's \"quoted\"", region=question.region),
        ],
        question,
    )


@functions("none")
async def none(question, connection):
    return of([], question)


@functions(r"many-(\d+)")
async def many(question, connection, count):
    return of([configuration(f"f{number:06}") for number in range(int(count))], question)


@functions("long")
async def long(question, connection):
    stem = "x" * 62
    return of([configuration(name) for name in ("short", stem, f"{stem}yz")], question)


@functions("long-and-equal")
async def long_and_equal(question, connection):
    stem = "x" * 63
    return of([configuration(name) for name in ("short", f"{stem}1", f"{stem}2")], question)


@functions("moving")
async def moving(question, connection):
    """A function that is on two pages, as one before it was deleted meanwhile."""
    names = {None: ["a", "b"], "2": ["b", "c"]}[question.marker]
    page = {"Functions": [configuration(name) for name in names]}
    return body(page if question.marker else {**page, "NextMarker": "2"})


@functions("deleted")
async def deleted(question, connection):
    """A function that is listed, and is gone when it is asked for."""
    names = ["alpha", "beta"] if question.function else ["alpha", "gone", "beta"]
    return of([configuration(name) for name in names], question)


@functions("empty-pages")
async def empty_pages(question, connection):
    number = int(question.marker or 0)
    listed = [configuration("last")] if number == 3 else []
    return body({"Functions": listed, "NextMarker": str(number + 1) if number < 3 else ""})


DESCRIPTIONS = {
    "injection": "'; DROP TABLE app.kept; --",
    "dollar": "$$; DROP TABLE app.kept; --$$ \\'; E'\\x41' /* */",
    "lines": "one\ntwo\ttab\r",
    "zero": "a\0b",
    "letters": "Größe 数 🙂",
    "large": "x" * 100_000,
}


@functions("descriptions")
async def descriptions(question, connection):
    return of([configuration(*one) for one in DESCRIPTIONS.items()], question)


HOSTILE_NAMES = {
    "quote": 'f" (x int); DROP TABLE app.kept; --',
    "literal": "f'); DROP TABLE app.kept; --",
    "zero": "f\0",
    "nothing": "",
    "dots": "..",
    "slash": "a/b",
    "arn": "arn:aws:lambda:us-west-2:123456789012:function:f",
    "long": "x" * 65,
    "letters": "größe",
}


@functions("name-(" + "|".join(HOSTILE_NAMES) + ")")
async def hostile_name(question, connection, name):
    return body({"Functions": [configuration(HOSTILE_NAMES[name])]})


BODIES = {
    "empty": b"",
    "null": b"null",
    "html": b"<html>not JSON</html>",
    "invalid-utf8": b'{"Functions": [{"FunctionName": "\xff"}]}',
    "surrogate": b'{"Functions": [{"FunctionName": "\\ud800"}]}',
    "type": b'{"Functions": [{"FunctionName": 5}]}',
    "overflow": b'{"Functions": [{"FunctionName": "f", "MemorySize": 99999999999}]}',
    "date": b'{"Functions": [{"FunctionName": "f", "LastModified": "tomorrow or so"}]}',
    "deep": b"[" * 100_000,
    "marker": json.dumps({"Functions": [], "NextMarker": "m" * 100_000}).encode(),
    "huge": b'{"Functions": [' + b" " * (8 << 20) + b"]}",
}


@functions("body-(" + "|".join(BODIES) + ")")
async def fixed(question, connection, name):
    return Answer(200, BODIES[name])


@functions("circle-(\\d+)")
async def circle(question, connection, length):
    number = int(question.marker or 0)
    marker = str((number + 1) % int(length))
    return body({"Functions": [configuration(f"f{number}")], "NextMarker": marker})


@functions("endless")
async def endless(question, connection):
    number = int(question.marker or 0)
    return body({"Functions": [configuration(f"f{number}")], "NextMarker": str(number + 1)})


# Errors, and answers that come late or never


@functions(r"error-(\d{3})-(\w+)")
async def error(question, connection, status, code):
    user = "User: arn:aws:iam::123456789012:user/u is not authorized to perform: lambda:" + question.operation
    return scripts.error(int(status), code, {"message": user})


@functions("wrong-body-404")
async def wrong_body_404(question, connection):
    return Answer(404, b"<html>Not Found</html>")


@functions(r"first-(\d+)-(reset|throttle|fail|hang)")
async def first(question, connection, times, what):
    """Fails for the first requests."""
    if question.ordinal > int(times):
        return await few(question, connection)
    if what == "reset":
        connection.reset()
        return None
    if what == "hang":
        return await hang(question, connection)
    if what == "throttle":
        return scripts.error(429, "TooManyRequestsException", {"message": "Rate exceeded"})
    return scripts.error(500, "ServiceException", {"message": "It failed"})


@functions(r"sleep-(\d+)-(.+)")
async def sleep(question, connection, ms, name):
    await asyncio.sleep(int(ms) / 1000)
    return await answer(name, question, connection)


@functions("hang")
async def hang(question, connection):
    await connection.wait_until_closed()
