-- Calls of aws_lambda.invoke in a select list, in SET and in RETURNING, with one and with many in flight: the same rows in the same order, and the
-- same invocations.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA select_list;
SET search_path = select_list, public;
CREATE TABLE t AS SELECT i AS id, 'v' || i AS s, i % 3 AS g, NULL::jsonb AS r FROM generate_series(1, 20) i;
ANALYZE t;
CREATE TABLE u AS SELECT i AS id, i % 4 AS g FROM generate_series(1, 6) i;
ANALYZE u;
RESET client_min_messages;
SELECT endpoint.reset();

-- In a select list
SELECT * FROM endpoint.compare($$SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(t))).payload FROM t$$);
SELECT * FROM endpoint.compare($$SELECT aws_lambda.invoke('accept-10', to_jsonb(id)) FROM t$$);
SELECT * FROM endpoint.compare($$SELECT (aws_lambda.invoke('accept-10', to_json(id))).* FROM t$$);
SELECT * FROM endpoint.compare($$SELECT id, (SELECT payload FROM aws_lambda.invoke('accept-10', to_jsonb(t.id))) FROM t$$);
SELECT * FROM endpoint.compare($$SELECT id, (SELECT i FROM aws_lambda.invoke('accept-10', to_jsonb(t.id)) i) FROM t$$);
SELECT * FROM endpoint.compare($$SELECT id, (SELECT payload::text || status_code || t.s || CASE WHEN t.g = 1 THEN payload END FROM aws_lambda.invoke('accept-10', to_jsonb(t.id))) FROM t$$);
-- Inside of expressions that evaluate all of their operands
SELECT * FROM endpoint.compare($$SELECT id, 1 + ((aws_lambda.invoke('accept-10', to_jsonb(id))).payload)::int, ARRAY[(aws_lambda.invoke('accept-10', to_jsonb(g))).status_code],
    ROW(s, (aws_lambda.invoke('accept-10', to_jsonb(s))).payload), GREATEST((aws_lambda.invoke('accept-10', to_jsonb(id + 100))).status_code, id) FROM t$$);
SELECT * FROM endpoint.compare($$SELECT (aws_lambda.invoke('accept-10', jsonb_build_object('a', id))).payload['a'], (aws_lambda.invoke('accept-10', to_jsonb(id))).payload IS NULL FROM t$$);
SELECT * FROM endpoint.compare($$SELECT (aws_lambda.invoke('accept-10', to_jsonb(id))).payload::text COLLATE "C" = ANY (ARRAY['1', '2']) FROM t$$);
-- The second using the first one's result
SELECT * FROM endpoint.compare($$SELECT (aws_lambda.invoke('accept-10', (aws_lambda.invoke('accept-10', to_jsonb(id))).payload || to_jsonb(g))).payload FROM t$$);
SELECT * FROM endpoint.compare($$SELECT (SELECT payload FROM aws_lambda.invoke('accept-10', (aws_lambda.invoke('accept-10', to_jsonb(t.id))).payload)) FROM t$$);
SELECT * FROM endpoint.compare($$SELECT id, (aws_lambda.invoke('accept-10', i.payload || to_jsonb(id))).payload FROM t, aws_lambda.invoke('accept-10', to_jsonb(id)) i$$);
-- Equal calls are calls of their own.
SELECT * FROM endpoint.compare($$SELECT (aws_lambda.invoke('accept-10', to_jsonb(g))).payload, (aws_lambda.invoke('accept-10', to_jsonb(g))).payload FROM t$$);
-- A function in SQL that PostgreSQL inlines
CREATE FUNCTION located(key anyelement) RETURNS jsonb LANGUAGE sql AS $f$ SELECT (aws_lambda.invoke('accept-10', to_jsonb(key))).payload $f$;
SELECT * FROM endpoint.compare($$SELECT id, located(id) FROM t$$);

-- Volatile expressions are evaluated in the order of rows, and each once.
CREATE SEQUENCE one;
CREATE SEQUENCE two;
SELECT * FROM endpoint.compare($$SELECT setval('one', 1), setval('two', 1), ARRAY(SELECT ROW(nextval('one'), (aws_lambda.invoke('accept-10', to_jsonb(nextval('one')))).payload,
    nextval('one'), nextval('two') + t.id)::text FROM t)$$);
SELECT * FROM endpoint.compare($$SELECT count(*), count(DISTINCT a), count(DISTINCT b), bool_or(a = b) FROM (SELECT random() a, random() b, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t) x$$);

-- Above joins, aggregates, windows, sorting, and below LIMIT, OFFSET and FOR UPDATE
SELECT * FROM endpoint.compare($$SELECT t.id, u.id, (aws_lambda.invoke('accept-10', jsonb_build_array(t.id, u.id))).payload FROM t LEFT JOIN u ON u.id = t.id$$);
SELECT * FROM endpoint.compare($$SELECT lower(s), (aws_lambda.invoke('accept-10', to_jsonb(lower(s) || count(*) || max(id)))).payload FROM t GROUP BY lower(s) HAVING max(id) > 5 ORDER BY 1$$);
SELECT * FROM endpoint.compare($$SELECT g, (aws_lambda.invoke('accept-10', jsonb_build_array(g, grouping(g), count(*)))).payload FROM t GROUP BY ROLLUP (g) ORDER BY g$$);
SELECT * FROM endpoint.compare($$SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(sum(id) OVER (ORDER BY id)))).payload, rank() OVER (ORDER BY g) FROM t ORDER BY id DESC$$);
SELECT * FROM endpoint.compare($$SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t ORDER BY g DESC, id LIMIT 7 OFFSET 2$$);
SELECT * FROM endpoint.compare($$SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t LIMIT 7 OFFSET 2$$);
SELECT * FROM endpoint.compare($$SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload p, g FROM t ORDER BY 2 DESC, g$$);
SELECT * FROM endpoint.compare($$SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t WHERE g = 1 FOR UPDATE$$);
SELECT * FROM endpoint.compare($$SELECT DISTINCT (aws_lambda.invoke('accept-10', to_jsonb(g))).payload FROM t$$);
SELECT * FROM endpoint.compare($$SELECT DISTINCT ON (g) g, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t ORDER BY g, id$$);
-- In subqueries, sets and CTEs, with parameters of queries around them
SELECT * FROM endpoint.compare($$SELECT * FROM (SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload p FROM t) x WHERE p > '5'$$);
SELECT * FROM endpoint.compare($$SELECT (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t UNION SELECT (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM u ORDER BY 1$$);
SELECT * FROM endpoint.compare($$SELECT (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t UNION ALL SELECT (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM u$$);
SELECT * FROM endpoint.compare($$WITH x AS MATERIALIZED (SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t) SELECT * FROM x a JOIN x b USING (id)$$);
SELECT * FROM endpoint.compare($$WITH RECURSIVE x(n, p) AS (SELECT 0, NULL::jsonb UNION ALL
    SELECT n + 1, (aws_lambda.invoke('accept-10', jsonb_build_array(n, t.id))).payload FROM x, t WHERE n < 2 AND t.id <= 3) SELECT * FROM x$$);
SELECT * FROM endpoint.compare($$SELECT * FROM u WHERE id NOT IN (SELECT ((aws_lambda.invoke('accept-10', to_jsonb(t.id))).payload)::int FROM t)$$);
SELECT * FROM endpoint.compare($$SELECT u.id, ARRAY(SELECT (aws_lambda.invoke('accept-10', to_jsonb(t.id + u.id))).payload FROM t WHERE t.g = u.g) FROM u$$);
SELECT * FROM endpoint.compare($$SELECT u.id, x.* FROM u, LATERAL (SELECT t.id, (aws_lambda.invoke('accept-10', to_jsonb(t.id + u.id))).payload FROM t WHERE t.g = u.g OFFSET 0) x$$);
SELECT * FROM endpoint.compare($$SELECT count(p), min(p::text) FROM (SELECT g, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload p FROM t) x GROUP BY g ORDER BY g$$);
CREATE VIEW v AS SELECT id, g, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t;
SELECT * FROM endpoint.compare($$SELECT * FROM v WHERE g = 1$$);
-- Partitions, which are read one after the other
CREATE TABLE p (id int, x jsonb, g int) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
CREATE TABLE p2 (g int, x jsonb, id int);
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (90);
INSERT INTO p SELECT id, to_jsonb(t), g FROM t;
SELECT * FROM endpoint.compare($$SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(p))).payload FROM p$$);
CREATE INDEX ON p (id);
SET enable_seqscan = off;
SET enable_sort = off;
SELECT * FROM endpoint.compare($$SELECT id, (aws_lambda.invoke('accept-10', x)).payload FROM p ORDER BY id$$);
SELECT * FROM endpoint.compare($$SELECT id, (aws_lambda.invoke('accept-10', x)).payload FROM p ORDER BY id LIMIT 12$$);
RESET enable_seqscan;
RESET enable_sort;

-- Statements that write
SELECT * FROM endpoint.compare($$UPDATE t SET r = (SELECT payload FROM aws_lambda.invoke('accept-10', to_jsonb(t.id)))$$, 'SELECT * FROM t ORDER BY id');
SELECT * FROM endpoint.compare($$UPDATE t SET r = (aws_lambda.invoke('accept-10', to_jsonb(s))).payload, s = 'x' WHERE g > 0$$, 'SELECT * FROM t ORDER BY id');
SELECT * FROM endpoint.compare($$UPDATE t SET r = (aws_lambda.invoke('accept-10', jsonb_build_array(t.s, u.id))).payload FROM u WHERE u.id = t.id$$, 'SELECT * FROM t ORDER BY id');
SELECT * FROM endpoint.compare($$UPDATE t SET (id, s) = (SELECT t.id + 100, 'y' WHERE t.g > 0), r = (aws_lambda.invoke('accept-10', to_jsonb(s))).payload$$, 'SELECT * FROM t ORDER BY id');
SELECT * FROM endpoint.compare($$UPDATE p SET x = (aws_lambda.invoke('accept-10', p.x)).payload || '{"new": 1}'$$, 'SELECT * FROM p ORDER BY id');
SELECT * FROM endpoint.compare($$UPDATE p SET id = 30 - p.id, x = (aws_lambda.invoke('accept-10', to_jsonb(p))).payload FROM u WHERE u.id = p.g$$, 'SELECT * FROM p ORDER BY id');
SELECT * FROM endpoint.compare($$INSERT INTO t (id, r) SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM u$$, 'SELECT * FROM t ORDER BY id, r');
SELECT * FROM endpoint.compare($$CREATE TABLE made AS SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t$$, 'SELECT * FROM made ORDER BY id');
SELECT * FROM endpoint.compare($$MERGE INTO t USING (SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM u) x ON x.id = t.id
    WHEN MATCHED THEN UPDATE SET r = x.payload$$, 'SELECT * FROM t ORDER BY id') WHERE current_setting('server_version_num')::int >= 150000
UNION ALL SELECT 20, 6, true, true, '1, many' WHERE current_setting('server_version_num')::int < 150000;
-- RETURNING. A WITH clause stays one after the other.
CREATE FUNCTION returned(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $f$ BEGIN RETURN QUERY EXECUTE statement; END $f$;
SELECT * FROM endpoint.compare($$SELECT returned('INSERT INTO t (id, s) SELECT id, g FROM u RETURNING id || s || (aws_lambda.invoke(''accept-10'', to_jsonb(t))).payload')$$);
SELECT * FROM endpoint.compare($$SELECT returned('UPDATE t SET s = ''new'' WHERE g > 0 RETURNING (aws_lambda.invoke(''accept-10'', to_jsonb(t))).payload || to_jsonb(id) #>> ''{}''')$$);
SELECT * FROM endpoint.compare($$SELECT returned('DELETE FROM p USING u WHERE u.id = p.g RETURNING ((SELECT payload FROM aws_lambda.invoke(''accept-10'', to_jsonb(p) || to_jsonb(u)))) #>> ''{}''')$$);
SELECT * FROM endpoint.compare($$SELECT returned('UPDATE p SET id = 30 - id RETURNING (aws_lambda.invoke(''accept-10'', to_jsonb(p))).payload #>> ''{}''')$$);
SELECT * FROM endpoint.compare($$SELECT returned('INSERT INTO u VALUES (1, 2), (2, 3) RETURNING (aws_lambda.invoke(''accept-10'', ''7''::jsonb)).payload #>> ''{}''')$$);
SELECT * FROM endpoint.compare($$WITH x AS (UPDATE t SET s = 'new' RETURNING id, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload) SELECT * FROM x LIMIT 2$$, 'SELECT * FROM t ORDER BY id');
SET aws_lambda.invoke_concurrency = 64;
BEGIN;
UPDATE t SET s = 'new' WHERE id < 3 RETURNING id AS number, (aws_lambda.invoke('echo', to_jsonb(t))).payload AS said;
ROLLBACK;
RESET aws_lambda.invoke_concurrency;
SELECT endpoint.made();

-- Where SQL may leave a call out, it is made one after the other, or not.
SELECT * FROM endpoint.compare($$SELECT CASE WHEN g = 1 THEN (aws_lambda.invoke('accept-10', to_jsonb(id))).payload END FROM t$$);
SELECT * FROM endpoint.compare($$SELECT COALESCE(to_jsonb(NULLIF(g, 1)), (aws_lambda.invoke('accept-10', to_jsonb(id))).payload) FROM t$$);
SELECT * FROM endpoint.compare($$SELECT g > 0 AND (aws_lambda.invoke('accept-10', to_jsonb(id))).status_code = 200 FROM t$$);
SELECT * FROM endpoint.compare($$SELECT count((aws_lambda.invoke('accept-10', to_jsonb(id))).payload) FILTER (WHERE g = 1) FROM t$$);
SELECT * FROM endpoint.compare($$SELECT id FROM t WHERE g = 1 AND (aws_lambda.invoke('accept-10', to_jsonb(id))).status_code = 200$$);
SELECT * FROM endpoint.compare($$SELECT (SELECT payload FROM aws_lambda.invoke('accept-10', to_jsonb(t.id)) WHERE status_code = 202) FROM t$$);
SELECT * FROM endpoint.compare($$SELECT (SELECT payload FROM aws_lambda.invoke('accept-10', to_jsonb(t.id)) LIMIT (t.g > 10)::int) FROM t$$);
-- Conditions without columns, which PostgreSQL checks in a node of their own
SELECT * FROM endpoint.compare($$SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t WHERE (SELECT true)$$);
SELECT * FROM endpoint.compare($$SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t WHERE now() < '2020-01-01' OR g = 1$$);
SELECT * FROM endpoint.compare($$SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t WHERE now() > '2020-01-01'$$);
SELECT * FROM endpoint.compare($$SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM p WHERE now() > '2020-01-01'$$);
SELECT * FROM endpoint.compare($$SELECT (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t WHERE false$$);
SELECT * FROM endpoint.compare($$UPDATE t SET r = (aws_lambda.invoke('accept-10', to_jsonb(id))).payload WHERE (SELECT true)$$, 'SELECT * FROM t ORDER BY id');
SELECT * FROM endpoint.compare($$SELECT u.id, x.* FROM u, LATERAL (SELECT t.id, (aws_lambda.invoke('accept-10', to_jsonb(t.id + u.id))).payload FROM t WHERE u.g = 1 OFFSET 0) x$$);
-- A subquery is a sort key: PostgreSQL finds that by its expression, so the call is made one after the other.
SELECT * FROM endpoint.compare($$SELECT id, (SELECT payload FROM aws_lambda.invoke('accept-10', to_jsonb(t.id))) FROM t ORDER BY 2$$);
SELECT * FROM endpoint.compare($$SELECT count(*) FROM (SELECT id, (SELECT payload FROM aws_lambda.invoke('accept-10', to_jsonb(t.id)))::text || s FROM t ORDER BY 2) y$$);
-- A subquery whose call depends on nothing that it is given keeps its row, and one with a subquery in an argument stays where it is.
SELECT * FROM endpoint.compare($$SELECT (SELECT payload || to_jsonb(t.id) FROM aws_lambda.invoke('accept-10', '1'::jsonb)) FROM t$$);
SELECT * FROM endpoint.compare($$SELECT (SELECT payload FROM aws_lambda.invoke('accept-10', to_jsonb(1 IN (SELECT u.id FROM u WHERE u.g = t.g)))) FROM t$$);
SELECT * FROM endpoint.compare($$SELECT (SELECT to_jsonb(i) FROM aws_lambda.invoke('accept-10', to_jsonb(t.id)) AS i(a, b, c, d)) FROM t$$);
SELECT * FROM endpoint.compare($$SELECT (SELECT to_jsonb(i) FROM aws_lambda.invoke('accept-10', (aws_lambda.invoke('accept-10', to_jsonb(t.id))).payload) AS i(a, b, c, d)) FROM t$$);
-- Something volatile that needs the result is evaluated with it, so other volatile columns are, too.
SELECT * FROM endpoint.compare($$SELECT setval('one', 1), ARRAY(SELECT ROW((SELECT payload || to_jsonb(nextval('one')) FROM aws_lambda.invoke('accept-10', to_jsonb(t.id))), nextval('one'))::text FROM t)$$);
-- A parallel plan
CREATE FUNCTION safe(k int) RETURNS jsonb LANGUAGE sql PARALLEL SAFE AS $f$ SELECT (aws_lambda.invoke('accept-10', to_jsonb(k))).payload $f$;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT * FROM endpoint.compare($$SELECT count(x) FROM (SELECT id, safe(id) x FROM t OFFSET 0) y$$);
SELECT * FROM endpoint.compare($$SELECT id, safe(id) x FROM t ORDER BY 2$$);
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
-- A nested loop that would run a sorted subquery again keeps its rows.
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
SELECT * FROM endpoint.compare($$SELECT u.id, x.* FROM u LEFT JOIN (SELECT s, id, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t ORDER BY s) x ON x.id < u.id$$);
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_material;
-- Set-returning functions and a single row
SELECT * FROM endpoint.compare($$SELECT id, generate_series(1, 2), (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t$$);
SELECT * FROM endpoint.compare($$SELECT (aws_lambda.invoke('accept-10', '1'::jsonb)).payload$$);

-- Every signature, and NULL
SELECT * FROM endpoint.compare($$SELECT (aws_lambda.invoke('accept-10', to_jsonb(id), 'us-east-1', 'RequestResponse', 'Tail', '{"custom": {}}'::jsonb, 'v1')).* FROM t$$);
SELECT * FROM endpoint.compare($$SELECT aws_lambda.invoke(aws_commons.create_lambda_function_arn('accept-' || 10 + g, 'us-east-1'), to_json(id), log_type => 'Tail') FROM t$$);
SELECT * FROM endpoint.compare($$SELECT aws_lambda.invoke('(accept-10,us-east-1)', to_json(id), 'RequestResponse', 'Tail', '{"custom": {}}', 'v1') FROM t$$);
SELECT * FROM endpoint.compare($$SELECT aws_lambda.invoke('accept-10', to_jsonb(id), 'us-east-1', 'RequestResponse', 'Tail', '{"custom": {}}') FROM t$$);
SELECT * FROM endpoint.compare($$SELECT aws_lambda.invoke(payload => to_jsonb(id), function_name => 'accept-' || 10 + g, context => NULL) FROM t$$);
SELECT * FROM endpoint.compare($$SELECT aws_lambda.invoke('accept-10', CASE WHEN g > 0 THEN to_jsonb(id) END) FROM t$$);
SELECT * FROM endpoint.compare($$SELECT aws_lambda.invoke('accept-10', to_jsonb(id), invocation_type => CASE g WHEN 1 THEN 'Event' ELSE 'DryRun' END) FROM t$$);

SET aws_lambda.invoke_concurrency = 64;
-- What is planned shows the call's values, and counts.
SELECT * FROM endpoint.explain($$SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(t))).payload FROM t ORDER BY g LIMIT 3$$, 'VERBOSE');
SELECT * FROM endpoint.explain($$UPDATE t SET r = (SELECT payload FROM aws_lambda.invoke('accept-10', to_jsonb(t.id)))$$, '');
SELECT * FROM endpoint.explain($$UPDATE t SET s = 'x' RETURNING (aws_lambda.invoke('accept-10', to_jsonb(s))).payload$$, '');
SELECT regexp_replace("QUERY PLAN", 'Flight: ([2-9]|\d\d)', 'Flight: many') AS plan FROM endpoint.explain($$SELECT (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t$$, 'ANALYZE') WHERE "QUERY PLAN" !~ 'Bytes|Memory|Wait';
SELECT count(*) > 3 AS explained FROM endpoint.explain($$SELECT id, rank() OVER (ORDER BY id), (aws_lambda.invoke('accept-10', to_jsonb(rank() OVER (ORDER BY id)))).payload FROM t$$, 'VERBOSE');
SELECT count(*) > 3 AS explained FROM endpoint.explain($$UPDATE t SET (id, s) = (SELECT t.id + 100, 'y' WHERE t.g > 0), r = (aws_lambda.invoke('accept-10', to_jsonb(s))).payload$$, 'VERBOSE');
SELECT endpoint.reset();

-- No further ahead than rows are wanted
SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t ORDER BY id DESC LIMIT 3;
SELECT endpoint.made();
BEGIN;
DECLARE c CURSOR FOR SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t;
FETCH 2 FROM c;
SELECT endpoint.made();
FETCH ALL FROM c;
COMMIT;
SELECT endpoint.made();
-- Rescans call again.
SET enable_material = off;
SELECT * FROM endpoint.compare($$SELECT u.id, (SELECT count(p) FROM (SELECT (aws_lambda.invoke('accept-10', to_jsonb(t.id))).payload p FROM t WHERE t.g <= u.g) x) FROM u$$);
RESET enable_material;

-- Rights: EXECUTE of who runs the statement, and the credentials of the extension's owner. Nothing else is needed.
SET client_min_messages = warning;
CREATE ROLE select_list_user;
RESET client_min_messages;
GRANT USAGE ON SCHEMA select_list, aws_lambda TO select_list_user;
GRANT SELECT ON t, v TO select_list_user;
SET aws_lambda.invoke_concurrency = 64;
PREPARE p AS SELECT count(p) FROM (SELECT (aws_lambda.invoke('accept-10', to_jsonb(id))).payload p FROM t) x;
SET ROLE select_list_user;
SELECT (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t;
EXPLAIN (COSTS OFF) SELECT (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t;
EXECUTE p;
SELECT count(payload) FROM v;
RESET ROLE;
SELECT endpoint.made();
GRANT EXECUTE ON FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, jsonb, varchar(128)) TO select_list_user;
SET ROLE select_list_user;
SELECT (aws_lambda.invoke('accept-10', to_jsonb(id))).payload FROM t LIMIT 2;
EXECUTE p;
SELECT count(payload) FROM v;
RESET ROLE;
REVOKE EXECUTE ON FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, jsonb, varchar(128)) FROM select_list_user;
SET ROLE select_list_user;
EXECUTE p;
RESET ROLE;
DROP OWNED BY select_list_user;
DROP ROLE select_list_user;
SELECT endpoint.made();

-- Events are written to the queue where the setting says so, also by a plan that was made before.
PREPARE e AS SELECT count(i) FROM (SELECT (aws_lambda.invoke('accept-10', to_jsonb(id), invocation_type => 'Event')) i FROM t) x;
EXECUTE e;
SELECT endpoint.made(), count(*) FROM aws_lambda.queue;
SET aws_lambda.events = 'queue';
EXECUTE e;
SELECT endpoint.made(), count(*) FROM aws_lambda.queue;
RESET aws_lambda.events;
DELETE FROM aws_lambda.queue;

-- Errors come in the order of rows, with the texts of one after the other.
\set SHOW_CONTEXT errors
SELECT count(p) FROM (SELECT (aws_lambda.invoke(CASE id WHEN 7 THEN 'absent' ELSE 'accept-10' END, to_jsonb(id))).payload p FROM t) x;
SELECT count(p) FROM (SELECT (SELECT payload FROM aws_lambda.invoke(CASE id WHEN 7 THEN 'absent' ELSE 'accept-10' END, to_jsonb(id))) p FROM t) x;
SELECT count(payload) FROM t, aws_lambda.invoke(CASE id WHEN 7 THEN 'absent' ELSE 'accept-10' END, to_jsonb(id));
RESET aws_lambda.invoke_concurrency;
SELECT count(p) FROM (SELECT (aws_lambda.invoke(CASE id WHEN 7 THEN 'absent' ELSE 'accept-10' END, to_jsonb(id))).payload p FROM t) x;
SET aws_lambda.invoke_concurrency = 64;
\set SHOW_CONTEXT never
SELECT endpoint.reset();
SET aws_lambda.max_invocations = 5;
SELECT * FROM endpoint.error_of($$SELECT count(p) FROM (SELECT (aws_lambda.invoke('accept-10', to_jsonb(id))).payload p FROM t) x$$);
SELECT endpoint.made();
RESET aws_lambda.max_invocations;
-- Each call is one, and an argument that contradicts an option of the table gives a null row.
ALTER FOREIGN TABLE aws_lambda.lambda_invocations OPTIONS (ADD deduplicate 'true');
SELECT * FROM endpoint.compare($$SELECT id, (aws_lambda.invoke('accept-10', to_jsonb(g))).payload FROM t$$);
ALTER FOREIGN TABLE aws_lambda.lambda_invocations OPTIONS (DROP deduplicate, ADD region 'us-east-1');
SELECT * FROM endpoint.compare($$SELECT id, aws_lambda.invoke('accept-10', to_jsonb(id), 'us-east-2') FROM u$$);
SELECT * FROM endpoint.compare($$SELECT id, aws_lambda.invoke('accept-10', to_jsonb(id)) FROM u$$);
ALTER FOREIGN TABLE aws_lambda.lambda_invocations OPTIONS (DROP region);
RESET aws_lambda.invoke_concurrency;
SET client_min_messages = warning;
DROP SCHEMA select_list CASCADE;
