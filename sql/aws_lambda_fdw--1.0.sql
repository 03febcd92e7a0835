\echo Use "CREATE EXTENSION aws_lambda_fdw" to load this file. \quit

-- If the extension aws_lambda was created first, it owns the wrapper. This extension takes it over, so that it stays when aws_lambda is dropped.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'aws_lambda') THEN
        ALTER EXTENSION aws_lambda DROP FOREIGN DATA WRAPPER aws_lambda_fdw;
        ALTER EXTENSION aws_lambda DROP FUNCTION aws_lambda.aws_lambda_fdw_handler();
        ALTER EXTENSION aws_lambda DROP FUNCTION aws_lambda.aws_lambda_fdw_validator(text[], oid);
        ALTER FUNCTION aws_lambda.aws_lambda_fdw_handler() SET SCHEMA @extschema@;
        ALTER FUNCTION aws_lambda.aws_lambda_fdw_validator(text[], oid) SET SCHEMA @extschema@;
        ALTER EXTENSION aws_lambda_fdw ADD FUNCTION @extschema@.aws_lambda_fdw_handler();
        ALTER EXTENSION aws_lambda_fdw ADD FUNCTION @extschema@.aws_lambda_fdw_validator(text[], oid);
        ALTER EXTENSION aws_lambda_fdw ADD FOREIGN DATA WRAPPER aws_lambda_fdw;
        RETURN;
    END IF;

    CREATE FUNCTION @extschema@.aws_lambda_fdw_handler() RETURNS fdw_handler
    LANGUAGE c STRICT VOLATILE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'lambda_fdw_handler_wrapper';
    COMMENT ON FUNCTION @extschema@.aws_lambda_fdw_handler() IS 'handler of the foreign-data wrapper aws_lambda_fdw';
    REVOKE ALL ON FUNCTION @extschema@.aws_lambda_fdw_handler() FROM PUBLIC;

    CREATE FUNCTION @extschema@.aws_lambda_fdw_validator(options text[], catalog oid) RETURNS void
    LANGUAGE c VOLATILE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'lambda_fdw_validator_wrapper';
    COMMENT ON FUNCTION @extschema@.aws_lambda_fdw_validator(text[], oid) IS 'validator of options of the foreign-data wrapper aws_lambda_fdw';
    REVOKE ALL ON FUNCTION @extschema@.aws_lambda_fdw_validator(text[], oid) FROM PUBLIC;

    CREATE FOREIGN DATA WRAPPER aws_lambda_fdw
        HANDLER @extschema@.aws_lambda_fdw_handler
        VALIDATOR @extschema@.aws_lambda_fdw_validator;
    COMMENT ON FOREIGN DATA WRAPPER aws_lambda_fdw IS 'AWS Lambda functions as tables of invocations';
END $$;
