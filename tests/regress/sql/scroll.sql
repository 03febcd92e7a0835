-- SCROLL cursors do not invoke again for rows that they have returned.
SET client_min_messages = warning;
CREATE SCHEMA scrolls;
SET search_path = scrolls, public;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'count');
CREATE TABLE t (id int PRIMARY KEY, s text);
INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c');
ANALYZE t;
RESET client_min_messages;
SELECT endpoint.reset();

-- Back to before the first row, from the end, from the middle, and from the first row
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT t.id, f.payload FROM t JOIN f ON f.payload = t.s;
FETCH ALL FROM c;
MOVE BACKWARD ALL IN c;
FETCH ALL FROM c;
MOVE BACKWARD ALL IN c;
FETCH 2 FROM c;
COMMIT;
SELECT endpoint.made();
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT t.id, f.payload FROM t LEFT JOIN f ON f.payload = t.s;
FETCH 2 FROM c;
MOVE BACKWARD ALL IN c;
FETCH 2 FROM c;
MOVE ABSOLUTE 0 IN c;
FETCH ALL FROM c;
MOVE BACKWARD ALL IN c;
FETCH 1 FROM c;
MOVE BACKWARD ALL IN c;
FETCH ALL FROM c;
COMMIT;
SELECT endpoint.made();
-- Of a scan alone, the answers of which are counted, so that a second would be another
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT * FROM f WHERE payload IN ('a', 'b', 'c');
FETCH 1 FROM c;
MOVE BACKWARD ALL IN c;
FETCH 1 FROM c;
MOVE FORWARD ALL IN c;
MOVE BACKWARD ALL IN c;
MOVE FORWARD ALL IN c;
FETCH BACKWARD 1 FROM c;
COMMIT;
SELECT endpoint.made();
-- Of an Append
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT payload FROM f WHERE payload IN ('a', 'b') UNION ALL SELECT payload FROM f WHERE payload = 'c';
MOVE FORWARD ALL IN c;
MOVE BACKWARD ALL IN c;
MOVE FORWARD ALL IN c;
\echo :ROW_COUNT
COMMIT;
SELECT endpoint.made();
-- Kept beyond the transaction
BEGIN;
DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT t.id, f.payload FROM t JOIN f ON f.payload = t.s;
FETCH 2 FROM c;
MOVE BACKWARD ALL IN c;
COMMIT;
MOVE BACKWARD ALL IN c;
FETCH ALL FROM c;
CLOSE c;
SELECT endpoint.made();
-- A sort, a group, a limit
BEGIN;
DECLARE a SCROLL CURSOR FOR SELECT t.id, f.payload FROM t JOIN f ON f.payload = t.s ORDER BY f.payload DESC;
DECLARE b SCROLL CURSOR FOR SELECT f.payload, count(*) FROM t JOIN f ON f.payload = t.s GROUP BY 1 ORDER BY 1;
DECLARE c SCROLL CURSOR FOR SELECT t.id, f.payload FROM t JOIN f ON f.payload = t.s ORDER BY t.id LIMIT 2;
MOVE FORWARD ALL IN a;
MOVE BACKWARD ALL IN a;
FETCH ALL FROM a;
MOVE FORWARD ALL IN b;
MOVE BACKWARD ALL IN b;
FETCH ALL FROM b;
MOVE FORWARD ALL IN c;
MOVE BACKWARD ALL IN c;
FETCH ALL FROM c;
COMMIT;
SELECT endpoint.made();
-- One that is said not to go back can't.
BEGIN;
DECLARE c NO SCROLL CURSOR FOR SELECT payload FROM f WHERE payload IN ('a', 'b', 'c');
FETCH 1 FROM c;
FETCH BACKWARD 1 FROM c;
ROLLBACK;
SELECT endpoint.made();
-- In PL/pgSQL
DO $$
DECLARE
    c SCROLL CURSOR FOR SELECT t.id, f.payload FROM t JOIN f ON f.payload = t.s;
    one record;
    seen text := '';
BEGIN
    OPEN c;
    FOR pass IN 1..2 LOOP
        LOOP
            FETCH c INTO one;
            EXIT WHEN NOT FOUND;
            seen := seen || one.payload;
        END LOOP;
        MOVE BACKWARD ALL IN c;
    END LOOP;
    CLOSE c;
    RAISE INFO '%', seen;
END $$;
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA scrolls CASCADE;
