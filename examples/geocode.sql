-- The function geocode as a table of cities and positions, and another one that takes many cities in one invocation.

CREATE EXTENSION IF NOT EXISTS aws_lambda CASCADE;

CREATE TABLE geocode_trips (id int PRIMARY KEY, destination text);
INSERT INTO geocode_trips VALUES (1, 'Lima'), (2, 'Tokyo'), (3, 'Berlin');
ANALYZE geocode_trips;

-- The column city goes into the payload, the others come out of the response.
CREATE FOREIGN TABLE geocode (
    city text OPTIONS ("in" 'payload') NOT NULL,
    lat float OPTIONS ("in" 'response'),
    lon float OPTIONS ("in" 'response')
) SERVER aws_lambda OPTIONS (function_name 'geocode');

-- The condition on lat filters what came back.
SELECT t.id, g.city, g.lat, g.lon
FROM geocode_trips t JOIN geocode g ON g.city = t.destination
WHERE g.lat > 0
ORDER BY t.id;

-- A function that takes many rows at once is invoked once for many.
CREATE FOREIGN TABLE geocode_many (
    city text OPTIONS ("in" 'payload') NOT NULL,
    lat float OPTIONS ("in" 'response'),
    lon float OPTIONS ("in" 'response')
) SERVER aws_lambda OPTIONS (function_name 'geocode_rows', batch_rows '100');

EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF)
SELECT t.id, g.city, g.lat, g.lon
FROM geocode_trips t JOIN geocode_many g ON g.city = t.destination;

DROP FOREIGN TABLE geocode, geocode_many;
DROP TABLE geocode_trips;
