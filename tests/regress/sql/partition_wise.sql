-- Joins of a partitioned table with one of invocations, partition by partition: each keeps its rows in flight. Since 17 the inner sides are
-- parameterised by the partitioned table until plans are made.

SET client_min_messages = warning;
CREATE SCHEMA partition_wise;
SET search_path = partition_wise, public;
CREATE TABLE rows_ (id int, s text) PARTITION BY LIST (s);
CREATE TABLE rows_1 PARTITION OF rows_ FOR VALUES IN ('a', 'b');
CREATE TABLE rows_2 PARTITION OF rows_ FOR VALUES IN ('c', 'd');
INSERT INTO rows_ SELECT i, chr(97 + i % 4) FROM generate_series(1, 20) i;
CREATE TABLE calls (payload text, response text) PARTITION BY LIST (payload);
CREATE FOREIGN TABLE calls_1 PARTITION OF calls FOR VALUES IN ('a', 'b') SERVER aws_lambda OPTIONS (function_name 'sleep-50');
CREATE FOREIGN TABLE calls_2 PARTITION OF calls FOR VALUES IN ('c', 'd') SERVER aws_lambda OPTIONS (function_name 'sleep-50');
ANALYZE rows_;
RESET client_min_messages;
SET enable_partitionwise_join = on;
EXPLAIN (COSTS OFF) SELECT rows_.id, response FROM rows_ JOIN calls ON payload = s;
SELECT endpoint.reset();
SELECT count(*), count(response) FROM rows_ JOIN calls ON payload = s;
SELECT * FROM endpoint.counted();
SELECT count(*), count(response) FROM rows_ LEFT JOIN calls ON payload = s AND rows_.id > 10;
SELECT * FROM endpoint.counted();
-- Two of them, and one left of one partition
SELECT count(*), count(b.response) FROM rows_ LEFT JOIN calls a ON a.payload = s JOIN calls b ON b.payload = rows_.s;
SELECT * FROM endpoint.counted();
SELECT count(*), count(response) FROM rows_ JOIN calls ON payload = s WHERE s IN ('a', 'b');
SELECT * FROM endpoint.counted();
-- A branch that is a join, and an update
SELECT count(*), count(response) FROM rows_ JOIN rows_ more USING (id, s) JOIN calls ON payload = rows_.s || '' AND payload = more.s;
SELECT * FROM endpoint.counted();
BEGIN;
UPDATE rows_ SET id = id + 100 FROM calls WHERE payload = s AND id < 5;
SELECT count(*) FROM rows_ WHERE id > 100;
ROLLBACK;
SELECT * FROM endpoint.counted();

SET client_min_messages = warning;
DROP SCHEMA partition_wise CASCADE;
