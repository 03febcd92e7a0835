-- The queue: what is queued is committed with the transaction, delivered afterwards, and counted at the endpoint.
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE VIEW waiting AS
    SELECT state, queued_by, foreign_table, user_mapping_of, function_name, region, payload, invocation_type, log_type, context, qualifier,
        durable_execution_name
    FROM aws_lambda.queue ORDER BY id;
SELECT endpoint.reset();

-- Each signature, with the exact text of json and PostgreSQL's of jsonb
\pset expanded on
SELECT aws_lambda.enqueue('echo', '{"b": 1,  "a": 2}'::json) IS NOT NULL AS queued;
SELECT aws_lambda.enqueue('echo', '{"b": 1,  "a": 2}'::jsonb) IS NOT NULL AS queued;
SELECT aws_lambda.enqueue(aws_commons.create_lambda_function_arn('echo', 'us-east-1'), '[1,  2]'::json) IS NOT NULL AS queued;
SELECT aws_lambda.enqueue(aws_commons.create_lambda_function_arn('echo', 'us-east-1'), '[1,  2]'::jsonb, 'RequestResponse', 'Tail',
    '{"custom": {"k": "v"}}', 'v1', durable_execution_name => 'one') IS NOT NULL AS queued;
SELECT aws_lambda.enqueue('(echo,us-west-2)', '3'::json, 'RequestResponse') IS NOT NULL AS queued;
SELECT aws_lambda.enqueue('echo:v2', payload => NULL::json, region => 'us-east-2') IS NOT NULL AS queued;
SELECT * FROM waiting;
\pset expanded off
SELECT endpoint.made();
CALL aws_lambda.deliver();
SELECT * FROM endpoint.invocations('invocations-reset') ORDER BY payload COLLATE "C", function, qualifier;
SELECT count(*) FROM aws_lambda.queue;
CALL aws_lambda.deliver();

-- What is rolled back is never sent.
BEGIN;
SELECT aws_lambda.enqueue('echo', '1'::json) IS NOT NULL AS queued;
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT aws_lambda.enqueue('echo', '2'::json) IS NOT NULL AS queued;
ROLLBACK TO s;
SELECT aws_lambda.enqueue('echo', '3'::json) IS NOT NULL AS queued;
COMMIT;
CALL aws_lambda.deliver();
SELECT * FROM endpoint.arrived();

-- The region of the session that queues counts, unless the name or an option has one.
SET aws_lambda.region = 'eu-west-1';
SELECT aws_lambda.enqueue('echo', '1'::json) IS NOT NULL AS queued;
SELECT aws_lambda.enqueue('echo', '2'::json, region => 'us-east-2') IS NOT NULL AS queued;
SELECT aws_lambda.enqueue('arn:aws:lambda:us-east-1:123456789012:function:echo', '3'::json) IS NOT NULL AS queued;
ALTER SERVER aws_lambda OPTIONS (ADD region 'eu-west-2');
SELECT aws_lambda.enqueue('echo', '4'::json) IS NOT NULL AS queued;
RESET aws_lambda.region;
SELECT payload, region FROM waiting;
CALL aws_lambda.deliver();
ALTER SERVER aws_lambda OPTIONS (DROP region);
SELECT * FROM endpoint.arrived();

-- The setting of who delivers does not.
SET aws_lambda.region = '';
SELECT aws_lambda.enqueue('echo', '1'::json) IS NOT NULL AS queued;
SET aws_lambda.region = 'eu-west-3';
CALL aws_lambda.deliver();
SELECT payload, state, region, left(error_message, 10) AS error FROM aws_lambda.queue ORDER BY id;
DELETE FROM aws_lambda.queue;
RESET aws_lambda.region;
SELECT endpoint.reset();

-- What invoke refuses is not queued.
SELECT * FROM endpoint.error_of($$SELECT aws_lambda.enqueue('no name', '1'::json)$$);
SELECT * FROM endpoint.error_of($$SELECT aws_lambda.enqueue(NULL::text, '1'::json)$$);
SELECT * FROM endpoint.error_of($$SELECT aws_lambda.enqueue('echo', '1'::json, invocation_type => 'event')$$);
SELECT * FROM endpoint.error_of($$SELECT aws_lambda.enqueue('echo', to_json(repeat('x', 1100000)))$$);
SELECT * FROM endpoint.error_of($$SELECT aws_lambda.enqueue('echo', '1'::json, durable_execution_name => 'not allowed')$$);
SELECT * FROM endpoint.error_of($$SELECT aws_lambda.enqueue('arn:aws:lambda:us-east-1:123456789012:function:echo', '1'::json, 'us-east-2')$$);
SELECT * FROM endpoint.error_of($$SELECT aws_lambda.enqueue('echo', '1'::json, not_before => 'infinity')$$);
SELECT count(*) FROM aws_lambda.queue;
-- Nor is anything in a transaction that writes nothing.
BEGIN READ ONLY;
SELECT * FROM endpoint.error_of($$SELECT aws_lambda.enqueue('echo', '1'::json)$$);
ROLLBACK;

-- invoke queues its events where the setting says so, with the result of one that is sent.
SET aws_lambda.events = 'queue';
SELECT * FROM aws_lambda.invoke('echo', '{"x": 1}'::jsonb, invocation_type => 'Event');
SELECT * FROM aws_lambda.invoke('echo', '{"x": 2}'::json, invocation_type => 'RequestResponse');
SELECT * FROM aws_lambda.invoke(aws_commons.create_lambda_function_arn('echo'), '{"x": 3}'::json, 'Event');
SELECT * FROM endpoint.arrived();
RESET aws_lambda.events;
SELECT * FROM aws_lambda.invoke('echo', '{"x": 4}'::jsonb, invocation_type => 'Event');
SELECT * FROM endpoint.arrived();
CALL aws_lambda.deliver();
SELECT * FROM endpoint.arrived();
SET aws_lambda.events = 'later';

-- Not before its time
SELECT aws_lambda.enqueue('echo', '1'::json, not_before => now() + interval '1 hour') IS NOT NULL AS queued;
CALL aws_lambda.deliver();
SELECT endpoint.made();
UPDATE aws_lambda.queue SET due_at = now();
CALL aws_lambda.deliver();
SELECT endpoint.made();

-- Most rows
SELECT count(aws_lambda.enqueue('echo', to_json(i))) FROM generate_series(1, 300) i;
CALL aws_lambda.deliver(3);
CALL aws_lambda.deliver(0);
SELECT endpoint.made(), count(*), min(id) - max(id) AS no_gap FROM aws_lambda.queue;
CALL aws_lambda.deliver();
SELECT endpoint.made();

-- A failure that counts is tried again until there were enough attempts, and stays. One that reached no function does not count.
SET aws_lambda.queue_max_attempts = 2;
SELECT aws_lambda.enqueue('missing', '1'::json) IS NOT NULL AS queued;
SELECT aws_lambda.enqueue('handled', '2'::json, invocation_type => 'RequestResponse') IS NOT NULL AS queued;
SELECT aws_lambda.enqueue('throttle', '3'::json) IS NOT NULL AS queued;
SET aws_lambda.max_retries = 0;
CALL aws_lambda.deliver();
SELECT function_name, state, attempts, postponements, due_at - tried_at BETWEEN interval '0.4 s' AND interval '1.1 s' AS pause,
    status_code, response, function_error, error_code, error_message FROM aws_lambda.queue ORDER BY id;
CALL aws_lambda.deliver();
UPDATE aws_lambda.queue SET due_at = now();
CALL aws_lambda.deliver();
SELECT function_name, state, attempts, postponements, due_at - tried_at BETWEEN interval '0.9 s' AND interval '2.1 s' AS pause, error_code
FROM aws_lambda.queue ORDER BY id;
SELECT * FROM endpoint.arrived();
SELECT function_name, waiting, due, failed, last_error, delivered_per_minute > 0 AS delivered FROM aws_lambda.queue_status ORDER BY function_name;
-- One that is too old is not tried again either.
UPDATE aws_lambda.queue SET due_at = now(), first_due_at = now() - interval '1 day 1 second' WHERE state = 'waiting';
CALL aws_lambda.deliver();
SELECT function_name, state, attempts, postponements FROM aws_lambda.queue ORDER BY id;
-- retry makes a failed row new.
SELECT aws_lambda.retry(id) FROM aws_lambda.queue WHERE function_name = 'missing';
SELECT aws_lambda.retry(0);
SELECT function_name, state, attempts, postponements, due_at <= clock_timestamp() AS due FROM aws_lambda.queue ORDER BY id;
-- There are three states.
SELECT * FROM endpoint.error_of($$UPDATE aws_lambda.queue SET state = 'sent'$$);
DELETE FROM aws_lambda.queue;
SELECT endpoint.reset();

-- Delivered rows are kept, with the response, as long as the setting says.
SET aws_lambda.queue_keep = '1h';
SELECT aws_lambda.enqueue('echo', '{"k":  1}'::json, invocation_type => 'RequestResponse') IS NOT NULL AS queued;
SELECT aws_lambda.enqueue('html', '2'::json, invocation_type => 'RequestResponse') IS NOT NULL AS queued;
SELECT aws_lambda.enqueue('echo', '3'::json) IS NOT NULL AS queued;
CALL aws_lambda.deliver();
SELECT state, payload, status_code, response, executed_version, request_id IS NOT NULL AS has_request_id, error_code FROM aws_lambda.queue ORDER BY id;
CALL aws_lambda.deliver();
SELECT endpoint.made();
RESET aws_lambda.queue_keep;
SELECT aws_lambda.enqueue('echo', '4'::json) IS NOT NULL AS queued;
CALL aws_lambda.deliver();
SELECT count(*) FROM aws_lambda.queue;

-- A durable function gets a durable execution name, another for each row.
ALTER FOREIGN TABLE aws_lambda.lambda_invocations_json OPTIONS (ADD durable 'true');
SELECT aws_lambda.enqueue('echo', '1'::json, qualifier => 'v1') IS NOT NULL AS queued;
SELECT aws_lambda.enqueue('echo', '1'::json, qualifier => 'v1', durable_execution_name => 'mine') IS NOT NULL AS queued;
SELECT aws_lambda.enqueue('echo', '1'::jsonb, qualifier => 'v1') IS NOT NULL AS queued;
SELECT payload, durable_execution_name = 'queue-' || to_hex((SELECT system_identifier FROM pg_control_system())) || '-'
    || to_hex((SELECT oid::bigint FROM pg_database WHERE datname = current_database())) || '-'
    || to_hex((extract(epoch FROM queued_at - '2000-01-01 00:00+00') * 1000000)::bigint) || '-' || to_hex(id) AS by_default, nullif(left(durable_execution_name, 5), 'queue') AS name
FROM aws_lambda.queue ORDER BY id;
ALTER FOREIGN TABLE aws_lambda.lambda_invocations_json OPTIONS (DROP durable);
DELETE FROM aws_lambda.queue;

-- Each transaction of a delivery sees what others have committed, whatever the session's isolation level is.
CREATE FUNCTION isolation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE 'isolation level: %', current_setting('transaction_isolation');
    RETURN OLD;
END $$;
CREATE TRIGGER isolation BEFORE DELETE ON aws_lambda.queue FOR EACH ROW EXECUTE FUNCTION isolation();
SELECT aws_lambda.enqueue('echo', '1'::json) IS NOT NULL AS queued;
SET default_transaction_isolation = 'serializable';
CALL aws_lambda.deliver();
RESET default_transaction_isolation;
DROP TRIGGER isolation ON aws_lambda.queue;
SELECT endpoint.reset();

-- deliver commits, so it has to be called by itself.
BEGIN;
CALL aws_lambda.deliver();
ROLLBACK;
CREATE FUNCTION delivers() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    delivered bigint; postponed bigint; failed bigint;
BEGIN
    CALL aws_lambda.deliver(1, delivered, postponed, failed);
END $$;
SELECT delivers();
SELECT aws_lambda.enqueue('echo', '1'::json) IS NOT NULL AS queued;
DO $$
DECLARE
    delivered bigint; postponed bigint; failed bigint;
BEGIN
    CALL aws_lambda.deliver(NULL, delivered, postponed, failed);
    RAISE NOTICE '% delivered', delivered;
END $$;
SELECT * FROM endpoint.arrived();

-- Rights: EXECUTE is enough, and search_path does not matter. The row says who queued.
CREATE ROLE queuing;
GRANT USAGE ON SCHEMA aws_lambda, aws_commons TO queuing;
SET ROLE queuing;
SELECT aws_lambda.enqueue('echo', '1'::json);
CALL aws_lambda.deliver();
SELECT aws_lambda.retry(1);
SELECT count(*) FROM aws_lambda.queue;
SELECT count(*) FROM aws_lambda.queue_status;
SELECT count(*) FROM aws_lambda.queue_deliveries;
RESET ROLE;
GRANT EXECUTE ON FUNCTION aws_lambda.enqueue(text, json, text, text, text, json, varchar, timestamptz, text) TO queuing;
GRANT EXECUTE ON PROCEDURE aws_lambda.deliver TO queuing;
CREATE SCHEMA hostile AUTHORIZATION queuing;
SELECT format($$
    CREATE FUNCTION hostile.spy(%1$s, %1$s) RETURNS boolean LANGUAGE plpgsql AS
        'BEGIN RAISE WARNING ''called as %%'', current_user; RETURN true; END';
    CREATE OPERATOR hostile.= (LEFTARG = %1$s, RIGHTARG = %1$s, FUNCTION = hostile.spy);
    CREATE OPERATOR hostile.<= (LEFTARG = %1$s, RIGHTARG = %1$s, FUNCTION = hostile.spy);
    CREATE OPERATOR hostile.< (LEFTARG = %1$s, RIGHTARG = %1$s, FUNCTION = hostile.spy);
    CREATE OPERATOR hostile.> (LEFTARG = %1$s, RIGHTARG = %1$s, FUNCTION = hostile.spy);
    CREATE OPERATOR hostile.>= (LEFTARG = %1$s, RIGHTARG = %1$s, FUNCTION = hostile.spy);
    $$, type) FROM unnest('{bigint,text,timestamptz}'::text[]) type \gexec
SET ROLE queuing;
SET search_path = hostile, pg_catalog;
SELECT aws_lambda.enqueue('echo', '1'::json) IS NOT NULL AS queued;
CALL aws_lambda.deliver();
SELECT current_user;
RESET search_path;
RESET ROLE;
SELECT * FROM endpoint.arrived();
SELECT aws_lambda.enqueue('echo', '5'::json) IS NOT NULL AS queued;
SELECT queued_by, user_mapping_of = queued_by AS by_owner FROM aws_lambda.queue;
-- A foreign table or a role that was dropped meanwhile
UPDATE aws_lambda.queue SET foreign_table = 1::oid, due_at = now();
CALL aws_lambda.deliver();
SELECT state, attempts, error_message FROM aws_lambda.queue;
UPDATE aws_lambda.queue SET foreign_table = 'aws_lambda.lambda_invocations', user_mapping_of = 1::oid, due_at = now(), state = 'waiting', attempts = 0;
CALL aws_lambda.deliver();
SELECT state, attempts, error_message FROM aws_lambda.queue;
DELETE FROM aws_lambda.queue;
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA hostile CASCADE;
DROP VIEW waiting;
DROP FUNCTION delivers();
DROP OWNED BY queuing;
DROP ROLE queuing;

-- A parallel query can write nothing. enqueue keeps a query from being parallel.
CREATE TABLE many AS SELECT i FROM generate_series(1, 3) i;
ANALYZE many;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET aws_lambda.events = 'queue';
SELECT (aws_lambda.invoke('echo', to_json(i), invocation_type => 'Event')).status_code FROM many;
SELECT count(aws_lambda.enqueue('echo', to_json(i))) FROM many;
RESET aws_lambda.events;
CALL aws_lambda.deliver();
SELECT endpoint.made();
DROP TABLE many;
