-- A plan that can't run raises its error before the statement invokes anything.
SET client_min_messages = warning;
CREATE SCHEMA cannot_run;
SET search_path = cannot_run, public;
CREATE FOREIGN TABLE lt (function_name text, payload text, response text) SERVER aws_lambda;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE TABLE t AS SELECT i AS id, 'v' || i AS s FROM generate_series(1, 3) i;
CREATE TABLE log (id int, s text);
ANALYZE t;
CREATE FUNCTION asks(s text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT response FROM cannot_run.f WHERE payload = s); END $$;
-- A statement's error, how many invocations it made, and its rows where it has none
CREATE FUNCTION outcome(statement text) RETURNS TABLE (error text, made int) LANGUAGE plpgsql AS $$
BEGIN
    error := (endpoint.error_of(statement)).message;
    made := endpoint.made();
    RETURN NEXT;
END $$;
RESET client_min_messages;
SELECT endpoint.reset();

SELECT a.response, (SELECT b.response FROM lt b WHERE b.function_name = 'g' AND b.response = a.response)
    FROM lt a WHERE a.function_name = 'echo' AND a.payload IN ('x', 'y');
SELECT endpoint.made();
-- In a select list, a condition, a join, a branch, a CTE, an expression that is evaluated once
SELECT * FROM outcome('SELECT response, (SELECT response FROM lt) FROM f WHERE payload = ''x''');
SELECT * FROM outcome('SELECT FROM f WHERE payload = ''x'' AND response = (SELECT response FROM lt b WHERE b.response = f.payload)');
SELECT * FROM outcome('SELECT FROM f WHERE payload = ''x'' AND response = (SELECT response FROM lt)');
SELECT * FROM outcome('SELECT FROM f WHERE payload = ''x'' AND NOT EXISTS (SELECT FROM lt WHERE lt.response = f.response)');
SELECT * FROM outcome('SELECT FROM f JOIN lt ON lt.response = f.response WHERE f.payload = ''x''');
SELECT * FROM outcome('SELECT FROM t JOIN f ON f.payload = t.s JOIN lt ON lt.function_name = f.response');
SELECT * FROM outcome('SELECT response FROM f WHERE payload = ''x'' UNION ALL SELECT response FROM f');
SELECT * FROM outcome('SELECT response FROM f WHERE payload = ''x'' UNION SELECT response FROM f ORDER BY 1');
SELECT * FROM outcome('WITH w AS MATERIALIZED (SELECT * FROM f) SELECT FROM f, w WHERE f.payload = ''x'' AND w.response = f.response');
SELECT * FROM outcome('SELECT x FROM f CROSS JOIN LATERAL unnest(ARRAY(SELECT response FROM lt WHERE lt.response <> f.response)) x WHERE f.payload = ''x''');
SELECT * FROM outcome('SELECT sum((SELECT count(*) FROM lt WHERE lt.response = f.response)) FROM f WHERE payload = ''x''');
SELECT * FROM outcome('SELECT FROM f WHERE payload = ''x'' LIMIT (SELECT length(response) FROM lt)');
-- Beside the function, a function that hides it, and rows that are inserted
SELECT * FROM outcome('SELECT i.payload, (SELECT response FROM lt) FROM aws_lambda.invoke(''echo'', ''1''::jsonb) i');
SELECT * FROM outcome('SELECT aws_lambda.invoke(''echo'', ''1''::jsonb), (SELECT response FROM lt WHERE response = t.s) FROM t');
SELECT * FROM outcome('SELECT asks(s), (SELECT response FROM lt WHERE response = t.s) FROM t');
SELECT * FROM outcome('INSERT INTO f (payload) SELECT t.s FROM t WHERE t.id = 1 UNION ALL SELECT response FROM lt');
SELECT * FROM outcome('INSERT INTO f (payload) VALUES (''x'') RETURNING (SELECT response FROM lt)');
SELECT * FROM outcome('INSERT INTO log SELECT 1, response FROM f WHERE payload = ''x'' RETURNING (SELECT response FROM lt)');
-- In a WITH clause that writes, which runs whether or not its rows are read
SELECT * FROM outcome('WITH x AS (INSERT INTO log SELECT 1, response FROM lt RETURNING 1) SELECT response FROM f WHERE payload = ''x''');
SELECT * FROM outcome('WITH x AS (INSERT INTO log SELECT 1, response FROM lt RETURNING 1) SELECT response FROM f WHERE payload = ''x'' UNION ALL (SELECT ''1'' FROM x LIMIT 0)');
-- In a cursor
BEGIN;
DECLARE c CURSOR FOR SELECT response, (SELECT response FROM lt b WHERE b.response = a.response) FROM f a WHERE payload IN ('x', 'y');
FETCH c;
ROLLBACK;
SELECT endpoint.made();

-- In a function's query, after the statement has invoked: the DETAIL says so.
CREATE FUNCTION asks_twice(s text) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(f.response) FROM cannot_run.f, cannot_run.lt WHERE f.payload = s); END $$;
\set SHOW_CONTEXT never
SELECT response, asks_twice(response) FROM f WHERE payload = 'x';
\set SHOW_CONTEXT errors
SELECT endpoint.made();

-- Parts that the statement may not reach raise no error.
SELECT * FROM outcome('SELECT CASE WHEN response = ''x'' THEN 1 ELSE (SELECT count(*) FROM lt) END FROM f WHERE payload = ''x''');
SELECT * FROM outcome('SELECT CASE response WHEN ''x'' THEN 1 WHEN (SELECT lt.response FROM lt WHERE lt.response = f.response) THEN 2 END FROM f WHERE payload = ''x''');
SELECT * FROM outcome('SELECT COALESCE(response, (SELECT lt.response FROM lt WHERE lt.response = f.payload)) FROM f WHERE payload = ''x''');
SELECT * FROM outcome('SELECT FROM f WHERE payload = ''x'' AND (response = ''x'' OR response = (SELECT lt.response FROM lt WHERE lt.response = f.payload))');
SELECT * FROM outcome('SELECT count((SELECT lt.response FROM lt WHERE lt.response = f.payload)) FILTER (WHERE response = ''y'') FROM f WHERE payload = ''x''');
SET enable_async_append = off;
SELECT * FROM outcome('SELECT response FROM f WHERE payload = ''x'' UNION ALL SELECT response FROM lt LIMIT 1');
SELECT * FROM outcome('SELECT response FROM f WHERE payload = ''x'' UNION ALL (SELECT response FROM lt LIMIT 0)');
RESET enable_async_append;
SELECT * FROM outcome('WITH w AS (SELECT response FROM lt) SELECT response FROM f WHERE payload = ''x''');
SELECT * FROM outcome('INSERT INTO log SELECT 1, response FROM f WHERE payload = ''x'' AND EXISTS (SELECT FROM t)');
PREPARE maybe (bool) AS SELECT response FROM f WHERE payload = 'x' UNION ALL SELECT response FROM lt WHERE $1;
SET plan_cache_mode = force_generic_plan;
EXECUTE maybe (false);
SELECT endpoint.made();
-- The statement's first parameter is not the second subquery's result.
PREPARE guarded (int) AS SELECT response, CASE WHEN response = 'y' THEN (SELECT count(*) FROM t) WHEN response = 'z' THEN (SELECT count(response) FROM lt) END
FROM f WHERE payload = 'x' AND $1 > 0;
EXECUTE guarded (1);
SELECT endpoint.made();
-- One that is asked for after others were invoked
SELECT CASE WHEN response = 'x' THEN (SELECT count(*) FROM lt) END FROM f WHERE payload = 'x';
SELECT endpoint.made();
-- A partition that is left out when the plan is run
CREATE TABLE parts (function_name text, payload text, response text) PARTITION BY LIST (payload);
CREATE TABLE part_1 PARTITION OF parts FOR VALUES IN ('here');
CREATE FOREIGN TABLE part_2 PARTITION OF parts FOR VALUES IN ('there') SERVER aws_lambda;
INSERT INTO parts VALUES ('none', 'here', 'here');
PREPARE of_part (text) AS SELECT f.response, parts.response FROM f LEFT JOIN parts ON parts.payload = $1 WHERE f.payload = 'x';
EXECUTE of_part ('here');
SELECT endpoint.made();
RESET plan_cache_mode;
-- And what is not asked for, as nothing is invoked.
SELECT * FROM outcome('SELECT (SELECT response FROM lt WHERE lt.response = t.s) FROM t WHERE t.id > 3');
SELECT * FROM outcome('SELECT FROM t JOIN f ON f.payload = t.s JOIN lt ON lt.function_name = f.response WHERE t.id > 3');

SET client_min_messages = warning;
DROP SCHEMA cannot_run CASCADE;
