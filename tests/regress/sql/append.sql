-- The branches of an Append run concurrently: UNION ALL, inheritance, partitions.
SET client_min_messages = warning;
CREATE SCHEMA appends;
SET search_path = appends, public;
CREATE FOREIGN TABLE a (payload text, response text, status_code int) SERVER aws_lambda OPTIONS (function_name 'accept-40');
CREATE FOREIGN TABLE b (payload text, response text, status_code int) SERVER aws_lambda OPTIONS (function_name 'accept-41');
CREATE FOREIGN TABLE alone (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'accept-42', async_capable 'false');
CREATE FOREIGN TABLE mock (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'mock');
CREATE TABLE t AS SELECT i AS id, i::text AS s FROM generate_series(1, 3) i;
ANALYZE t;
CREATE VIEW pair AS SELECT payload, response FROM a UNION ALL SELECT payload, response FROM b;
-- The invocations by function, and the most in flight, followed by a reset.
CREATE FUNCTION arrived(OUT a bigint, OUT b bigint, OUT others bigint, OUT most_in_flight int) LANGUAGE plpgsql AS $$
BEGIN
    most_in_flight := endpoint.counter('most_in_flight');
    SELECT count(*) FILTER (WHERE function = 'accept-40'), count(*) FILTER (WHERE function = 'accept-41'),
        count(*) FILTER (WHERE function NOT IN ('accept-40', 'accept-41')) INTO a, b, others FROM endpoint.invocations();
    PERFORM endpoint.reset();
END $$;
RESET client_min_messages;
SELECT endpoint.reset();

-- All branches at once
EXPLAIN (COSTS OFF) SELECT response FROM a WHERE payload IN ('1', '2', '3') UNION ALL SELECT response FROM b WHERE payload IN ('4', '5');
SELECT response FROM a WHERE payload IN ('1', '2', '3') UNION ALL SELECT response FROM b WHERE payload IN ('4', '5') ORDER BY 1;
SELECT * FROM arrived();
SELECT * FROM endpoint.explain($$SELECT response FROM a WHERE payload IN ('1', '2', '3') UNION ALL SELECT response FROM b WHERE payload IN ('4', '5')$$, 'ANALYZE');
SELECT * FROM arrived();
EXPLAIN (COSTS OFF) SELECT * FROM pair WHERE payload IN ('1', '2');
SELECT payload, count(*), min(response), max(response) FROM pair WHERE payload IN ('1', '2') GROUP BY 1 ORDER BY 1;
SELECT * FROM arrived();
SELECT count(*) FROM pair WHERE payload IN ('1', '2');
SELECT * FROM arrived();
SELECT response FROM a WHERE payload = '1' UNION SELECT response FROM b WHERE payload IN ('1', '2') ORDER BY 1;
SELECT * FROM arrived();
-- Each table keeps to its own limit.
ALTER FOREIGN TABLE a OPTIONS (ADD max_concurrency '2');
SELECT count(response) FROM (SELECT response FROM a WHERE payload IN ('1', '2', '3', '4') UNION ALL SELECT response FROM b WHERE payload IN ('5', '6', '7')) x;
SELECT * FROM arrived();
ALTER FOREIGN TABLE a OPTIONS (DROP max_concurrency);
-- More branches than the executor waits for at once
CREATE FOREIGN TABLE slow (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'accept-200');
SELECT string_agg(format('SELECT response FROM slow WHERE payload = %L', n), ' UNION ALL ') AS branches FROM generate_series(1, 30) n \gset
\set ECHO none
SELECT count(*), sum(response::int) FROM (:branches) x;
\set ECHO all
SELECT * FROM arrived();

-- Not where it is switched off, for all or for one
SET enable_async_append = off;
EXPLAIN (COSTS OFF) SELECT * FROM pair WHERE payload = '1';
SELECT response FROM pair WHERE payload IN ('1', '2') ORDER BY 1;
SELECT * FROM arrived();
RESET enable_async_append;
EXPLAIN (COSTS OFF) SELECT response FROM a WHERE payload = '1' UNION ALL SELECT response FROM alone WHERE payload = '2';
SELECT response FROM a WHERE payload = '1' UNION ALL SELECT response FROM alone WHERE payload IN ('2', '3') ORDER BY 1;
SELECT a, b, others FROM arrived();
CREATE SERVER one_by_one FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (async_capable 'false');
CREATE FOREIGN TABLE of_server (payload text, response text) SERVER one_by_one OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE of_its_own (payload text, response text) SERVER one_by_one OPTIONS (function_name 'echo', async_capable 'true');
EXPLAIN (COSTS OFF) SELECT response FROM of_server WHERE payload = '1' UNION ALL SELECT response FROM of_its_own WHERE payload = '2';
-- A changed option counts for a plan that is kept.
SET plan_cache_mode = force_generic_plan;
PREPARE q (text) AS SELECT response FROM of_server WHERE payload = $1 UNION ALL SELECT response FROM of_its_own WHERE payload = $1;
EXECUTE q ('1');
ALTER FOREIGN TABLE of_its_own OPTIONS (SET async_capable 'false');
EXPLAIN (COSTS OFF) EXECUTE q ('2');
ALTER SERVER one_by_one OPTIONS (SET async_capable 'true');
EXPLAIN (COSTS OFF) EXECUTE q ('3');
EXECUTE q ('4');
EXECUTE q (NULL);
DEALLOCATE q;
RESET plan_cache_mode;
SELECT endpoint.made();

-- With ordinary tables
SELECT response FROM a WHERE payload IN ('x', 'y') UNION ALL SELECT s FROM t UNION ALL SELECT response FROM b WHERE payload = 'z' ORDER BY 1;
SELECT * FROM arrived();

-- A LIMIT, an EXISTS: one branch after the other, and at first no more than is asked for
SELECT response FROM a WHERE payload IN ('1', '2', '3') UNION ALL SELECT response FROM b WHERE payload IN ('4', '5', '6') LIMIT 1;
SELECT * FROM arrived();
SELECT response FROM a WHERE payload IN ('1', '2', '3') UNION ALL SELECT response FROM b WHERE payload IN ('4', '5', '6') LIMIT 3;
SELECT * FROM arrived();
SELECT response FROM a WHERE payload = '1' UNION ALL SELECT response FROM b WHERE payload IN ('4', '5') LIMIT 2;
SELECT * FROM arrived();
SELECT response FROM a WHERE payload = '1' AND response <> '1' UNION ALL SELECT response FROM b WHERE payload IN ('4', '5') LIMIT 1;
SELECT * FROM arrived();
SELECT count(*) FROM (SELECT response FROM pair WHERE payload = '1' LIMIT 9) x;
SELECT * FROM arrived();
SELECT 1 AS one WHERE EXISTS (SELECT response FROM a WHERE payload IN ('1', '2') UNION ALL SELECT response FROM b WHERE payload IN ('4', '5'));
SELECT * FROM arrived();
SELECT response FROM pair WHERE payload = '1' LIMIT 0;
SELECT * FROM arrived();
-- A sort asks for all.
SELECT response FROM a WHERE payload IN ('1', '2', '3') UNION ALL SELECT response FROM b WHERE payload IN ('4', '5', '6') ORDER BY 1 DESC LIMIT 1;
SELECT * FROM arrived();

-- Filters on output columns, which leave some, none or all
SELECT response FROM a WHERE payload IN ('1', '2', '3') AND response > '2' UNION ALL SELECT response FROM b WHERE payload IN ('4', '5') AND status_code = 200 ORDER BY 1;
SELECT * FROM arrived();
SELECT response FROM a WHERE payload IN ('1', '2', '3') AND response > '8' UNION ALL SELECT response FROM b WHERE payload IN ('4', '5') AND status_code = 202;
SELECT * FROM arrived();
SELECT * FROM pair WHERE payload IN ('1', '2') AND response = '2';
SELECT * FROM arrived();

-- No values, and none that are known
SELECT response FROM a WHERE payload = (SELECT NULL::text) UNION ALL SELECT response FROM b WHERE payload = ANY (ARRAY(SELECT s FROM t WHERE id > 3));
SELECT response FROM a WHERE payload = (SELECT NULL::text) UNION ALL SELECT response FROM b WHERE payload = ANY (ARRAY(SELECT s FROM t WHERE id > 1)) ORDER BY 1;
SELECT * FROM arrived();
SELECT * FROM pair;
SELECT a, b FROM arrived();

-- Rescans: without new values rows are read again, with new ones invoked.
SET enable_material = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
EXPLAIN (COSTS OFF) SELECT t.id, x.response FROM t LEFT JOIN (SELECT response FROM a WHERE payload IN ('1', '2') UNION ALL SELECT response FROM b WHERE payload = '3') x ON x.response <= t.s;
SELECT t.id, x.response FROM t LEFT JOIN (SELECT response FROM a WHERE payload IN ('1', '2') UNION ALL SELECT response FROM b WHERE payload = '3') x ON x.response <= t.s ORDER BY 1, 2;
SELECT * FROM arrived();
SELECT t.id FROM t WHERE EXISTS (SELECT FROM (SELECT response FROM a WHERE payload IN ('1', '2') UNION ALL SELECT response FROM b WHERE payload = '3') x WHERE x.response > t.s OFFSET 0) ORDER BY 1;
SELECT a <= 2 AND b <= 1 AS at_most_once FROM arrived();
RESET enable_material;
RESET enable_hashjoin;
RESET enable_mergejoin;
EXPLAIN (COSTS OFF) SELECT t.id, pair.response FROM t JOIN pair ON pair.payload = t.s;
SELECT t.id, pair.response FROM t JOIN pair ON pair.payload = t.s ORDER BY 1;
SELECT * FROM arrived();
SELECT t.id, l.response FROM t LEFT JOIN LATERAL (SELECT * FROM pair WHERE payload = t.s AND response <> '2' OFFSET 0) l ON true ORDER BY 1;
SELECT * FROM arrived();
SELECT t.id, (SELECT string_agg(response, '-') FROM pair WHERE payload = t.s) FROM t ORDER BY 1;
SELECT a, b FROM arrived();
-- A row of branches is the outer row of branches.
SELECT x.response, y.response FROM pair x JOIN pair y ON y.payload = x.response || '0' WHERE x.payload IN ('1', '2') ORDER BY 1, 2;
-- A branch that is read may invoke for its row while others are in flight.
SELECT a, b FROM arrived();
WITH c AS MATERIALIZED (SELECT * FROM pair WHERE payload = '1') SELECT count(*) FROM c, c d;
SELECT a, b FROM arrived();
WITH RECURSIVE r AS (SELECT '1' AS s UNION ALL SELECT r.s || x.response FROM r JOIN pair x ON x.payload = r.s WHERE length(r.s) < 4)
    SELECT s, count(*) FROM r GROUP BY 1 ORDER BY 1;
SELECT a, b FROM arrived();

-- Cursors
BEGIN;
DECLARE c CURSOR FOR SELECT response FROM a WHERE payload IN ('1', '2', '3') UNION ALL SELECT response FROM b WHERE payload IN ('4', '5');
SELECT endpoint.count();
FETCH 1 FROM c;
SELECT endpoint.count();
FETCH 1 FROM c;
MOVE ALL FROM c;
\echo :ROW_COUNT
FETCH 1 FROM c;
SELECT a, b FROM arrived();
DECLARE s SCROLL CURSOR FOR SELECT response FROM a WHERE payload IN ('1', '2') UNION ALL SELECT response FROM b WHERE payload = '3';
FETCH 2 FROM s;
FETCH BACKWARD 1 FROM s;
FETCH ALL FROM s;
FETCH ABSOLUTE 1 FROM s;
SELECT a, b FROM arrived();
DECLARE left_open CURSOR FOR SELECT response FROM a WHERE payload IN ('1', '2', '3') UNION ALL SELECT response FROM b WHERE payload IN ('4', '5');
FETCH 1 FROM left_open;
DECLARE other CURSOR FOR SELECT response FROM b WHERE payload IN ('6', '7') UNION ALL SELECT response FROM b WHERE payload = '8';
FETCH 1 FROM other;
FETCH 1 FROM left_open;
MOVE ALL FROM other;
\echo :ROW_COUNT
MOVE ALL FROM left_open;
\echo :ROW_COUNT
COMMIT;
SELECT a, b FROM arrived();
DECLARE held CURSOR WITH HOLD FOR SELECT response FROM a WHERE payload IN ('1', '2') UNION ALL SELECT response FROM b WHERE payload = '3';
SELECT * FROM arrived();
MOVE ALL FROM held;
\echo :ROW_COUNT
CLOSE held;
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT response FROM a WHERE payload IN ('1', '2') UNION ALL SELECT response FROM b WHERE payload = '3' LOOP
        RAISE INFO '%', one;
    END LOOP;
END $$;
SELECT a, b FROM arrived();

-- Failures
SELECT response FROM a WHERE payload IN ('1', '2', '3') UNION ALL SELECT response FROM mock WHERE payload = '{"as": "handled", "ms": 100}';
SELECT * FROM arrived();
SELECT response FROM a WHERE payload IN ('1', '2') UNION ALL SELECT response FROM mock WHERE payload = '{"as": "handled"}' LIMIT 1;
SELECT * FROM arrived();
SELECT 1 / (length(response) - 1) FROM a WHERE payload IN ('1', '22', '333') UNION ALL SELECT 0 FROM b WHERE payload = '1';
SELECT a <= 3 AND b <= 1 AS at_most_once FROM arrived();
CREATE FOREIGN TABLE returned (payload text, response text, error_code text) SERVER aws_lambda OPTIONS (function_name 'mock', on_error 'return');
SELECT payload, error_code FROM returned WHERE payload IN ('{"as": "handled", "ms": 60}', '{"as": "error-403-AccessDeniedException"}')
    UNION ALL SELECT payload, response FROM a WHERE payload IN ('1', '2') ORDER BY 1;
SELECT a, b, others FROM arrived();
SET aws_lambda.request_timeout_ms = 150;
SELECT response FROM a WHERE payload = '1' UNION ALL SELECT response FROM mock WHERE payload = '{"as": "hang"}';
RESET aws_lambda.request_timeout_ms;
SELECT * FROM arrived();
-- A statement that takes too long, and one after it
SET statement_timeout = 150;
SELECT response FROM a WHERE payload IN ('1', '2') UNION ALL SELECT response FROM mock WHERE payload IN ('{"as": "hang"}', '"other"');
RESET statement_timeout;
SELECT a, b, others FROM arrived();
SELECT response FROM pair WHERE payload = '1';
SELECT * FROM arrived();

-- The limits of a statement are those of all branches.
SET aws_lambda.max_invocations = 4;
SELECT response FROM a WHERE payload IN ('1', '2', '3') UNION ALL SELECT response FROM b WHERE payload = '4' ORDER BY 1;
SELECT * FROM arrived();
\set VERBOSITY sqlstate
SELECT response FROM a WHERE payload IN ('1', '2', '3') UNION ALL SELECT response FROM b WHERE payload IN ('4', '5') ORDER BY 1;
\set VERBOSITY default
SELECT a + b <= 4 AS within FROM arrived();
RESET aws_lambda.max_invocations;

-- Inheritance, and partitions of which some are pruned
CREATE TABLE parent (payload text, response text);
CREATE FOREIGN TABLE child_a () INHERITS (parent) SERVER aws_lambda OPTIONS (function_name 'accept-40');
CREATE FOREIGN TABLE child_b (status_code int) INHERITS (parent) SERVER aws_lambda OPTIONS (function_name 'accept-41');
INSERT INTO parent VALUES ('1', 'own'), ('3', 'other');
EXPLAIN (COSTS OFF) SELECT tableoid::regclass, * FROM parent WHERE payload IN ('1', '2');
SELECT tableoid::regclass, * FROM parent WHERE payload IN ('1', '2') ORDER BY 1, 2;
SELECT * FROM arrived();
SELECT * FROM ONLY parent WHERE payload = '1';
SELECT t.id, parent.response FROM t JOIN parent ON parent.payload = t.s ORDER BY 1, 2;
SELECT * FROM arrived();
CREATE TABLE p (function_name text, payload text, response text) PARTITION BY LIST (function_name);
CREATE FOREIGN TABLE p_a PARTITION OF p FOR VALUES IN ('accept-40') SERVER aws_lambda;
CREATE FOREIGN TABLE p_b PARTITION OF p FOR VALUES IN ('accept-41') SERVER aws_lambda;
CREATE TABLE p_here PARTITION OF p FOR VALUES IN ('here');
INSERT INTO p VALUES ('here', '1', 'own');
SELECT tableoid::regclass, * FROM p WHERE function_name = 'accept-40' AND payload IN ('1', '2') ORDER BY 3;
SELECT * FROM arrived();
SET plan_cache_mode = force_generic_plan;
PREPARE q (text, text) AS SELECT tableoid::regclass, response FROM p WHERE function_name = $1 AND payload = $2;
EXECUTE q ('accept-40', '1');
EXECUTE q ('accept-41', '1');
EXECUTE q ('here', '1');
SELECT * FROM arrived();
DEALLOCATE q;
RESET plan_cache_mode;

-- Into another table, and into a branch of the query
CREATE TABLE kept AS SELECT response FROM a WHERE payload IN ('1', '2') UNION ALL SELECT response FROM b WHERE payload = '3';
INSERT INTO kept SELECT response || '0' FROM pair WHERE payload = '1';
SELECT * FROM kept ORDER BY 1;
SELECT * FROM arrived();
INSERT INTO a (payload) SELECT response || '0' FROM pair WHERE payload IN ('1', '2');
SELECT a, b, others FROM arrived();

SET client_min_messages = warning;
DROP SCHEMA appends CASCADE;
DROP SERVER one_by_one CASCADE;
