-- Parallel plans, also where PostgreSQL is told to have a worker wherever one may be: outer rows come from workers, invocations are the
-- leader's unless a function says that it is parallel safe, one for each row that has a value.
SET client_min_messages = warning;
CREATE SCHEMA parallels;
SET search_path = parallels, public;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE g (payload text, response text, invocation_type text)
    SERVER aws_lambda OPTIONS (function_name 'echo', invocation_type 'RequestResponse');
CREATE TABLE t (id int, s text) WITH (parallel_workers = 2);
INSERT INTO t SELECT i, 'v' || NULLIF(i % 10, 0) FROM generate_series(1, 40) i;
ANALYZE t;
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
-- Runs a query with workers, with a worker wherever one may be, and without any: one line when they all agree.
CREATE FUNCTION each_way(query text) RETURNS TABLE (rows_ bigint, "all" text, invocations int, ways bigint) LANGUAGE plpgsql AS $$
DECLARE
    way text;
    before int := 0;
    counted int;
BEGIN
    PERFORM endpoint.reset();
    CREATE TEMP TABLE runs (rows_ bigint, "all" text, invocations int) ON COMMIT DROP;
    FOREACH way IN ARRAY ARRAY['off 2', 'on 2', 'on 0', 'off 0'] LOOP
        -- Its name before 16 was another.
        PERFORM set_config(name, split_part(way, ' ', 1), true) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
        PERFORM set_config('max_parallel_workers_per_gather', split_part(way, ' ', 2), true);
        EXECUTE 'CREATE TEMP TABLE q ON COMMIT DROP AS ' || query;
        EXECUTE 'INSERT INTO runs SELECT count(*), left(md5(string_agg(q::text, '','' ORDER BY q::text COLLATE "C")), 6) FROM q';
        DROP TABLE q;
        counted := endpoint.count();
        UPDATE runs SET invocations = counted - before WHERE runs.invocations IS NULL;
        before := counted;
    END LOOP;
    PERFORM set_config(name, 'off', true) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
    RETURN QUERY SELECT r.rows_, r."all", r.invocations, count(*) FROM runs r GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
    DROP TABLE runs;
END $$;
CREATE FUNCTION safe(text) RETURNS text LANGUAGE plpgsql PARALLEL SAFE AS $$ BEGIN RETURN (SELECT response FROM f WHERE payload = $1); END $$;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
RESET client_min_messages;
SELECT endpoint.reset();

SELECT plan('SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s') ~ 'LambdaReadAhead.*Gather.*Foreign Scan' AS gathers_outer_rows;
SELECT plan('SELECT response FROM f WHERE payload = ''x''') ~ 'Gather' AS gathers_invocations;
SELECT * FROM each_way('SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s');
SELECT * FROM each_way('SELECT t.id, f.response FROM t LEFT JOIN f ON f.payload = t.s AND t.id > 20');
SELECT * FROM each_way('SELECT t.id, g.response FROM t JOIN f ON f.payload = t.s JOIN g ON g.payload = f.response || t.id');
SELECT * FROM each_way('SELECT id, (SELECT response FROM f WHERE payload = t.s) FROM t');
SELECT * FROM each_way('SELECT id FROM t WHERE EXISTS (SELECT FROM f WHERE f.payload = t.s AND f.response > ''v4'')');
SELECT * FROM each_way('SELECT id FROM t WHERE s IN (SELECT response FROM f WHERE payload IN (''v1'', ''v2''))');
SELECT * FROM each_way('SELECT response FROM f WHERE payload = ANY (ARRAY(SELECT s FROM t))');
SELECT * FROM each_way('SELECT response FROM f WHERE payload = (SELECT max(s) FROM t)');
SELECT * FROM each_way('SELECT f.response, max(t.id) FROM t JOIN f ON f.payload = t.s || t.id GROUP BY 1');
SELECT * FROM each_way('SELECT t.id, l.response FROM t, LATERAL (SELECT response FROM f WHERE payload = t.s OFFSET 0) l');
SELECT * FROM each_way('SELECT t.id, i.payload #>> ''{}'' FROM t, aws_lambda.invoke(''accept-10'', to_jsonb(t.s)) i WHERE t.id < 5');
-- Branches, invocations and tables among them
SELECT * FROM each_way('SELECT response FROM f WHERE payload IN (''1'', ''2'', ''3'') UNION ALL SELECT response FROM g WHERE payload IN (''4'', ''5'')');
SELECT * FROM each_way('SELECT response FROM f WHERE payload IN (''1'', ''2'') UNION ALL SELECT s FROM t UNION ALL SELECT response FROM g WHERE payload = ''4''');
-- Statements that write
SELECT * FROM each_way('WITH i AS (INSERT INTO g (payload) SELECT s FROM t RETURNING payload, response) SELECT * FROM i');
-- A function that says it is parallel safe, which is run in workers, a cursor, which a worker can't be of, and the limit of a statement
SELECT endpoint.reset();
SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT plan('SELECT id, safe(s) FROM t') ~ 'Workers Planned: 2\n  ->  Parallel Seq Scan on t' AS in_workers;
SELECT count(*), count(response), min(response), max(response) FROM (SELECT id, safe(s) AS response FROM t) x;
SELECT endpoint.made();
BEGIN;
DECLARE c CURSOR FOR SELECT f.response FROM t JOIN f ON f.payload = t.s WHERE t.id < 4;
MOVE FORWARD ALL IN c;
\echo :ROW_COUNT
COMMIT;
SELECT endpoint.made();
SET aws_lambda.max_invocations = 5;
SELECT sqlstate, detail FROM endpoint.error_of('SELECT count(f.response) FROM parallels.t JOIN parallels.f ON f.payload = t.s');
SELECT endpoint.made();
RESET aws_lambda.max_invocations;
-- EXPLAIN
SELECT plan('SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s') ~ 'Foreign Scan on f' AS planned;
SELECT endpoint.made();

-- A worker that fails after its call, and one that is stopped during it: each has made one, and no worker is left.
CREATE FUNCTION fails(text) RETURNS text LANGUAGE plpgsql PARALLEL SAFE AS $$
BEGIN PERFORM aws_lambda.invoke('echo', to_jsonb($1)); RAISE EXCEPTION 'after it'; END $$;
CREATE FUNCTION waits(text) RETURNS text LANGUAGE plpgsql PARALLEL SAFE AS $$
BEGIN PERFORM aws_lambda.invoke('sleep-2500', to_jsonb($1)); RETURN $1; END $$;
SET parallel_leader_participation = off;
SELECT plan('SELECT fails(s) FROM t WHERE id = 1') ~ 'Workers Planned: 2\n  ->  Parallel Seq Scan on t' AS in_workers;
\set VERBOSITY terse
SELECT fails(s) FROM t WHERE id = 1;
SELECT endpoint.made(), (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker') AS workers;
SET statement_timeout = '300ms';
SELECT waits(s) FROM t WHERE id = 1;
RESET statement_timeout;
SELECT endpoint.made(), (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker') AS workers;
SELECT count(safe(s)) FROM t WHERE id < 4;
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA parallels CASCADE;
