"""Messages name the URL that was called, and the option, setting or variable that it comes from."""

import contextlib
import pathlib
import shutil
import tempfile

import pytest

import scripted
from listeners import listener
from own_server import connect, own_server
from tables import failure

# A port without a listener.
NOWHERE = "http://127.0.0.1:1"
SERVICES = f"""[default]
services = mine
endpoint_url = http://127.0.0.1:2
[services mine]
lambda =
  endpoint_url = {NOWHERE}
"""


@pytest.fixture(scope="module")
def config():
    """The AWS configuration file, which a test writes."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="aws_lambda_fdw.", dir="/tmp"))
    directory.chmod(0o755)
    yield directory / "config"
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def server(config):
    """Without an endpoint, requests go to AWS's. A proxy refuses them."""
    with listener() as (port, _):
        pass
    with own_server(where=["aws_lambda.region = 'us-west-2'"], AWS_CONFIG_FILE=str(config), HTTPS_PROXY=f"127.0.0.1:{port}") as server:
        yield server


def detail(server, statement=None):
    with contextlib.closing(connect(server)) as session:
        session.execute("ALTER SERVER aws_lambda OPTIONS (ADD max_retries '0')")
        try:
            if statement:
                session.execute(statement)
            error = failure(scripted.invoke, session, "f")
        finally:
            session.execute("DROP EXTENSION aws_lambda CASCADE")
        return error.diag.message_detail


def test_option_and_setting(server):
    option = f"ALTER SERVER aws_lambda OPTIONS (ADD endpoint_url '{NOWHERE}')"
    assert f"Connecting to {NOWHERE} (the server option endpoint_url): " in detail(server, option)
    setting = f"SET aws_lambda.endpoint_override = '{NOWHERE}'"
    assert f"Connecting to {NOWHERE} (aws_lambda.endpoint_override): " in detail(server, setting)


@pytest.mark.parametrize(
    "written, place",
    [
        ("", "https://lambda.us-west-2.amazonaws.com (AWS's own for us-west-2) through the proxy http://127.0.0.1:"),
        (f"[default]\nendpoint_url = {NOWHERE}\n", f"{NOWHERE} (endpoint_url of the AWS profile): "),
        (SERVICES, f"{NOWHERE} (services of the AWS profile): "),
        (SERVICES.replace("services =", "ignore_configured_endpoint_urls = true\nservices ="), "AWS's own for us-west-2"),
    ],
    ids=["AWS's own", "profile", "services", "ignored"],
)
def test_profile(server, config, written, place):
    config.write_text(written)
    config.chmod(0o644)
    assert f"{place}" in detail(server)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_LAMBDA"])
def test_environment(name):
    """The variable of the service comes first."""
    others = {"AWS_ENDPOINT_URL": "http://127.0.0.1:2"} if name.endswith("LAMBDA") else {}
    with own_server(where=["aws_lambda.region = 'us-west-2'"], **others, **{name: NOWHERE}) as server:
        assert f"Connecting to {NOWHERE} ({name} of the server process): " in detail(server)


def test_password_in_a_variable():
    """A password in a URL is not shown."""
    url = NOWHERE.replace("://", "://reporting:s3cr3t@")
    with own_server(where=["aws_lambda.region = 'us-west-2'"], AWS_ENDPOINT_URL=url) as server:
        assert f"Connecting to {NOWHERE} (AWS_ENDPOINT_URL of the server process): " in detail(server)
        assert "s3cr3t" not in pathlib.Path(server.log).read_text()


def test_wrong_path(server):
    """Another service answers, and the message names the URL."""
    setting = f"SET aws_lambda.endpoint_override = '{scripted.URL}/wrong'"
    said = detail(server, setting)
    assert "HTTP status 404" in said
    assert f"{scripted.URL}/wrong/2015-03-31/functions/f/invocations (aws_lambda.endpoint_override)" in said
