"""A scripted AWS Lambda endpoint for tests: python3 endpoint.py --port-file FILE

Serves Invoke, ListFunctions, GetFunctionConfiguration, AssumeRole and its own
unsigned /_control on one port of 127.0.0.1, and counts requests, because most
tests ask how often a function ran. scripts.py has the answers of the functions,
and functions.py which functions there are. Leaves out every other call of the
API, and running any code.

/_control/reset                         POST, clears the log, the counters and the ordinals
/_control/counters                      GET, name and value
/_control/invocations                   GET, the log in COPY's text format
/_control/questions                     GET, likewise: operation, function, qualifier, marker, region and key of the other two requests
/_control/executions                    GET, likewise: name, tenant and payload of invocations with a durable execution name
/_control/assume-roles                  GET, likewise: role ARN, session name, external ID
                                        each of the five with ?reset=1 resets afterwards
/_control/functions?are=NAME            POST, resets, and says which functions there are until the next reset, see functions.py
/_control/refuse-connections?on=1|0     POST, resets every request that is not control
/_control/revoke?key=KEY&code=CODE      POST, refuses a key with that error until the next reset
"""

import argparse
import asyncio
import base64
import binascii
import collections
import functools
import os
import re
import signal
import uuid
from urllib.parse import parse_qs, unquote

import functions
import scripts
import sigv4
import sts
from wire import Answer, Connection, Disconnected

INVOKE_PATH = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
QUESTION_PATH = re.compile(r"/2015-03-31/functions/?(?:([^/]+)/configuration)?")


class Record:
    """The requests since the last reset.

    A reset starts a new record. Requests that are in flight then stay in the old
    one, and do not disturb the next test.
    """

    def __init__(self):
        self.invocations = []
        self.questions = []
        self.functions = functions.USUAL
        self.assume_roles = []
        self.ordinals = collections.Counter()
        # The payload of each durable execution, by name.
        self.executions = {}
        self.working = collections.Counter()
        self.connections = 0
        self.refused = 0
        # The error code that a key is refused with, by key.
        self.revoked = {}
        self.throttled = 0
        self.aborted = 0
        # Of all functions together, from the end of a request until its answer is sent, 429 included.
        self.in_flight = 0
        self.most_in_flight = 0

    def counters(self):
        return {
            "invocations": len(self.invocations),
            "lists": sum(one.function is None for one in self.questions),
            "configurations": sum(one.function is not None for one in self.questions),
            "refused": self.refused,
            "throttled": self.throttled,
            "aborted": self.aborted,
            "assume_role": len(self.assume_roles),
            "connections": self.connections,
            "most_in_flight": self.most_in_flight,
        }


class Endpoint:
    def __init__(self):
        self.record = Record()
        self.refuse_connections = False

    async def serve(self, reader, writer):
        connection = Connection(reader, writer)
        try:
            await self.serve_requests(connection)
        except (Disconnected, asyncio.CancelledError):
            # SIGTERM cancels. asyncio would report every open connection.
            pass
        finally:
            writer.close()

    async def serve_requests(self, connection):
        counted = False
        while True:
            request = await connection.read_head()
            if request is None:
                return
            if request.path.startswith("/_control/"):
                await connection.read_body()
                answer = self.control(request)
                await connection.send(answer)
            else:
                if not counted:
                    # Not on accept, because control connections do not count.
                    self.record.connections += 1
                    counted = True
                answer = await self.answer_signed(request, connection)
            if answer is None or request.headers.get("connection", "").lower() == "close":
                return
            if answer.closes_idle:
                self.record.aborted += await connection.close_idle()
                return

    async def answer_signed(self, request, connection):
        """Answers an AWS request. Returns the answer, or None if the connection is to be closed."""
        invoke = INVOKE_PATH.fullmatch(request.path)
        function = unquote(invoke[1]) if invoke else ""
        if self.refuse_connections or scripts.split_name(function)[0] == "reset-before":
            self.record.aborted += 1
            connection.reset()
            return None
        try:
            body = await connection.read_body()
        except Disconnected:
            self.record.aborted += 1
            raise
        if invoke and request.method == "POST":
            return await self.invoke(function, request, body, connection)
        question = QUESTION_PATH.fullmatch(request.path)
        if question and request.method == "GET":
            answer = await self.question(question[1], request, connection)
        elif request.path == "/" and request.method == "POST":
            answer = await self.assume_role(request, body, connection)
        else:
            answer = scripts.error(404, "UnknownOperationException", {})
        if answer is not None:
            await connection.send(answer)
        return answer

    async def invoke(self, function, request, body, connection):
        request_id = ("x-amzn-RequestId", request_id_of(function))
        try:
            caller = self.verify(request, body, "lambda")
        except sigv4.Refused as reason:
            self.record.refused += 1
            answer = scripts.error(403, reason.code, {"message": reason.message})
            answer = with_headers(answer, request_id)
            await connection.send(answer)
            return answer

        record = self.record
        name, own_qualifier = scripts.split_name(function)
        record.ordinals[name] += 1
        call = scripts.Call(
            function=function,
            qualifier=parse_qs(request.query).get("Qualifier", [None])[0],
            invocation_type=request.headers.get("x-amz-invocation-type", "RequestResponse"),
            log_type=request.headers.get("x-amz-log-type"),
            client_context=decode_context(request.headers.get("x-amz-client-context")),
            tenant_id=request.headers.get("x-amz-tenant-id"),
            execution=request.headers.get("x-amz-durable-execution-name"),
            payload=body,
            region=caller.region,
            access_key=caller.access_key,
            session_token=caller.session_token,
            ordinal=record.ordinals[name],
            ordinals=record.ordinals,
            working=record.working,
        )
        record.invocations.append(call)
        record.in_flight += 1
        record.most_in_flight = max(record.most_in_flight, record.in_flight)
        try:
            script, arguments = scripts.find(name)
            if call.execution and record.executions.setdefault(call.execution, body) != body:
                script, arguments = scripts.already_started, ()
            answer = await script(call, connection, *arguments)
            if answer is not None:
                version = call.qualifier or own_qualifier or "$LATEST"
                answer = with_headers(for_type(answer, call, version), request_id)
                record.throttled += answer.status == 429
                await connection.send(answer)
            return answer
        finally:
            record.in_flight -= 1

    async def question(self, function, request, connection):
        try:
            caller = self.verify(request, b"", "lambda")
        except sigv4.Refused as reason:
            self.record.refused += 1
            return scripts.error(403, reason.code, {"message": reason.message})
        record, query = self.record, parse_qs(request.query)
        question = functions.Question(
            operation="GetFunctionConfiguration" if function else "ListFunctions",
            function=unquote(function) if function else None,
            qualifier=query.get("Qualifier", [None])[0],
            marker=query.get("Marker", [None])[0],
            region=caller.region,
            access_key=caller.access_key,
            ordinal=len(record.questions) + 1,
        )
        record.questions.append(question)
        record.in_flight += 1
        record.most_in_flight = max(record.most_in_flight, record.in_flight)
        try:
            answer = await functions.answer(record.functions, question, connection)
        finally:
            record.in_flight -= 1
        request_id = ("x-amzn-RequestId", request_id_of(function or ""))
        return answer and with_headers(answer, request_id)

    def verify(self, request, body, service):
        caller = sigv4.verify(request, body, service)
        if caller.access_key in self.record.revoked:
            code = self.record.revoked[caller.access_key]
            raise sigv4.Refused(code, "The security token included in the request is expired")
        return caller

    async def assume_role(self, request, body, connection):
        try:
            self.verify(request, body, "sts")
        except sigv4.Refused as reason:
            self.record.refused += 1
            return sts.refused(reason)
        call = sts.parse(body)
        if call is None:
            return sts.invalid_action()
        self.record.assume_roles.append(call)
        return await sts.answer(call, connection)

    def control(self, request):
        operation = (request.method, request.path[len("/_control/") :])
        answer = self.answer_control(operation, parse_qs(request.query))
        if request.query == "reset=1":
            self.record = Record()
        return answer

    def answer_control(self, operation, query):
        if operation == ("POST", "reset"):
            self.record = Record()
            return Answer(204)
        if operation == ("POST", "refuse-connections"):
            self.refuse_connections = query.get("on") == ["1"]
            return Answer(204)
        if operation == ("POST", "functions"):
            functions.find(query["are"][0])
            self.record = Record()
            self.record.functions = query["are"][0]
            return Answer(204)
        if operation == ("POST", "revoke"):
            self.record.revoked[query["key"][0]] = query["code"][0]
            return Answer(204)
        if operation == ("GET", "counters"):
            return copy_rows(self.record.counters().items())
        if operation == ("GET", "invocations"):
            return copy_rows(
                [
                    call.function,
                    call.qualifier,
                    call.invocation_type,
                    call.log_type,
                    call.client_context,
                    scripts.payload_text(call.payload),
                ]
                for call in self.record.invocations
            )
        if operation == ("GET", "questions"):
            return copy_rows(
                [one.operation, one.function, one.qualifier, one.marker, one.region, one.access_key]
                for one in self.record.questions
            )
        if operation == ("GET", "executions"):
            return copy_rows(
                [call.execution, call.tenant_id, scripts.payload_text(call.payload)]
                for call in self.record.invocations
                if call.execution
            )
        if operation == ("GET", "assume-roles"):
            return copy_rows(self.record.assume_roles)
        return Answer(404, b"no such control\n")


def for_type(answer, call, version):
    """The answer to an invocation of this type: that of the function, or 202 or 204."""
    if answer.status != 200:
        return answer
    started = ()
    if call.execution:
        name, _ = scripts.split_name(call.function)
        arn = f"arn:aws:lambda:{call.region}:{scripts.ACCOUNT}:function:{name}:{version}"
        started = (("X-Amz-Durable-Execution-Arn", f"{arn}/durable-execution/{call.execution}/1"),)
    # An Event is queued, so no version has executed yet.
    if call.invocation_type == "Event":
        return answer._replace(status=202, body=b"", headers=started)
    answer = with_headers(answer, ("X-Amz-Executed-Version", version), *started)
    if call.invocation_type == "DryRun":
        return answer._replace(status=204, body=b"")
    return answer


def with_headers(answer, *headers):
    if not any(name == "Content-Type" for name, _ in answer.headers):
        headers += (("Content-Type", "application/json"),)
    return answer._replace(headers=answer.headers + headers)


@functools.lru_cache(maxsize=1024)
def request_id_of(function):
    # Messages show it, and what a test prints may not depend on the run.
    return uuid.uuid5(uuid.NAMESPACE_URL, function)


def decode_context(header):
    """The client context as text, or the header itself if it is not base64 of UTF-8."""
    if header is None:
        return None
    try:
        return base64.b64decode(header, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return header


def copy_rows(rows):
    text = "".join("\t".join(map(copy_field, row)) + "\n" for row in rows)
    return Answer(200, text.encode(), (("Content-Type", "text/plain; charset=utf-8"),))


COPY_ESCAPES = str.maketrans(
    # COPY has no escape for a zero byte, so the text has \x00.
    {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\\\x00"}
)


def copy_field(value):
    return r"\N" if value is None else str(value).translate(COPY_ESCAPES)


async def main(port_file):
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await asyncio.start_server(Endpoint().serve, "127.0.0.1", 0, backlog=1024)
    # Renamed into place, so that nobody reads half of it.
    temporary = f"{port_file}.{os.getpid()}"
    with open(temporary, "w") as file:
        file.write(f"{server.sockets[0].getsockname()[1]}\n")
    os.replace(temporary, port_file)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A scripted AWS Lambda endpoint for tests.")
    parser.add_argument("--port-file", required=True, metavar="FILE")
    asyncio.run(main(parser.parse_args().port_file))
