-- Joins with invocations in plans that are kept, in functions, and in functions that a join with invocations calls.
SET client_min_messages = warning;
CREATE SCHEMA nested;
SET search_path = nested, public;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'accept-5');
CREATE TABLE t (id int PRIMARY KEY, s text);
-- 3 has no value, so makes no invocation; 1 and 4 have the same one, which makes two.
INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL), (4, 'a'), (5, 'c');
ANALYZE t;
RESET client_min_messages;
SELECT endpoint.reset();

-- Parameters in what is sent, in what filters the outer rows and in what filters the answers
PREPARE kept (text, int, text) AS
    SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s || $1 AND f.response <> $3 WHERE t.id > $2;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE kept ('x', 2, 'ax');
EXECUTE kept ('x', 2, 'ax');
EXECUTE kept ('y', 2, 'ax');
EXECUTE kept ('x', 0, 'none');
EXECUTE kept (NULL, 0, 'none');
EXECUTE kept ('x', NULL, 'none');
EXECUTE kept ('x', 1, NULL);
EXECUTE kept ('z', 3, 'cz');
EXECUTE kept ('z', 4, '');
-- 2 + 2 + 4 + 0 + 0 + 3 + 2 + 1
SELECT endpoint.made();
PREPARE writing (text) AS UPDATE t SET s = f.response FROM f WHERE f.payload = t.s || $1 AND t.id < 3 RETURNING t.id, t.s;
BEGIN;
EXECUTE writing ('1');
EXECUTE writing ('2');
EXECUTE writing ('3');
ROLLBACK;
SELECT endpoint.made();
-- A plan that is made anew when a table has changed
ALTER TABLE t ADD COLUMN more int DEFAULT 1;
EXECUTE kept ('x', 4, '');
ALTER FOREIGN TABLE f OPTIONS (SET function_name 'count');
EXECUTE kept ('x', 4, '');
ALTER FOREIGN TABLE f OPTIONS (SET function_name 'accept-5');
SELECT endpoint.made();
RESET plan_cache_mode;
-- The sixth time the plan may become a generic one.
EXECUTE kept ('1', 4, '');
EXECUTE kept ('2', 4, '');
EXECUTE kept ('3', 4, '');
EXECUTE kept ('4', 4, '');
EXECUTE kept ('5', 4, '');
EXECUTE kept ('6', 4, '');
EXECUTE kept ('7', 4, '');
SELECT endpoint.made();
-- In PL/pgSQL, kept in the same way
DO $$
DECLARE
    seen text := '';
BEGIN
    FOR i IN 1..8 LOOP
        seen := seen || (SELECT string_agg(f.response, ',') FROM t JOIN f ON f.payload = t.s || i WHERE t.id > i - 4) || ' ';
    END LOOP;
    RAISE NOTICE '%', seen;
END $$;
-- 4 times 4 rows, then those with an id over 1, 2, 3 and 4
SELECT endpoint.made();

-- An SQL function that becomes part of the query, one that does not, and one of PL/pgSQL
CREATE FUNCTION inlined(suffix text) RETURNS TABLE (id int, response text) LANGUAGE sql STABLE AS
    $$ SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s || suffix $$;
CREATE FUNCTION called(suffix text) RETURNS TABLE (id int, response text) LANGUAGE sql VOLATILE AS
    $$ SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s || suffix $$;
CREATE FUNCTION run(suffix text) RETURNS TABLE (id int, response text) LANGUAGE plpgsql AS
    $$ BEGIN RETURN QUERY SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s || suffix; END $$;
EXPLAIN (COSTS OFF) SELECT * FROM inlined('!') WHERE id > 2;
SELECT * FROM inlined('!') WHERE id > 2;
SELECT endpoint.made();
SELECT * FROM called('!') WHERE id > 2;
SELECT endpoint.made();
SELECT * FROM run('!') WHERE id > 2;
SELECT endpoint.made();
SELECT k, string_agg(response, ' ') FROM generate_series(1, 3) k, inlined(k::text) GROUP BY k ORDER BY k;
SELECT endpoint.made();
SELECT k, string_agg(response, ' ') FROM generate_series(1, 3) k, called(k::text) GROUP BY k ORDER BY k;
SELECT endpoint.made();
-- In a select list rows come one by one, and a LIMIT stops them.
SELECT (called('?')).response;
SELECT endpoint.made() / 4 AS calls;
SELECT called('?') LIMIT 1;
SELECT endpoint.made();
SELECT called('?') LIMIT 3;
SELECT endpoint.made() BETWEEN 3 AND 4 AS some_ahead;
-- A function of one value
CREATE FUNCTION all_of(suffix text) RETURNS text LANGUAGE sql AS
    $$ SELECT string_agg(f.response, ',') FROM t JOIN f ON f.payload = t.s || suffix $$;
CREATE FUNCTION first_of(suffix text) RETURNS text LANGUAGE sql AS
    $$ SELECT f.response FROM t JOIN f ON f.payload = t.s || suffix $$;
SELECT all_of('1'), all_of(NULL), first_of('2');
SELECT endpoint.made() BETWEEN 4 + 0 + 1 AND 4 + 0 + 4 AS no_more;

-- Functions in the select list of a join, while its own invocations are on their way
SELECT t.id, f.response, all_of(f.response) FROM t JOIN f ON f.payload = t.s;
SELECT endpoint.made();
SELECT t.id, f.response, (SELECT count(*) FROM run(f.response) r WHERE r.id > t.id) FROM t LEFT JOIN f ON f.payload = t.s;
SELECT endpoint.made();
-- In its conditions, before and after the invocation
SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s WHERE all_of(t.id::text) LIKE 'a2%' OR t.id = 5;
SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s AND all_of(f.response) LIKE 'ab%';
SELECT endpoint.made();
-- In what is sent: a function that reads rows ahead itself, called as rows are read ahead
CREATE FUNCTION stable_all_of(suffix text) RETURNS text LANGUAGE sql STABLE AS
    $$ SELECT string_agg(f.response, ',') FROM t JOIN f ON f.payload = t.s || suffix $$;
SELECT t.id, f.response FROM t JOIN f ON f.payload = stable_all_of(t.s) || t.id;
SELECT endpoint.made();
-- On the outer side
SELECT x.id, f.response FROM called('1') x JOIN f ON f.payload = x.response || '2';
SELECT x.*, f.response FROM (SELECT id, all_of(id::text) AS v FROM t WHERE id < 3 OFFSET 0) x JOIN f ON f.payload = x.v;
SELECT endpoint.made();
-- Within itself, three levels deep
CREATE FUNCTION deep(level int, v text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT string_agg(f.response || CASE WHEN level > 1 THEN '(' || deep(level - 1, f.response) || ')' ELSE '' END, ' ')
        FROM generate_series(1, 2) k JOIN f ON f.payload = v || k);
END $$;
SELECT deep(3, '');
SELECT endpoint.made();
-- With invocations in the function that fail, for one row
CREATE FUNCTION failing(v text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM t JOIN aws_lambda.lambda_invocations l
        ON l.function_name = CASE WHEN v = 'b' THEN 'unhandled' ELSE 'echo' END AND l.payload = to_jsonb(t.id);
    RETURN 'fine';
EXCEPTION WHEN external_routine_exception THEN
    RETURN 'failed';
END $$;
SELECT t.id, f.response, failing(f.response) FROM t JOIN f ON f.payload = t.s;
-- 4, and 5 for each of three rows; for the one that fails up to 5
SELECT endpoint.made() BETWEEN 4 + 3 * 5 + 1 AND 4 + 4 * 5 AS no_more;
-- With a loop over the same join in the function
CREATE FUNCTION looping(most int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    r record;
    seen text := '';
BEGIN
    FOR r IN SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s LOOP
        EXIT WHEN r.id > most;
        seen := seen || r.response;
    END LOOP;
    RETURN seen;
END $$;
SELECT t.id, f.response, looping(t.id) FROM t JOIN f ON f.payload = t.s;
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA nested CASCADE;
