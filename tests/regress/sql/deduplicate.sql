-- With deduplicate, equal inputs within a statement are one invocation, whichever scans of the table ask for it.
SET client_min_messages = warning;
CREATE SCHEMA deduplicate;
SET search_path = deduplicate, public;
CREATE FOREIGN TABLE d (
    function_name text, region text, qualifier text, invocation_type text, log_type text, context text, payload text,
    response text, status_code int, log text, error_code text)
    SERVER aws_lambda OPTIONS (deduplicate 'true');
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo', deduplicate 'true');
CREATE FOREIGN TABLE j (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'echo', deduplicate 'true');
-- Twelve rows with three values, and one without
CREATE TABLE t AS SELECT i AS id, 'v' || i % 3 AS s FROM generate_series(1, 12) i;
INSERT INTO t VALUES (13, NULL);
ANALYZE t;
RESET client_min_messages;
SELECT endpoint.reset();

-- A join: without it one for each row, with it one for each value
ALTER FOREIGN TABLE f OPTIONS (DROP deduplicate);
SELECT count(*), count(*) FILTER (WHERE response = s) AS right FROM t JOIN f ON payload = s;
SELECT endpoint.made();
ALTER FOREIGN TABLE f OPTIONS (ADD deduplicate 'false');
SELECT count(*), count(*) FILTER (WHERE response = s) AS right FROM t JOIN f ON payload = s;
SELECT endpoint.made();
ALTER FOREIGN TABLE f OPTIONS (SET deduplicate 'true');
SELECT count(*), count(*) FILTER (WHERE response = s) AS right FROM t JOIN f ON payload = s;
SELECT endpoint.made();
SELECT id, s, response FROM t LEFT JOIN f ON payload = s ORDER BY id;
SELECT endpoint.made();
-- Also while the first is still in flight, and where one is at a time
SELECT count(*), count(*) FILTER (WHERE response = s) AS right FROM t JOIN d ON payload = s AND function_name = 'accept-300';
SELECT endpoint.counter('most_in_flight');
SELECT endpoint.made();
SET aws_lambda.max_concurrency = 1;
SELECT count(*), count(*) FILTER (WHERE response = s) AS right FROM t JOIN f ON payload = s;
SELECT endpoint.made();
RESET aws_lambda.max_concurrency;

-- All rows of one invocation show its response.
SELECT s, count(*), count(DISTINCT response) FROM t JOIN d ON payload = s AND function_name = 'count' GROUP BY s ORDER BY s;
SELECT endpoint.made();

-- Self joins, two levels of them, and a list beside a join: v1 and v2 are among the join's values, and v9 is not.
SELECT count(*), count(*) FILTER (WHERE a.response = s AND b.response = s) AS right
FROM t JOIN f a ON a.payload = s JOIN f b ON b.payload = s;
SELECT endpoint.made();
SELECT count(*), count(*) FILTER (WHERE b.response = s) AS right FROM t JOIN f a ON a.payload = s JOIN f b ON b.payload = a.response;
SELECT endpoint.made();
SELECT count(*), count(*) FILTER (WHERE a.response = s AND b.response = b.payload) AS right
FROM t JOIN f a ON a.payload = s, f b WHERE b.payload IN ('v1', 'v2', 'v9');
SELECT endpoint.made();
SELECT a.response, b.response FROM f a, f b WHERE a.payload IN ('x', 'y') AND b.payload IN ('y', 'z') ORDER BY 1, 2;
SELECT endpoint.made();
SELECT response FROM f WHERE payload IN ('x', 'y') UNION ALL SELECT response FROM f WHERE payload IN ('y', 'z') ORDER BY 1;
SELECT endpoint.made();
WITH c AS MATERIALIZED (SELECT response FROM f WHERE payload = 'x') SELECT count(*) FROM c, f WHERE payload = c.response AND f.response = 'x';
SELECT endpoint.made();

-- Rescans with values that were there before, and half read ones
SELECT count(*), count(*) FILTER (WHERE response = s) AS right FROM t, LATERAL (SELECT * FROM f WHERE payload = s OFFSET 0) l;
SELECT endpoint.made();
SELECT count(*), count(*) FILTER (WHERE response = s) AS right FROM t, LATERAL (SELECT * FROM f WHERE payload IN (s, 'x') LIMIT 1) l;
SELECT endpoint.made();

-- Subqueries: in a select list, in EXISTS, two of them, and in a value
SELECT id, (SELECT response FROM f WHERE payload = s) FROM t ORDER BY id;
SELECT endpoint.made();
SELECT count(*) FROM t WHERE EXISTS (SELECT FROM f WHERE payload = s AND response <> 'v0');
SELECT endpoint.made();
SELECT count(*) FROM t WHERE (SELECT response FROM f WHERE payload = s) = (SELECT response FROM f WHERE payload = s);
SELECT endpoint.made();
SELECT response FROM f WHERE payload = (SELECT response FROM f WHERE payload = 'x');
SELECT endpoint.made();

-- Not across statements, whether prepared, of a cursor, or of a DO
SELECT response FROM f WHERE payload = 'x';
SELECT response FROM f WHERE payload = 'x';
SELECT endpoint.made();
PREPARE p AS SELECT response FROM f WHERE payload = 'x';
EXECUTE p;
EXECUTE p;
SELECT endpoint.made();
BEGIN;
DECLARE c CURSOR FOR SELECT t.id, response FROM t JOIN f ON payload = s;
FETCH 2 FROM c;
SELECT response FROM f WHERE payload = 'v1';
FETCH 4 FROM c;
COMMIT;
-- v1, v2 and v0, and v1 of the statement in between
SELECT endpoint.made();
DO $$
BEGIN
    FOR i IN 1..3 LOOP
        PERFORM response FROM f WHERE payload = 'x';
    END LOOP;
END $$;
SELECT endpoint.made();

-- Rows that differ in any input are not equal.
SELECT r, count(*) FILTER (WHERE response::jsonb ->> 'region' = r) AS right
FROM (VALUES ('us-east-1'), ('us-east-2'), ('us-east-1')) AS v (r) JOIN d ON region = r AND payload = '1' AND function_name = 'describe' GROUP BY r ORDER BY r;
SELECT endpoint.made();
SELECT q, response::jsonb ->> 'qualifier' AS sent
FROM (VALUES ('v1'), ('v2'), (NULL), ('v1')) AS v (q) JOIN d ON qualifier IS NOT DISTINCT FROM q AND payload = '1' AND function_name = 'describe' ORDER BY q;
SELECT endpoint.made();
SELECT c, response::jsonb ->> 'client_context' AS sent
FROM (VALUES ('{"custom": 1}'), ('{"custom": 2}'), (NULL), ('{"custom": 1}')) AS v (c) JOIN d ON context IS NOT DISTINCT FROM c AND payload = '1' AND function_name = 'describe' ORDER BY c;
SELECT endpoint.made();
SELECT l, log IS NOT NULL AS log FROM (VALUES ('None'), ('Tail'), ('Tail')) AS v (l) JOIN d ON log_type = l AND payload = '1' AND function_name = 'log' ORDER BY l;
SELECT endpoint.made();
SELECT i, status_code FROM (VALUES ('DryRun'), ('Event'), ('Event'), ('RequestResponse')) AS v (i) JOIN d ON invocation_type = i AND payload = '1' AND function_name = 'echo' ORDER BY i;
SELECT endpoint.made();
SELECT n, response FROM (VALUES ('echo'), ('number'), ('echo')) AS v (n) JOIN d ON function_name = n AND payload = '1' ORDER BY n;
SELECT endpoint.made();

-- The payload is compared as it is sent: 1 and 1.0 are equal to jsonb, so one value of a list, but not the same bytes.
SELECT response FROM j WHERE payload IN ('1', '1.0');
SELECT endpoint.made();
SELECT response FROM (VALUES ('1'::jsonb), ('1.0'), ('1')) AS v (p) JOIN j ON payload = p ORDER BY response::text;
SELECT endpoint.made();
SELECT response FROM (VALUES ('{"a":1}'), ('{"a": 1}'), ('{"a":1}')) AS v (p) JOIN f ON payload = p ORDER BY 1;
SELECT endpoint.made();
SELECT response FROM (VALUES ('{"a":1}'::jsonb), ('{"a": 1}'), ('{"a":1}')) AS v (p) JOIN j ON payload = p;
SELECT endpoint.made();

-- Failed ones too, with on_error return. What is throttled is tried again once for all rows.
ALTER FOREIGN TABLE d OPTIONS (ADD on_error 'return');
SELECT error_code, count(*), count(response) FROM t JOIN d ON payload = s AND function_name = 'unhandled' GROUP BY 1;
SELECT endpoint.made();
SELECT error_code, count(*) FROM t JOIN d ON payload = s AND function_name = 'error-403-AccessDeniedException' GROUP BY 1;
SELECT endpoint.made();
SELECT a.error_code, b.error_code FROM d a, d b WHERE a.function_name = 'unhandled' AND a.payload = '1' AND b.function_name = 'unhandled' AND b.payload = '1';
SELECT endpoint.made();
SELECT error_code, count(*) FROM t JOIN d ON payload = s AND function_name = 'a b' GROUP BY 1;
SELECT endpoint.made();
SELECT error_code, count(*) FROM t JOIN d ON payload = 'x' AND s IS NOT NULL AND function_name = 'throttle-2' GROUP BY 1;
SELECT endpoint.made();
ALTER FOREIGN TABLE d OPTIONS (DROP on_error);
SELECT s, response FROM t JOIN d ON payload = s AND function_name = 'unhandled';
SELECT endpoint.made() <= 3 AS at_most_three;

SET client_min_messages = warning;
DROP SCHEMA deduplicate CASCADE;
