-- Queries that stop before the last row: a known LIMIT bounds the invocations.
SET client_min_messages = warning;
CREATE SCHEMA stopping;
SET search_path = stopping, public;
CREATE FOREIGN TABLE f (payload text, response text)
    SERVER aws_lambda OPTIONS (function_name 'accept-30', max_concurrency '8');
CREATE FOREIGN TABLE mock (payload jsonb, response jsonb)
    SERVER aws_lambda OPTIONS (function_name 'mock', max_concurrency '8');
-- The first answers late, so that all others that may be started are.
CREATE TABLE late AS SELECT i, jsonb_build_object('n', i, 'ms', CASE i WHEN 1 THEN 200 ELSE 0 END) AS p FROM generate_series(1, 60) i;
CREATE TABLE gaps (id int, s text, arr text[]);
INSERT INTO gaps VALUES (1, NULL, '{p,q}'), (2, NULL, '{}'), (3, NULL, NULL), (4, 'd', '{r,NULL,r}'), (5, 'e', '{s}'), (6, 'f', '{t}');
ANALYZE late, gaps;
RESET client_min_messages;
SELECT endpoint.reset();

-- As many as max_concurrency, or more: not one beyond what is wanted waits behind the late one.
SELECT count(*) FROM (SELECT response FROM mock WHERE payload = ANY (ARRAY(SELECT p FROM late)) LIMIT 8) x;
SELECT endpoint.made();
SELECT count(*) FROM (SELECT response FROM mock WHERE payload = ANY (ARRAY(SELECT p FROM late)) LIMIT 12) x;
SELECT endpoint.made();
SELECT count(*) FROM (SELECT response FROM late JOIN mock ON payload = p LIMIT 12) x;
SELECT endpoint.made();
BEGIN;
DECLARE c CURSOR FOR SELECT i FROM late JOIN mock ON payload = p;
FETCH 9 FROM c \g /dev/null
SELECT endpoint.made();
COMMIT;
-- All are wanted, so all are made.
SELECT count(response) FROM late JOIN mock ON payload = p;
SELECT endpoint.made();

-- Outer rows that invoke nothing are no rows of an inner join, so they don't use up a limit.
SELECT id, response FROM gaps JOIN f ON payload = s LIMIT 1;
SELECT endpoint.made();
SELECT EXISTS (SELECT FROM gaps JOIN f ON payload = s);
SELECT endpoint.made();
SELECT id, payload FROM gaps JOIN f ON payload = ANY (arr) LIMIT 3;
SELECT endpoint.made();
-- Of a left join they are.
SELECT id, response FROM gaps LEFT JOIN f ON payload = s LIMIT 4;
SELECT endpoint.made();

-- Two tables that have each other's values, and a list: that with the list comes first.
SELECT a.payload, a.response, b.response AS b FROM f a JOIN f b USING (payload) WHERE a.payload IN ('x', 'y');
SELECT endpoint.made();
SELECT a.payload, a.response, b.response AS b FROM f a JOIN f b USING (payload) WHERE b.payload IN ('x', 'y');
SELECT endpoint.made();
SELECT a.payload, b.response AS b FROM f a JOIN f b USING (payload) WHERE a.payload IN ('x', 'y') AND b.payload IN ('y', 'z');
SELECT endpoint.made();

-- So it is with a partitioned one.
CREATE TABLE parts (payload text, response text) PARTITION BY LIST (payload);
CREATE FOREIGN TABLE parts_x PARTITION OF parts FOR VALUES IN ('x') SERVER aws_lambda OPTIONS (function_name 'accept-30');
CREATE FOREIGN TABLE parts_y PARTITION OF parts FOR VALUES IN ('y') SERVER aws_lambda OPTIONS (function_name 'accept-30');
SELECT f.payload, f.response, parts.response AS part FROM f JOIN parts USING (payload)
WHERE f.payload IN ('x', 'y') AND parts.payload IN ('x', 'y') ORDER BY 1;
SELECT endpoint.made();
SELECT f.payload, parts.response AS part FROM parts JOIN f USING (payload)
WHERE f.payload IN ('x', 'y') AND parts.payload IN ('x', 'y') ORDER BY 1;
SELECT endpoint.made();

-- Subplans that are read to their end: an array, and a CTE
SET aws_lambda.max_concurrency = 64;
SELECT array_length(ARRAY(SELECT response FROM f WHERE payload = ANY (ARRAY(SELECT 'a' || i FROM generate_series(1, 8) i))), 1);
SELECT endpoint.counter('most_in_flight'), endpoint.made();
WITH x AS MATERIALIZED (SELECT response FROM f WHERE payload = ANY (ARRAY(SELECT 'a' || i FROM generate_series(1, 8) i)))
SELECT count(*) FROM x, x y;
SELECT endpoint.counter('most_in_flight'), endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA stopping CASCADE;
