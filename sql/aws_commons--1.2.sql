\echo Use "CREATE EXTENSION aws_commons" to load this file. \quit

-- The open extension aws_s3 creates this schema too, with types and functions for S3. What it has created stays its own. A schema of no
-- extension is refused, because its owner could add objects to it. The operators in this script have exact matches in pg_catalog. Otherwise
-- PostgreSQL could choose an operator of the schema that the extension is created in, where any role may have created one.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_namespace AS n ON n.oid = d.objid
        WHERE d.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid AND d.deptype = 'e' AND n.nspname = 'aws_commons'
    ) THEN
        RETURN;
    END IF;
    CREATE SCHEMA aws_commons;
    COMMENT ON SCHEMA aws_commons IS 'common data types and functions for AWS services';
    GRANT USAGE ON SCHEMA aws_commons TO PUBLIC;
    BEGIN
        IF EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'aws_s3' AND installed_version IS NULL) THEN
            RAISE WARNING 'extension "aws_s3" cannot be created in this database while "aws_commons" is there'
                USING HINT = 'If you want both, DROP EXTENSION aws_commons CASCADE, CREATE EXTENSION aws_s3 CASCADE, and then this one again.';
        END IF;
    EXCEPTION WHEN OTHERS THEN
        -- The control file of some other extension can't be read.
        NULL;
    END;
END $$;

-- As on RDS, every role may use the types and functions. They only build values, and invoke nothing.

CREATE TYPE aws_commons._lambda_function_arn_1 AS (function_name text, region text);
COMMENT ON TYPE aws_commons._lambda_function_arn_1 IS 'name of an AWS Lambda function and its region';

CREATE FUNCTION aws_commons.create_lambda_function_arn(function_name text, region text DEFAULT NULL)
RETURNS aws_commons._lambda_function_arn_1
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT ROW($1, $2)::aws_commons._lambda_function_arn_1 $$;
COMMENT ON FUNCTION aws_commons.create_lambda_function_arn(text, text)
    IS 'puts together the name of an AWS Lambda function (name, partial ARN or ARN) and its region';

DO $do$
BEGIN
    IF pg_catalog.to_regtype('aws_commons._s3_uri_1') IS NULL THEN
        CREATE TYPE aws_commons._s3_uri_1 AS (bucket text, file_path text, region text);
        COMMENT ON TYPE aws_commons._s3_uri_1 IS 'file in an Amazon S3 bucket, and its region';
        CREATE FUNCTION aws_commons.create_s3_uri(bucket text, file_path text, region text)
        RETURNS aws_commons._s3_uri_1
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        AS $$ SELECT ROW($1, $2, $3)::aws_commons._s3_uri_1 $$;
        COMMENT ON FUNCTION aws_commons.create_s3_uri(text, text, text)
            IS 'puts together the name of a file in an Amazon S3 bucket and its region';
    END IF;
    IF pg_catalog.to_regtype('aws_commons._aws_credentials_1') IS NULL THEN
        CREATE TYPE aws_commons._aws_credentials_1 AS (access_key text, secret_key text, session_token text);
        COMMENT ON TYPE aws_commons._aws_credentials_1 IS 'AWS credentials';
        CREATE FUNCTION aws_commons.create_aws_credentials(access_key text, secret_key text, session_token text)
        RETURNS aws_commons._aws_credentials_1
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        AS $$ SELECT ROW($1, $2, $3)::aws_commons._aws_credentials_1 $$;
        COMMENT ON FUNCTION aws_commons.create_aws_credentials(text, text, text) IS 'puts AWS credentials together';
    END IF;
END $do$;
