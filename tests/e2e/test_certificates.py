"""The trusted authorities: AWS_CA_BUNDLE, ca_bundle of the AWS profile, and the system's."""

import contextlib
import pathlib
import shutil
import tempfile

import pytest
import trustme

import tables
from networks import https_endpoint
from own_server import connect, own_server
from scripted import EXAMPLE_KEYS
from tables import failure, primary

ROLE = "arn:aws:iam::123456789012:role/r"
# STS's response.
ASSUMED = b"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>rolesecret</SecretAccessKey><SessionToken>roletoken</SessionToken>
<Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""
# The credentials of a container.
KEYS_OF_CONTAINER = b"""{"AccessKeyId": "ASIABOX", "SecretAccessKey": "boxsecret", "Token": "boxtoken", "Expiration": "2999-01-01T00:00:00Z"}"""


@pytest.fixture(scope="module")
def authorities():
    """Four of them, by name."""
    return {name: trustme.CA() for name in ("bundle", "profile", "other", "system")}


@pytest.fixture(scope="module")
def directory(authorities):
    """Files that the server's user may read: NAME.pem, and a configuration of AWS's tools."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="aws_lambda_fdw.", dir="/tmp"))
    directory.chmod(0o755)
    for name, authority in authorities.items():
        put(directory / f"{name}.pem", authority.cert_pem.bytes())
    put(
        directory / "config",
        f"[default]\nca_bundle = {directory}/profile.pem\n[profile other]\nca_bundle = {directory}/other.pem\n".encode(),
    )
    yield directory
    shutil.rmtree(directory)


def put(path, content):
    path.write_bytes(content)
    path.chmod(0o644)


@pytest.fixture(scope="module")
def endpoints(authorities):
    """Endpoints with certificates of the four: port and requests."""
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(https_endpoint(authority.issue_cert("localhost"), answer))
            for name, authority in authorities.items()
        }


def answer(head, body):
    """Lambda's, STS's and a container's."""
    if head.startswith("GET /keys"):
        return KEYS_OF_CONTAINER
    return ASSUMED if b"AssumeRole" in body else body


def create(session, name, port, **options):
    tables.create_server(session, name, endpoint_url=f"https://localhost:{port}", region="us-east-1", **options)


def trusted(session, endpoints, server=None, **options):
    """The endpoints that are trusted with these server options."""
    found = set()
    for name, (port, requests) in endpoints.items():
        create(session, name, port, **options)
        before = len(requests)
        try:
            assert tables.invoke(session, name, "f", "[1]") == "[1]"
            found.add(name)
        except Exception as error:
            assert (error.sqlstate, primary(error)) == ("08001", "invoke API failed")
            assert "certificate" in error.diag.message_detail and "did not run" in error.diag.message_hint
            assert len(requests) == before
        tables.execute(session, "DROP SERVER {} CASCADE", name)
    return found


def test_bundle(directory, endpoints):
    """It comes before the profile's, and replaces the system's, as in AWS's tools. It applies to sources of credentials too."""
    box, requests = endpoints["bundle"]
    with own_server(
        keys={},
        AWS_CA_BUNDLE=f"{directory}/bundle.pem",
        AWS_CONFIG_FILE=f"{directory}/config",
        SSL_CERT_FILE=f"{directory}/system.pem",
        AWS_CONTAINER_CREDENTIALS_FULL_URI=f"https://localhost:{box}/keys",
    ) as server, contextlib.closing(connect(server)) as session:
        assert trusted(session, endpoints) == {"bundle"}
        assert any(head.startswith("GET /keys") for head, _ in requests)
        assert any("ASIABOX" in head for head, _ in requests)
        requests.clear()
        create(session, "role", box, role_arn=ROLE, sts_endpoint_url=f"https://localhost:{box}")
        assert tables.invoke(session, "role", "f", "[1]") == "[1]"
        assert any(b"AssumeRole" in body for _, body in requests) and "ASIAROLE" in requests[-1][0]
        # An authority of STS's that is not trusted.
        create(session, "elsewhere", box, role_arn=ROLE, sts_endpoint_url=f"https://localhost:{endpoints['system'][0]}")
        assert "ertificate" in failure(tables.invoke, session, "elsewhere", "f").diag.message_detail


def test_profile(directory, endpoints):
    """The profile in use counts, for the servers of other owners too: a role can't choose trusted authorities."""
    with own_server(
        AWS_CONFIG_FILE=f"{directory}/config", SSL_CERT_FILE=f"{directory}/system.pem"
    ) as server, contextlib.closing(connect(server)) as session:
        assert trusted(session, endpoints) == {"profile"}
        create(session, "theirs", endpoints["profile"][0])
        session.execute("CREATE ROLE owner; GRANT USAGE ON FOREIGN DATA WRAPPER aws_lambda_fdw TO owner")
        session.execute("ALTER SERVER theirs OPTIONS (DROP endpoint_url)")
        session.execute(f"SET aws_lambda.endpoint_override = 'https://localhost:{endpoints['profile'][0]}'")
        session.execute("ALTER SERVER theirs OWNER TO owner; GRANT SELECT ON theirs TO owner")
        tables.create_mapping(session, "theirs", "owner", **EXAMPLE_KEYS)
        session.execute("SET ROLE owner")
        assert tables.invoke(session, "theirs", "f", "[1]") == "[1]"
        session.execute("RESET ROLE")
        session.execute("RESET aws_lambda.endpoint_override")
        # Keys of the mapping, as the profile has none.
        for name in endpoints:
            create(session, f"of_{name}", endpoints[name][0], profile="other")
            tables.create_mapping(session, f"of_{name}", "postgres", **EXAMPLE_KEYS)
        assert tables.invoke(session, "of_other", "f", "[1]") == "[1]"
        for name in ("bundle", "profile", "system"):
            assert "certificate" in failure(tables.invoke, session, f"of_{name}", "f").diag.message_detail


def test_system(directory, endpoints):
    """Without either, and with a variable that is empty."""
    with own_server(AWS_CA_BUNDLE="", SSL_CERT_FILE=f"{directory}/system.pem") as server:
        with contextlib.closing(connect(server)) as session:
            assert trusted(session, endpoints) == {"system"}


def test_bundle_that_is_none(directory, endpoints):
    """A separate error, and nothing is sent. Connections without TLS work, and the next statement reads the file again."""
    file = directory / "later.pem"
    port, requests = endpoints["bundle"]
    requests.clear()
    with own_server(AWS_CA_BUNDLE=str(file), SSL_CERT_FILE=f"{directory}/bundle.pem") as server:
        with contextlib.closing(connect(server)) as session:
            create(session, "place", port)
            create(session, "role", port, role_arn=ROLE, sts_endpoint_url=f"https://localhost:{port}")
            session.execute(
                "CREATE FOREIGN TABLE rows (payload text, response text, error_code text, error_message text)"
                " SERVER place OPTIONS (function_name 'f', on_error 'return')"
            )

            def fails(table, why):
                error = failure(tables.invoke, session, table, "f")
                assert (error.sqlstate, primary(error)) == ("F0000", "invoke API failed")
                detail = error.diag.message_detail
                assert "AWS_CA_BUNDLE" in detail and str(file) in detail and why in detail
                assert "did not run" in error.diag.message_hint
                return detail

            assert f"https://localhost:{port}" in fails("place", "No such file")
            assert ROLE in fails("role", "No such file")
            found = session.execute("SELECT error_code, error_message FROM rows WHERE payload IN ('1', '2', '3')").fetchall()
            assert {code for code, _ in found} == {"NoTrustedAuthority"} and len(found) == 3
            assert all(str(file) in message for _, message in found)
            put(file, b"")
            fails("place", "no certificate")
            put(file, b"-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n")
            fails("place", "no certificate")
            file.chmod(0)
            fails("place", "Permission denied")
            assert requests == []
            # Connections without TLS.
            assert session.execute("SELECT payload::text FROM aws_lambda.invoke('echo', '[1]'::json)").fetchone() == ("[1]",)
            put(file, (directory / "system.pem").read_bytes())
            assert failure(tables.invoke, session, "place", "f").sqlstate == "08001"
            put(file, (directory / "bundle.pem").read_bytes())
            assert tables.invoke(session, "place", "f", "[1]") == "[1]"
            assert tables.invoke(session, "role", "f", "[1]") == "[1]"
            # An open connection is still used.
            file.unlink()
            assert tables.invoke(session, "place", "f", "[2]") == "[2]"


def test_system_without_any(endpoints):
    with own_server(SSL_CERT_FILE="/nowhere/at/all", SSL_CERT_DIR="/nor/here") as server, contextlib.closing(
        connect(server)
    ) as session:
        port, requests = endpoints["system"]
        requests.clear()
        create(session, "place", port)
        error = failure(tables.invoke, session, "place", "f")
        assert error.sqlstate == "F0000" and requests == []
        detail = error.diag.message_detail
        assert 'SSL_CERT_FILE names "/nowhere/at/all", which can\'t be read' in detail
        assert 'SSL_CERT_DIR names "/nor/here", which can\'t be read' in detail
