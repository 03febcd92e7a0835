-- The settings: their defaults and ranges, who may set them, and what malformed ones do.

\a
SELECT endpoint.reset();

-- In a session that has not used the extension yet

\c -
SHOW aws_lambda.region;
SET aws_lambda.request_timeout_ms = '2500';
SELECT payload FROM aws_lambda.invoke('echo', '{}'::json);
SHOW aws_lambda.request_timeout_ms;
RESET aws_lambda.request_timeout_ms;
SELECT name, context, vartype, min_val, max_val, boot_val, short_desc, extra_desc
FROM pg_settings WHERE name LIKE 'aws\_lambda.%' ORDER BY name;
SHOW aws_lambda.region;
SHOW aws_lambda.connect_timeout_ms;
SHOW aws_lambda.request_timeout_ms;

-- Ranges

SET aws_lambda.connect_timeout_ms = 1;
SET aws_lambda.connect_timeout_ms = 900000;
SET aws_lambda.connect_timeout_ms = 0;
SET aws_lambda.connect_timeout_ms = 900001;
SET aws_lambda.request_timeout_ms = 1;
SET aws_lambda.request_timeout_ms = 900000;
SET aws_lambda.request_timeout_ms = 0;
SET aws_lambda.request_timeout_ms = 900001;
SET aws_lambda.request_timeout_ms = 'soon';
SET aws_lambda.request_timeout_ms = '10s';
SHOW aws_lambda.request_timeout_ms;
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

-- There are no others, and what is an option is none. Before 15 PostgreSQL can't refuse them.
SELECT sum((current_setting('server_version_num')::int < 150000 OR sqlstate = '42602')::int) AS refused
FROM (VALUES ('request_timeout = 100'), ('max_retries = 1'), ('on_error = return')) AS v (setting), endpoint.error_of('SET aws_lambda.' || setting);

-- Malformed: an error before anything is sent. The clause's or server's own value makes them irrelevant.

SELECT endpoint.reset();
SET aws_lambda.region = 'here';
SELECT * FROM aws_lambda.invoke('echo', '{}'::json);
SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '{}';
SET aws_lambda.region = 'us-west-2.example.com';
SELECT * FROM aws_lambda.invoke('echo', '{}'::json);
RESET aws_lambda.region;
SET aws_lambda.endpoint_override = 'somewhere';
SELECT * FROM aws_lambda.invoke('echo', '{}'::json);
SET aws_lambda.endpoint_override = 'ftp://127.0.0.1';
SELECT * FROM aws_lambda.invoke('echo', '{}'::json);
RESET aws_lambda.endpoint_override;
SELECT endpoint.counter('connections');

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
SELECT * FROM aws_lambda.invoke('describe', '{}'::jsonb);
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
-- What is longer than anything that has a meaning is not even copied.
SELECT set_config('aws_lambda.region', repeat('x', 70000), false) IS NULL AS set;
SELECT payload FROM aws_lambda.invoke('echo', '1'::jsonb);
RESET aws_lambda.region;

-- Neither before the library is loaded, when PostgreSQL doesn't know yet whose setting it is

\c -
SET SESSION AUTHORIZATION regress_lambda_user;
SET aws_lambda.endpoint_override = 'http://127.0.0.1:1';
SELECT payload FROM aws_lambda.invoke('echo', '"through"'::jsonb);
SELECT current_setting('aws_lambda.endpoint_override') = 'http://127.0.0.1:1' AS set;
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_lambda_user;
DROP ROLE regress_lambda_user;
