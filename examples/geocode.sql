-- Functions as tables: geocode is one of cities and positions, search one of all cities that it finds, and two others take many rows in one
-- invocation. import.sql makes such tables of all functions.

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

-- Each element of the array in the response is a row.
CREATE FOREIGN TABLE geocode_search (
    part text OPTIONS ("in" 'payload') NOT NULL,
    city text OPTIONS ("in" 'response'),
    lat float OPTIONS ("in" 'response', key 'position.lat'),
    found int OPTIONS ("in" 'response', key '$.found')
) SERVER aws_lambda OPTIONS (function_name 'search', rows 'items');

SELECT * FROM geocode_search WHERE part IN ('ai', 'x', 'li') ORDER BY part, city;

-- A function that takes many rows at once is invoked once for many.
CREATE FOREIGN TABLE geocode_many (
    city text OPTIONS ("in" 'payload') NOT NULL,
    lat float OPTIONS ("in" 'response'),
    lon float OPTIONS ("in" 'response')
) SERVER aws_lambda OPTIONS (function_name 'geocode_rows', batch_rows '100');

EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF)
SELECT t.id, g.city, g.lat, g.lon
FROM geocode_trips t JOIN geocode_many g ON g.city = t.destination;

-- A function that was written for Redshift takes them as Redshift sends them.
CREATE FOREIGN TABLE geocode_title (city text OPTIONS ("in" 'payload') NOT NULL, response jsonb)
    SERVER aws_lambda OPTIONS (function_name 'title_case', batch_rows '1000', batch_format 'redshift');

SELECT city, response FROM geocode_title WHERE city IN ('new york', 'los angeles');

DROP FOREIGN TABLE geocode, geocode_search, geocode_many, geocode_title;
DROP TABLE geocode_trips;
