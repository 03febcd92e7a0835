-- Common mistakes and their messages, which say what happened, whether a function ran, and what to write.

SET client_min_messages = warning;
CREATE SCHEMA mistakes;
SET search_path = mistakes, public;
CREATE TABLE cities (name text);
INSERT INTO cities VALUES ('Lima');
CREATE FOREIGN TABLE own (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE of_json (payload json, response json) SERVER aws_lambda OPTIONS (function_name 'echo');
RESET client_min_messages;
\a
\t
SELECT endpoint.reset();
CREATE FUNCTION told(statement text) RETURNS TABLE (line text) LANGUAGE sql AS $$
    SELECT unnest(ARRAY['-- ' || statement, e.sqlstate || ' ' || coalesce(e.message, ''), '   ' || e.detail, '   ' || e.hint])
    FROM endpoint.error_of(statement) AS e
$$;
CREATE FUNCTION told_all(VARIADIC statements text[]) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT t.line FROM unnest(statements) WITH ORDINALITY AS s (statement, place), told(s.statement) AS t
    WHERE t.line IS NOT NULL ORDER BY s.place
$$;

-- A value in another argument's place, or in another spelling

SELECT told_all(
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::json, 'Event')$$,
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::jsonb, 'RequestResponse', 'Tail')$$,
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::json, 'event')$$,
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::json, 'DryRun')$$,
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::json, 'Tail')$$,
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::json, '$LATEST')$$,
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::json, '3')$$,
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::json, 'prod')$$,
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::json, '{"custom": {}}')$$,
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::json, 'US-EAST-1')$$,
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::json, 'us-east-1a')$$,
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::json, 'us_east_1')$$,
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::json, 'useast1')$$,
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::json, 'Frankfurt')$$,
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::json, 'us-east-1', 'Tail')$$,
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::json, 'us-east-1', 'event')$$,
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::json, 'us-east-1', 'async')$$,
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::json, 'us-east-1', 'Event', 'tail')$$,
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::json, 'us-east-1', 'Event', 'v1')$$,
    $$SELECT * FROM aws_lambda.invoke(aws_commons.create_lambda_function_arn('echo'), '{}'::json, 'us-east-1')$$,
    $$SELECT * FROM aws_lambda.invoke(aws_commons.create_lambda_function_arn('echo', 'Event'), '{}'::json)$$,
    $$SELECT * FROM aws_lambda.invoke('(echo,)', '{}'::json, 'us-east-1')$$,
    $$SELECT * FROM aws_lambda.invoke('(echo,us-west-2)', '{}'::json, 'Event', 'us-east-1', NULL, NULL)$$,
    $$SELECT * FROM aws_lambda.invoke(aws_commons.create_lambda_function_arn('echo'), '{}'::json, 'RequestResponse', 'Event')$$,
    $$SELECT * FROM aws_lambda.invoke('echo', '{}'::json, qualifier => 'us-east-1.prod')$$,
    $$SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '{}' AND region = 'Event'$$,
    $$SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '{}' AND invocation_type = 'Tail'$$,
    $$SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '{}' AND invocation_type = 'event'$$,
    $$SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '{}' AND region = 'eu-central1'$$);
SELECT endpoint.made();

-- Names

SELECT told_all(
    $$SELECT * FROM aws_lambda.invoke('"echo"', '{}'::json)$$,
    $$SELECT * FROM aws_lambda.invoke('echo ', '{}'::json)$$,
    $$SELECT * FROM aws_lambda.invoke('', '{}'::json)$$,
    $$SELECT * FROM aws_lambda.invoke(NULL::text, '{}'::json)$$,
    $$SELECT * FROM aws_lambda.invoke('arn:aws:lambda:us-west-2:1234:function:echo', '{}'::json)$$,
    $$SELECT * FROM aws_lambda.invoke('arn:aws:lambda:::function:echo', '{}'::json)$$,
    $$SELECT * FROM aws_lambda.invoke('arn:aws:lambda:us-west-2:123456789012:layer:echo:1', '{}'::json)$$,
    $$SELECT * FROM aws_lambda.invoke('arn:aws:iam::123456789012:role/echo', '{}'::json)$$,
    $$SELECT * FROM aws_lambda.invoke('https://abc.lambda-url.us-east-1.on.aws/', '{}'::json)$$,
    $$SELECT * FROM aws_lambda.invoke('echo:$latest', '{}'::json)$$,
    $$SELECT * FROM aws_lambda.invoke('echo:v1', '{}'::json, qualifier => 'v2')$$,
    $$SELECT * FROM aws_lambda.invoke('arn:aws:lambda:us-west-2:123456789012:function:echo', '{}'::json, 'us-east-1')$$,
    $$SELECT * FROM aws_lambda.invoke('nosuchfunction', '{}'::json)$$);
SELECT endpoint.made();

-- Which of two functions failed

SET aws_lambda.request_timeout_ms = 200;
SELECT told_all(
    $$SELECT b.response FROM aws_lambda.lambda_invocations a JOIN aws_lambda.lambda_invocations b ON b.payload = a.response
        WHERE a.function_name = 'echo' AND a.payload = '{}' AND b.function_name = 'hang:v1'$$,
    $$SELECT b.response FROM aws_lambda.lambda_invocations a JOIN aws_lambda.lambda_invocations b ON b.payload = a.response
        WHERE a.function_name = 'hang' AND a.payload = '{}' AND b.function_name = 'echo'$$,
    $$SELECT * FROM aws_lambda.lambda_invocations WHERE function_name IN ('echo', 'error-500-ServiceException') AND payload = '{}'$$,
    $$SELECT * FROM aws_lambda.lambda_invocations WHERE function_name IN ('echo', 'html') AND payload = '{}'$$,
    $$SELECT * FROM aws_lambda.lambda_invocations WHERE function_name IN ('echo', 'handled') AND payload = '{}'$$,
    $$INSERT INTO aws_lambda.lambda_invocations (function_name, payload) VALUES ('echo', '1'), ('error-403-AccessDeniedException', '2')$$);
RESET aws_lambda.request_timeout_ms;
CREATE DOMAIN small AS jsonb CHECK (length(VALUE::text) < 4);
CREATE FOREIGN TABLE smalls (function_name text, payload jsonb, response small) SERVER aws_lambda;
CREATE FOREIGN TABLE texts (function_name text, payload jsonb, response varchar(4)) SERVER aws_lambda;
SELECT response FROM smalls WHERE function_name = 'echo' AND payload IN ('[1]', '[1, 2]');
SELECT response FROM texts WHERE function_name = 'echo' AND payload IN ('[1]', '[1, 2]');
SELECT endpoint.reset();

-- No value for what is invoked

SELECT told_all(
    $$SELECT * FROM aws_lambda.lambda_invocations$$,
    $$SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo'$$,
    $$SELECT * FROM aws_lambda.lambda_invocations WHERE payload = '{}'$$,
    $$SELECT * FROM aws_lambda.lambda_invocations WHERE function_name LIKE 'echo' AND payload = '{}'$$,
    $$SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload->>'k' = '1'$$,
    $$SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload @> '{"k": 1}'$$,
    $$SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' OR payload = '{}'$$,
    $$SELECT * FROM own$$,
    $$SELECT * FROM own WHERE payload = to_jsonb(random())$$,
    $$SELECT * FROM of_json WHERE payload->>'k' = '1'$$,
    $$SELECT * FROM own WHERE payload IS NOT NULL$$,
    $$SELECT c.name FROM cities c FULL JOIN own l ON l.payload = to_jsonb(c.name)$$,
    $$INSERT INTO aws_lambda.lambda_invocations (function_name) VALUES ('echo')$$,
    $$INSERT INTO own DEFAULT VALUES$$,
    $$INSERT INTO aws_lambda.lambda_invocations (payload) VALUES ('{}')$$,
    $$INSERT INTO own (payload, response) VALUES ('{}', '{}')$$);
SELECT endpoint.made();

-- Tables of one's own

SET client_min_messages = warning;
CREATE FOREIGN TABLE city (city text, response jsonb) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE unseen (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'echo', on_error 'return');
RESET client_min_messages;
SELECT told_all(
    $$SELECT * FROM city WHERE city = 'Lima'$$,
    $$SELECT * FROM unseen WHERE payload = '{}'$$,
    $$CREATE FOREIGN TABLE x (payload jsonb) SERVER aws_lambda OPTIONS (function 'echo')$$,
    $$CREATE FOREIGN TABLE x (payload jsonb) SERVER aws_lambda OPTIONS (functionname 'echo')$$,
    $$CREATE FOREIGN TABLE x (payload jsonb) SERVER aws_lambda OPTIONS (on_error 'null')$$,
    $$CREATE FOREIGN TABLE x (payload jsonb) SERVER aws_lambda OPTIONS (invocation_type 'event')$$,
    $$CREATE FOREIGN TABLE x (payload jsonb) SERVER aws_lambda OPTIONS (region 'US-EAST-1')$$,
    $$CREATE FOREIGN TABLE x (payload jsonb) SERVER aws_lambda OPTIONS (request_timeout_ms '10000')$$,
    $$CREATE SERVER x FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (access_key_id 'AKIDEXAMPLE')$$,
    $$CREATE SERVER x FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (aws_region 'us-east-1')$$,
    $$CREATE SERVER x FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (request_timeout_ms '10s')$$,
    $$CREATE USER MAPPING FOR PUBLIC SERVER aws_lambda OPTIONS (user 'AKIDEXAMPLE', password 'x')$$,
    $$CREATE USER MAPPING FOR PUBLIC SERVER aws_lambda OPTIONS (access_key_id 'AKIDEXAMPLE')$$);

-- Unsupported statements

SELECT told_all(
    $$UPDATE own SET response = '{}' WHERE payload = '{}'$$,
    $$UPDATE own SET response = '{}' FROM cities WHERE payload = to_jsonb(name)$$,
    $$EXPLAIN UPDATE own SET response = '{}' WHERE payload = '{}'$$,
    $$DELETE FROM own$$,
    $$DELETE FROM aws_lambda.lambda_invocations WHERE function_name = 'echo'$$);
SELECT table_name, is_insertable_into FROM information_schema.tables WHERE table_schema = 'mistakes' ORDER BY 1;
SELECT pg_relation_is_updatable('own', false) = 1 << 3 AS inserts_only;
SELECT endpoint.made();
\t
\a

SET client_min_messages = warning;
DROP SCHEMA mistakes CASCADE;
