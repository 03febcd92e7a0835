-- A row that gives the values invokes at most once in a statement, whatever the order of joins, the estimates and the rescans.
SET client_min_messages = warning;
CREATE SCHEMA source_rows;
SET search_path = source_rows, public;
CREATE FOREIGN TABLE echo (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE mock (payload jsonb, response jsonb, error_code text) SERVER aws_lambda OPTIONS (function_name 'mock', on_error 'return');
CREATE TABLE source (id int, body jsonb);
-- Two rows are equal, and stay two.
INSERT INTO source SELECT i, to_jsonb(i % 4) FROM generate_series(1, 5) i;
-- Parts whose rows have the same ctids
CREATE TABLE parted (id int, body jsonb) PARTITION BY LIST (id);
CREATE TABLE odd PARTITION OF parted FOR VALUES IN (1, 3, 5);
CREATE TABLE even PARTITION OF parted FOR VALUES IN (2, 4);
INSERT INTO parted SELECT * FROM source;
-- PostgreSQL takes the two columns for independent, and expects one row.
CREATE TABLE misestimated AS SELECT i % 50 AS a, i % 50 AS b, i AS k FROM generate_series(1, 2000) i;
CREATE FUNCTION one_row() RETURNS SETOF int LANGUAGE sql VOLATILE ROWS 1 AS 'SELECT generate_series(1, 20)';
ANALYZE source, parted, misestimated;

-- Rows and invocations of a count, planned in several ways
CREATE FUNCTION counted(statement text) RETURNS TABLE (count bigint, invocations int, plans bigint) LANGUAGE plpgsql AS $$
DECLARE
    way text;
    setting text;
    counts bigint[] := '{}';
    made int[] := '{}';
    counted bigint;
BEGIN
    FOREACH way IN ARRAY ARRAY['geqo', 'enable_hashjoin enable_mergejoin', 'enable_hashjoin enable_mergejoin enable_material enable_memoize',
        'enable_nestloop', 'join_collapse_limit', 'geqo_threshold enable_hashjoin']
    LOOP
        FOREACH setting IN ARRAY string_to_array(way, ' ')
        LOOP
            PERFORM set_config(setting, CASE setting WHEN 'join_collapse_limit' THEN '1' WHEN 'geqo_threshold' THEN '2' ELSE 'off' END, false);
        END LOOP;
        EXECUTE statement INTO counted;
        counts := counts || counted;
        made := made || endpoint.made();
        RESET geqo; RESET enable_hashjoin; RESET enable_mergejoin; RESET enable_material; RESET enable_memoize; RESET enable_nestloop;
        RESET join_collapse_limit; RESET geqo_threshold;
    END LOOP;
    RETURN QUERY SELECT s.counted, s.made, count(*) FROM unnest(counts, made) s(counted, made) GROUP BY 1, 2 ORDER BY 1, 2;
END $$;
RESET client_min_messages;
SELECT endpoint.reset();

-- Other tables are joined first, or a join is run again
SELECT * FROM counted($$SELECT count(*) FROM misestimated m JOIN (SELECT s.id, f.response FROM source s JOIN echo f ON f.payload = s.body) x
    ON x.id <= m.k WHERE m.a = 1 AND m.b = 1 AND m.k % 7 = 3$$);
SELECT * FROM counted($$SELECT count(f.response) FROM one_row() o(i) JOIN (source s JOIN echo f ON f.payload = s.body) ON s.id <= o.i$$);
SELECT * FROM counted($$SELECT count(f.response) FROM one_row() o(i) LEFT JOIN (source s JOIN echo f ON f.payload = s.body) ON s.id <= o.i$$);
SELECT * FROM counted($$SELECT count(f.response) FROM one_row() o(i) LEFT JOIN (parted s LEFT JOIN echo f ON f.payload = s.body) ON s.id <= o.i$$);
SELECT * FROM counted($$SELECT count(f.response) FROM one_row() o(i) JOIN parted s ON s.id <= o.i JOIN echo f ON f.payload = s.body$$);
-- Of several values
SELECT * FROM counted($$SELECT count(f.response) FROM one_row() o(i) JOIN source s ON s.id <= o.i JOIN echo f ON f.payload IN (s.body, '"k"')$$);
SELECT * FROM counted($$SELECT count(f.response) FROM one_row() o(i) JOIN source s ON s.id <= o.i JOIN echo f ON f.payload IN (s.body, '1', '2')
    AND f.payload::int <= o.i$$);
-- A row of two tables is one for each pair of rows
SELECT * FROM counted($$SELECT count(f.response) FROM one_row() o(i) JOIN source s ON s.id <= o.i JOIN source u ON u.id < 3
    JOIN echo f ON f.payload = jsonb_build_array(s.body, u.body)$$);
-- Rows that another condition drops invoke nothing
SELECT * FROM counted($$SELECT count(*) FROM source s JOIN misestimated m ON m.k = s.id AND m.k < 3 JOIN echo f ON f.payload = s.body$$);

-- A row that an outer join has made null is one of the row that it is kept for
SELECT * FROM counted($$SELECT count(f.response) FROM one_row() o(i) JOIN (source s LEFT JOIN source u ON u.id = s.id + 3) ON s.id <= o.i
    JOIN echo f ON f.payload = coalesce(u.body, '"none"')$$);
SELECT * FROM counted($$SELECT count(f.response) FROM one_row() o(i) JOIN (source s FULL JOIN (SELECT id + 3 AS id, body FROM source) u USING (id)) ON id <= o.i
    JOIN echo f ON f.payload = coalesce(u.body, '"none"')$$);

-- A row of an invocation gives values too
SELECT * FROM counted($$SELECT count(g.response) FROM one_row() o(i) JOIN source s ON s.id <= o.i JOIN echo f ON f.payload = s.body
    JOIN echo g ON g.payload = jsonb_build_array(f.response)$$);
-- Several scans for a row, and a scan that another table is read before
SELECT * FROM counted($$SELECT count(f.response) FROM one_row() o(i) JOIN source s ON s.id <= o.i
    JOIN (SELECT * FROM echo UNION ALL SELECT payload, response FROM mock) f ON f.payload = s.body$$);
SELECT * FROM counted($$SELECT count(f.response) FROM one_row() o(i) JOIN source s ON s.id <= o.i
    LEFT JOIN (one_row() p(i) JOIN echo f ON p.i > 18) ON f.payload = s.body$$);
-- A failure is a row like others
SELECT * FROM counted($$SELECT count(f.error_code) FROM one_row() o(i) JOIN source s ON s.id <= o.i JOIN mock f
    ON f.payload = jsonb_build_object('as', 'handled', 'n', s.body)$$);
-- Subqueries
SELECT * FROM counted($$SELECT sum((SELECT count(f.response) FROM source s JOIN echo f ON f.payload = s.body WHERE s.id <= o.i)) FROM one_row() o(i)$$);
SELECT * FROM counted($$SELECT sum(n) FROM one_row() o(i), LATERAL (SELECT count(f.response) AS n FROM source s JOIN echo f ON f.payload = s.body
    WHERE s.id <= o.i) x$$);
SELECT * FROM counted($$SELECT sum(n) FROM one_row() o(i), LATERAL (SELECT count(f.response) AS n FROM source s JOIN echo f
    ON f.payload = to_jsonb(s.id + o.i) WHERE s.id <= o.i AND o.i < 3) x$$);
-- A value that is itself an answer
SELECT * FROM counted($$SELECT count(f.response) FROM one_row() o(i) JOIN source s ON s.id <= o.i JOIN echo f
    ON f.payload = (SELECT jsonb_build_array(g.response) FROM echo g WHERE g.payload = s.body)$$);

-- A value that another table's row goes into, below an outer join: each combination has its own answer.
SELECT * FROM counted($$SELECT count(*) FILTER (WHERE f.response = x.body AND x.body = to_jsonb(s.id * 10 + o.i)) FROM source o(i)
    LEFT JOIN LATERAL (SELECT s.id, coalesce(to_jsonb(s.id * 10 + o.i), '1') AS body FROM source s WHERE s.id < 3) x ON true
    LEFT JOIN echo f ON f.payload = x.body JOIN source s ON s.id = x.id$$);
-- Invocations with subqueries are kept for rescans
SELECT * FROM counted($$SELECT count(x.r) FROM one_row() o(i) LEFT JOIN (SELECT s.id, (SELECT response FROM echo f WHERE f.payload = s.body) AS r
    FROM source s OFFSET 0) x ON x.id <= o.i$$);
SELECT * FROM counted($$SELECT count(x.id) FROM one_row() o(i) LEFT JOIN source x ON x.id <= o.i
    AND (SELECT response FROM echo f WHERE f.payload = x.body) IS NOT NULL$$);

-- Rows without a ctid are kept where a join is run again
SELECT * FROM counted($$SELECT count(f.response) FROM one_row() o(i) LEFT JOIN ((VALUES (1, '1'::jsonb), (2, '2'), (3, '1')) s(id, body)
    JOIN echo f ON f.payload = s.body) ON s.id <= o.i$$);
SELECT * FROM counted($$WITH x AS MATERIALIZED (SELECT s.id, f.response FROM (VALUES (1, '1'::jsonb), (2, '2'), (3, '1')) s(id, body)
    JOIN echo f ON f.payload = s.body) SELECT count(x.response) FROM one_row() o(i) JOIN x ON x.id <= o.i$$);

-- Rows that exceed work_mem
SET work_mem = '64kB';
-- It is in a file.
BEGIN;
SET LOCAL temp_file_limit = '64kB';
\set VERBOSITY sqlstate
SELECT count(f.response) FROM one_row() o(i) JOIN (SELECT id, to_jsonb(repeat(id::text, 50000)) AS body FROM source) s ON s.id <= o.i
    JOIN echo f ON f.payload = s.body;
ROLLBACK;
\set VERBOSITY default
SELECT endpoint.reset();
SELECT * FROM counted($$SELECT sum(length(f.response::text)) FROM one_row() o(i) JOIN (SELECT id, to_jsonb(repeat(id::text, 20000)) AS body FROM source) s
    ON s.id <= o.i JOIN echo f ON f.payload = s.body$$);
RESET work_mem;

-- In statements that write, and with a cursor
BEGIN;
UPDATE misestimated m SET a = f.response::int FROM source s JOIN echo f ON f.payload = s.body WHERE m.a = 1 AND m.b = 1 AND m.k % 7 = 3 AND s.id <= m.k;
SELECT endpoint.made();
SELECT count(*) FROM (SELECT f.response FROM one_row() o(i) JOIN source s ON s.id <= o.i JOIN echo f ON f.payload = s.body FOR UPDATE OF s) x;
SELECT endpoint.made();
DECLARE c CURSOR FOR SELECT o.i, f.response FROM one_row() o(i) JOIN source s ON s.id <= o.i JOIN echo f ON f.payload = s.body;
MOVE 7 IN c;
SAVEPOINT s;
MOVE 30 IN c;
ROLLBACK TO s;
MOVE ALL IN c;
ROLLBACK;
SELECT endpoint.made();

-- EXPLAIN names the rows, where they may come again
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SELECT endpoint.explain($$SELECT 1 FROM one_row() o(i) JOIN source s ON s.id <= o.i JOIN echo f ON f.payload = s.body$$);
SELECT endpoint.explain($$SELECT 1 FROM source s JOIN echo f ON f.payload = s.body$$, 'VERBOSE');
RESET enable_hashjoin;
RESET enable_mergejoin;

SET client_min_messages = warning;
DROP SCHEMA source_rows CASCADE;
