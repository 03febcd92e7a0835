-- Columns that are fields of the payload: what is sent, byte for byte, and what is refused.
SET client_min_messages = warning;
SET DateStyle = 'ISO';
SET TimeZone = 'UTC';
CREATE SCHEMA typed;
SET search_path = typed, public;
CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE TYPE color AS ENUM ('red', 'green');
CREATE TYPE pair AS (a int, b text);
CREATE FOREIGN TABLE geocode (
    city text OPTIONS ("in" 'payload') NOT NULL,
    country text OPTIONS ("in" 'payload', key 'address.country'),
    street varchar(20) OPTIONS ("in" 'payload', key 'address.street'),
    zz int OPTIONS ("in" 'payload', key 'n'),
    sent text OPTIONS ("in" 'response', key 'payload')
) SERVER aws_lambda OPTIONS (function_name 'describe');
CREATE FOREIGN TABLE types (
    i int OPTIONS ("in" 'payload'), n numeric OPTIONS ("in" 'payload'), f float8 OPTIONS ("in" 'payload'), b bool OPTIONS ("in" 'payload'),
    d date OPTIONS ("in" 'payload'), ts timestamptz OPTIONS ("in" 'payload'), t text OPTIONS ("in" 'payload'), c char(4) OPTIONS ("in" 'payload'),
    j json OPTIONS ("in" 'payload'), jb jsonb OPTIONS ("in" 'payload'), a int[] OPTIONS ("in" 'payload'), p pair OPTIONS ("in" 'payload'),
    pos positive OPTIONS ("in" 'payload'), col color OPTIONS ("in" 'payload'), u uuid OPTIONS ("in" 'payload'), by bytea OPTIONS ("in" 'payload'),
    pt point OPTIONS ("in" 'payload'), na name OPTIONS ("in" 'payload'),
    sent text OPTIONS ("in" 'response', key 'payload')
) SERVER aws_lambda OPTIONS (function_name 'describe');
CREATE TABLE cities (id int PRIMARY KEY, name text, country text, n bigint, place pair);
INSERT INTO cities VALUES (1, 'Berlin', 'DE', 1, (1, 'x')), (2, 'Lima', NULL, 2, (2, NULL)), (3, 'Lima', 'PE', 2, NULL);
ANALYZE cities;
RESET client_min_messages;
SELECT endpoint.reset();

-- The values become one object. What has no clause is left out, and a null is null
SELECT city, sent FROM geocode WHERE city = 'Berlin';
SELECT city, country, street, zz, sent FROM geocode WHERE city = 'Ber"lin' AND country = 'DE' AND street = E'a\\b\n' AND zz = -7;
SELECT sent FROM geocode WHERE city = 'a' AND country IS NULL;
SELECT sent FROM geocode WHERE city = 'a' AND zz IS NOT DISTINCT FROM NULL AND street IS NOT DISTINCT FROM 'x';
SELECT sent FROM types;
SELECT endpoint.made();

-- What is NOT NULL needs a value
SELECT sent FROM geocode;
SELECT sent FROM geocode WHERE country = 'DE';
SELECT sent FROM geocode WHERE city IS NULL;
SELECT sent FROM geocode WHERE city IS NOT DISTINCT FROM NULL;
SELECT sent FROM geocode WHERE city LIKE 'B%';
SELECT sent FROM geocode WHERE city = 'B' AND country LIKE 'D%';
SELECT sent FROM types WHERE a[1] = 1;
SELECT sent FROM types WHERE (p).a = 1;
SELECT sent FROM types WHERE p IS NOT NULL;
SELECT sent FROM types WHERE i = 1 AND 2 + ((ARRAY[p])[1]).a > a[3];
SELECT endpoint.made();

-- A join's condition that gives no value, and that no row without one meets. No row is dropped where the join keeps it, or where a null may do
SELECT c.name, t.sent FROM cities c JOIN types t ON t.a[1] = c.id;
SELECT c.name, t.sent FROM cities c JOIN types t ON t.i > c.id;
SELECT c.name, t.sent FROM cities c LEFT JOIN types t ON t.i + 1 = c.id;
SELECT c.name, t.sent FROM cities c, cities d, types t WHERE t.i = c.id AND t.t LIKE d.name;
SELECT c.name, t.sent FROM cities c, cities d, types t WHERE t.i = c.id AND upper(t.t) = d.name;
SELECT c.name FROM cities c WHERE EXISTS (SELECT FROM types t WHERE t.i > c.id);
SELECT endpoint.made();
SELECT c.name, t.sent FROM types t LEFT JOIN cities c ON t.i + 1 = c.id;
SELECT c.name, t.sent FROM cities c, cities d, types t WHERE t.i = c.id AND coalesce(t.t, d.name) = d.name AND d.id = 1 ORDER BY c.id;
SELECT c.id, t.sent FROM cities c JOIN types t ON t.i = 1 AND (t.t IS NOT NULL) = (c.id = 2) ORDER BY c.id;
SELECT c.id, t.sent FROM cities c JOIN types t ON t.i = 1 AND (t.t = 'x' AND t.i > 1) = (c.id = 2) ORDER BY c.id;
SELECT c.id, t.has, t.sent FROM cities c JOIN (SELECT i, sent, f IS NOT NULL AND b IS TRUE AS has FROM types) t ON t.i = 1 AND t.has = (c.id = 2) ORDER BY c.id;
SELECT c.name, g.sent FROM cities c, cities d, geocode g
WHERE g.city = c.name AND g.country = g.street AND g.street = d.country AND g.country LIKE d.country AND d.id = 1 ORDER BY c.id;
SELECT endpoint.made();

-- Values that are kept for a source row stay as long as that, though no row shows them
CREATE TABLE texts AS SELECT id, 'text ' || id AS t FROM generate_series(1, 1000) id;
CREATE UNIQUE INDEX ON texts (id);
ANALYZE texts;
SELECT o.i, (SELECT count(t.sent) FROM texts x JOIN types t ON t.t = (SELECT y.t FROM texts y WHERE y.id = x.id) AND t.i IN (1, 2, 3) AND t.i <= o.i)
FROM generate_series(1, 3) o (i);
SELECT count(DISTINCT payload), min(payload COLLATE "C"), max(payload COLLATE "C") FROM endpoint.arrived() WHERE payload LIKE '%text%';

-- What is not sent is not printed
SELECT c.id, t.sent FROM cities c LEFT JOIN types t ON t.j::text = c.country AND c.id > 3;
SELECT endpoint.made();

-- Lists multiply, equal values count once, clauses on one column intersect
SELECT city, zz, sent FROM geocode WHERE city IN ('a', 'b', 'a') AND zz = ANY (ARRAY[1, 2, NULL]);
SELECT city, sent FROM geocode WHERE city IN ('a', 'b', 'c') AND city IN ('c', 'b') AND city <> 'c';
SELECT n, sent FROM types WHERE n IN (1, 1.0, 2.50);
SELECT endpoint.made();

-- Every type, as to_jsonb prints it
SELECT sent FROM types WHERE i = 1 AND n = 1.10 AND f = 0.1 AND b AND d = '2024-02-29' AND ts = '2024-02-29 12:00+02' AND t = 'é' AND c = 'ab'
    AND j::text = '{"b": 1, "a":1.0}' AND jb = '{"b": 1, "a": 1.0}' AND a = '{1,2,NULL}' AND p = (1, 'x')::pair AND pos = 3 AND col = 'red'
    AND u = '00000000-0000-0000-0000-000000000001' AND by = '\x00ff' AND pt IS NULL AND na = 'nm';
SELECT b, sent FROM types WHERE b = true;
SELECT b, sent FROM types WHERE NOT b;
SELECT b, sent FROM types WHERE b IN (true, false);
SELECT b, sent FROM types WHERE b IS NOT TRUE;
SELECT b, sent FROM types WHERE b IS UNKNOWN;
SELECT id, b, t.sent FROM cities c JOIN types t ON t.b = (c.n = 1) ORDER BY id;
SELECT sent FROM types WHERE n = 'NaN' AND f = 'Infinity';
SELECT c = 'ab' AS equal, sent FROM types WHERE c IN ('ab', 'ab  ');
SELECT a, p, pos, col, sent FROM types WHERE a = '{2}' AND p IN ((1, 'x')::pair, (1, NULL)::pair) AND pos = 2::positive AND col IN ('green', 'red');
SELECT endpoint.made();

-- A value of another type is converted, and checked
SELECT i, sent FROM types WHERE i = 7::bigint;
SELECT i, sent FROM types WHERE i = ANY (ARRAY[7, 8]::bigint[]);
SELECT d, sent FROM types WHERE d = timestamp '2024-02-29';
SELECT d, sent FROM types WHERE d = timestamp '2024-02-29 12:00';
SELECT na, sent FROM types WHERE na = 'x'::text;
SELECT i, sent FROM types WHERE i = 3000000000;
SELECT i, sent FROM types WHERE i = 1.5;
SELECT i, sent FROM types WHERE i > 1;
SELECT sent FROM types WHERE j::text = 'x';
SELECT endpoint.made();

-- Joins
SELECT c.id, g.sent FROM cities c JOIN geocode g ON g.city = c.name AND g.country = c.country ORDER BY c.id;
SELECT c.id, g.sent FROM cities c LEFT JOIN geocode g ON g.city = c.name AND g.country IS NOT DISTINCT FROM c.country ORDER BY c.id;
SELECT c.id, g.sent FROM cities c JOIN geocode g ON g.city = c.name AND g.zz = c.n ORDER BY c.id;
SELECT c.id, t.sent FROM cities c JOIN types t ON t.p = c.place AND t.i = c.id ORDER BY c.id;
SELECT c.id, (SELECT sent FROM geocode WHERE city = c.name) FROM cities c ORDER BY c.id;
SELECT c.id FROM cities c WHERE EXISTS (SELECT FROM geocode WHERE city = c.name AND zz = c.id AND sent LIKE '%2%') ORDER BY c.id;
SELECT endpoint.made();
ALTER TABLE cities ADD sent text;
UPDATE cities c SET sent = g.sent FROM geocode g WHERE g.city = c.name AND g.zz = c.id;
SELECT id, sent FROM cities ORDER BY id;
SELECT endpoint.made();
PREPARE of_city (text, int) AS SELECT city, zz, sent FROM geocode WHERE city = $1 AND zz = $2;
EXECUTE of_city ('a', 1);
EXECUTE of_city ('b', NULL);
SET plan_cache_mode = force_generic_plan;
EXECUTE of_city ('b', 2);
RESET plan_cache_mode;
SELECT endpoint.made();

-- EXPLAIN
SELECT * FROM endpoint.explain($$SELECT sent FROM geocode WHERE city IN ('a', 'b') AND country = 'DE' AND zz = 5::bigint AND street <> 'x' AND sent LIKE 'x%'$$);
SELECT * FROM endpoint.explain($$SELECT c.id, g.sent FROM cities c JOIN geocode g ON g.city = c.name AND g.zz = c.id$$);
SELECT * FROM endpoint.explain($$SELECT sent FROM geocode$$);

-- INSERT: a null that is named is null, and what is not named is left out
CREATE FOREIGN TABLE sent (
    city text OPTIONS ("in" 'payload') NOT NULL, country text OPTIONS ("in" 'payload', key 'address.country'), n int OPTIONS ("in" 'payload') DEFAULT 5,
    payload jsonb, invocation_type text, status_code int, seen text OPTIONS ("in" 'response', key 'address.country'),
    error_code text, error_message text
) SERVER aws_lambda OPTIONS (function_name 'echo', on_error 'return');
SELECT endpoint.reset();
INSERT INTO sent (city) VALUES ('a'), ('b');
INSERT INTO sent (city, country, n) VALUES ('c', 'DE', 1), ('d', NULL, NULL);
COPY sent (city, country) FROM stdin;
e	\N
f	PE
\.
INSERT INTO sent (payload) VALUES ('{"city": "g"}');
INSERT INTO sent (city, payload) VALUES ('h', '1');
INSERT INTO sent (city, n, payload) VALUES ('h', NULL, NULL);
INSERT INTO sent (country) VALUES ('DE');
INSERT INTO sent (city, country, invocation_type) VALUES ('i', 'DE', 'RequestResponse') RETURNING city, n, seen, status_code;
INSERT INTO sent (city, payload) VALUES ('j', '1') RETURNING error_code, error_message;
INSERT INTO sent (city, seen) VALUES ('k', 'x');
SELECT invocation_type, payload FROM endpoint.arrived();

-- The payload as a whole, or its fields
SELECT payload, seen FROM sent WHERE payload = '{"address": {"country": "DE"}}' AND invocation_type = 'RequestResponse';
SELECT payload, seen FROM sent WHERE city = 'x' AND payload = '1';
SELECT payload, seen FROM sent s JOIN cities c ON s.city = c.name AND s.payload = to_jsonb(c);
SELECT * FROM endpoint.explain($$SELECT payload, seen FROM sent WHERE city = 'x' AND payload = '1'$$);

-- Definitions that are refused
CREATE FOREIGN TABLE wrong (a text OPTIONS ("in" 'header')) SERVER aws_lambda;
CREATE FOREIGN TABLE wrong (a text OPTIONS (key 'a')) SERVER aws_lambda;
CREATE FOREIGN TABLE wrong (a text OPTIONS ("in" 'payload', key 'a..b')) SERVER aws_lambda;
CREATE FOREIGN TABLE wrong (a text OPTIONS ("in" 'payload', keys 'a')) SERVER aws_lambda;
CREATE FOREIGN TABLE wrong (a text OPTIONS (function_name 'f')) SERVER aws_lambda;
CREATE FOREIGN TABLE wrong (a text OPTIONS ("in" 'payload')) SERVER aws_lambda OPTIONS (rows 'a..b');
CREATE FOREIGN TABLE twice (a text OPTIONS ("in" 'payload', key 'x'), b text OPTIONS ("in" 'payload', key 'x')) SERVER aws_lambda OPTIONS (function_name 'echo');
SELECT * FROM twice WHERE a = 'x';
CREATE FOREIGN TABLE nested (a text OPTIONS ("in" 'payload', key 'x.y'), b text OPTIONS ("in" 'payload', key 'x')) SERVER aws_lambda OPTIONS (function_name 'echo');
SELECT * FROM nested WHERE a = 'x';
CREATE FOREIGN TABLE of_response (a text OPTIONS ("in" 'payload', key '$.x')) SERVER aws_lambda OPTIONS (function_name 'echo');
SELECT * FROM of_response WHERE a = 'x';
CREATE FOREIGN TABLE unknown (a text) SERVER aws_lambda OPTIONS (function_name 'echo');
SELECT * FROM unknown WHERE a = 'x';
CREATE FOREIGN TABLE no_field (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo', rows 'items');
SELECT * FROM no_field WHERE payload = '1';
CREATE FOREIGN TABLE generated (a int, b int GENERATED ALWAYS AS (a * 2) STORED) SERVER aws_lambda OPTIONS (function_name 'echo');
ALTER FOREIGN TABLE generated ALTER a OPTIONS (ADD "in" 'payload'), ALTER b OPTIONS (ADD "in" 'response');
SELECT * FROM generated WHERE a = 1;
ALTER FOREIGN TABLE generated ALTER b OPTIONS (SET "in" 'payload');
INSERT INTO generated VALUES (4);
SELECT payload FROM endpoint.arrived();

-- A column with the option is a field, whatever its name
CREATE FOREIGN TABLE names (region text OPTIONS ("in" 'payload'), status_code text OPTIONS ("in" 'response', key 'region'), "ä.b" int OPTIONS ("in" 'payload'))
    SERVER aws_lambda OPTIONS (function_name 'echo');
SELECT * FROM names WHERE region = 'north' AND "ä.b" = 1;
SELECT payload FROM endpoint.arrived();
SELECT * FROM endpoint.explain($$SELECT * FROM names WHERE region = 'north' AND "ä.b" = 1$$);

-- A field that is too large is not sent, and nothing is sent in its place.
CREATE FOREIGN TABLE small (id int OPTIONS ("in" 'payload'), doc text OPTIONS ("in" 'payload'), response jsonb, error_code text)
    SERVER aws_lambda OPTIONS (function_name 'echo', max_payload_bytes '30');
SELECT * FROM endpoint.error_of($$SELECT response FROM small WHERE doc = repeat('x', 40)$$);
SELECT * FROM endpoint.error_of($$SELECT response FROM (VALUES (1, 'x'), (2, repeat('x', 40))) t (i, d) JOIN small ON id = i AND doc = d$$);
ALTER FOREIGN TABLE small OPTIONS (ADD batch_rows '2', ADD on_error 'return');
SELECT id, response, error_code FROM (VALUES (1, 'x'), (2, repeat('x', 40))) t (i, d) JOIN small ON id = i AND doc = d;
SELECT payload FROM endpoint.arrived();

-- The column that lacks a value is named, and not one that a join condition gives its value.
CREATE FOREIGN TABLE lacks (city text OPTIONS ("in" 'payload') NOT NULL, n int OPTIONS ("in" 'payload'), response jsonb) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE TABLE towns (name text, n int, num numeric);
INSERT INTO towns VALUES ('Lima', 1, 1);
SELECT response FROM towns c JOIN lacks l ON l.city = c.name AND l.n = c.num;
SELECT response FROM towns c JOIN lacks l ON l.city = c.name AND l.n = c.num::int;
SELECT response FROM towns c FULL JOIN lacks l ON l.city = c.name;

SET client_min_messages = warning;
DROP SCHEMA typed CASCADE;
