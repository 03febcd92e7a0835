"""A small client for the local AWS emulator: what the harness and the end-to-end tests set up in it.

It signs with Signature Version 4, because with AUTH=true the emulator checks every signature, and makes the
Lambda, IAM and STS requests listed below. It does not start the emulator (servers.py does), does not retry, and
has no paging: it is for a throwaway emulator that holds what one test run put there.
"""

import base64
import datetime
import hashlib
import hmac
import http.client
import io
import json
import time
import urllib.parse
import xml.etree.ElementTree as ET
import zipfile

ACCOUNT = "123456789012"
# The role that every function runs as. With AUTH=true it has to exist, see create_execution_role.
EXECUTION_ROLE = "lambda"


class EmulatorError(Exception):
    """A request that the emulator refused, with AWS's error code (`AccessDeniedException`, ...)."""

    def __init__(self, status, code, message):
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code = status, code


class Emulator:
    """One caller of the emulator: an endpoint, a region and a set of credentials."""

    def __init__(self, url, access_key="demo", secret_key="demo", token=None, region="us-east-1"):
        self.host = urllib.parse.urlsplit(url).netloc
        self.url, self.region = url, region
        self.access_key, self.secret_key, self.token = access_key, secret_key, token

    def as_user(self, access_key, secret_key, token=None):
        """The same emulator, called with other credentials."""
        return Emulator(self.url, access_key, secret_key, token, self.region)

    # --- Lambda -----------------------------------------------------------------------------------------------

    def create_function(self, name, source, timeout=30, environment=None, wait=True):
        """Creates a Python function from the text of its module, which has `def handler(event, context)`.

        Returns the function's ARN, normally once the function is Active and can be called.
        """
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as z:
            z.writestr("app.py", source)
        function = {
            "FunctionName": name,
            # Only a name: the emulator runs every python* runtime on the Python that it runs on itself.
            "Runtime": "python3.11",
            "Handler": "app.handler",
            "Role": f"arn:aws:iam::{ACCOUNT}:role/{EXECUTION_ROLE}",
            "Timeout": timeout,
            "Environment": {"Variables": environment or {}},
            "Code": {"ZipFile": base64.b64encode(archive.getvalue()).decode()},
        }
        arn = self._lambda("POST", "/2015-03-31/functions", function)["FunctionArn"]
        if wait:
            self.wait_active(name)
        return arn

    def wait_active(self, name, seconds=120):
        """Waits until a new or updated function can be called. The emulator takes half a second, as AWS does."""
        deadline = time.monotonic() + seconds
        while True:
            config = self._lambda("GET", f"/2015-03-31/functions/{name}/configuration")
            if config["State"] == "Active" and config["LastUpdateStatus"] == "Successful":
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"function {name} is {config['State']} after {seconds} s")
            time.sleep(0.05)

    def delete_function(self, name):
        self._lambda("DELETE", f"/2015-03-31/functions/{name}")

    def publish_version(self, name):
        """Publishes what $LATEST is now; returns the new version's number, as text."""
        return self._lambda("POST", f"/2015-03-31/functions/{name}/versions", {})["Version"]

    def create_alias(self, name, alias, version):
        """Points an alias at a version; returns the alias's ARN."""
        body = {"Name": alias, "FunctionVersion": version}
        return self._lambda("POST", f"/2015-03-31/functions/{name}/aliases", body)["AliasArn"]

    def put_concurrency(self, name, limit):
        """Reserves concurrency. With 0 every invocation is throttled (429)."""
        body = {"ReservedConcurrentExecutions": limit}
        self._lambda("PUT", f"/2017-10-31/functions/{name}/concurrency", body)

    def invoke(self, name, payload=None, qualifier=None):
        """Invokes a function synchronously; returns its JSON answer. For checking the emulator, not the wrapper."""
        path = f"/2015-03-31/functions/{name}/invocations"
        return self._lambda("POST", path, payload, {"Qualifier": qualifier} if qualifier else {})

    def _lambda(self, method, path, body=None, query=None):
        data = b"" if body is None else json.dumps(body).encode()
        answer = self.request("lambda", method, path, data, query, "application/json")
        return json.loads(answer) if answer else None

    # --- IAM and STS ------------------------------------------------------------------------------------------

    def create_user_with_key(self, name):
        """Creates an IAM user, who may do nothing yet; returns (access key id, secret access key)."""
        self._query("iam", "CreateUser", UserName=name)
        key = self._query("iam", "CreateAccessKey", UserName=name)
        return key["AccessKeyId"], key["SecretAccessKey"]

    def put_user_policy(self, user, actions, resources, policy="inline"):
        """Allows a user the actions (`lambda:InvokeFunction`) on the resources (ARNs); replaces that policy."""
        self._query("iam", "PutUserPolicy", UserName=user, PolicyName=policy, PolicyDocument=allow(actions, resources))

    def create_role(self, name, actions, resources):
        """Creates a role that allows the actions; returns its ARN. Assuming it takes sts:AssumeRole on that ARN."""
        policy = allow(actions, resources)
        arn = self._create_role(name, {"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
        self._query("iam", "PutRolePolicy", RoleName=name, PolicyName="inline", PolicyDocument=policy)
        return arn

    def create_execution_role(self):
        """Creates the role that functions run as. The harness does it once when it starts the emulator."""
        self._create_role(EXECUTION_ROLE, {"Service": "lambda.amazonaws.com"})

    def _create_role(self, name, principal):
        trust = document({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"})
        return self._query("iam", "CreateRole", RoleName=name, AssumeRolePolicyDocument=trust)["Arn"]

    def assume_role(self, role_arn, session="test"):
        """Returns a caller with the role's temporary credentials (their .access_key, .secret_key and .token)."""
        c = self._query("sts", "AssumeRole", RoleArn=role_arn, RoleSessionName=session)
        return self.as_user(c["AccessKeyId"], c["SecretAccessKey"], c["SessionToken"])

    def _query(self, service, action, **parameters):
        """A request of the Query protocol; returns every leaf element of the answer by its name."""
        version = {"iam": "2010-05-08", "sts": "2011-06-15"}[service]
        body = urllib.parse.urlencode({"Action": action, "Version": version, **parameters}).encode()
        answer = self.request(service, "POST", "/", body, None, "application/x-www-form-urlencoded")
        return {e.tag.split("}")[-1]: e.text for e in ET.fromstring(answer).iter() if len(e) == 0}

    # --- HTTP and signing -------------------------------------------------------------------------------------

    def request(self, service, method, path, body=b"", query=None, content_type="application/json"):
        """Sends one signed request; returns the body of a 2xx answer and raises EmulatorError for any other."""
        query_string = urllib.parse.urlencode(sorted((query or {}).items()), quote_via=urllib.parse.quote)
        headers = self._sign(service, method, path, query_string, body, {"content-type": content_type})
        connection = http.client.HTTPConnection(self.host, timeout=120)
        try:
            connection.request(method, path + ("?" + query_string if query_string else ""), body, headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status >= 300:
            raise EmulatorError(response.status, *error_of(answer, response.headers))
        return answer

    def _sign(self, service, method, path, query_string, body, headers):
        now = datetime.datetime.now(datetime.timezone.utc)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        headers = {**headers, "host": self.host, "x-amz-date": stamp}
        if self.token:
            headers["x-amz-security-token"] = self.token
        names = ";".join(sorted(headers))
        canonical = "\n".join(
            [method, urllib.parse.quote(path), query_string]
            + [f"{name}:{headers[name]}" for name in sorted(headers)]
            + ["", names, hashlib.sha256(body).hexdigest()]
        )
        scope = f"{day}/{self.region}/{service}/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = ("AWS4" + self.secret_key).encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return headers


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def allow(actions, resources):
    return document({"Effect": "Allow", "Action": actions, "Resource": resources})


def error_of(body, headers):
    """AWS's error code and message out of a refusal, JSON (Lambda) or XML (IAM, STS)."""
    try:
        error = json.loads(body)
        code = headers.get("x-amzn-errortype") or error.get("__type") or "Unknown"
        return code.split(":")[0].split("#")[-1], error.get("message") or error.get("Message") or ""
    except ValueError:
        pass
    try:
        error = {e.tag.split("}")[-1]: e.text for e in ET.fromstring(body).iter()}
        return error.get("Code", "Unknown"), error.get("Message", "")
    except ET.ParseError:
        return "Unknown", body.decode(errors="replace")
