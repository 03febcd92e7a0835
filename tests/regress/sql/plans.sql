-- Cached plans: prepared statements, PL/pgSQL, SQL functions, cursors, triggers.
SET client_min_messages = warning;
CREATE SCHEMA plans;
SET search_path = plans, public;
CREATE FOREIGN TABLE f (function_name text, payload text, response text, status_code int) SERVER aws_lambda;
CREATE FOREIGN TABLE j (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'echo');
RESET client_min_messages;
SELECT endpoint.reset();

-- Parameters of every kind, in custom and generic plans; a null one invokes nothing with =
PREPARE one (text, text) AS SELECT payload, response FROM f WHERE function_name = $1 AND payload = $2;
PREPARE maybe (text) AS SELECT payload, response FROM f WHERE function_name = 'echo' AND payload IS NOT DISTINCT FROM $1;
PREPARE list (text[]) AS SELECT payload, response FROM f WHERE function_name = 'echo' AND payload = ANY ($1);
PREPARE of_varchar (varchar) AS SELECT payload, response FROM f WHERE function_name = 'echo' AND payload = $1;
PREPARE of_jsonb (jsonb) AS SELECT response FROM j WHERE payload = $1;
PREPARE of_int (int) AS SELECT response FROM j WHERE payload = to_jsonb($1) AND response = to_jsonb($1);
SET plan_cache_mode = force_custom_plan;
EXECUTE one('echo', 'x');
EXECUTE one('echo', NULL);
EXECUTE maybe(NULL);
EXECUTE list('{a,b}');
EXECUTE list(NULL);
EXECUTE of_varchar('v');
EXECUTE of_varchar(NULL);
EXECUTE of_jsonb('{"n": 1.10}');
EXECUTE of_int(7);
SELECT endpoint.made();
SET plan_cache_mode = force_generic_plan;
EXECUTE one('echo', 'x');
EXECUTE one('echo', NULL);
EXECUTE maybe(NULL);
EXECUTE list('{a,b}');
EXECUTE list(NULL);
EXECUTE of_varchar('v');
EXECUTE of_varchar(NULL);
EXECUTE of_jsonb('{"n": 1.10}');
EXECUTE of_int(7);
SELECT endpoint.made();
EXPLAIN (COSTS OFF) EXECUTE one('echo', 'x');
EXPLAIN (COSTS OFF) EXECUTE list('{a,b}');
RESET plan_cache_mode;

-- A thousand times over, with errors among them
CREATE FUNCTION a_thousand_times() RETURNS TABLE (right_ int, wrong int, failed int) LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    right_ := 0; wrong := 0; failed := 0;
    FOR i IN 1..1000 LOOP
        BEGIN
            SELECT response INTO STRICT answer FROM f
            WHERE function_name = CASE WHEN i % 10 = 0 THEN 'unhandled' ELSE 'echo' END AND payload = 'number ' || i;
            IF answer = 'number ' || i THEN right_ := right_ + 1; ELSE wrong := wrong + 1; END IF;
        EXCEPTION WHEN external_routine_exception THEN
            failed := failed + 1;
        END;
    END LOOP;
    RETURN NEXT;
END $$;
SELECT * FROM a_thousand_times();
SELECT endpoint.made();

CREATE FUNCTION echoed(text) RETURNS text LANGUAGE sql AS
    $$ SELECT response FROM f WHERE function_name = 'echo' AND payload = $1 $$;
SELECT count(*) FILTER (WHERE echoed('s' || i) = 's' || i) FROM generate_series(1, 1000) i;
SELECT endpoint.made();
-- A set-returning SQL function is inlined and takes its argument from the outer row.
CREATE FUNCTION echoes(text) RETURNS SETOF text LANGUAGE sql STABLE AS
    $$ SELECT response FROM f WHERE function_name = 'echo' AND payload = $1 $$;
SELECT i, e FROM generate_series(1, 3) i, echoes('set ' || i) e;
SELECT endpoint.made();

-- FOR loops and cursors
DO $$
DECLARE
    r record;
    c CURSOR (p text) FOR SELECT response FROM f WHERE function_name = 'echo' AND payload = p;
BEGIN
    FOR n IN 1..2 LOOP
        FOR r IN SELECT payload, response FROM f WHERE function_name = 'echo' AND payload IN ('l1', 'l' || n + 1) LOOP
            RAISE NOTICE '% %', n, r;
        END LOOP;
        FOR r IN c('c' || n) LOOP
            RAISE NOTICE '% %', n, r;
        END LOOP;
    END LOOP;
END $$;
SELECT endpoint.made();

-- The loop is left before the list is through.
DO $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT response FROM f WHERE function_name = 'echo' AND payload = ANY (ARRAY(SELECT 'n' || i FROM generate_series(1, 200) i)) LOOP
        EXIT WHEN r.response = 'n3';
    END LOOP;
END $$;
SELECT endpoint.made() BETWEEN 3 AND 50 AS not_all;

-- A plan outlives a change of the table's options.
PREPARE kept AS SELECT response FROM j WHERE payload = '"kept"';
EXECUTE kept;
ALTER FOREIGN TABLE j OPTIONS (SET function_name 'describe');
SELECT response->>'function' AS function FROM j WHERE payload = '"kept"';
EXECUTE kept \gset
SELECT :'response'::jsonb->>'function' AS function;
SELECT endpoint.made();

-- Whole rows, tableoid, casts to the row's type
SELECT f FROM f WHERE function_name = 'echo' AND payload = 'whole';
SELECT f.tableoid::regclass, to_jsonb(f) FROM f WHERE function_name = 'echo' AND payload = 'whole';
SELECT endpoint.made();

-- Savepoints
BEGIN;
SAVEPOINT s;
SELECT * FROM f WHERE function_name = 'unhandled' AND payload = 'x';
ROLLBACK TO s;
SELECT * FROM f WHERE function_name = 'echo' AND payload = 'x';
COMMIT;
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA plans CASCADE;
