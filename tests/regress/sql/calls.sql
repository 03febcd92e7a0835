-- Calls of aws_lambda.invoke in FROM, with one and with many in flight: the same rows in the same order, and the same invocations.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA calls;
SET search_path = calls, public;
CREATE TABLE t AS SELECT i AS id, 'v' || i AS s, i % 3 AS g FROM generate_series(1, 20) i;
ANALYZE t;
CREATE TABLE u AS SELECT i AS id, i % 4 AS g FROM generate_series(1, 6) i;
ANALYZE u;
RESET client_min_messages;
SELECT endpoint.reset();

-- Joins with LATERAL
SELECT * FROM endpoint.compare($$SELECT * FROM t, LATERAL aws_lambda.invoke('accept-10', to_jsonb(t)) i$$);
SELECT * FROM endpoint.compare($$SELECT t.id, i.payload FROM t CROSS JOIN aws_lambda.invoke('accept-10', to_jsonb(t.g)) i$$);
SELECT * FROM endpoint.compare($$SELECT t.id, i.* FROM t LEFT JOIN LATERAL aws_lambda.invoke('accept-10', to_json(t)) AS i(a, b, c, d) ON a = 200$$);
SELECT * FROM endpoint.compare($$SELECT t.id, i.* FROM t LEFT JOIN LATERAL aws_lambda.invoke('accept-10', to_jsonb(t.id)) i ON (i.payload)::int % 2 = 0$$);
SELECT * FROM endpoint.compare($$SELECT id, payload FROM t, aws_lambda.invoke('accept-10', to_jsonb(id)) WHERE id > 5 AND payload::int < 15$$);
-- One after the other, and beside each other
SELECT * FROM endpoint.compare($$SELECT t.id, a.payload, b.payload FROM t, aws_lambda.invoke('accept-10', to_jsonb(t.s)) a,
    aws_lambda.invoke('accept-10', jsonb_build_array(a.payload)) b$$);
SELECT * FROM endpoint.compare($$SELECT t.id, a.payload, b.payload FROM t, aws_lambda.invoke('accept-10', to_jsonb(t.s)) a,
    aws_lambda.invoke('accept-10', to_jsonb(t.id)) b$$);
-- Under outer joins, whose columns may be null
SELECT * FROM endpoint.compare($$SELECT t.id, u.id, i.payload FROM t LEFT JOIN u ON u.id = t.id, LATERAL aws_lambda.invoke('accept-10', to_jsonb(u.id)) i$$);
SELECT * FROM endpoint.compare($$SELECT t.id, u.id, i.payload FROM t LEFT JOIN u ON u.id = t.id, LATERAL aws_lambda.invoke('accept-10', to_jsonb(u.id)) i
    WHERE u.g > 0$$);
SELECT * FROM endpoint.compare($$SELECT u.id, x.* FROM u LEFT JOIN (SELECT t.g, i.payload FROM t, aws_lambda.invoke('accept-10', to_jsonb(t.id)) i) x ON x.g = u.g
    ORDER BY u.id, payload$$);
-- With subqueries, aggregates, sets, CTEs, and subqueries as arguments
SELECT * FROM endpoint.compare($$SELECT g, count(*), sum(payload::int) FROM t, aws_lambda.invoke('accept-10', to_jsonb(t.id)) GROUP BY g ORDER BY g$$);
SELECT * FROM endpoint.compare($$WITH x AS MATERIALIZED (SELECT t.id, payload FROM t, aws_lambda.invoke('accept-10', to_jsonb(t.id))) SELECT * FROM x a JOIN x b USING (id)$$);
SELECT * FROM endpoint.compare($$SELECT id, payload FROM t, aws_lambda.invoke('accept-10', to_jsonb(id)) UNION ALL
    SELECT id, payload FROM u, aws_lambda.invoke('accept-10', to_jsonb(id))$$);
SELECT * FROM endpoint.compare($$SELECT id, payload FROM t, aws_lambda.invoke('accept-10', to_jsonb((SELECT max(g) FROM u WHERE u.id <= t.id)))$$);
SELECT * FROM endpoint.compare($$SELECT id, (SELECT sum(payload::int) FROM u, aws_lambda.invoke('accept-10', to_jsonb(u.id + t.id)) i) FROM t WHERE id < 4$$);
-- Volatile arguments are evaluated once for each row.
CREATE SEQUENCE s;
SET aws_lambda.invoke_concurrency = 64;
SELECT count(DISTINCT payload) FROM t, aws_lambda.invoke('accept-10', to_jsonb(nextval('s') + t.id * 0));
RESET aws_lambda.invoke_concurrency;
SELECT endpoint.made();
-- As often as a subquery runs, a row comes, and whatever an outer join checks behind it
SELECT * FROM endpoint.compare($$SELECT t.id, (SELECT count(i.status_code) FROM u, aws_lambda.invoke('accept-10', to_jsonb(u.id)) i WHERE t.id > u.g - 10) FROM t$$);
SELECT * FROM endpoint.compare($$SELECT t.id, x.n FROM t, LATERAL (SELECT count(*) n FROM u, aws_lambda.invoke('accept-10', to_jsonb(u.id)) i WHERE i.status_code > t.id) x$$);
SET join_collapse_limit = 1;
SELECT * FROM endpoint.compare($$SELECT t.id, u.id, i.payload FROM (t JOIN u USING (g)) CROSS JOIN LATERAL aws_lambda.invoke('accept-10', to_jsonb(u.id)) i ORDER BY 1, 2$$);
RESET join_collapse_limit;
SELECT * FROM endpoint.compare($$SELECT t.id, i.payload FROM t LEFT JOIN LATERAL aws_lambda.invoke('accept-10', to_jsonb(t.id)) i ON t.g = 1$$);
-- An aggregate of the query around it is evaluated once, where the call is planned as a scan and where its row is read as a whole.
CREATE FUNCTION inv(id int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT status_code FROM aws_lambda.invoke('accept-10', to_jsonb(id))); END $$;
SELECT * FROM endpoint.compare($$SELECT t.g, (SELECT string_agg(i.payload::text, ',') FROM u,
    LATERAL aws_lambda.invoke('accept-10', to_jsonb(max(inv(t.id)) + u.id)) i WHERE u.id = 1) FROM t GROUP BY t.g ORDER BY g$$);
SELECT * FROM endpoint.compare($$SELECT t.g, (SELECT string_agg(i::text, ',') FROM u,
    LATERAL aws_lambda.invoke('accept-10', to_jsonb(max(inv(t.id)) + u.id)) i WHERE u.id = 1) FROM t GROUP BY t.g ORDER BY g$$);
-- Views
CREATE VIEW v AS SELECT t.id, t.g, i.payload, i.status_code FROM t CROSS JOIN LATERAL aws_lambda.invoke('accept-10', to_jsonb(t.id)) i;
SELECT * FROM endpoint.compare($$SELECT * FROM v WHERE g = 1$$);
SELECT * FROM endpoint.compare($$SELECT u.id, v.payload FROM u JOIN v ON v.id = u.id$$);
-- The row as a whole, and ORDINALITY, also where an outer join has no row
SELECT * FROM endpoint.compare($$SELECT t.id, i, to_jsonb(i) FROM t, aws_lambda.invoke('accept-10', to_jsonb(t.id)) AS i(a, b)$$);
SELECT * FROM endpoint.compare($$SELECT t.id, i.*, i FROM t, aws_lambda.invoke('accept-10', to_jsonb(t.id)) WITH ORDINALITY AS i(a, b, c, d, e)$$);
SELECT * FROM endpoint.compare($$SELECT t.id, i.ordinality, i, i IS NULL, count(i) OVER () FROM t LEFT JOIN LATERAL aws_lambda.invoke('accept-10', to_jsonb(t.id)) WITH ORDINALITY i
    ON t.g = 1$$);
SELECT * FROM endpoint.compare($$SELECT u.id, (SELECT jsonb_agg(x) FROM (SELECT i, i.ordinality + u.id) x) FROM u, aws_lambda.invoke('accept-10', to_jsonb(u.id)) WITH ORDINALITY i$$);
SELECT * FROM endpoint.compare($$SELECT i, count(*) FROM t, aws_lambda.invoke('accept-10', to_jsonb(t.g)) i GROUP BY i ORDER BY i::text$$);
-- In subqueries and functions that PostgreSQL flattens, without LATERAL at the call
SELECT * FROM endpoint.compare($$SELECT t.id, x.p FROM t, LATERAL (SELECT payload AS p FROM aws_lambda.invoke('accept-10', to_jsonb(t.id))) x$$);
SELECT * FROM endpoint.compare($$SELECT t.id, x.p FROM t LEFT JOIN LATERAL (SELECT payload AS p, 1 AS one FROM aws_lambda.invoke('accept-10', to_jsonb(t.id)) OFFSET 0) x ON one = 1$$);
CREATE FUNCTION positions(key anyelement) RETURNS TABLE (status int, answer jsonb) LANGUAGE sql STABLE
AS $f$ SELECT status_code, payload FROM aws_lambda.invoke('accept-10', to_jsonb(key)) $f$;
SELECT * FROM endpoint.compare($$SELECT t.id, p.answer FROM t, positions(t.id) p$$);
-- A call that depends on no other relation is made once.
SELECT * FROM endpoint.compare($$SELECT * FROM aws_lambda.invoke('accept-10', '{"a": 1}'::jsonb)$$);
SELECT * FROM endpoint.compare($$SELECT t.id, i.* FROM t CROSS JOIN aws_lambda.invoke('accept-10', '7'::jsonb) WITH ORDINALITY i$$);
SELECT * FROM endpoint.compare($$SELECT t.id, i.payload FROM t LEFT JOIN aws_lambda.invoke('accept-10', '7'::jsonb) i ON i.payload = to_jsonb(t.id)$$);
SELECT * FROM endpoint.compare($$SELECT t.id, i.payload FROM t FULL JOIN aws_lambda.invoke('accept-10', '77'::jsonb) i ON i.payload = to_jsonb(t.id) ORDER BY id$$);
SELECT * FROM endpoint.compare($$SELECT a.payload, b.payload FROM aws_lambda.invoke('accept-10', '1'::jsonb) a, aws_lambda.invoke('accept-10', '1'::jsonb) b$$);
SELECT * FROM endpoint.compare($$SELECT (SELECT payload FROM aws_lambda.invoke('accept-10', '5'::jsonb)), id FROM t$$);
-- A call in a call or in another function: one after the other
SELECT * FROM endpoint.compare($$SELECT t.id, i.payload FROM t, aws_lambda.invoke('accept-10', (aws_lambda.invoke('accept-10', to_jsonb(t.id))).payload) i$$);

SELECT * FROM endpoint.compare($$SELECT t.id, i.payload FROM t, jsonb_array_elements((aws_lambda.invoke('accept-10', jsonb_build_array(t.id, t.g))).payload) e,
    aws_lambda.invoke('accept-10', e.value) i$$);
SELECT * FROM endpoint.compare($$SELECT t.id, (aws_lambda.invoke('accept-10', i.payload)).payload FROM t, aws_lambda.invoke('accept-10', to_jsonb(t.id)) i$$);
-- A function in SQL that returns a row, which PostgreSQL does not inline
CREATE FUNCTION located(key anyelement, OUT status_code int, OUT payload jsonb, OUT executed_version text, OUT log_result text) LANGUAGE sql
AS $f$ SELECT aws_lambda.invoke('accept-10', to_jsonb(key)) $f$;
SELECT * FROM endpoint.compare($$SELECT t.id, p.payload FROM t, located(t.id) p$$);

-- Every signature, named arguments and defaults, and NULL
SELECT * FROM endpoint.compare($$SELECT id, i.* FROM t, aws_lambda.invoke('accept-10', to_jsonb(id), 'us-east-1', 'RequestResponse', 'Tail', '{"custom": {}}'::jsonb, 'v1') i$$);
SELECT * FROM endpoint.compare($$SELECT id, i.* FROM t, aws_lambda.invoke('accept-10', to_json(id), NULL, 'RequestResponse', 'None', '{"custom": {}}'::json, 'v1') i$$);
SELECT * FROM endpoint.compare($$SELECT id, i.* FROM t, aws_lambda.invoke(aws_commons.create_lambda_function_arn('accept-10', 'us-east-1'), to_jsonb(id)) i$$);
SELECT * FROM endpoint.compare($$SELECT id, i.* FROM t, aws_lambda.invoke(aws_commons.create_lambda_function_arn('accept-' || 10 + g), to_json(id), log_type => 'Tail') i$$);
SELECT * FROM endpoint.compare($$SELECT id, i.* FROM t, aws_lambda.invoke('accept-10', to_jsonb(id), 'us-east-1', 'RequestResponse', 'Tail', '{"custom": {}}') i$$);
SELECT * FROM endpoint.compare($$SELECT id, i.* FROM t, aws_lambda.invoke('(accept-10,us-east-1)', to_json(id), 'RequestResponse', 'Tail', '{"custom": {}}', 'v1') i$$);
SELECT * FROM endpoint.compare($$SELECT id, i.* FROM t, aws_lambda.invoke('(accept-10,us-east-1)', to_jsonb(id), invocation_type => 'RequestResponse') i$$);
SELECT * FROM endpoint.compare($$SELECT id, i.* FROM t, aws_lambda.invoke(payload => to_jsonb(id), function_name => 'accept-' || 10 + g, context => NULL) i$$);
SELECT * FROM endpoint.compare($$SELECT id, i.* FROM t, aws_lambda.invoke('accept-10', CASE WHEN g > 0 THEN to_jsonb(id) END) i$$);
SELECT * FROM endpoint.compare($$SELECT id, i.* FROM t, aws_lambda.invoke('accept-10', to_jsonb(id), invocation_type => 'Event') i$$);
SELECT * FROM endpoint.compare($$SELECT id, i.* FROM t, aws_lambda.invoke('accept-10', to_jsonb(id), invocation_type => CASE g WHEN 1 THEN 'Event' ELSE 'DryRun' END) i$$);

SET aws_lambda.invoke_concurrency = 64;
-- What is planned shows the call's values, and counts.
SELECT * FROM endpoint.explain($$SELECT id, i.payload FROM t, aws_lambda.invoke('accept-10', to_jsonb(id)) i$$, 'VERBOSE');
SELECT regexp_replace("QUERY PLAN", 'Flight: ([2-9]|\d\d)', 'Flight: many') AS plan FROM endpoint.explain($$SELECT count(*) FROM t, aws_lambda.invoke('accept-10', to_jsonb(id)) i$$, 'ANALYZE') WHERE "QUERY PLAN" !~ 'Bytes|Memory|Wait';
SELECT * FROM endpoint.explain($$SELECT * FROM aws_lambda.invoke('accept-10', '{"a": 1}'::jsonb)$$, 'ANALYZE') WHERE "QUERY PLAN" !~ 'Bytes|Memory|Wait';
SELECT endpoint.reset();

-- No further ahead than rows are wanted
SELECT id, payload FROM t, aws_lambda.invoke('accept-10', to_jsonb(id)) i LIMIT 3;
SELECT endpoint.made() < 10 AS few;
BEGIN;
DECLARE c CURSOR FOR SELECT id, payload FROM t, aws_lambda.invoke('accept-10', to_jsonb(id)) i;
FETCH 2 FROM c;
SELECT endpoint.made() < 10 AS few;
FETCH ALL FROM c;
COMMIT;
SELECT endpoint.made() > 10 AS the_others;

-- Statements that write
CREATE TABLE w (id int, r jsonb);
INSERT INTO w SELECT id, payload FROM t, aws_lambda.invoke('accept-10', to_jsonb(id));
SELECT invocations, most > 1 AS many FROM endpoint.counted();
UPDATE w SET r = i.payload FROM t, aws_lambda.invoke('accept-10', to_jsonb(t.id + 100)) i WHERE t.id = w.id;
SELECT invocations, most > 1 AS many FROM endpoint.counted();
SELECT count(*) FROM w WHERE r::int = id + 100;
DELETE FROM w USING t, aws_lambda.invoke('accept-10', to_jsonb(t.id)) i WHERE t.id = w.id AND i.payload::int > 10;
SELECT count(*), endpoint.made() FROM w;
CREATE TABLE w2 AS SELECT id, payload FROM t, aws_lambda.invoke('accept-10', to_jsonb(id));
SELECT invocations, most > 1 AS many FROM endpoint.counted();

-- Rights: EXECUTE of who runs the statement, and the credentials of the extension's owner. Nothing else is needed.
SET client_min_messages = warning;
CREATE ROLE calls_user;
RESET client_min_messages;
GRANT USAGE ON SCHEMA calls, aws_lambda TO calls_user;
GRANT SELECT ON t, v TO calls_user;
PREPARE p AS SELECT count(*) FROM t, aws_lambda.invoke('accept-10', to_jsonb(id)) i;
SET ROLE calls_user;
SELECT count(*) FROM t, aws_lambda.invoke('accept-10', to_jsonb(id)) i;
EXPLAIN (COSTS OFF) SELECT count(*) FROM t, aws_lambda.invoke('accept-10', to_jsonb(id)) i;
EXECUTE p;
SELECT count(*) FROM v;
RESET ROLE;
SELECT endpoint.made();
GRANT EXECUTE ON FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, jsonb, varchar(128)) TO calls_user;
SET ROLE calls_user;
SELECT count(*) FROM t, aws_lambda.invoke('accept-10', to_jsonb(id)) i;
EXECUTE p;
SELECT count(*) FROM v;
-- The table is not the role's.
SELECT count(*) FROM aws_lambda.lambda_invocations WHERE function_name = 'accept-10' AND payload = '1';
RESET ROLE;
REVOKE EXECUTE ON FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, jsonb, varchar(128)) FROM calls_user;
SET ROLE calls_user;
EXECUTE p;
RESET ROLE;
DROP OWNED BY calls_user;
DROP ROLE calls_user;
SELECT endpoint.made();

-- Events are written to the queue where the setting says so, also by a plan that was made before.
PREPARE e AS SELECT count(i) FROM t, aws_lambda.invoke('accept-10', to_jsonb(id), invocation_type => 'Event') i;
EXECUTE e;
PREPARE e2 AS SELECT count(status_code) FROM t, aws_lambda.invoke('accept-10', to_jsonb(id), invocation_type => 'Event');
EXECUTE e2;
SELECT endpoint.made(), count(*) FROM aws_lambda.queue;
SET aws_lambda.events = 'queue';
EXECUTE e2;
SELECT endpoint.made(), count(*) FROM aws_lambda.queue;
RESET aws_lambda.events;
DELETE FROM aws_lambda.queue;
-- A prepared statement follows the setting.
SET aws_lambda.invoke_concurrency = 1;
EXECUTE p;
SELECT * FROM endpoint.counted();
SET aws_lambda.invoke_concurrency = 64;
EXECUTE p;
SELECT invocations, most > 1 AS many FROM endpoint.counted();

-- Errors come in the order of rows, and whatever the table's option says.
SELECT * FROM endpoint.error_of($$SELECT count(payload) FROM t, aws_lambda.invoke(CASE id WHEN 7 THEN 'handled' ELSE 'accept-10' END, to_jsonb(id))$$);
ALTER FOREIGN TABLE aws_lambda.lambda_invocations OPTIONS (ADD on_error 'return');
SELECT * FROM endpoint.error_of($$SELECT count(payload) FROM t, aws_lambda.invoke(CASE id WHEN 7 THEN 'handled' ELSE 'accept-10' END, to_jsonb(id))$$);
ALTER FOREIGN TABLE aws_lambda.lambda_invocations OPTIONS (DROP on_error);
SELECT endpoint.reset();
SET aws_lambda.max_invocations = 5;
SELECT * FROM endpoint.error_of($$SELECT count(payload) FROM t, aws_lambda.invoke('accept-10', to_jsonb(id))$$);
SELECT endpoint.made();
RESET aws_lambda.max_invocations;
-- Each call is one, and settings of the function hold.
ALTER FOREIGN TABLE aws_lambda.lambda_invocations OPTIONS (ADD deduplicate 'true');
SELECT * FROM endpoint.compare($$SELECT t.id, i.payload FROM t, aws_lambda.invoke('accept-10', to_jsonb(t.g)) i$$);
ALTER FOREIGN TABLE aws_lambda.lambda_invocations OPTIONS (DROP deduplicate);
ALTER FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, jsonb, varchar(128)) SET aws_lambda.region = 'eu-west-1';
SELECT * FROM endpoint.compare($$SELECT t.id, i.payload FROM t, aws_lambda.invoke('accept-10', to_jsonb(t.g)) i$$);
ALTER FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, jsonb, varchar(128)) RESET ALL;
ALTER FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, jsonb, varchar(128)) STRICT;
SELECT * FROM endpoint.compare($$SELECT t.id, i.payload FROM t, aws_lambda.invoke('accept-10', to_jsonb(t.g)) i$$);
ALTER FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, jsonb, varchar(128)) CALLED ON NULL INPUT;
-- An argument that contradicts an option of the table gives a null row, as with one in flight.
ALTER FOREIGN TABLE aws_lambda.lambda_invocations OPTIONS (ADD region 'us-east-1');
SELECT * FROM endpoint.compare($$SELECT id, i.* FROM u, aws_lambda.invoke('accept-10', to_jsonb(id), 'us-east-2') i$$);
SELECT * FROM endpoint.compare($$SELECT id, i.* FROM u, aws_lambda.invoke('accept-10', to_jsonb(id), 'us-east-1') i$$);
ALTER FOREIGN TABLE aws_lambda.lambda_invocations OPTIONS (DROP region);
RESET aws_lambda.invoke_concurrency;
SET client_min_messages = warning;
DROP SCHEMA calls CASCADE;
