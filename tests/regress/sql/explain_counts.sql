-- EXPLAIN ANALYZE counts requests that were sent, without those that were dropped before or had no connection.
SET client_min_messages = warning;
CREATE SCHEMA explain_counts;
SET search_path = explain_counts, public;
CREATE FOREIGN TABLE f (payload text, response text, error_code text) SERVER aws_lambda OPTIONS (function_name 'echo', max_concurrency '4');
CREATE FOREIGN TABLE slow (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'sleep-20', max_concurrency '4');
CREATE FOREIGN TABLE other (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'sleep-30', max_concurrency '4');
CREATE FOREIGN TABLE same (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'sleep-20', deduplicate 'true');
CREATE FOREIGN TABLE throttled (payload text, response text, error_code text)
    SERVER aws_lambda OPTIONS (function_name 'error-429-TooManyRequestsException', on_error 'return', max_retries '2', retry_timeout_ms '300');
CREATE TABLE t AS SELECT i AS id, i::text AS s FROM generate_series(1, 60) i;
ANALYZE t;
RESET client_min_messages;
SELECT endpoint.reset();

-- The counters of EXPLAIN for all scans of a statement, and those of the endpoint.
CREATE FUNCTION told(statement text, OUT said bigint, OUT bytes bigint) LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    said := 0;
    bytes := 0;
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) ' || statement LOOP
        said := said + COALESCE(substring(line FROM '^\s*Invocations: (\d+)')::int, 0) + COALESCE(substring(line FROM 'Retries: (\d+)')::int, 0);
        bytes := bytes + COALESCE(substring(line FROM 'Bytes Sent: (\d+)')::int, 0);
    END LOOP;
END $$;
CREATE FUNCTION counts(statement text) RETURNS TABLE (is_told bool, bytes_are_told bool) LANGUAGE plpgsql AS $$
DECLARE
    said bigint;
    bytes bigint;
BEGIN
    SELECT told.said, told.bytes INTO said, bytes FROM told(statement);
    RETURN QUERY SELECT said = count(*) AND said > 0, bytes = sum(length(payload)) FROM endpoint.invocations();
    PERFORM endpoint.reset();
END $$;
SELECT * FROM counts($$SELECT response FROM slow WHERE payload = ANY (ARRAY(SELECT s FROM t)) AND response LIKE '%3%' LIMIT 1$$);
SELECT * FROM counts($$SELECT response FROM t JOIN slow ON payload = s WHERE response LIKE '%3%' LIMIT 1$$);
SELECT * FROM counts($$SELECT response FROM slow WHERE payload = ANY (ARRAY(SELECT s FROM t))
    UNION ALL SELECT response FROM other WHERE payload = ANY (ARRAY(SELECT s FROM t)) LIMIT 7$$);
SELECT * FROM counts($$SELECT EXISTS (SELECT FROM slow WHERE payload = ANY (ARRAY(SELECT s FROM t)) AND response LIKE '%3%')$$);
-- Both hold what one of them has sent.
SELECT * FROM counts($$SELECT a.response FROM t JOIN same a ON a.payload = t.s JOIN same b ON b.payload = t.s WHERE b.response LIKE '%3%' LIMIT 1$$);
-- Scans that are started over
SET enable_material = off;
SELECT * FROM counts($$SELECT count(*) FROM (VALUES (1), (2), (3)) v (i) LEFT JOIN (SELECT response FROM f WHERE payload IN ('1', '2')) x ON length(x.response) <= v.i$$);
SELECT * FROM counts($$SELECT count(*), (SELECT count(*) FROM t JOIN f ON f.payload = t.s WHERE t.id <= v.i) FROM (VALUES (1), (2), (3)) v (i) GROUP BY v.i$$);
RESET enable_material;
-- Each attempt
SELECT * FROM counts($$SELECT error_code FROM throttled WHERE payload IN ('12', '345')$$);
SELECT * FROM counts($$INSERT INTO f (payload) SELECT s FROM t$$);

-- Requests that the library or the system refuses are not sent.
CREATE SERVER nowhere FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (endpoint_url 'http://127.0.0.1:1', max_retries '1', retry_timeout_ms '100');
CREATE FOREIGN TABLE nobody (payload text, response text, error_code text) SERVER nowhere OPTIONS (function_name 'echo', on_error 'return');
CREATE FOREIGN TABLE small (payload text, response text, error_code text)
    SERVER aws_lambda OPTIONS (function_name 'echo', on_error 'return', max_payload_bytes '2');
SELECT bytes FROM told($$SELECT error_code FROM nobody WHERE payload IN ('12', '345')$$);
SELECT * FROM told($$SELECT error_code FROM small WHERE payload IN ('12', '345')$$);
SELECT endpoint.made();
