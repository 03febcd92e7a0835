-- Outer rows of a prefetching join: of all types, wide, with dropped columns, as whole rows, and from any plan.
SET client_min_messages = warning;
CREATE SCHEMA outer_rows;
SET search_path = outer_rows, public;
CREATE FOREIGN TABLE f (payload text, response text, status_code int) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE j (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE TABLE t (id int PRIMARY KEY, s text);
INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL), (4, 'a');
RESET client_min_messages;
SELECT endpoint.reset();

-- Whole rows of both sides
SELECT l FROM t JOIN f l ON l.payload = t.s;
SELECT t, l FROM t LEFT JOIN f l ON l.payload = t.s;
SELECT (l).response, (t).s, (l.*) IS NULL AS none, t.*::text FROM t LEFT JOIN f l ON l.payload = t.s WHERE t.id > 2;
SELECT to_jsonb(t) || to_jsonb(l) AS merged FROM t JOIN f l ON l.payload = t.s WHERE t.id < 3;
SELECT count(l), count(DISTINCT l), count(DISTINCT t) FROM t LEFT JOIN f l ON l.payload = t.s;
SELECT endpoint.made();
-- Rows compared
SELECT t.id FROM t JOIN f l ON (l.payload, l.status_code) = (t.s, 200);
SELECT t.id FROM t JOIN f l ON l.payload = t.s AND ROW (t.id, l.response) > ROW (2, 'a');
SELECT t.id FROM t JOIN f l ON l.payload = t.s AND l = ROW ('b', 'b', 200)::f;
SELECT endpoint.made();
-- System columns
SELECT t.id, t.ctid, t.tableoid::regclass, l.tableoid::regclass FROM t JOIN f l ON l.payload = t.s;
SELECT t.id, l.response FROM t JOIN f l ON l.payload = t.ctid::text WHERE t.id < 3;
SELECT endpoint.made();

-- Wide rows, out of line, with little memory
CREATE TABLE wide (id int, big text);
ALTER TABLE wide ALTER COLUMN big SET STORAGE EXTERNAL;
INSERT INTO wide SELECT i, repeat(chr(96 + i), 100000) FROM generate_series(1, 20) i;
SET aws_lambda.max_memory = '64kB';
SELECT count(*), count(*) FILTER (WHERE f.response = wide.big), string_agg(left(f.response, 1), '') FROM wide JOIN f ON f.payload = wide.big;
SELECT wide.id, length(wide.big), f.response FROM wide JOIN f ON f.payload = 'only ' || wide.id WHERE wide.id > 18;
SELECT max(length(l.response ->> 'big')), max(length(x::text)) FROM wide x JOIN j l ON l.payload = to_jsonb(x);
SELECT endpoint.made();
-- Wide rows that the statement itself deletes
BEGIN;
DELETE FROM wide USING f WHERE f.payload = left(wide.big, 2) AND wide.id < 4 RETURNING wide.id, length(wide.big), f.response;
ROLLBACK;
SELECT endpoint.made();
RESET aws_lambda.max_memory;

-- Columns that are gone, that came later, and that are computed
CREATE TABLE holes (a int, gone int, s text, also_gone text, b int);
INSERT INTO holes VALUES (1, 2, 'x', 'y', 3);
ALTER TABLE holes DROP COLUMN gone;
ALTER TABLE holes DROP COLUMN also_gone;
ALTER TABLE holes ADD COLUMN later text DEFAULT 'later';
ALTER TABLE holes ADD COLUMN computed text GENERATED ALWAYS AS (s || b) STORED;
INSERT INTO holes VALUES (4, 'z', 5, NULL);
SELECT holes, holes.*, l.response FROM holes JOIN j l ON l.payload = to_jsonb(holes);
SELECT computed, f.response FROM holes JOIN f ON f.payload = holes.computed || COALESCE(holes.later, 'none');
SELECT endpoint.made();
-- The foreign table may have holes, too.
CREATE FOREIGN TABLE with_holes (gone int, response text, also_gone text, payload text) SERVER aws_lambda OPTIONS (function_name 'echo');
ALTER FOREIGN TABLE with_holes DROP COLUMN gone;
ALTER FOREIGN TABLE with_holes DROP COLUMN also_gone;
SELECT t.id, l, l.* FROM t JOIN with_holes l ON l.payload = t.s;
SELECT endpoint.made();

-- Composites, arrays, domains, enums, ranges and other types, in the row and in what is sent
CREATE TYPE item AS (name text, price numeric, tags text[]);
CREATE TYPE color AS ENUM ('red', 'green');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE typed (id int, i item, items item[], n numeric, c color, p positive, r int4range, b bytea, u uuid, at timestamptz, j jsonb, ch char(4));
INSERT INTO typed VALUES
    (1, ('x', 1.10, '{a,b}'), ARRAY[('y', 2.50, NULL)::item, NULL], 12345678901234567890.123456789, 'red', 1, '[1,5)', '\x00ff',
        '00000000-0000-0000-0000-000000000001', '2020-01-02 03:04:05+00', '{"k": [1, null]}', 'ab'),
    (2, NULL, '{}', 'NaN', 'green', 2, 'empty', '', NULL, '-infinity', 'null', ''),
    (3, (NULL, NULL, NULL), NULL, -0.00, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SET timezone = 'UTC';
SELECT x.id, l.response = to_jsonb(x) AS same, l.response FROM typed x JOIN j l ON l.payload = to_jsonb(x);
RESET timezone;
SELECT x.id, x.i, l.response FROM typed x JOIN j l ON l.payload = to_jsonb((x.i).price);
SELECT x.id, x.items[1], l.response FROM typed x JOIN f l ON l.payload = (x.i).tags[2];
SELECT x.id, x.n, l.response FROM typed x JOIN f l ON l.payload = x.n::text;
SELECT x.id, x.ch, x.b, l.response FROM typed x JOIN f l ON l.payload = x.c || '/' || x.p || '/' || x.r || x.ch || '/' || x.b::text;
SELECT x.id, x.j, l.response FROM typed x LEFT JOIN j l ON l.payload = x.j;
SELECT endpoint.made();
-- Rows without a type of their own
SELECT v.r, l.response FROM (VALUES (ROW (1, 'a')), (ROW (2, 'b'))) v (r) JOIN j l ON l.payload = to_jsonb(v.r);
SELECT x, l.response FROM (SELECT s, count(*) FROM t GROUP BY s HAVING s IS NOT NULL ORDER BY s) x JOIN j l ON l.payload = to_jsonb(x);
SELECT endpoint.made();

-- Outer sides of other kinds: functions, lists, samples, rows with numbers, records of JSON
SELECT i, f.response FROM generate_series(1, 3) i JOIN f ON f.payload = i::text;
SELECT v.*, f.response FROM (VALUES ('p', 1), (NULL, 2), ('q', NULL)) v (s, n) JOIN f ON f.payload = v.s;
SELECT x.*, f.response FROM unnest('{u,v,NULL}'::text[]) WITH ORDINALITY x (s, n) LEFT JOIN f ON f.payload = x.s;
SELECT t.id, f.response FROM t TABLESAMPLE SYSTEM (100) JOIN f ON f.payload = t.s;
SELECT x.*, f.response FROM jsonb_to_recordset('[{"a": 1, "b": "x"}, {"a": 2}]') x (a int, b text) JOIN f ON f.payload = x.b;
SELECT x.*, f.response FROM ROWS FROM (generate_series(1, 2), unnest('{a,b}'::text[])) x (n, s) JOIN f ON f.payload = x.s || x.n;
SELECT endpoint.made();
-- Aggregates, windows, DISTINCT, UNION and LIMIT below the join
SELECT x.*, f.response FROM (SELECT s, array_agg(id) AS ids FROM t GROUP BY s ORDER BY s) x JOIN f ON f.payload = x.s || cardinality(ids);
SELECT x.*, f.response FROM (SELECT id, s, row_number() OVER (PARTITION BY s ORDER BY id DESC) AS r FROM t ORDER BY id) x JOIN f ON f.payload = x.s || r;
SELECT x.*, f.response FROM (SELECT DISTINCT s FROM t ORDER BY s) x LEFT JOIN f ON f.payload = x.s;
SELECT x.*, f.response FROM (SELECT s FROM t WHERE id < 3 UNION ALL SELECT upper(s) FROM t WHERE id > 3) x JOIN f ON f.payload = x.s;
SELECT x.*, f.response FROM (SELECT id, s FROM t ORDER BY id DESC LIMIT 2) x JOIN f ON f.payload = x.s;
SELECT endpoint.made();
-- Expressions of the outer side are evaluated once for each of its rows.
CREATE SEQUENCE counter;
SELECT x.n, l.response FROM (SELECT nextval('counter') AS n FROM t) x JOIN j l ON l.payload = to_jsonb(x.n);
SELECT last_value FROM counter;
SELECT endpoint.made();
-- Subqueries and defaults that an outer join may null
SELECT a.id, x.v, l.response FROM t a
LEFT JOIN (SELECT id, COALESCE(s, 'none') || (SELECT count(*) FROM t WHERE t.id < u.id) AS v FROM t u WHERE id > 1) x ON x.id = a.id
LEFT JOIN f l ON l.payload = x.v ORDER BY a.id;
SELECT endpoint.made();
-- A join of several tables
SELECT a.id, b.id, f.response FROM t a JOIN t b ON b.id = a.id + 1 LEFT JOIN t c ON c.id = a.id + 2
JOIN f ON f.payload = a.s || '-' || COALESCE(b.s, '') || '-' || COALESCE(c.s, '') ORDER BY 1, 2;
SELECT endpoint.made();
-- Invocations that wait for those of another table
SELECT t.id, a.response, b.response FROM t JOIN f a ON a.payload = t.s LEFT JOIN f b ON b.payload = a.response || t.id AND t.id > 1;
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA outer_rows CASCADE;
