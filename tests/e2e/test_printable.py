"""Errors and the server's log contain no control characters of a function, an endpoint or a role. Columns are not escaped. With a role that
may only invoke."""

import contextlib
import json
import os

import psycopg
import pytest

from listeners import response
from tables import failure

# A control sequence, a line feed, a carriage return, C1, marks of direction, characters without width, and the line separator.
EVIL = "a\x1b[2Jb\nc\rd\x9be\u202ef\u2066g\u200bh\ufeffi\u2028j\u061ck\u00adl\U000e0041m\x7fn"
SHOWN = (
    r"a\u{1b}[2Jb\u{a}c\u{d}d\u{9b}e\u{202e}f\u{2066}g\u{200b}h\u{feff}i\u{2028}j\u{61c}k\u{ad}l\u{e0041}m\u{7f}n"
)


@pytest.fixture(scope="module")
def schema(database):
    with psycopg.connect(dbname=database, autocommit=True) as administrator:
        administrator.execute(
            """
            CREATE ROLE printing LOGIN;
            CREATE FOREIGN TABLE raising (payload text, response jsonb, executed_version text)
                SERVER aws_lambda OPTIONS (function_name 'verbatim');
            CREATE FOREIGN TABLE kept (payload text, response text, error_code text, error_message text)
                SERVER aws_lambda OPTIONS (function_name 'verbatim', on_error 'return');
            GRANT SELECT ON raising, kept TO printing;
            GRANT USAGE ON SCHEMA aws_lambda TO printing;
            GRANT SELECT ON aws_lambda.lambda_invocations_json TO printing;
            GRANT USAGE ON FOREIGN SERVER aws_lambda TO printing;
            GRANT CREATE ON SCHEMA public TO printing;
            """
        )
    yield database
    with psycopg.connect(dbname=database, autocommit=True) as administrator:
        administrator.execute("DROP OWNED BY printing; DROP ROLE printing")


@pytest.fixture
def printing(schema):
    with contextlib.closing(psycopg.connect(dbname=schema, user="printing", autocommit=True)) as session:
        yield session


def said(status, body, *headers):
    """The payload that has `verbatim` send this."""
    return json.dumps(response(f"{status} Oops", body, *headers).decode("latin-1"))


FAILED = "X-Amz-Function-Error: Unhandled"
ESCAPED = json.dumps({"errorMessage": EVIL, "errorType": EVIL}, ensure_ascii=False)
# JSON escapes control characters, but not the others.
MESSAGE = json.dumps({"Message": EVIL})
# The part that a header may contain, in UTF-8.
MARKS = "x\u202ey\u200bz"
ANSWERS = {
    "a function's text": (said(200, EVIL, FAILED), SHOWN),
    "a function's JSON": (said(200, ESCAPED, FAILED), r"\u{202e}f\u{2066}g\u{200b}h"),
    "a kind of function error": (said(200, "{}", f"X-Amz-Function-Error: {MARKS}".encode().decode("latin-1")), ""),
    "a response that is no JSON": (said(200, EVIL), SHOWN),
    "a message": (said(400, MESSAGE, "x-amzn-ErrorType: X"), r"a\u{1b}[2Jb"),
    "a code": (said(400, json.dumps({"__type": EVIL, "message": "m"})), r"a\u{1b}[2Jb"),
    "a request id": (said(400, "{}", "x-amzn-ErrorType: X", f"x-amzn-RequestId: {MARKS}"), r"x\u{202e}y\u{200b}z"),
}


def texts(error):
    diagnosis = error.diag
    return [diagnosis.message_primary, diagnosis.message_detail, diagnosis.message_hint]


def assert_printable(text):
    assert not [letter for letter in text if letter in EVIL and not letter.isascii() or letter in "\x1b\x7f\r"]


@pytest.fixture
def log():
    """The server's log since then."""
    path = os.environ["PG_LOG"]
    start = os.path.getsize(path)

    def since():
        with open(path, "rb") as file:
            file.seek(start)
            return file.read().decode(errors="replace")

    return since


@pytest.mark.parametrize("answer, shown", ANSWERS.values(), ids=ANSWERS)
def test_error(printing, endpoint, log, answer, shown):
    error = failure(printing.execute, "SELECT response, executed_version FROM raising WHERE payload = %s", [answer])
    print(error)
    for text in texts(error):
        assert_printable(text or "")
        assert "\n" not in (text or "")
    assert shown in error.diag.message_detail
    assert_printable("".join(line for line in log().splitlines(True) if "DETAIL" in line or "ERROR" in line))
    assert endpoint.counter("invocations") == 1


def test_columns_are_not_escaped(printing, endpoint):
    row = printing.execute(
        "SELECT response, error_code, error_message FROM kept WHERE payload = %s",
        [said(200, json.dumps({"errorMessage": EVIL, "errorType": EVIL}), FAILED)],
    ).fetchone()
    assert row[1:] == (EVIL, EVIL) and json.loads(row[0])["errorMessage"] == EVIL
    query = "SELECT response, error_message FROM kept WHERE payload = %s"
    assert printing.execute(query, [said(200, EVIL)]).fetchone() == (EVIL, None)
    assert printing.execute(query, [said(200, EVIL, FAILED)]).fetchone() == (EVIL, EVIL)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT response FROM aws_lambda.lambda_invocations_json WHERE function_name = %s AND payload = '1'",
        "SELECT response FROM aws_lambda.lambda_invocations_json WHERE function_name = 'f' AND region = %s AND payload = '1'",
        "SELECT set_config('aws_lambda.region', %s, false), (SELECT response FROM raising WHERE payload = '1')",
    ],
    ids=["a function's name", "a region", "a setting"],
)
def test_values_of_a_role(printing, endpoint, statement):
    error = failure(printing.execute, statement, [EVIL])
    assert SHOWN in error.diag.message_primary
    assert endpoint.counter("invocations") == 0


@pytest.mark.parametrize(
    "statement",
    [
        'CREATE FOREIGN TABLE evil (payload text) SERVER aws_lambda OPTIONS ("{}" \'1\')',
        "CREATE FOREIGN TABLE evil (payload text) SERVER aws_lambda OPTIONS (qualifier '{}')",
    ],
    ids=["an option", "its value"],
)
def test_options_of_a_role(printing, statement):
    error = failure(printing.execute, statement.format(EVIL).encode())
    assert any(r"a\u{1b}[2Jb\u{a}c" in (text or "") for text in texts(error)), texts(error)
