-- Window functions over responses, and rows that a condition on them ends: from 15 on PostgreSQL stops reading there.
SET client_min_messages = warning;
CREATE SCHEMA windows;
SET search_path = windows, public;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'accept-10');
CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, s text);
INSERT INTO t SELECT i, (i - 1) / 10, 'v' || i % 3 FROM generate_series(1, 40) i;
UPDATE t SET s = NULL WHERE id = 40;
ANALYZE t;
SELECT current_setting('server_version_num')::int / 10000 AS version \gset
RESET client_min_messages;
SELECT endpoint.reset();

SELECT t.id, f.response, row_number() OVER (PARTITION BY f.response ORDER BY t.id), lag(f.response) OVER (ORDER BY t.id) FROM t JOIN f ON f.payload = t.s WHERE t.id < 6 ORDER BY t.id;
SELECT endpoint.made();
SELECT f.response, count(*), rank() OVER (ORDER BY count(*) DESC, f.response) FROM t JOIN f ON f.payload = t.s || t.id GROUP BY f.response ORDER BY 1 LIMIT 2;
SELECT endpoint.made();
-- The first of each response: all have to be there.
SELECT id, response FROM (SELECT t.id, f.response, row_number() OVER (PARTITION BY f.response ORDER BY t.id) AS place FROM t JOIN f ON f.payload = t.s) x WHERE place <= 1 ORDER BY id;
SELECT endpoint.made();
-- The first rows of all, whose order an index of the outer table has: some may be ahead.
SET enable_seqscan = off;
SET enable_sort = off;
SELECT id, response FROM (SELECT t.id, f.response, row_number() OVER (ORDER BY t.id) AS place FROM t JOIN f ON f.payload = t.s) x WHERE place <= 3;
SELECT made BETWEEN 3 AND CASE WHEN :version < 15 THEN 39 ELSE 20 END AS some FROM endpoint.made();
SELECT id, response FROM (SELECT t.id, f.response, count(*) OVER (ORDER BY t.id) AS place FROM t LEFT JOIN f ON f.payload = t.s) x WHERE place < 4;
SELECT made BETWEEN 3 AND CASE WHEN :version < 15 THEN 39 ELSE 20 END AS some FROM endpoint.made();
RESET enable_seqscan;
RESET enable_sort;
-- Numbered before they are joined, only those are invoked for.
SELECT x.id, f.response FROM (SELECT *, row_number() OVER (PARTITION BY n ORDER BY id DESC) AS place FROM t) x LEFT JOIN f ON f.payload = x.s WHERE x.place = 1 ORDER BY x.id;
SELECT endpoint.made();
-- An invocation in a window's order and its arguments
SELECT id, first_value((SELECT response FROM f WHERE payload = s)) OVER (ORDER BY (SELECT response FROM f WHERE payload = s || '!'), id) FROM t WHERE id < 4 ORDER BY id;
SELECT endpoint.made();
-- The last row and all that equal it
SELECT t.n, t.id, f.response FROM t JOIN f ON f.payload = t.s WHERE t.id < 25 AND t.id % 4 = 0 ORDER BY t.n FETCH FIRST 3 ROWS WITH TIES;
SELECT made BETWEEN 5 AND 6 AS some FROM endpoint.made();
SELECT count(*) FROM (SELECT f.response FROM t JOIN f ON f.payload = t.s ORDER BY f.response FETCH FIRST 1 ROW WITH TIES) x;
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA windows CASCADE;
