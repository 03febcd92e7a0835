-- SQL/JSON over what a function returned, of PostgreSQL 17 and later: JSON_TABLE, JSON_VALUE, JSON_QUERY, JSON_EXISTS.
SELECT current_setting('server_version_num')::int < 170000 AS skip \gset
\if :skip
\quit
\endif
SET client_min_messages = warning;
CREATE SCHEMA json_tables;
SET search_path = json_tables, public;
CREATE FOREIGN TABLE f (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'accept-10');
CREATE FOREIGN TABLE texts (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'accept-10');
CREATE TABLE t (id int PRIMARY KEY, items jsonb);
-- 2 has no item, 4 has no value, so makes no invocation.
INSERT INTO t VALUES (1, '[{"n": 1, "s": "one"}, {"n": 2}]'), (2, '[]'), (3, '[{"n": 3, "s": "three"}]'), (4, NULL);
ANALYZE t;
RESET client_min_messages;
SELECT endpoint.reset();

-- JSON_TABLE makes rows of a response, which is one invocation however many there are.
SELECT j.* FROM f, JSON_TABLE(f.response, '$[*]' COLUMNS (place FOR ORDINALITY, n int, s text DEFAULT 'none' ON EMPTY)) j
WHERE f.payload = '[{"n": 1, "s": "one"}, {"n": 2}]';
SELECT endpoint.made();
SELECT t.id, j.* FROM t JOIN f ON f.payload = t.items, JSON_TABLE(f.response, '$[*]' COLUMNS (n int, s text)) j ORDER BY t.id, j.n;
SELECT endpoint.counter('most_in_flight') > 1 AS at_once, endpoint.made();
SELECT t.id, j.n FROM t LEFT JOIN f ON f.payload = t.items LEFT JOIN JSON_TABLE(f.response, '$[*]' COLUMNS (n int)) j ON j.n > 1 ORDER BY t.id, j.n;
SELECT endpoint.made();
-- A condition on the rows comes after the invocation.
SELECT t.id, j.n FROM t JOIN f ON f.payload = t.items, JSON_TABLE(f.response, '$[*]' COLUMNS (n int)) j WHERE j.n = 3;
SELECT endpoint.made();
SELECT t.id, j.* FROM t JOIN f ON f.payload = jsonb_build_object('items', t.items) AND t.id = 1,
    JSON_TABLE(f.response, '$' COLUMNS (whole jsonb PATH '$.items', NESTED PATH '$.items[*]' COLUMNS (n int, has_s boolean EXISTS PATH '$.s'))) j;
SELECT endpoint.made();
-- Rows of JSON_TABLE give the values: one invocation for each row that has one.
SELECT t.id, j.s, texts.response FROM t, JSON_TABLE(t.items, '$[*]' COLUMNS (s text)) j JOIN texts ON texts.payload = j.s ORDER BY t.id;
SELECT endpoint.made();
SELECT g.response FROM f, JSON_TABLE(f.response, '$[*]' COLUMNS (n int)) j, texts g
WHERE f.payload = '[{"n": 1}, {"n": 2}]' AND g.payload = j.n::text ORDER BY 1;
SELECT endpoint.made();
-- A response of text
SELECT j.n FROM texts, JSON_TABLE(texts.response::jsonb, '$' COLUMNS (n int)) j WHERE payload = '{"n": 5}';
SELECT j.n FROM texts, JSON_TABLE(texts.response, '$' COLUMNS (n int)) j WHERE payload = '{"n": 5}';
SELECT j.n FROM texts, JSON_TABLE(texts.response, '$' COLUMNS (n int) ERROR ON ERROR) j WHERE payload = 'no JSON';
SELECT endpoint.made();

-- The functions: the response is read once for all of them.
SELECT t.id, JSON_VALUE(f.response, '$[0].n' RETURNING int) AS n, JSON_QUERY(f.response, '$[*].s' WITH WRAPPER) AS s, JSON_EXISTS(f.response, '$[1]') AS more
FROM t JOIN f ON f.payload = t.items ORDER BY t.id;
SELECT endpoint.made();
SELECT t.id FROM t JOIN f ON f.payload = t.items WHERE JSON_EXISTS(f.response, '$[*] ? (@.n > $n)' PASSING 1 AS n) ORDER BY t.id;
SELECT endpoint.made();
SELECT JSON_VALUE(response, '$.n' RETURNING int ERROR ON ERROR) FROM f WHERE payload = '{"n": "x"}';
SELECT endpoint.made();
-- As values
SELECT t.id, texts.response FROM t JOIN texts ON texts.payload = JSON_VALUE(t.items, '$[0].s') ORDER BY t.id;
SELECT t.id, f.response FROM t JOIN f ON f.payload = JSON_QUERY(t.items, '$[0]') ORDER BY t.id;
SELECT t.id, f.response FROM t JOIN f ON f.payload = JSON_OBJECT('id': t.id, 'items': t.items ABSENT ON NULL RETURNING jsonb) ORDER BY t.id;
SELECT response FROM f WHERE payload = JSON_ARRAY(SELECT id FROM t ORDER BY id RETURNING jsonb);
SELECT response FROM f WHERE payload = JSON_SCALAR('x')::jsonb;
SELECT response FROM texts WHERE payload = JSON_SERIALIZE(JSON('{"a":  1}'));
SELECT endpoint.made();
-- A path that is itself a response
SELECT t.id, JSON_VALUE(t.items, (p.response #>> '{}')::jsonpath) AS s FROM t, f p WHERE p.payload = '"$[0].s"' ORDER BY t.id;
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA json_tables CASCADE;
