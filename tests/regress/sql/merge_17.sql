-- MERGE of PostgreSQL 17 and later: what it returns, and rows of the target that no row of a source with invocations matches.
SELECT current_setting('server_version_num')::int < 170000 AS skip \gset
\if :skip
\quit
\endif
SET client_min_messages = warning;
CREATE SCHEMA merges_17;
SET search_path = merges_17, public;
CREATE FOREIGN TABLE f (payload text, response text, status_code int)
    SERVER aws_lambda OPTIONS (function_name 'accept-10');
CREATE TABLE t (id int PRIMARY KEY, s text, r text);
INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL), (4, 'a'), (5, 'c');
CREATE TABLE o (id int PRIMARY KEY, r text);
INSERT INTO o VALUES (2, 'old'), (4, 'gone'), (9, 'other');
ANALYZE t, o;
RESET client_min_messages;
SELECT endpoint.reset();

-- RETURNING, in a common table expression for the order of rows, and in COPY
BEGIN;
WITH m AS (
    MERGE INTO o USING (SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s) x ON o.id = x.id
    WHEN MATCHED AND o.r = 'gone' THEN DELETE
    WHEN MATCHED THEN UPDATE SET r = 'merged ' || x.response
    WHEN NOT MATCHED THEN INSERT VALUES (x.id, 'new ' || x.response)
    RETURNING merge_action(), o.*, x.response)
SELECT * FROM m ORDER BY id;
SELECT * FROM o ORDER BY id;
ROLLBACK;
SELECT endpoint.counter('most_in_flight') > 1 AS at_once, endpoint.made();
BEGIN;
COPY (MERGE INTO o USING (SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s WHERE t.id = 2) x ON o.id = x.id
    WHEN MATCHED THEN UPDATE SET r = x.response RETURNING merge_action(), o.*, x.*) TO STDOUT;
ROLLBACK;
SELECT endpoint.made();
-- An invocation for each row that is returned
BEGIN;
WITH m AS (
    MERGE INTO o USING t ON o.id = t.id
    WHEN MATCHED THEN UPDATE SET r = t.s
    WHEN NOT MATCHED AND t.id = 1 THEN INSERT VALUES (t.id, t.s)
    RETURNING merge_action() AS action, o.id, (SELECT response FROM f WHERE payload = o.r || o.id) AS response)
SELECT * FROM m ORDER BY id;
ROLLBACK;
SELECT endpoint.made();
-- Returned rows give the values of a join.
BEGIN;
WITH m AS (
    MERGE INTO o USING t ON o.id = t.id WHEN MATCHED THEN UPDATE SET r = t.s WHEN NOT MATCHED THEN DO NOTHING
    RETURNING merge_action() AS action, o.id, o.r)
SELECT m.action, m.id, f.response FROM m JOIN f ON f.payload = m.action || m.r ORDER BY m.id;
ROLLBACK;
SELECT * FROM endpoint.arrived();

-- Rows of the target without one of the source, where the source is a join
BEGIN;
MERGE INTO o USING (SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s) x ON o.id = x.id
WHEN MATCHED THEN UPDATE SET r = 'merged ' || x.response
WHEN NOT MATCHED BY SOURCE THEN DELETE;
SELECT * FROM o ORDER BY id;
ROLLBACK;
SELECT endpoint.made();
BEGIN;
WITH m AS (
    MERGE INTO o USING (SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s WHERE t.id < 4) x ON o.id = x.id
    WHEN MATCHED THEN UPDATE SET r = 'merged ' || x.response
    WHEN NOT MATCHED BY SOURCE AND o.id > 5 THEN UPDATE SET r = 'no source'
    WHEN NOT MATCHED BY TARGET THEN INSERT VALUES (x.id, 'new ' || x.response)
    RETURNING merge_action(), o.*, x.response)
SELECT * FROM m ORDER BY id;
ROLLBACK;
SELECT endpoint.made();
-- Where it is a table of invocations for the target's rows, those with no value have none.
BEGIN;
WITH m AS (
    MERGE INTO t USING f ON f.payload = t.s
    WHEN MATCHED AND f.response = 'b' THEN DELETE
    WHEN MATCHED THEN UPDATE SET r = f.response
    WHEN NOT MATCHED BY SOURCE THEN UPDATE SET r = 'none'
    RETURNING merge_action(), t.*, f.response)
SELECT * FROM m ORDER BY id;
SELECT * FROM t ORDER BY id;
ROLLBACK;
SELECT endpoint.made();
-- With conditions on the target's rows in ON, those that it leaves out make no invocation and have none.
BEGIN;
WITH m AS (
    MERGE INTO t USING f ON f.payload = t.s AND t.id < 3
    WHEN MATCHED THEN UPDATE SET r = f.response
    WHEN NOT MATCHED BY SOURCE AND t.id = 5 THEN DELETE
    RETURNING merge_action(), t.*)
SELECT * FROM m ORDER BY id;
ROLLBACK;
SELECT endpoint.made();
-- An invocation in a WHEN for a row without a source
BEGIN;
MERGE INTO o USING t ON o.id = t.id
WHEN NOT MATCHED BY SOURCE AND (SELECT response FROM f WHERE payload = o.r) = 'other' THEN UPDATE SET r = (SELECT response FROM f WHERE payload = o.id::text);
SELECT * FROM o ORDER BY id;
ROLLBACK;
SELECT * FROM endpoint.arrived();
-- Rows that are in neither can't be had of it.
MERGE INTO t USING f ON f.payload = t.s
WHEN NOT MATCHED BY SOURCE THEN DELETE
WHEN NOT MATCHED BY TARGET THEN INSERT VALUES (6, f.response);
SELECT endpoint.made();

-- Into a view with invocations, which a trigger does
CREATE VIEW joined AS SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s;
CREATE FUNCTION instead() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE INFO '% % %', TG_OP, OLD, NEW; RETURN NEW; END $$;
CREATE TRIGGER instead INSTEAD OF UPDATE ON joined FOR EACH ROW EXECUTE FUNCTION instead();
MERGE INTO joined USING o ON joined.id = o.id WHEN MATCHED THEN UPDATE SET response = o.r;
SELECT endpoint.made();

-- A row that is inserted into a partition of invocations, with which the planner knows that the others have nothing to do
CREATE TABLE p (payload text, response text, status_code int) PARTITION BY LIST (payload);
CREATE TABLE p_here PARTITION OF p FOR VALUES IN ('a');
CREATE FOREIGN TABLE p_lambda PARTITION OF p DEFAULT SERVER aws_lambda OPTIONS (function_name 'accept-10', invocation_type 'RequestResponse');
MERGE INTO p USING t ON p.payload = 'a' AND t.s = 'none' WHEN NOT MATCHED AND t.id < 3 THEN INSERT (payload) VALUES (t.s || 1)
    RETURNING merge_action(), p.tableoid::regclass, p.*;
INSERT INTO p VALUES ('a');
MERGE INTO p USING (SELECT 'a' AS s) x ON p.payload = x.s WHEN MATCHED THEN UPDATE SET payload = 'moved' RETURNING merge_action(), p.*;
SELECT * FROM endpoint.arrived();
MERGE INTO p USING (SELECT 'a' AS s) x ON p.payload = x.s WHEN NOT MATCHED BY SOURCE THEN DELETE;
SELECT endpoint.made();

-- Into a table of invocations nothing is merged, whatever it is to return.
MERGE INTO f USING t ON f.payload = t.s WHEN NOT MATCHED THEN INSERT (payload) VALUES (t.s) RETURNING merge_action(), f.*;
MERGE INTO f USING t ON f.payload = t.s WHEN NOT MATCHED BY SOURCE THEN DELETE;
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA merges_17 CASCADE;
