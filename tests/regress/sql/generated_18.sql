-- Virtual generated columns, of PostgreSQL 18 and later: of tables beside invocations, and of a table of invocations, where they may have
-- any name and type, except that an input can't be virtual.
SELECT current_setting('server_version_num')::int < 180000 AS skip \gset
\if :skip
\quit
\endif
SET client_min_messages = warning;
CREATE SCHEMA generated_18;
SET search_path = generated_18, public;
CREATE FOREIGN TABLE f (payload text, response text, status_code int) SERVER aws_lambda OPTIONS (function_name 'accept-10');
CREATE TABLE t (id int PRIMARY KEY, s text, v text GENERATED ALWAYS AS (s || '-' || id) VIRTUAL, even boolean GENERATED ALWAYS AS (id % 2 = 0));
INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL), (4, 'a');
ANALYZE t;
RESET client_min_messages;
SELECT endpoint.reset();

-- As values of a join, and as its conditions
SELECT t.id, f.payload, f.response FROM t JOIN f ON f.payload = t.v ORDER BY t.id;
SELECT endpoint.counter('most_in_flight') > 1 AS at_once, endpoint.made();
SELECT t.id, f.response FROM t LEFT JOIN f ON f.payload = t.v AND t.even ORDER BY t.id;
SELECT endpoint.made();
SELECT t.id, f.response FROM t LEFT JOIN t u ON u.id = t.id + 1 LEFT JOIN f ON f.payload = u.v ORDER BY t.id;
SELECT endpoint.made();
SELECT t.id, l.response FROM t, LATERAL (SELECT response FROM f WHERE payload IN (t.v, t.even::text) OFFSET 0) l ORDER BY 1, 2;
SELECT endpoint.made();
SELECT id, (SELECT response FROM f WHERE payload = t.v) FROM t WHERE even ORDER BY id;
SELECT endpoint.made();
SELECT l.response FROM t JOIN aws_lambda.lambda_invocations l ON l.function_name = 'echo' AND l.payload = to_jsonb(t) WHERE t.id = 2;
SELECT endpoint.made();
BEGIN;
UPDATE t SET s = f.response FROM f WHERE f.payload = t.v RETURNING old.v, new.v, f.response;
DELETE FROM t USING f WHERE f.payload = t.v AND t.even RETURNING t.v, f.response;
ROLLBACK;
SELECT endpoint.made();

-- Computed from the response, with any name and type
CREATE FOREIGN TABLE places (payload jsonb, response jsonb, lat numeric GENERATED ALWAYS AS ((response ->> 'lat')::numeric) VIRTUAL,
    invocation_type text, north boolean GENERATED ALWAYS AS ((response ->> 'lat')::numeric > 0), status_code int)
    SERVER aws_lambda OPTIONS (function_name 'accept-10');
SELECT * FROM places WHERE payload = '{"lat": 52.52}';
SELECT lat FROM places WHERE payload = '{"lat": 52.52}';
SELECT payload ->> 'lat' AS lat, north FROM places WHERE payload IN ('{"lat": 52.52}', '{"lat": -12.046}', '{}') AND NOT north;
SELECT places, places.lat, tableoid::regclass FROM places WHERE payload = '{"lat": 1}';
EXPLAIN (VERBOSE, COSTS OFF) SELECT lat FROM places WHERE payload = '{"lat": 1}' AND north;
SELECT endpoint.made();
SELECT t.id, p.lat FROM t LEFT JOIN places p ON p.payload = jsonb_build_object('lat', t.id) AND t.even ORDER BY p.lat DESC NULLS LAST, t.id;
SELECT endpoint.made();
-- It gives no value.
SELECT lat FROM places WHERE lat = 1;
SELECT lat FROM places JOIN t ON t.id = places.lat;
SELECT endpoint.made();
-- Inserted rows return it.
INSERT INTO places (payload) VALUES ('{"lat": 1}') RETURNING lat, status_code;
INSERT INTO places (payload, invocation_type) VALUES ('{"lat": 1}', 'RequestResponse'), ('{"lat": 2}', 'RequestResponse') RETURNING lat, new.north, old.lat, places;
SELECT endpoint.counter('most_in_flight') > 1 AS at_once, endpoint.made();
INSERT INTO places (payload, lat) VALUES ('{"lat": 1}', 1);
COPY places (payload) FROM PROGRAM $$echo '{"lat": 3}'$$;
COPY places (lat) FROM PROGRAM $$echo 3$$;
SELECT payload FROM endpoint.arrived();
-- Under the name of an output, which then is not what the function answered
CREATE FOREIGN TABLE named (payload text, response text, log text GENERATED ALWAYS AS (upper(response))) SERVER aws_lambda OPTIONS (function_name 'log');
SELECT * FROM named WHERE payload = 'x';
-- Dropped and added, in a partition, in a view
ALTER FOREIGN TABLE places DROP north, ADD south boolean GENERATED ALWAYS AS ((response ->> 'lat')::numeric < 0);
SELECT lat, south FROM places WHERE payload = '{"lat": -1}';
CREATE TABLE parent (payload jsonb, response jsonb, lat numeric GENERATED ALWAYS AS ((response ->> 'lat')::numeric)) PARTITION BY LIST (payload);
CREATE FOREIGN TABLE part PARTITION OF parent DEFAULT SERVER aws_lambda OPTIONS (function_name 'accept-10', invocation_type 'RequestResponse');
SELECT * FROM parent WHERE payload = '{"lat": 5}';
INSERT INTO parent (payload) VALUES ('{"lat": 6}') RETURNING *;
CREATE VIEW v AS SELECT payload, lat FROM places;
SELECT lat FROM v WHERE payload = '{"lat": 7}';
SELECT endpoint.made();

-- An input can't be virtual: refused before anything is invoked, whatever is to be done.
CREATE FOREIGN TABLE wrong (qualifier text, payload text GENERATED ALWAYS AS ('q ' || qualifier) VIRTUAL, response text)
    SERVER aws_lambda OPTIONS (function_name 'echo');
SELECT response FROM wrong WHERE qualifier = 'v1';
\set VERBOSITY terse
SELECT response FROM wrong WHERE qualifier = 'v1' AND payload = 'q v1';
EXPLAIN SELECT response FROM wrong WHERE qualifier = 'v1';
INSERT INTO wrong (qualifier) VALUES ('v1');
INSERT INTO wrong (qualifier) VALUES ('v1') RETURNING payload;
COPY wrong (qualifier) FROM PROGRAM 'echo v1';
ALTER FOREIGN TABLE wrong DROP payload, ADD payload text, ADD function_name text GENERATED ALWAYS AS ('echo');
SELECT response FROM wrong WHERE payload = 'x';
ALTER FOREIGN TABLE wrong DROP function_name;
\set VERBOSITY default
SELECT endpoint.made();
SELECT response FROM wrong WHERE qualifier = 'v1' AND payload = 'x';
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA generated_18 CASCADE;
