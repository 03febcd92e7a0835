\echo Use "CREATE EXTENSION aws_commons" to load this file. \quit

CREATE SCHEMA aws_commons;
COMMENT ON SCHEMA aws_commons IS 'common data types and functions for AWS services';

CREATE TYPE aws_commons._lambda_function_arn_1 AS (function_name text, region text);
COMMENT ON TYPE aws_commons._lambda_function_arn_1 IS 'name of an AWS Lambda function and its region';
REVOKE ALL ON TYPE aws_commons._lambda_function_arn_1 FROM PUBLIC;

CREATE FUNCTION aws_commons.create_lambda_function_arn(function_name text, region text DEFAULT NULL)
RETURNS aws_commons._lambda_function_arn_1
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT ROW($1, $2)::aws_commons._lambda_function_arn_1 $$;
COMMENT ON FUNCTION aws_commons.create_lambda_function_arn(text, text)
    IS 'puts together the name of an AWS Lambda function (name, partial ARN or ARN) and its region';
REVOKE ALL ON FUNCTION aws_commons.create_lambda_function_arn(text, text) FROM PUBLIC;
