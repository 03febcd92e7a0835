"""A database with the open extension aws_s3, which creates the schema aws_commons and types for S3 too.

A stand-in has the same statements at its beginning. Both orders of creation, and a dump with both.
"""

import subprocess

import psycopg
import pytest
from psycopg import errors

CONTROL = "default_version = '1.0'\nrelocatable = false\n"
SCRIPT = """
CREATE SCHEMA IF NOT EXISTS aws_commons;
CREATE SCHEMA IF NOT EXISTS aws_s3;
DROP TYPE IF EXISTS aws_commons._s3_uri_1 CASCADE;
CREATE TYPE aws_commons._s3_uri_1 AS (bucket text, file_path text, region text);
DROP TYPE IF EXISTS aws_commons._aws_credentials_1 CASCADE;
CREATE TYPE aws_commons._aws_credentials_1 AS (access_key text, secret_key text, session_token text);
CREATE OR REPLACE FUNCTION aws_commons.create_s3_uri(s3_bucket text, s3_key text, aws_region text)
    RETURNS aws_commons._s3_uri_1 LANGUAGE sql IMMUTABLE AS $$ SELECT ROW($1, $2, $3)::aws_commons._s3_uri_1 $$;
CREATE OR REPLACE FUNCTION aws_commons.create_aws_credentials(access_key text, secret_key text, session_token text)
    RETURNS aws_commons._aws_credentials_1 LANGUAGE sql IMMUTABLE AS $$ SELECT ROW($1, $2, $3)::aws_commons._aws_credentials_1 $$;
CREATE FUNCTION aws_s3.reads(aws_commons._s3_uri_1) RETURNS text LANGUAGE sql AS $$ SELECT $1.bucket $$;
"""

WORKS = """SELECT aws_s3.reads(aws_commons.create_s3_uri('bucket', 'path', 'eu-west-1')),
    (aws_commons.create_aws_credentials('key', 'secret', NULL)).access_key,
    (SELECT payload::text FROM aws_lambda.invoke(aws_commons.create_lambda_function_arn('echo'), '1'::json))"""


@pytest.fixture
def server(start, scripts):
    (scripts / "aws_s3.control").write_text(CONTROL)
    (scripts / "aws_s3--1.0.sql").write_text(SCRIPT)
    server = start(f"extension_control_path = '{scripts.parent}:$system'")
    server.notices = []
    return server


def connect(server, database="postgres"):
    session = psycopg.connect(host=server.socket_dir, port=5432, user="postgres", dbname=database, autocommit=True)
    session.add_notice_handler(lambda notice: server.notices.append(f"{notice.message_primary} {notice.message_hint}"))
    return session


def test_aws_s3_created_first(server):
    with connect(server) as session:
        session.execute("CREATE EXTENSION aws_s3")
        session.execute("CREATE EXTENSION aws_commons; CREATE EXTENSION aws_lambda")
        assert session.execute(WORKS).fetchone() == ("bucket", "key", "1")
        # Neither is dropped with the other without CASCADE, and both can be dropped.
        with pytest.raises(errors.DependentObjectsStillExist):
            session.execute("DROP EXTENSION aws_s3")
        session.execute("DROP EXTENSION aws_commons CASCADE")
        session.execute("DROP EXTENSION aws_s3")


def test_aws_s3_created_later(server):
    with connect(server) as session:
        session.execute("CREATE EXTENSION aws_lambda CASCADE")
        (warning,) = [notice for notice in server.notices if "aws_s3" in notice]
        assert "CREATE EXTENSION aws_s3 CASCADE" in warning
        with pytest.raises(errors.ObjectNotInPrerequisiteState, match="schema aws_commons is not a member"):
            session.execute("CREATE EXTENSION aws_s3")
        # As the warning says.
        session.execute("DROP EXTENSION aws_commons CASCADE")
        session.execute("CREATE EXTENSION aws_s3 CASCADE")
        session.execute("CREATE EXTENSION aws_lambda CASCADE")
        assert session.execute(WORKS).fetchone() == ("bucket", "key", "1")


def test_malformed_control_file_of_another_extension(server, scripts):
    (scripts / "broken.control").write_text("this is no control file\n")
    with connect(server) as session:
        session.execute("CREATE EXTENSION aws_lambda CASCADE")
        assert session.execute("SELECT payload::text FROM aws_lambda.invoke('echo', '1'::json)").fetchone() == ("1",)


def test_dump(server):
    with connect(server) as session:
        session.execute("CREATE EXTENSION aws_s3; CREATE EXTENSION aws_lambda CASCADE")
        session.execute("CREATE DATABASE restored")
        session.execute("CREATE TABLE kept AS SELECT aws_commons.create_lambda_function_arn('echo') AS arn")
    to = ["-h", server.socket_dir, "-p", "5432", "-U", "postgres"]
    dump = subprocess.run([f"{server.bindir}/pg_dump", *to, "postgres"], check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(
        [f"{server.bindir}/psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", *to, "restored"], check=True, input=dump
    )
    with connect(server, "restored") as session:
        assert session.execute(WORKS).fetchone() == ("bucket", "key", "1")
