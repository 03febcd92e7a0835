-- Tables that are not joined by the response are joined before the scan: an empty join invokes nothing.
SET client_min_messages = warning;
CREATE SCHEMA join_order;
SET search_path = join_order, public;
CREATE FOREIGN TABLE f (function_name text, payload text, response text) SERVER aws_lambda;
CREATE FOREIGN TABLE g (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE TABLE none (id int, s text);
CREATE TABLE t AS SELECT i AS id, i::text AS s, 'echo' AS fn FROM generate_series(1, 5) i;
CREATE TABLE big AS SELECT i AS id, i::text AS s FROM generate_series(1, 1000) i;
CREATE INDEX ON big (s);
ANALYZE none, t, big;
RESET client_min_messages;
SELECT endpoint.reset();

-- A table without rows, or with none that fit
SELECT count(*) FROM f, none WHERE f.function_name = 'echo' AND f.payload = '1';
SELECT count(*) FROM f JOIN t ON f.function_name = t.fn || '?' AND t.id = 1 WHERE f.function_name = 'echo' AND f.payload = '1';
SELECT count(*) FROM f JOIN t ON f.function_name = t.fn AND t.id > 5 WHERE f.function_name = (SELECT 'echo') AND f.payload = '1';
SELECT count(*) FROM f JOIN t ON t.s > f.payload || '9' WHERE f.function_name = 'echo' AND f.payload IN ('7', '8');
SELECT count(*) FROM f WHERE f.function_name = 'echo' AND f.payload = '1' AND EXISTS (SELECT FROM t WHERE t.fn = f.function_name AND t.id > 5);
SELECT count(*) FROM f WHERE f.function_name = 'echo' AND f.payload = '1' AND f.payload IN (SELECT s FROM t WHERE id > 5);
SELECT count(*) FROM t JOIN none USING (id), f WHERE f.function_name = 'echo' AND f.payload = '1';
SELECT count(*) FROM t LEFT JOIN (f JOIN none ON none.s = f.payload) ON true WHERE f.function_name = 'echo' AND f.payload = '1';
SELECT endpoint.made();

-- Each value is one invocation, however many rows it is joined with
SELECT endpoint.explain($$SELECT t.id, f.response FROM f, t WHERE f.function_name = 'echo' AND f.payload IN ('1', '2')$$, '');
SELECT t.id, f.response FROM f, t WHERE f.function_name = 'echo' AND f.payload IN ('1', '2') ORDER BY 1, 2;
SELECT endpoint.made();
SELECT endpoint.explain($$SELECT t.id, f.response FROM f JOIN t ON t.id > f.payload::int WHERE f.function_name = 'echo' AND f.payload IN ('3', '4', '5')$$, '');
SELECT t.id, f.response FROM f JOIN t ON t.id > f.payload::int WHERE f.function_name = 'echo' AND f.payload IN ('3', '4', '5') ORDER BY 1, 2;
SELECT endpoint.made();
SELECT f.payload, f.response FROM f WHERE f.function_name = 'echo' AND f.payload = '1' AND EXISTS (SELECT FROM t WHERE t.fn = f.function_name);
SELECT endpoint.made();
SELECT count(*) FROM f WHERE f.function_name = 'echo' AND f.payload IN ('1', '2') AND EXISTS (SELECT FROM t, none WHERE t.fn = f.function_name AND t.id <> none.id);
SELECT endpoint.made();

-- Tables that are joined by the response come later, and their indexes are used
SELECT endpoint.explain($$SELECT b.id FROM f JOIN big b ON b.s = f.response WHERE f.function_name = 'echo' AND f.payload = '7'$$, '');
SELECT b.id FROM f JOIN big b ON b.s = f.response WHERE f.function_name = 'echo' AND f.payload = '7';
SELECT b.id, t.id FROM f JOIN big b ON b.s = f.response JOIN t ON t.id = b.id WHERE f.function_name = 'echo' AND f.payload = '4';
SELECT count(*) FROM f JOIN big b ON b.s = f.response, none WHERE f.function_name = 'echo' AND f.payload = '7';
SELECT l.n FROM f, LATERAL (SELECT length(f.response) AS n OFFSET 0) l, t WHERE f.function_name = 'echo' AND f.payload = '7' AND t.id = 1;
SELECT endpoint.made();
-- So do outer joins, whose inner side may be empty
SELECT f.response, t.id FROM f LEFT JOIN t ON t.id > 5 WHERE f.function_name = 'echo' AND f.payload = '1';
SELECT f.response, t.id FROM f FULL JOIN (SELECT * FROM t WHERE id > 5) t ON t.s = f.payload WHERE f.function_name = 'echo' AND f.payload = '1';
SELECT endpoint.made();
-- Of two scans the second waits for the first.
SELECT f.response, g.response FROM f, g WHERE f.function_name = 'echo' AND f.payload = '1' AND g.payload = '2';
SELECT endpoint.made();
SELECT f.response, g.response FROM f, g, none WHERE f.function_name = 'echo' AND f.payload = '1' AND g.payload = f.response;
SELECT f.response, g.response FROM f, g, t WHERE f.function_name = 'echo' AND f.payload = '1' AND g.payload = f.response AND t.id = 1;
SELECT endpoint.made();
-- Where a join gives the values, the other joins come when they cost least: fewer rows are fewer invocations.
SELECT count(*) FROM t JOIN g ON g.payload = t.s JOIN big b ON b.id <> t.id;
SELECT endpoint.made();

-- Through parts, and in plans that the settings leave
CREATE TABLE fs (function_name text, payload text, response text) PARTITION BY LIST (payload);
CREATE FOREIGN TABLE fs_1 PARTITION OF fs FOR VALUES IN ('1') SERVER aws_lambda;
CREATE FOREIGN TABLE fs_2 (response text, payload text, function_name text) SERVER aws_lambda;
ALTER TABLE fs ATTACH PARTITION fs_2 DEFAULT;
SELECT count(*) FROM fs, none WHERE fs.function_name = 'echo' AND fs.payload IN ('1', '2');
SELECT count(*) FROM fs JOIN t ON t.fn = fs.function_name AND t.id > 5 WHERE fs.function_name = 'echo' AND fs.payload IN ('1', '2');
SELECT endpoint.made();
SELECT count(*) FROM fs JOIN t ON t.fn = fs.function_name WHERE fs.function_name = 'echo' AND fs.payload IN ('1', '2');
SELECT endpoint.made();
-- Partitions by ranges, and by hash
CREATE TABLE ranges (function_name text, payload text, response text) PARTITION BY RANGE (payload);
CREATE FOREIGN TABLE ranges_1 PARTITION OF ranges FOR VALUES FROM ('1') TO ('3') SERVER aws_lambda;
CREATE FOREIGN TABLE ranges_2 PARTITION OF ranges FOR VALUES FROM ('3') TO (MAXVALUE) SERVER aws_lambda;
CREATE TABLE hashes (function_name text, payload text, response text) PARTITION BY HASH (payload);
CREATE FOREIGN TABLE hashes_1 PARTITION OF hashes FOR VALUES WITH (MODULUS 2, REMAINDER 0) SERVER aws_lambda;
CREATE FOREIGN TABLE hashes_2 PARTITION OF hashes FOR VALUES WITH (MODULUS 2, REMAINDER 1) SERVER aws_lambda;
SELECT payload, response FROM ranges WHERE function_name = 'echo' AND payload IN ('2', '3', '4', '0') ORDER BY 1;
SELECT payload, response FROM hashes WHERE function_name = 'echo' AND payload IN ('2', '3', '4') ORDER BY 1;
SELECT t.id, p.response FROM t JOIN ranges p ON p.function_name = t.fn AND p.payload = t.s ORDER BY 1;
SELECT t.id, p.response FROM t JOIN hashes p ON p.function_name = t.fn AND p.payload = t.s ORDER BY 1;
SELECT endpoint.made();

-- Join clauses that come with parameters are checked by those that have the parameters.
CREATE TABLE u (id int, s text, n int);
INSERT INTO u VALUES (0, 'b', 1);
ANALYZE u;
SELECT x2.id, x3.id FROM g x0 CROSS JOIN g x1 JOIN u x2 ON x0.response = x2.s JOIN u x3 ON x3.n = x2.n WHERE x0.payload = 'b' AND x1.payload = 'b';
SET enable_partitionwise_join = on;
CREATE TABLE us (id text, s text) PARTITION BY LIST (s);
CREATE TABLE us_1 PARTITION OF us FOR VALUES IN ('b');
CREATE TABLE us_2 PARTITION OF us DEFAULT;
CREATE TABLE gs (payload text, response text) PARTITION BY LIST (payload);
CREATE FOREIGN TABLE gs_1 PARTITION OF gs FOR VALUES IN ('b') SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE gs_2 PARTITION OF gs DEFAULT SERVER aws_lambda OPTIONS (function_name 'echo');
INSERT INTO us VALUES ('3', 'a'), ('1', 'b'), ('6', 'c');
ANALYZE us;
SELECT x0.response, x1.id, x2.id FROM gs x0 JOIN us x1 ON x0.response = x1.s JOIN us x2 ON x2.id = x1.id AND x0.response = x2.s WHERE x0.payload = 'b' AND x0.response = x0.payload;
RESET enable_partitionwise_join;
SELECT endpoint.made();

SET enable_nestloop = off;
SELECT count(*) FROM f, none WHERE f.function_name = 'echo' AND f.payload = '1';
SET join_collapse_limit = 1;
SELECT count(*) FROM f JOIN big b ON b.s = f.response CROSS JOIN none WHERE f.function_name = 'echo' AND f.payload = '1';
SET geqo_threshold = 2;
SELECT count(*) FROM f JOIN big b ON b.s = f.response CROSS JOIN t JOIN none ON none.id = t.id WHERE f.function_name = 'echo' AND f.payload = '1';
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA join_order CASCADE;
