-- batch_format 'redshift': the protocol of Redshift's Lambda UDFs.
SET client_min_messages = warning;
CREATE SCHEMA batches_redshift;
SET search_path = batches_redshift, public;
CREATE FOREIGN TABLE udf (function_name text, payload jsonb, response jsonb)
    SERVER aws_lambda OPTIONS (batch_rows '1000', batch_format 'redshift');
CREATE FOREIGN TABLE udf_failures (function_name text, payload jsonb, response jsonb, status_code int, error_code text, error_message text)
    SERVER aws_lambda OPTIONS (batch_rows '1000', batch_format 'redshift', on_error 'return');
RESET client_min_messages;
SELECT endpoint.reset();

-- A payload that is an array has the arguments. Any other is the only argument.
SELECT payload, response FROM udf WHERE function_name = 'redshift' AND payload IN ('1', '[2, 3]', '{"a": 4}', 'null', '"x"', '[]') AND payload <> '[]';
SELECT payload::jsonb - '{request_id,query_id,database,user}'::text[] AS request, payload::jsonb ->> 'database' = current_database() AS database,
    payload::jsonb ->> 'user' = current_user AS user, payload::jsonb ->> 'request_id' ~ '^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$' AS has_id,
    jsonb_typeof(payload::jsonb -> 'query_id') FROM endpoint.invocations();
SELECT regexp_replace(payload, '"(request_id|query_id|database|user)":[^,]*', '"\1":_', 'g') FROM endpoint.arrived();
SELECT response FROM udf WHERE function_name IN ('redshift-bare', 'redshift-text', 'redshift-quoted', 'redshift-nested') AND payload IN ('1', '"two"');
SELECT endpoint.made();
SELECT * FROM endpoint.error_of($$SELECT response FROM udf WHERE function_name = 'redshift-failed' AND payload IN ('1', '2')$$);
SELECT * FROM endpoint.error_of($$SELECT response FROM udf WHERE function_name = 'redshift-silent' AND payload IN ('1', '2')$$);
SELECT * FROM endpoint.error_of($$SELECT response FROM udf WHERE function_name = 'redshift-short' AND payload IN ('1', '2')$$);
SELECT * FROM endpoint.error_of($$SELECT response FROM udf WHERE function_name = 'redshift-miscounted' AND payload IN ('1', '2')$$);
SELECT * FROM endpoint.error_of($$SELECT response FROM udf WHERE function_name = 'redshift-missing' AND payload IN ('1', '2')$$);
SELECT function_name, payload, status_code, error_code, error_message FROM udf_failures
    WHERE function_name IN ('redshift', 'redshift-failed', 'redshift-silent', 'redshift-short', 'null') AND payload IN ('1', '2');
SELECT endpoint.made();
-- Of two statements neither request id nor query id are equal. Of one statement all query ids are.
CREATE FOREIGN TABLE pairs (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'redshift', batch_rows '2', batch_format 'redshift');
SELECT count(*) FROM pairs WHERE payload IN ('1', '2', '3', '4');
SELECT count(*) FROM pairs WHERE payload IN ('1', '2', '3');
SELECT count(DISTINCT payload::jsonb ->> 'request_id') AS requests, count(DISTINCT payload::jsonb ->> 'query_id') AS queries FROM endpoint.arrived();
-- A single row in that format
ALTER FOREIGN TABLE pairs OPTIONS (SET batch_rows '1');
SELECT response FROM pairs WHERE payload IN ('1', '2');
SELECT payload::jsonb -> 'arguments' AS arguments, payload::jsonb -> 'num_records' AS records FROM endpoint.arrived() ORDER BY 1;
-- Fields of the payload are the arguments, in the order of the columns.
CREATE FOREIGN TABLE fields (number int OPTIONS ("in" 'payload'), word text OPTIONS ("in" 'payload'), missing text OPTIONS ("in" 'payload'), response jsonb)
    SERVER aws_lambda OPTIONS (function_name 'redshift', batch_rows '10', batch_format 'redshift');
SELECT number, word, response FROM fields WHERE number IN (1, 2) AND word = 'x"';
SELECT payload::jsonb -> 'arguments' AS arguments FROM endpoint.arrived();
INSERT INTO fields (word, number) VALUES ('y', 3), (NULL, 4);
SELECT payload::jsonb -> 'arguments' AS arguments FROM endpoint.arrived();
-- A durable execution has the same payload each time: Lambda refuses one that is there already with another.
CREATE FOREIGN TABLE executions (payload jsonb, response jsonb, qualifier text, durable_execution_name text)
    SERVER aws_lambda OPTIONS (function_name 'redshift', batch_rows '10', batch_format 'redshift');
SELECT response FROM executions WHERE qualifier = '1' AND durable_execution_name = 'order-7' AND payload = '5';
SELECT response FROM executions WHERE qualifier = '1' AND durable_execution_name = 'order-7' AND payload = '5';
SELECT response FROM executions WHERE qualifier = '1' AND durable_execution_name = 'order-8' AND payload = '5';
SELECT count(*), count(DISTINCT payload), count(DISTINCT payload::jsonb ->> 'request_id') FROM endpoint.arrived();
SET client_min_messages = warning;
DROP SCHEMA batches_redshift CASCADE;
