-- A cursor without SCROLL can't move backward. PostgreSQL 14 would rewind it, and invoke again.
SET client_min_messages = warning;
CREATE SCHEMA rewinds;
SET search_path = rewinds, public;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE TABLE t (id int PRIMARY KEY, s text);
INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c');
ANALYZE t;
RESET client_min_messages;
SELECT endpoint.reset();

BEGIN;
DECLARE c CURSOR FOR SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s;
FETCH 2 FROM c;
MOVE BACKWARD ALL IN c;
FETCH ALL FROM c;
ROLLBACK;
SELECT made IN (2, 3) AS once FROM endpoint.made();
BEGIN;
DECLARE c CURSOR FOR SELECT response FROM f WHERE payload IN ('a', 'b', 'c');
FETCH 1 FROM c;
MOVE BACKWARD ALL IN c;
FETCH ALL FROM c;
ROLLBACK;
SELECT made <= 3 AS once FROM endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA rewinds CASCADE;
