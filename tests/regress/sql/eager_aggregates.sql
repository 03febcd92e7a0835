-- Aggregates over a join with invocations, for each of whose rows there is one, however many of them are equal: PostgreSQL 19 could group
-- the rows before they are joined.
SET client_min_messages = warning;
CREATE SCHEMA eager;
SET search_path = eager, public;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'count');
CREATE TABLE t AS SELECT i AS id, 'v' || i % 3 AS s, i % 2 AS n FROM generate_series(1, 39) i;
CREATE TABLE kinds AS SELECT i AS n, 'kind ' || i AS name FROM generate_series(0, 1) i;
ANALYZE t, kinds;
RESET client_min_messages;
SELECT endpoint.reset();

-- Each answer is another.
SELECT count(*), min(n), max(n) FROM (SELECT f.response, count(*) AS n FROM t JOIN f ON f.payload = t.s GROUP BY f.response) x;
SELECT endpoint.made();
SELECT sum(t.id) FROM t JOIN f ON f.payload = t.s GROUP BY t.s ORDER BY 1;
SELECT endpoint.made();
SELECT f.payload, count(*), sum(t.id) FROM t JOIN f ON f.payload = t.s GROUP BY f.payload ORDER BY 1;
SELECT endpoint.made();
SELECT k.name, count(*) FROM t JOIN kinds k USING (n) JOIN f ON f.payload = t.s GROUP BY k.name ORDER BY 1;
SELECT endpoint.made();
SELECT k.name, sum(t.id), count(DISTINCT l.response) FROM t JOIN kinds k USING (n), LATERAL (SELECT response FROM f WHERE payload = t.s) l GROUP BY k.name ORDER BY 1;
SELECT endpoint.made();
-- The same where the invocations are in a subquery that stays one.
SELECT k.name, count(*) FROM t JOIN kinds k USING (n) CROSS JOIN LATERAL (SELECT response FROM f WHERE payload = t.s OFFSET 0) l GROUP BY k.name ORDER BY 1;
SELECT endpoint.made();
-- The same where they are in an expression: a join condition, or what is aggregated.
CREATE TABLE answers AS SELECT i AS id, 'v' || i % 3 AS s FROM generate_series(1, 6) i;
ANALYZE answers;
CREATE FOREIGN TABLE echo (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
SELECT a.id, count(*) FROM t JOIN answers a ON a.s = (SELECT response FROM echo WHERE payload = t.s) GROUP BY a.id ORDER BY 1;
SELECT endpoint.made();
SELECT a.id, count(*) FROM t JOIN answers a ON a.s = t.s AND (SELECT response FROM echo WHERE payload = t.s || a.s) <> '' GROUP BY a.id ORDER BY 1;
SELECT endpoint.made();
SELECT a.id, sum((SELECT length(response) FROM echo WHERE payload = t.s)) FROM t JOIN answers a ON a.s = t.s GROUP BY a.id ORDER BY 1;
SELECT endpoint.made();
-- The same with the function, alone in FROM, in a subquery, and in an expression.
SELECT a.id, count(*) FROM t JOIN answers a ON a.s = t.s CROSS JOIN aws_lambda.invoke('echo', to_jsonb(t.s)) i GROUP BY a.id ORDER BY 1;
SELECT endpoint.made();
SELECT t.s, count(*), sum(t.id) FROM t CROSS JOIN aws_lambda.invoke('echo', to_jsonb(t.s)) i GROUP BY t.s ORDER BY 1;
SELECT endpoint.made();
SELECT k.name, count(*) FROM t JOIN kinds k USING (n) CROSS JOIN LATERAL (SELECT payload FROM aws_lambda.invoke('echo', to_jsonb(t.s)) OFFSET 0) i GROUP BY k.name ORDER BY 1;
SELECT endpoint.made();
SELECT k.name, count(*) FROM t JOIN kinds k ON k.n = t.n AND (SELECT payload FROM aws_lambda.invoke('echo', to_jsonb(t.s || k.n))) IS NOT NULL GROUP BY k.name ORDER BY 1;
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA eager CASCADE;
