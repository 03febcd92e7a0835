-- The output of EXPLAIN.
SET client_min_messages = warning;
CREATE SCHEMA explains;
SET search_path = explains, public;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo', qualifier 'v1');
CREATE TABLE t (id int, s text, fn text);
INSERT INTO t SELECT i, 's' || i, 'echo' FROM generate_series(1, 3) i;
ANALYZE t;
RESET client_min_messages;

SELECT * FROM endpoint.explain($$SELECT response FROM f WHERE payload = 'x'$$);
SELECT * FROM endpoint.explain($$SELECT response FROM f WHERE payload IN ('x', 'y') AND response <> ''$$);
SELECT * FROM endpoint.explain($$SELECT response FROM f WHERE payload IS NULL$$);
SELECT * FROM endpoint.explain($$SELECT response FROM f WHERE payload = ANY (ARRAY(SELECT s FROM t))$$);
SELECT * FROM endpoint.explain($$SELECT * FROM f$$);
SELECT * FROM endpoint.explain($$SELECT response FROM aws_lambda.lambda_invocations
    WHERE function_name IN ('a', 'b') AND payload IN ('1', '2', '3') AND region IS NOT DISTINCT FROM 'us-east-1'$$);
SELECT * FROM endpoint.explain($$SELECT l.response FROM t
    JOIN aws_lambda.lambda_invocations l ON l.payload = to_jsonb(t) AND l.function_name = t.fn$$);
SELECT * FROM endpoint.explain($$SELECT t.id, l.response FROM t, LATERAL (SELECT * FROM f WHERE payload = t.s OFFSET 0) l$$, 'VERBOSE');
SELECT * FROM endpoint.explain($$SELECT (SELECT response FROM f WHERE payload = t.s) FROM t$$);
SELECT * FROM endpoint.explain($$SELECT response FROM f WHERE payload = 'x'$$, 'FORMAT JSON');

-- ANALYZE adds what was invoked. The function takes its time, so that what can be in flight together is.
ALTER FOREIGN TABLE f OPTIONS (SET function_name 'accept-50');
SELECT endpoint.reset();
SELECT * FROM endpoint.explain($$SELECT response FROM f WHERE payload IN ('x', 'y', 'x')$$, 'ANALYZE');
SELECT * FROM endpoint.explain($$SELECT response FROM f WHERE payload IN ('x', 'y') LIMIT 1$$, 'ANALYZE');
SELECT * FROM endpoint.explain($$SELECT response FROM t JOIN f ON f.payload = t.s$$, 'ANALYZE');
SELECT * FROM endpoint.explain($$SELECT response FROM t JOIN f ON f.payload = t.s WHERE t.id > 99$$, 'ANALYZE');
SELECT endpoint.count();

-- Estimates: one row for each value
EXPLAIN SELECT response FROM f WHERE payload = 'x';
EXPLAIN SELECT response FROM f WHERE payload IN ('x', 'y', 'z');
EXPLAIN SELECT response FROM t JOIN f ON f.payload = t.s;

SET client_min_messages = warning;
DROP SCHEMA explains CASCADE;
