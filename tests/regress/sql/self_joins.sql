-- Joins of a table with itself, one of which PostgreSQL leaves out since 18 where they are of the same row: the invocations for them stay
-- the same. Two references of one table of invocations stay two.
SET client_min_messages = warning;
CREATE SCHEMA self_joins;
SET search_path = self_joins, public;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'accept-10');
CREATE TABLE t (id int PRIMARY KEY, s text, n int NOT NULL, r text);
INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 1), (3, NULL, 1), (4, 'a', 2), (5, 'c', 2);
CREATE UNIQUE INDEX ON t (s, id);
ANALYZE t;
-- Runs a query with both references and with one. Returns its rows and invocations.
CREATE FUNCTION both_ways(query text) RETURNS TABLE (rows_ text, invocations int, ways bigint) LANGUAGE plpgsql AS $$
DECLARE
    value text;
    before int := 0;
    counted int;
BEGIN
    PERFORM endpoint.reset();
    CREATE TEMP TABLE runs (rows_ text, invocations int) ON COMMIT DROP;
    FOREACH value IN ARRAY ARRAY['on', 'off'] LOOP
        PERFORM set_config(name, value, true) FROM pg_settings WHERE name = 'enable_self_join_elimination';
        EXECUTE 'WITH q AS MATERIALIZED (' || query || ') INSERT INTO runs SELECT string_agg(q::text, '' '' ORDER BY q::text COLLATE "C") FROM q';
        counted := endpoint.count();
        UPDATE runs SET invocations = counted - before WHERE runs.invocations IS NULL;
        before := counted;
    END LOOP;
    PERFORM set_config(name, 'on', true) FROM pg_settings WHERE name = 'enable_self_join_elimination';
    RETURN QUERY SELECT r.rows_, r.invocations, count(*) FROM runs r GROUP BY 1, 2 ORDER BY 1, 2;
    DROP TABLE runs;
END $$;
RESET client_min_messages;
SELECT endpoint.reset();

-- The value comes of the one that stays, of the one that goes, and of both.
SELECT * FROM both_ways('SELECT t.id, f.response FROM t JOIN t u ON u.id = t.id JOIN f ON f.payload = t.s');
SELECT * FROM both_ways('SELECT t.id, f.response FROM t JOIN t u ON u.id = t.id JOIN f ON f.payload = u.s');
SELECT * FROM both_ways('SELECT t.id, f.response FROM t JOIN t u ON u.id = t.id JOIN f ON f.payload = t.s || u.n');
SELECT * FROM both_ways('SELECT t.id, f.response FROM t JOIN t u ON u.id = t.id JOIN f ON f.payload = t.s AND f.payload = u.s');
SELECT * FROM both_ways('SELECT t.id, f.response FROM t JOIN t u ON u.id = t.id JOIN t v ON v.id = u.id JOIN f ON f.payload = t.s || u.n || v.id WHERE v.n = 1');
SELECT * FROM both_ways('SELECT t.id, u, f.response FROM t JOIN t u ON u.id = t.id JOIN f ON f.payload = to_json(u)::text');
-- In lists, in LATERAL, in a left join and its conditions
SELECT * FROM both_ways('SELECT t.id, f.response FROM t JOIN t u ON u.id = t.id JOIN f ON f.payload IN (t.s, u.id::text)');
SELECT * FROM both_ways('SELECT t.id, l.response FROM t JOIN t u ON u.id = t.id, LATERAL (SELECT response FROM f WHERE payload = u.s) l');
SELECT * FROM both_ways('SELECT t.id, l.response FROM t JOIN t u ON u.id = t.id, LATERAL (SELECT response FROM f WHERE payload = u.s OFFSET 0) l');
SELECT * FROM both_ways('SELECT t.id, f.response FROM t JOIN t u ON u.id = t.id LEFT JOIN f ON f.payload = u.s AND t.id > 3');
SELECT * FROM both_ways('SELECT t.id, f.response FROM t JOIN t u ON u.id = t.id LEFT JOIN f ON f.payload = u.s AND u.id > 3 AND t.n = 2');
SELECT * FROM both_ways('SELECT t.id, (SELECT response FROM f WHERE payload = u.s) FROM t JOIN t u ON u.id = t.id');
SELECT * FROM both_ways('SELECT t.id FROM t JOIN t u ON u.id = t.id WHERE EXISTS (SELECT FROM f WHERE payload = u.s AND response <> ''b'')');
SELECT * FROM both_ways('SELECT x.id, f.response FROM (SELECT t.id, u.s FROM t JOIN t u ON u.id = t.id WHERE u.n = 2) x JOIN f ON f.payload = x.s');
-- With a left join to itself, whose columns are read and are not read
SELECT * FROM both_ways('SELECT t.id, f.response FROM t LEFT JOIN t u ON u.id = t.id JOIN f ON f.payload = t.s');
SELECT * FROM both_ways('SELECT t.id, f.response FROM t LEFT JOIN t u ON u.id = t.id JOIN f ON f.payload = u.s');
-- Where they are different rows, nothing is left out.
SELECT * FROM both_ways('SELECT t.id, u.id, f.response FROM t JOIN t u ON u.id = t.id + 1 JOIN f ON f.payload = t.s || u.s');

-- A table of invocations twice: for the same values, for one of the other, for lists
SELECT * FROM both_ways('SELECT a.response, b.response FROM f a JOIN f b ON a.payload = b.payload WHERE a.payload = ''x''');
SELECT * FROM both_ways('SELECT a.response, b.response FROM f a JOIN f b ON a.payload = b.payload AND a.response = b.response WHERE a.payload IN (''x'', ''y'')');
SELECT * FROM both_ways('SELECT t.id, a.response, b.response FROM t JOIN f a ON a.payload = t.s JOIN f b ON b.payload = t.s');
SELECT * FROM both_ways('SELECT t.id, a.response, b.response FROM t JOIN t u ON u.id = t.id JOIN f a ON a.payload = t.s JOIN f b ON b.payload = u.s');

-- The target is one of the references.
SELECT endpoint.reset();
BEGIN;
UPDATE t SET r = f.response || u.id FROM t u JOIN f ON f.payload = u.s WHERE u.id = t.id;
SELECT id, r FROM t ORDER BY id;
ROLLBACK;
SELECT endpoint.made();
BEGIN;
UPDATE t SET r = f.response || u.id || v.n FROM t u JOIN t v ON v.id = u.id JOIN f ON f.payload = v.s WHERE u.id = t.id AND v.id > 2;
SELECT id, r FROM t ORDER BY id;
ROLLBACK;
SELECT endpoint.made();
BEGIN;
DELETE FROM t USING t u, f WHERE u.id = t.id AND f.payload = u.s AND f.response = 'a';
SELECT id FROM t ORDER BY id;
ROLLBACK;
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA self_joins CASCADE;
