-- Semi-joins and anti-joins with invocations on the side that is only looked for, which PostgreSQL may also read first (right anti since
-- 16, right semi since 18): one for each row that has a value, however many match.
SET client_min_messages = warning;
CREATE SCHEMA semi_joins;
SET search_path = semi_joins, public;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
-- Few rows, the invocations of many, among which each of some values is there three times
CREATE TABLE few (id int PRIMARY KEY, s text);
INSERT INTO few VALUES (1, 'v1'), (2, 'v2'), (3, NULL), (4, 'other');
CREATE TABLE many AS SELECT i AS id, 'v' || NULLIF(i % 7, 0) AS s FROM generate_series(1, 21) i;
ANALYZE few, many;
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
-- Runs a query in each way of planning it. Returns its rows and invocations: one row if all agree.
CREATE FUNCTION every_way(query text) RETURNS TABLE (ids text, invocations int, ways bigint) LANGUAGE plpgsql AS $$
DECLARE
    off text;
    before int := 0;
    counted int;
BEGIN
    PERFORM endpoint.reset();
    CREATE TEMP TABLE runs (ids text, invocations int) ON COMMIT DROP;
    FOREACH off IN ARRAY ARRAY['none', 'enable_hashjoin', 'enable_mergejoin', 'enable_hashjoin,enable_mergejoin', 'enable_material', 'enable_hashagg', 'enable_sort', 'enable_memoize']
    LOOP
        IF off <> 'none' THEN
            PERFORM set_config(name, 'off', true) FROM unnest(string_to_array(off, ',')) name;
        END IF;
        EXECUTE 'WITH q AS MATERIALIZED (' || query || ') INSERT INTO runs SELECT string_agg(id::text, '','' ORDER BY id) FROM q';
        counted := endpoint.count();
        UPDATE runs SET invocations = counted - before WHERE runs.invocations IS NULL;
        before := counted;
        IF off <> 'none' THEN
            PERFORM set_config(name, 'on', true) FROM unnest(string_to_array(off, ',')) name;
        END IF;
    END LOOP;
    RETURN QUERY SELECT r.ids, r.invocations, count(*) FROM runs r GROUP BY 1, 2 ORDER BY 1, 2;
    DROP TABLE runs;
END $$;
SELECT current_setting('server_version_num')::int / 10000 AS version \gset
RESET client_min_messages;
SELECT endpoint.reset();

-- Where the few are hashed, the others are read once: 18 of them have a value.
SET enable_material = off;
SELECT plan('SELECT id FROM few WHERE EXISTS (SELECT FROM many JOIN f ON f.payload = many.s WHERE f.response = few.s)') ~ 'Right Semi Join' = (:version >= 18) AS right_semi_join;
SELECT plan('SELECT id FROM few WHERE NOT EXISTS (SELECT FROM many JOIN f ON f.payload = many.s WHERE f.response = few.s)') ~ 'Right Anti Join' = (:version >= 16) AS right_anti_join;
RESET enable_material;
SELECT * FROM every_way('SELECT id FROM few WHERE EXISTS (SELECT FROM many JOIN f ON f.payload = many.s WHERE f.response = few.s)');
SELECT * FROM every_way('SELECT id FROM few WHERE s IN (SELECT f.response FROM many JOIN f ON f.payload = many.s)');
SELECT * FROM every_way('SELECT id FROM few WHERE NOT EXISTS (SELECT FROM many JOIN f ON f.payload = many.s WHERE f.response = few.s)');
SELECT * FROM every_way('SELECT few.id FROM few LEFT JOIN (SELECT f.response FROM many JOIN f ON f.payload = many.s) x ON x.response = few.s WHERE x.response IS NULL');
SELECT * FROM every_way('SELECT id FROM few WHERE s NOT IN (SELECT f.response FROM many JOIN f ON f.payload = many.s)');
-- A left join in what is looked for
SELECT * FROM every_way('SELECT id FROM few WHERE EXISTS (SELECT FROM many LEFT JOIN f ON f.payload = many.s WHERE COALESCE(f.response, ''other'') = few.s)');
SELECT * FROM every_way('SELECT id FROM few WHERE NOT EXISTS (SELECT FROM many LEFT JOIN f ON f.payload = many.s WHERE COALESCE(f.response, ''other'') = few.s)');
-- The semijoin's right side are invocations for a list.
SELECT * FROM every_way('SELECT id FROM many WHERE EXISTS (SELECT FROM f WHERE f.payload IN (''v1'', ''v2'', ''v9'') AND f.response = many.s)');
SELECT * FROM every_way('SELECT id FROM few WHERE NOT EXISTS (SELECT FROM f WHERE f.payload IN (''v1'', ''v2'', ''v9'') AND f.response = few.s)');
-- The invocations are on the other side: all of it is invoked for where the condition is on a response, and what is left where it is not.
SELECT * FROM every_way('SELECT many.id FROM many JOIN f ON f.payload = many.s WHERE EXISTS (SELECT FROM few WHERE few.s = f.response)');
SELECT * FROM every_way('SELECT many.id FROM many JOIN f ON f.payload = many.s WHERE NOT EXISTS (SELECT FROM few WHERE few.s = f.response)');
-- Two of them, one in the other
SELECT * FROM every_way('SELECT id FROM few WHERE EXISTS (SELECT FROM many JOIN f ON f.payload = many.s WHERE f.response = few.s
    AND NOT EXISTS (SELECT FROM f g WHERE g.payload = ''v2'' AND g.response = f.response))');

SET client_min_messages = warning;
DROP SCHEMA semi_joins CASCADE;
