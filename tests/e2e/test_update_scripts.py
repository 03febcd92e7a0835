"""Update scripts: ALTER EXTENSION … UPDATE leads to the same objects as CREATE EXTENSION.

`pg_dump --binary-upgrade` dumps an extension's objects one by one, with comments, privileges, columns and options. The scripts come from
a directory of the test, for which PostgreSQL 18 has a setting. Older versions skip this.

As long as there is no release, an example takes its place: an older version in which one object of each kind differs, and an update
script with a statement for each. If a statement is missing, the comparison must show it.
"""

import difflib
import pathlib
import re
import subprocess

import psycopg
import pytest
from psycopg import sql

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
EXTENSIONS = ["aws_commons", "aws_lambda_fdw", "aws_lambda"]
# The wrapper belongs to aws_lambda or to aws_lambda_fdw.
SETS = {"two": ["aws_commons", "aws_lambda"], "three": EXTENSIONS}
OLDER = "0.9"

# The example's older version: a text of the current script, the older text, and the statement of the update script.
CHANGES = {
    "function's body": (
        "aws_commons",
        "SELECT ROW($1, $2)::",
        "SELECT ROW($1, lower($2))::",
        """CREATE OR REPLACE FUNCTION aws_commons.create_lambda_function_arn(function_name text, region text DEFAULT NULL)
            RETURNS aws_commons._lambda_function_arn_1 LANGUAGE sql IMMUTABLE PARALLEL SAFE
            AS $$ SELECT ROW($1, $2)::aws_commons._lambda_function_arn_1 $$;""",
    ),
    "rights": (
        "aws_lambda",
        "REVOKE ALL ON FUNCTION aws_lambda.invoke_support(internal) FROM PUBLIC;",
        "",
        "REVOKE ALL ON FUNCTION aws_lambda.invoke_support(internal) FROM PUBLIC;",
    ),
    "type": (
        "aws_commons",
        "(function_name text, region text);",
        "(function_name text, region varchar(10));",
        "ALTER TYPE aws_commons._lambda_function_arn_1 ALTER ATTRIBUTE region TYPE text;",
    ),
    "wrapper's validator": (
        "aws_lambda_fdw",
        "    VALIDATOR @extschema@.aws_lambda_fdw_validator;",
        "    ;",
        "ALTER FOREIGN DATA WRAPPER aws_lambda_fdw VALIDATOR @extschema@.aws_lambda_fdw_validator;",
    ),
    "wrapper's validator, where aws_lambda has the wrapper": (
        "aws_lambda",
        "        VALIDATOR aws_lambda.aws_lambda_fdw_validator;",
        "        ;",
        """DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'aws_lambda_fdw') THEN
                ALTER FOREIGN DATA WRAPPER aws_lambda_fdw VALIDATOR aws_lambda.aws_lambda_fdw_validator;
            END IF;
        END $$;""",
    ),
    "property of a function": (
        "aws_lambda_fdw",
        "LANGUAGE c VOLATILE PARALLEL SAFE",
        "LANGUAGE c VOLATILE PARALLEL UNSAFE",
        "ALTER FUNCTION @extschema@.aws_lambda_fdw_validator(text[], oid) PARALLEL SAFE;",
    ),
    "comment": (
        "aws_lambda",
        "COMMENT ON SERVER aws_lambda IS 'AWS Lambda, with the credentials that the server process finds';",
        "COMMENT ON SERVER aws_lambda IS 'AWS Lambda';",
        "COMMENT ON SERVER aws_lambda IS 'AWS Lambda, with the credentials that the server process finds';",
    ),
    "column": (
        "aws_lambda",
        "    error_message text\n) SERVER aws_lambda;\nCOMMENT ON FOREIGN TABLE aws_lambda.lambda_invocations IS",
        "    error_message varchar(80)\n) SERVER aws_lambda;\nCOMMENT ON FOREIGN TABLE aws_lambda.lambda_invocations IS",
        "ALTER FOREIGN TABLE aws_lambda.lambda_invocations ALTER COLUMN error_message TYPE text;",
    ),
    "option": (
        "aws_lambda",
        "CREATE SERVER aws_lambda FOREIGN DATA WRAPPER aws_lambda_fdw;",
        "CREATE SERVER aws_lambda FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (max_retries '3');",
        "ALTER SERVER aws_lambda OPTIONS (DROP max_retries);",
    ),
    "symbol in the library": (
        "aws_lambda",
        "AS '$libdir/aws_lambda_fdw', 'invoke_either_jsonb';",
        "AS '$libdir/aws_lambda_fdw', 'invoke_either_json';",
        """CREATE OR REPLACE FUNCTION aws_lambda.invoke(
            IN function_name text, IN payload jsonb, IN argument_3 text, IN argument_4 text, IN argument_5 text,
            IN argument_6 varchar(128),
            OUT status_code int, OUT payload jsonb, OUT executed_version text, OUT log_result text)
            LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SUPPORT aws_lambda.invoke_support
            AS '$libdir/aws_lambda_fdw', 'invoke_either_jsonb';""",
    ),
}


def default_version(control):
    return re.search(r"^default_version = '(.*)'$", control, re.MULTILINE)[1]


def now(path):
    return (ROOT / path).read_text()


def git(*arguments):
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def last_release():
    """The newest tag before what is checked out, if there is one."""
    tag = git("describe", "--tags", "--abbrev=0")
    return tag and tag.strip()


def connect_to(server, database="postgres"):
    return psycopg.connect(host=server.socket_dir, port=5432, user="postgres", dbname=database, autocommit=True)


def objects(server, database):
    """The objects of a database's extensions."""
    dumped = subprocess.run(
        [f"{server.bindir}/pg_dump", "--binary-upgrade", "--schema-only"]
        + ["-h", server.socket_dir, "-p", "5432", "-U", "postgres", "-d", database],
        check=True, stdout=subprocess.PIPE, text=True,
    ).stdout  # fmt: skip
    # OIDs, frozen transactions and pg_dump's own marks differ from one database to the next, and so does the order of what an
    # extension requires.
    lines = [
        re.sub(r"ARRAY\[(.*?)\]", lambda array: ",".join(sorted(array[1].split(","))), line)
        for line in dumped.splitlines()
        if not re.search(r"binary_upgrade_set_next|relfrozenxid|^WHERE oid = |^\\(un)?restrict|^--", line)
    ]
    assert any("lambda_invocations_json" in line for line in lines)
    return lines


def differences(start, scripts, older):
    """Updates extensions from `older` versions, by name; returns how they differ from new ones."""
    server = start(f"extension_control_path = '{scripts.parent}:$system'")
    found = []
    for name, extensions in SETS.items():
        updated, fresh = f"updated_{name}", f"fresh_{name}"
        with connect_to(server) as session:
            for database in (updated, fresh):
                session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        for extension in extensions:
            with connect_to(server, updated) as session:
                session.execute(
                    sql.SQL("CREATE EXTENSION {} VERSION {}").format(sql.Identifier(extension), sql.Literal(older[extension]))
                )
            with connect_to(server, fresh) as session:
                session.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(extension)))
        with connect_to(server, updated) as session:
            for extension in extensions:
                session.execute(sql.SQL("ALTER EXTENSION {} UPDATE").format(sql.Identifier(extension)))
        compared = objects(server, updated), objects(server, fresh)
        found += difflib.unified_diff(*compared, updated, fresh, n=0, lineterm="")
    return found


def write_example(scripts, missing=None):
    for extension in EXTENSIONS:
        version = default_version(now(f"{extension}.control"))
        script, update = now(f"sql/{extension}--{version}.sql"), []
        for name, (of, present, past, statement) in CHANGES.items():
            if of == extension:
                assert script.count(present) == 1, name
                script = script.replace(present, past)
                update += [statement] if name != missing else []
        (scripts / f"{extension}--{OLDER}.sql").write_text(script)
        (scripts / f"{extension}--{OLDER}--{version}.sql").write_text("\n".join(update) + "\n")
    return dict.fromkeys(EXTENSIONS, OLDER)


def test_from_the_last_release(start, scripts):
    tag = last_release()
    if tag is None:
        pytest.skip("nothing is released yet")
    older = {}
    for extension in EXTENSIONS:
        older[extension] = default_version(git("show", f"{tag}:{extension}.control"))
        path = f"sql/{extension}--{older[extension]}.sql"
        released = git("show", f"{tag}:{path}")
        # A released script must not change, because existing databases would not get the change.
        assert older[extension] != default_version(now(f"{extension}.control")) or released == now(path), path
        (scripts / f"{extension}--{older[extension]}.sql").write_text(released)
    assert differences(start, scripts, older) == []


def test_example(start, scripts):
    assert differences(start, scripts, write_example(scripts)) == []


@pytest.mark.parametrize("missing", CHANGES)
def test_statement_missing_in_an_update_script(start, scripts, missing):
    assert differences(start, scripts, write_example(scripts, missing)) != []
