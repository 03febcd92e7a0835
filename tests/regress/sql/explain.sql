-- What EXPLAIN tells.
SET client_min_messages = warning;
CREATE SCHEMA explains;
SET search_path = explains, public;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo', qualifier 'v1');
CREATE TABLE t (id int, s text, fn text);
INSERT INTO t SELECT i, 's' || i, 'echo' FROM generate_series(1, 3) i;
ANALYZE t;
RESET client_min_messages;

EXPLAIN (COSTS OFF) SELECT response FROM f WHERE payload = 'x';
EXPLAIN (COSTS OFF) SELECT response FROM f WHERE payload IN ('x', 'y') AND response <> '';
EXPLAIN (COSTS OFF) SELECT response FROM f WHERE payload IS NULL;
EXPLAIN (COSTS OFF) SELECT response FROM f WHERE payload = ANY (ARRAY(SELECT s FROM t));
EXPLAIN (COSTS OFF) SELECT * FROM f;
EXPLAIN (COSTS OFF) SELECT response FROM aws_lambda.lambda_invocations
    WHERE function_name IN ('a', 'b') AND payload IN ('1', '2', '3') AND region IS NOT DISTINCT FROM 'us-east-1';
EXPLAIN (COSTS OFF) SELECT l.response FROM t
    JOIN aws_lambda.lambda_invocations l ON l.payload = to_jsonb(t) AND l.function_name = t.fn;
EXPLAIN (COSTS OFF, VERBOSE) SELECT t.id, l.response FROM t, LATERAL (SELECT * FROM f WHERE payload = t.s OFFSET 0) l;
EXPLAIN (COSTS OFF) SELECT (SELECT response FROM f WHERE payload = t.s) FROM t;
EXPLAIN (COSTS OFF, FORMAT JSON) SELECT response FROM f WHERE payload = 'x';

-- ANALYZE adds what was invoked. The function takes its time, so that what can be in flight together is.
ALTER FOREIGN TABLE f OPTIONS (SET function_name 'accept-50');
SELECT endpoint.reset();
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT response FROM f WHERE payload IN ('x', 'y', 'x');
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT response FROM f WHERE payload IN ('x', 'y') LIMIT 1;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT response FROM t JOIN f ON f.payload = t.s;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT response FROM t JOIN f ON f.payload = t.s WHERE t.id > 99;
SELECT endpoint.count();

-- Estimates: one row for each value
EXPLAIN SELECT response FROM f WHERE payload = 'x';
EXPLAIN SELECT response FROM f WHERE payload IN ('x', 'y', 'z');
EXPLAIN SELECT response FROM t JOIN f ON f.payload = t.s;

SET client_min_messages = warning;
DROP SCHEMA explains CASCADE;
