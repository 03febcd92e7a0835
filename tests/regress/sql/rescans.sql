-- An invocation is made when its row is first requested, and again only if a parameter that it depends on has changed.
SET client_min_messages = warning;
CREATE SCHEMA rescans;
SET search_path = rescans, public;
CREATE FOREIGN TABLE f (payload text, response text, status_code int)
    SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE TABLE t AS SELECT i AS id, 'v' || i % 2 AS s FROM generate_series(1, 4) i;
ANALYZE t;
RESET client_min_messages;
SELECT endpoint.reset();

-- The inner side of a nested loop, read again and again without a Materialize
SET enable_material = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SELECT count(*) FROM t LEFT JOIN f ON f.payload IN ('x', 'y') AND length(f.response) < t.id;
SELECT endpoint.made();
-- A changed parameter that only a filter uses is no reason for another invocation.
SELECT t.id, l.response FROM t, LATERAL (SELECT * FROM f WHERE payload = 'x' AND length(response) < t.id OFFSET 0) l;
SELECT endpoint.made();
-- A changed parameter that the binding uses is one, also when its value is the same.
SELECT t.id, l.response FROM t, LATERAL (SELECT * FROM f WHERE payload = t.s OFFSET 0) l;
SELECT endpoint.made();
-- Through a correlated subquery on the right side, at two levels
SELECT t.id, l.response FROM t, LATERAL (
    SELECT * FROM f WHERE payload = (SELECT max(u.s) FROM t u WHERE u.id <= t.id) OFFSET 0) l ORDER BY 1;
SELECT endpoint.made();
SELECT t.id, (SELECT response FROM f WHERE payload = (SELECT 'w' || t.id WHERE t.s = 'v1')) FROM t ORDER BY 1;
SELECT endpoint.made();
-- Half read, then started over
SELECT t.id FROM t WHERE EXISTS (SELECT FROM f WHERE payload IN ('x', 'y', 'z') AND response < t.s OFFSET 0);
SELECT endpoint.made();
RESET enable_material;
RESET enable_hashjoin;
RESET enable_mergejoin;

-- Rows come as they are asked for.
SELECT response FROM f WHERE payload IN ('a', 'b', 'c') LIMIT 1;
SELECT endpoint.made();
BEGIN;
DECLARE c CURSOR FOR SELECT response FROM f WHERE payload IN ('a', 'b', 'c');
SELECT endpoint.made();
FETCH 1 FROM c;
SELECT endpoint.made();
FETCH 1 FROM c;
FETCH ALL FROM c;
SELECT endpoint.made();
MOVE BACKWARD ALL FROM c;
COMMIT;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT response FROM f WHERE payload IN ('a', 'b', 'c');
FETCH 2 FROM c;
FETCH BACKWARD 1 FROM c;
FETCH ABSOLUTE 1 FROM c;
FETCH ALL FROM c;
SELECT endpoint.made();
COMMIT;
DECLARE held CURSOR WITH HOLD FOR SELECT response FROM f WHERE payload IN ('a', 'b');
FETCH 1 FROM held;
SELECT endpoint.made();
CLOSE held;

-- A common table expression, a materialised view and a table made from a query invoke once.
WITH c AS MATERIALIZED (SELECT * FROM f WHERE payload = 'once') SELECT count(*) FROM c a, c b, c d;
SELECT endpoint.made();
CREATE MATERIALIZED VIEW m AS SELECT * FROM f WHERE payload = 'view' WITH NO DATA;
SELECT endpoint.made();
REFRESH MATERIALIZED VIEW m;
SELECT count(*) FROM m, m n;
SELECT endpoint.made();
CREATE TABLE made_from AS SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s;
SELECT endpoint.made();
UPDATE made_from SET response = f.response FROM f WHERE f.payload = 'updated ' || made_from.id;
SELECT * FROM made_from ORDER BY id;
SELECT endpoint.made();

-- A failed statement, and one after it. One invocation at a time is begun when the row before is done with.
SET aws_lambda.max_concurrency = 1;
SELECT f.response, 1 / (length(f.response) - 1) FROM f WHERE payload IN ('two', 'x', 'three');
SELECT endpoint.made();
RESET aws_lambda.max_concurrency;
SELECT response FROM f WHERE payload = 'after';
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA rescans CASCADE;
