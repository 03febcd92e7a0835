-- Queries and writes of PostgreSQL 19: IGNORE NULLS of window functions, ON CONFLICT DO SELECT, COPY TO in JSON, and COPY
-- FROM with nulls for what can't be read.
SELECT current_setting('server_version_num')::int < 190000 AS skip \gset
\if :skip
\quit
\endif
SET client_min_messages = warning;
CREATE SCHEMA since_19;
SET search_path = since_19, public;
CREATE FOREIGN TABLE f (payload text, response text, status_code int) SERVER aws_lambda OPTIONS (function_name 'accept-10');
CREATE FOREIGN TABLE j (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'accept-10');
CREATE TABLE t (id int PRIMARY KEY, s text);
INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL), (4, 'a'), (5, NULL);
CREATE TABLE o (id int PRIMARY KEY, r text);
INSERT INTO o VALUES (1, 'old');
ANALYZE t, o;
RESET client_min_messages;
SELECT endpoint.reset();

SELECT t.id, f.response, lag(f.response) IGNORE NULLS OVER w AS before, lead(f.response) IGNORE NULLS OVER w AS after, last_value(f.response) RESPECT NULLS OVER w AS same
FROM t LEFT JOIN f ON f.payload = t.s WINDOW w AS (ORDER BY t.id) ORDER BY t.id;
SELECT endpoint.made();
-- ON CONFLICT DO SELECT: one invocation for each row that is to be inserted, one for each that is returned, none where the table is of invocations.
INSERT INTO o SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s ON CONFLICT (id) DO SELECT RETURNING *;
SELECT endpoint.made();
INSERT INTO o VALUES (1, 'new'), (9, 'nine') ON CONFLICT (id) DO SELECT FOR UPDATE WHERE o.r = 'old' RETURNING id, (SELECT response FROM f WHERE payload = old.r) AS old, (SELECT response FROM f WHERE payload = new.r) AS new;
SELECT * FROM endpoint.arrived();
INSERT INTO f (payload) VALUES ('1') ON CONFLICT (payload) DO SELECT RETURNING *;
INSERT INTO f (payload) VALUES ('1') ON CONFLICT DO SELECT RETURNING *;
SELECT endpoint.made();
COPY (SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s ORDER BY t.id) TO STDOUT (FORMAT json);
COPY (SELECT j.* FROM j WHERE payload = '{"a": [1]}') TO STDOUT (FORMAT json, FORCE_ARRAY);
SELECT endpoint.made();
-- A row without the value that can't be read is one without a payload.
COPY j (payload) FROM PROGRAM $$printf '%s\n' 1 '{"a": '$$ (ON_ERROR set_null);
SELECT * FROM endpoint.arrived();

SET client_min_messages = warning;
DROP SCHEMA since_19 CASCADE;
