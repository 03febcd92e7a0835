-- Columns that are fields of the response, and the option rows: what a response becomes, and what is refused.
SET client_min_messages = warning;
SET DateStyle = 'ISO';
SET TimeZone = 'UTC';
CREATE SCHEMA responses;
SET search_path = responses, public;
CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE DOMAIN given AS text NOT NULL;
CREATE TYPE pair AS (a int, b text, c positive);
CREATE FOREIGN TABLE one (
    payload text,
    t text OPTIONS ("in" 'response'), i int OPTIONS ("in" 'response'), n numeric OPTIONS ("in" 'response'), f float8 OPTIONS ("in" 'response'),
    b bool OPTIONS ("in" 'response'), ts timestamptz OPTIONS ("in" 'response'), j json OPTIONS ("in" 'response', key 'x'), jb jsonb OPTIONS ("in" 'response', key 'x'),
    x text OPTIONS ("in" 'response'), a int[] OPTIONS ("in" 'response'), p pair OPTIONS ("in" 'response'), ps pair[] OPTIONS ("in" 'response'),
    v varchar(3) OPTIONS ("in" 'response'), deep int OPTIONS ("in" 'response', key 'body.deep.er'), pos positive OPTIONS ("in" 'response'),
    whole jsonb OPTIONS ("in" 'response', key '$'), response text
) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE returned (payload text, i int OPTIONS ("in" 'response'), pos positive OPTIONS ("in" 'response'), g given OPTIONS ("in" 'response'),
    p pair OPTIONS ("in" 'response'), deep text OPTIONS ("in" 'response', key 'body.deep'), status_code int, error_code text, error_message text, function_name text)
    SERVER aws_lambda OPTIONS (on_error 'return');
CREATE FOREIGN TABLE items (payload text, id int OPTIONS ("in" 'response'), name text OPTIONS ("in" 'response', key 'n.name'),
    total int OPTIONS ("in" 'response', key '$.total'), element jsonb OPTIONS ("in" 'response', key '@'), response text)
    SERVER aws_lambda OPTIONS (function_name 'echo', rows 'items');
CREATE FOREIGN TABLE numbers (ns int[] OPTIONS ("in" 'payload', key 'body') NOT NULL, n int OPTIONS ("in" 'response', key '@'))
    SERVER aws_lambda OPTIONS (function_name 'echo', rows 'body');
RESET client_min_messages;
SELECT endpoint.reset();

-- Each type
SELECT t, i, n, f, b, ts, v, pos FROM one WHERE payload = '{"t": "a\u00e9\n", "i": 7, "n": 12345678901234567890.123456789000, "f": 0.1, "b": true, "ts": "2024-02-29T12:00:00Z", "v": "abc", "pos": 1}';
SELECT t, i, n, f, b, v FROM one WHERE payload = '{"t": 1e3, "i": "8", "n": "1.50", "f": 1e-3, "b": "off", "v": -0.0}';
SELECT t, x, j, jb FROM one WHERE payload = '{"t": {"b":1,  "a":[1.0,2e1]}, "x": "quoted \" text"}';
SELECT t, x, j, jb FROM one WHERE payload = '{"t": true, "x": {"b":1,  "a":[1.0,2e1]}}';
SELECT a, p, ps FROM one WHERE payload = '{"a": [1, null, "3"], "p": {"a": 1, "b": {"c": 2}, "c": 3, "d": 4}, "ps": [{"a": 1, "c": 1}, null]}';
SELECT a, p, ps FROM one WHERE payload = '{"a": "{1,2}", "p": "(1,x,2)"}';
SELECT deep, whole IS NOT NULL AS whole FROM one WHERE payload = '{"body": "{\"deep\": {\"er\": 5}}"}';
SELECT deep FROM one WHERE payload = '{"body": {"deep": "{\"er\": \"6\"}"}}';
SELECT whole, response FROM one WHERE payload = ' {"a" :[1]} ';
-- What is not there, null, or in no object is null
SELECT t, i, j, jb, a, p, deep, pos FROM one WHERE payload = '{"t": null, "i": null, "x": null, "a": null, "p": null}';
SELECT t, i, deep, whole FROM one WHERE payload IN ('[]', '1', 'null', '"x"', '{}');
SELECT t, i FROM one WHERE payload = '{"t": 1, "t": 2, "\u0069": 3}';

-- Filters on them stay filters
SELECT i FROM one WHERE payload IN ('{"i": 1}', '{"i": 2}', '{"i": 3}') AND i > 1;
SELECT * FROM endpoint.explain($$SELECT i FROM one WHERE payload IN ('{"i": 1}', '{"i": 2}') AND i > 1 AND t = 'x'$$);
SELECT endpoint.made();
-- A response that no column needs is not read
SELECT count(*) FROM one WHERE payload = 'not JSON';
SELECT i FROM one WHERE payload = 'not JSON';

-- What does not fit
SELECT i FROM one WHERE payload = '{"i": "abc"}';
SELECT i FROM one WHERE payload = '{"i": 1.5}';
SELECT i FROM one WHERE payload = '{"i": 3000000000}';
SELECT b FROM one WHERE payload = '{"b": 7}';
SELECT ts FROM one WHERE payload = '{"ts": "2024-02-30"}';
SELECT v FROM one WHERE payload = '{"v": "abcd"}';
SELECT a FROM one WHERE payload = '{"a": {"b": 1}}';
SELECT p FROM one WHERE payload = '{"p": [1]}';
SELECT p FROM one WHERE payload = '{"p": {"a": 1, "c": -1}}';
SELECT pos FROM one WHERE payload = '{"pos": 0}';
SELECT t FROM one WHERE payload = '{"t": "a\u0000b"}';
SELECT t FROM one WHERE payload = '{"t": "\ud800"}';
SELECT jb FROM one WHERE payload = '{"x": "a\u0000b"}';
SELECT deep FROM one WHERE payload = '{"body": "oops"}';
SELECT i FROM one WHERE payload = '{"i": 7, "t": "\ud800\u0000"}';
SELECT sqlstate, left(message, 90) AS message FROM endpoint.error_of(format($$SELECT jb FROM one WHERE payload = %L$$, '{"x": ' || repeat('[', 200000) || repeat(']', 200000) || '}'));
SELECT i FROM one WHERE payload = '{"i": 7, "x": ' || repeat('[', 200000) || repeat(']', 200000) || '}';

-- As rows
SELECT i, pos, g, p, deep, error_code, error_message FROM returned WHERE function_name = 'echo' AND payload IN
    ('{"i": "abc", "g": "g"}', '{"pos": -1, "g": "g"}', '{"i": 1}', '{"p": {"c": 0}, "i": 2, "g": "g"}', '{"body": "oops"}', '{"i": 4, "pos": 4, "g": "g"}', 'not JSON');
SELECT i, g, status_code, error_code, error_message FROM returned WHERE function_name IN ('unhandled', 'error-403-AccessDeniedException') AND payload = '1';
SELECT endpoint.made();

-- Rows
SELECT id, name, total, element FROM items WHERE payload = '{"total": 3, "items": [{"id": 1, "n": {"name": "a"}}, {"id": 2, "n": "{\"name\": \"b\"}"}, {"id": null}, 4, null]}';
SELECT id FROM items WHERE payload IN ('{"items": []}', '{"items": [{"id": 1}, {"id": 2}]}', '{"items": null}', '{"items": "[{\"id\": 3}]"}');
SELECT count(*) FROM items WHERE payload IN ('{"items": []}', '{"items": [1, 2, 3]}');
SELECT response, element FROM items WHERE payload = '{"items": [1, 2]}';
SELECT id FROM items WHERE payload = '{"itmes": [1, 2]}';
SELECT id FROM items WHERE payload = '{"items": {"id": 1}}';
SELECT id FROM items WHERE payload = '{"items": [{"id": 1}, {"id": "x"}]}';
SELECT endpoint.made();
CREATE FOREIGN TABLE whole (payload text, n int OPTIONS ("in" 'response', key '@'), invocation_type text, status_code int) SERVER aws_lambda OPTIONS (function_name 'echo', rows '$');
SELECT n FROM whole WHERE payload IN ('[1, 2]', '[]', '"[3]"', 'null');
SELECT n FROM whole WHERE payload = '{}';
SELECT n, status_code FROM whole WHERE payload = '[1, 2]' AND invocation_type IN ('Event', 'DryRun');
CREATE FOREIGN TABLE returned_rows (payload text, n int OPTIONS ("in" 'response', key '@'), function_name text, error_code text, error_message text)
    SERVER aws_lambda OPTIONS (on_error 'return', rows 'items');
SELECT n, error_code, error_message FROM returned_rows WHERE function_name = 'echo' AND payload IN ('{"items": [1, "x", 3]}', '{}', '{"items": []}');
SELECT n, error_code FROM returned_rows WHERE function_name = 'unhandled' AND payload = '1';
SELECT endpoint.made();

-- Joins, and rows of the rows. An invocation is made once, whatever asks for its rows again
CREATE TABLE t AS SELECT i AS id, ARRAY(SELECT generate_series(1, i)) AS ns FROM generate_series(0, 3) i;
ANALYZE t;
SELECT t.id, n FROM t JOIN numbers USING (ns) ORDER BY 1, 2;
SELECT t.id, n FROM t LEFT JOIN numbers USING (ns) ORDER BY 1, 2;
SELECT t.id, n FROM t LEFT JOIN numbers ON numbers.ns = t.ns AND n > 1 ORDER BY 1, 2;
SELECT t.id FROM t WHERE EXISTS (SELECT FROM numbers WHERE ns = t.ns AND n = 2) ORDER BY 1;
SELECT t.id, (SELECT sum(n) FROM numbers WHERE ns = t.ns) FROM t ORDER BY 1;
SELECT endpoint.made();
SELECT a.n, b.n FROM numbers a JOIN numbers b ON b.ns = ARRAY[a.n, a.n] WHERE a.ns = '{1,2}';
SELECT endpoint.made();
SELECT a.n, b.n, t.id FROM numbers a JOIN numbers b ON b.ns = ARRAY[a.n] JOIN t ON t.id < 2 WHERE a.ns = '{5,5,6}' ORDER BY 1, 2, 3;
SELECT endpoint.made();
SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off;
SELECT t.id, n FROM t JOIN (SELECT n FROM numbers WHERE ns = '{1,2,3}' OFFSET 0) s ON s.n = t.id ORDER BY 1;
RESET enable_hashjoin; RESET enable_mergejoin; RESET enable_material;
SELECT endpoint.made();
SELECT count(DISTINCT ctid) FROM numbers WHERE ns IN ('{1,1,1}', '{2}', '{}');
SELECT endpoint.made();
ALTER TABLE t ADD sum int;
UPDATE t SET sum = s.sum FROM (SELECT t.id, sum(n) FROM t JOIN numbers USING (ns) GROUP BY t.id) s WHERE s.id = t.id;
SELECT id, sum FROM t ORDER BY id;
SELECT endpoint.made();

-- A row that is asked for is no invocation: rows of one come first
SELECT n FROM numbers WHERE ns IN ('{1,2,3}', '{4}', '{5}') LIMIT 3;
SELECT endpoint.made();
SELECT n FROM numbers WHERE ns IN ('{}', '{4}', '{5}', '{6}') LIMIT 1;
-- The one ahead may end before it is sent.
SELECT endpoint.made() BETWEEN 2 AND 3 AS one_ahead;
SELECT n FROM t JOIN numbers USING (ns) WHERE t.id > 1 LIMIT 2;
SELECT endpoint.made();
BEGIN;
DECLARE c CURSOR FOR SELECT n FROM numbers WHERE ns IN ('{1,2,3}', '{4}', '{5}');
FETCH 2 FROM c;
FETCH 1 FROM c;
SELECT endpoint.made();
FETCH 1 FROM c;
-- The one ahead may not have arrived.
SELECT endpoint.made() BETWEEN 1 AND 2 AS one_ahead;
COMMIT;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT n FROM numbers WHERE ns IN ('{1,2}', '{3}');
FETCH ALL FROM c;
FETCH BACKWARD 2 FROM c;
FETCH ABSOLUTE 2 FROM c;
COMMIT;
SELECT endpoint.made();
-- In an Append
SELECT n FROM numbers WHERE ns IN ('{1,2}', '{}') UNION ALL SELECT n FROM numbers WHERE ns = '{3,4}' ORDER BY 1;
SELECT endpoint.made();
SELECT regexp_replace("QUERY PLAN", 'Flight: \d+', 'Flight: N') AS plan FROM endpoint.explain($$SELECT n FROM numbers WHERE ns IN ('{1,2}', '{}') AND n > 1$$, 'ANALYZE');
SELECT regexp_replace("QUERY PLAN", 'Flight: \d+', 'Flight: N') AS plan FROM endpoint.explain($$SELECT t.id, n FROM t JOIN numbers USING (ns) WHERE t.id IN (1, 3)$$, 'ANALYZE');
SELECT endpoint.made();

-- Rows that share an invocation
CREATE FOREIGN TABLE batched (ns int[] OPTIONS ("in" 'payload', key 'body') NOT NULL, n int OPTIONS ("in" 'response', key '@'))
    SERVER aws_lambda OPTIONS (function_name 'echo', rows 'body', batch_rows '10');
SELECT t.id, n FROM t LEFT JOIN batched USING (ns) ORDER BY 1, 2;
SELECT endpoint.made();
SELECT n FROM batched WHERE ns IN ('{1,2}', '{}', '{3}');
SELECT invocation_type, payload FROM endpoint.arrived();

-- INSERT returns one row for each
INSERT INTO numbers (ns) VALUES ('{1}') RETURNING n;
INSERT INTO numbers (ns) VALUES ('{1}') RETURNING *;
INSERT INTO items (payload) VALUES ('1') RETURNING element;
INSERT INTO numbers (ns) VALUES ('{1}') RETURNING ns;
CREATE FOREIGN TABLE back (a int OPTIONS ("in" 'payload'), b int OPTIONS ("in" 'response', key 'a'), c int OPTIONS ("in" 'response', key 'a.b'), invocation_type text)
    SERVER aws_lambda OPTIONS (function_name 'echo');
INSERT INTO back VALUES (1, NULL, NULL, 'RequestResponse'), (2, NULL, NULL, 'Event') RETURNING a, b, c;
SELECT endpoint.made();

-- A modifier of a domain over arrays holds, as in jsonb_populate_record. An error that is no refusal of a value is raised as it is.
CREATE DOMAIN rounded AS numeric(5, 2)[];
CREATE FUNCTION raise_here(value text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'no % here', value; END $$;
CREATE DOMAIN raising AS text CHECK (raise_here(VALUE));
CREATE FOREIGN TABLE of_domains (p jsonb OPTIONS ("in" 'payload'), numbers rounded OPTIONS ("in" 'response', key 'p.n'), text raising OPTIONS ("in" 'response', key 'p.t'))
    SERVER aws_lambda OPTIONS (function_name 'echo', on_error 'raise');
SELECT numbers FROM of_domains WHERE p = '{"n": [1.23456, null]}';
SELECT * FROM endpoint.error_of($$SELECT text FROM of_domains WHERE p = '{"t": "x"}'$$);
ALTER FOREIGN TABLE of_domains ADD error_code text;
ALTER FOREIGN TABLE of_domains OPTIONS (SET on_error 'return');
SELECT * FROM endpoint.error_of($$SELECT text, error_code FROM of_domains WHERE p = '{"t": "x"}'$$);

-- What rows share is made once for each response: columns about it, and fields of it as a whole
CREATE FOREIGN TABLE shared (payload text, n int OPTIONS ("in" 'response'), whole jsonb OPTIONS ("in" 'response', key '$'),
    total int OPTIONS ("in" 'response', key '$.total'), response jsonb, status_code int, error_code text, error_message text)
    SERVER aws_lambda OPTIONS (function_name 'echo', rows 'items', on_error 'return');
SELECT n, whole, total, response, status_code, error_code FROM shared WHERE payload IN ('{"total": 7, "items": [{"n": 1}, {"n": 2}]}', '{"items": [{"n": 3}]}');
SELECT n, total, status_code, error_code, error_message FROM shared WHERE payload = '{"total": "x", "items": [{"n": 1}, {"n": "y"}]}';
SELECT count(whole), count(response) FROM shared
    WHERE payload = (SELECT json_build_object('items', json_agg(json_build_object('n', i, 'text', repeat('x', 150))))::text FROM generate_series(1, 5000) i);

-- A text that is no JSON is the problem of the fields behind it alone
CREATE FOREIGN TABLE gateway (payload text, status int OPTIONS ("in" 'response', key 'statusCode'), body text OPTIONS ("in" 'response'),
    city text OPTIONS ("in" 'response', key 'body.city'), error_code text, error_message text)
    SERVER aws_lambda OPTIONS (function_name 'echo', on_error 'return');
SELECT status, body, city, error_code, error_message FROM gateway
    WHERE payload IN ('{"statusCode": 500, "body": "Internal Server Error"}', '{"statusCode": 200, "body": "{\"city\": \"Lima\"}"}');
CREATE FOREIGN TABLE pages (payload text, n int OPTIONS ("in" 'response'), element text OPTIONS ("in" 'response', key '@'),
    page int OPTIONS ("in" 'response', key '$.page'), error_message text) SERVER aws_lambda OPTIONS (function_name 'echo', rows 'items', on_error 'return');
SELECT n, element, page, error_message FROM pages WHERE payload = '{"page": 3, "items": [{"n": 1}, "oops", {"n": 2}]}';

-- INSERT makes those fields alone that are returned.
CREATE FOREIGN TABLE articles (payload text, article text OPTIONS ("in" 'response'), page int OPTIONS ("in" 'response', key '$.page'))
    SERVER aws_lambda OPTIONS (function_name 'echo', rows 'items', invocation_type 'RequestResponse');
INSERT INTO articles (payload) VALUES ('{"page": "x", "items": []}') RETURNING payload;
INSERT INTO articles (payload) VALUES ('{"page": 4, "items": []}') RETURNING page;
INSERT INTO articles (payload) VALUES ('{"page": "x", "items": []}') RETURNING page;
-- A partition with another order of columns
CREATE FOREIGN TABLE part (lat int OPTIONS ("in" 'response'), north int OPTIONS ("in" 'response'), payload text)
    SERVER aws_lambda OPTIONS (function_name 'echo', invocation_type 'RequestResponse');
CREATE TABLE parted (payload text, north int, lat int) PARTITION BY LIST (payload);
ALTER TABLE parted ATTACH PARTITION part DEFAULT;
INSERT INTO parted (payload) VALUES ('{"lat": 1, "north": "x"}') RETURNING lat, payload;
INSERT INTO parted (payload) VALUES ('{"lat": 1, "north": 2}') RETURNING parted, (SELECT north);

SET client_min_messages = warning;
DROP SCHEMA responses CASCADE;
