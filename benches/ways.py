"""The ways to call a function that are compared: programs, sessions of PostgreSQL, and boto3 in this process.

Times are in seconds. What a way does with its time is not looked at here.
"""

import json
import os
import subprocess
import time
import urllib.request

import boto3
import botocore.config
import psycopg
from psycopg import pq

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI+K7MDENG+bPxRfiCYEXAMPLEKEY"}
PROGRAMS = "target/packaged"
# The authorities that the server and the programs trust. `make bench` makes the file, because the server starts with it.
AUTHORITIES = os.environ["SSL_CERT_FILE"]
# No look-up of credentials on the machine, as it is not measured.
ENVIRONMENT = {**os.environ, **KEYS, "AWS_REGION": "us-west-2", "AWS_EC2_METADATA_DISABLED": "true"}

# No optional columns, so that each way sends and returns the same.
TABLES = """
    SET client_min_messages = warning;
    CREATE EXTENSION IF NOT EXISTS aws_lambda CASCADE;
    CREATE EXTENSION IF NOT EXISTS plpython3u;
    CREATE FOREIGN TABLE answer (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'answer');
    CREATE FOREIGN TABLE echo (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
    CREATE FOREIGN TABLE late (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'late');
    CREATE FOREIGN TABLE wait_5 (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'wait-5');
    CREATE FOREIGN TABLE wait_50 (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'wait-50');
    CREATE FOREIGN TABLE batched (payload text, response text)
        SERVER aws_lambda OPTIONS (function_name 'echo-50', batch_rows '1000', max_concurrency '64');
    CREATE FUNCTION boto3_invoke(function_name text, payload text) RETURNS text LANGUAGE plpython3u AS $$
        if "client" not in SD:
            import boto3
            SD["client"] = boto3.client(
                "lambda", region_name="us-west-2", endpoint_url="{url}",
                aws_access_key_id="{AWS_ACCESS_KEY_ID}", aws_secret_access_key="{AWS_SECRET_ACCESS_KEY}")
        return SD["client"].invoke(FunctionName=function_name, Payload=payload)["Payload"].read().decode()
    $$;
    CREATE TABLE orders AS SELECT i AS id, format('{{"id": %s}}', i) AS payload FROM generate_series(1, 10000) i;
    ANALYZE orders;
    ALTER DATABASE postgres SET aws_lambda.endpoint_override = '{url}';
"""


def payload_of(size):
    """A JSON string of so many bytes."""
    return b'"' + b"x" * (size - 2) + b'"'


def cpu_of(pid):
    """CPU time of each thread of a process so far, in seconds."""
    tasks = f"/proc/{pid}/task"
    return sum(int(open(f"{tasks}/{task}/schedstat").read().split()[0]) for task in os.listdir(tasks)) / 1e9


class Endpoint:
    """The stand-in for Lambda, without and in TLS."""

    def __init__(self):
        files = [os.path.join(os.path.dirname(AUTHORITIES), name) for name in ("certificate.pem", "key.pem")]
        self.process = subprocess.Popen(
            [f"{PROGRAMS}/endpoint", *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        clear, secure = map(int, self.process.stdout.readline().split())
        self.url, self.secure_url = f"http://127.0.0.1:{clear}", f"https://localhost:{secure}"

    def cpu(self):
        return cpu_of(self.process.pid)

    def last(self):
        """When the last invocation arrived, as `time.monotonic_ns` has it."""
        with urllib.request.urlopen(f"{self.url}/last") as response:
            return int(response.read())

    def stop(self):
        self.process.stdin.close()
        self.process.wait(10)


class Bare:
    """The program without PostgreSQL."""

    def __init__(self, url):
        self.url = url
        self.process = subprocess.Popen(
            [f"{PROGRAMS}/bare", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
        )

    def run(self, how, function, size, calls, in_flight=1):
        """Times of calls, where they are made one by one, time of all, and CPU."""
        self.process.stdin.write(f"{how} {function} {size} {calls} {in_flight}\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return [time / 1e9 for time in answer["times"]], answer["all"] / 1e9, answer["cpu"] / 1e9

    @staticmethod
    def first(url):
        """The first call of a new process, from its start, and its CPU."""
        made = subprocess.run([f"{PROGRAMS}/bare", url, "first"], env=ENVIRONMENT, stdout=subprocess.PIPE, check=True)
        return tuple(int(part) / 1e9 for part in made.stdout.split())

    def stop(self):
        self.process.stdin.close()
        self.process.wait(10)


class Session:
    """A session of PostgreSQL through libpq, because psycopg's own work would add to each time."""

    def __init__(self):
        self.connection = psycopg.connect(autocommit=True)
        self.pg = self.connection.pgconn
        self.pid = self.pg.backend_pid
        self.names = {}

    def execute(self, text, arguments=()):
        """A statement that is not prepared."""
        return self.checked(self.pg.exec_params(text.encode(), list(arguments)))

    def prepared(self, text, arguments=()):
        """A statement that is prepared when it is first met."""
        if text not in self.names:
            self.names[text] = f"s{len(self.names)}".encode()
            self.checked(self.pg.prepare(self.names[text], text.encode()))
        return self.checked(self.pg.exec_prepared(self.names[text], list(arguments)))

    def checked(self, result):
        if result.status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
            raise RuntimeError(result.error_message.decode())
        return result

    def cpu(self):
        return cpu_of(self.pid)

    def peak(self, work):
        """The most memory, in bytes, that the backend has had while it worked."""
        with open(f"/proc/{self.pid}/clear_refs", "w") as file:
            file.write("5")
        work()
        with open(f"/proc/{self.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024

    def close(self):
        self.connection.close()


def boto3_client(url):
    return boto3.client(
        "lambda",
        region_name="us-west-2",
        endpoint_url=url,
        verify=AUTHORITIES,
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        config=botocore.config.Config(max_pool_connections=1),
    )


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
