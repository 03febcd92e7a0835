-- Outer rows are sorted before they invoke, if they have the order and not all rows are wanted.
SET client_min_messages = warning;
CREATE SCHEMA sorted;
SET search_path = sorted, public;
CREATE FOREIGN TABLE l (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo', max_concurrency '4');
CREATE FOREIGN TABLE m (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo', max_concurrency '4');
CREATE TABLE t AS SELECT i AS id, i % 100 AS g, i::text AS p FROM generate_series(1, 500) i ORDER BY random();
CREATE TABLE u AS SELECT i AS id, i::text AS p FROM generate_series(1, 500) i ORDER BY random();
ANALYZE t, u;
RESET client_min_messages;
SELECT endpoint.reset();

SELECT * FROM endpoint.explain('SELECT t.id, l.response FROM t JOIN l ON l.payload = t.p ORDER BY t.id LIMIT 5');
SELECT t.id, l.response FROM t JOIN l ON l.payload = t.p ORDER BY t.id LIMIT 5;
SELECT endpoint.made();
SELECT t.id, l.response FROM t JOIN l ON l.payload = t.p ORDER BY t.id DESC LIMIT 2 OFFSET 1;
SELECT endpoint.made();
SELECT t.id, l.response FROM t LEFT JOIN l ON l.payload = t.p ORDER BY t.g, t.id LIMIT 3;
SELECT endpoint.made();
SELECT t.id FROM t WHERE EXISTS (SELECT FROM l WHERE l.payload = t.p) ORDER BY t.id LIMIT 3;
SELECT endpoint.made();
-- More tables, before and behind
SELECT t.id, l.response FROM t JOIN u USING (id) JOIN l ON l.payload = t.p || u.p ORDER BY id LIMIT 3;
SELECT endpoint.made();
SELECT t.id, m.response FROM t JOIN l ON l.payload = t.p JOIN m ON m.payload = l.response ORDER BY t.id LIMIT 3;
SELECT endpoint.made() <= 10 AS few;
SELECT t.id, u.id FROM t JOIN l ON l.payload = t.p JOIN u ON u.p = l.response ORDER BY t.id LIMIT 3;
SELECT endpoint.made() <= 6 AS few;
-- By a first column of the order; equal ones are compared by the answer
SELECT t.g, l.response FROM t JOIN l ON l.payload = t.p ORDER BY t.g, l.response LIMIT 3;
SELECT endpoint.made() < 20 AS few;
-- A function, and a subquery
SELECT t.id, i.payload FROM t, LATERAL aws_lambda.invoke('echo', to_jsonb(t.id)) i ORDER BY t.id LIMIT 3;
SELECT endpoint.made();
SELECT t.id, x.n FROM t, LATERAL (SELECT count(response) AS n FROM l WHERE payload = t.p) x ORDER BY t.id LIMIT 3;
SELECT endpoint.made() <= 4 AS few;
-- DISTINCT, groups and the top rows of a window
SELECT DISTINCT ON (t.g) t.g, t.id, l.response FROM t JOIN l ON l.payload = t.p ORDER BY t.g, t.id LIMIT 2;
SELECT endpoint.made() < 20 AS few;
SELECT t.g, count(l.response) FROM t JOIN l ON l.payload = t.p GROUP BY t.g ORDER BY t.g LIMIT 2;
SELECT endpoint.made() < 25 AS few;
SELECT * FROM (SELECT t.id, l.response, row_number() OVER (ORDER BY t.id) AS n FROM t JOIN l ON l.payload = t.p) x LIMIT 3;
SELECT endpoint.made() <= 7 AS few;
-- An order by a subquery that invokes is not found twice.
SELECT t.id FROM t JOIN l ON l.payload = t.p WHERE t.id <= 5 ORDER BY (SELECT f.response::text FROM l f WHERE f.payload = t.p), t.id LIMIT 2;
SELECT endpoint.made();
-- A cursor
BEGIN;
DECLARE c CURSOR FOR SELECT t.id, l.response FROM t JOIN l ON l.payload = t.p ORDER BY t.id;
FETCH 2 FROM c;
SELECT endpoint.made();
COMMIT;

-- All rows are read for an order by the response, or if a node below the LIMIT reads all rows.
SELECT l.response FROM t JOIN l ON l.payload = t.p ORDER BY l.response LIMIT 1;
SELECT endpoint.made();
SELECT DISTINCT l.response FROM t JOIN l ON l.payload = t.p ORDER BY l.response LIMIT 1;
SELECT endpoint.made();
-- Without a limit nothing is sorted before.
SELECT * FROM endpoint.explain('SELECT t.id, l.response FROM t JOIN l ON l.payload = t.p ORDER BY t.id');
