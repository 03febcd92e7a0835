\echo Use "CREATE EXTENSION aws_lambda" to load this file. \quit

CREATE SCHEMA aws_lambda;
COMMENT ON SCHEMA aws_lambda IS 'invoke AWS Lambda functions';

-- Scripts written for RDS know no third extension. So the wrapper is made here, unless aws_lambda_fdw has made it; and that, made later,
-- takes this one over.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'aws_lambda_fdw') THEN
        RETURN;
    END IF;

    CREATE FUNCTION aws_lambda.aws_lambda_fdw_handler() RETURNS fdw_handler
    LANGUAGE c STRICT VOLATILE PARALLEL SAFE
    AS '$libdir/aws_lambda_fdw', 'lambda_fdw_handler_wrapper';
    COMMENT ON FUNCTION aws_lambda.aws_lambda_fdw_handler() IS 'handler of the foreign-data wrapper aws_lambda_fdw';
    REVOKE ALL ON FUNCTION aws_lambda.aws_lambda_fdw_handler() FROM PUBLIC;

    CREATE FUNCTION aws_lambda.aws_lambda_fdw_validator(options text[], catalog oid) RETURNS void
    LANGUAGE c VOLATILE PARALLEL SAFE
    AS '$libdir/aws_lambda_fdw', 'lambda_fdw_validator_wrapper';
    COMMENT ON FUNCTION aws_lambda.aws_lambda_fdw_validator(text[], oid) IS 'validator of options of the foreign-data wrapper aws_lambda_fdw';
    REVOKE ALL ON FUNCTION aws_lambda.aws_lambda_fdw_validator(text[], oid) FROM PUBLIC;

    CREATE FOREIGN DATA WRAPPER aws_lambda_fdw
        HANDLER aws_lambda.aws_lambda_fdw_handler
        VALIDATOR aws_lambda.aws_lambda_fdw_validator;
    COMMENT ON FOREIGN DATA WRAPPER aws_lambda_fdw IS 'AWS Lambda functions as tables of invocations';
END $$;

CREATE SERVER aws_lambda FOREIGN DATA WRAPPER aws_lambda_fdw;
COMMENT ON SERVER aws_lambda IS 'AWS Lambda, with the credentials that the server process finds';

CREATE FOREIGN TABLE aws_lambda.lambda_invocations (
    function_name text,
    region text,
    payload jsonb,
    invocation_type text,
    log_type text,
    context jsonb,
    qualifier text,
    status_code integer,
    response jsonb,
    executed_version text,
    log_result text,
    log text,
    function_error text,
    request_id text,
    error_code text,
    error_message text
) SERVER aws_lambda;
COMMENT ON FOREIGN TABLE aws_lambda.lambda_invocations IS 'invocations of AWS Lambda functions';
REVOKE ALL ON TABLE aws_lambda.lambda_invocations FROM PUBLIC;

-- The same with exact texts: json has no equality to write a clause with, so payload and context are text.
CREATE FOREIGN TABLE aws_lambda.lambda_invocations_json (
    function_name text,
    region text,
    payload text,
    invocation_type text,
    log_type text,
    context text,
    qualifier text,
    status_code integer,
    response json,
    executed_version text,
    log_result text,
    log text,
    function_error text,
    request_id text,
    error_code text,
    error_message text
) SERVER aws_lambda;
COMMENT ON FOREIGN TABLE aws_lambda.lambda_invocations_json IS 'invocations of AWS Lambda functions, payload and response being kept to the letter';
REVOKE ALL ON TABLE aws_lambda.lambda_invocations_json FROM PUBLIC;

-- The planner asks it about each call. By then the library is loaded, and with it the settings of the session, which PostgreSQL would not
-- apply once a parallel query runs.
CREATE FUNCTION aws_lambda.invoke_support(internal) RETURNS internal
LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
AS '$libdir/aws_lambda_fdw', 'invoke_support';
COMMENT ON FUNCTION aws_lambda.invoke_support(internal) IS 'planner support function of aws_lambda.invoke';
REVOKE ALL ON FUNCTION aws_lambda.invoke_support(internal) FROM PUBLIC;

-- The functions run as their owner, so that EXECUTE on them is all that a role needs. A null argument is
-- one that was not given.

CREATE FUNCTION aws_lambda.invoke(
    IN function_name aws_commons._lambda_function_arn_1,
    IN payload json,
    IN invocation_type text DEFAULT 'RequestResponse',
    IN log_type text DEFAULT 'None',
    IN context json DEFAULT NULL,
    IN qualifier varchar(128) DEFAULT NULL,
    OUT status_code int, OUT payload json, OUT executed_version text, OUT log_result text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER COST 100 SUPPORT aws_lambda.invoke_support
AS '$libdir/aws_lambda_fdw', 'invoke_structure_json';
COMMENT ON FUNCTION aws_lambda.invoke(aws_commons._lambda_function_arn_1, json, text, text, json, varchar(128))
    IS 'invokes an AWS Lambda function';
REVOKE ALL ON FUNCTION aws_lambda.invoke(aws_commons._lambda_function_arn_1, json, text, text, json, varchar(128)) FROM PUBLIC;

-- \gset turns a composite into text, so a name that begins with a parenthesis is a row literal. Such a call means
-- the signature above, whose arguments then arrive one place further right, unless they were named.
CREATE FUNCTION aws_lambda.invoke(
    IN function_name text,
    IN payload json,
    IN region text DEFAULT NULL,
    IN invocation_type text DEFAULT 'RequestResponse',
    IN log_type text DEFAULT 'None',
    IN context json DEFAULT NULL,
    IN qualifier varchar(128) DEFAULT NULL,
    OUT status_code int, OUT payload json, OUT executed_version text, OUT log_result text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER COST 100 SUPPORT aws_lambda.invoke_support
AS '$libdir/aws_lambda_fdw', 'invoke_name_json';
COMMENT ON FUNCTION aws_lambda.invoke(text, json, text, text, text, json, varchar(128))
    IS 'invokes an AWS Lambda function';
REVOKE ALL ON FUNCTION aws_lambda.invoke(text, json, text, text, text, json, varchar(128)) FROM PUBLIC;

-- Without defaults, so that it takes calls with six arguments only: of a row literal, the signature with the
-- composite; of a plain name, name, payload, region, invocation_type, log_type and context.
CREATE FUNCTION aws_lambda.invoke(
    IN function_name text,
    IN payload json,
    IN argument_3 text,
    IN argument_4 text,
    IN argument_5 text,
    IN argument_6 varchar(128),
    OUT status_code int, OUT payload json, OUT executed_version text, OUT log_result text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER COST 100 SUPPORT aws_lambda.invoke_support
AS '$libdir/aws_lambda_fdw', 'invoke_either_json';
COMMENT ON FUNCTION aws_lambda.invoke(text, json, text, text, text, varchar(128))
    IS 'invokes an AWS Lambda function; takes calls with six untyped arguments that could mean either of the others';
REVOKE ALL ON FUNCTION aws_lambda.invoke(text, json, text, text, text, varchar(128)) FROM PUBLIC;

CREATE FUNCTION aws_lambda.invoke(
    IN function_name aws_commons._lambda_function_arn_1,
    IN payload jsonb,
    IN invocation_type text DEFAULT 'RequestResponse',
    IN log_type text DEFAULT 'None',
    IN context jsonb DEFAULT NULL,
    IN qualifier varchar(128) DEFAULT NULL,
    OUT status_code int, OUT payload jsonb, OUT executed_version text, OUT log_result text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER COST 100 SUPPORT aws_lambda.invoke_support
AS '$libdir/aws_lambda_fdw', 'invoke_structure_jsonb';
COMMENT ON FUNCTION aws_lambda.invoke(aws_commons._lambda_function_arn_1, jsonb, text, text, jsonb, varchar(128))
    IS 'invokes an AWS Lambda function';
REVOKE ALL ON FUNCTION aws_lambda.invoke(aws_commons._lambda_function_arn_1, jsonb, text, text, jsonb, varchar(128)) FROM PUBLIC;

-- \gset turns a composite into text, so a name that begins with a parenthesis is a row literal. Such a call means
-- the signature above, whose arguments then arrive one place further right, unless they were named.
CREATE FUNCTION aws_lambda.invoke(
    IN function_name text,
    IN payload jsonb,
    IN region text DEFAULT NULL,
    IN invocation_type text DEFAULT 'RequestResponse',
    IN log_type text DEFAULT 'None',
    IN context jsonb DEFAULT NULL,
    IN qualifier varchar(128) DEFAULT NULL,
    OUT status_code int, OUT payload jsonb, OUT executed_version text, OUT log_result text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER COST 100 SUPPORT aws_lambda.invoke_support
AS '$libdir/aws_lambda_fdw', 'invoke_name_jsonb';
COMMENT ON FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, jsonb, varchar(128))
    IS 'invokes an AWS Lambda function';
REVOKE ALL ON FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, jsonb, varchar(128)) FROM PUBLIC;

-- Without defaults, so that it takes calls with six arguments only: of a row literal, the signature with the
-- composite; of a plain name, name, payload, region, invocation_type, log_type and context.
CREATE FUNCTION aws_lambda.invoke(
    IN function_name text,
    IN payload jsonb,
    IN argument_3 text,
    IN argument_4 text,
    IN argument_5 text,
    IN argument_6 varchar(128),
    OUT status_code int, OUT payload jsonb, OUT executed_version text, OUT log_result text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER COST 100 SUPPORT aws_lambda.invoke_support
AS '$libdir/aws_lambda_fdw', 'invoke_either_jsonb';
COMMENT ON FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, varchar(128))
    IS 'invokes an AWS Lambda function; takes calls with six untyped arguments that could mean either of the others';
REVOKE ALL ON FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, varchar(128)) FROM PUBLIC;
