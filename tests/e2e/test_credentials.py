"""The sources of credentials and regions of a server process, and the message about each that has none."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import threading
import time

import psycopg
import pytest
from psycopg import sql

import scripted
import tables
from own_server import WHERE, connect, open_directory, own_server
from scripted import OTHER_KEYS, invoke
from tables import failure

# Debian starts a server with the environment of its own configuration, and nothing else.
EMPTY = {"HOME": None, "AWS_CONFIG_FILE": None, "AWS_SHARED_CREDENTIALS_FILE": None}
STATIC = "aws_access_key_id = {access_key_id}\naws_secret_access_key = {secret_access_key}\n".format(**OTHER_KEYS)
ROLE = "arn:aws:iam::123456789012:role/invoker"


def write(home, **files):
    """Writes files of ~/.aws."""
    (home / ".aws").mkdir(exist_ok=True)
    for name, text in files.items():
        path = home / ".aws" / name
        path.unlink(missing_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(0o644)


@pytest.fixture(scope="module")
def home():
    """The home of the server's user, according to the password database, without HOME."""
    with open_directory() as home:
        yield home


@pytest.fixture(scope="module")
def server(home):
    where = [*WHERE[:1], "aws_lambda.request_timeout_ms = 10000"]
    with own_server(keys={}, where=where, home=home, AWS_ENDPOINT_URL_STS=scripted.URL, **EMPTY) as server:
        yield server


@pytest.fixture
def at_home(server, home, endpoint):
    """A new session, which has not looked for credentials yet, and the files of ~/.aws."""
    with contextlib.ExitStack() as sessions:

        def log_in(region="us-west-2", **files):
            write(home, **{"config": "", "credentials": "", **files})
            session = sessions.enter_context(contextlib.closing(connect(server)))
            session.execute(sql.SQL("SET aws_lambda.region = {}").format(region))
            return session

        yield log_in


def of_profile(session, profile):
    """Invokes `describe` through a server that names the profile."""
    with session.transaction(force_rollback=True):
        tables.create_server(session, "of_profile", profile=profile)
        return json.loads(tables.invoke(session, "of_profile", "describe"))


def test_home_of_the_password_database(at_home):
    """Region and keys, of the default profile and of one that an option names."""
    session = at_home("", config="[default]\nregion = eu-west-1\n[profile other]\nregion = eu-west-3\n", credentials=f"[default]\n{STATIC}[other]\n{STATIC}")
    seen = invoke(session, "describe")
    assert (seen["region"], seen["access_key"]) == ("eu-west-1", "AKIDOTHER")
    seen = of_profile(session, "other")
    assert (seen["region"], seen["access_key"]) == ("eu-west-3", "AKIDOTHER")


def test_home_is_meant_by_a_tilde(start, home, endpoint):
    write(home, elsewhere=f"[default]\nregion = eu-west-1\n{STATIC}")
    environment = {**EMPTY, "AWS_CONFIG_FILE": "~/.aws/elsewhere", "HOME": ""}
    with contextlib.closing(connect(start(keys={}, where=WHERE[:1], home=home, **environment))) as session:
        assert invoke(session, "describe")["access_key"] == "AKIDOTHER"


@pytest.mark.parametrize("how", ["default", "named"])
def test_role_of_a_profile(at_home, endpoint, how):
    """The role is assumed in the profile's region, with the keys of another profile."""
    name = "default" if how == "default" else "profile named"
    role = f"[{name}]\nregion = eu-west-1\nrole_arn = {ROLE}\nsource_profile = base\n[profile base]\n{STATIC}"
    session = at_home("", config=role)
    seen = invoke(session, "describe") if how == "default" else of_profile(session, "named")
    assert (seen["region"], seen["access_key"]) == ("eu-west-1", "ASIAEXAMPLE")
    assert endpoint.counter("assume_role") == 1


def test_process_of_a_profile(at_home, home):
    process = home / "credentials"
    process.write_text(
        '#!/bin/sh\necho \'{"Version": 1, "AccessKeyId": "AKIDOTHER", "SecretAccessKey": "othersecret"}\'\n'
    )
    process.chmod(0o755)
    session = at_home(config=f"[default]\ncredential_process = {process}\n")
    assert invoke(session, "describe")["access_key"] == "AKIDOTHER"


def stat(pid):
    """A process's state and its parent, None where there is no such process."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None


def is_running(pid):
    """Whether a process runs. A zombie of init does not count."""
    return (stat(pid) or "Z")[0] != "Z"


def has_children(pid):
    """Whether a process has children, zombies included."""
    return any((stat(path.name) or [None, None])[1] == str(pid) for path in pathlib.Path("/proc").glob("[0-9]*"))


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# The ways in which the wait for the process ends early.
ENDS = {"time-out": None, "cancel": "pg_cancel_backend", "termination": "pg_terminate_backend"}
# The process of a profile, of a role's source profile, and of a role that is its own source profile.
WHOSE = {
    "profile": "[default]\ncredential_process = {0}\n",
    "source": f"[default]\nrole_arn = {ROLE}\nsource_profile = b\n[profile b]\ncredential_process = {{0}}\n",
    "own source": f"[default]\nrole_arn = {ROLE}\nsource_profile = default\ncredential_process = {{0}}\n",
}


@pytest.mark.parametrize("how, whose", [*((how, "profile") for how in ENDS), ("time-out", "source"), ("cancel", "own source")])
def test_process_that_hangs(at_home, home, server, how, whose):
    """The process and its children end with the wait, and leave no zombie. It starts with no signal blocked or ignored."""
    report = home / "report"
    report.unlink(missing_ok=True)
    process = home / "hangs"
    # The first line is its pid and a child's. The others are its blocked and ignored signals.
    process.write_text(f"#!/bin/sh\nsleep 600 &\n{{ echo $$ $!; grep Sig[BI] /proc/self/status; }} > {report}.new\nmv {report}.new {report}\nsleep 600\n")
    process.chmod(0o755)
    home.chmod(0o777)
    session = at_home(config=WHOSE[whose].format(process))
    with contextlib.closing(connect(server)) as other, concurrent.futures.ThreadPoolExecutor() as threads:
        session.execute(f"SET aws_lambda.request_timeout_ms = {500 if how == 'time-out' else 10000}")
        backend = session.info.backend_pid
        waiting = threads.submit(failure, invoke, session, "echo")
        wait_until(report.exists)
        pids, *signals = report.read_text().splitlines()
        own, started = pids.split()
        assert is_running(own) and is_running(started) and has_children(backend)
        # The C library reserves 32 and 33. They are inherited.
        assert [int(mask.split()[1], 16) & ~(0b11 << 31) for mask in signals] == [0, 0]
        if ENDS[how]:
            other.execute(f"SELECT {ENDS[how]}(%s)", [backend])
        waiting.result()
        wait_until(lambda: not (is_running(own) or is_running(started) or has_children(backend)))
    if how != "termination":
        session.execute("SELECT 1")


def test_no_credentials_anywhere(at_home, home):
    """DETAIL names each source in order, with the reason why it has none."""
    session = at_home()
    (home / ".aws/config").unlink()
    (home / ".aws/credentials").unlink()
    detail = failure(invoke, session, "echo").diag.message_detail
    assert detail.endswith(
        "Environment variables: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set."
        f" Shared config file {home}/.aws/config: no such file."
        f" Shared credentials file {home}/.aws/credentials: no such file."
        " Web identity token: AWS_WEB_IDENTITY_TOKEN_FILE is not set."
        " Container credentials: neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set."
        ' Instance metadata: disabled by AWS_EC2_METADATA_DISABLED. Function "echo".'
    ), detail
    assert "returned 'No usable credentials'" in detail and scripted.counter("connections") == 0


SSO = "sso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\n[sso-session s]\nsso_region = us-east-1\nsso_start_url = https://example.com\n"
# A useless configuration file, and the message about it.
PROFILES = {
    "no profile": ("[profile else]\nregion = us-east-1\n", r"config: no profile \[default\]\."),
    "no credentials": ("[default]\nregion = us-east-1\n", r"Profile \[default\] has no credentials\."),
    "half a pair": ("[default]\naws_access_key_id = A\n", r"Profile \[default\] has aws_access_key_id and no aws_secret_access_key\."),
    "the other half": ("[default]\naws_secret_access_key = A\n", r"\[default\] has aws_secret_access_key and no aws_access_key_id\."),
    "a token alone": ("[default]\naws_session_token = A\n", r"\[default\] has neither aws_access_key_id nor aws_secret_access_key\."),
    "a line without =": ("[default]\nregion us-east-1\n", r"config: malformed on line 2: "),
    "no UTF-8": (b"[default]\n\xff = 1\n", r"config: not UTF-8\."),
    "a missing source": ("[default]\nrole_arn = r\nsource_profile = gone\n", r"\[default\] has the source_profile \[gone\], which is in neither"),
    "no source": ("[default]\nrole_arn = r\n", r"\[default\] has a role_arn, and neither source_profile nor credential_source"),
    "two sources": ("[default]\nrole_arn = r\nsource_profile = a\ncredential_source = Environment\n", r"has both source_profile and credential_source"),
    "an unknown source": ("[default]\nrole_arn = r\ncredential_source = Nothing\n", r"a credential_source that is none of Environment, "),
    "a circle": (
        "[default]\nrole_arn = r\nsource_profile = b\n[profile b]\nrole_arn = r\nsource_profile = default\n",
        r"\[default\] has a source_profile that leads back to it: \[default\], \[b\], \[default\]",
    ),
    "a source without keys": ("[default]\nrole_arn = r\nsource_profile = b\n[profile b]\nregion = x\n", r"Profile \[b\] has no credentials\."),
    "a source of half a pair": ("[default]\nrole_arn = r\nsource_profile = b\n[profile b]\naws_access_key_id = A\n", r"Profile \[b\] has aws_access_key_id and no"),
    "a token file without a role": ("[default]\nweb_identity_token_file = /t\n", r"\[default\] has a web_identity_token_file and no role_arn\."),
    "no token file": (f"[default]\nweb_identity_token_file = /no/t\nrole_arn = {ROLE}\n", r"Profile \[default\]: No such file"),
    "SSO": (f"[default]\n{SSO}", r"\[default\] logs in with SSO, which a server does not: nobody is there to log in\."),
    "aws login": ("[default]\nlogin_session = arn:aws:iam::123456789012:user/a\n", r"\[default\] logs in with aws login, "),
    "SSO of a source": (f"[default]\nrole_arn = r\nsource_profile = b\n[profile b]\n{SSO}", r"Profile \[b\] logs in with SSO"),
    "a process that fails": ("[default]\ncredential_process = exit 3\n", r"Profile \[default\]: credential_process exited with 3\."),
    "a process that says nothing": ("[default]\ncredential_process = true\n", r"Profile \[default\]: credential_process could not parse"),
    "a refused role": (
        f"[default]\nrole_arn = {ROLE}/denied\nsource_profile = b\n[profile b]\n{STATIC}",
        r"Profile \[default\]: AssumeRole returned 'AccessDenied: User: ",
    ),
}  # fmt: skip


@contextlib.contextmanager
def fifo(path):
    """A FIFO without a writer. After some seconds a timer opens it for a reader that waits, and `waited` is set."""
    waited = threading.Event()

    def close_fifo():
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            waited.set()

    os.mkfifo(path)
    os.chmod(path, 0o666)
    timer = threading.Timer(5, close_fifo)
    timer.start()
    try:
        yield waited
    finally:
        timer.cancel()
        os.unlink(path)


def test_shared_file_without_an_end(at_home, home):
    """A backend that reads from a FIFO can't be cancelled."""
    session = at_home()
    (home / ".aws/config").unlink()
    with fifo(home / ".aws/config") as waited:
        assert f"Shared config file {home}/.aws/config: is no file." in failure(invoke, session, "echo").diag.message_detail
        assert not waited.is_set()


TOKENS = {
    "web identity": {"AWS_WEB_IDENTITY_TOKEN_FILE": "{}", "AWS_ROLE_ARN": ROLE},
    "container": {
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "{}",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/",
    },
}


@pytest.mark.parametrize("variables", TOKENS.values(), ids=TOKENS)
def test_token_without_an_end(start, home, endpoint, variables):
    """A token file that is a FIFO is not read, with keys or without. Nor is a profile's."""
    token = home / "token"
    variables = {name: value.format(token) for name, value in variables.items()}
    with fifo(token) as waited:
        with contextlib.closing(connect(start(**variables))) as session:
            assert invoke(session, "echo") == {}
        with contextlib.closing(connect(start(keys={}, **variables))) as session:
            assert f"{token}: is no file." in failure(invoke, session, "echo").diag.message_detail
        assert not waited.is_set()


def test_token_of_a_profile_without_an_end(at_home, home):
    role = f"role_arn = {ROLE}\n"
    source = f"[default]\n{role}source_profile = b\n[profile b]\n{role}web_identity_token_file = {home}/token\n"
    session = at_home(config=source)
    with fifo(home / "token") as waited:
        assert f"{home}/token: is no file." in failure(invoke, session, "echo").diag.message_detail
        assert not waited.is_set()


@pytest.mark.parametrize("config, said", PROFILES.values(), ids=PROFILES)
def test_useless_profile(at_home, config, said):
    session = at_home(config=config)
    for _ in range(2):
        error = failure(invoke, session, "echo")
        detail = error.diag.message_detail
        assert error.sqlstate == "28000" and re.search(said, detail), detail
        # No words of a Rust crate.
        assert not re.search(r"cargo|feature|`|ProfileFile|Ec2InstanceMetadata:|provider", detail), detail
    assert scripted.counter("invocations") == 0
    hint = error.diag.message_hint
    assert ("aws configure export-credentials --profile" in hint) == ("logs in with" in detail)
    assert "CREATE USER MAPPING FOR postgres SERVER aws_lambda OPTIONS (access_key_id '...', " in hint


@pytest.mark.parametrize("config, said", PROFILES.values(), ids=PROFILES)
def test_the_same_of_a_profile_that_is_named(at_home, config, said):
    """The other sources are not tried then."""
    if isinstance(config, str):
        config = config.replace("[default]", "[profile x]").replace("= default", "= x")
    session = at_home(config=config)
    tables.create_server(session, "named", profile="x", sts_endpoint_url=scripted.URL)
    try:
        detail = failure(tables.invoke, session, "named", "echo").diag.message_detail
        assert re.search(said.replace("[default", "[x").replace(r"\[default", r"\[x"), detail), detail
        assert "Environment variables" not in detail and "Instance metadata" not in detail
    finally:
        session.execute("DROP SERVER named CASCADE")


def test_file_that_may_not_be_read(at_home, home):
    session = at_home(config="[default]\nregion = us-east-1\n")
    (home / ".aws/credentials").chmod(0)
    detail = failure(invoke, session, "echo").diag.message_detail
    assert f"Shared credentials file {home}/.aws/credentials: permission denied." in detail


def test_corrected_profile_counts_from_the_next_statement(at_home, home):
    session = at_home(config="[default]\naws_access_key_id = AKIDOTHER\n")
    assert failure(invoke, session, "describe").sqlstate == "28000"
    write(home, credentials=f"[default]\n{STATIC}")
    assert invoke(session, "describe")["access_key"] == "AKIDOTHER"


REGIONS = {
    "no files": (None, "Shared config file .*/config: no such file. Shared credentials file .*/credentials: no such file."),
    "no profile": ("[profile else]\nregion = eu-west-1\n", r"config: no profile \[default\]\."),
    "none in it": (f"[default]\n{STATIC}", r"Profile \[default\] has no region\."),
    "malformed": ("[default]\nregion eu-west-1\n", r"config: malformed on line 2"),
}  # fmt: skip


@pytest.mark.parametrize("config, said", REGIONS.values(), ids=REGIONS)
def test_no_region(at_home, home, config, said):
    session = at_home("", config=config or "")
    if config is None:
        (home / ".aws/config").unlink()
        (home / ".aws/credentials").unlink()
    detail = failure(invoke, session, "echo").diag.message_detail
    assert re.search(
        "'No region'. None is given. Environment variables: AWS_REGION and AWS_DEFAULT_REGION are not set. .*" + said
        + ".* Instance metadata: disabled by AWS_EC2_METADATA_DISABLED. Nothing was sent.", detail
    ), detail  # fmt: skip


# A variable, and the message about the source.
VARIABLES = {
    "half a pair": ({"AWS_ACCESS_KEY_ID": "A"}, "AWS_SECRET_ACCESS_KEY is not set, though AWS_ACCESS_KEY_ID is set."),
    "an empty key": (
        {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "s"}, "AWS_ACCESS_KEY_ID is empty, though AWS_SECRET_ACCESS_KEY is set."
    ),
    "an unknown profile": ({"AWS_PROFILE": "gone"}, r"no-aws-config: no such file\..*"),
    "no token file": (
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/no/token", "AWS_ROLE_ARN": ROLE}, "Web identity token: /no/token: no such file."
    ),
    "a token file without a role": (
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/dev/null"}, "Web identity token: AWS_WEB_IDENTITY_TOKEN_FILE is set, and AWS_ROLE_ARN is not."
    ),
    "no container token": (
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/no/token"},
        "Container credentials: /no/token: no such file.",
    ),
    "a container elsewhere": (
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://192.0.2.1/"},
        "what AWS_CONTAINER_CREDENTIALS_FULL_URI names: .*did not refer to an allowed IP address",
    ),
}  # fmt: skip


@pytest.mark.parametrize("environment, said", VARIABLES.values(), ids=VARIABLES)
def test_useless_variable(start, endpoint, environment, said):
    with contextlib.closing(connect(start(keys={}, **environment))) as session:
        detail = failure(invoke, session, "echo").diag.message_detail
    assert re.search(said, detail), detail
    assert endpoint.counter("connections") == 0


# Roles without a mapping


@pytest.fixture(scope="module")
def bare():
    """A server on a machine without credentials."""
    with own_server(keys={}) as server:
        with connect(server) as session:
            session.execute('CREATE ROLE app LOGIN; CREATE ROLE "app; 2" LOGIN; CREATE ROLE owner SUPERUSER LOGIN')
            session.execute("GRANT USAGE ON SCHEMA aws_lambda TO PUBLIC")
            session.execute("GRANT SELECT ON aws_lambda.lambda_invocations TO PUBLIC")
            session.execute("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA aws_lambda TO PUBLIC")
        yield server


def error_of(server, role, query):
    with contextlib.closing(
        psycopg.connect(host=server.socket_dir, port=5432, user=role, dbname="postgres", autocommit=True)
    ) as session:
        return failure(session.execute, query).diag


TABLE = "SELECT response FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '1'"
REMEDY = "Use CREATE USER MAPPING FOR {} SERVER {} OPTIONS (access_key_id '...', secret_access_key '...')"


@pytest.mark.parametrize("role, quoted", [("app", "app"), ("app; 2", '"app; 2"')], ids=["plain", "quoted"])
def test_role_without_a_mapping(bare, endpoint, role, quoted):
    """The message says so, and names the machine's sources that were tried."""
    error = error_of(bare, role, TABLE)
    assert f'Role "{role}" has no user mapping for server "aws_lambda". Environment variables: ' in error.message_detail
    assert error.message_hint.startswith(REMEDY.format(quoted, "aws_lambda") + ", or give the server process ")
    assert error.sqlstate == "28000" and endpoint.counter("connections") == 0


def test_the_statement_of_the_hint_works(bare, endpoint):
    hint = error_of(bare, "app", TABLE).message_hint
    statement = re.search(r"CREATE .*?\)", hint)[0]
    for key in scripted.EXAMPLE_KEYS.values():
        statement = statement.replace("'...'", f"'{key}'", 1)
    with connect(bare) as session:
        session.execute(statement)
        session.execute("SET SESSION AUTHORIZATION app")
        assert session.execute(TABLE).fetchone() == (1,)
        session.execute("RESET SESSION AUTHORIZATION; DROP USER MAPPING FOR app SERVER aws_lambda")


def test_invoke_counts_for_the_owner(bare):
    error = error_of(bare, "app", "SELECT * FROM aws_lambda.invoke('echo'::text, '1'::json)")
    assert 'Role "postgres" has no user mapping for server "aws_lambda".' in error.message_detail
    assert 'so its user mapping counts, and not that of "app".' in error.message_detail
    assert error.message_hint.startswith(REMEDY.format("postgres", "aws_lambda"))


def test_mapping_without_keys(bare):
    with connect(bare) as session:
        session.execute("CREATE USER MAPPING FOR app SERVER aws_lambda")
    try:
        error = error_of(bare, "app", TABLE)
        assert 'The user mapping of role "app" for server "aws_lambda" has no access_key_id and' in error.message_detail
        statement = "ALTER USER MAPPING FOR app SERVER aws_lambda OPTIONS (ADD access_key_id '...', ADD secret_access_key '...')"
        assert statement in error.message_hint
    finally:
        with connect(bare) as session:
            session.execute("DROP USER MAPPING FOR app SERVER aws_lambda; CREATE USER MAPPING FOR PUBLIC SERVER aws_lambda")
    try:
        error = error_of(bare, "app", TABLE)
        assert "but PUBLIC's, which has no access_key_id" in error.message_detail
        assert REMEDY.format("app", "aws_lambda") in error.message_hint
    finally:
        with connect(bare) as session:
            session.execute("DROP USER MAPPING FOR PUBLIC SERVER aws_lambda")


def test_server_that_is_no_superusers(bare):
    """The machine's sources are not tried."""
    with connect(bare) as session:
        tables.create_server(session, "of app")
        session.execute('ALTER SERVER "of app" OWNER TO app; GRANT SELECT ON "of app" TO app')
    error = error_of(bare, "app", "SELECT response FROM \"of app\" WHERE function_name = 'f' AND payload = '1'")
    assert error.message_detail.startswith('Role "app" has no user mapping for server "of app".')
    assert "are used only through servers owned by a superuser" in error.message_detail
    assert error.message_hint == REMEDY.format("app", '"of app"') + "."
