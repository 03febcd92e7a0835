-- EXPLAIN (GENERIC_PLAN), of PostgreSQL 16 and later: a plan for values that are not there, which invokes nothing.
SELECT current_setting('server_version_num')::int < 160000 AS skip \gset
\if :skip
\quit
\endif
SET client_min_messages = warning;
CREATE SCHEMA explains_16;
SET search_path = explains_16, public;
CREATE FOREIGN TABLE f (payload text, response text, status_code int) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE TABLE t (id int, s text);
INSERT INTO t SELECT i, 's' || i FROM generate_series(1, 3) i;
ANALYZE t;
RESET client_min_messages;
SELECT endpoint.reset();

EXPLAIN (GENERIC_PLAN, COSTS OFF) SELECT response FROM f WHERE payload = $1;
EXPLAIN (GENERIC_PLAN, COSTS OFF) SELECT response FROM f WHERE payload = ANY ($1) AND response <> $2;
EXPLAIN (GENERIC_PLAN, COSTS OFF) SELECT response FROM f WHERE payload IN ($1, $2, 'x');
EXPLAIN (GENERIC_PLAN, COSTS OFF) SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s || $1;
EXPLAIN (GENERIC_PLAN, COSTS OFF) INSERT INTO f (payload) VALUES ($1) RETURNING status_code;
EXPLAIN (GENERIC_PLAN, COSTS OFF) UPDATE t SET s = f.response FROM f WHERE f.payload = t.s || $1 RETURNING t.s;
-- The estimate for a list of unknown length.
EXPLAIN (GENERIC_PLAN) SELECT response FROM f WHERE payload = $1;
EXPLAIN (GENERIC_PLAN) SELECT response FROM f WHERE payload = ANY ($1);
EXPLAIN (GENERIC_PLAN, ANALYZE) SELECT response FROM f WHERE payload = $1;
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA explains_16 CASCADE;
