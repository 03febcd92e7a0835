-- Grouping sets over invocations, also by way of a view or a subquery, of which PostgreSQL 18 and later wrap each column.

SET client_min_messages = warning;
CREATE SCHEMA grouping_sets;
SET search_path = grouping_sets, public;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE VIEW v AS SELECT * FROM f;
CREATE FOREIGN TABLE without_payload (qualifier text, response text, status_code int) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE VIEW v_without_payload AS SELECT * FROM without_payload;
CREATE TABLE p (payload text, response text) PARTITION BY LIST (payload);
CREATE FOREIGN TABLE p1 PARTITION OF p DEFAULT SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE TABLE t (id int, s text);
INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'a'), (4, NULL);
ANALYZE t;
RESET client_min_messages;
SELECT endpoint.reset();

SELECT response, count(*) FROM f WHERE payload IN ('a', 'b') GROUP BY ROLLUP (response) ORDER BY 1;
SELECT response, count(*) FROM v WHERE payload IN ('a', 'b') GROUP BY ROLLUP (response) ORDER BY 1;
SELECT response, count(*) FROM (SELECT * FROM f) x WHERE payload = 'a' GROUP BY CUBE (response) ORDER BY 1;
WITH x AS (SELECT * FROM f) SELECT response, count(*) FROM x WHERE payload = 'a' GROUP BY GROUPING SETS ((response), ()) ORDER BY 1;
SELECT response, count(*) FROM (SELECT * FROM p) x WHERE payload = 'a' GROUP BY ROLLUP (response) ORDER BY 1;
SELECT endpoint.made();
SELECT t.s, count(v.response) FROM t JOIN v ON v.payload = t.s GROUP BY ROLLUP (t.s) ORDER BY 1;
SELECT t.s, count(v.response) FROM t LEFT JOIN v ON v.payload = t.s GROUP BY ROLLUP (t.s) ORDER BY 1;
SELECT v.response, count(*) FROM t, LATERAL (SELECT * FROM v WHERE payload = t.s) v GROUP BY ROLLUP (v.response) ORDER BY 1;
SELECT endpoint.made();

-- Not a filter behind an invocation without it
SELECT status_code, count(*) FROM v_without_payload WHERE qualifier IS NOT DISTINCT FROM 'live' GROUP BY ROLLUP (status_code) ORDER BY 1;
SELECT function, qualifier FROM endpoint.invocations();
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA grouping_sets CASCADE;
