-- Equal rows of a table invoke once each, wherever the invocation stands: PostgreSQL could use Memoize.
SET client_min_messages = warning;
CREATE SCHEMA memoize;
SET search_path = memoize, public;
CREATE FOREIGN TABLE f (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE words (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE TABLE t AS SELECT i AS id, i % 2 AS v FROM generate_series(1, 40) i;
CREATE TABLE small AS SELECT i AS v, i + 10 AS n FROM generate_series(0, 999) i;
CREATE UNIQUE INDEX ON small (v);
CREATE UNIQUE INDEX ON small (n);
ANALYZE t, small;
CREATE FUNCTION tables(v int) RETURNS TABLE (response jsonb) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN QUERY SELECT f.response FROM memoize.f WHERE f.payload = to_jsonb(v);
END $$;
CREATE FUNCTION sets(v int) RETURNS SETOF jsonb LANGUAGE sql VOLATILE AS $$
    SELECT i.payload::jsonb FROM aws_lambda.invoke('echo', to_jsonb(v)) i
$$;
-- PostgreSQL puts its query in the place of a call.
CREATE FUNCTION inlined(v int) RETURNS SETOF jsonb LANGUAGE sql STABLE AS $$
    SELECT f.response FROM memoize.f WHERE f.payload = to_jsonb(v)
$$;
-- Nothing is remembered of a function that may invoke, though this one does not. What is known not to is remembered.
CREATE SEQUENCE calls;
CREATE FUNCTION counts(v int) RETURNS SETOF bigint LANGUAGE sql VOLATILE AS $$ SELECT nextval('memoize.calls') $$;
CREATE TABLE queries (place int GENERATED ALWAYS AS IDENTITY, query text, is_loop bool DEFAULT false);
INSERT INTO queries (query) VALUES
    -- The function in FROM
    ('SELECT FROM t CROSS JOIN LATERAL (SELECT payload FROM aws_lambda.invoke(''echo'', to_jsonb(t.v)) LIMIT 1) x'),
    ('SELECT FROM t CROSS JOIN LATERAL (SELECT max(status_code) FROM aws_lambda.invoke(''accept-0'', to_jsonb(t.v), invocation_type => ''Event'')) x'),
    ('SELECT FROM t CROSS JOIN LATERAL (SELECT payload FROM aws_lambda.invoke(''echo'', to_jsonb(t.v)) ORDER BY 1) x'),
    ('SELECT FROM t CROSS JOIN LATERAL (SELECT DISTINCT payload::text FROM aws_lambda.invoke(''echo'', to_jsonb(t.v))) x'),
    ('SELECT FROM t CROSS JOIN LATERAL (SELECT payload::text FROM aws_lambda.invoke(''echo'', to_jsonb(t.v)) UNION ALL SELECT ''1'') x'),
    ('SELECT FROM t CROSS JOIN LATERAL (SELECT payload::text FROM aws_lambda.invoke(''echo'', to_jsonb(t.v)) UNION SELECT ''1'') x'),
    ('SELECT FROM t CROSS JOIN LATERAL (SELECT payload FROM aws_lambda.invoke(''echo'', to_jsonb(t.v)) OFFSET 0) x'),
    ('SELECT FROM t CROSS JOIN LATERAL aws_lambda.invoke(''echo'', to_jsonb(t.v)) i'),
    ('SELECT FROM t CROSS JOIN LATERAL aws_lambda.invoke(''echo'', to_jsonb(t.v)) i WHERE length(repeat(i.payload::text, 100)) > 0'),
    ('SELECT FROM t LEFT JOIN LATERAL aws_lambda.invoke(''echo'', to_jsonb(t.v)) i ON length(i.payload::text) > 0'),
    ('SELECT FROM t CROSS JOIN LATERAL ROWS FROM (aws_lambda.invoke(''echo'', to_jsonb(t.v)), generate_series(1, 2)) i'),
    ('SELECT FROM t CROSS JOIN LATERAL (WITH w AS MATERIALIZED (SELECT payload FROM aws_lambda.invoke(''echo'', to_jsonb(t.v))) SELECT * FROM w) x'),
    ('SELECT FROM t CROSS JOIN LATERAL (SELECT WHERE EXISTS (SELECT FROM aws_lambda.invoke(''echo'', to_jsonb(t.v)) OFFSET 0) OFFSET 0) x'),
    ('SELECT FROM t CROSS JOIN LATERAL (SELECT 1 LIMIT (SELECT status_code - 199 FROM aws_lambda.invoke(''echo'', to_jsonb(t.v)))) x'),
    -- A function that hides it
    ('SELECT FROM t CROSS JOIN LATERAL tables(t.v) x'),
    ('SELECT FROM t CROSS JOIN LATERAL sets(t.v) x'),
    ('SELECT FROM t CROSS JOIN LATERAL inlined(t.v) x'),
    ('SELECT FROM t CROSS JOIN LATERAL (SELECT * FROM inlined(t.v) OFFSET 0) x'),
    -- The table, in what another member of FROM is made of
    ('SELECT FROM t CROSS JOIN LATERAL jsonb_array_elements((SELECT jsonb_build_array(response) FROM f WHERE payload = to_jsonb(t.v))) x'),
    ('SELECT FROM t CROSS JOIN LATERAL generate_series(1, (SELECT response::int + 1 FROM f WHERE payload = to_jsonb(t.v))) x'),
    ('SELECT FROM t CROSS JOIN LATERAL jsonb_each((SELECT jsonb_build_object(''a'', response) FROM f WHERE payload = to_jsonb(t.v))) x'),
    ('SELECT FROM t CROSS JOIN LATERAL jsonb_to_recordset((SELECT jsonb_build_array(jsonb_build_object(''a'', response)) FROM f WHERE payload = to_jsonb(t.v))) x (a int)'),
    ('SELECT FROM t CROSS JOIN LATERAL unnest((SELECT ARRAY[response] FROM f WHERE payload = to_jsonb(t.v))) x'),
    ('SELECT FROM t CROSS JOIN LATERAL ROWS FROM (generate_series(1, (SELECT response::int + 1 FROM f WHERE payload = to_jsonb(t.v))), generate_series(1, 2)) x'),
    ('SELECT FROM t CROSS JOIN LATERAL (VALUES ((SELECT response FROM f WHERE payload = to_jsonb(t.v))), (''1'')) x'),
    ('SELECT FROM t CROSS JOIN LATERAL (SELECT v FROM small TABLESAMPLE bernoulli ((SELECT response::int FROM f WHERE payload = to_jsonb(t.v))) REPEATABLE (1) WHERE v < 3) x'),
    ('SELECT FROM t CROSS JOIN LATERAL (SELECT FROM f WHERE payload = to_jsonb(t.v) LIMIT 1) x'),
    ('SELECT FROM t CROSS JOIN LATERAL (SELECT count(*) FROM f WHERE payload = to_jsonb(t.v) HAVING count(*) > 0) x'),
    ('SELECT FROM t CROSS JOIN LATERAL (SELECT FROM f WHERE payload = to_jsonb(t.v) UNION ALL SELECT FROM f WHERE payload = to_jsonb(t.v) AND false) x');
-- Beside another table that is found by an index: with the other joins it is read before
INSERT INTO queries (is_loop, query) VALUES
    (true, 'SELECT x.r FROM t LEFT JOIN LATERAL (SELECT s.v, (SELECT response FROM f WHERE payload = to_jsonb(s.v)) AS r FROM small s WHERE s.v = t.v OFFSET 0) x ON true'),
    (true, 'SELECT FROM t JOIN small s ON s.v = t.v AND (SELECT response FROM f WHERE payload = to_jsonb(s.n)) IS NOT NULL'),
    (true, 'SELECT s.n FROM t LEFT JOIN small s ON s.v = t.v AND (SELECT response FROM f WHERE payload = to_jsonb(s.n)) IS NOT NULL'),
    (true, 'SELECT s.n FROM t LEFT JOIN (small s JOIN LATERAL aws_lambda.invoke(''echo'', to_jsonb(s.n)) i ON true) ON s.v = t.v'),
    (true, 'SELECT s.n FROM t LEFT JOIN (small s JOIN small u ON u.n = s.v + 10 AND (SELECT response FROM f WHERE payload = to_jsonb(u.n + s.v)) IS NOT NULL) ON s.v = t.v');
-- Features that not every server has
DO $do$
BEGIN
    IF current_setting('server_version_num')::int >= 170000 THEN
        INSERT INTO queries (query) VALUES ($$SELECT FROM t CROSS JOIN LATERAL json_table((SELECT jsonb_build_array(response) FROM f WHERE payload = to_jsonb(t.v)), '$[*]' COLUMNS (v int PATH '$')) x$$);
    END IF;
    PERFORM xmlparse(CONTENT '');
    INSERT INTO queries (query) VALUES ($$SELECT FROM t CROSS JOIN LATERAL xmltable('/r/v' PASSING (SELECT xmlparse(CONTENT format('<r><v>%s</v></r>', response)) FROM f WHERE payload = to_jsonb(t.v)) COLUMNS v int PATH '.') x$$);
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END $do$;
CREATE FUNCTION made(query text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE query;
    RETURN endpoint.made();
END $$;
RESET client_min_messages;
SELECT endpoint.reset();

-- 40 each, whichever joins PostgreSQL is free to choose: those that are not
CREATE VIEW wrong AS SELECT made, query, is_loop FROM (SELECT made(query), * FROM queries ORDER BY place OFFSET 0) q WHERE made <> 40;
SELECT made, query FROM wrong WHERE NOT is_loop;
BEGIN;
SET LOCAL enable_hashjoin = off;
SET LOCAL enable_mergejoin = off;
SET LOCAL enable_material = off;
SELECT made, query FROM wrong;
SELECT count(*), max(x) FROM t CROSS JOIN LATERAL counts(t.v) x;
-- Memoize is still used where there is no invocation below.
SELECT "QUERY PLAN" ~ 'Memoize' AS is_remembered FROM endpoint.explain('SELECT FROM t JOIN small s ON s.v = t.v JOIN words ON words.payload = s.n::text') WHERE "QUERY PLAN" ~ 'Memoize';
-- A row of small invokes once, however often it is joined.
SELECT made('SELECT FROM t JOIN small s ON s.v = t.v JOIN words ON words.payload = s.n::text');
SELECT made('SELECT s.n FROM t LEFT JOIN (small s JOIN f ON f.payload = to_jsonb(s.n)) ON s.v = t.v');
COMMIT;

SET client_min_messages = warning;
DROP SCHEMA memoize CASCADE;
