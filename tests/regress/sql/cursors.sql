-- Cursors over joins with invocations: fetched rows are invoked for, some more may be in flight, and none is invoked for twice.
SET client_min_messages = warning;
CREATE SCHEMA cursors;
SET search_path = cursors, public;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'accept-10');
CREATE FOREIGN TABLE mock (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'mock');
CREATE TABLE t (id int PRIMARY KEY, s text);
INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 40) i;
ANALYZE t;
RESET client_min_messages;
SELECT endpoint.reset();

-- The first FETCH invokes for its rows alone. The second may read as far ahead, the third three times as far.
BEGIN;
DECLARE c CURSOR FOR SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s;
SELECT endpoint.count();
FETCH 2 FROM c;
SELECT endpoint.count();
FETCH 2 FROM c;
SELECT endpoint.count() BETWEEN 4 AND 6 AS some_ahead;
MOVE 2 FROM c;
FETCH 1 FROM c;
SELECT endpoint.count() BETWEEN 7 AND 14 AS some_ahead;
-- Closed before the end: invocations in flight are dropped, and the transaction continues.
CLOSE c;
SELECT endpoint.made() BETWEEN 7 AND 14 AS some_ahead;
SELECT response FROM f WHERE payload = 'after';
COMMIT;
SELECT endpoint.made();
-- Read to the end it is one for each row, however it was fetched.
BEGIN;
DECLARE c CURSOR FOR SELECT t.id, f.response FROM t LEFT JOIN f ON f.payload = t.s AND t.id % 4 = 0;
MOVE 5 FROM c;
FETCH 4 FROM c;
MOVE FORWARD ALL FROM c;
FETCH NEXT FROM c;
FETCH BACKWARD 1 FROM c;
ROLLBACK;
SELECT endpoint.made();
-- Back and forth in what was kept
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s WHERE t.id <= 8;
FETCH 3 FROM c;
FETCH BACKWARD 2 FROM c;
FETCH ABSOLUTE 5 FROM c;
FETCH FIRST FROM c;
FETCH LAST FROM c;
FETCH RELATIVE -2 FROM c;
COMMIT;
SELECT endpoint.made();
-- Kept beyond the transaction, all of it is invoked for at its end.
BEGIN;
DECLARE held CURSOR WITH HOLD FOR SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s WHERE t.id <= 10;
FETCH 2 FROM held;
COMMIT;
SELECT endpoint.made();
FETCH 2 FROM held;
MOVE FORWARD ALL FROM held;
CLOSE held;
DECLARE held SCROLL CURSOR WITH HOLD FOR SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s WHERE t.id <= 10;
FETCH LAST FROM held;
FETCH FIRST FROM held;
CLOSE held;
SELECT endpoint.made();

-- Two cursors in turn, both with invocations on their way, the answers to which come late and out of order
BEGIN;
DECLARE a CURSOR FOR SELECT l.response ->> 'a' AS a FROM t JOIN mock l ON l.payload = jsonb_build_object('a', id, 'ms', 20 - id % 4 * 5);
DECLARE b CURSOR FOR SELECT l.response ->> 'b' AS b FROM t JOIN mock l ON l.payload = jsonb_build_object('b', id, 'ms', id % 3 * 10);
FETCH 1 FROM a;
FETCH 1 FROM b;
FETCH 2 FROM a;
FETCH 3 FROM b;
FETCH 3 FROM a;
FETCH 2 FROM b;
SELECT response FROM f WHERE payload = 'between';
FETCH 1 FROM a;
FETCH 1 FROM b;
MOVE FORWARD ALL FROM a;
FETCH 1 FROM b;
CLOSE a;
MOVE FORWARD ALL FROM b;
COMMIT;
SELECT endpoint.made();

-- A row that a cursor is on, updated and deleted
BEGIN;
DECLARE c CURSOR FOR SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s WHERE t.id <= 5 FOR UPDATE OF t;
FETCH 2 FROM c;
UPDATE t SET s = 'updated' WHERE CURRENT OF c RETURNING id;
FETCH 1 FROM c;
DELETE FROM t WHERE CURRENT OF c RETURNING id;
FETCH ALL FROM c;
SELECT id, s FROM t WHERE id <= 5 ORDER BY id;
ROLLBACK;
SELECT endpoint.made();

-- Savepoints: an open cursor continues, and one that fails is closed with its invocations in flight.
BEGIN;
DECLARE c CURSOR FOR SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s WHERE t.id <= 12;
FETCH 2 FROM c;
SAVEPOINT a;
DECLARE d CURSOR FOR SELECT t.id, 1 / (t.id - 3) AS part, f.response FROM t JOIN f ON f.payload = t.s WHERE t.id <= 12;
FETCH 1 FROM d;
FETCH 1 FROM d;
FETCH 1 FROM d;
ROLLBACK TO a;
FETCH 1 FROM c;
FETCH 1 FROM d;
ROLLBACK TO a;
MOVE FORWARD ALL FROM c;
COMMIT;
SELECT endpoint.made() BETWEEN 12 + 3 AND 12 + 6 AS some_ahead;

SET client_min_messages = warning;
DROP SCHEMA cursors CASCADE;
