-- max_concurrency: the option of a table or server limits all scans of a statement together, the setting each scan.
SET client_min_messages = warning;
CREATE SCHEMA max_concurrency;
SET search_path = max_concurrency, public;
CREATE SERVER few FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (max_concurrency '3');
CREATE FOREIGN TABLE f (payload text, response text)
    SERVER aws_lambda OPTIONS (function_name 'accept-50', max_concurrency '3');
CREATE TABLE parted (function_name text, payload text, response text) PARTITION BY LIST (function_name);
CREATE FOREIGN TABLE part_1 PARTITION OF parted FOR VALUES IN ('accept-50') SERVER few;
CREATE FOREIGN TABLE part_2 PARTITION OF parted FOR VALUES IN ('accept-60') SERVER few;
CREATE FUNCTION payloads(kind text, n int) RETURNS text[] IMMUTABLE LANGUAGE sql AS
    $$ SELECT array_agg(kind || i ORDER BY i) FROM generate_series(1, n) i $$;
CREATE FUNCTION counts(kind text) RETURNS bigint LANGUAGE sql AS
    $$ SELECT count(response) FROM max_concurrency.f WHERE payload = ANY (max_concurrency.payloads(kind, 5)) $$;
RESET client_min_messages;
SELECT endpoint.reset();

-- A table's: in branches, in a join with itself, in what functions invoke beside it
SELECT count(response) FROM (
    SELECT response FROM f WHERE payload = ANY (payloads('a', 6))
    UNION ALL SELECT response FROM f WHERE payload = ANY (payloads('b', 6))
    UNION ALL SELECT response FROM f WHERE payload = ANY (payloads('c', 6))) branches;
SELECT * FROM endpoint.counted();
SELECT count(b.response) FROM generate_series(1, 10) i JOIN f a ON a.payload = 'a' || i JOIN f b ON b.payload = 'b' || i;
SELECT * FROM endpoint.counted();
SELECT count(response), sum(counts(payload)) FROM f WHERE payload = ANY (payloads('d', 6));
SELECT * FROM endpoint.counted();

-- A server's: in partitions that are read, and in those that rows go to
SELECT count(response) FROM parted WHERE function_name IN ('accept-50', 'accept-60') AND payload = ANY (payloads('a', 6));
SELECT * FROM endpoint.counted();
INSERT INTO parted (function_name, payload) SELECT 'accept-' || 50 + i % 2 * 10, 'p' || i FROM generate_series(1, 12) i;
SELECT * FROM endpoint.counted();
-- A table's own comes before it.
ALTER FOREIGN TABLE part_1 OPTIONS (ADD max_concurrency '2');
SELECT count(response) FROM parted WHERE function_name IN ('accept-50', 'accept-60') AND payload = ANY (payloads('a', 6));
SELECT invocations, most BETWEEN 4 AND 5 AS most FROM endpoint.counted();
ALTER FOREIGN TABLE part_1 OPTIONS (DROP max_concurrency);

-- The setting is each scan's.
ALTER SERVER few OPTIONS (DROP max_concurrency);
SET aws_lambda.max_concurrency = 3;
SELECT count(response) FROM parted WHERE function_name IN ('accept-50', 'accept-60') AND payload = ANY (payloads('a', 6));
SELECT invocations, most BETWEEN 4 AND 6 AS most FROM endpoint.counted();
RESET aws_lambda.max_concurrency;

SET client_min_messages = warning;
DROP SCHEMA max_concurrency CASCADE;
DROP SERVER few CASCADE;
