-- Filling a column of a table: the function geocode is invoked for each row that has no position yet, many at a time.
-- What fails keeps its error, and the next run does it again.

CREATE EXTENSION IF NOT EXISTS aws_lambda CASCADE;

CREATE TABLE enrich_cities (name text PRIMARY KEY, place jsonb, error text);
INSERT INTO enrich_cities (name) VALUES ('Berlin'), ('Cairo'), ('Lima'), ('Mumbay'), ('Sydney'), ('Tokio');
ANALYZE enrich_cities;

-- With on_error 'return', an invocation that fails is a row, and the others go on.
CREATE FOREIGN TABLE enrich_geocode (payload jsonb, response jsonb, error_code text, error_message text)
    SERVER aws_lambda OPTIONS (function_name 'geocode', on_error 'return');

-- How many invocations it would be. This makes none.
EXPLAIN
UPDATE enrich_cities c
SET place = l.response
FROM enrich_geocode l
WHERE c.place IS NULL AND l.payload = jsonb_build_object('city', c.name);

-- Where the function failed, the response is its error and no position: hence CASE.
UPDATE enrich_cities c
SET place = CASE WHEN l.error_code IS NULL THEN l.response END, error = l.error_message
FROM enrich_geocode l
WHERE c.place IS NULL AND l.payload = jsonb_build_object('city', c.name);

SELECT name, place->'lat' AS lat, place->'lon' AS lon, error FROM enrich_cities ORDER BY name;

-- One of the two is corrected, and the same statement is run again: two invocations, for what is still missing.
UPDATE enrich_cities SET name = 'Tokyo' WHERE name = 'Tokio';

EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF)
UPDATE enrich_cities c
SET place = CASE WHEN l.error_code IS NULL THEN l.response END, error = l.error_message
FROM enrich_geocode l
WHERE c.place IS NULL AND l.payload = jsonb_build_object('city', c.name);

SELECT name, place->'lat' AS lat, place->'lon' AS lon, error FROM enrich_cities ORDER BY name;

DROP FOREIGN TABLE enrich_geocode;
DROP TABLE enrich_cities;
