-- Joins with invocations in the loops of PL/pgSQL, whose bodies change what is read, invoke, fail or leave early.
SET client_min_messages = warning;
CREATE SCHEMA loops;
SET search_path = loops, public;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'accept-10');
CREATE FOREIGN TABLE mock (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'mock');
CREATE TABLE t (id int PRIMARY KEY, s text, n int DEFAULT 0);
INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 40) i;
ANALYZE t;
-- In the order of id, since an updated table may be read in any
CREATE VIEW joined AS SELECT t.id, f.response FROM (SELECT id, s FROM t ORDER BY id OFFSET 0) t JOIN f ON f.payload = t.s;
RESET client_min_messages;
SELECT endpoint.reset();

-- A FOR loop that updates what it reads, through to the end: the query sees the table as it was.
DO $$
DECLARE
    r record;
    wrong int := 0;
BEGIN
    FOR r IN SELECT * FROM joined LOOP
        UPDATE t SET s = s || '.', n = n + 1 WHERE id >= r.id;
        IF r.response <> 'v' || r.id THEN wrong := wrong + 1; END IF;
    END LOOP;
    RAISE NOTICE '% wrong', wrong;
END $$;
SELECT count(*) FILTER (WHERE n = id AND s = 'v' || id || repeat('.', id)) FROM t;
SELECT endpoint.made();
UPDATE t SET s = 'v' || id, n = 0;
-- One that is left early: a function's loop fetches 10 rows at first, that of a DO fetches row by row.
CREATE FUNCTION left_early() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT * FROM joined LOOP
        UPDATE t SET n = r.id WHERE id = r.id;
        EXIT WHEN r.id = 3;
    END LOOP;
END $$;
SELECT left_early();
SELECT endpoint.made(), count(*) FILTER (WHERE n > 0) FROM t;
DO $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT * FROM joined LOOP
        UPDATE t SET n = 0 WHERE id = r.id;
        EXIT WHEN r.id = 3;
    END LOOP;
END $$;
SELECT endpoint.made() BETWEEN 3 AND 6 AS some_ahead, count(*) FILTER (WHERE n > 0) FROM t;
-- In a loop in a loop, over bound and unbound cursors, and with a query made at run time
DO $$
DECLARE
    few CURSOR (most int) FOR SELECT * FROM joined WHERE id <= most;
    any_ refcursor;
    r record;
    q record;
    seen text := '';
BEGIN
    FOR r IN few(3) LOOP
        FOR q IN EXECUTE 'SELECT id, response FROM joined WHERE id > $1 AND id <= 3' USING r.id LOOP
            seen := seen || format('%s<%s ', r.response, q.response);
        END LOOP;
    END LOOP;
    OPEN any_ FOR SELECT * FROM joined;
    FETCH any_ INTO r;
    MOVE RELATIVE 2 FROM any_;
    FETCH any_ INTO q;
    CLOSE any_;
    RAISE NOTICE '%and % %', seen, r, q;
END $$;
-- 3 of the outer loop and 2 + 1 of the inner one; then 4 that were fetched row by row, with up to 7 ahead
SELECT endpoint.made() BETWEEN 6 + 4 AND 6 + 4 + 7 AS some_ahead;
-- A transaction that ends in the loop keeps the rest of it.
CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT * FROM joined WHERE id <= 20 LOOP
        UPDATE t SET n = -1 WHERE id = r.id;
        COMMIT;
        EXIT WHEN r.id = 15;
    END LOOP;
END $$;
CALL commits();
SELECT endpoint.made(), count(*) FILTER (WHERE n = -1) FROM t;

-- Blocks with EXCEPTION in a loop: an outer row that can't be computed, an invocation that fails, a row that can't be stored
CREATE TABLE failing (id int, payload jsonb);
INSERT INTO failing SELECT i, jsonb_build_object('id', i, 'as', CASE WHEN i = 10 THEN 'unhandled' ELSE 'echo' END) FROM generate_series(1, 20) i;
CREATE TABLE stored (id int CHECK (id < 6));
CREATE FUNCTION failures(times int) RETURNS TABLE (computing int, invoking int, storing int) LANGUAGE plpgsql AS $$
BEGIN
    computing := 0; invoking := 0; storing := 0;
    FOR i IN 1..times LOOP
        BEGIN
            PERFORM FROM (SELECT payload || to_jsonb(1 / (id - 5)) AS payload FROM failing) x JOIN mock l ON l.payload = x.payload;
        EXCEPTION WHEN division_by_zero THEN
            computing := computing + 1;
        END;
        BEGIN
            PERFORM FROM failing JOIN mock USING (payload);
        EXCEPTION WHEN external_routine_exception THEN
            invoking := invoking + 1;
        END;
        BEGIN
            INSERT INTO stored SELECT (response ->> 'id')::int FROM failing JOIN mock USING (payload) WHERE id < 10;
        EXCEPTION WHEN check_violation THEN
            storing := storing + 1;
        END;
    END LOOP;
    RETURN NEXT;
END $$;
SELECT * FROM failures(20);
-- The first has 4 rows before the one that fails, the second 10 of 20 with it, the third 6 of 9.
SELECT endpoint.made() BETWEEN 20 * (0 + 10 + 6) AND 20 * (4 + 20 + 9) AS no_more;
-- Nothing of them is left behind.
SELECT count(*), count(DISTINCT response) FROM joined;
SELECT endpoint.made();
-- An error in a loop's body does not affect the invocations in flight of the loop.
CREATE FUNCTION failing_bodies() RETURNS TABLE (went_well int, divided int, invoked int) LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    went_well := 0; divided := 0; invoked := 0;
    FOR r IN SELECT * FROM joined LOOP
        BEGIN
            PERFORM FROM mock WHERE payload = jsonb_build_object('as', CASE WHEN r.id % 4 = 0 THEN 'handled' ELSE 'echo' END);
            PERFORM 1 / (r.id % 2);
            went_well := went_well + 1;
        EXCEPTION WHEN division_by_zero THEN
            divided := divided + 1;
        WHEN external_routine_exception THEN
            invoked := invoked + 1;
        END;
    END LOOP;
    RETURN NEXT;
END $$;
SELECT * FROM failing_bodies();
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA loops CASCADE;
