-- OLD and NEW in RETURNING, of PostgreSQL 18 and later: beside invocations, of a row that is inserted into a table of them, and in MERGE.
SELECT current_setting('server_version_num')::int < 180000 AS skip \gset
\if :skip
\quit
\endif
SET client_min_messages = warning;
CREATE SCHEMA returning_18;
SET search_path = returning_18, public;
CREATE FOREIGN TABLE f (payload text, response text, status_code int)
    SERVER aws_lambda OPTIONS (function_name 'accept-10');
CREATE FOREIGN TABLE g (payload text, invocation_type text, response text, status_code int)
    SERVER aws_lambda OPTIONS (function_name 'accept-10', invocation_type 'RequestResponse');
CREATE TABLE t (id int PRIMARY KEY, s text, r text);
INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL), (4, 'a'), (5, 'c');
CREATE TABLE o (id int PRIMARY KEY, r text);
INSERT INTO o VALUES (2, 'old'), (4, 'gone');
ANALYZE t, o;
RESET client_min_messages;
SELECT endpoint.reset();

-- UPDATE and DELETE with invocations beside them
BEGIN;
UPDATE t SET r = f.response || id, s = s || '!' FROM f WHERE f.payload = t.s
RETURNING old.s, new.s, s, f.payload, f.response, new.r, old, new;
ROLLBACK;
SELECT endpoint.counter('most_in_flight') > 1 AS at_once, endpoint.made();
BEGIN;
DELETE FROM t USING f WHERE f.payload = t.s AND f.response <> 'a' RETURNING old.id, new.id, id, old.s || f.response AS both, old, new IS NULL AS none;
ROLLBACK;
SELECT endpoint.made();
BEGIN;
UPDATE t SET r = x.response FROM (SELECT u.id, f.response FROM t u LEFT JOIN f ON f.payload = u.s) x WHERE x.id = t.id AND t.id > 2
RETURNING WITH (OLD AS before, NEW AS after) before.r IS NULL AS before, after.r AS after, x.response;
ROLLBACK;
SELECT endpoint.made();
-- An invocation for the old row and one for the new row, and none where there is no old row
BEGIN;
UPDATE t SET s = s || s WHERE id IN (2, 3) RETURNING id, (SELECT response FROM f WHERE payload = old.s) AS old, (SELECT response FROM f WHERE payload = new.s) AS new;
INSERT INTO o VALUES (1, 'new') RETURNING (SELECT response FROM f WHERE payload = old.r) AS old, (SELECT response FROM f WHERE payload = new.r) AS new;
INSERT INTO o VALUES (1, 'newer'), (7, 'seven') ON CONFLICT (id) DO UPDATE SET r = EXCLUDED.r
    RETURNING id, (SELECT response FROM f WHERE payload = old.r) AS old, (SELECT response FROM f WHERE payload = new.r) AS new;
ROLLBACK;
SELECT * FROM endpoint.arrived();
-- Returned rows give the values of a join.
BEGIN;
WITH u AS (UPDATE t SET s = s || 2 WHERE id > 3 RETURNING id, old.s AS was, new.s AS is)
SELECT u.id, a.response AS was, b.response AS is FROM u JOIN f a ON a.payload = u.was JOIN f b ON b.payload = u.is ORDER BY u.id;
ROLLBACK;
SELECT endpoint.made();

-- INSERT into a table of invocations: what came back is new, and nothing is old.
INSERT INTO g (payload) VALUES ('1'), ('2') RETURNING old.*, new.*;
INSERT INTO g (payload) SELECT s FROM t WHERE id > 3 RETURNING old.payload, new.payload, response, new.response, old IS NULL AS none, new, new.tableoid::regclass;
SELECT endpoint.counter('most_in_flight') > 1 AS at_once, endpoint.made();
INSERT INTO g (payload) VALUES ('1'), ('2') RETURNING WITH (OLD AS o, NEW AS n) o.response, n.response || '!' AS response;
INSERT INTO f (payload) VALUES ('1'), ('2') RETURNING old.status_code, new.status_code;
SELECT endpoint.made();
-- One at a time where a trigger changes the row
CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.payload := NEW.payload || '0'; RETURN NEW; END $$;
CREATE TRIGGER change BEFORE INSERT ON g FOR EACH ROW EXECUTE FUNCTION change();
INSERT INTO g (payload) VALUES ('1'), ('2') RETURNING old.payload, new.payload, new.response;
DROP TRIGGER change ON g;
-- A partition, and a view
CREATE TABLE p (status_code int, payload text, response text, invocation_type text) PARTITION BY LIST (payload);
CREATE TABLE p_here PARTITION OF p FOR VALUES IN ('7');
ALTER TABLE p ATTACH PARTITION g DEFAULT;
INSERT INTO p (payload) VALUES ('7'), ('8') RETURNING new.tableoid::regclass, old.payload, new.payload, new.response, new;
ALTER TABLE p DETACH PARTITION g;
CREATE VIEW v AS SELECT payload, response FROM g;
INSERT INTO v (payload) VALUES ('9') RETURNING old, new, new.response;
SELECT endpoint.made();
-- A failure that is a row
ALTER FOREIGN TABLE g OPTIONS (SET function_name 'mock', ADD on_error 'return');
ALTER FOREIGN TABLE g ADD error_code text;
INSERT INTO g (payload) VALUES ('{"as": "handled"}'), ('1') RETURNING old.error_code, new.error_code, new.status_code;
SELECT endpoint.made();
-- Only in RETURNING of what is inserted
INSERT INTO g (payload) SELECT old.s FROM t RETURNING new.payload;
SELECT endpoint.made();

-- MERGE
BEGIN;
WITH m AS (
    MERGE INTO o USING (SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s) x ON o.id = x.id
    WHEN MATCHED AND o.r = 'gone' THEN DELETE
    WHEN MATCHED THEN UPDATE SET r = 'merged ' || x.response
    WHEN NOT MATCHED THEN INSERT VALUES (x.id, 'new ' || x.response)
    RETURNING merge_action(), x.id, old.r AS was, new.r AS is, x.response)
SELECT * FROM m ORDER BY id;
ROLLBACK;
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA returning_18 CASCADE;
