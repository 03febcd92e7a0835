-- on_error: a failed invocation is a row with the error (return), or ends the statement (raise).
SET client_min_messages = warning;
CREATE SCHEMA on_error;
SET search_path = on_error, public;
CREATE FOREIGN TABLE f (
    function_name text, region text, qualifier text, invocation_type text, log_type text, context text, payload text,
    status_code int, response text, executed_version text, log text, function_error text, request_id text,
    error_code text, error_message text)
    SERVER aws_lambda OPTIONS (on_error 'return', max_retries '0');
CREATE FOREIGN TABLE mock (payload jsonb, response jsonb, status_code int, error_code text)
    SERVER aws_lambda OPTIONS (function_name 'mock', on_error 'return', max_retries '0');
CREATE FOREIGN TABLE raising (payload jsonb, response jsonb)
    SERVER aws_lambda OPTIONS (function_name 'mock', max_retries '0');
CREATE TABLE t (id int, payload jsonb);
INSERT INTO t VALUES (1, '1'), (2, '{"as": "handled"}'), (3, '3'), (4, '{"as": "error-403-AccessDeniedException"}'), (5, NULL);
ANALYZE t;
RESET client_min_messages;
\a
\pset null '(null)'
SELECT endpoint.reset();

-- The function's own error: what it threw, or else what Lambda calls it, and its payload

SELECT function_name, status_code, function_error, error_code, NULLIF(error_message, '') AS error_message, response, executed_version, request_id IS NOT NULL AS request_id
FROM f WHERE payload = '{}' AND function_name = ANY ('{echo,handled,unhandled,unhandled-text,unhandled-empty,handled:v1}');
SELECT function, count(*) FROM endpoint.invocations() GROUP BY 1 ORDER BY 1;
SELECT error_code, log LIKE '%hello from the log%' AS log FROM f WHERE payload = '{}' AND function_name IN ('log', 'handled') AND log_type = 'Tail';

-- Lambda's errors

SELECT endpoint.reset();
SELECT function_name, status_code, function_error, error_code, error_message, response, executed_version, request_id IS NOT NULL AS request_id
FROM f WHERE payload = '{}' AND function_name = ANY ('{nosuchfunction,throttle,error-400-InvalidRequestContentException,error-403-AccessDeniedException,error-413-RequestTooLargeException,error-500-ServiceException,error-502-KMSAccessDeniedException,error-403-ExpiredTokenException}');
SELECT count(*), count(DISTINCT function) FROM endpoint.invocations();

-- Not Lambda's answer, or none: each of them once

SELECT endpoint.reset();
SELECT function_name, status_code, error_code, error_message <> '' AS says_why, request_id IS NOT NULL AS request_id, coalesce(function_error, response, executed_version) AS others
FROM f WHERE payload = '{}' AND function_name = ANY ('{plain-403,plain-429,plain-502,plain-302,reset-before,reset-after,close-after,cut-body,garbage,huge-headers}');
SELECT endpoint.counter('invocations') + endpoint.counter('aborted') AS arrived, count(DISTINCT function) AS functions FROM endpoint.invocations();
SET aws_lambda.request_timeout_ms = 300;
SELECT function_name, status_code, error_code, error_message, response FROM f WHERE payload = '{}' AND function_name IN ('hang', 'stall-body');
RESET aws_lambda.request_timeout_ms;
SELECT endpoint.reset();
SET aws_lambda.endpoint_override = 'http://127.0.0.1:1';
SELECT payload, status_code, error_code, error_message <> '' AS says_why FROM f WHERE payload IN ('1', '2') AND function_name = 'echo';
RESET aws_lambda.endpoint_override;
SET aws_lambda.region = '';
SELECT payload, status_code, error_code, error_message <> '' AS says_why FROM f WHERE payload = '1' AND function_name = 'echo';
RESET aws_lambda.region;
SELECT endpoint.counter('connections');

-- Inputs that no invocation can be made of: a row, beside those of the others

SELECT endpoint.reset();
SELECT function_name, status_code, error_code, error_message, response FROM f WHERE payload = '1' AND function_name IN ('a b', 'echo', 'echo:v1:v2');
SELECT function_name, error_code, error_message FROM f WHERE payload = '1' AND function_name IS NULL;
SELECT region, error_code, error_message FROM f WHERE payload = '1' AND function_name = 'echo' AND region IN ('here', 'us-east-1');
SELECT qualifier, error_code, error_message FROM f WHERE payload = '1' AND function_name = 'echo:v1' AND qualifier IN ('a.b', 'v1', 'v2');
SELECT invocation_type, status_code, error_code, error_message FROM f WHERE payload = '1' AND function_name = 'echo' AND invocation_type IN ('event', 'Event');
SELECT log_type, error_code, error_message FROM f WHERE payload = '1' AND function_name = 'echo' AND log_type IN ('tail', 'None');
SELECT length(context), error_code, error_message FROM f WHERE payload = '1' AND function_name = 'echo' AND context IN ('{}', '{"a": "' || repeat('x', 4000) || '"}');
SELECT function, qualifier, invocation_type, count(*) FROM endpoint.invocations() GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- A response that its column can't hold, and a payload of an error that it can't

SELECT endpoint.reset();
SELECT function_name, status_code, function_error, error_code, error_message, response
FROM f WHERE payload = '{}' AND function_name = ANY ('{html,nul,raw-nul,invalid-utf8}');
ALTER FOREIGN TABLE f ALTER response TYPE json;
SELECT function_name, status_code, function_error, error_code, error_message, response, executed_version, request_id IS NOT NULL AS request_id
FROM f WHERE payload = '{}' AND function_name = ANY ('{html,nul,raw-nul,invalid-utf8,handled,unhandled-text,throttle,empty,echo}');
ALTER FOREIGN TABLE f ALTER response TYPE jsonb;
SELECT function_name, status_code, function_error, error_code, error_message, response, executed_version, request_id IS NOT NULL AS request_id
FROM f WHERE payload = '{}' AND function_name = ANY ('{html,nul,raw-nul,invalid-utf8,handled,unhandled-text,throttle,empty,echo}');
ALTER FOREIGN TABLE f ALTER response TYPE text;
-- 4, 9 and 9
SELECT endpoint.made();

-- Events and dry runs fail as others do; what an event does later is not known

SELECT function_name, invocation_type, status_code, error_code, error_message FROM f
WHERE payload = '{}' AND function_name IN ('echo', 'error-403-AccessDeniedException') AND invocation_type IN ('Event', 'DryRun');
SELECT endpoint.made();

-- Whatever of it is read, and whatever columns the table has

SELECT count(*), count(error_code) FROM mock WHERE payload IN ('1', '{"as": "handled"}', '{"as": "throttle"}');
SELECT payload FROM mock WHERE payload IN ('1', '{"as": "handled"}', '{"as": "throttle"}');
SELECT error_code FROM mock WHERE payload IN ('1', '{"as": "handled"}', '{"as": "throttle"}');
CREATE FOREIGN TABLE narrow (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'mock', on_error 'return', max_retries '0');
SELECT endpoint.made();

-- A table without a column for the error is refused, because its rows would look like responses, unless failures end the statement

SELECT * FROM narrow WHERE payload IN ('1', '{"as": "handled"}', '{"as": "throttle"}');
SELECT count(*) FROM t JOIN narrow USING (payload);
INSERT INTO narrow (payload) VALUES ('1') RETURNING response;
SELECT endpoint.made();
INSERT INTO narrow (payload) VALUES ('1');
ALTER FOREIGN TABLE narrow ADD function_error text;
SELECT * FROM narrow WHERE payload IN ('1', '{"as": "handled"}');
ALTER FOREIGN TABLE narrow RENAME function_error TO error_message;
SELECT * FROM narrow WHERE payload IN ('2', '{"as": "handled"}');
SELECT endpoint.made();

-- A filter comes after the invocation

SELECT payload FROM mock WHERE payload IN ('1', '{"as": "handled"}', '{"as": "throttle"}') AND error_code IS NULL;
SELECT endpoint.made();
SELECT payload, error_code FROM mock WHERE payload IN ('1', '{"as": "handled"}', '{"as": "throttle"}') AND error_code = 'TooManyRequestsException';
SELECT endpoint.made();

-- Joins: a row for each outer row, except that of the NULL

SELECT id, response, status_code, error_code FROM t JOIN mock USING (payload) ORDER BY id;
SELECT endpoint.made();
SELECT id, response, error_code FROM t LEFT JOIN mock USING (payload) ORDER BY id;
SELECT endpoint.made();
SELECT error_code, count(*), array_agg(id ORDER BY id) FROM t JOIN mock USING (payload) GROUP BY 1 ORDER BY 1;
SELECT endpoint.made();
SELECT id, (SELECT error_code FROM mock WHERE payload = t.payload) FROM t ORDER BY id;
SELECT endpoint.made();
SELECT id FROM t WHERE EXISTS (SELECT FROM mock WHERE payload = t.payload AND error_code IS NULL) ORDER BY id;
SELECT endpoint.made();
SELECT p.name, count(error_code) FROM (VALUES ('a b'), ('echo'), ('handled'), (NULL)) AS p (name) JOIN f ON function_name = p.name AND payload = '1' GROUP BY 1 ORDER BY 1;
SELECT endpoint.made();

-- A failure is kept as any row is, and read again without another invocation

SET enable_material = off;
SELECT t.id, l.error_code FROM t, LATERAL (SELECT * FROM mock WHERE payload IN ('1', '{"as": "handled"}') AND length(payload::text) > t.id OFFSET 0) l ORDER BY 1, 2;
SELECT endpoint.made();
RESET enable_material;

-- To be kept, and what failed tried again

CREATE TABLE results AS SELECT id, response, error_code FROM t JOIN mock USING (payload);
SELECT endpoint.made();
UPDATE results SET response = mock.response, error_code = mock.error_code FROM mock WHERE mock.payload = to_jsonb('again ' || id) AND results.error_code IS NOT NULL;
SELECT * FROM results ORDER BY id;
SELECT endpoint.made();

-- With raise, which is the default, the first failure in the order of the rows ends the statement, whichever comes first in time

SELECT sqlstate FROM endpoint.error_of($$SELECT * FROM raising WHERE payload = ANY (ARRAY['1', '{"as": "error-404-ResourceNotFoundException", "ms": 200}', '{"as": "handled"}']::jsonb[])$$);
SELECT sqlstate FROM endpoint.error_of($$SELECT * FROM raising WHERE payload = ANY (ARRAY['1', '{"as": "handled", "ms": 200}', '{"as": "error-404-ResourceNotFoundException"}']::jsonb[])$$);
SELECT sqlstate FROM endpoint.error_of($$SELECT * FROM (VALUES ('1'::jsonb), ('{"as": "handled", "ms": 200}'), ('{"as": "error-404-ResourceNotFoundException"}')) AS p (payload) JOIN raising USING (payload)$$);
SELECT endpoint.made();
ALTER FOREIGN TABLE raising OPTIONS (ADD on_error 'raise');
SELECT response FROM raising WHERE payload IN ('1', '{"as": "handled"}');
ALTER FOREIGN TABLE f OPTIONS (SET on_error 'raise');
SELECT function_name FROM f WHERE payload = '{}' AND function_name IN ('echo', 'a b');
SELECT response FROM f WHERE payload = '{}' AND function_name IN ('echo', 'raw-nul');
SELECT function_name FROM f WHERE payload = '{}' AND function_name IN ('echo', 'throttle', 'count') LIMIT 1;
SELECT endpoint.reset();

-- The rows before it come out, of a list and of a join

BEGIN;
DECLARE c CURSOR FOR SELECT payload, response FROM raising WHERE payload = ANY (ARRAY['1', '{"ms": 100}', '{"as": "handled"}', '4']::jsonb[]);
FETCH 2 FROM c;
FETCH 1 FROM c;
ROLLBACK;
BEGIN;
DECLARE c CURSOR FOR SELECT id, response FROM t JOIN raising USING (payload);
FETCH 1 FROM c;
FETCH 1 FROM c;
ROLLBACK;
DO $$
DECLARE
    row record;
BEGIN
    FOR row IN SELECT response FROM raising WHERE payload = ANY (ARRAY['1', '{"ms": 100}', '{"as": "handled"}', '4']::jsonb[]) LOOP
        RAISE NOTICE '%', row.response;
    END LOOP;
EXCEPTION WHEN external_routine_exception THEN
    RAISE NOTICE '%', SQLERRM;
END $$;

-- Once a failure is known no more are started: of twenty the four that were on their way

SET aws_lambda.max_concurrency = 4;
CREATE TABLE slow AS SELECT i AS id, jsonb_build_object('n', i, 'ms', 400) AS payload FROM generate_series(1, 20) i;
UPDATE slow SET payload = '{"as": "handled", "ms": 100}' WHERE id = 2;
ANALYZE slow;
SELECT endpoint.reset();
SELECT sqlstate FROM endpoint.error_of($$SELECT * FROM raising WHERE payload = ANY (ARRAY(SELECT payload FROM slow ORDER BY id))$$);
SELECT endpoint.made();
SELECT sqlstate FROM endpoint.error_of($$SELECT * FROM (SELECT * FROM slow ORDER BY id OFFSET 0) s JOIN raising USING (payload)$$);
SELECT endpoint.made();
RESET aws_lambda.max_concurrency;

-- Invocations in flight are dropped at once: none of the seven that hang is in flight with the next five, even if the statement continues

CREATE TABLE hanging AS SELECT i AS id, jsonb_build_object('n', i, 'as', 'hang') AS payload FROM generate_series(2, 8) i;
INSERT INTO hanging VALUES (1, '{"as": "handled", "ms": 300}');
ANALYZE hanging;
CREATE FUNCTION five() RETURNS bigint LANGUAGE sql AS $$
    SELECT count(response) FROM raising WHERE payload = ANY (ARRAY(SELECT jsonb_build_object('n', i, 'ms', 100) FROM generate_series(1, 5) i))
$$;
CREATE FUNCTION caught(query text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE query;
    RETURN NULL;
EXCEPTION WHEN external_routine_exception THEN
    RETURN five();
END $$;
SELECT endpoint.reset();
SELECT response FROM raising WHERE payload = ANY (ARRAY(SELECT payload FROM hanging ORDER BY id));
SELECT five();
SELECT endpoint.counter('most_in_flight');
SELECT endpoint.made();
SELECT response FROM (SELECT * FROM hanging ORDER BY id OFFSET 0) h JOIN raising USING (payload);
SELECT five();
SELECT endpoint.counter('most_in_flight');
SELECT endpoint.made();
SELECT caught('SELECT response FROM raising WHERE payload = ANY (ARRAY(SELECT payload FROM hanging ORDER BY id))');
SELECT endpoint.counter('most_in_flight');
SELECT endpoint.made();

-- A failure that is not read is no error

SELECT response FROM raising WHERE payload = ANY (ARRAY['1', '2', '{"as": "handled"}']::jsonb[]) LIMIT 2;
SELECT endpoint.made();

-- Error columns are truncated to their length. A response that is too long for its column is NULL.

CREATE FOREIGN TABLE short (function_name text, payload text, response varchar(4), error_code varchar(8), error_message varchar(10))
    SERVER aws_lambda OPTIONS (on_error 'return');
SELECT * FROM short WHERE payload = 'long' AND function_name IN ('echo', 'nobody');
SELECT * FROM short WHERE payload = 'too long' AND function_name = 'echo';

\pset null ''
SET client_min_messages = warning;
DROP SCHEMA on_error CASCADE;
