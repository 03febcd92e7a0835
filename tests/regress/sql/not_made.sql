-- Queries with unexpected invocations. A comment before each says how many it makes.
SET client_min_messages = warning;
CREATE SCHEMA not_made;
SET search_path = not_made, public;
CREATE FOREIGN TABLE echo (payload jsonb, status_code int, response jsonb) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE slow (payload jsonb, status_code int, response jsonb) SERVER aws_lambda OPTIONS (function_name 'accept-30');
CREATE TABLE t AS SELECT i AS id, to_jsonb(i) AS p FROM generate_series(1, 10) i;
CREATE TABLE u AS SELECT i AS id, to_jsonb(i + 100) AS p FROM generate_series(1, 3) i;
CREATE TABLE parted (id int, p jsonb) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (4);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (4) TO (8);
CREATE TABLE parted_3 PARTITION OF parted FOR VALUES FROM (8) TO (12);
INSERT INTO parted SELECT * FROM t;
ANALYZE t, u, parted;
CREATE FUNCTION later(jsonb) RETURNS jsonb STABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN $1; END $$;
RESET client_min_messages;
SELECT endpoint.reset();

-- 0: a condition without columns is checked before the scan is run, also where a join is between.
SELECT count(x.response) FROM t LEFT JOIN (SELECT * FROM echo WHERE current_setting('application_name') = 'nope') x ON x.payload = t.p;
SELECT endpoint.made();
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SELECT count(x.response) FROM t
LEFT JOIN (SELECT echo.* FROM echo JOIN u ON u.id > 0 WHERE current_setting('application_name') = 'nope') x ON x.payload = t.p;
SELECT endpoint.made();
RESET enable_hashjoin;
RESET enable_mergejoin;

-- 1: the outer row is in the result, and gives no value.
SELECT count(x.y) FROM t LEFT JOIN LATERAL (SELECT response, t.id AS y FROM echo WHERE payload = '1') x ON true;
SELECT endpoint.made();

-- 1: what was read before is read again, and no further.
SELECT count((SELECT response FROM slow WHERE payload = ANY ('{1,2,3,4,5,6,7,8}') AND response <> later(to_jsonb(g + 100)) LIMIT 1))
FROM generate_series(1, 5) g;
SELECT endpoint.made();

-- 5: the LIMIT applies to each row of v.
SELECT v.n, x.response FROM (VALUES (3), (1), (1)) v (n),
LATERAL (SELECT * FROM slow WHERE payload = ANY (ARRAY[to_jsonb(v.n + 10), to_jsonb(v.n + 20), to_jsonb(v.n + 30)]) LIMIT v.n) x;
SELECT endpoint.made();

-- 1: one row is joined with many.
SELECT s.response FROM slow s, LATERAL generate_series(1, (s.response #>> '{}')::int + 10) g
WHERE payload = ANY ('{1,2,3,4,5,6,7,8}') LIMIT 3;
SELECT endpoint.made();

-- 2: each partition has a hash table of the subquery, which is read twice and made once.
SELECT count(*) FROM parted WHERE p NOT IN (SELECT response FROM echo WHERE payload = ANY ('{7,8}'));
SELECT endpoint.made();

-- 0: the row comes from the table, which is read first. 1: the first branch has it.
SELECT count(later(p)) FROM (SELECT p FROM (SELECT p FROM t UNION ALL SELECT response FROM slow WHERE payload = '1') x LIMIT 1) y;
SELECT endpoint.made();
SELECT count(*) FROM (SELECT response FROM slow WHERE payload = '1' UNION ALL SELECT response FROM slow WHERE payload = later('2') LIMIT 1) x;
SELECT endpoint.made();

-- 2: where partitions are joined, a condition of the left join's ON holds for them.
CREATE TABLE orders (fn text, p jsonb, active bool) PARTITION BY LIST (fn);
CREATE TABLE orders_1 PARTITION OF orders FOR VALUES IN ('echo');
CREATE TABLE orders_2 PARTITION OF orders FOR VALUES IN ('describe');
INSERT INTO orders SELECT CASE i % 2 WHEN 0 THEN 'echo' ELSE 'describe' END, to_jsonb(i), i < 3 FROM generate_series(1, 6) i;
CREATE TABLE lambdas (function_name text, payload jsonb, response jsonb) PARTITION BY LIST (function_name);
CREATE FOREIGN TABLE lambdas_1 PARTITION OF lambdas FOR VALUES IN ('echo') SERVER aws_lambda;
CREATE FOREIGN TABLE lambdas_2 PARTITION OF lambdas FOR VALUES IN ('describe') SERVER aws_lambda;
ANALYZE orders;
SET enable_partitionwise_join = on;
SELECT count(l.response) FROM orders o LEFT JOIN lambdas l ON l.function_name = o.fn AND l.payload = o.p AND o.active;
SELECT endpoint.made();
RESET enable_partitionwise_join;

-- Joins in joins, in numbers: 10, 30, 30, 3, 3
SELECT count(*) FROM t LEFT JOIN (echo JOIN u ON u.id > 0) ON echo.payload = t.p;
SELECT endpoint.made();
SELECT count(*) FROM u, LATERAL (SELECT t.id, e.response FROM t JOIN echo e ON e.payload = jsonb_build_array(t.p, u.p) OFFSET 0) x;
SELECT endpoint.made();
SELECT count(*) FROM u LEFT JOIN (t JOIN echo e ON true) ON e.payload = jsonb_build_array(t.p, u.p);
SELECT endpoint.made();
SELECT count(*) FROM u WHERE EXISTS (SELECT 1 FROM echo e JOIN t ON t.id = 1 WHERE e.payload = ANY (ARRAY[u.p, '1']));
SELECT endpoint.made();
SELECT count(*) FROM u WHERE NOT EXISTS (SELECT 1 FROM echo e JOIN t ON t.id = 1 WHERE e.payload = ANY (ARRAY[u.p, '1']));
SELECT endpoint.made();

-- Many tables in a join, which PostgreSQL plans by chance
SET geqo_threshold = 2;
SELECT count(*) FROM t JOIN t t2 USING (id) JOIN t t3 USING (id) JOIN echo x ON x.payload = t.p;
SELECT endpoint.made();
RESET geqo_threshold;
-- An UPDATE of partitions, as EXPLAIN prints it
ALTER TABLE parted ADD r jsonb;
EXPLAIN (VERBOSE, COSTS OFF) UPDATE parted SET r = e.response FROM echo e WHERE e.payload = parted.p AND parted.id < 4;

-- The invocations of a whole statement count, also of that which loads the library, and what its triggers ask.
\c
SET search_path = not_made, public;
SET aws_lambda.max_invocations = 2;
SELECT (aws_lambda.invoke('echo', to_json(i))).status_code FROM generate_series(1, 5) i;
CREATE TABLE log (p jsonb);
CREATE FUNCTION ask() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM response FROM not_made.echo WHERE payload = NEW.p;
    RETURN NULL;
END $$;
CREATE TRIGGER ask AFTER INSERT ON log FOR EACH ROW EXECUTE FUNCTION ask();
INSERT INTO log SELECT p FROM t;
RESET aws_lambda.max_invocations;
SELECT endpoint.made();

-- Each statement of a DO block counts for itself, also in a new session.
\c
SET search_path = not_made, public;
SET aws_lambda.max_invocations = 2;
DO $$
BEGIN
    FOR i IN 1..3 LOOP
        PERFORM response FROM not_made.echo WHERE payload = to_jsonb(i);
    END LOOP;
END $$;
RESET aws_lambda.max_invocations;
SELECT endpoint.made();

-- The same inputs with and without the response: one invocation, which has it.
ALTER FOREIGN TABLE echo OPTIONS (ADD deduplicate 'true');
SELECT (SELECT status_code FROM echo WHERE payload = '1') AS status_code, (SELECT response FROM echo WHERE payload = '1') AS response;
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA not_made CASCADE;
