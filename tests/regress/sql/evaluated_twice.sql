-- PostgreSQL may evaluate a subquery more than once for a row. A LATERAL one in FROM invokes once for each.
SET client_min_messages = warning;
CREATE SCHEMA evaluated_twice;
SET search_path = evaluated_twice, public;
CREATE FOREIGN TABLE lj (payload jsonb, response jsonb, status_code int) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE TABLE c AS SELECT i % 2 AS v FROM generate_series(1, 10) i;
CREATE TABLE n AS SELECT i AS v FROM generate_series(0, 1) i;
ANALYZE c, n;
RESET client_min_messages;
SELECT endpoint.reset();

-- ON and WHERE
SELECT count(*) FROM c CROSS JOIN LATERAL (SELECT response::int AS r FROM lj WHERE payload = to_jsonb(c.v)) l JOIN n ON n.v = l.r;
SELECT endpoint.made();
SELECT count(*) FROM c JOIN lj ON lj.payload = to_jsonb(c.v) JOIN n ON n.v = lj.response::int;
SELECT endpoint.made();
SELECT count(*) FROM c CROSS JOIN LATERAL aws_lambda.invoke('echo', to_jsonb(c.v)) i JOIN n ON n.v = i.payload::int;
SELECT endpoint.made();
-- IN
SELECT count(*) FROM c CROSS JOIN LATERAL (SELECT response::int AS r FROM lj WHERE payload = to_jsonb(c.v)) l WHERE l.r IN (SELECT v FROM n);
SELECT endpoint.made();
-- BETWEEN
SELECT count(*) FROM c CROSS JOIN LATERAL (SELECT response::int AS r FROM lj WHERE payload = to_jsonb(c.v)) l WHERE l.r BETWEEN 0 AND 5;
SELECT endpoint.made();
SELECT count(*) FROM c CROSS JOIN LATERAL aws_lambda.invoke('echo', to_jsonb(c.v)) i WHERE i.payload::int BETWEEN 0 AND 5;
SELECT endpoint.made();
-- SET
UPDATE c SET v = l.response::int FROM lj l WHERE l.payload = to_jsonb(c.v);
SELECT endpoint.made();
-- A select list whose column is used twice
SELECT count(x.r + x.r) FROM (SELECT l.response::int AS r FROM c JOIN lj l ON l.payload = to_jsonb(c.v)) x WHERE x.r >= 0 AND x.r < 5;
SELECT endpoint.made();
