-- Lists: up to max_concurrency invocations in flight, rows in the order of the list, no more than what is wanted.
SET client_min_messages = warning;
CREATE SCHEMA lists;
SET search_path = lists, public;
CREATE FOREIGN TABLE f (payload text, response text)
    SERVER aws_lambda OPTIONS (function_name 'accept-30', max_concurrency '8');
CREATE FOREIGN TABLE mock (payload jsonb, response jsonb)
    SERVER aws_lambda OPTIONS (function_name 'mock', max_concurrency '8');
CREATE FUNCTION payloads(n int) RETURNS text[] IMMUTABLE LANGUAGE sql AS
    $$ SELECT array_agg('p' || i ORDER BY i) FROM generate_series(1, n) i $$;
-- A list of which the first ones take their time and the others do not
CREATE FUNCTION late(n int, late int DEFAULT 1, fields jsonb DEFAULT '{}') RETURNS jsonb[] IMMUTABLE LANGUAGE sql AS
    $$ SELECT array_agg(fields || jsonb_build_object('n', i, 'ms', CASE WHEN i <= late THEN 200 ELSE 0 END) ORDER BY i)
       FROM generate_series(1, n) i $$;
RESET client_min_messages;
SELECT endpoint.reset();

-- The order is the list's, and not that in which the answers come.
SELECT response->'n' AS n FROM mock WHERE payload IN
    ('{"n": 1, "ms": 90}', '{"n": 2, "ms": 60}', '{"n": 3, "ms": 0}', '{"n": 4, "ms": 30}', '{"n": 5, "ms": 0}');
SELECT invocations FROM endpoint.counted();
SELECT array_agg(response->'n') AS n FROM mock WHERE payload = ANY
    (ARRAY(SELECT jsonb_build_object('n', i, 'ms', i * 37 % 50) FROM generate_series(1, 20) i));
SELECT invocations, most <= 8 AS most FROM endpoint.counted();
-- A value that is there twice counts where it is first, and a null nowhere.
SELECT response FROM f WHERE payload = ANY ('{b,a,b,NULL,c,a}');
SELECT * FROM endpoint.counted();
SELECT response FROM f WHERE payload IN ('d', 'c', 'b', 'a') AND payload IN ('a', 'x', 'c', 'd');
SELECT * FROM endpoint.counted();

-- A product: for each function all payloads; events, which have no response, beside calls that have one
SELECT function_name, payload, response FROM aws_lambda.lambda_invocations
WHERE function_name IN ('accept-60', 'accept-30', 'accept-40') AND payload IN ('2', '1');
SELECT * FROM endpoint.counted();
SELECT count(*), count(response) FROM aws_lambda.lambda_invocations
WHERE function_name = 'accept-30' AND invocation_type IN ('Event', 'RequestResponse') AND payload IN ('1', '2');
SELECT * FROM endpoint.counted();

-- Most in flight: the table's option comes before the server's, that before the setting, and the default is 64.
CREATE SERVER lists_server FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (max_concurrency '3');
CREATE FOREIGN TABLE s (payload text, response text)
    SERVER lists_server OPTIONS (function_name 'accept-30', max_concurrency '4');
SET aws_lambda.max_concurrency = 2;
SELECT count(*) FROM s WHERE payload = ANY (payloads(5));
SELECT * FROM endpoint.counted();
ALTER FOREIGN TABLE s OPTIONS (DROP max_concurrency);
SELECT count(*) FROM s WHERE payload = ANY (payloads(5));
SELECT * FROM endpoint.counted();
ALTER SERVER lists_server OPTIONS (DROP max_concurrency);
SELECT count(*) FROM s WHERE payload = ANY (payloads(5));
SELECT * FROM endpoint.counted();
RESET aws_lambda.max_concurrency;
ALTER FOREIGN TABLE mock OPTIONS (DROP max_concurrency);
SELECT count(*) FROM mock WHERE payload = ANY (late(70, 64));
SELECT invocations, most BETWEEN 33 AND 64 AS most FROM endpoint.counted();
-- One at a time, in the order of the list
SET aws_lambda.max_concurrency = 1;
ALTER FOREIGN TABLE s OPTIONS (SET function_name 'accept-20');
SELECT response FROM s WHERE payload IN ('c', 'a', 'b');
SELECT payload FROM endpoint.invocations();
SELECT * FROM endpoint.counted();
RESET aws_lambda.max_concurrency;

-- A late one at the head does not keep others from going on: four times max_concurrency are there or on their way.
ALTER FOREIGN TABLE mock OPTIONS (ADD max_concurrency '2');
SELECT CASE payload->'n' WHEN '1' THEN endpoint.count() END AS invocations_then FROM mock
WHERE payload = ANY (late(10));
SELECT * FROM endpoint.counted();
-- The memory for that is limited: here by what two of them return.
SET aws_lambda.max_memory = '128kB';
SELECT CASE payload->'n' WHEN '1' THEN endpoint.count() END AS invocations_then, length(response::text) FROM mock
WHERE payload = ANY (late(5, 1, '{"as": "size-50000"}'));
SELECT * FROM endpoint.counted();
RESET aws_lambda.max_memory;
ALTER FOREIGN TABLE mock OPTIONS (SET max_concurrency '8');

-- All of it, at once, where all of it is wanted
SELECT count(*) FROM f WHERE payload = ANY (payloads(6));
SELECT * FROM endpoint.counted();
SELECT response FROM f WHERE payload = ANY (payloads(6)) ORDER BY 1 DESC LIMIT 1;
SELECT * FROM endpoint.counted();
CREATE TABLE kept AS SELECT * FROM f WHERE payload = ANY (payloads(6));
SELECT * FROM endpoint.counted();
INSERT INTO kept SELECT * FROM f WHERE payload = ANY (payloads(6));
SELECT * FROM endpoint.counted();
COPY (SELECT response FROM f WHERE payload = ANY (payloads(6))) TO STDOUT;
SELECT * FROM endpoint.counted();
SELECT response FROM f WHERE payload = ANY (payloads(6)) LIMIT ALL;
SELECT * FROM endpoint.counted();

-- LIMIT
SELECT response FROM f WHERE payload = ANY (payloads(6)) LIMIT 0;
SELECT * FROM endpoint.counted();
SELECT response FROM f WHERE payload = ANY (payloads(6)) LIMIT 3;
SELECT * FROM endpoint.counted();
SELECT response FROM f WHERE payload = ANY (payloads(6)) LIMIT 1 OFFSET 2;
SELECT * FROM endpoint.counted();
SELECT response FROM f WHERE payload = ANY (payloads(6)) LIMIT (SELECT 2);
SELECT * FROM endpoint.counted();
SELECT count(*) FROM (SELECT response FROM f WHERE payload = ANY (payloads(6)) LIMIT 3) l;
SELECT * FROM endpoint.counted();
SELECT response->'n' AS n FROM mock WHERE payload = ANY (late(40)) LIMIT 3;
SELECT invocations FROM endpoint.counted();
-- If a filter drops a row, one more is started, and then twice as many each time.
SELECT response FROM f WHERE payload = ANY (payloads(6)) AND response <> 'p1' LIMIT 2;
SELECT invocations FROM endpoint.counted();
SELECT response FROM f WHERE payload = ANY (payloads(40)) AND response IN ('p4', 'p5') LIMIT 2;
SELECT invocations BETWEEN 5 AND 8 AS some FROM endpoint.counted();

-- EXISTS, and other subqueries that end with a row: first one, then more and more
SELECT EXISTS (SELECT FROM f WHERE payload = ANY (payloads(40)));
SELECT * FROM endpoint.counted();
SELECT EXISTS (SELECT FROM f WHERE payload = ANY (payloads(40)) AND response = 'p3');
SELECT invocations BETWEEN 3 AND 6 AS some FROM endpoint.counted();
SELECT sqlstate, message FROM endpoint.error_of($$ SELECT (SELECT response FROM f WHERE payload = ANY (payloads(40))) $$);
SELECT invocations BETWEEN 2 AND 3 AS two FROM endpoint.counted();

-- A cursor: what is fetched first, and more and more for those who come again
BEGIN;
DECLARE c CURSOR FOR SELECT response FROM f WHERE payload = ANY (payloads(20));
SELECT endpoint.count();
FETCH 2 FROM c;
SELECT endpoint.count();
FETCH 2 FROM c;
SELECT endpoint.count() BETWEEN 4 AND 6 AS some;
MOVE ALL FROM c;
SELECT * FROM endpoint.counted();
COMMIT;
BEGIN;
DECLARE c CURSOR FOR SELECT response->'n' AS n FROM mock WHERE payload = ANY (late(40));
FETCH 3 FROM c;
SELECT invocations FROM endpoint.counted();
COMMIT;
BEGIN;
DECLARE c CURSOR WITH HOLD FOR SELECT response FROM f WHERE payload = ANY (payloads(6));
FETCH 1 FROM c;
SELECT endpoint.count();
COMMIT;
SELECT endpoint.count();
FETCH ALL FROM c;
CLOSE c;
SELECT invocations FROM endpoint.counted();

-- PL/pgSQL fetches ten rows for a loop, or one where a procedure might commit in it.
ALTER FOREIGN TABLE f OPTIONS (SET max_concurrency '20');
CREATE FUNCTION loop_until(last text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    r record;
    rows_ int := 0;
BEGIN
    FOR r IN SELECT response FROM f WHERE payload = ANY (payloads(40)) LOOP
        rows_ := rows_ + 1;
        EXIT WHEN r.response = last;
    END LOOP;
    RETURN rows_;
END $$;
SELECT loop_until('p3');
SELECT invocations FROM endpoint.counted();
SELECT loop_until('none');
SELECT * FROM endpoint.counted();
DO $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT response FROM f WHERE payload = ANY (payloads(40)) LOOP
        EXIT WHEN r.response = 'p3';
    END LOOP;
END $$;
SELECT invocations BETWEEN 3 AND 6 AS some FROM endpoint.counted();
-- The first row of several, and STRICT, which asks for a second one
DO $$
DECLARE
    r text;
BEGIN
    SELECT response INTO r FROM f WHERE payload = ANY (payloads(40));
    RAISE NOTICE '% after % invocations', r, endpoint.made();
    SELECT response INTO STRICT r FROM f WHERE payload = ANY (payloads(40));
EXCEPTION WHEN too_many_rows THEN
    RAISE NOTICE 'too many rows after % invocations', endpoint.made();
END $$;
CREATE FUNCTION first_of() RETURNS text LANGUAGE sql AS
    $$ SELECT response FROM f WHERE payload = ANY (payloads(40)) $$;
SELECT first_of();
SELECT * FROM endpoint.counted();
ALTER FOREIGN TABLE f OPTIONS (SET max_concurrency '8');

-- Rescans give the same rows again, also those of a scan that was left half read.
CREATE TABLE t AS SELECT i AS id, 'p' || (ARRAY[3, 1, 5])[i] AS p FROM generate_series(1, 3) i;
ANALYZE t;
SET enable_material = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SELECT t.p, array_agg(f.response ORDER BY f.response) AS less
FROM t LEFT JOIN f ON f.payload = ANY (payloads(6)) AND f.response < t.p GROUP BY t.p ORDER BY 1;
SELECT * FROM endpoint.counted();
SELECT p FROM t WHERE EXISTS (SELECT FROM f WHERE payload = ANY (payloads(40)) AND response = t.p OFFSET 0);
SELECT count(*) >= 5 AS enough, count(*) - count(DISTINCT payload) AS twice FROM endpoint.invocations();
SELECT endpoint.reset();
-- New values are a new list.
SELECT t.id, l.response FROM t, LATERAL (SELECT response FROM f WHERE payload IN (t.p || 'a', t.p || 'b') OFFSET 0) l;
SELECT * FROM endpoint.counted();
SELECT t.id, l.response FROM t, LATERAL (SELECT response FROM f WHERE payload IN (t.p || 'a', t.p || 'b') LIMIT 1) l;
SELECT * FROM endpoint.counted();
RESET enable_material;
RESET enable_hashjoin;
RESET enable_mergejoin;
WITH c AS MATERIALIZED (SELECT response FROM f WHERE payload = ANY (payloads(6)))
SELECT count(*) FROM c a JOIN c b ON a.response < b.response;
SELECT invocations FROM endpoint.counted();

-- The error is that of the first in the list, however soon a later one fails, and nothing is begun after a failure.
SELECT sqlstate, message FROM endpoint.error_of($$
    SELECT response FROM mock WHERE payload = ANY (ARRAY['{}', '{"as": "unhandled", "ms": 120}',
        '{"ms": 90}', '{"as": "error-403-AccessDeniedException"}']::jsonb[]
        || ARRAY(SELECT jsonb_build_object('n', i, 'ms', 90) FROM generate_series(1, 40) i)) $$);
SELECT invocations BETWEEN 4 AND 9 AS some FROM endpoint.counted();
-- One that comes after the last row that is wanted is not begun.
SELECT response FROM mock WHERE payload IN ('{"n": 1}', '{"n": 2}', '{"as": "unhandled"}') LIMIT 2;
SELECT invocations FROM endpoint.counted();

SET client_min_messages = warning;
DROP SERVER lists_server CASCADE;
DROP SCHEMA lists CASCADE;
