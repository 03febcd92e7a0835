-- The columns tenant_id, durable_execution_name and durable_execution_arn, and the option tenant_id: what is sent, byte for byte, and what comes back.
SET client_min_messages = warning;
CREATE SCHEMA tenants;
SET search_path = tenants, public;
CREATE FOREIGN TABLE d (function_name text, payload text, tenant_id text, durable_execution_name text, qualifier text, invocation_type text,
    response jsonb, status_code int, durable_execution_arn text) SERVER aws_lambda;
CREATE FOREIGN TABLE returned (payload text, tenant_id varchar, durable_execution_name text, response text, status_code int,
    error_code text, error_message text, durable_execution_arn text)
    SERVER aws_lambda OPTIONS (function_name 'echo', on_error 'return');
CREATE FOREIGN TABLE bound (payload text, response jsonb) SERVER aws_lambda OPTIONS (function_name 'describe', tenant_id 'blue:1/a=b @x');
CREATE FOREIGN TABLE bound_column (payload text, tenant_id text, response jsonb)
    SERVER aws_lambda OPTIONS (function_name 'describe', invocation_type 'RequestResponse', tenant_id 'blue');
CREATE TABLE orders AS SELECT i AS id, CASE i % 2 WHEN 0 THEN 'even' ELSE 'odd' END AS tenant FROM generate_series(1, 4) i;
ANALYZE orders;
RESET client_min_messages;
SELECT endpoint.reset();

-- Both, one, and neither: then nothing is sent of it
SELECT response ->> 'tenant_id' AS tenant, response ->> 'durable_execution_name' AS name, response ? 'tenant_id' AS has_tenant, status_code, durable_execution_arn
FROM d WHERE function_name = 'describe' AND payload = '1' AND tenant_id = 'a  b._:/=+-@Z9' AND durable_execution_name = 'order_1-A' AND qualifier = 'v1';
SELECT response ->> 'tenant_id' AS tenant, response ? 'durable_execution_name' AS has_name, durable_execution_arn
FROM d WHERE function_name = 'describe' AND payload = '1' AND tenant_id = 'blue';
SELECT response ? 'tenant_id' AS has_tenant, response ? 'durable_execution_name' AS has_name, durable_execution_arn, tenant_id, durable_execution_name
FROM d WHERE function_name = 'describe' AND payload = '1';
SELECT response ? 'tenant_id' AS has_tenant, response ? 'durable_execution_name' AS has_name
FROM d WHERE function_name = 'describe' AND payload = '1' AND tenant_id IS NULL AND durable_execution_name IS NOT DISTINCT FROM NULL;
SELECT response ->> 'tenant_id' AS tenant, response ->> 'durable_execution_name' AS name, durable_execution_arn
FROM aws_lambda.lambda_invocations WHERE function_name = 'describe' AND payload = '1' AND tenant_id = 'blue' AND durable_execution_name = repeat('n', 64);
SELECT response ->> 'tenant_id' = repeat('t', 256) AS tenant, response ->> 'durable_execution_name' AS name, durable_execution_arn
FROM aws_lambda.lambda_invocations_json WHERE function_name = 'describe' AND payload = '1' AND tenant_id = repeat('t', 256) AND durable_execution_name = 'j';

-- Lists multiply, and joins give values
SELECT tenant_id, durable_execution_name, status_code FROM d WHERE function_name = 'echo' AND payload = '1' AND tenant_id IN ('b', 'a') AND durable_execution_name IN ('y', 'x');
SELECT o.id, d.response ->> 'tenant_id' AS tenant, d.response ->> 'durable_execution_name' AS name
FROM orders o JOIN d ON d.function_name = 'describe' AND d.payload = o.id::text AND d.tenant_id = o.tenant AND d.durable_execution_name = 'order-' || o.id ORDER BY o.id;
SELECT endpoint.made();

-- Conditions on them come before the invocations
SELECT tenant_id FROM d WHERE function_name = 'echo' AND payload = '1' AND tenant_id IN ('a1', 'b1', 'a2') AND tenant_id LIKE 'a%' AND durable_execution_name = 'n2' AND tenant_id || durable_execution_name <> 'a1n2';
SELECT endpoint.made();
SELECT tenant_id FROM d WHERE function_name = 'echo' AND payload = '1' AND tenant_id LIKE 'a%';
CREATE VIEW own_tenant WITH (security_barrier) AS SELECT * FROM d WHERE tenant_id IN ('odd');
SELECT tenant_id FROM own_tenant WHERE function_name = 'echo' AND payload = '1' AND tenant_id IN ('odd', 'even');
SELECT endpoint.made();

-- EXPLAIN
SELECT * FROM endpoint.explain($$SELECT response FROM d WHERE function_name = 'echo' AND payload = '1' AND tenant_id = 'blue' AND durable_execution_name IN ('x', 'y') AND durable_execution_name LIKE 'x'$$);
SELECT * FROM endpoint.explain($$SELECT response FROM bound_column WHERE payload = '1'$$);

-- The option: of a table that has the column, and of one that has not
SELECT response ->> 'tenant_id' AS tenant FROM bound WHERE payload = '1';
SELECT response ->> 'tenant_id' AS tenant, tenant_id FROM bound_column WHERE payload = '1';
SELECT * FROM bound_column WHERE payload = '1' AND tenant_id = 'green';
SELECT endpoint.made();
INSERT INTO bound_column (payload) VALUES ('1') RETURNING response ->> 'tenant_id' AS tenant;
INSERT INTO bound_column (payload, tenant_id) VALUES ('1', 'blue') RETURNING response ->> 'tenant_id' AS tenant;
SELECT endpoint.made();
INSERT INTO bound_column (payload, tenant_id) VALUES ('1', 'green');
ALTER FOREIGN TABLE bound OPTIONS (SET tenant_id ' blue');
ALTER FOREIGN TABLE bound OPTIONS (SET tenant_id '');
ALTER SERVER aws_lambda OPTIONS (ADD tenant_id 'blue');
ALTER FOREIGN TABLE bound OPTIONS (ADD durable_execution_name 'x');
-- The functions have no argument for it, and follow the option of their table
ALTER FOREIGN TABLE aws_lambda.lambda_invocations OPTIONS (ADD tenant_id 'blue');
SELECT payload ->> 'tenant_id' AS tenant FROM aws_lambda.invoke('describe', '1'::jsonb);
SELECT payload ->> 'tenant_id' AS tenant FROM aws_lambda.invoke('describe', '1'::json);
SELECT payload ->> 'tenant_id' AS tenant FROM aws_lambda.invoke(aws_commons.create_lambda_function_arn('describe'), '1'::jsonb);
ALTER FOREIGN TABLE aws_lambda.lambda_invocations OPTIONS (DROP tenant_id);
SELECT endpoint.made();

-- INSERT and COPY
INSERT INTO d (function_name, payload, tenant_id, durable_execution_name, invocation_type)
    VALUES ('describe', '1', 'a', 'i1', 'RequestResponse'), ('describe', '2', NULL, NULL, 'RequestResponse')
    RETURNING response ->> 'tenant_id' AS tenant, response ->> 'durable_execution_name' AS name, status_code, durable_execution_arn;
INSERT INTO d (function_name, payload, durable_execution_name) VALUES ('echo', '1', 'i2') RETURNING invocation_type, status_code, durable_execution_arn;
COPY d (function_name, payload, tenant_id, durable_execution_name) FROM STDIN (FORMAT csv);
echo,1,blue,c1
echo,2,,c2
\.
SELECT endpoint.made();
INSERT INTO d (function_name, payload, durable_execution_arn) VALUES ('echo', '1', 'arn');

-- Values outside of Lambda's grammar. None is sent, but for a name that is taken.
\a
SELECT given, e.* FROM (VALUES (1, ''), (2, ' a'), (3, 'a '), (4, 'a,b'), (5, E'a\tb'), (6, E'a\r\nX-Amz-Log-Type: Tail'), (7, 'é'), (8, repeat('t', 257))) AS v (place, given),
    endpoint.error_of(format('SELECT * FROM d WHERE function_name = %L AND payload = %L AND tenant_id = %L', 'echo', '1', given)) e ORDER BY place;
SELECT given, e.* FROM (VALUES (1, ''), (2, 'a b'), (3, 'a.b'), (4, E'a\r\n'), (5, 'é'), (6, repeat('n', 65))) AS v (place, given),
    endpoint.error_of(format('SELECT * FROM d WHERE function_name = %L AND payload = %L AND durable_execution_name = %L', 'echo', '1', given)) e ORDER BY place;
\a
INSERT INTO d (function_name, payload, tenant_id) VALUES ('echo', '1', 'a ');
SELECT endpoint.made();
SELECT tenant_id, status_code, error_code, error_message, response FROM returned WHERE payload = '1' AND tenant_id IN ('a b', 'a ', repeat('t', 5000)) AND length(tenant_id) < 10;
SELECT durable_execution_name, status_code, error_code, response, durable_execution_arn FROM returned WHERE payload = '1' AND durable_execution_name IN ('a b', 'taken');
SELECT status_code, error_code, response, durable_execution_arn FROM returned WHERE payload = '2' AND durable_execution_name = 'taken';
INSERT INTO returned (payload, durable_execution_name) VALUES ('1', 'a b') RETURNING error_code, durable_execution_arn;
SELECT endpoint.made();

-- A function that failed has an execution as well
ALTER FOREIGN TABLE returned OPTIONS (SET function_name 'unhandled');
SELECT error_code, durable_execution_arn FROM returned WHERE payload = '1' AND durable_execution_name = 'failed';
ALTER FOREIGN TABLE returned OPTIONS (SET function_name 'echo');

-- Rows that differ in either are not equal
SELECT endpoint.reset();
ALTER FOREIGN TABLE returned OPTIONS (ADD deduplicate 'true');
SELECT response FROM returned JOIN (VALUES ('a', 'x'), ('a', 'x'), ('b', 'y'), ('b', 'z'), ('c', 'z')) AS v (tenant, name)
    ON tenant_id = v.tenant AND durable_execution_name = v.name AND payload = '1';
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA tenants CASCADE;
