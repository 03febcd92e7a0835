-- A semijoin on an input column whose right side can't be read first: it filters what the column's other clauses invoke for. PostgreSQL 17
-- and later make one of a subquery that refers to the query around it, too.

SET client_min_messages = warning;
CREATE SCHEMA semi_join_filters;
SET search_path = semi_join_filters, public;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE TABLE t1 (id int, s text);
INSERT INTO t1 VALUES (1, 'a'), (2, 'b'), (3, 'k'), (4, NULL);
CREATE TABLE t2 AS SELECT * FROM t1;
ANALYZE t1, t2;
RESET client_min_messages;
SELECT endpoint.reset();

SELECT response FROM f WHERE payload IN ('a', 'k') AND payload IN (SELECT t2.s FROM t2 WHERE t2.id <> length(f.response)) ORDER BY 1;
SELECT endpoint.made();
SELECT t1.id, response FROM t1 JOIN f ON payload IN (t1.s, 'k') WHERE payload IN (SELECT t2.s FROM t2 WHERE t2.id <> t1.id) ORDER BY 1, 2;
SELECT endpoint.made() > 0;
SELECT t1.id, f.response FROM t1 JOIN f ON f.payload IN (t1.s, 'k') WHERE f.payload IN (SELECT q.response FROM f q WHERE q.payload = t1.s) ORDER BY 1, 2;
SELECT endpoint.made() > 0;
SELECT response FROM f WHERE payload IN ('a', 'b', 'x') AND EXISTS (SELECT FROM t2 WHERE t2.s = f.payload AND t2.s < f.response || 'z') ORDER BY 1;
SELECT endpoint.made();
SELECT response FROM f WHERE payload IN ('a', 'b', 'x') AND NOT EXISTS (SELECT FROM t2 WHERE t2.s = f.payload AND t2.s < f.response || 'z') ORDER BY 1;
SELECT endpoint.made();

-- Where it can, its rows are values.
SELECT response FROM f WHERE payload IN (SELECT s FROM t2) ORDER BY 1;
SELECT endpoint.made();
SELECT response FROM f WHERE payload IN ('a', 'x') AND payload IN (SELECT s FROM t2) ORDER BY 1;
SELECT endpoint.made();
SELECT response FROM f WHERE payload IN (SELECT q.response FROM t2 JOIN f q ON q.payload = t2.s) ORDER BY 1;
SELECT endpoint.made();

-- Without another clause it is an error that invokes nothing.
SELECT response FROM f WHERE EXISTS (SELECT FROM t2 WHERE t2.s = f.payload AND t2.s < f.response || 'z');
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA semi_join_filters CASCADE;
