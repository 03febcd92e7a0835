"""A library with scripts of another release: one clear error before anything is invoked, and no change to objects."""

import pathlib
import re

import psycopg
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RELEASE = re.search(r"^default_version = '(.*)'$", (ROOT / "aws_lambda_fdw.control").read_text(), re.MULTILINE)[1]
OLDER, NEWER = "0.9", f"{RELEASE}.1"

STATEMENTS = {
    "function": "SELECT * FROM aws_lambda.invoke('echo'::text, '{}'::json)",
    "table": "SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '{}'",
    "INSERT": "INSERT INTO aws_lambda.lambda_invocations (function_name, payload) VALUES ('echo', '{}')",
}


def pretend(session, extension, version):
    """Changes the catalog to that of another release's scripts."""
    session.execute("UPDATE pg_extension SET extversion = %s WHERE extname = %s", [version, extension])


@pytest.fixture(params=["aws_lambda", "aws_lambda_fdw"])
def extension(request, connect):
    session = connect()
    # The wrapper belongs to aws_lambda until then.
    session.execute("CREATE EXTENSION IF NOT EXISTS aws_lambda_fdw")
    yield request.param
    pretend(session, request.param, RELEASE)


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
@pytest.mark.parametrize(
    "version, hint",
    [
        (OLDER, "Use ALTER EXTENSION {} UPDATE."),
        (NEWER, "Connect again. If that does not help, install the library of release " + NEWER + "."),
    ],
    ids=["older scripts", "newer scripts"],
)
def test_other_release(session, extension, version, hint, statement, endpoint):
    pretend(session, extension, version)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as error:
        session.execute(statement)
    said = error.value.diag
    assert said.message_primary == f"extension \"{extension}\" is not of the library's release"
    assert said.message_detail == (
        f"The extension in this database is {version}, and the library {RELEASE}. No function was invoked."
    )
    assert said.message_hint == hint.format(extension)
    assert endpoint.counter("invocations") == 0
    # After the update the same session works.
    pretend(session, extension, RELEASE)
    session.execute(statement)
    assert endpoint.counter("invocations") == 1


def test_definitions_do_not_mind(session, extension):
    """pg_upgrade creates the objects of an older release with the library of a newer one."""
    pretend(session, extension, OLDER)
    session.execute("CREATE SERVER older FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (region 'eu-west-1')")
    session.execute("CREATE FOREIGN TABLE older (payload jsonb, response jsonb) SERVER older")
    session.execute("DROP SERVER older CASCADE")


def test_aws_commons_has_a_version_of_its_own(session, endpoint):
    pretend(session, "aws_commons", "1.3")
    session.execute(STATEMENTS["function"])
    assert endpoint.counter("invocations") == 1
