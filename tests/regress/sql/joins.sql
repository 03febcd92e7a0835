-- Joins: the same invocations whatever the plan, one per outer row whose inputs are not null.
SET client_min_messages = warning;
CREATE SCHEMA joins;
SET search_path = joins, public;
CREATE FOREIGN TABLE f (payload text, response text, status_code int)
    SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE TABLE t (id int PRIMARY KEY, s text, n int);
-- The value of 1 and 4 is the same, which still makes two invocations; 3 has none.
INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 1), (3, NULL, 1), (4, 'a', 2), (5, 'c', 2);
CREATE TABLE functions (n int, name text);
INSERT INTO functions VALUES (1, 'echo'), (2, 'describe');
-- Many rows with few values, of which a plan might want to remember the answers
CREATE TABLE many AS SELECT i AS id, 'v' || i % 3 AS s FROM generate_series(1, 20) i;
ANALYZE t, functions, many;

-- Runs a query in each way of planning it. Returns its rows and invocations: one row if all agree.
CREATE FUNCTION every_way(query text) RETURNS TABLE (rows_ bigint, invocations int, ways bigint)
LANGUAGE plpgsql AS $$
DECLARE
    off text;
BEGIN
    CREATE TEMP TABLE runs (rows_ bigint, invocations int) ON COMMIT DROP;
    PERFORM endpoint.reset();
    FOREACH off IN ARRAY ARRAY['none', 'enable_nestloop', 'enable_hashjoin', 'enable_mergejoin',
        'enable_nestloop,enable_hashjoin', 'enable_nestloop,enable_mergejoin', 'enable_material', 'enable_seqscan',
        'enable_hashagg', 'enable_sort', 'enable_memoize', 'enable_hashjoin,enable_mergejoin,enable_material']
    LOOP
        IF off <> 'none' THEN
            PERFORM set_config(name, 'off', true) FROM unnest(string_to_array(off, ',')) name;
        END IF;
        EXECUTE 'WITH q AS MATERIALIZED (' || query || ') INSERT INTO runs SELECT count(*) FROM q';
        UPDATE runs SET invocations = endpoint.made() WHERE runs.invocations IS NULL;
        IF off <> 'none' THEN
            PERFORM set_config(name, 'on', true) FROM unnest(string_to_array(off, ',')) name;
        END IF;
    END LOOP;
    RETURN QUERY SELECT r.rows_, r.invocations, count(*) FROM runs r GROUP BY 1, 2 ORDER BY 1, 2;
    DROP TABLE runs;
END $$;
RESET client_min_messages;
SELECT endpoint.reset();

-- The rows
SELECT t.id, f.payload, f.response FROM t JOIN f ON f.payload = t.s ORDER BY t.id;
SELECT t.id, f.response FROM t LEFT JOIN f ON f.payload = t.s ORDER BY t.id;
SELECT t.id, l.function_name, l.response->>'payload' AS described
FROM t JOIN functions USING (n)
JOIN aws_lambda.lambda_invocations l ON l.payload = to_jsonb(t) AND l.function_name = functions.name
WHERE t.id IN (1, 4) ORDER BY t.id;
SELECT t.id, l.response FROM t, LATERAL (SELECT response FROM f WHERE payload = t.s || t.id) l ORDER BY t.id;
SELECT id, (SELECT response FROM f WHERE payload = t.s) FROM t ORDER BY id;
SELECT id FROM t WHERE EXISTS (SELECT FROM f WHERE f.payload = t.s AND f.response <> 'b') ORDER BY id;
SELECT id FROM t WHERE NOT EXISTS (SELECT FROM f WHERE f.payload = t.s) ORDER BY id;
SELECT response FROM f WHERE payload IN (SELECT s FROM t) ORDER BY 1;
SELECT t.id, f.payload IS NULL AS without FROM t JOIN f ON f.payload IS NOT DISTINCT FROM t.s ORDER BY t.id;

-- The same count each way
SELECT * FROM every_way('SELECT FROM t JOIN f ON f.payload = t.s');
SELECT * FROM every_way('SELECT FROM f JOIN t ON t.s = f.payload');
SELECT * FROM every_way('SELECT FROM t LEFT JOIN f ON f.payload = t.s');
SELECT * FROM every_way('SELECT FROM f RIGHT JOIN t ON f.payload = t.s');
SELECT * FROM every_way('SELECT FROM t LEFT JOIN f ON f.payload = t.s AND t.id > 3');
-- A condition in the ON of a left join on the other table saves the invocation.
EXPLAIN (COSTS OFF) SELECT FROM t LEFT JOIN f ON f.payload = t.s AND t.id > 3 AND t.n IS NOT NULL;
SELECT t.id, f.response FROM t LEFT JOIN f ON f.payload = t.s AND t.id > 3 ORDER BY t.id;
SELECT * FROM every_way('SELECT FROM t LEFT JOIN f ON f.payload = t.s AND t.id > NULLIF(t.n, 2)');
SELECT * FROM every_way('SELECT FROM t a JOIN t b USING (id) LEFT JOIN f ON f.payload = a.s AND b.id > 3');
SELECT * FROM every_way('SELECT FROM t LEFT JOIN (f JOIN functions ON functions.name = f.response) ON f.payload = t.s AND t.id > 3');
SELECT * FROM every_way('SELECT FROM t LEFT JOIN f ON f.payload = t.s AND EXISTS (SELECT FROM many WHERE many.id = t.id + 16)');
SELECT * FROM every_way('SELECT FROM t WHERE NOT EXISTS (SELECT FROM f WHERE f.payload = t.s AND t.id > 3)');
-- A condition that also concerns what is joined to the invocations waits for that.
SELECT t.id, f.response, g.n FROM t LEFT JOIN (f LEFT JOIN functions g ON g.name = f.response)
    ON f.payload = t.s AND COALESCE(g.n, 0) + t.id > 3 ORDER BY t.id;
SELECT * FROM every_way('SELECT FROM t LEFT JOIN (f LEFT JOIN functions g ON g.name = f.response) ON f.payload = t.s AND COALESCE(g.n, 0) + t.id > 3');
-- It saves the invocation where that comes before the scan: four of the eight pairs are of one n.
SELECT endpoint.reset();
SELECT t.id, f.response FROM t LEFT JOIN (functions g JOIN f ON true) ON g.n = t.n AND f.payload = t.s || g.n ORDER BY t.id;
SELECT endpoint.made();
-- Here the invocations are on the side that keeps its rows, so the condition does not concern them.
SELECT * FROM every_way('SELECT FROM (t JOIN f ON f.payload = t.s) LEFT JOIN functions ON functions.n = t.n AND t.id > 3');
SELECT * FROM every_way('SELECT FROM t LEFT JOIN f ON f.payload = t.s LEFT JOIN f g ON g.payload = f.response AND t.id > 3');
SELECT * FROM every_way('SELECT FROM t JOIN f ON f.payload = t.s AND f.response > ''a''');
SELECT * FROM every_way('SELECT FROM t JOIN f ON f.payload = t.s WHERE t.id < 3');
SELECT * FROM every_way('SELECT FROM t JOIN f ON f.payload = t.s AND f.payload = ''a''');
SELECT * FROM every_way('SELECT FROM t JOIN f ON f.payload = ''fixed''');
SELECT * FROM every_way('SELECT FROM t LEFT JOIN f ON f.payload = ''fixed'' AND f.response = t.s');
SELECT * FROM every_way('SELECT FROM t JOIN f ON f.payload = ''a'' AND f.response = t.s');
SELECT * FROM every_way('SELECT FROM f LEFT JOIN t ON f.payload = t.s WHERE f.payload IN (''a'', ''x'')');
SELECT * FROM every_way('SELECT FROM t, LATERAL (SELECT * FROM f WHERE payload = t.s) l');
SELECT * FROM every_way('SELECT FROM t, LATERAL (SELECT * FROM f WHERE payload = t.s OFFSET 0) l');
SELECT * FROM every_way('SELECT FROM t, LATERAL (SELECT * FROM f WHERE payload IN (t.s, t.id::text)) l');
SELECT * FROM every_way('SELECT FROM t JOIN f ON f.payload IN (t.s, t.id::text)');
SELECT * FROM every_way('SELECT FROM t WHERE EXISTS (SELECT FROM f WHERE f.payload = t.s)');
SELECT * FROM every_way('SELECT FROM t WHERE NOT EXISTS (SELECT FROM f WHERE f.payload = t.s)');
SELECT * FROM every_way('SELECT FROM f WHERE payload IN (SELECT s FROM t)');
SELECT * FROM every_way('SELECT (SELECT response FROM f WHERE payload = t.s) FROM t');
SELECT * FROM every_way('SELECT FROM t a JOIN t b USING (id) JOIN f ON f.payload = a.s || b.s');
SELECT * FROM every_way('SELECT FROM t a JOIN f ON f.payload = a.s JOIN t b ON b.s = a.s');
SELECT * FROM every_way('SELECT FROM f a JOIN f b ON b.payload = a.response || 1 WHERE a.payload IN (''x'', ''y'')');
SELECT * FROM every_way('SELECT FROM f a JOIN f b USING (payload) WHERE a.payload = ''x''');
SELECT * FROM every_way('SELECT FROM t JOIN functions USING (n)
    JOIN aws_lambda.lambda_invocations l ON l.payload = to_jsonb(t.s) AND l.function_name = functions.name');
SELECT * FROM every_way('SELECT FROM aws_lambda.lambda_invocations l JOIN functions ON l.function_name = name WHERE payload = ''1''');
SELECT * FROM every_way('SELECT FROM t, aws_lambda.invoke(''echo'', to_jsonb(t.s)) i');

-- Two input columns that equal one outer value both have it, however the planner writes that down.
CREATE FOREIGN TABLE q (function_name text, payload text, qualifier text, region text, response text)
    SERVER aws_lambda OPTIONS (function_name 'echo');
SELECT t.id, q.payload, q.qualifier FROM t JOIN q ON q.payload = t.s AND q.qualifier = t.s ORDER BY t.id;
SELECT t.id, q.payload, q.qualifier FROM t, LATERAL (SELECT * FROM q WHERE qualifier = t.s AND payload = t.s) q ORDER BY t.id;
SELECT t.id, q.payload, q.qualifier FROM t JOIN q ON (q.payload, q.qualifier) = (t.s, t.s) ORDER BY t.id;
SELECT t.id, q.payload, q.qualifier FROM t JOIN t u ON t.s = u.s JOIN q ON q.payload = t.s AND q.qualifier = u.s WHERE t.id = u.id ORDER BY t.id;
SELECT * FROM every_way('SELECT FROM t JOIN q ON q.payload = t.s AND q.qualifier = t.s');
SELECT * FROM every_way('SELECT FROM t LEFT JOIN q ON q.payload = t.s AND q.qualifier = t.s');

-- An EXISTS that could be hashed would lose the clauses that it is hashed by.
SELECT id, EXISTS (SELECT FROM q WHERE q.payload = '1' AND q.qualifier = t.s) AS found FROM t ORDER BY id;
SELECT * FROM every_way('SELECT FROM t WHERE EXISTS (SELECT FROM q WHERE q.payload = ''1'' AND q.qualifier = t.s) OR t.id = 100');
SELECT * FROM every_way('SELECT EXISTS (SELECT FROM q WHERE q.payload = t.s) FROM t');
SELECT * FROM every_way('SELECT FROM t WHERE t.s NOT IN (SELECT response FROM q WHERE payload = ''a'')');

-- A subquery in the ON of a left join runs once for a row, which the join does.
SELECT * FROM every_way('SELECT FROM t LEFT JOIN f ON f.payload = t.s AND (SELECT g.response FROM f g WHERE g.payload = t.s) > ''a''');

-- Never remembered by value, wherever the scan is
SELECT * FROM every_way('SELECT FROM many t JOIN f ON f.payload = t.s');
SELECT * FROM every_way('SELECT FROM many t, LATERAL (SELECT * FROM f WHERE payload = t.s OFFSET 0) l');
SELECT * FROM every_way('SELECT FROM many t, LATERAL (SELECT * FROM (SELECT * FROM f WHERE payload = t.s OFFSET 0) x OFFSET 0) l');
SELECT * FROM every_way('SELECT FROM many t, LATERAL (SELECT * FROM f WHERE payload = t.s UNION ALL SELECT * FROM f WHERE payload = t.s) l');
SELECT * FROM every_way('SELECT FROM many t JOIN (SELECT * FROM f UNION ALL SELECT * FROM f) l ON l.payload = t.s');
CREATE TABLE parts (payload text, response text) PARTITION BY LIST (payload);
CREATE FOREIGN TABLE part PARTITION OF parts FOR VALUES IN ('v0', 'v1', 'v2')
    SERVER aws_lambda OPTIONS (function_name 'echo');
SELECT * FROM every_way('SELECT FROM many t JOIN parts ON parts.payload = t.s');

-- A subquery in a select list invokes, and a row of its relation is not remembered either.
CREATE TABLE large AS SELECT i AS id, 'v' || i % 3 AS s FROM generate_series(1, 30) i;
CREATE TABLE small AS SELECT 'v' || i AS s FROM generate_series(0, 2) i;
CREATE INDEX ON small (s);
ANALYZE large, small;
SELECT * FROM every_way('SELECT x.r FROM large LEFT JOIN LATERAL
    (SELECT s, (SELECT response FROM f WHERE payload = small.s) AS r FROM small WHERE small.s = large.s OFFSET 0) x ON true');
SELECT * FROM every_way('SELECT x.r FROM large LEFT JOIN LATERAL
    (SELECT s, (SELECT max(response) FROM f WHERE payload = small.s) AS r FROM small WHERE small.s = large.s LIMIT 1) x ON true');

-- Where the other table cannot come first, there is no value, and nothing is invoked.
SELECT endpoint.reset();
SELECT * FROM t FULL JOIN f ON f.payload = t.s;
SELECT * FROM f LEFT JOIN t ON f.payload = t.s;
SELECT * FROM f a JOIN f b ON a.payload = b.payload;
SELECT * FROM t LEFT JOIN f ON f.payload = 'x' RIGHT JOIN aws_lambda.lambda_invocations l ON l.payload = '1' AND l.function_name = t.s;
SELECT endpoint.count();

SET client_min_messages = warning;
DROP SCHEMA joins CASCADE;
