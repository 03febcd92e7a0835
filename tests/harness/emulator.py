"""What the harness and the end-to-end tests set up in the local AWS emulator, through botocore.

Does not start the emulator (servers.py does).
"""

import functools
import io
import json
import time
import zipfile

import botocore.session
from botocore.config import Config

ACCOUNT = "123456789012"
# The role that every function runs as. With AUTH=true it has to exist, see create_execution_role.
EXECUTION_ROLE = "lambda"


class Emulator:
    """One caller of the emulator: an endpoint, a region and a set of credentials."""

    def __init__(self, url, access_key="demo", secret_key="demo", token=None, region="us-east-1"):
        self.url, self.region = url, region
        self.access_key, self.secret_key, self.token = access_key, secret_key, token

    def as_user(self, access_key, secret_key, token=None):
        """The same emulator, called with other credentials."""
        return Emulator(self.url, access_key, secret_key, token, self.region)

    @functools.cache
    def client(self, service):
        return botocore.session.Session().create_client(
            service,
            region_name=self.region,
            endpoint_url=self.url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            aws_session_token=self.token,
            # No proxy: http_proxy is for other hosts than this one.
            config=Config(retries={"total_max_attempts": 1}, read_timeout=120, proxies={}),
        )

    def create_function(self, name, source, timeout=30, environment=None, wait=True, description=""):
        """Creates a Python function from the text of its module, which has `def handler(event, context)`.

        Returns the function's ARN, normally once the function is Active and can be called.
        """
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as z:
            z.writestr("app.py", source)
        created = self.client("lambda").create_function(
            FunctionName=name,
            # Only a name: the emulator runs every python* runtime on the Python that it runs on itself.
            Runtime="python3.11",
            Handler="app.handler",
            Role=f"arn:aws:iam::{ACCOUNT}:role/{EXECUTION_ROLE}",
            Timeout=timeout,
            Description=description,
            Environment={"Variables": environment or {}},
            Code={"ZipFile": archive.getvalue()},
        )
        if wait:
            self.wait_active(name)
        return created["FunctionArn"]

    def wait_active(self, name, seconds=120):
        """Waits until a new or updated function can be called. The emulator takes half a second, as AWS does."""
        deadline = time.monotonic() + seconds
        while True:
            config = self.client("lambda").get_function_configuration(FunctionName=name)
            if config["State"] == "Active" and config["LastUpdateStatus"] == "Successful":
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"function {name} is {config['State']} after {seconds} s")
            time.sleep(0.05)

    def invoke(self, name, payload):
        """Invokes a function synchronously; returns its answer. For checking the emulator, not the wrapper."""
        return json.load(self.client("lambda").invoke(FunctionName=name, Payload=json.dumps(payload))["Payload"])

    def create_user_with_key(self, name):
        """Creates an IAM user, who may do nothing yet; returns (access key id, secret access key)."""
        self.client("iam").create_user(UserName=name)
        key = self.client("iam").create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def put_user_policy(self, user, actions, resources, policy="inline"):
        """Allows a user the actions (`lambda:InvokeFunction`) on the resources (ARNs); replaces that policy."""
        self.client("iam").put_user_policy(UserName=user, PolicyName=policy, PolicyDocument=allow(actions, resources))

    def create_role(self, name, actions, resources):
        """Creates a role that allows the actions; returns its ARN. Assuming it takes sts:AssumeRole on that ARN."""
        arn = self._create_role(name, {"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
        self.client("iam").put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=allow(actions, resources))
        return arn

    def create_execution_role(self):
        """Creates the role that functions run as. The harness does it once when it starts the emulator."""
        self._create_role(EXECUTION_ROLE, {"Service": "lambda.amazonaws.com"})

    def _create_role(self, name, principal):
        trust = document({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"})
        return self.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]

    def assume_role(self, role_arn, session="test"):
        """Returns a caller with the role's temporary credentials (their .access_key, .secret_key and .token)."""
        c = self.client("sts").assume_role(RoleArn=role_arn, RoleSessionName=session)["Credentials"]
        return self.as_user(c["AccessKeyId"], c["SecretAccessKey"], c["SessionToken"])


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def allow(actions, resources):
    return document({"Effect": "Allow", "Action": actions, "Resource": resources})
