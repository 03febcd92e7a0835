-- MERGE, of PostgreSQL 15 and later: a source with invocations makes one for each row that has a value, and one that a WHEN asks for
-- is made for the rows that come to it. A table of invocations can't be merged into.
SELECT current_setting('server_version_num')::int < 150000 AS skip \gset
\if :skip
\quit
\endif
SET client_min_messages = warning;
CREATE SCHEMA merges;
SET search_path = merges, public;
CREATE FOREIGN TABLE f (payload text, response text, status_code int)
    SERVER aws_lambda OPTIONS (function_name 'accept-10');
-- 3 has no value, so makes no invocation; 1 and 4 have the same one, which makes two.
CREATE TABLE t (id int PRIMARY KEY, s text, r text);
INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL), (4, 'a'), (5, 'c');
-- The target, with the rows 2, 4 and 9
CREATE TABLE o (id int PRIMARY KEY, r text);
INSERT INTO o VALUES (2, 'old'), (4, 'gone'), (9, 'other');
ANALYZE t, o;
RESET client_min_messages;
SELECT endpoint.reset();

-- The source is a join in a subquery: inner, left, LATERAL.
BEGIN;
MERGE INTO o USING (SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s) x ON o.id = x.id
WHEN MATCHED AND o.r = 'gone' THEN DELETE
WHEN MATCHED THEN UPDATE SET r = 'merged ' || x.response
WHEN NOT MATCHED THEN INSERT VALUES (x.id, 'new ' || x.response);
\echo :ROW_COUNT
SELECT * FROM o ORDER BY id;
ROLLBACK;
SELECT endpoint.counter('most_in_flight') > 1 AS at_once, endpoint.made();
BEGIN;
MERGE INTO o USING (SELECT t.id, f.response FROM t LEFT JOIN f ON f.payload = t.s) x ON o.id = x.id
WHEN MATCHED THEN UPDATE SET r = 'merged ' || x.response
WHEN NOT MATCHED AND x.response IS NULL THEN INSERT VALUES (x.id, 'none')
WHEN NOT MATCHED AND x.response = 'a' THEN DO NOTHING
WHEN NOT MATCHED THEN INSERT VALUES (x.id, 'new ' || x.response);
SELECT * FROM o ORDER BY id;
ROLLBACK;
SELECT endpoint.made();
BEGIN;
MERGE INTO o USING (SELECT t.id, l.response FROM t, LATERAL (SELECT response FROM f WHERE payload = t.s || t.id) l) x ON o.id = x.id
WHEN MATCHED THEN UPDATE SET r = x.response
WHEN NOT MATCHED THEN INSERT VALUES (x.id, x.response);
SELECT * FROM o ORDER BY id;
ROLLBACK;
SELECT endpoint.made();
-- It is a common table expression, a list, and one that reads what is merged into.
BEGIN;
WITH x AS (SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s)
MERGE INTO o USING x ON o.id = x.id WHEN NOT MATCHED THEN INSERT VALUES (x.id, x.response);
SELECT count(*) FROM o;
ROLLBACK;
SELECT endpoint.made();
BEGIN;
MERGE INTO o USING f ON o.id = f.payload::int AND f.payload IN ('2', '7')
WHEN MATCHED THEN UPDATE SET r = 'merged ' || f.response;
SELECT * FROM o ORDER BY id;
MERGE INTO o USING (SELECT * FROM f WHERE payload IN ('2', '7')) x ON o.id = x.payload::int
WHEN MATCHED THEN UPDATE SET r = 'again ' || x.response
WHEN NOT MATCHED THEN INSERT VALUES (x.payload::int, 'new ' || x.response);
SELECT * FROM o ORDER BY id;
ROLLBACK;
SELECT endpoint.made();
BEGIN;
MERGE INTO t USING (SELECT u.id + 1 AS id, f.response FROM t u JOIN f ON f.payload = u.s WHERE u.id < 3) x ON t.id = x.id
WHEN MATCHED THEN UPDATE SET s = 'changed', r = x.response;
SELECT * FROM t ORDER BY id;
ROLLBACK;
SELECT endpoint.made();

-- The source is a table of invocations, whose values are the target's: no more than WHEN MATCHED can be had of that.
BEGIN;
MERGE INTO t USING f ON f.payload = t.s AND t.id <> 5
WHEN MATCHED AND f.response = 'b' THEN DO NOTHING
WHEN MATCHED THEN UPDATE SET r = 'merged ' || f.response;
SELECT id, r FROM t ORDER BY id;
ROLLBACK;
SELECT endpoint.made();
MERGE INTO t USING f ON f.payload = t.s WHEN NOT MATCHED THEN INSERT VALUES (6, f.response);
SELECT endpoint.made();

-- An invocation in a WHEN is made for the rows for which no WHEN before it is true, one in an action for the rows of that.
BEGIN;
MERGE INTO o USING t ON o.id = t.id
WHEN MATCHED THEN UPDATE SET r = (SELECT response FROM f WHERE payload = t.s || '!')
WHEN NOT MATCHED AND t.s IS NULL THEN INSERT VALUES (t.id, 'none')
WHEN NOT MATCHED AND (SELECT response FROM f WHERE payload = t.s) = 'c' THEN INSERT VALUES (t.id, 'is c');
SELECT * FROM o ORDER BY id;
ROLLBACK;
SELECT * FROM endpoint.arrived();

-- Two rows of the source for one of the target: what came before has been invoked for.
BEGIN;
MERGE INTO o USING (SELECT t.id / 3 * 2 AS id, f.response FROM t JOIN f ON f.payload = t.s) x ON o.id = x.id
WHEN MATCHED THEN UPDATE SET r = x.response;
ROLLBACK;
SELECT endpoint.made() BETWEEN 2 AND 4 AS as_many_as_rows;

-- The plan invokes nothing, running it does.
DO $$ DECLARE line text; BEGIN FOR line IN EXECUTE
    'EXPLAIN MERGE INTO o USING (SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s) x ON o.id = x.id WHEN MATCHED THEN DELETE'
LOOP END LOOP; END $$;
SELECT endpoint.made();
PREPARE m (int) AS MERGE INTO o USING (SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s WHERE t.id <= $1) x ON o.id = x.id
    WHEN MATCHED THEN UPDATE SET r = x.response;
SET plan_cache_mode = force_generic_plan;
SELECT endpoint.made();
EXECUTE m (2);
SELECT endpoint.made();
EXECUTE m (4);
SELECT endpoint.made();
DEALLOCATE m;
RESET plan_cache_mode;

-- Into a table of invocations, or into one with such a partition, nothing is merged, and nothing invoked.
MERGE INTO f USING t ON f.payload = t.s WHEN NOT MATCHED THEN INSERT (payload) VALUES (t.s);
MERGE INTO f USING t ON f.payload = t.s WHEN MATCHED THEN UPDATE SET payload = t.s;
MERGE INTO f USING t ON f.payload = t.s WHEN MATCHED THEN DELETE;
MERGE INTO f USING f g ON f.payload = g.response AND g.payload = 'x' WHEN MATCHED THEN DO NOTHING;
CREATE TABLE p (payload text, response text, status_code int) PARTITION BY LIST (payload);
CREATE TABLE p_here PARTITION OF p FOR VALUES IN ('a');
ALTER TABLE p ATTACH PARTITION f DEFAULT;
MERGE INTO p USING t ON p.payload = t.s WHEN NOT MATCHED THEN INSERT (payload) VALUES (t.s);
SELECT endpoint.made();
-- Where the planner knows that the partition has nothing to do with the rows, a row that is inserted may still go to it, as an event.
MERGE INTO p USING (SELECT 'a' AS s) x ON p.payload = x.s WHEN NOT MATCHED THEN INSERT (payload) VALUES (x.s);
SELECT * FROM p_here;
MERGE INTO p USING (SELECT 'a' AS s) x ON p.payload = x.s || '0' AND p.payload = 'a' WHEN NOT MATCHED THEN INSERT (payload) VALUES (x.s || 'other');
MERGE INTO p USING (SELECT 'a' AS s) x ON p.payload = x.s WHEN MATCHED THEN UPDATE SET payload = 'moved';
SELECT count(*) FROM p_here;
SELECT * FROM endpoint.arrived();

SET client_min_messages = warning;
DROP SCHEMA merges CASCADE;
