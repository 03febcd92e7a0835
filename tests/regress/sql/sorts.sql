-- Sorting and grouping of what comes with invocations, in each way that PostgreSQL has of it: incremental sorts, sorted aggregates (since
-- 16), GROUP BY and DISTINCT in another order (since 17 and 18). One for each row that has a value.
SET client_min_messages = warning;
CREATE SCHEMA sorts;
SET search_path = sorts, public;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, s text);
INSERT INTO t SELECT i, i / 4, 'v' || i % 3 FROM generate_series(1, 20) i;
UPDATE t SET s = NULL WHERE id = 20;
CREATE INDEX ON t (n);
CREATE INDEX ON t (n, s);
VACUUM ANALYZE t;
-- Runs a query with all planner settings, and without each that this version has. Returns its rows and invocations.
CREATE FUNCTION every_way(query text) RETURNS TABLE (rows_ text, invocations int, all_ways boolean) LANGUAGE plpgsql AS $$
DECLARE
    off text;
    before int := 0;
    counted int;
    ways int := 0;
BEGIN
    PERFORM endpoint.reset();
    CREATE TEMP TABLE runs (rows_ text, invocations int) ON COMMIT DROP;
    FOR off IN SELECT 'none' UNION ALL SELECT name FROM pg_settings WHERE name IN ('enable_incremental_sort', 'enable_presorted_aggregate',
        'enable_group_by_reordering', 'enable_distinct_reordering', 'enable_hashagg', 'enable_sort', 'enable_seqscan', 'enable_indexscan', 'enable_hashjoin')
    LOOP
        IF off <> 'none' THEN
            PERFORM set_config(off, 'off', true);
        END IF;
        EXECUTE 'WITH q AS MATERIALIZED (' || query || ') INSERT INTO runs SELECT string_agg(q::text, '' '') FROM q';
        counted := endpoint.count();
        UPDATE runs SET invocations = counted - before WHERE runs.invocations IS NULL;
        before := counted;
        ways := ways + 1;
        IF off <> 'none' THEN
            PERFORM set_config(off, 'on', true);
        END IF;
    END LOOP;
    RETURN QUERY SELECT r.rows_, r.invocations, count(*) = ways FROM runs r GROUP BY 1, 2 ORDER BY 1, 2;
    DROP TABLE runs;
END $$;
CREATE FUNCTION plan(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text;
    lines text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        lines := lines || line || E'\n';
    END LOOP;
    RETURN lines;
END $$;
SELECT current_setting('server_version_num')::int / 10000 AS version \gset
RESET client_min_messages;
SELECT endpoint.reset();

-- A key of the outer row, then the response
SET enable_seqscan = off;
SELECT plan('SELECT t.n, f.response FROM t JOIN f ON f.payload = t.s ORDER BY t.n, f.response') ~ 'Incremental Sort' AS incremental_sort;
SELECT * FROM every_way('SELECT t.n, f.response FROM t JOIN f ON f.payload = t.s WHERE t.id < 10 ORDER BY t.n, f.response');
SELECT * FROM every_way('SELECT t.n, f.response FROM t LEFT JOIN f ON f.payload = t.s WHERE t.id > 14 ORDER BY t.n, f.response DESC NULLS LAST');
-- As far as a LIMIT goes, which is to the end of the group it is in, and some may be ahead
SELECT t.n, f.response FROM t JOIN f ON f.payload = t.s ORDER BY t.n, f.response LIMIT 2;
SELECT endpoint.made() BETWEEN 4 AND 12 AS some;
SELECT t.n, f.response FROM t JOIN f ON f.payload = t.s ORDER BY t.n, f.response FETCH FIRST 2 ROWS WITH TIES;
SELECT endpoint.made() BETWEEN 4 AND 12 AS some;
RESET enable_seqscan;

-- Aggregates of sorted or different responses
SELECT * FROM every_way('SELECT t.n, string_agg(f.response, '','' ORDER BY f.response) FROM t JOIN f ON f.payload = t.s GROUP BY t.n ORDER BY t.n');
SELECT * FROM every_way('SELECT t.n, array_agg(DISTINCT f.response), count(DISTINCT f.payload) FROM t JOIN f ON f.payload = t.s GROUP BY t.n ORDER BY t.n');
SELECT * FROM every_way('SELECT string_agg(f.response, '','' ORDER BY f.response DESC, t.id) FROM t JOIN f ON f.payload = t.s');
-- An invocation in an aggregate's arguments, its order and its filter
SELECT * FROM every_way('SELECT n, string_agg((SELECT response FROM f WHERE payload = t.s), '','' ORDER BY id) FROM t GROUP BY n ORDER BY n');
SELECT * FROM every_way('SELECT n, string_agg(id::text, '','' ORDER BY (SELECT response FROM f WHERE payload = t.s), id) FROM t GROUP BY n ORDER BY n');
SELECT * FROM every_way('SELECT n, count(*) FILTER (WHERE (SELECT response FROM f WHERE payload = t.s) = ''v1'') FROM t GROUP BY n ORDER BY n');

-- Grouping by the response and by columns that are sorted
SELECT * FROM every_way('SELECT f.response, t.n, count(*) FROM t JOIN f ON f.payload = t.s WHERE t.id < 8 GROUP BY f.response, t.n ORDER BY t.n, f.response');
SELECT * FROM every_way('SELECT t.s, t.n, max(f.response) FROM t LEFT JOIN f ON f.payload = t.s WHERE t.id > 14 GROUP BY t.s, t.n ORDER BY t.n, t.s');
SELECT * FROM every_way('SELECT t.n, f.response, count(*) FROM t JOIN f ON f.payload = t.s WHERE t.id < 8 GROUP BY GROUPING SETS ((t.n), (f.response), ()) ORDER BY 1, 2');
SELECT * FROM every_way('SELECT DISTINCT f.response, t.n FROM t JOIN f ON f.payload = t.s WHERE t.id < 8 ORDER BY t.n, f.response');
SELECT * FROM every_way('SELECT DISTINCT ON (t.n) t.n, f.response FROM t JOIN f ON f.payload = t.s ORDER BY t.n, f.response DESC');
SELECT * FROM every_way('SELECT n FROM (SELECT DISTINCT n, s FROM t) x JOIN f ON f.payload = x.s GROUP BY n ORDER BY n');
-- Set operations
SELECT * FROM every_way('SELECT f.response FROM t JOIN f ON f.payload = t.s INTERSECT SELECT ''v1'' ORDER BY 1');
SELECT * FROM every_way('SELECT s FROM t WHERE s IS NOT NULL EXCEPT SELECT f.response FROM t JOIN f ON f.payload = t.s WHERE t.n = 0 ORDER BY 1');
SELECT * FROM every_way('SELECT s FROM t WHERE n < 2 UNION SELECT f.response FROM t JOIN f ON f.payload = t.s WHERE t.n = 0 ORDER BY 1');

SET client_min_messages = warning;
DROP SCHEMA sorts CASCADE;
