-- Aggregates and SQL/JSON of PostgreSQL 16: ANY_VALUE, IS JSON, JSON_OBJECT, JSON_ARRAYAGG.
SELECT current_setting('server_version_num')::int < 160000 AS skip \gset
\if :skip
\quit
\endif
SET client_min_messages = warning;
CREATE SCHEMA since_16;
SET search_path = since_16, public;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'accept-10');
CREATE TABLE t (id int PRIMARY KEY, s text);
INSERT INTO t VALUES (1, '{"a": 1}'), (2, 'no JSON'), (3, NULL), (4, '[1]'), (5, '{"a": 1}');
ANALYZE t;
RESET client_min_messages;
SELECT endpoint.reset();

SELECT f.payload, ANY_VALUE(f.response) AS response, count(*) FROM t JOIN f ON f.payload = t.s GROUP BY f.payload ORDER BY 1;
SELECT endpoint.counter('most_in_flight') > 1 AS at_once, endpoint.made();
SELECT ANY_VALUE(f.response) OVER (PARTITION BY t.s) AS response FROM t JOIN f ON f.payload = t.s WHERE t.id IN (1, 5);
SELECT endpoint.made();
-- IS JSON of a response is a filter after the invocation, of an outer column one before it.
SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s WHERE f.response IS JSON ORDER BY t.id;
SELECT endpoint.made();
SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s WHERE t.s IS JSON OBJECT ORDER BY t.id;
SELECT endpoint.made();
SELECT t.id, f.response FROM t LEFT JOIN f ON f.payload = t.s AND t.s IS JSON ARRAY WITH UNIQUE KEYS ORDER BY t.id;
SELECT endpoint.made();
SELECT t.id, f.response FROM t LEFT JOIN f ON f.payload = t.s AND t.s IS NOT JSON ORDER BY t.id;
SELECT endpoint.made();
-- Constructors as values, and over responses
SELECT t.id, f.response FROM t JOIN f ON f.payload = JSON_OBJECT('id': t.id, 's': t.s ABSENT ON NULL RETURNING text) ORDER BY t.id;
SELECT response FROM f WHERE payload = (SELECT JSON_ARRAYAGG(id ORDER BY id RETURNING text) FROM t);
SELECT JSON_OBJECTAGG(t.id: f.response ABSENT ON NULL) FROM (SELECT id, s FROM t WHERE id > 3 ORDER BY id) t LEFT JOIN f ON f.payload = t.s;
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA since_16 CASCADE;
