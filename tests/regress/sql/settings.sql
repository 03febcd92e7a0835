-- The settings: their defaults and ranges, who may set them, and what malformed ones do.

\a
SELECT endpoint.reset();

-- In a session that has not used the extension yet

\c -
SHOW aws_lambda.region;
SET aws_lambda.request_timeout_ms = '10s';
SELECT payload FROM aws_lambda.invoke('echo', '{}'::json);
SHOW aws_lambda.request_timeout_ms;
RESET aws_lambda.request_timeout_ms;

-- Values set before the library is loaded are checked then, and nothing is invoked with a default instead

CREATE FUNCTION invocations_with(setting text, value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE detail text; hint text;
BEGIN
    PERFORM set_config(setting, value, false), endpoint.reset();
    PERFORM FROM aws_lambda.invoke('echo', '{}'::json);
    RETURN 'invoked';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', endpoint.count(), SQLSTATE, SQLERRM, detail, hint);
END $$;
\c -
SELECT invocations_with('aws_lambda.region', 'us east 1');
SELECT invocations_with('aws_lambda.region', E'us\n\u001beast');
SELECT invocations_with('aws_lambda.region', 'us-east-1.example.com');
SELECT endpoint.redact(invocations_with('aws_lambda.region', ''));
\c -
SELECT invocations_with('aws_lambda.endpoint_override', 'https://me:hunter2@example.com');
SELECT length(invocations_with('aws_lambda.endpoint_override', repeat('x', 70000))) < 1000 AS short;
SELECT invocations_with('aws_lambda.max_invocations', 'none');
SELECT invocations_with('aws_lambda.max_invocations', '-1');
RESET aws_lambda.endpoint_override;
RESET aws_lambda.max_invocations;
SELECT invocations_with('aws_lambda.request_timeout_ms', '0');
RESET aws_lambda.request_timeout_ms;
SELECT invocations_with('aws_lambda.max_retries', 'many');
SELECT invocations_with('aws_lambda.max_retries', '0');
\c -
EXPLAIN (COSTS OFF) SELECT payload FROM aws_lambda.invoke('echo', '{}'::json);
SELECT name, context, vartype, min_val, max_val, boot_val, short_desc, extra_desc
FROM pg_settings WHERE name LIKE 'aws\_lambda.%' ORDER BY name;
SHOW aws_lambda.region;
SHOW aws_lambda.connect_timeout_ms;
SHOW aws_lambda.request_timeout_ms;

-- Ranges

SET aws_lambda.connect_timeout_ms = 1;
SET aws_lambda.connect_timeout_ms = 3600000;
SELECT sqlstate FROM endpoint.error_of('SET aws_lambda.connect_timeout_ms = 0');
SELECT sqlstate FROM endpoint.error_of('SET aws_lambda.connect_timeout_ms = 3600001');
SET aws_lambda.request_timeout_ms = 1;
SET aws_lambda.request_timeout_ms = 3600000;
SELECT sqlstate FROM endpoint.error_of('SET aws_lambda.request_timeout_ms = 0');
SELECT sqlstate FROM endpoint.error_of('SET aws_lambda.request_timeout_ms = 3600001');
SET aws_lambda.request_timeout_ms = 'soon';
SET aws_lambda.request_timeout_ms = '10s';
SHOW aws_lambda.request_timeout_ms;
SET aws_lambda.connect_timeout_ms = '1.5s';
SHOW aws_lambda.connect_timeout_ms;
SET aws_lambda.retry_timeout_ms = '1min';
SHOW aws_lambda.retry_timeout_ms;
SELECT sqlstate FROM endpoint.error_of('SET aws_lambda.retry_timeout_ms = 0');
RESET aws_lambda.retry_timeout_ms;
SET aws_lambda.max_retries = 101;
SET aws_lambda.max_retries = -1;
RESET aws_lambda.connect_timeout_ms;
RESET aws_lambda.request_timeout_ms;
SET aws_lambda.max_concurrency = 1;
SET aws_lambda.max_concurrency = 1000;
SET aws_lambda.max_concurrency = 0;
SET aws_lambda.max_concurrency = 1001;
SHOW aws_lambda.max_concurrency;
RESET aws_lambda.max_concurrency;
SET aws_lambda.max_invocations = 0;
SET aws_lambda.max_invocations = 2147483647;
SET aws_lambda.max_invocations = -1;
SET aws_lambda.max_invocations = 2147483648;
SET aws_lambda.max_invocations = 'none';
SHOW aws_lambda.max_invocations;
RESET aws_lambda.max_invocations;
SET aws_lambda.progress_interval = 0;
SET aws_lambda.progress_interval = '1 d';
SELECT sqlstate FROM endpoint.error_of('SET aws_lambda.progress_interval = -1');
SELECT sqlstate FROM endpoint.error_of('SET aws_lambda.progress_interval = 86401');
SET aws_lambda.progress_interval = 'often';
SET aws_lambda.progress_interval = '90 s';
SHOW aws_lambda.progress_interval;
RESET aws_lambda.progress_interval;

-- Other names in this prefix are refused, those of options too. PostgreSQL 14 accepts them.
SELECT sum((current_setting('server_version_num')::int < 150000 OR sqlstate = '42602')::int) AS refused
FROM (VALUES ('request_timeout = 100'), ('use_fips = true'), ('on_error = return')) AS v (setting), endpoint.error_of('SET aws_lambda.' || setting);

-- Malformed: refused when it is set. Empty is what is not set.

SET aws_lambda.region = 'here';
SET aws_lambda.region = 'us-west-2.example.com';
SET aws_lambda.region = ' us-west-2';
SET aws_lambda.endpoint_override = 'somewhere';
SET aws_lambda.endpoint_override = 'ftp://127.0.0.1';
SELECT sqlstate FROM endpoint.error_of($$SELECT set_config('aws_lambda.region', repeat('x', 70000), false)$$);
SELECT current_setting('aws_lambda.region') AS region, current_setting('aws_lambda.endpoint_override') LIKE 'http://127.0.0.1:%' AS endpoint;

-- How often and how long an invocation that did not run is tried again: the server's option, or else the setting

SELECT endpoint.reset();
SET aws_lambda.max_retries = 2;
SELECT sqlstate FROM endpoint.error_of($$SELECT * FROM aws_lambda.invoke('error-429-TooManyRequestsException', '1'::json)$$);
SELECT endpoint.count();
SET aws_lambda.max_retries = 0;
SELECT sqlstate FROM endpoint.error_of($$SELECT * FROM aws_lambda.invoke('error-429-TooManyRequestsException', '1'::jsonb)$$);
SELECT sqlstate FROM endpoint.error_of($$SELECT FROM aws_lambda.lambda_invocations WHERE function_name = 'error-429-TooManyRequestsException' AND payload = '1'$$);
SELECT endpoint.count();
CREATE SERVER patient FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (max_retries '1');
CREATE FOREIGN TABLE patient (payload jsonb, response jsonb) SERVER patient OPTIONS (function_name 'error-429-TooManyRequestsException');
SELECT sqlstate FROM endpoint.error_of($$SELECT FROM patient WHERE payload = '1'$$);
SELECT endpoint.count();
DROP SERVER patient CASCADE;
RESET aws_lambda.max_retries;
SET aws_lambda.retry_timeout_ms = 1;
SELECT sqlstate FROM endpoint.error_of($$SELECT * FROM aws_lambda.invoke('error-429-TooManyRequestsException', '1'::json)$$);
SELECT endpoint.count();
RESET aws_lambda.retry_timeout_ms;

-- The region of all calls that give none; empty leaves it to the machine, which has none here

SET aws_lambda.region = 'ca-central-1';
SELECT payload ->> 'region' AS region FROM aws_lambda.invoke('describe', '{}'::jsonb);
BEGIN;
SET LOCAL aws_lambda.region = 'eu-north-1';
SELECT payload ->> 'region' AS region FROM aws_lambda.invoke('describe', '{}'::jsonb);
COMMIT;
SELECT payload ->> 'region' AS region FROM aws_lambda.invoke('describe', '{}'::jsonb);
SET aws_lambda.region = '';
SELECT endpoint.reset();
SELECT * FROM endpoint.error_of($$SELECT * FROM aws_lambda.invoke('describe', '{}'::jsonb)$$);
SELECT endpoint.count();
SELECT payload ->> 'region' AS region FROM aws_lambda.invoke('describe', '{}'::jsonb, 'af-south-1');
RESET aws_lambda.region;

-- An ordinary role may say where functions are and how long to wait, but not where the server connects

CREATE ROLE regress_lambda_user;
GRANT USAGE ON SCHEMA aws_lambda TO regress_lambda_user;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA aws_lambda TO regress_lambda_user;
SET ROLE regress_lambda_user;
SET aws_lambda.endpoint_override = 'http://127.0.0.1:1';
SET aws_lambda.region = 'us-east-1';
SET aws_lambda.request_timeout_ms = 20000;
SELECT payload ->> 'region' AS region FROM aws_lambda.invoke('describe', '{}'::jsonb);
RESET ROLE;
RESET aws_lambda.region;

-- Neither before the library is loaded, when PostgreSQL doesn't know yet whose setting it is

\c -
SET SESSION AUTHORIZATION regress_lambda_user;
SET aws_lambda.endpoint_override = 'http://127.0.0.1:1';
SELECT payload FROM aws_lambda.invoke('echo', '"through"'::jsonb);
SELECT current_setting('aws_lambda.endpoint_override') = 'http://127.0.0.1:1' AS set;
RESET SESSION AUTHORIZATION;
DROP FUNCTION invocations_with;
DROP OWNED BY regress_lambda_user;
DROP ROLE regress_lambda_user;
