-- Joins with invocations in statements that write: each outer row with a value invokes once.
SET client_min_messages = warning;
CREATE SCHEMA writes_elsewhere;
SET search_path = writes_elsewhere, public;
CREATE FOREIGN TABLE f (payload text, response text, status_code int)
    SERVER aws_lambda OPTIONS (function_name 'accept-10');
-- 3 has no value, so makes no invocation; 1 and 4 have the same one, which makes two. What is done to the table is
-- rolled back each time, so that its rows keep their order.
CREATE TABLE t (id int PRIMARY KEY, s text, n int NOT NULL DEFAULT 0, r text);
INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL), (4, 'a'), (5, 'c');
CREATE TABLE twice AS SELECT id, s || k AS s FROM t, generate_series(1, 2) k;
CREATE TABLE o (id int PRIMARY KEY, r text);
ANALYZE t, twice, o;
RESET client_min_messages;
SELECT endpoint.reset();

-- UPDATE, the whole row as payload
BEGIN;
UPDATE t SET r = l.response ->> 's', n = (l.response ->> 'id')::int * 10
FROM aws_lambda.lambda_invocations l WHERE l.function_name = 'echo' AND l.payload = to_jsonb(t);
SELECT * FROM t ORDER BY id;
ROLLBACK;
SELECT endpoint.made();
-- Only the rows that pass the other conditions, and all of them at once
BEGIN;
UPDATE t SET r = f.response FROM f WHERE f.payload = t.s || t.id AND t.id <> 4;
SELECT id, r FROM t ORDER BY id;
ROLLBACK;
SELECT endpoint.counter('most_in_flight') > 1 AS at_once, endpoint.made();
-- A condition on the response is checked after the invocation.
BEGIN;
UPDATE t SET r = f.response || '!' FROM f WHERE f.payload = t.s AND f.response > 'a' RETURNING t.id, t.r;
ROLLBACK;
SELECT endpoint.made();
-- RETURNING what was joined: columns, whole rows, the tables of both
BEGIN;
UPDATE t SET r = f.response || id FROM f WHERE f.payload = t.s
RETURNING id, r, f, t, f.tableoid::regclass, t.tableoid::regclass, (f.payload, r) < (r, f.payload) AS less;
ROLLBACK;
SELECT endpoint.made();
-- RETURNING what another invocation answers to the new row
BEGIN;
UPDATE t SET r = f.response || id FROM f WHERE f.payload = t.s RETURNING id, (SELECT g.response FROM f g WHERE g.payload = t.r);
ROLLBACK;
SELECT endpoint.made();
-- Two tables of invocations, the second of which is given what came from the first
BEGIN;
UPDATE t SET r = g.response FROM f, f g WHERE f.payload = t.s AND g.payload = f.response || t.id;
SELECT id, r FROM t ORDER BY id;
ROLLBACK;
SELECT endpoint.made();
-- Two rows for each row that is updated, which is updated once
BEGIN;
UPDATE t SET n = n + 1 FROM twice JOIN f ON f.payload = twice.s WHERE twice.id = t.id;
SELECT id, n FROM t ORDER BY id;
ROLLBACK;
SELECT endpoint.made();
-- The table itself as the outer side, with and without a value
BEGIN;
UPDATE t SET r = COALESCE(x.response, 'none')
FROM (SELECT u.id, f.response FROM t u LEFT JOIN f ON f.payload = u.s AND u.id < 5) x WHERE x.id = t.id;
SELECT id, r FROM t ORDER BY id;
ROLLBACK;
SELECT endpoint.made();
-- A subquery for each row
BEGIN;
UPDATE t SET (r, n) = (SELECT string_agg(f.response, ',' ORDER BY f.response), count(*)
    FROM twice JOIN f ON f.payload = twice.s WHERE twice.id = t.id);
SELECT id, r, n FROM t ORDER BY id;
ROLLBACK;
SELECT endpoint.made();

-- DELETE
BEGIN;
DELETE FROM t USING f WHERE f.payload = t.s AND f.response <> 'a' RETURNING t.id, f.response;
SELECT id FROM t ORDER BY id;
ROLLBACK;
SELECT endpoint.made();
BEGIN;
DELETE FROM t WHERE EXISTS (SELECT FROM f WHERE f.payload = t.s AND f.response = 'a') RETURNING t.id;
ROLLBACK;
SELECT endpoint.made();

-- INSERT into another table, and once more with conflicts
INSERT INTO o SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s RETURNING *;
SELECT endpoint.made();
INSERT INTO o SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s ON CONFLICT DO NOTHING;
SELECT endpoint.made();
INSERT INTO o SELECT t.id, f.response || 2 FROM t LEFT JOIN f ON f.payload = t.s
ON CONFLICT (id) DO UPDATE SET r = EXCLUDED.r WHERE o.r <> 'b';
SELECT * FROM o ORDER BY id;
SELECT endpoint.made();
-- INSERT into the table that is read does not read what it inserts.
BEGIN;
INSERT INTO t (id, s) SELECT t.id + 10, f.response FROM t JOIN f ON f.payload = t.s RETURNING id, s;
ROLLBACK;
SELECT endpoint.made();

-- New tables and materialised views
CREATE TABLE made AS SELECT t.id, f.* FROM t JOIN f ON f.payload = t.s;
SELECT * FROM made ORDER BY id;
CREATE TABLE made_empty AS SELECT t.id, f.* FROM t JOIN f ON f.payload = t.s WITH NO DATA;
SELECT endpoint.made();
SELECT t.id, f.response INTO selected FROM t LEFT JOIN f ON f.payload = t.s;
SELECT count(*), count(response) FROM selected;
SELECT endpoint.made();
CREATE MATERIALIZED VIEW m AS SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s;
CREATE UNIQUE INDEX ON m (id);
SELECT endpoint.made();
REFRESH MATERIALIZED VIEW m;
REFRESH MATERIALIZED VIEW CONCURRENTLY m;
SELECT * FROM m ORDER BY id;
SELECT endpoint.made();
COPY (SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s) TO STDOUT;
SELECT endpoint.made();

-- Data-modifying CTEs: read by a join, reading a join, not read, and read in part
BEGIN;
WITH gone AS (DELETE FROM t WHERE id < 3 RETURNING *) SELECT gone.id, f.response FROM gone JOIN f ON f.payload = gone.s;
ROLLBACK;
SELECT endpoint.made();
BEGIN;
WITH e AS (UPDATE t SET r = 'cte' FROM f WHERE f.payload = t.s RETURNING t.id, f.response)
INSERT INTO o SELECT id + 100, response FROM e RETURNING *;
ROLLBACK;
SELECT endpoint.made();
BEGIN;
WITH e AS (UPDATE t SET r = 'nobody ' || f.response FROM f WHERE f.payload = t.s) SELECT 'read nothing';
SELECT id, r FROM t ORDER BY id;
ROLLBACK;
SELECT endpoint.made();
BEGIN;
WITH e AS (UPDATE t SET r = 'part ' || f.response FROM f WHERE f.payload = t.s RETURNING id) SELECT count(*) FROM (SELECT FROM e LIMIT 1) x;
SELECT id, r FROM t ORDER BY id;
ROLLBACK;
SELECT endpoint.made();

-- Triggers that invoke: before and after each row, and after the statement for the rows that it has changed
CREATE TABLE log (place int GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION before_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.r := NEW.r || (SELECT string_agg(f.response, ',') FROM generate_series(1, 2) k JOIN f ON f.payload = NEW.s || k);
    RETURN NEW;
END $$;
CREATE FUNCTION after_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO log (what) SELECT 'row ' || OLD.id || ' ' || f.response FROM f WHERE f.payload = NEW.r;
    RETURN NULL;
END $$;
CREATE FUNCTION after_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO log (what) SELECT 'statement ' || f.response FROM changed JOIN f ON f.payload = changed.id || changed.r ORDER BY changed.id;
    RETURN NULL;
END $$;
CREATE TRIGGER before_row BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION before_row();
CREATE TRIGGER after_row AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION after_row();
CREATE TRIGGER after_statement AFTER UPDATE ON t REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION after_statement();
BEGIN;
UPDATE t SET r = f.response || ':' FROM f WHERE f.payload = t.s;
SELECT what FROM log ORDER BY place;
-- For each of 4 rows one for the join, two before, one after, and one after the statement
SELECT endpoint.made();
ROLLBACK;
DROP TRIGGER before_row ON t;
DROP TRIGGER after_row ON t;
DROP TRIGGER after_statement ON t;

-- Generated columns, as what is sent and as what changes
CREATE TABLE generated (id int, s text, g text GENERATED ALWAYS AS (s || '-' || id) STORED);
INSERT INTO generated VALUES (1, 'x'), (2, 'y');
UPDATE generated SET s = f.response FROM f WHERE f.payload = generated.g RETURNING generated.*;
SELECT endpoint.made();

-- A constraint that a row violates: those before it were invoked for, those after it perhaps.
BEGIN;
ALTER TABLE t ADD CONSTRAINT small CHECK (n < 40);
UPDATE t SET n = t.id * 10 FROM f WHERE f.payload = t.s AND t.id <> 2;
ROLLBACK;
SELECT endpoint.made() BETWEEN 2 AND 3 AS two_or_three;

-- Partitions between which rows move, in one statement
CREATE TABLE p (id int, s text, part int) PARTITION BY LIST (part);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 (part int, gone int, s text, id int);
ALTER TABLE p2 DROP COLUMN gone;
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2);
INSERT INTO p VALUES (1, '2', 1), (2, '1', 1), (3, '1', 2), (4, '2', 2), (5, NULL, 2);
BEGIN;
UPDATE p SET part = f.response::int FROM f WHERE f.payload = p.s RETURNING id, p.tableoid::regclass, f.response, p;
SELECT tableoid::regclass, * FROM p ORDER BY id;
SELECT endpoint.made();
DELETE FROM p USING f WHERE f.payload = p.s AND p.part = 2 RETURNING id, f.response;
SELECT endpoint.made();
ROLLBACK;
-- Inheritance
CREATE TABLE parent (id int, s text);
CREATE TABLE child (more text DEFAULT 'more') INHERITS (parent);
INSERT INTO parent VALUES (1, 'p');
INSERT INTO child VALUES (2, 'c');
UPDATE parent SET s = f.response || '!' FROM f WHERE f.payload = parent.s RETURNING parent.tableoid::regclass, parent.*;
UPDATE ONLY parent SET s = f.response || '!' FROM f WHERE f.payload = parent.s RETURNING parent.tableoid::regclass, parent.*;
SELECT endpoint.made();

-- A view that can be updated, and one that a trigger updates
CREATE VIEW simple AS SELECT id, s, r FROM t WHERE id > 3;
BEGIN;
UPDATE simple SET r = 'view ' || f.response FROM f WHERE f.payload = simple.s RETURNING simple.id, simple.r;
ROLLBACK;
SELECT endpoint.made();
CREATE VIEW joined AS SELECT t.id, t.n, f.response FROM t JOIN f ON f.payload = t.s;
CREATE FUNCTION instead() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO log (what) VALUES (OLD.id || OLD.response || NEW.n);
    RETURN NEW;
END $$;
CREATE TRIGGER instead INSTEAD OF UPDATE ON joined FOR EACH ROW EXECUTE FUNCTION instead();
UPDATE joined SET n = 7 WHERE id > 1 RETURNING *;
SELECT what FROM log ORDER BY place;
SELECT endpoint.made();

-- Locking clauses, which lock nothing of the invocations
SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s FOR UPDATE OF t;
SELECT t.id, f.response FROM t LEFT JOIN f ON f.payload = t.s WHERE t.id > 1 FOR NO KEY UPDATE OF t SKIP LOCKED;
SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s FOR SHARE;
SELECT endpoint.made();

-- EXPLAIN ANALYZE
BEGIN;
EXPLAIN (COSTS OFF) UPDATE t SET r = f.response FROM f WHERE f.payload = t.s RETURNING f.*;
SELECT * FROM endpoint.explain($$DELETE FROM t USING f WHERE f.payload = t.s AND t.id = 1$$, 'ANALYZE');
ROLLBACK;
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA writes_elsewhere CASCADE;
