"""Proxies between the server and Lambda: the requests that use one, those that never do, and those that are not retried.

Only the proxy can resolve the endpoints' names in `.test`. The server's resolver has 127.0.0.1 for those in `.local.test`.
"""

import base64
import contextlib
import pathlib
import time

import pytest
import trustme
from psycopg import sql

import scripted
import tables
from background import running_until
from listeners import listener
from networks import TUNNEL, serve_requests, header, https_endpoint, proxy
from own_server import connect, resolved_names, own_server
from tables import failure, primary

NAME = "lambda.company.test"
PASSWORD = "p@ss/w0rd"
SENT = "Basic " + base64.b64encode(f"reporting:{PASSWORD}".encode()).decode()
KEYS_OF_CONTAINER = b"""{"AccessKeyId": "ASIABOX", "SecretAccessKey": "boxsecret", "Token": "boxtoken", "Expiration": "2999-01-01T00:00:00Z"}"""


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def roots(authority):
    with authority.cert_pem.tempfile(dir="/tmp") as roots:
        pathlib.Path(roots).chmod(0o644)
        yield roots


@pytest.fixture(scope="module")
def lambda_(authority):
    """An endpoint in TLS: port and requests. It closes the connection of a request to the function `lost`."""
    answer = lambda head, body: None if "/lost/" in head else body
    with https_endpoint(authority.issue_cert(NAME, "lambda.local.test"), answer) as found:
        yield found


@pytest.fixture(scope="module")
def machine(roots, lambda_):
    """A server behind two proxies, for https and for http. The first needs a password."""
    with proxy() as https, proxy() as http:
        https.upstream, http.upstream = lambda_[0], int(scripted.URL.rsplit(":")[-1])
        with own_server(
            "aws_lambda.connect_timeout_ms = 2000",
            resolver=True,
            SSL_CERT_FILE=roots,
            HTTPS_PROXY=f"http://reporting:p%40ss%2Fw0rd@127.0.0.1:{https.port}",
            http_proxy=f"127.0.0.1:{http.port}",
            NO_PROXY=f"lambda.local.test:{lambda_[0]}, .direct.local.test",
        ) as server:
            with contextlib.closing(connect(server)) as session:
                tables.create_server(session, "place", endpoint_url="http://127.0.0.1:1", region="us-east-1")
                session.execute("ALTER SERVER place OPTIONS (ADD max_retries '2')")
                session.execute(
                    "CREATE FOREIGN TABLE rows (payload text, response text, error_code text, error_message text)"
                    " SERVER place OPTIONS (function_name 'echo', on_error 'return')"
                )
            server.https, server.http = https, http
            yield server


@pytest.fixture
def session(machine, lambda_):
    """A session there, with tables whose endpoint is set by `at`."""
    machine.https.wait_until_idle()
    machine.http.wait_until_idle()
    machine.https.reset()
    machine.http.reset()
    lambda_[1].clear()
    scripted.reset()
    with contextlib.closing(connect(machine)) as session:
        yield session


def at(session, url, payload="[1]", function="echo"):
    session.execute(sql.SQL("ALTER SERVER place OPTIONS (SET endpoint_url {})").format(url))
    return tables.invoke(session, "place", function, payload)


def diagnostics(error):
    return error.sqlstate, primary(error), error.diag.message_detail


# Requests through a proxy


def test_tunnel(machine, session, lambda_):
    """The proxy sees the host and port only. One tunnel serves sequential requests."""
    for number in range(3):
        assert at(session, f"https://{NAME}:8443", f"[{number}]") == f"[{number}]"
    assert machine.https.targets() == [f"CONNECT {NAME}:8443"] and len(machine.https.heads) == 1
    head = machine.https.heads[0]
    assert header(head, "proxy-authorization") == SENT and header(head, "host") == f"{NAME}:8443"
    assert len(lambda_[1]) == 3 and not any(header(head, "proxy-authorization") for head, _ in lambda_[1])
    assert machine.http.heads == []
    # The proxy looks names up.
    assert NAME not in resolved_names(machine)


def test_tunnel_to_the_usual_port(machine, session, lambda_):
    assert at(session, f"https://{NAME}") == "[1]"
    assert machine.https.targets() == [f"CONNECT {NAME}:443"]


def test_many_at_once(machine, session, lambda_):
    at(session, f"https://{NAME}")
    statement = "SELECT count(DISTINCT response), max(error_message) FROM rows WHERE payload = ANY (%s)"
    payloads = [str(number) for number in range(200)]
    assert session.execute(statement, [payloads]).fetchone() == (200, None)
    assert len(lambda_[1]) == 201 and len(machine.https.heads) < 100


def test_http_request(machine, session):
    """The request has the absolute form of the URL."""
    assert at(session, f"http://{NAME}:4566") == "[1]"
    assert machine.http.targets() == [f"POST http://{NAME}:4566/2015-03-31/functions/echo/invocations"]
    assert header(machine.http.heads[0], "proxy-authorization") is None
    assert scripted.counter("invocations") == 1 and machine.https.heads == []
    assert NAME not in resolved_names(machine)


@pytest.mark.parametrize("url", ["https://lambda.local.test:{}", "http://echo.direct.local.test:{}", "http://127.0.0.1:{}"])
def test_no_proxy(machine, session, lambda_, url):
    """With the rule's port, in a domain, and for loopback addresses, which need no rule."""
    port = lambda_[0] if url.startswith("https") else scripted.URL.rsplit(":")[-1]
    assert at(session, url.format(port)) == "[1]"
    assert machine.https.heads == machine.http.heads == []


def test_rule_of_another_port(machine, session):
    assert at(session, "https://lambda.local.test:8443") == "[1]"
    assert machine.https.targets() == ["CONNECT lambda.local.test:8443"]


def test_certificate_behind_a_proxy(machine, session, lambda_):
    """The endpoint's certificate is verified."""
    sqlstate, primary_message, detail = diagnostics(failure(at, session, "https://another.company.test"))
    assert (sqlstate, primary_message) == ("08001", "invoke API failed")
    assert "certificate" in detail and "not valid for name" in detail
    assert "https://another.company.test (the server option endpoint_url)" in detail
    assert f"through the proxy http://127.0.0.1:{machine.https.port} (HTTPS_PROXY)" in detail
    assert lambda_[1] == [] and len(machine.https.heads) == 1


# Responses of a proxy

REFUSALS = {
    "wrong password": (b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Negotiate\r\nContent-Length: 9\r\n\r\n<p>No</p>", "407 Proxy Authentication Required; it was told the user and password of its URL, and it asks for Negotiate"),
    "not allowed": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "the proxy answered 403 Forbidden."),
    "no tunnels": (b"HTTP/1.1 405 Method Not Allowed\r\n\r\n", "405 Method Not Allowed"),
    "secret sent back": (f"HTTP/1.1 400 I know {PASSWORD} and {SENT}\r\n\r\n".encode(), "400 I know *** and Basic ***"),
    "control characters": (b"HTTP/1.1 403 \t\xe9x\r\n\r\n", "the proxy answered"),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP"),
    "TLS": (b"\x15\x03\x01\x00\x02\x02\x46", "no HTTP"),
    "more than a tunnel": (TUNNEL + b"220 mail", "no HTTP"),
    "no end of headers": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20000, "does not end"),
    "no end of a header": (b"HTTP/1.1 407 No\r\nX: " + b"y" * 100000, "does not end"),
    "no end of answers": (b"HTTP/1.1 100 Continue\r\n\r\n" * 20000, "does not end"),
    "a large page": (b"HTTP/1.1 407 No\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 1000000, "407 No"),
}  # fmt: skip


@pytest.mark.parametrize("answer, said", REFUSALS.values(), ids=REFUSALS)
def test_refusal(machine, session, lambda_, answer, said):
    """A refusal is permanent, so a statement asks once for all its invocations."""
    machine.https.reset(answer)
    error = failure(at, session, f"https://{NAME}")
    sqlstate, primary_message, detail = diagnostics(error)
    assert (sqlstate, primary_message) == ("08001", "invoke API failed") and said in detail
    assert f"https://{NAME} (the server option endpoint_url) through the proxy http://127.0.0.1:{machine.https.port}" in detail
    assert "did not run" in error.diag.message_hint and "HTTPS_PROXY" in error.diag.message_hint
    assert_no_secret(machine, detail)
    assert len(machine.https.heads) == 1
    # Nor does each row ask.
    found = session.execute("SELECT error_code, error_message FROM rows WHERE payload = ANY (%s)", [[str(n) for n in range(64)]])
    rows = found.fetchall()
    assert {code for code, _ in rows} == {"ProxyRefused"} and len(rows) == 64 and said.rstrip(".") in rows[0][1]
    assert len(machine.https.heads) == 2
    # The next statement asks again.
    machine.https.reset()
    assert at(session, f"https://{NAME}", "[5]") == "[5]"
    assert len(lambda_[1]) == 1


def assert_no_secret(machine, *texts):
    log = pathlib.Path(machine.log).read_text(errors="replace")
    for text in (log, *texts):
        assert PASSWORD not in text and "p%40ss" not in text and SENT.split(" ")[1] not in text


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_retryable_proxy_response(machine, session, lambda_, status):
    """The proxy could not reach the endpoint, so the function did not run, and the request is retried."""
    machine.https.reset(f"HTTP/1.1 {status} Later\r\n\r\n".encode())
    error = failure(at, session, f"https://{NAME}")
    assert diagnostics(error)[:2] == ("08001", "invoke API failed") and f"the proxy answered {status} Later" in diagnostics(error)[2]
    assert "did not run" in error.diag.message_hint
    assert len(machine.https.heads) == 3 and lambda_[1] == []


def test_proxy_that_recovers(machine, session, lambda_):
    def once(connection):
        machine.https.answer = None
        connection.sendall(b"HTTP/1.1 503 Later\r\n\r\n")

    machine.https.reset(once)
    assert at(session, f"https://{NAME}") == "[1]"
    assert (len(machine.https.heads), len(lambda_[1])) == (2, 1)


def test_credentials_behind_a_proxy_that_recovers(machine, session):
    """STS can't be reached. The SDK retries by itself, the invocation does not, and the next statement does."""
    role, sts = "arn:aws:iam::123456789012:role/invoker", "https://sts.company.test"
    tables.create_server(session, "assumes", endpoint_url=scripted.URL, role_arn=role, sts_endpoint_url=sts)
    session.execute("SET aws_lambda.request_timeout_ms = 30000")
    for status, asked in [("503 Later", 3), ("403 Forbidden", 1), ("502 Later", 3)]:
        machine.https.reset(f"HTTP/1.1 {status}\r\n\r\n".encode())
        sqlstate, _, detail = diagnostics(failure(tables.invoke, session, "assumes", "echo"))
        assert sqlstate == "08001" and f"Assuming {role}, through the proxy" in detail
        assert f"the proxy answered {status}" in detail and len(machine.https.heads) == asked
    assert scripted.counter("connections") == 0


def test_proxy_closes_the_connection(machine, session, lambda_):
    machine.https.reset(lambda connection: None)
    assert "closed the connection without an answer" in diagnostics(failure(at, session, f"https://{NAME}"))[2]
    assert len(machine.https.heads) == 3 and lambda_[1] == []


def drip(connection):
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def hang(connection):
    connection.recv(1)


def hang_after_the_tunnel(connection):
    connection.sendall(TUNNEL)
    while connection.recv(65536):
        pass


@pytest.mark.parametrize("answer", [drip, hang, hang_after_the_tunnel])
def test_proxy_that_takes_too_long(machine, session, lambda_, answer):
    """connect_timeout_ms bounds TCP, CONNECT and TLS together."""
    machine.https.reset(answer)
    session.execute("SET aws_lambda.connect_timeout_ms = 500; SET aws_lambda.request_timeout_ms = 30000")
    since = time.monotonic()
    error = failure(at, session, f"https://{NAME}")
    assert diagnostics(error)[:2] == ("08004", "invoke API failed") and "through the proxy" in diagnostics(error)[2]
    assert 0.4 < time.monotonic() - since < 10 and len(machine.https.heads) == 1
    assert lambda_[1] == []


def test_cancel_while_the_proxy_thinks(machine, session):
    machine.https.reset(hang)
    session.execute("SET aws_lambda.connect_timeout_ms = 30000; SET aws_lambda.request_timeout_ms = 30000")
    asked = lambda: scripted.wait_until(lambda: machine.https.heads)
    with running_until(session, asked, failure, at, session, f"https://{NAME}") as statement:
        since = time.monotonic()
        session.cancel()
        assert statement.result(timeout=10).sqlstate == "57014"
        assert time.monotonic() - since < 10


def test_request_that_is_lost_behind_the_proxy(machine, session, lambda_):
    """A request through a tunnel may have run, so it is not sent again."""
    error = failure(at, session, f"https://{NAME}", "[1]", "lost")
    assert diagnostics(error)[:2] == ("08006", "invoke API failed") and "through the proxy" in diagnostics(error)[2]
    assert "may have run" in error.diag.message_hint
    assert len(machine.https.heads) == len(lambda_[1]) == 1


def test_refusal_of_an_http_request(machine, session):
    """For http only a 407 is known to be the proxy's response."""
    machine.http.reset(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 3\r\n\r\nNo!")
    error = failure(at, session, f"http://{NAME}")
    sqlstate, primary_message, detail = diagnostics(error)
    assert (sqlstate, primary_message) == ("08001", "invoke API failed")
    assert "407 Proxy Authentication Required; its URL has no user and password, and it asks for Basic" in detail
    assert f"through the proxy http://127.0.0.1:{machine.http.port} (http_proxy)" in detail
    assert "did not run" in error.diag.message_hint and len(machine.http.heads) == 1
    rows = session.execute("SELECT error_code FROM rows WHERE payload = ANY (%s)", [[str(n) for n in range(200)]]).fetchall()
    assert set(rows) == {("ProxyRefused",)} and len(rows) == 200
    # One for each that was in flight, at most.
    assert 1 < len(machine.http.heads) <= 65
    machine.http.reset(b"HTTP/1.1 403 No\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n<p>No</p>")
    sqlstate, _, detail = diagnostics(failure(at, session, f"http://{NAME}"))
    assert sqlstate == "08P01" and f"http://{NAME}/2015-03-31/functions/echo/invocations" in detail
    assert "through the proxy" in detail and len(machine.http.heads) == 1
    machine.http.reset()
    assert at(session, f"http://{NAME}") == "[1]"


def test_endless_informational_responses(machine, session, lambda_):
    """The same bounds apply as without a proxy."""

    def flood(connection):
        head = b"HTTP/1.1 100 Continue\r\n\r\n"
        while True:
            connection.sendall(head * 1000)

    machine.http.reset(flood)
    since = time.monotonic()
    error = failure(at, session, f"http://{NAME}")
    assert error.sqlstate == "08P01" and "1000 heads" in diagnostics(error)[2] and time.monotonic() - since < 3


def test_proxy_refuses_connections(roots):
    """Connections to a proxy are retried."""
    with listener() as (port, _):
        pass
    with own_server(
        SSL_CERT_FILE=roots, ALL_PROXY=f"http://user:s3cr3t@127.0.0.1:{port}"
    ) as server, contextlib.closing(connect(server)) as session:
        tables.create_server(session, "place", endpoint_url=f"https://{NAME}", region="us-east-1", max_retries="1")
        sqlstate, _, detail = diagnostics(failure(tables.invoke, session, "place", "f"))
        assert sqlstate == "08001" and "refused" in detail
        assert f"through the proxy http://127.0.0.1:{port} (ALL_PROXY)" in detail


def test_proxy_that_speaks_tls(authority, roots, lambda_):
    """A proxy that offers HTTP/2, which is not used for tunnels. And an invalid value of HTTP_PROXY."""
    with proxy(authority.issue_cert("proxy.local.test"), ["h2", "http/1.1"]) as company:
        company.upstream = lambda_[0]
        with own_server(
            resolver=True,
            SSL_CERT_FILE=roots,
            https_proxy=f"https://user:s3cr3t@proxy.local.test:{company.port}",
            HTTP_PROXY="http://user:s3cr#et@proxy.local.test:3128",
        ) as server, contextlib.closing(connect(server)) as session:
            tables.create_server(session, "place", endpoint_url=f"https://{NAME}", region="us-east-1")
            session.execute("ALTER SERVER place OPTIONS (ADD request_timeout_ms '5000')")
            assert at(session, f"https://{NAME}") == "[1]"
            assert company.targets() == [f"CONNECT {NAME}:443"]
            company.reset(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            session.execute("ALTER SERVER place OPTIONS (ADD connect_timeout_ms '900')")
            assert "403 Forbidden" in diagnostics(failure(at, session, "https://other.company.test"))[2]
            # The other proxy's URL is invalid. Its value is not shown.
            error = failure(at, session, f"http://{NAME}")
            sqlstate, _, detail = diagnostics(error)
            assert sqlstate == "08001" and "HTTP_PROXY of the server process is no URL" in detail and "%23" in detail
            assert "s3cr" not in detail and "did not run" in error.diag.message_hint
            assert resolved_names(server).count("proxy.local.test") <= 3


def test_wrong_scheme_of_a_proxy(roots):
    """https:// for a proxy without TLS, and an untrusted certificate. Neither gets the password."""

    def speak_http(connection):
        connection.recv(1)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    stranger = trustme.CA().issue_cert("proxy.local.test")
    with listener(speak_http) as (clear, accepted), proxy(stranger) as strange:
        with own_server(
            resolver=True,
            SSL_CERT_FILE=roots,
            HTTPS_PROXY=f"https://user:s3cr3t@proxy.local.test:{clear}",
            HTTP_PROXY=f"https://user:s3cr3t@proxy.local.test:{strange.port}",
        ) as server, contextlib.closing(connect(server)) as session:
            tables.create_server(session, "place", endpoint_url=f"https://{NAME}", region="us-east-1")
            for url, said in [(f"https://{NAME}", "the proxy speaks no TLS"), (f"http://{NAME}", "the proxy's certificate is not")]:
                error = failure(at, session, url)
                assert error.sqlstate == "08001" and said in diagnostics(error)[2] and "did not run" in error.diag.message_hint
            assert (len(accepted), len(strange.accepted), strange.heads) == (1, 1, [])


# Requests that never use a proxy


def test_credentials_never_go_through_a_proxy(roots, lambda_):
    """A container's credentials come from 169.254.170.2 over HTTP."""
    requests = []
    with proxy() as company, listener(lambda connection: serve_requests(connection, requests, lambda *_: KEYS_OF_CONTAINER)) as (
        port,
        _,
    ):
        company.upstream = lambda_[0]
        lambda_[1].clear()
        with own_server(
            keys={},
            resolver=True,
            SSL_CERT_FILE=roots,
            ALL_PROXY=f"http://127.0.0.1:{company.port}",
            LINK_LOCAL_PORT=str(port),
            AWS_CONTAINER_CREDENTIALS_RELATIVE_URI="/v2/credentials/x",
        ) as server, contextlib.closing(connect(server)) as session:
            tables.create_server(session, "place", endpoint_url=f"https://{NAME}", region="us-east-1")
            assert tables.invoke(session, "place", "f", "[1]") == "[1]"
            assert [head.split(" ")[1] for head, _ in requests] == ["/v2/credentials/x"]
            assert "169.254.170.2" in resolved_names(server)
            assert company.targets() == [f"CONNECT {NAME}:443"] and "ASIABOX" in lambda_[1][0][0]


@pytest.mark.parametrize(
    "variables",
    [
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://keys.local.test:{}/keys"},
        {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://meta.local.test:{}"},
        {"AWS_EC2_METADATA_DISABLED": "false"},
    ],
    ids=["container", "metadata elsewhere", "metadata"],
)
def test_other_sources_of_credentials(roots, variables):
    """The source gives no keys, and the proxy is not asked."""
    with proxy() as company, listener(lambda connection: connection.recv(65536)) as (port, accepted):
        with own_server(
            "aws_lambda.request_timeout_ms = 1500",
            keys={},
            resolver=True,
            SSL_CERT_FILE=roots,
            HTTP_PROXY=f"http://127.0.0.1:{company.port}",
            LINK_LOCAL_PORT=str(port),
            **{name: value.format(port) for name, value in variables.items()},
        ) as server, contextlib.closing(connect(server)) as session:
            assert failure(scripted.invoke, session, "echo").sqlstate == "28000"
            assert accepted and company.accepted == []
