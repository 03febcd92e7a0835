-- An invocation costs more than a filter, so filters are checked first.
SET client_min_messages = warning;
CREATE SCHEMA costs;
SET search_path = costs, public;
CREATE FOREIGN TABLE f (payload jsonb, response jsonb, status_code int) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 6) i;
CREATE TABLE u AS SELECT i AS id FROM generate_series(1, 6) i;
ANALYZE t, u;
CREATE FUNCTION third(int) RETURNS bool LANGUAGE plpgsql COST 1000 AS $$ BEGIN RETURN $1 = 3; END $$;
CREATE FUNCTION dearest(int) RETURNS bool LANGUAGE plpgsql COST 10000 AS $$ BEGIN RETURN $1 = 3; END $$;
RESET client_min_messages;
SELECT endpoint.reset();

SELECT count(*) FROM t WHERE (aws_lambda.invoke('echo', to_jsonb(id))).status_code = 200 AND third(id);
SELECT endpoint.made();
SELECT count(*) FROM t WHERE (aws_lambda.invoke('echo', to_jsonb(id))).status_code = 200 AND dearest(id);
SELECT endpoint.made();
SELECT count(*) FROM t WHERE (SELECT status_code FROM f WHERE payload = to_jsonb(id)) = 200 AND dearest(id);
SELECT endpoint.made();
SELECT count(*) FROM t, LATERAL aws_lambda.invoke('echo', to_jsonb(t.id)) i WHERE dearest(t.id);
SELECT endpoint.made();
SELECT count(*) FROM t JOIN u USING (id), LATERAL aws_lambda.invoke('echo', to_jsonb(t.id)) i WHERE dearest(t.id + u.id - id);
SELECT endpoint.made();
SELECT count(*) FROM t JOIN u USING (id) JOIN f ON f.payload = to_jsonb(t.id) WHERE dearest(t.id + u.id - id);
SELECT endpoint.made();
-- The invocations of a function and of a table cost the same, and JIT compilation is for thousands of them.
CREATE FUNCTION cost_of(statement text) RETURNS float LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON) ' || statement INTO plan;
    RETURN (plan #>> '{0,Plan,Total Cost}')::float;
END $$;
SELECT round((cost_of('SELECT * FROM aws_lambda.invoke(''f'', ''1''::jsonb)') / cost_of('SELECT * FROM f WHERE payload = ''1'''))::numeric, 1) AS is,
    current_setting('jit_above_cost')::float / cost_of('SELECT * FROM f WHERE payload = ''1''') BETWEEN 2000 AND 10000 AS thousands;
