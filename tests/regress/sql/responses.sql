-- Responses, in columns of each type.

CREATE FOREIGN TABLE as_json (function_name text, payload text, response json) SERVER aws_lambda;
CREATE FOREIGN TABLE as_jsonb (function_name text, payload text, response jsonb) SERVER aws_lambda;
CREATE FOREIGN TABLE as_text (function_name text, payload text, response text) SERVER aws_lambda;
SELECT endpoint.reset();

-- json and text keep every letter, jsonb is PostgreSQL's

SELECT j.response AS json, b.response AS jsonb, t.response AS text
FROM (VALUES (1, ' {"b": 1234567890123456789012345,  "a": 1.0000000000000000001, "a": 2} '), (2, '"\u2603 ☃"'), (3, '[]'), (4, '0')) AS p (place, payload)
JOIN as_json AS j ON j.function_name = 'echo' AND j.payload = p.payload
JOIN as_jsonb AS b ON b.function_name = 'echo' AND b.payload = p.payload
JOIN as_text AS t ON t.function_name = 'echo' AND t.payload = p.payload
ORDER BY p.place;
SELECT response FROM as_json WHERE function_name = 'number' AND payload IS NULL;
SELECT response FROM as_jsonb WHERE function_name = 'number' AND payload IS NULL;

-- Nothing, and null

\pset null '(null)'
SELECT response FROM as_json WHERE function_name = 'empty' AND payload = '{}';
SELECT response FROM as_jsonb WHERE function_name = 'empty' AND payload = '{}';
SELECT response FROM as_text WHERE function_name = 'empty' AND payload = '{}';
SELECT response FROM as_json WHERE function_name = 'null' AND payload = '{}';
SELECT response, jsonb_typeof(response) FROM as_jsonb WHERE function_name = 'null' AND payload = '{}';
SELECT response FROM as_text WHERE function_name = 'null' AND payload = '{}';
SELECT status_code, payload FROM aws_lambda.invoke('empty', '{}'::json);
SELECT status_code, payload FROM aws_lambda.invoke('null', '{}'::jsonb);
\pset null ''

-- Not JSON

SELECT response FROM as_json WHERE function_name = 'html' AND payload = '{}';
SELECT response FROM as_jsonb WHERE function_name = 'html' AND payload = '{}';
SELECT response FROM as_text WHERE function_name = 'html' AND payload = '{}';
SELECT * FROM aws_lambda.invoke('html', '{}'::json);
SELECT * FROM aws_lambda.invoke('html', '{}'::jsonb);
SELECT response FROM as_json WHERE function_name = 'echo' AND payload = '{"a": ' || repeat('é', 5000);
SELECT response FROM as_jsonb WHERE function_name = 'echo' AND payload = E'line\nline';

-- Not UTF-8, and a zero byte

SELECT response FROM as_json WHERE function_name = 'invalid-utf8' AND payload = '{}';
SELECT response FROM as_jsonb WHERE function_name = 'invalid-utf8' AND payload = '{}';
SELECT response FROM as_text WHERE function_name = 'invalid-utf8' AND payload = '{}';
SELECT response FROM as_json WHERE function_name = 'raw-nul' AND payload = '{}';
SELECT response FROM as_jsonb WHERE function_name = 'raw-nul' AND payload = '{}';
SELECT response FROM as_text WHERE function_name = 'raw-nul' AND payload = '{}';

-- An escaped zero is text and json to PostgreSQL, but not jsonb

SELECT response FROM as_json WHERE function_name = 'nul' AND payload = '{}';
SELECT response FROM as_text WHERE function_name = 'nul' AND payload = '{}';
SELECT response FROM as_jsonb WHERE function_name = 'nul' AND payload = '{}';

-- A response that isn't read is not looked at

SELECT function_name FROM as_jsonb WHERE function_name = ANY ('{html,invalid-utf8,raw-nul,nul}') AND payload = '{}';
SELECT count(*) FROM as_json WHERE function_name = 'html' AND payload = '{}';
SELECT status_code FROM aws_lambda.lambda_invocations WHERE function_name = 'raw-nul' AND payload = '{}';

-- How an error leaves the session: usable

BEGIN;
SAVEPOINT s;
SELECT response FROM as_jsonb WHERE function_name = 'html' AND payload = '{}';
ROLLBACK TO s;
SELECT response FROM as_jsonb WHERE function_name = 'echo' AND payload = '"here"';
COMMIT;

-- Large

SET aws_lambda.request_timeout_ms = 30000;
SELECT length(response) FROM as_text WHERE function_name = 'size-6291456' AND payload = '{}';
SELECT octet_length(response::text), left(response::text, 5) FROM as_json WHERE function_name = 'size-6291456' AND payload = '{}';
SELECT length(response #>> '{}') FROM as_jsonb WHERE function_name = 'size-6291456' AND payload = '{}';
SELECT length(payload #>> '{}') FROM aws_lambda.invoke('size-6291456', '{}'::jsonb);

RESET aws_lambda.request_timeout_ms;

-- Types with an opinion of their own

CREATE DOMAIN short AS text CHECK (length(VALUE) < 10);
CREATE DOMAIN object AS jsonb CHECK (jsonb_typeof(VALUE) = 'object');
CREATE DOMAIN given AS json NOT NULL;
CREATE FOREIGN TABLE typed (function_name varchar, payload jsonb, response varchar(5)) SERVER aws_lambda;
SELECT response FROM typed WHERE function_name = 'echo' AND payload = '12345';
SELECT response FROM typed WHERE function_name = 'echo' AND payload = '123456';
ALTER FOREIGN TABLE typed ALTER response TYPE short;
SELECT response FROM typed WHERE function_name = 'echo' AND payload = '123456';
SELECT response FROM typed WHERE function_name = 'echo' AND payload = '1234567890';
ALTER FOREIGN TABLE typed ALTER response TYPE object;
SELECT response FROM typed WHERE function_name = 'echo' AND payload = '{"a": 1}';
SELECT response FROM typed WHERE function_name = 'echo' AND payload = '[1]';
SELECT response FROM typed WHERE function_name = 'html' AND payload = '[1]';
ALTER FOREIGN TABLE typed ALTER response TYPE given;
SELECT response FROM typed WHERE function_name = 'echo' AND payload = '{"a": 1}';
SELECT response FROM typed WHERE function_name = 'empty' AND payload = '{"a": 1}';
-- A check's own error is not the response's, and leaves a block as it should
CREATE FUNCTION number_of(jsonb) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN ($1->>'n')::int; END $$;
CREATE DOMAIN numbered AS jsonb CHECK (number_of(VALUE) > 0);
CREATE DOMAIN good AS int NOT NULL CHECK (VALUE = 200);
ALTER FOREIGN TABLE typed ALTER response TYPE numbered;
ALTER FOREIGN TABLE typed OPTIONS (on_error 'return'), ADD error_code text;
SELECT response FROM typed WHERE function_name = 'echo' AND payload = '{"n": 1}';
SELECT response FROM typed WHERE function_name = 'echo' AND payload = '{"n": "abc"}';
SELECT response, error_code FROM typed WHERE function_name = 'html' AND payload = '1';
ALTER FOREIGN TABLE typed ADD status_code good;
SELECT status_code FROM typed WHERE function_name = 'echo' AND payload = '{"n": 1}';
SELECT status_code FROM typed WHERE function_name = 'error-403-AccessDeniedException' AND payload = '1';
DROP FOREIGN TABLE typed;
DROP DOMAIN short, object, given, numbered, good;
DROP FUNCTION number_of;

-- The log, as it came and decoded. Its beginning may be cut inside a character.

SELECT convert_from(decode(log_result, 'base64'), 'utf-8') = log AS same, log
FROM aws_lambda.lambda_invocations WHERE function_name = 'log' AND payload = '{}' AND log_type = 'Tail';
SELECT log_result, log FROM aws_lambda.lambda_invocations WHERE function_name = 'nul-log' AND payload = '{}' AND log_type = 'Tail';
SELECT decode(log_result, 'base64') FROM aws_lambda.invoke('nul-log', '{}'::json, log_type => 'Tail');
SELECT log_result, log FROM aws_lambda.lambda_invocations WHERE function_name = 'bad-log' AND payload = '{}' AND log_type = 'Tail';
SELECT log_result, log FROM aws_lambda.lambda_invocations WHERE function_name = 'log' AND payload = '{}' AND log_type = 'None';
SELECT log_result, log FROM aws_lambda.lambda_invocations WHERE function_name = 'log' AND payload = '{}';
SELECT log_result, log FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '{}' AND log_type = 'Tail';

-- Other output columns

SELECT status_code, executed_version, function_error, request_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' AS request_id, invocation_type
FROM aws_lambda.lambda_invocations
WHERE function_name = 'echo' AND payload = '{}' AND qualifier = '3' AND invocation_type = ANY ('{RequestResponse,Event,DryRun}');

DROP FOREIGN TABLE as_json, as_jsonb, as_text;
