\echo Use "CREATE EXTENSION aws_lambda" to load this file. \quit

CREATE SCHEMA aws_lambda;
COMMENT ON SCHEMA aws_lambda IS 'invoke AWS Lambda functions';

-- Scripts for RDS create no third extension. So this script creates the wrapper, unless aws_lambda_fdw has created it. If aws_lambda_fdw is
-- created later, it takes this wrapper over.
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
    tenant_id text,
    durable_execution_name text,
    status_code integer,
    response jsonb,
    executed_version text,
    log_result text,
    log text,
    function_error text,
    request_id text,
    durable_execution_arn text,
    error_code text,
    error_message text
) SERVER aws_lambda;
COMMENT ON FOREIGN TABLE aws_lambda.lambda_invocations IS 'invocations of AWS Lambda functions';
COMMENT ON COLUMN aws_lambda.lambda_invocations.function_name IS 'in, required: name, name:qualifier, partial ARN or ARN of the function';
COMMENT ON COLUMN aws_lambda.lambda_invocations.region IS 'in: where the function is, such as us-east-1';
COMMENT ON COLUMN aws_lambda.lambda_invocations.payload IS 'in, required: input of the function; IS NULL sends none';
COMMENT ON COLUMN aws_lambda.lambda_invocations.invocation_type IS 'in: RequestResponse waits for the response, Event queues and returns, DryRun checks access only';
COMMENT ON COLUMN aws_lambda.lambda_invocations.log_type IS 'in: Tail returns the last 4 KB of the log, None does not';
COMMENT ON COLUMN aws_lambda.lambda_invocations.context IS 'in: client context, a JSON object with the fields custom and env';
COMMENT ON COLUMN aws_lambda.lambda_invocations.qualifier IS 'in: alias or version';
COMMENT ON COLUMN aws_lambda.lambda_invocations.tenant_id IS 'in: tenant of a function with tenant isolation';
COMMENT ON COLUMN aws_lambda.lambda_invocations.durable_execution_name IS 'in: name of a durable execution; equal invocations with one name are one execution';
COMMENT ON COLUMN aws_lambda.lambda_invocations.status_code IS 'out: HTTP status: 200, 202 of an event, 204 of a dry run';
COMMENT ON COLUMN aws_lambda.lambda_invocations.response IS 'out: what the function returned; null if that was empty';
COMMENT ON COLUMN aws_lambda.lambda_invocations.executed_version IS 'out: the version that ran';
COMMENT ON COLUMN aws_lambda.lambda_invocations.log_result IS 'out: the log in base64';
COMMENT ON COLUMN aws_lambda.lambda_invocations.log IS 'out: the log as text';
COMMENT ON COLUMN aws_lambda.lambda_invocations.function_error IS 'out: Handled or Unhandled if the function failed';
COMMENT ON COLUMN aws_lambda.lambda_invocations.request_id IS 'out: AWS request id, as in the log in CloudWatch';
COMMENT ON COLUMN aws_lambda.lambda_invocations.durable_execution_arn IS 'out: ARN of the durable execution';
COMMENT ON COLUMN aws_lambda.lambda_invocations.error_code IS 'out: error code, with the option on_error ''return''';
COMMENT ON COLUMN aws_lambda.lambda_invocations.error_message IS 'out: error message, with the option on_error ''return''';
REVOKE ALL ON TABLE aws_lambda.lambda_invocations FROM PUBLIC;

-- The same table for exact text. json has no equality operator for clauses, so payload and context are text.
CREATE FOREIGN TABLE aws_lambda.lambda_invocations_json (
    function_name text,
    region text,
    payload text,
    invocation_type text,
    log_type text,
    context text,
    qualifier text,
    tenant_id text,
    durable_execution_name text,
    status_code integer,
    response json,
    executed_version text,
    log_result text,
    log text,
    function_error text,
    request_id text,
    durable_execution_arn text,
    error_code text,
    error_message text
) SERVER aws_lambda;
COMMENT ON FOREIGN TABLE aws_lambda.lambda_invocations_json IS 'invocations of AWS Lambda functions, with payload and response as exact text';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.function_name IS 'in, required: name, name:qualifier, partial ARN or ARN of the function';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.region IS 'in: where the function is, such as us-east-1';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.payload IS 'in, required: input of the function, byte for byte; IS NULL sends none';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.invocation_type IS 'in: RequestResponse waits for the response, Event queues and returns, DryRun checks access only';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.log_type IS 'in: Tail returns the last 4 KB of the log, None does not';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.context IS 'in: client context, a JSON object with the fields custom and env';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.qualifier IS 'in: alias or version';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.tenant_id IS 'in: tenant of a function with tenant isolation';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.durable_execution_name IS 'in: name of a durable execution; equal invocations with one name are one execution';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.status_code IS 'out: HTTP status: 200, 202 of an event, 204 of a dry run';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.response IS 'out: what the function returned, byte for byte; null if that was empty';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.executed_version IS 'out: the version that ran';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.log_result IS 'out: the log in base64';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.log IS 'out: the log as text';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.function_error IS 'out: Handled or Unhandled if the function failed';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.request_id IS 'out: AWS request id, as in the log in CloudWatch';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.durable_execution_arn IS 'out: ARN of the durable execution';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.error_code IS 'out: error code, with the option on_error ''return''';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.error_message IS 'out: error message, with the option on_error ''return''';
REVOKE ALL ON TABLE aws_lambda.lambda_invocations_json FROM PUBLIC;

-- The planner calls it for each call of invoke, for the cost. This loads the library, and with it the session's settings, before a parallel
-- query starts: PostgreSQL does not apply them later.
CREATE FUNCTION aws_lambda.invoke_support(internal) RETURNS internal
LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
AS '$libdir/aws_lambda_fdw', 'invoke_support';
COMMENT ON FUNCTION aws_lambda.invoke_support(internal) IS 'planner support function of aws_lambda.invoke';
REVOKE ALL ON FUNCTION aws_lambda.invoke_support(internal) FROM PUBLIC;

-- The functions run as their owner (SECURITY DEFINER), so a role needs EXECUTE on them and nothing else. A null argument means the default.

CREATE FUNCTION aws_lambda.invoke(
    IN function_name aws_commons._lambda_function_arn_1,
    IN payload json,
    IN invocation_type text DEFAULT 'RequestResponse',
    IN log_type text DEFAULT 'None',
    IN context json DEFAULT NULL,
    IN qualifier varchar(128) DEFAULT NULL,
    OUT status_code int, OUT payload json, OUT executed_version text, OUT log_result text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SUPPORT aws_lambda.invoke_support
AS '$libdir/aws_lambda_fdw', 'invoke_structure_json';
COMMENT ON FUNCTION aws_lambda.invoke(aws_commons._lambda_function_arn_1, json, text, text, json, varchar(128))
    IS 'invokes an AWS Lambda function, with json: takes calls with what aws_commons.create_lambda_function_arn returns; the third argument is invocation_type';
REVOKE ALL ON FUNCTION aws_lambda.invoke(aws_commons._lambda_function_arn_1, json, text, text, json, varchar(128)) FROM PUBLIC;

-- \gset turns a composite into text, so a name that begins with a parenthesis is a row literal. Such a call means the signature above. Its
-- positional arguments then arrive one position further right.
CREATE FUNCTION aws_lambda.invoke(
    IN function_name text,
    IN payload json,
    IN region text DEFAULT NULL,
    IN invocation_type text DEFAULT 'RequestResponse',
    IN log_type text DEFAULT 'None',
    IN context json DEFAULT NULL,
    IN qualifier varchar(128) DEFAULT NULL,
    OUT status_code int, OUT payload json, OUT executed_version text, OUT log_result text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SUPPORT aws_lambda.invoke_support
AS '$libdir/aws_lambda_fdw', 'invoke_name_json';
COMMENT ON FUNCTION aws_lambda.invoke(text, json, text, text, text, json, varchar(128))
    IS 'invokes an AWS Lambda function, with json: takes calls with a name or ARN; the third argument is region';
REVOKE ALL ON FUNCTION aws_lambda.invoke(text, json, text, text, text, json, varchar(128)) FROM PUBLIC;

-- It has no defaults, so it takes calls with six arguments only. With a row literal they are those of the signature with the composite. With a
-- plain name they are name, payload, region, invocation_type, log_type and context.
CREATE FUNCTION aws_lambda.invoke(
    IN function_name text,
    IN payload json,
    IN argument_3 text,
    IN argument_4 text,
    IN argument_5 text,
    IN argument_6 varchar(128),
    OUT status_code int, OUT payload json, OUT executed_version text, OUT log_result text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SUPPORT aws_lambda.invoke_support
AS '$libdir/aws_lambda_fdw', 'invoke_either_json';
COMMENT ON FUNCTION aws_lambda.invoke(text, json, text, text, text, varchar(128))
    IS 'invokes an AWS Lambda function, with json: takes calls with six arguments without types; of what psql''s \gset keeps of create_lambda_function_arn, invocation_type, log_type, context and qualifier are the third to sixth, and of a name region, invocation_type, log_type and context';
REVOKE ALL ON FUNCTION aws_lambda.invoke(text, json, text, text, text, varchar(128)) FROM PUBLIC;

CREATE FUNCTION aws_lambda.invoke(
    IN function_name aws_commons._lambda_function_arn_1,
    IN payload jsonb,
    IN invocation_type text DEFAULT 'RequestResponse',
    IN log_type text DEFAULT 'None',
    IN context jsonb DEFAULT NULL,
    IN qualifier varchar(128) DEFAULT NULL,
    OUT status_code int, OUT payload jsonb, OUT executed_version text, OUT log_result text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SUPPORT aws_lambda.invoke_support
AS '$libdir/aws_lambda_fdw', 'invoke_structure_jsonb';
COMMENT ON FUNCTION aws_lambda.invoke(aws_commons._lambda_function_arn_1, jsonb, text, text, jsonb, varchar(128))
    IS 'invokes an AWS Lambda function, with jsonb: takes calls with what aws_commons.create_lambda_function_arn returns; the third argument is invocation_type';
REVOKE ALL ON FUNCTION aws_lambda.invoke(aws_commons._lambda_function_arn_1, jsonb, text, text, jsonb, varchar(128)) FROM PUBLIC;

-- \gset turns a composite into text, so a name that begins with a parenthesis is a row literal. Such a call means the signature above. Its
-- positional arguments then arrive one position further right.
CREATE FUNCTION aws_lambda.invoke(
    IN function_name text,
    IN payload jsonb,
    IN region text DEFAULT NULL,
    IN invocation_type text DEFAULT 'RequestResponse',
    IN log_type text DEFAULT 'None',
    IN context jsonb DEFAULT NULL,
    IN qualifier varchar(128) DEFAULT NULL,
    OUT status_code int, OUT payload jsonb, OUT executed_version text, OUT log_result text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SUPPORT aws_lambda.invoke_support
AS '$libdir/aws_lambda_fdw', 'invoke_name_jsonb';
COMMENT ON FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, jsonb, varchar(128))
    IS 'invokes an AWS Lambda function, with jsonb: takes calls with a name or ARN; the third argument is region';
REVOKE ALL ON FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, jsonb, varchar(128)) FROM PUBLIC;

-- It has no defaults, so it takes calls with six arguments only. With a row literal they are those of the signature with the composite. With a
-- plain name they are name, payload, region, invocation_type, log_type and context.
CREATE FUNCTION aws_lambda.invoke(
    IN function_name text,
    IN payload jsonb,
    IN argument_3 text,
    IN argument_4 text,
    IN argument_5 text,
    IN argument_6 varchar(128),
    OUT status_code int, OUT payload jsonb, OUT executed_version text, OUT log_result text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SUPPORT aws_lambda.invoke_support
AS '$libdir/aws_lambda_fdw', 'invoke_either_jsonb';
COMMENT ON FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, varchar(128))
    IS 'invokes an AWS Lambda function, with jsonb: takes calls with six arguments without types; of what psql''s \gset keeps of create_lambda_function_arn, invocation_type, log_type, context and qualifier are the third to sixth, and of a name region, invocation_type, log_type and context';
REVOKE ALL ON FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, varchar(128)) FROM PUBLIC;
