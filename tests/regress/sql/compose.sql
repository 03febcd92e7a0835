-- Joins with invocations as parts of larger queries: rows in the outer side's order, one invocation for each that has a value.
SET client_min_messages = warning;
CREATE SCHEMA compose;
SET search_path = compose, public;
CREATE FOREIGN TABLE f (payload text, response text, status_code int)
    SERVER aws_lambda OPTIONS (function_name 'accept-10');
CREATE FOREIGN TABLE j (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'mock');
-- 3 has no value, so makes no invocation; 1 and 4 have the same one, which makes two.
CREATE TABLE t (id int PRIMARY KEY, s text, n int);
INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 1), (3, NULL, 1), (4, 'a', 2), (5, 'c', 2);
CREATE TABLE many AS SELECT i AS id, i % 7 AS k, 'v' || i AS s FROM generate_series(1, 100) i;
ANALYZE t, many;
RESET client_min_messages;
SELECT endpoint.reset();

-- The later a row comes, the sooner is its answer there; more rows than are in flight at once
SELECT string_agg(response ->> 'id', ' ') AS in_order
FROM many JOIN j ON j.payload = jsonb_build_object('id', id, 'ms', (100 - id) * 2);
SELECT endpoint.counter('most_in_flight') BETWEEN 10 AND 64 AS at_once, endpoint.made();
SELECT id, response FROM (SELECT * FROM t ORDER BY id DESC) t LEFT JOIN f ON f.payload = t.s;
SELECT endpoint.made();

-- Aggregates, groups, grouping sets, windows
SELECT count(*), count(f.response), max(f.response), array_agg(f.response || t.id) FROM t LEFT JOIN f ON f.payload = t.s;
SELECT f.response, count(*), sum(t.n) FROM t JOIN f ON f.payload = t.s GROUP BY f.response HAVING count(*) < 3 ORDER BY 1;
SELECT t.n, f.response, count(*) FROM t JOIN f ON f.payload = t.s GROUP BY ROLLUP (t.n, f.response) ORDER BY 1, 2;
SELECT t.id, f.response, rank() OVER (PARTITION BY t.n ORDER BY f.response), lag(f.response) OVER (ORDER BY t.id)
FROM t JOIN f ON f.payload = t.s ORDER BY t.id;
SELECT endpoint.made();
-- DISTINCT, ORDER BY, LIMIT
SELECT DISTINCT f.response FROM t JOIN f ON f.payload = t.s ORDER BY 1 DESC;
SELECT DISTINCT ON (f.response) f.response, t.id FROM t JOIN f ON f.payload = t.s ORDER BY f.response, t.id DESC;
SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s ORDER BY f.response DESC, t.id LIMIT 2;
SELECT endpoint.made();
SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s LIMIT 2;
SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s OFFSET 1 LIMIT 1;
SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s LIMIT 0;
SELECT endpoint.made();
-- UNION and its relatives
SELECT f.response FROM t JOIN f ON f.payload = t.s UNION SELECT f.response FROM t JOIN f ON f.payload = t.s || t.n ORDER BY 1;
SELECT endpoint.made();
SELECT f.response FROM t JOIN f ON f.payload = t.s UNION ALL SELECT s FROM t WHERE id = 5 ORDER BY 1;
SELECT s FROM t EXCEPT SELECT f.response FROM t JOIN f ON f.payload = t.s WHERE t.id > 1;
SELECT f.response FROM t JOIN f ON f.payload = t.s WHERE t.id < 4 INTERSECT ALL SELECT 'b' ORDER BY 1;
SELECT endpoint.made();

-- CTEs: inlined, materialized and read twice, not read, and on the outer side
WITH c AS (SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s) SELECT * FROM c WHERE id > 2;
SELECT endpoint.made();
WITH c AS MATERIALIZED (SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s)
SELECT a.id, b.id FROM c a JOIN c b USING (response) WHERE a.id < b.id;
WITH c AS MATERIALIZED (SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s) SELECT 1 AS one;
SELECT endpoint.made();
WITH c AS MATERIALIZED (SELECT id, s || id AS v FROM t WHERE id > 1) SELECT c.id, f.response FROM c JOIN f ON f.payload = c.v;
SELECT endpoint.made();
-- Recursive ones: a chain, each link made of the answer before it, and rounds of several rows
WITH RECURSIVE r (n, v) AS (
    SELECT 1, 'x' UNION ALL SELECT n + 1, f.response || n FROM r JOIN f ON f.payload = r.v WHERE n < 5)
SELECT * FROM r;
SELECT endpoint.made();
WITH RECURSIVE r (id, v, round) AS (
    SELECT id, s, 0 FROM t UNION ALL SELECT id, f.response || round, round + 1 FROM r JOIN f ON f.payload = r.v WHERE round < 3)
SELECT round, string_agg(v, ' ' ORDER BY id) FROM r GROUP BY round ORDER BY round;
SELECT endpoint.made();

-- Subqueries with a join of their own, run again for each row
SELECT id, (SELECT string_agg(f.response, ' ') FROM generate_series(1, t.id) k JOIN f ON f.payload = t.s || k) FROM t WHERE id < 4;
SELECT endpoint.made();
SELECT id, l.* FROM t, LATERAL (
    SELECT count(*), max(f.response) FROM t u LEFT JOIN f ON f.payload = t.s || u.s AND u.id <> t.id) l WHERE id < 3;
SELECT endpoint.made();
SELECT id FROM t WHERE n < ALL (SELECT length(f.response) FROM t u JOIN f ON f.payload = u.s || 'long') ORDER BY id;
SELECT endpoint.made();
SELECT id, EXISTS (SELECT FROM t u JOIN f ON f.payload = u.s || t.id) FROM t WHERE id > 3;
SELECT endpoint.made();
SELECT id FROM t WHERE EXISTS (SELECT FROM f WHERE f.payload = t.s AND f.response <> 'a') ORDER BY id;
SELECT id FROM t WHERE NOT EXISTS (SELECT FROM f WHERE f.payload = t.s AND f.response = 'a') ORDER BY id;
SELECT endpoint.made();
-- A value that is a subquery with invocations
SELECT t.id, f.response FROM t JOIN f ON f.payload = (SELECT g.response || '!' FROM f g WHERE g.payload = t.s);
SELECT endpoint.made();
SELECT t.id, f.response FROM t LEFT JOIN f
    ON f.payload = (SELECT string_agg(g.response, '') FROM t u JOIN f g ON g.payload = u.s WHERE u.n = t.n);
SELECT endpoint.made();

-- Views, a view on a view, and one that is a security barrier
CREATE VIEW joined AS SELECT t.id, t.n, f.response FROM t JOIN f ON f.payload = t.s;
CREATE VIEW above AS SELECT n, max(response), count(*) FROM joined GROUP BY n;
CREATE VIEW barred WITH (security_barrier) AS SELECT * FROM f;
CREATE VIEW barred_join WITH (security_barrier) AS SELECT t.id, t.n, f.response FROM t JOIN f ON f.payload = t.s;
SELECT * FROM joined WHERE id IN (2, 3, 4);
SELECT endpoint.made();
SELECT * FROM above ORDER BY n;
SELECT * FROM t JOIN above USING (n) WHERE id = 5;
SELECT endpoint.made();
SELECT * FROM barred WHERE payload = 'x';
SELECT t.id, b.response FROM t, LATERAL (SELECT * FROM barred WHERE payload = t.s OFFSET 0) b;
SELECT * FROM barred_join WHERE id > 3;
SELECT endpoint.made();
-- A join's condition is not let into it, so there is no value.
SELECT t.id, b.response FROM t JOIN barred b ON b.payload = t.s;
SELECT endpoint.made();
-- Row security leaves rows out before anything is invoked for them.
CREATE TABLE secured AS SELECT * FROM t;
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
ALTER TABLE secured FORCE ROW LEVEL SECURITY;
CREATE POLICY odd ON secured USING (id % 2 = 1);
CREATE ROLE regress_composer;
GRANT USAGE ON SCHEMA compose TO regress_composer;
GRANT SELECT ON secured, f TO regress_composer;
SET ROLE regress_composer;
SELECT s.id, f.response FROM secured s JOIN f ON f.payload = s.s;
RESET ROLE;
SELECT endpoint.made();

-- Partitioned outer tables, joined by partition too
CREATE TABLE p (id int, s text) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (3);
CREATE TABLE p2 (gone int, s text, id int);
ALTER TABLE p2 DROP COLUMN gone;
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (3) TO (10);
CREATE TABLE q (LIKE p) PARTITION BY RANGE (id);
CREATE TABLE q1 PARTITION OF q FOR VALUES FROM (0) TO (3);
CREATE TABLE q2 PARTITION OF q FOR VALUES FROM (3) TO (10);
INSERT INTO p SELECT id, s FROM t;
INSERT INTO q SELECT id, upper(s) FROM t;
ANALYZE p, q;
SELECT p.tableoid::regclass, p.ctid, p.id, f.response FROM p JOIN f ON f.payload = p.s;
SELECT endpoint.made();
SET enable_partitionwise_join = on;
EXPLAIN (COSTS OFF) SELECT * FROM p JOIN q USING (id) JOIN f ON f.payload = p.s || q.s;
SELECT id, f.response FROM p JOIN q USING (id) JOIN f ON f.payload = p.s || q.s ORDER BY id;
SELECT endpoint.made();
-- Both partitioned, the tables of invocations too
CREATE TABLE by_value (id int, s text) PARTITION BY LIST (s);
CREATE TABLE by_value_ab PARTITION OF by_value FOR VALUES IN ('a', 'b');
CREATE TABLE by_value_c PARTITION OF by_value FOR VALUES IN ('c', NULL);
INSERT INTO by_value SELECT id, s FROM t;
ANALYZE by_value;
CREATE TABLE functions (payload text, response text) PARTITION BY LIST (payload);
CREATE FOREIGN TABLE functions_ab PARTITION OF functions FOR VALUES IN ('a', 'b') SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE functions_c PARTITION OF functions FOR VALUES IN ('c') SERVER aws_lambda OPTIONS (function_name 'count');
SELECT x.id, l.tableoid::regclass, l.payload, l.response FROM by_value x JOIN functions l ON l.payload = x.s ORDER BY id;
SELECT endpoint.made();
RESET enable_partitionwise_join;
-- Inheritance
CREATE TABLE parent (id int, s text);
CREATE TABLE child (more text DEFAULT 'more') INHERITS (parent);
INSERT INTO parent VALUES (1, 'p');
INSERT INTO child VALUES (2, 'c'), (3, 'd');
SELECT x.tableoid::regclass, x, f.response FROM parent x JOIN f ON f.payload = x.s ORDER BY id;
SELECT x.id, f.response FROM ONLY parent x JOIN f ON f.payload = x.s;
SELECT endpoint.made();

-- Parallel workers read the outer side; the leader invokes.
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT many.id, f.response FROM many JOIN f ON f.payload = many.s WHERE many.k = 3;
SELECT count(*), sum(many.id), count(DISTINCT f.response) FILTER (WHERE f.response = many.s) FROM many JOIN f ON f.payload = many.s WHERE many.k = 3;
SELECT endpoint.made();
EXPLAIN (COSTS OFF) SELECT x.k, f.response FROM (SELECT k, count(*) AS c FROM many GROUP BY k) x JOIN f ON f.payload = x.k || ':' || x.c;
SELECT x.k, f.response FROM (SELECT k, count(*) AS c FROM many GROUP BY k) x JOIN f ON f.payload = x.k || ':' || x.c ORDER BY 1;
SELECT endpoint.made();
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;

SET client_min_messages = warning;
DROP SCHEMA compose CASCADE;
DROP ROLE regress_composer;
