"""The two stand-ins for AWS Lambda: the scripted endpoint of tests/endpoint, and the ministack emulator.

Both listen on free ports of 127.0.0.1, and write into the run's directory. The emulator is a package of target/venv.
"""

import ast
import concurrent.futures
import os
import pathlib
import shutil
import sys
import urllib.request

from emulator import ACCOUNT, Emulator
from processes import StartError, free_port, start, stop, wait_until

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# The emulator accepts the key `test`, and any key of 12 digits, as its administrator's, without checking the signature. So tests of
# credentials may use neither.
ROOT_KEY, ROOT_SECRET = "rootkey", "rootsecret"


class Endpoint:
    """The scripted endpoint."""

    def __init__(self, directory):
        log, port_file = os.path.join(directory, "endpoint.log"), os.path.join(directory, "endpoint.port")
        script = ROOT / "tests/endpoint/endpoint.py"
        self.server = start([sys.executable, str(script), "--port-file", port_file], log)
        try:
            wait_until(lambda: read(port_file).strip().isdigit(), self.server, "the scripted endpoint", log)
        except BaseException:
            self.stop()
            raise
        self.port = int(read(port_file))
        # A copy for COPY FROM PROGRAM, because the server's user may have no access to the checkout.
        self.control = shutil.copy(ROOT / "tests/endpoint/control", directory)
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self):
        stop(self.server)


class EmulatorServer:
    """ministack."""

    def __init__(self, directory, auth):
        program = ROOT / "target/venv/bin/ministack"
        own = os.path.join(directory, "emulator")
        os.mkdir(own, 0o700)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.auth = auth
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment.update(
            GATEWAY_PORT=str(port),
            BIND_HOST="127.0.0.1",
            MINISTACK_ACCOUNT_ID=ACCOUNT,
            MINISTACK_REGION="us-east-1",
            # Otherwise it opens two more listeners, on all interfaces.
            SFTP_ENABLED="0",
            IOT_MTLS_ENABLED="0",
            # Functions run as its child processes. It would also clean up in a Docker daemon.
            LAMBDA_EXECUTOR="local",
            DOCKER_HOST=f"unix://{own}/no-docker.sock",
            # The directories of its pid file, unpacked functions and state.
            TMPDIR=own,
            STATE_DIR=os.path.join(own, "state"),
            S3_DATA_DIR=os.path.join(own, "s3"),
            AUTH="true" if auth else "false",
            AWS_ACCESS_KEY_ID=ROOT_KEY,
            AWS_SECRET_ACCESS_KEY=ROOT_SECRET,
        )
        log = os.path.join(directory, "emulator.log")
        self.server = start([str(program)], log, env=environment)
        try:
            wait_until(self.is_ready, self.server, "the Lambda emulator", log)
            self.client = Emulator(self.url, ROOT_KEY, ROOT_SECRET)
            self.client.create_execution_role()
        except BaseException:
            self.stop()
            raise

    def is_ready(self):
        # No proxy: http_proxy is for other hosts than this one.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            return opener.open(self.url + "/_ministack/health", timeout=5).status == 200
        except OSError:
            return False

    def create_functions(self, directory):
        """Makes a function of every NAME.py in the directory, and invokes each once.

        The first invocation starts a process, which takes seconds on a busy machine: longer than a request's time-out.
        """
        sources = sorted(pathlib.Path(directory).glob("*.py"))
        if not sources:
            raise StartError(f"no NAME.py in {directory}")
        for source in sources:
            text = source.read_text()
            description = (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]
            self.client.create_function(source.stem, text, wait=False, description=description)
        for source in sources:
            self.client.wait_active(source.stem)
        with concurrent.futures.ThreadPoolExecutor(len(sources)) as threads:
            # Some of them fail with this payload, and are started all the same.
            list(threads.map(lambda source: self.client.invoke(source.stem, {}), sources))

    def stop(self):
        stop(self.server)


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except FileNotFoundError:
        return ""
