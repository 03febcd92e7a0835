-- Scans that could give each other values, and joins in the order in which they are written (join_collapse_limit).
SET client_min_messages = warning;
CREATE SCHEMA turns;
SET search_path = turns, public;
CREATE FOREIGN TABLE lt (function_name text, payload text, qualifier text, response text) SERVER aws_lambda;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE TABLE t (id int, s text, arr text[]);
INSERT INTO t VALUES (1, 'a', '{a,x}'), (2, 'b', '{b}'), (3, NULL, NULL);
CREATE TABLE b1 (id int, s text);
INSERT INTO b1 VALUES (1, 'a'), (2, 'a'), (3, 'x');
ANALYZE t, b1;
-- Two levels of partitions, whose last ones invoke
CREATE TABLE parts (payload text, response text) PARTITION BY LIST (payload);
CREATE TABLE part PARTITION OF parts FOR VALUES IN ('a', 'x') PARTITION BY LIST (payload);
CREATE FOREIGN TABLE part_a PARTITION OF part FOR VALUES IN ('a') SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE part_x PARTITION OF part FOR VALUES IN ('x') SERVER aws_lambda OPTIONS (function_name 'echo');
-- The rows and invocations of a statement, planned in several ways; the ways that differ are others.
CREATE FUNCTION every_way(query text) RETURNS TABLE (rows bigint, made int, ways text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    way text;
    error text;
BEGIN
    CREATE TEMPORARY TABLE ways (way text, rows bigint, made int);
    FOREACH way IN ARRAY ARRAY['', 'join_collapse_limit', 'from_collapse_limit', 'join_collapse_limit,from_collapse_limit', 'geqo', 'enable_nestloop',
        'enable_hashjoin,enable_mergejoin', 'enable_material', 'enable_hashagg,enable_sort'] LOOP
        PERFORM set_config(setting, CASE WHEN setting ~ 'limit' THEN '1' WHEN setting = 'geqo' THEN 'on' ELSE 'off' END, false)
            FROM unnest(string_to_array(way, ',')) setting;
        PERFORM set_config('geqo_threshold', CASE way WHEN 'geqo' THEN '2' ELSE '12' END, false);
        EXECUTE format('SELECT count(*) FROM (%s) q', query) INTO rows;
        INSERT INTO ways VALUES (way, rows, endpoint.made());
        PERFORM set_config(name, boot_val, false) FROM pg_settings WHERE name = ANY (string_to_array(way, ','));
    END LOOP;
    RETURN QUERY SELECT w.rows, w.made, CASE count(*) WHEN 9 THEN 'all' ELSE string_agg('[' || w.way || ']', ' ') END FROM ways w GROUP BY 1, 2 ORDER BY count(*) DESC, 1, 2;
    DROP TABLE ways;
END $$;
RESET client_min_messages;
SELECT endpoint.reset();

-- Each of two could have its payload from the other, and the first has other values.
SELECT * FROM every_way('SELECT FROM t JOIN lt a ON a.function_name = ''echo'' AND a.payload IN (t.s, ''k'') JOIN lt b ON b.function_name = ''accept-0'' AND b.payload = a.payload');
SELECT * FROM every_way('SELECT FROM t JOIN lt a ON a.function_name = ''echo'' AND a.payload = ANY (t.arr) JOIN lt b ON b.function_name = ''accept-0'' AND b.payload = a.payload');
SELECT * FROM every_way('SELECT FROM t JOIN lt a ON a.function_name = ''echo'' AND a.payload IS NOT DISTINCT FROM t.s JOIN lt b ON b.function_name = ''accept-0'' AND b.payload = a.payload');
SELECT * FROM every_way('SELECT FROM t JOIN lt a ON a.function_name = ''echo'' AND a.payload IN (t.s, ''k'') JOIN lt b ON b.function_name = ''accept-0'' AND b.payload IS NOT DISTINCT FROM a.payload');
-- The second has
SELECT * FROM every_way('SELECT FROM lt b JOIN lt a ON b.payload = a.payload JOIN t ON a.payload IN (t.s, ''k'') WHERE a.function_name = ''echo'' AND b.function_name = ''accept-0''');
SELECT * FROM every_way('SELECT FROM lt b JOIN lt a ON b.payload = a.payload WHERE a.function_name = ''echo'' AND b.function_name = ''accept-0'' AND a.payload IN (''x'', ''y'')');
-- Both have
SELECT * FROM every_way('SELECT FROM t JOIN f a ON a.payload IN (t.s, ''k'') JOIN f b ON b.payload = ANY (t.arr) AND b.payload = a.payload');
SELECT * FROM every_way('SELECT FROM f a JOIN f b ON b.payload = a.payload WHERE a.payload IN (''x'', ''y'') AND b.payload IN (''z'', ''x'')');
CREATE VIEW v AS SELECT * FROM f;
SELECT * FROM every_way('SELECT FROM t JOIN v a ON a.payload IN (t.s, ''k'') JOIN t u USING (id) JOIN f b ON b.payload IN (u.s, ''k'') AND b.payload = a.payload');
-- Chains of three, and columns crossed
SELECT * FROM every_way('SELECT FROM t JOIN f a ON a.payload IN (t.s, ''k'') JOIN f b ON b.payload = a.payload JOIN f c ON c.payload = b.payload');
SELECT * FROM every_way('SELECT FROM t JOIN f a ON a.payload IN (t.s, ''k'') JOIN f b ON b.payload IS NOT DISTINCT FROM a.payload JOIN f c ON c.payload IS NOT DISTINCT FROM b.payload');
SELECT * FROM every_way('SELECT FROM f c JOIN f b ON c.payload IS NOT DISTINCT FROM b.payload JOIN f a ON b.payload IS NOT DISTINCT FROM a.payload JOIN t ON a.payload IN (t.s, ''k'')');
SELECT * FROM every_way('SELECT FROM t JOIN lt a ON a.function_name = ''echo'' AND a.payload IN (t.s, ''k'') JOIN lt b ON b.function_name = ''echo'' AND b.payload = a.payload AND b.qualifier = ''v1'' AND a.qualifier = b.qualifier');
SELECT * FROM every_way('SELECT FROM t JOIN f a ON a.payload IN (t.s, ''k'') JOIN f b ON b.payload = a.payload AND a.payload = b.response');
SELECT * FROM every_way('SELECT FROM t JOIN f a ON a.payload = t.s JOIN f b ON b.payload = a.response AND b.payload = a.payload');
-- A condition that goes one way only
SELECT * FROM every_way('SELECT FROM t JOIN f a ON a.payload IN (t.s, ''k'') LEFT JOIN f b ON b.payload = a.payload');
SELECT * FROM every_way('SELECT FROM t JOIN f a ON a.payload IN (t.s, ''k'') JOIN f b ON b.payload = a.response JOIN f c ON c.payload = b.payload AND c.payload = a.payload');
-- Partitions, beside constants and beside each other
SELECT * FROM every_way('SELECT FROM parts p JOIN parts q USING (payload) WHERE p.payload IN (''a'', ''x'')');
SELECT * FROM every_way('SELECT FROM parts p JOIN f ON f.payload = p.payload WHERE p.payload IN (''a'', ''x'')');
SELECT * FROM every_way('SELECT FROM t JOIN parts p ON p.payload = ANY (t.arr) JOIN parts q ON q.payload = p.payload');
SELECT * FROM every_way('SELECT FROM (SELECT * FROM f WHERE payload = ''a'' UNION ALL SELECT * FROM f) u JOIN f b ON b.payload = u.payload WHERE b.payload IN (''a'', ''x'')');

-- The value comes from a table that is joined later.
SELECT * FROM every_way('SELECT FROM (SELECT l.payload AS a FROM t JOIN lt l ON l.function_name = ''echo'' AND l.payload = ANY (t.arr) WHERE EXISTS (SELECT FROM b1 e WHERE e.s = t.s)) x WHERE a IN (SELECT s FROM b1)');
SELECT * FROM every_way('SELECT FROM (SELECT l.payload AS a FROM t JOIN lt l ON l.function_name = ''echo'' AND l.payload = ANY (t.arr) WHERE EXISTS (SELECT FROM b1 e WHERE e.s = t.s)) x JOIN (SELECT DISTINCT s FROM b1) y ON a = y.s');
SELECT * FROM every_way('SELECT FROM b1 CROSS JOIN f JOIN t ON f.payload = t.s');
SELECT * FROM every_way('SELECT FROM b1 JOIN f ON f.response = b1.s JOIN t ON f.payload = t.s');
SELECT * FROM every_way('SELECT FROM f JOIN (t u JOIN t ON u.id = t.id) ON f.payload = t.s');
SELECT * FROM every_way('SELECT FROM (b1 LEFT JOIN t u ON u.s = b1.s) JOIN (f LEFT JOIN t w ON w.s = f.response) ON f.payload = b1.s');
SELECT * FROM every_way('SELECT FROM (f JOIN f g ON g.payload = f.response) JOIN (t u JOIN t ON u.id = t.id) ON f.payload = t.s');
SELECT * FROM every_way('SELECT FROM b1 JOIN f ON f.payload = ANY (SELECT unnest(arr) FROM t) WHERE NOT EXISTS (SELECT FROM t WHERE t.s = f.response AND t.id > b1.id)');

SET client_min_messages = warning;
DROP SCHEMA turns CASCADE;
