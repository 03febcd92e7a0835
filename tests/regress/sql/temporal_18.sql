-- Temporal keys, of PostgreSQL 18 and later, of the tables beside invocations: one for each row, whether or not a key refuses the row.
SELECT current_setting('server_version_num')::int < 180000 AS skip \gset
\if :skip
\quit
\endif
SET client_min_messages = warning;
CREATE SCHEMA temporal_18;
SET search_path = temporal_18, public;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'accept-10');
CREATE TABLE t (id int4range, valid daterange, s text, PRIMARY KEY (id, valid WITHOUT OVERLAPS));
INSERT INTO t VALUES ('[1,2)', '[2024-01-01,2025-01-01)', 'a'), ('[1,2)', '[2025-01-01,2026-01-01)', 'b'), ('[2,3)', '[2024-01-01,2025-01-01)', 'a'), ('[3,4)', '[2024-01-01,)', NULL);
CREATE TABLE parts (t int4range, valid daterange, s text, FOREIGN KEY (t, PERIOD valid) REFERENCES t (id, PERIOD valid));
ANALYZE t;
RESET client_min_messages;
SELECT endpoint.reset();

SELECT t.id, t.valid, f.response FROM t JOIN f ON f.payload = t.s WHERE t.valid @> '2024-06-01'::date ORDER BY 1, 2;
SELECT endpoint.made();
SELECT t.id, f.response FROM t JOIN t u USING (id, valid) LEFT JOIN f ON f.payload = u.s ORDER BY t.id, t.valid;
SELECT endpoint.made();
UPDATE t SET s = f.response || '!' FROM f WHERE f.payload = t.s RETURNING old.s, new.s, t.valid;
SELECT endpoint.made();
INSERT INTO t SELECT '[4,5)', '[2024-01-01,2025-01-01)', f.response FROM f WHERE f.payload = 'new';
INSERT INTO t SELECT '[4,5)', '[2024-06-01,2024-07-01)', f.response FROM f WHERE f.payload = 'refused';
INSERT INTO t SELECT '[4,5)', '[2024-06-01,2024-07-01)', f.response FROM f WHERE f.payload = 'left out' ON CONFLICT DO NOTHING;
SELECT * FROM endpoint.arrived();
INSERT INTO parts SELECT t.id, t.valid, f.response FROM t JOIN f ON f.payload = t.s WHERE lower(t.id) < 3;
INSERT INTO parts SELECT '[9,10)', t.valid, f.response FROM t JOIN f ON f.payload = t.s WHERE lower(t.id) = 2;
SELECT count(*) FROM parts;
SELECT endpoint.made();
-- A table of invocations has no keys.
CREATE FOREIGN TABLE k (payload text, response text, PRIMARY KEY (payload)) SERVER aws_lambda;
CREATE FOREIGN TABLE k (payload text REFERENCES t (s), response text) SERVER aws_lambda;

SET client_min_messages = warning;
DROP SCHEMA temporal_18 CASCADE;
