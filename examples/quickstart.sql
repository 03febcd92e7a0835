-- AWS Lambda from SQL, in one page. `make demo` runs this file against a local emulator that has the three
-- functions of examples/functions: hello, geocode and score. It leaves the extension and the table cities, and can be run again.

CREATE EXTENSION IF NOT EXISTS aws_lambda CASCADE;

-- The functions of RDS for PostgreSQL: one call, one invocation.
SELECT * FROM aws_lambda.invoke('hello', '{"name": "Ada"}'::jsonb);

-- The same as a table. Columns of the invocation are given in WHERE, and the others come back.
SELECT status_code, response
FROM aws_lambda.lambda_invocations
WHERE function_name = 'hello' AND payload = '{"name": "Ada"}';

-- An array makes one invocation for each different element.
SELECT payload, response
FROM aws_lambda.lambda_invocations
WHERE function_name = 'hello' AND payload IN ('{"name": "Ada"}', '{"name": "Grace"}');

-- And a join makes one for each row.
CREATE TABLE IF NOT EXISTS cities (name text PRIMARY KEY, country text);
INSERT INTO cities VALUES ('Berlin', 'DE'), ('Lima', 'PE'), ('Nairobi', 'KE'), ('Tokyo', 'JP') ON CONFLICT DO NOTHING;

SELECT c.name, l.response->'lat' AS lat, l.response->'lon' AS lon
FROM cities c
JOIN aws_lambda.lambda_invocations l
  ON l.function_name = 'geocode' AND l.payload = jsonb_build_object('city', c.name);

-- EXPLAIN shows what is bound to what. It invokes nothing; with ANALYZE it runs the query, and counts.
-- The clause on cities goes first, so three of the four cities cost nothing.
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF)
SELECT c.name, l.response
FROM cities c
JOIN aws_lambda.lambda_invocations l
  ON l.function_name = 'geocode' AND l.payload = jsonb_build_object('city', c.name)
WHERE c.country = 'PE';

-- A function that raises an exception raises an error here. This one is on purpose.
\set ON_ERROR_STOP off
SELECT * FROM aws_lambda.invoke('geocode', '{"city": "Atlantis"}'::jsonb);
\set ON_ERROR_STOP on
