-- Conditions that read input columns alone, and are not volatile, are checked before anything is invoked, in scans and in read-ahead.
SET client_min_messages = warning;
CREATE SCHEMA input_filters;
SET search_path = input_filters, public;
CREATE FOREIGN TABLE f (function_name text, payload text, region text, response text) SERVER aws_lambda;
CREATE FOREIGN TABLE j (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE q (qualifier text, payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE TABLE t AS SELECT i AS id, 'v' || i AS p, CASE WHEN i % 2 = 0 THEN 'echo' ELSE 'evil' END AS fn, 'ec%' AS pattern FROM generate_series(1, 10) i;
ANALYZE t;
RESET client_min_messages;
SELECT endpoint.reset();

-- On one column, on several, on one that has no value, and on none of the columns of a list
SELECT endpoint.explain($$SELECT * FROM f WHERE function_name = ANY ('{echo,evil}') AND payload = ANY ('{a,b}') AND function_name LIKE 'ec%'$$, '');
SELECT * FROM f WHERE function_name = ANY ('{echo,evil}') AND payload = ANY ('{a,b}') AND function_name LIKE 'ec%';
SELECT endpoint.made();
SELECT * FROM f WHERE function_name = ANY ('{echo,evil}') AND payload = ANY ('{a,b,echo}') AND function_name <> payload AND payload >= 'b' AND function_name LIKE 'ec%';
SELECT endpoint.made();
SELECT * FROM f WHERE function_name = ANY ('{echo,echo:v3}') AND payload = ANY ('{a,echo,f}') AND function_name > payload AND length(function_name || payload) < 10;
SELECT endpoint.made();
SELECT * FROM f WHERE function_name = 'echo' AND payload IN ('a', 'b') AND coalesce(region, 'none') <> 'none';
SELECT * FROM f WHERE function_name = 'echo' AND payload IN ('a', 'b') AND (region IS NULL OR payload = 'a');
SELECT * FROM f WHERE function_name = 'echo' AND payload IN ('a', 'b') AND region LIKE 'us%';
SELECT * FROM f WHERE function_name = 'echo' AND payload = 'a' AND payload <> 'a';
SELECT * FROM j WHERE payload IN ('{"tenant": "one"}', '{"tenant": "two"}') AND payload ->> 'tenant' = 'one';
SELECT * FROM j WHERE payload IN ('{"n": 1}', '{"n": 0}', '{}') AND 1 / (payload ->> 'n')::int > 0;
SELECT endpoint.made();
SELECT response FROM f WHERE function_name = ANY (ARRAY(SELECT DISTINCT fn FROM t)) AND payload IN ('a', 'b', 'c') AND function_name ~ '^ec' LIMIT 2;
SELECT endpoint.made();

-- Conditions that are volatile or read the response are checked afterwards
SELECT count(*) FROM f WHERE function_name = 'echo' AND payload IN ('a', 'b') AND payload || substr(random()::text, 1, 0) = 'a';
SELECT endpoint.made();
SELECT count(*) FROM f WHERE function_name = 'echo' AND payload IN ('a', 'b') AND (payload = 'a' OR response = 'a');
SELECT endpoint.made();

-- In joins, with conditions of both sides
SELECT endpoint.explain($$SELECT t.id, f.response FROM t JOIN f ON f.function_name = t.fn AND f.payload = t.p WHERE f.function_name LIKE t.pattern$$, '');
SELECT t.id, f.* FROM t JOIN f ON f.function_name = t.fn AND f.payload = t.p WHERE f.function_name LIKE t.pattern ORDER BY 1;
SELECT endpoint.made();
SELECT t.id, f.response FROM t LEFT JOIN f ON f.function_name = t.fn AND f.payload = t.p AND f.function_name LIKE 'ec%' AND t.id < 5 ORDER BY 1;
SELECT endpoint.made();
SELECT t.id, (SELECT response FROM f WHERE function_name = t.fn AND payload = t.p AND function_name LIKE 'ec%') FROM t WHERE id < 4 ORDER BY 1;
SELECT endpoint.made();
SELECT t.id FROM t WHERE EXISTS (SELECT FROM f WHERE function_name = t.fn AND payload = t.p AND function_name LIKE t.pattern AND response LIKE 'v_') ORDER BY 1;
SELECT endpoint.made();
-- With subqueries, which read tables or invoke, once for each value
SELECT t.id, f.response FROM t JOIN f ON f.function_name = t.fn AND f.payload = t.p AND CASE WHEN f.function_name = 'echo' THEN EXISTS (SELECT FROM t x WHERE x.p = f.payload AND x.id < 5) END ORDER BY 1;
SELECT endpoint.made();
SELECT payload, response FROM f WHERE function_name = 'echo' AND payload IN ('1', '2', '3') AND (SELECT (response)::int FROM j WHERE j.payload = f.payload::jsonb) < 3;
SELECT endpoint.made();
-- With outer rows that have columns which only the outer plan needs
CREATE TABLE junk AS SELECT 'x' || i % 3 AS s, 1073741824 AS n FROM generate_series(1, 9) i;
CREATE FOREIGN TABLE g (status_code int, payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
ANALYZE junk;
SET enable_hashagg = off;
SELECT * FROM g WHERE payload LIKE 'x%' AND (status_code, payload) IN (SELECT n - 1073741624, s || 'x' FROM junk) ORDER BY payload;
RESET enable_hashagg;
SELECT endpoint.made();

-- The same for partitions of both sides
SET enable_partitionwise_join = on;
CREATE TABLE parts (fn text, p text) PARTITION BY LIST (fn);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN ('echo');
CREATE TABLE parts_2 PARTITION OF parts DEFAULT;
INSERT INTO parts SELECT fn, p FROM t;
ANALYZE parts;
CREATE TABLE fs (response text, function_name text, payload text) PARTITION BY LIST (function_name);
CREATE FOREIGN TABLE fs_1 PARTITION OF fs FOR VALUES IN ('echo') SERVER aws_lambda;
CREATE FOREIGN TABLE fs_2 (payload text, function_name text, response text) SERVER aws_lambda;
ALTER TABLE fs ATTACH PARTITION fs_2 DEFAULT;
SELECT p.p, f.response FROM parts p JOIN fs f ON f.function_name = p.fn AND f.payload = p.p AND f.payload > 'v5' AND f.function_name LIKE 'e%o' ORDER BY 1;
SELECT endpoint.made();
RESET enable_partitionwise_join;

-- A rescan checks anew, and invokes for no value twice
SELECT endpoint.explain($$SELECT t.id, l.response FROM t, LATERAL (SELECT * FROM f WHERE function_name = 'echo' AND payload IN ('1', '2', '3') AND payload::int < t.id OFFSET 0) l$$, '');
SELECT t.id, l.response FROM t, LATERAL (SELECT * FROM f WHERE function_name = 'echo' AND payload IN ('1', '2', '3') AND payload::int < t.id OFFSET 0) l WHERE t.id < 5 ORDER BY 1, 2;
SELECT endpoint.made();
SELECT t.id, (SELECT string_agg(response, ',') FROM f WHERE function_name = 'echo' AND payload IN ('1', '2', '3') AND (payload::int + t.id) % 3 = 0) FROM t WHERE t.id < 5 ORDER BY 1;
SELECT endpoint.made();
SELECT t.id, (SELECT response FROM f WHERE function_name = 'echo' AND payload IN ('1', '2', '3') AND payload::int >= t.id LIMIT 1) FROM t WHERE t.id < 5 ORDER BY 1;
SELECT endpoint.made();

SELECT v.p, l.response FROM (VALUES ('v1%'), ('v2%'), ('%')) v (p), LATERAL (SELECT response FROM q WHERE qualifier IN ('v1', 'v2') AND payload = '"hello"' AND qualifier LIKE v.p OFFSET 0) l;
SELECT * FROM endpoint.arrived();

-- With values that are not shown
SELECT response FROM j WHERE payload = '{"tenant": "one"}' AND payload ->> 'tenant' = 'one';
SELECT l.response FROM t, LATERAL (SELECT response FROM f WHERE function_name = 'echo' AND payload = 'x' AND length(payload) < t.id OFFSET 0) l WHERE t.id < 4;
SELECT endpoint.made();

-- A row that was changed meanwhile is checked too: see the tests of concurrent updates. UPDATE ... FROM here
UPDATE t SET p = f.response || '!' FROM f WHERE f.function_name = t.fn AND f.payload = t.p AND f.function_name LIKE 'ec%' AND f.payload < t.pattern || 'z' AND t.id < 5 RETURNING t.id, t.p;
UPDATE t SET p = f.response || '!' FROM f WHERE f.function_name = t.fn AND f.payload = t.p AND f.function_name LIKE t.pattern AND t.id < 5 RETURNING t.id, t.p;
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA input_filters CASCADE;
