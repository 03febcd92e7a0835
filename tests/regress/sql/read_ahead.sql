-- Joins prefetch outer rows, so that several invocations are in flight. Rows come in the outer order.
SET client_min_messages = warning;
CREATE SCHEMA read_ahead;
SET search_path = read_ahead, public;
CREATE FOREIGN TABLE f (payload text, response text)
    SERVER aws_lambda OPTIONS (function_name 'accept-30', max_concurrency '8');
CREATE FOREIGN TABLE mock (payload jsonb, response jsonb)
    SERVER aws_lambda OPTIONS (function_name 'mock', max_concurrency '8');
CREATE TABLE t (id int PRIMARY KEY, n int, s text, arr text[]);
-- 3 has no value; 1 and 4 have the same, which is two invocations.
INSERT INTO t VALUES (1, 1, 'a', '{p,q}'), (2, 1, 'b', '{}'), (3, 1, NULL, NULL), (4, 2, 'a', '{r,NULL,r}'), (5, 2, 'c', '{s}');
CREATE TABLE u (n int, name text);
INSERT INTO u VALUES (1, 'one'), (2, 'two');
CREATE TABLE many AS SELECT i AS id, 'v' || i AS s FROM generate_series(1, 20) i;
CREATE TABLE nobody (id int, s text);
CREATE VIEW enriched AS SELECT t.id, t.n, f.response FROM t LEFT JOIN f ON f.payload = t.s;
ANALYZE t, u, many;
-- Runs a query as it is planned, and with nested loops, hash joins and merge joins only.
-- Tells rows, invocations, and whether as many as expected were in flight: one line when all agree.
CREATE FUNCTION each_way(query text, at_least int, at_most int)
RETURNS TABLE (rows_ text, invocations int, together boolean, ways bigint) LANGUAGE plpgsql AS $$
DECLARE
    off text;
    most int;
BEGIN
    CREATE TEMP TABLE runs (rows_ text, invocations int, together boolean) ON COMMIT DROP;
    FOREACH off IN ARRAY ARRAY['', 'enable_hashjoin,enable_mergejoin,enable_material',
        'enable_nestloop,enable_mergejoin', 'enable_nestloop,enable_hashjoin']
    LOOP
        PERFORM set_config(name, 'off', true) FROM string_to_table(off, ',') name WHERE name <> '';
        EXECUTE 'SELECT string_agg(q::text, '' '' ORDER BY q::text) FROM (' || query || ' OFFSET 0) q' INTO rows_;
        PERFORM set_config(name, 'on', true) FROM string_to_table(off, ',') name WHERE name <> '';
        SELECT * INTO invocations, most FROM endpoint.counted();
        INSERT INTO runs VALUES (rows_, invocations, most BETWEEN at_least AND at_most);
    END LOOP;
    RETURN QUERY SELECT r.*, count(*) FROM runs r GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
    DROP TABLE runs;
END $$;
-- Plans of disabled nodes have costs at which JIT compilation starts.
SET jit = off;
RESET client_min_messages;
SELECT endpoint.reset();

-- Inner and left joins
SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s;
SELECT * FROM endpoint.counted();
SELECT t.id, f.response FROM t LEFT JOIN f ON f.payload = t.s;
SELECT * FROM endpoint.counted();
-- A condition of the ON on the outer side saves invocations, one on the response does not.
SELECT t.id, f.response FROM t LEFT JOIN f ON f.payload = t.s AND t.id > 3;
SELECT * FROM endpoint.counted();
SELECT t.id, f.response FROM t LEFT JOIN f ON f.payload = t.s AND f.response > 'a';
SELECT * FROM endpoint.counted();
-- LATERAL, where the planner makes a join of it
SELECT t.id, l.up FROM t CROSS JOIN LATERAL (SELECT upper(response) AS up FROM f WHERE payload = t.s || t.id) l;
SELECT * FROM endpoint.counted();
SELECT t.id, l.response FROM t LEFT JOIN LATERAL (SELECT response FROM f WHERE payload = t.s || t.id) l ON l.response < 'b';
SELECT * FROM endpoint.counted();
-- Semijoins and antijoins
SELECT t.id FROM t WHERE EXISTS (SELECT FROM f WHERE f.payload = t.s AND f.response <> 'b');
SELECT * FROM endpoint.counted();
SELECT t.id FROM t WHERE NOT EXISTS (SELECT FROM f WHERE f.payload = t.s AND f.response <> 'b');
SELECT * FROM endpoint.counted();
-- No payload is a value here.
SELECT t.id, f.payload FROM t JOIN f ON f.payload IS NOT DISTINCT FROM t.s;
SELECT * FROM endpoint.counted();

-- A list in each row
SELECT t.id, f.response FROM t JOIN f ON f.payload = ANY (t.arr);
SELECT * FROM endpoint.counted();
SELECT t.id, f.response FROM t LEFT JOIN f ON f.payload = ANY (t.arr);
SELECT * FROM endpoint.counted();
-- One match is enough: of 1, 4 and 5 the first each, and of 1 another one, as the first does not pass.
SELECT t.id FROM t WHERE EXISTS (SELECT FROM f WHERE f.payload = ANY (t.arr));
SELECT * FROM endpoint.counted();
SELECT t.id FROM t WHERE EXISTS (SELECT FROM f WHERE f.payload = ANY (t.arr) AND f.response <> 'p');
SELECT invocations FROM endpoint.counted();
SELECT t.id, l.function_name, l.response FROM t
JOIN aws_lambda.lambda_invocations l ON l.function_name IN ('accept-40', 'accept-30') AND l.payload = to_jsonb(t.s);
SELECT * FROM endpoint.counted();

-- Outer rows: ordered subqueries, updated rows, whole rows with system columns
SELECT v.s, f.response FROM (SELECT s, max(id) FROM t GROUP BY s ORDER BY max(id) DESC) v JOIN f ON f.payload = v.s;
SELECT * FROM endpoint.counted();
WITH deleted AS (DELETE FROM u WHERE n = 2 RETURNING *), inserted AS (INSERT INTO u VALUES (2, 'two') RETURNING *)
SELECT d.name, f.response FROM (TABLE deleted UNION ALL TABLE inserted) d JOIN f ON f.payload = d.name;
SELECT * FROM endpoint.counted();
SELECT t, t.ctid, t.tableoid::regclass, f FROM t JOIN f ON f.payload = t.s WHERE t.id IN (1, 4);
SELECT * FROM endpoint.counted();
-- A subquery gives the value.
SELECT t.id, f.response FROM t JOIN f ON f.payload = (SELECT max(v.s) FROM t v WHERE v.id <= t.id);
SELECT * FROM endpoint.counted();
-- None
SELECT f.response FROM nobody JOIN f ON f.payload = nobody.s;
SELECT nobody.id, f.response FROM nobody LEFT JOIN f ON f.payload = nobody.s;
SELECT t.id FROM t JOIN f ON f.payload = t.s WHERE t.id > 99;
SELECT * FROM endpoint.counted();

-- Where the invocations are part of another statement
CREATE TABLE kept AS SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s;
SELECT * FROM endpoint.counted();
UPDATE kept SET response = f.response FROM f WHERE f.payload = kept.response || '!' RETURNING kept.*;
SELECT * FROM endpoint.counted();
SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s FOR UPDATE OF t;
SELECT * FROM endpoint.counted();
PREPARE generic (text, int) AS SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s || $1 WHERE t.id > $2;
SET plan_cache_mode = force_generic_plan;
EXECUTE generic('1', 0);
EXECUTE generic('2', 3);
EXECUTE generic(NULL, 0);
SELECT * FROM endpoint.counted();
RESET plan_cache_mode;

-- Order and number do not depend on which answer comes first.
SELECT array_agg(i) AS rows_, array_agg(mock.response->'n') AS answers FROM generate_series(1, 24) i
JOIN mock ON mock.payload = jsonb_build_object('n', i, 'ms', i * 37 % 50);
SELECT invocations, most <= 8 AS most FROM endpoint.counted();
SELECT count(*) FROM many JOIN f ON f.payload = many.s;
SELECT * FROM endpoint.counted();
-- A late one at the head does not keep others from going on: four times max_concurrency are there or on their way.
ALTER FOREIGN TABLE mock OPTIONS (SET max_concurrency '2');
SELECT CASE i WHEN 1 THEN endpoint.count() END AS invocations_then FROM generate_series(1, 10) i
JOIN mock ON mock.payload = jsonb_build_object('n', i, 'ms', CASE i WHEN 1 THEN 150 ELSE 0 END);
SELECT * FROM endpoint.counted();
-- One at a time, in the outer order
ALTER FOREIGN TABLE f OPTIONS (SET max_concurrency '1');
SELECT t.id, f.response FROM t JOIN f ON f.payload = ANY (t.arr || t.s) WHERE t.id IN (1, 5);
SELECT payload FROM endpoint.invocations();
SELECT * FROM endpoint.counted();
ALTER FOREIGN TABLE f OPTIONS (SET max_concurrency '8');

-- One function's response is another one's input. A NULL response invokes nothing.
SELECT t.id, f.response, g.response AS next FROM t JOIN f ON f.payload = t.s JOIN f g ON g.payload = f.response || 2;
SELECT invocations, most BETWEEN 4 AND 8 AS most FROM endpoint.counted();
SELECT t.id, f.response, g.response AS next
FROM t LEFT JOIN f ON f.payload = t.s AND t.id < 5 LEFT JOIN f g ON g.payload = f.response || 2;
SELECT invocations, most BETWEEN 3 AND 6 AS most FROM endpoint.counted();
-- A list with itself
SELECT f.response, g.response AS next FROM f JOIN f g ON g.payload = f.response || 2 WHERE f.payload IN ('x', 'z', 'y');
SELECT invocations, most BETWEEN 3 AND 6 AS most FROM endpoint.counted();
-- The same value for two functions
SELECT t.id, f.response, mock.response AS other
FROM t JOIN f ON f.payload = t.s JOIN mock ON mock.payload = jsonb_build_object('s', t.s);
SELECT invocations, most BETWEEN 4 AND 8 AS most FROM endpoint.counted();

-- Other tables in the join: t and u together have a row for each one of t, or two.
SELECT * FROM each_way('SELECT t.id, u.name, f.response FROM t JOIN u USING (n) JOIN f ON f.payload = t.s || u.name', 4, 4);
SELECT * FROM each_way('SELECT t.id, u.name, f.response FROM t CROSS JOIN u JOIN f ON f.payload = t.s || u.name', 8, 8);
-- A hash or merge join above may stop early.
SELECT * FROM each_way('SELECT t.id, u.name, f.response FROM t JOIN f ON f.payload = t.s JOIN u USING (n)', 2, 4);
SELECT * FROM each_way('SELECT a.id, b.response FROM enriched a JOIN enriched b USING (id)', 2, 8);

-- Joins that are run again: once for each row of u with the values of then
SELECT u.name, l.* FROM u, LATERAL (SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s || u.name OFFSET 0) l;
SELECT * FROM endpoint.counted();
SELECT u.name, l.* FROM u, LATERAL (SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s WHERE t.n = u.n OFFSET 0) l;
SELECT * FROM endpoint.counted();
SELECT u.name, l.* FROM u, LATERAL (SELECT t.id, f.response FROM t LEFT JOIN f ON f.payload = t.s AND t.n = u.n OFFSET 0) l;
SELECT * FROM endpoint.counted();
SELECT u.name, (SELECT string_agg(f.response, ',' ORDER BY t.id) FROM t JOIN f ON f.payload = t.s WHERE t.n = u.n) FROM u;
SELECT * FROM endpoint.counted();
-- Left before its end, and started over
SELECT u.name, l.* FROM u, LATERAL (SELECT many.id, f.response FROM many JOIN f ON f.payload = many.s || u.n LIMIT 3) l;
SELECT * FROM endpoint.counted();
SELECT u.name FROM u WHERE EXISTS (SELECT FROM t JOIN f ON f.payload = t.s WHERE t.n = u.n OFFSET 0);
SELECT * FROM endpoint.counted();
-- A join that does not depend on the row is run once, and so is a common table expression.
SELECT u.name, l.id FROM u LEFT JOIN (SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s OFFSET 0) l ON l.id < u.n * 2;
SELECT invocations FROM endpoint.counted();
WITH c AS MATERIALIZED (SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s)
SELECT count(*) FROM c a JOIN c b USING (response);
SELECT invocations FROM endpoint.counted();
WITH RECURSIVE r (s) AS (
    SELECT s FROM t WHERE id IN (1, 2)
    UNION ALL SELECT f.response || 1 FROM r JOIN f ON f.payload = r.s WHERE length(r.s) < 3
) SELECT s FROM r;
SELECT invocations FROM endpoint.counted();

-- LIMIT: so many invocations, where each makes a row
SELECT many.id, f.response FROM many JOIN f ON f.payload = many.s LIMIT 0;
SELECT * FROM endpoint.counted();
SELECT many.id, f.response FROM many JOIN f ON f.payload = many.s LIMIT 5;
SELECT * FROM endpoint.counted();
SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s LIMIT 3;
SELECT invocations FROM endpoint.counted();
SELECT t.id, f.response FROM t LEFT JOIN f ON f.payload = t.s LIMIT 3;
SELECT * FROM endpoint.counted();
SELECT t.id FROM t WHERE EXISTS (SELECT FROM f WHERE f.payload = t.s) LIMIT 2;
SELECT * FROM endpoint.counted();
SELECT t.id, f.response FROM t JOIN f ON f.payload = ANY (t.arr) LIMIT 1;
SELECT * FROM endpoint.counted();
SELECT v.id, f.response FROM (SELECT * FROM many ORDER BY id DESC) v JOIN f ON f.payload = v.s LIMIT 3;
SELECT * FROM endpoint.counted();
-- The last join makes no more than the limit, those below a few more.
SELECT many.id, g.response FROM many JOIN f ON f.payload = many.s JOIN f g ON g.payload = f.response || 'g' LIMIT 2;
SELECT count(*) FILTER (WHERE payload LIKE '%g') AS g, count(*) FILTER (WHERE payload NOT LIKE '%g') BETWEEN 2 AND 3 AS f
FROM endpoint.invocations();
SELECT endpoint.reset();
-- EXISTS: first one, then more and more
SELECT EXISTS (SELECT FROM many JOIN f ON f.payload = many.s);
SELECT * FROM endpoint.counted();
SELECT EXISTS (SELECT FROM many JOIN f ON f.payload = many.s WHERE f.response = 'v3');
SELECT invocations BETWEEN 3 AND 6 AS some FROM endpoint.counted();

-- A cursor: what is fetched first, and more and more for those who come again
BEGIN;
DECLARE c CURSOR FOR SELECT many.id, f.response FROM many JOIN f ON f.payload = many.s;
SELECT endpoint.count();
FETCH 2 FROM c;
SELECT endpoint.count();
FETCH 2 FROM c;
SELECT endpoint.count() BETWEEN 4 AND 6 AS some;
MOVE ALL FROM c;
SELECT * FROM endpoint.counted();
COMMIT;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s;
FETCH 2 FROM c;
FETCH PRIOR FROM c;
FETCH LAST FROM c;
FETCH FIRST FROM c;
SELECT invocations FROM endpoint.counted();
COMMIT;
-- The row that a cursor is at is not the one that was read last.
BEGIN;
DECLARE c CURSOR FOR SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s FOR UPDATE OF t;
MOVE 1 FROM c;
FETCH 1 FROM c;
UPDATE t SET n = 0 WHERE CURRENT OF c RETURNING id;
ROLLBACK;
SELECT invocations BETWEEN 2 AND 3 AS some FROM endpoint.counted();
-- PL/pgSQL fetches ten rows for a loop.
ALTER FOREIGN TABLE f OPTIONS (SET max_concurrency '20');
CREATE FUNCTION loop_until(last int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    r record;
    rows_ int := 0;
BEGIN
    FOR r IN SELECT many.id, f.response FROM many JOIN f ON f.payload = many.s LOOP
        rows_ := rows_ + 1;
        EXIT WHEN r.id = last;
    END LOOP;
    RETURN rows_;
END $$;
SELECT loop_until(3);
SELECT invocations FROM endpoint.counted();

-- The error is that of the first row, however soon a later one fails; nothing is begun after a failure, and nothing left over.
ALTER FOREIGN TABLE mock OPTIONS (SET max_concurrency '8');
SELECT sqlstate, message FROM endpoint.error_of($$
    SELECT i FROM generate_series(1, 40) i JOIN mock ON mock.payload = jsonb_build_object(
        'ms', CASE i WHEN 1 THEN 0 WHEN 2 THEN 120 WHEN 3 THEN 0 ELSE 90 END,
        'as', CASE i WHEN 2 THEN 'error-403-AccessDeniedException' WHEN 3 THEN 'unhandled' ELSE 'echo' END) $$);
SELECT invocations BETWEEN 3 AND 9 AS some FROM endpoint.counted();
SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s;
SELECT * FROM endpoint.counted();

SET client_min_messages = warning;
DROP SCHEMA read_ahead CASCADE;
