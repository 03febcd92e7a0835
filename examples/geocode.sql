-- The function geocode as a table of cities and positions.

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

DROP FOREIGN TABLE geocode;
DROP TABLE geocode_trips;
