-- EXPLAIN (SERIALIZE) and EXPLAIN (MEMORY), of PostgreSQL 17 and later: with ANALYZE one invocation for each row, without it none.
SELECT current_setting('server_version_num')::int < 170000 AS skip \gset
\if :skip
\quit
\endif
SET client_min_messages = warning;
CREATE SCHEMA explains_17;
SET search_path = explains_17, public;
CREATE FOREIGN TABLE f (payload text, response text, status_code int) SERVER aws_lambda OPTIONS (function_name 'accept-10');
CREATE FOREIGN TABLE g (payload text, response text, invocation_type text)
    SERVER aws_lambda OPTIONS (function_name 'accept-10', invocation_type 'RequestResponse');
CREATE TABLE t (id int, s text);
INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL), (4, 'a');
ANALYZE t;
-- The lines that match
CREATE FUNCTION lines(options text, statement text, pattern text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE format('EXPLAIN (%s, COSTS OFF, SUMMARY OFF) %s', options, statement) LOOP
        IF line ~ pattern THEN
            RETURN NEXT trim(line);
        END IF;
    END LOOP;
END $$;
RESET client_min_messages;
SELECT endpoint.reset();

SELECT * FROM lines('ANALYZE, TIMING OFF, SERIALIZE', 'SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s', 'Invocations|Serialization');
SELECT endpoint.made();
SELECT * FROM lines('ANALYZE, TIMING OFF, SERIALIZE BINARY', 'SELECT response FROM f WHERE payload IN (''x'', ''y'')', 'Invocations|Serialization');
SELECT endpoint.made();
SELECT * FROM lines('ANALYZE, TIMING OFF, SERIALIZE NONE', 'SELECT response FROM f WHERE payload = ''x''', 'Invocations|Serialization');
SELECT endpoint.made();
SELECT * FROM lines('ANALYZE, TIMING OFF, SERIALIZE', 'INSERT INTO g (payload) SELECT s FROM t RETURNING response', 'Invocations|Serialization');
SELECT endpoint.made();
-- With the times, of which it can't be said what they are
SELECT count(*) FROM lines('ANALYZE, SERIALIZE', 'SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s', 'Invocations: 3|Time Waited|Serialization: time');
SELECT endpoint.made();
-- Memory is that of the planner.
SELECT count(*) FROM lines('MEMORY', 'SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s', 'Memory: used');
SELECT count(*) FROM lines('MEMORY, GENERIC_PLAN', 'SELECT f.response FROM f WHERE f.payload = $1', 'Memory: used|Bound: payload = \$1');
SELECT endpoint.made();
SELECT count(*) FROM lines('ANALYZE, MEMORY, SERIALIZE', 'SELECT f.response FROM f WHERE f.payload = ''x''', 'Memory: used|Invocations: 1');
SELECT endpoint.made();
EXPLAIN (SERIALIZE) SELECT response FROM f WHERE payload = 'x';
SELECT endpoint.made();
-- An invocation in what is written out
SELECT * FROM lines('ANALYZE, TIMING OFF, SERIALIZE', 'SELECT id, (SELECT response FROM f WHERE payload = t.s) FROM t', 'Invocations|Serialization');
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA explains_17 CASCADE;
