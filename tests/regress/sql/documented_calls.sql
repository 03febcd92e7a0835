-- The calls in Amazon's documentation of the extension, as they stand there. Where it says my-function, the
-- function is one of the scripted endpoint: `log` returns its payload and has a log.

\a
SELECT p.proname, pg_get_function_arguments(p.oid) AS arguments, obj_description(p.oid) AS comment
FROM pg_proc AS p WHERE p.pronamespace = 'aws_lambda'::regnamespace AND p.proname !~ '^(enqueue|deliver|retry|start_worker)$'
ORDER BY p.proargtypes[1]::regtype::text, p.proargtypes[0]::regtype::text, p.pronargs \gx
SELECT p.proname, pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result
FROM pg_proc AS p WHERE p.pronamespace = 'aws_commons'::regnamespace \gx
\a

-- Specifying the function

SELECT aws_commons.create_lambda_function_arn(
    'log',
    'us-west-2'
) AS aws_lambda_arn_1 \gset
SELECT aws_commons.create_lambda_function_arn(
    '123456789012:function:log',
    'us-west-2'
) AS lambda_partial_arn_1 \gset
SELECT aws_commons.create_lambda_function_arn(
    'arn:aws:lambda:us-west-2:123456789012:function:log'
) AS lambda_arn_1 \gset
\echo :aws_lambda_arn_1 :lambda_partial_arn_1 :lambda_arn_1
SELECT endpoint.reset();

-- json: synchronous

SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::json);
SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::json, 'RequestResponse');
SELECT * FROM aws_lambda.invoke(aws_commons.create_lambda_function_arn('log', 'us-west-2'), '{"body": "Hello from Postgres!"}'::json );
SELECT * FROM aws_lambda.invoke(:'lambda_partial_arn_1', '{"body": "Hello from Postgres!"}'::json);
SELECT * FROM aws_lambda.invoke(:'lambda_arn_1', '{"body": "Hello from Postgres!"}'::json);

-- json: asynchronous

SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::json, 'Event');

-- json: with the log

SELECT *, convert_from(decode(log_result, 'base64'), 'utf-8') as log FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::json, 'RequestResponse', 'Tail') \gx

-- json: with client context

SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::json, 'RequestResponse', 'None', '{"custom": {"a": "b"}, "env": {}}'::json);
SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::json, 'RequestResponse', 'Tail', '{"custom": {"untyped": 1}}');
SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::json, context => '{"custom": {"named": 1}}');

-- json: a version

SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::json, 'RequestResponse', 'None', NULL, 'custom_version');
SELECT * FROM aws_lambda.invoke(aws_commons.create_lambda_function_arn('log:custom_version', 'us-west-2'), '{"body": "Hello from Postgres!"}'::json );

-- json: access only

SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::json, 'DryRun');

SELECT * FROM endpoint.invocations();
SELECT endpoint.reset();

-- jsonb: the same

SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::jsonb);
SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::jsonb, 'RequestResponse');
SELECT * FROM aws_lambda.invoke(aws_commons.create_lambda_function_arn('log', 'us-west-2'), '{"body": "Hello from Postgres!"}'::jsonb );
SELECT * FROM aws_lambda.invoke(:'lambda_partial_arn_1', '{"body": "Hello from Postgres!"}'::jsonb);
SELECT * FROM aws_lambda.invoke(:'lambda_arn_1', '{"body": "Hello from Postgres!"}'::jsonb);
SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::jsonb, 'Event');
SELECT *, convert_from(decode(log_result, 'base64'), 'utf-8') as log FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::jsonb, 'RequestResponse', 'Tail') \gx
SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::jsonb, 'RequestResponse', 'None', '{"custom": {"a": "b"}, "env": {}}'::jsonb);
SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::jsonb, 'RequestResponse', 'Tail', '{"custom": {"untyped": 1}}');
SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::jsonb, context => '{"custom": {"named": 1}}');
SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::jsonb, 'RequestResponse', 'None', NULL, 'custom_version');
SELECT * FROM aws_lambda.invoke(aws_commons.create_lambda_function_arn('log:custom_version', 'us-west-2'), '{"body": "Hello from Postgres!"}'::jsonb );
SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::jsonb, 'DryRun');

SELECT * FROM endpoint.invocations();
SELECT endpoint.reset();

-- The composite value itself, with all arguments

SELECT status_code, executed_version, log_result IS NOT NULL AS log FROM aws_lambda.invoke(
    aws_commons.create_lambda_function_arn('log', 'us-west-2'), '{"n": 1}'::json, 'RequestResponse', 'Tail', '{"custom": {}}', 'v1');
SELECT status_code, executed_version, log_result IS NOT NULL AS log FROM aws_lambda.invoke(
    aws_commons.create_lambda_function_arn('log', 'us-west-2'), '{"n": 2}'::jsonb, 'RequestResponse', 'Tail', '{"custom": {}}', 'v1');

-- By the name itself, with one to seven arguments

SELECT * FROM aws_lambda.invoke('log', '{"n": 3}'::json);
SELECT * FROM aws_lambda.invoke('log', '{"n": 4}'::json, 'us-west-2');
SELECT * FROM aws_lambda.invoke('log', '{"n": 5}'::json, 'us-west-2', 'Event');
SELECT * FROM aws_lambda.invoke('log', '{"n": 6}'::json, 'us-west-2', 'RequestResponse', 'Tail');
SELECT * FROM aws_lambda.invoke('log', '{"n": 7}'::json, 'us-west-2', 'RequestResponse', 'None', '{"custom": {"untyped": 1}}');
SELECT * FROM aws_lambda.invoke('log', '{"n": 8}'::jsonb, 'us-west-2', 'RequestResponse', 'None', '{"custom": {"untyped": 1}}');
SELECT * FROM aws_lambda.invoke('log', '{"n": 9}'::json, 'us-west-2', 'RequestResponse', 'None', '{"custom": {"typed": 1}}'::json);
SELECT * FROM aws_lambda.invoke('log', '{"n": 10}'::json, 'us-west-2', 'RequestResponse', 'None', NULL);
SELECT * FROM aws_lambda.invoke('log', '{"n": 11}'::json, 'us-west-2', 'RequestResponse', 'Tail', '{"custom": {}}', 'v2');
SELECT * FROM aws_lambda.invoke('log', '{"n": 12}'::jsonb, 'us-west-2', 'RequestResponse', 'Tail', NULL, 'v2');

-- Named notation, by the name and by the row, wholly or for the last arguments

SELECT * FROM aws_lambda.invoke(function_name => 'log', payload => '{"n": 13}'::json, invocation_type => 'Event');
SELECT * FROM aws_lambda.invoke(function_name => 'log', payload => '{"n": 14}'::json, qualifier => 'v3', log_type => 'Tail');
SELECT * FROM aws_lambda.invoke(function_name => :'aws_lambda_arn_1', payload => '{"n": 15}'::json, invocation_type => 'Event');
SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"n": 16}'::json, log_type => 'Tail');
SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"n": 17}'::json, 'RequestResponse', log_type => 'Tail');
SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"n": 18}'::jsonb, 'RequestResponse', log_type => 'Tail');
SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"n": 19}'::json, 'RequestResponse', qualifier => 'v4');
SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"n": 20}'::json, 'RequestResponse', 'None', context => '{"custom": {}}');

SELECT * FROM endpoint.invocations();

-- Errors of the function, and what the row literal does not take

SELECT aws_commons.create_lambda_function_arn('arn:aws:lambda:us-west-2:123456789012:function:unhandled') AS aws_lambda_arn_1 \gset
SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::json);
SELECT * FROM aws_lambda.invoke(:'aws_lambda_arn_1', '{"body": "Hello from Postgres!"}'::jsonb);

SELECT endpoint.reset();
SELECT * FROM aws_lambda.invoke('(log,us-west-2', '{}'::json);
SELECT * FROM aws_lambda.invoke('(log,us-west-2,x)', '{}'::json);
SELECT * FROM aws_lambda.invoke('(log,us-west-2)', '{}'::json, 'us-west-2');
SELECT * FROM aws_lambda.invoke('(log,us-west-2)', '{}'::json, 'RequestResponse', 'Tail', 'no JSON');
SELECT endpoint.count();

-- The name on the page, which the endpoint does not have

SELECT * FROM endpoint.error_of($$
    SELECT * FROM aws_lambda.invoke(aws_commons.create_lambda_function_arn('my-function', 'us-west-2'), '{"body": "Hello from Postgres!"}'::json )
$$) \gx
SELECT function, payload FROM endpoint.invocations();

-- A table takes such a text too, unless that would move what an option fixes

SELECT status_code, region FROM aws_lambda.lambda_invocations WHERE function_name = '(echo,us-west-2)' AND payload = '1';
SELECT status_code FROM aws_lambda.lambda_invocations WHERE function_name = '(echo,us-west-2)' AND region = 'DryRun' AND payload = '1';
CREATE FOREIGN TABLE fixed_type (function_name text, region text, log_type text, payload jsonb, status_code int) SERVER aws_lambda OPTIONS (invocation_type 'RequestResponse');
SELECT status_code FROM fixed_type WHERE function_name = '(echo,us-west-2)' AND region = 'DryRun' AND payload = '1';
INSERT INTO fixed_type (function_name, region, payload) VALUES ('(echo,us-west-2)', 'Event', '1');
DROP FOREIGN TABLE fixed_type;
CREATE FOREIGN TABLE fixed_log (function_name text, region text, invocation_type text, payload jsonb, status_code int) SERVER aws_lambda OPTIONS (log_type 'None');
SELECT status_code FROM fixed_log WHERE function_name = '(echo,us-west-2)' AND region = 'RequestResponse' AND invocation_type = 'Tail' AND payload = '1';
DROP FOREIGN TABLE fixed_log;
CREATE FOREIGN TABLE fixed_region (function_name text, payload jsonb, status_code int) SERVER aws_lambda OPTIONS (region 'us-west-2');
SELECT status_code FROM fixed_region WHERE function_name = '(echo,eu-west-1)' AND payload = '1';
DROP FOREIGN TABLE fixed_region;
