-- batch_rows and batch_bytes: many rows in one invocation, one answer for each.
SET client_min_messages = warning;
CREATE SCHEMA batches;
SET search_path = batches, public;
CREATE FOREIGN TABLE one (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE b (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'echo', batch_rows '3');
CREATE FOREIGN TABLE large (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'echo', batch_rows '1000');
CREATE FOREIGN TABLE texts (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo', batch_rows '100');
CREATE FOREIGN TABLE any_function (function_name text, qualifier text, region text, invocation_type text, context text, log_type text, tenant_id text,
    durable_execution_name text, payload jsonb, response jsonb, status_code int, log text, request_id text, executed_version text)
    SERVER aws_lambda OPTIONS (batch_rows '100');
CREATE FOREIGN TABLE failures (function_name text, payload jsonb, response jsonb, status_code int, request_id text, error_code text, error_message text)
    SERVER aws_lambda OPTIONS (batch_rows '3', on_error 'return');
CREATE TABLE t AS SELECT i AS id, to_jsonb(i) AS p, NULL::jsonb AS answer FROM generate_series(1, 10) i;
ANALYZE t;
RESET client_min_messages;
SELECT endpoint.reset();

-- A list
SELECT payload, response FROM b WHERE payload IN ('1', '2', '3', '4', '5', '6', '7');
SELECT payload FROM endpoint.arrived();
SELECT regexp_replace("QUERY PLAN", 'Flight: \d+', 'Flight: N') AS plan FROM endpoint.explain($$SELECT response FROM b WHERE payload IN ('1', '2', '3', '4', '5', '6', '7')$$, 'ANALYZE');
SELECT endpoint.made();
-- A single row is a batch of one.
SELECT response FROM b WHERE payload = '"alone"';
SELECT payload FROM endpoint.arrived();
-- A row without a payload
SELECT response FROM b WHERE payload IS NULL;
SELECT payload FROM endpoint.arrived();

-- A join, an UPDATE, and calls of the function
SELECT count(*), bool_and(b.response = t.p) FROM t JOIN b ON b.payload = t.p;
SELECT endpoint.made();
SELECT id, response FROM t LEFT JOIN large ON large.payload = t.p AND t.id % 2 = 0 ORDER BY id;
SELECT payload FROM endpoint.arrived();
UPDATE t SET answer = b.response FROM b WHERE b.payload = t.p;
SELECT endpoint.made();
SELECT bool_and(answer = p) FROM t;
SELECT regexp_replace("QUERY PLAN", 'Flight: \d+', 'Flight: N') AS plan FROM endpoint.explain('SELECT response FROM t JOIN b ON b.payload = t.p', 'ANALYZE');
SELECT endpoint.made();
ALTER FOREIGN TABLE aws_lambda.lambda_invocations OPTIONS (ADD batch_rows '4');
SET aws_lambda.invoke_concurrency = 8;
SELECT sum((i.payload)::int) FROM t, LATERAL aws_lambda.invoke('echo', t.p) i;
SELECT endpoint.made();
SELECT (aws_lambda.invoke('echo', t.p)).payload FROM t;
SELECT endpoint.made();
SELECT payload FROM aws_lambda.invoke('echo', '[1]'::jsonb);
SELECT payload FROM endpoint.arrived();
ALTER FOREIGN TABLE aws_lambda.lambda_invocations OPTIONS (DROP batch_rows);
RESET aws_lambda.invoke_concurrency;

-- An option of the server, which the table's precedes
CREATE SERVER batching FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (batch_rows '5', batch_format 'redshift');
CREATE FOREIGN TABLE of_server (payload jsonb, response jsonb) SERVER batching OPTIONS (function_name 'echo', batch_format 'array');
SELECT count(*) FROM of_server WHERE payload IN ('1', '2', '3', '4', '5', '6', '7');
SELECT payload FROM endpoint.arrived();

-- Bytes stay what they are: numbers, escapes, blanks, keys that come twice and their order
SELECT payload, response, payload = response AS same FROM texts
    WHERE payload IN ('1.000000000000000000001', '{"b":1, "a" : 2,"b": 3}', '"\u00e9\/"', 'null', '[ 1,[] ]', '"a,b]"', '1e400', '"\ud800"');
SELECT payload FROM endpoint.arrived();
-- What is not JSON is sent in no batch. The rows beside it are.
SELECT * FROM endpoint.error_of($$SELECT count(response) FROM texts WHERE payload IN ('1', '2],[3', '4')$$);
SELECT sqlstate, message FROM endpoint.error_of($$SELECT count(response) FROM texts WHERE payload = '1,2'$$);
SELECT sqlstate, message FROM endpoint.error_of($$SELECT count(response) FROM texts WHERE payload = ''$$);
SELECT endpoint.made();

-- Only rows that differ in nothing but the payload share an invocation. Their order is kept.
WITH r (f, q, p) AS (VALUES ('echo', NULL, 1), ('echo', NULL, 2), ('log', NULL, 3), ('echo', 'a', 4), ('echo', 'a', 5), ('echo', 'b', 6), ('echo', 'b', 7))
    SELECT r.f, r.q, r.p, l.response FROM r JOIN any_function l
    ON l.function_name = r.f AND l.qualifier IS NOT DISTINCT FROM r.q AND l.payload = to_jsonb(r.p);
SELECT function, payload FROM endpoint.arrived();
SELECT function_name, tenant_id, payload, response FROM any_function WHERE function_name = 'echo' AND tenant_id IN ('x', 'y') AND payload IN ('1', '2');
SELECT payload FROM endpoint.arrived();
SELECT count(*) FROM any_function WHERE function_name = 'echo' AND context IN ('{"a": 1}', '{"a": 2}') AND payload IN ('1', '2');
SELECT payload FROM endpoint.arrived();
-- A durable execution is one of a row alone.
SELECT durable_execution_name, response FROM any_function WHERE function_name = 'echo' AND durable_execution_name IN ('d1', 'd2') AND payload = '1';
SELECT payload FROM endpoint.arrived();
-- All rows of an invocation have its columns.
SELECT payload, status_code, log ~ 'hello' AS log, executed_version, count(*) OVER (PARTITION BY request_id) FROM any_function
    WHERE function_name = 'log' AND log_type = 'Tail' AND payload IN ('1', '2');
SELECT payload, status_code, response FROM any_function WHERE function_name = 'echo' AND invocation_type IN ('Event', 'DryRun') AND payload IN ('1', '2');
SELECT endpoint.made();

-- batch_bytes: whichever is reached first. A row that is larger is alone.
CREATE FOREIGN TABLE bytes (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'echo', batch_rows '1000', batch_bytes '1024');
SELECT count(*), sum(length(response ->> 0)) FROM generate_series(1, 10) g
    JOIN bytes ON payload = to_jsonb(ARRAY[repeat('x', CASE g WHEN 5 THEN 5000 ELSE 300 END), g::text]);
SELECT length(payload) FROM endpoint.arrived() ORDER BY 1;
-- Rows share no event of more than Lambda takes.
CREATE FOREIGN TABLE megabytes (payload jsonb, response jsonb, status_code int, invocation_type text)
    SERVER aws_lambda OPTIONS (function_name 'strict', batch_rows '1000');
SELECT status_code, count(*) FROM generate_series(1, 12) g
    JOIN megabytes ON payload = to_jsonb(repeat('x', 300000) || g) AND invocation_type = 'Event' GROUP BY 1;
SELECT endpoint.made();
SELECT count(*), sum(length(response ->> 0)) FROM generate_series(1, 24) g
    JOIN megabytes ON payload = to_jsonb(repeat('x', 300000) || g) AND invocation_type IS NULL;
SELECT endpoint.made();

-- INSERT: events, or answers that are returned
CREATE FOREIGN TABLE events (payload jsonb) SERVER aws_lambda OPTIONS (function_name 'echo', batch_rows '4');
INSERT INTO events SELECT to_jsonb(g) FROM generate_series(1, 10) g;
SELECT invocation_type, payload FROM endpoint.arrived();
COPY events FROM STDIN;
1
2
3
4
5
\.
SELECT invocation_type, payload FROM endpoint.arrived();
INSERT INTO any_function (function_name, invocation_type, payload) SELECT 'echo', 'RequestResponse', to_jsonb(g) FROM generate_series(1, 3) g
    RETURNING payload, response, status_code;
SELECT invocation_type, payload FROM endpoint.arrived();

-- An invocation that fails fails its rows, and is neither split nor repeated.
SELECT * FROM endpoint.error_of($$SELECT response FROM any_function WHERE function_name = 'unless-bad' AND payload IN ('1', '"bad"', '3')$$);
SELECT payload FROM endpoint.arrived();
SELECT payload, response, status_code, error_code, error_message, request_id IS NOT NULL AS has_id FROM failures
    WHERE function_name = 'unless-bad' AND payload IN ('1', '2', '3', '4', '"bad"', '6', '7');
SELECT endpoint.made();
SELECT payload, status_code, error_code, error_message FROM failures WHERE function_name = 'error-500-ServiceException' AND payload IN ('1', '2');
SELECT endpoint.made();
SELECT payload, error_code FROM failures WHERE function_name = 'throttle-1' AND payload IN ('1', '2');
SELECT payload FROM endpoint.arrived();
-- Another number of answers, or no answers
SELECT * FROM endpoint.error_of($$SELECT response FROM any_function WHERE function_name = 'batch-short' AND payload IN ('1', '2')$$);
SELECT * FROM endpoint.error_of($$SELECT count(*) FROM any_function WHERE function_name = 'batch-long' AND payload IN ('1', '2')$$);
SELECT * FROM endpoint.error_of($$SELECT response FROM any_function WHERE function_name = 'batch-object' AND payload IN ('1', '2')$$);
SELECT response FROM any_function WHERE function_name = 'batch-text' AND payload IN ('1', '"two"');
SELECT function_name, error_code, error_message FROM failures WHERE payload IN ('1', '2') AND function_name IN
    ('batch-short', 'batch-object', 'empty', 'null', 'number', 'html', 'raw-nul', 'invalid-utf8', 'deep-100000', 'describe');
SELECT payload, status_code, error_code, request_id IS NOT NULL AS has_id FROM failures WHERE function_name = 'batch-short' AND payload IN ('1', '2');
SELECT endpoint.made();

-- LIMIT and cursors send the rows that are wanted.
SELECT response FROM t JOIN large ON large.payload = t.p LIMIT 4;
SELECT payload FROM endpoint.arrived();
BEGIN;
DECLARE c CURSOR FOR SELECT response FROM generate_series(1, 100) g JOIN large ON payload = to_jsonb(g);
FETCH 2 FROM c;
SELECT payload FROM endpoint.arrived();
FETCH 2 FROM c;
SELECT payload FROM endpoint.arrived();
COMMIT;
SELECT count(*) FROM (SELECT 1 FROM t WHERE EXISTS (SELECT FROM large WHERE payload = t.p AND response > '3')) found;
SELECT endpoint.made();

-- max_invocations counts invocations.
SET aws_lambda.max_invocations = 2;
SELECT count(*) FROM b WHERE payload IN ('1', '2', '3', '4', '5', '6');
SELECT endpoint.made();
SELECT * FROM endpoint.error_of($$SELECT count(*) FROM b WHERE payload IN ('1', '2', '3', '4', '5', '6', '7')$$);
SELECT endpoint.made();
SELECT * FROM endpoint.error_of($$SELECT count(*) FROM t JOIN b ON payload = p$$);
SELECT endpoint.made();
SELECT count(*) FROM (SELECT 1 FROM t JOIN b ON payload = p LIMIT 6) six;
SELECT endpoint.made();
SELECT sqlstate FROM endpoint.error_of($$SELECT count(*) FROM t JOIN failures ON function_name = 'echo' AND payload = p$$);
SELECT endpoint.made();
SELECT count(*) FROM any_function WHERE function_name IN ('echo', 'log') AND payload IN ('1', '2');
SELECT endpoint.made();
RESET aws_lambda.max_invocations;

-- Equal rows with deduplicate, and rows that come again
CREATE FOREIGN TABLE d (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'echo', batch_rows '100', deduplicate 'true');
SELECT count(response) FROM t JOIN d ON d.payload = to_jsonb(t.id % 3);
SELECT payload FROM endpoint.arrived();
SET enable_material = off;
SELECT count(*) FROM t JOIN large ON payload = p, generate_series(1, 3);
SELECT endpoint.made();
SELECT count(response) FROM generate_series(1, 3) g, LATERAL (SELECT response FROM large WHERE payload IN ('1', '2') OFFSET 0) l;
SELECT endpoint.made();
SELECT sum(l.n) FROM t, LATERAL (SELECT count(response) AS n FROM large WHERE payload IN (to_jsonb(t.id), '0') OFFSET 0) l;
SELECT endpoint.made();
RESET enable_material;
-- The branches of an Append
SELECT response FROM large WHERE payload IN ('1', '2') UNION ALL SELECT response FROM b WHERE payload IN ('3', '4') ORDER BY 1;
SELECT payload FROM endpoint.arrived();

-- Values that options do not take
SELECT * FROM endpoint.error_of($$ALTER FOREIGN TABLE b OPTIONS (SET batch_rows '0')$$);
SELECT * FROM endpoint.error_of($$ALTER FOREIGN TABLE b OPTIONS (ADD batch_bytes '100')$$);
SELECT * FROM endpoint.error_of($$ALTER FOREIGN TABLE b OPTIONS (ADD batch_format 'csv')$$);
-- A batch that is full does not wait for a permit, which it would get although the invocation before it has failed.
CREATE FOREIGN TABLE hanging (payload text, qualifier text, response text)
    SERVER aws_lambda OPTIONS (function_name 'hang', batch_rows '2', max_concurrency '1');
SELECT endpoint.reset();
SET aws_lambda.request_timeout_ms = 300;
SELECT sqlstate FROM endpoint.error_of($$SELECT response FROM (VALUES ('1', 'a'), ('2', 'b'), ('3', 'b'), ('4', 'b')) t
    JOIN hanging ON payload = column1 AND qualifier = column2$$);
SELECT pg_sleep(0.2), endpoint.made();
RESET aws_lambda.request_timeout_ms;

SET client_min_messages = warning;
DROP SCHEMA batches CASCADE;
DROP SERVER batching;
