\echo Use "CREATE EXTENSION aws_lambda" to load this file. \quit

CREATE SCHEMA aws_lambda;
COMMENT ON SCHEMA aws_lambda IS 'invoke AWS Lambda functions';

-- Scripts for RDS create no third extension. So this script creates the wrapper, unless aws_lambda_fdw has created it. If aws_lambda_fdw is
-- created later, it takes this wrapper over.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'aws_lambda_fdw') THEN
        RETURN;
    END IF;

    CREATE FUNCTION aws_lambda.aws_lambda_fdw_handler() RETURNS fdw_handler
    LANGUAGE c STRICT VOLATILE PARALLEL SAFE
    AS '$libdir/aws_lambda_fdw', 'lambda_fdw_handler_wrapper';
    COMMENT ON FUNCTION aws_lambda.aws_lambda_fdw_handler() IS 'handler of the foreign-data wrapper aws_lambda_fdw';
    REVOKE ALL ON FUNCTION aws_lambda.aws_lambda_fdw_handler() FROM PUBLIC;

    CREATE FUNCTION aws_lambda.aws_lambda_fdw_validator(options text[], catalog oid) RETURNS void
    LANGUAGE c VOLATILE PARALLEL SAFE
    AS '$libdir/aws_lambda_fdw', 'lambda_fdw_validator_wrapper';
    COMMENT ON FUNCTION aws_lambda.aws_lambda_fdw_validator(text[], oid) IS 'validator of options of the foreign-data wrapper aws_lambda_fdw';
    REVOKE ALL ON FUNCTION aws_lambda.aws_lambda_fdw_validator(text[], oid) FROM PUBLIC;

    CREATE FOREIGN DATA WRAPPER aws_lambda_fdw
        HANDLER aws_lambda.aws_lambda_fdw_handler
        VALIDATOR aws_lambda.aws_lambda_fdw_validator;
    COMMENT ON FOREIGN DATA WRAPPER aws_lambda_fdw IS 'AWS Lambda functions as tables of invocations';
END $$;

CREATE SERVER aws_lambda FOREIGN DATA WRAPPER aws_lambda_fdw;
COMMENT ON SERVER aws_lambda IS 'AWS Lambda, with the credentials that the server process finds';

CREATE FOREIGN TABLE aws_lambda.lambda_invocations (
    function_name text,
    region text,
    payload jsonb,
    invocation_type text,
    log_type text,
    context jsonb,
    qualifier text,
    tenant_id text,
    durable_execution_name text,
    status_code integer,
    response jsonb,
    executed_version text,
    log_result text,
    log text,
    function_error text,
    request_id text,
    durable_execution_arn text,
    error_code text,
    error_message text
) SERVER aws_lambda;
COMMENT ON FOREIGN TABLE aws_lambda.lambda_invocations IS 'invocations of AWS Lambda functions';
COMMENT ON COLUMN aws_lambda.lambda_invocations.function_name IS 'in, required: name, name:qualifier, partial ARN or ARN of the function';
COMMENT ON COLUMN aws_lambda.lambda_invocations.region IS 'in: where the function is, such as us-east-1';
COMMENT ON COLUMN aws_lambda.lambda_invocations.payload IS 'in, required: input of the function; IS NULL sends none';
COMMENT ON COLUMN aws_lambda.lambda_invocations.invocation_type IS 'in: RequestResponse waits for the response, Event queues and returns, DryRun checks access only';
COMMENT ON COLUMN aws_lambda.lambda_invocations.log_type IS 'in: Tail returns the last 4 KB of the log, None does not';
COMMENT ON COLUMN aws_lambda.lambda_invocations.context IS 'in: client context, a JSON object with the fields custom and env';
COMMENT ON COLUMN aws_lambda.lambda_invocations.qualifier IS 'in: alias or version';
COMMENT ON COLUMN aws_lambda.lambda_invocations.tenant_id IS 'in: tenant of a function with tenant isolation';
COMMENT ON COLUMN aws_lambda.lambda_invocations.durable_execution_name IS 'in: name of a durable execution; equal invocations with one name are one execution';
COMMENT ON COLUMN aws_lambda.lambda_invocations.status_code IS 'out: HTTP status: 200, 202 of an event, 204 of a dry run';
COMMENT ON COLUMN aws_lambda.lambda_invocations.response IS 'out: what the function returned; null if that was empty';
COMMENT ON COLUMN aws_lambda.lambda_invocations.executed_version IS 'out: the version that ran';
COMMENT ON COLUMN aws_lambda.lambda_invocations.log_result IS 'out: the log in base64';
COMMENT ON COLUMN aws_lambda.lambda_invocations.log IS 'out: the log as text';
COMMENT ON COLUMN aws_lambda.lambda_invocations.function_error IS 'out: Handled or Unhandled if the function failed';
COMMENT ON COLUMN aws_lambda.lambda_invocations.request_id IS 'out: AWS request id, as in the log in CloudWatch';
COMMENT ON COLUMN aws_lambda.lambda_invocations.durable_execution_arn IS 'out: ARN of the durable execution';
COMMENT ON COLUMN aws_lambda.lambda_invocations.error_code IS 'out: error code, with the option on_error ''return''';
COMMENT ON COLUMN aws_lambda.lambda_invocations.error_message IS 'out: error message, with the option on_error ''return''';
REVOKE ALL ON TABLE aws_lambda.lambda_invocations FROM PUBLIC;

-- The same table for exact text. json has no equality operator for clauses, so payload and context are text.
CREATE FOREIGN TABLE aws_lambda.lambda_invocations_json (
    function_name text,
    region text,
    payload text,
    invocation_type text,
    log_type text,
    context text,
    qualifier text,
    tenant_id text,
    durable_execution_name text,
    status_code integer,
    response json,
    executed_version text,
    log_result text,
    log text,
    function_error text,
    request_id text,
    durable_execution_arn text,
    error_code text,
    error_message text
) SERVER aws_lambda;
COMMENT ON FOREIGN TABLE aws_lambda.lambda_invocations_json IS 'invocations of AWS Lambda functions, with payload and response as exact text';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.function_name IS 'in, required: name, name:qualifier, partial ARN or ARN of the function';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.region IS 'in: where the function is, such as us-east-1';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.payload IS 'in, required: input of the function, byte for byte; IS NULL sends none';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.invocation_type IS 'in: RequestResponse waits for the response, Event queues and returns, DryRun checks access only';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.log_type IS 'in: Tail returns the last 4 KB of the log, None does not';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.context IS 'in: client context, a JSON object with the fields custom and env';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.qualifier IS 'in: alias or version';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.tenant_id IS 'in: tenant of a function with tenant isolation';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.durable_execution_name IS 'in: name of a durable execution; equal invocations with one name are one execution';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.status_code IS 'out: HTTP status: 200, 202 of an event, 204 of a dry run';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.response IS 'out: what the function returned, byte for byte; null if that was empty';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.executed_version IS 'out: the version that ran';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.log_result IS 'out: the log in base64';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.log IS 'out: the log as text';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.function_error IS 'out: Handled or Unhandled if the function failed';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.request_id IS 'out: AWS request id, as in the log in CloudWatch';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.durable_execution_arn IS 'out: ARN of the durable execution';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.error_code IS 'out: error code, with the option on_error ''return''';
COMMENT ON COLUMN aws_lambda.lambda_invocations_json.error_message IS 'out: error message, with the option on_error ''return''';
REVOKE ALL ON TABLE aws_lambda.lambda_invocations_json FROM PUBLIC;

-- The functions that there are.
CREATE FOREIGN TABLE aws_lambda.functions (
    function_name text,
    region text,
    qualifier text,
    function_arn text,
    description text,
    runtime text,
    handler text,
    role text,
    version text,
    state text,
    package_type text,
    architecture text,
    memory_size integer,
    timeout integer,
    code_size bigint,
    last_modified timestamp with time zone
) SERVER aws_lambda OPTIONS (object 'functions');
COMMENT ON FOREIGN TABLE aws_lambda.functions IS 'AWS Lambda functions of the account';
COMMENT ON COLUMN aws_lambda.functions.function_name IS 'name of the function; with a value for it, that function alone is asked for';
COMMENT ON COLUMN aws_lambda.functions.region IS 'in: where the functions are, such as us-east-1';
COMMENT ON COLUMN aws_lambda.functions.qualifier IS 'in: alias or version of the function that has the name';
COMMENT ON COLUMN aws_lambda.functions.function_arn IS 'ARN';
COMMENT ON COLUMN aws_lambda.functions.description IS 'description; null if it is empty';
COMMENT ON COLUMN aws_lambda.functions.runtime IS 'identifier of the runtime; null of a container image';
COMMENT ON COLUMN aws_lambda.functions.handler IS 'what the runtime calls';
COMMENT ON COLUMN aws_lambda.functions.role IS 'ARN of the role that the function runs as';
COMMENT ON COLUMN aws_lambda.functions.version IS 'version that the row is about';
COMMENT ON COLUMN aws_lambda.functions.state IS 'Active, Inactive, Pending or Failed; takes a request for each function that is listed';
COMMENT ON COLUMN aws_lambda.functions.package_type IS 'Zip or Image';
COMMENT ON COLUMN aws_lambda.functions.architecture IS 'instruction set, such as x86_64 or arm64';
COMMENT ON COLUMN aws_lambda.functions.memory_size IS 'memory in MB';
COMMENT ON COLUMN aws_lambda.functions.timeout IS 'longest run in seconds';
COMMENT ON COLUMN aws_lambda.functions.code_size IS 'size of the package in bytes';
COMMENT ON COLUMN aws_lambda.functions.last_modified IS 'when the function was changed last';
REVOKE ALL ON TABLE aws_lambda.functions FROM PUBLIC;

-- The planner calls it for each call of invoke, for the cost. This loads the library, and with it the session's settings, before a parallel
-- query starts: PostgreSQL does not apply them later.
CREATE FUNCTION aws_lambda.invoke_support(internal) RETURNS internal
LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
AS '$libdir/aws_lambda_fdw', 'invoke_support';
COMMENT ON FUNCTION aws_lambda.invoke_support(internal) IS 'planner support function of aws_lambda.invoke';
REVOKE ALL ON FUNCTION aws_lambda.invoke_support(internal) FROM PUBLIC;

-- The functions run as their owner (SECURITY DEFINER), so a role needs EXECUTE on them and nothing else. A null argument means the default.

CREATE FUNCTION aws_lambda.invoke(
    IN function_name aws_commons._lambda_function_arn_1,
    IN payload json,
    IN invocation_type text DEFAULT 'RequestResponse',
    IN log_type text DEFAULT 'None',
    IN context json DEFAULT NULL,
    IN qualifier varchar(128) DEFAULT NULL,
    OUT status_code int, OUT payload json, OUT executed_version text, OUT log_result text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SUPPORT aws_lambda.invoke_support
AS '$libdir/aws_lambda_fdw', 'invoke_structure_json';
COMMENT ON FUNCTION aws_lambda.invoke(aws_commons._lambda_function_arn_1, json, text, text, json, varchar(128))
    IS 'invokes an AWS Lambda function, with json: takes calls with what aws_commons.create_lambda_function_arn returns; the third argument is invocation_type';
REVOKE ALL ON FUNCTION aws_lambda.invoke(aws_commons._lambda_function_arn_1, json, text, text, json, varchar(128)) FROM PUBLIC;

-- \gset turns a composite into text, so a name that begins with a parenthesis is a row literal. Such a call means the signature above. Its
-- positional arguments then arrive one position further right.
CREATE FUNCTION aws_lambda.invoke(
    IN function_name text,
    IN payload json,
    IN region text DEFAULT NULL,
    IN invocation_type text DEFAULT 'RequestResponse',
    IN log_type text DEFAULT 'None',
    IN context json DEFAULT NULL,
    IN qualifier varchar(128) DEFAULT NULL,
    OUT status_code int, OUT payload json, OUT executed_version text, OUT log_result text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SUPPORT aws_lambda.invoke_support
AS '$libdir/aws_lambda_fdw', 'invoke_name_json';
COMMENT ON FUNCTION aws_lambda.invoke(text, json, text, text, text, json, varchar(128))
    IS 'invokes an AWS Lambda function, with json: takes calls with a name or ARN; the third argument is region';
REVOKE ALL ON FUNCTION aws_lambda.invoke(text, json, text, text, text, json, varchar(128)) FROM PUBLIC;

-- It has no defaults, so it takes calls with six arguments only. With a row literal they are those of the signature with the composite. With a
-- plain name they are name, payload, region, invocation_type, log_type and context.
CREATE FUNCTION aws_lambda.invoke(
    IN function_name text,
    IN payload json,
    IN argument_3 text,
    IN argument_4 text,
    IN argument_5 text,
    IN argument_6 varchar(128),
    OUT status_code int, OUT payload json, OUT executed_version text, OUT log_result text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SUPPORT aws_lambda.invoke_support
AS '$libdir/aws_lambda_fdw', 'invoke_either_json';
COMMENT ON FUNCTION aws_lambda.invoke(text, json, text, text, text, varchar(128))
    IS 'invokes an AWS Lambda function, with json: takes calls with six arguments without types; of what psql''s \gset keeps of create_lambda_function_arn, invocation_type, log_type, context and qualifier are the third to sixth, and of a name region, invocation_type, log_type and context';
REVOKE ALL ON FUNCTION aws_lambda.invoke(text, json, text, text, text, varchar(128)) FROM PUBLIC;

CREATE FUNCTION aws_lambda.invoke(
    IN function_name aws_commons._lambda_function_arn_1,
    IN payload jsonb,
    IN invocation_type text DEFAULT 'RequestResponse',
    IN log_type text DEFAULT 'None',
    IN context jsonb DEFAULT NULL,
    IN qualifier varchar(128) DEFAULT NULL,
    OUT status_code int, OUT payload jsonb, OUT executed_version text, OUT log_result text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SUPPORT aws_lambda.invoke_support
AS '$libdir/aws_lambda_fdw', 'invoke_structure_jsonb';
COMMENT ON FUNCTION aws_lambda.invoke(aws_commons._lambda_function_arn_1, jsonb, text, text, jsonb, varchar(128))
    IS 'invokes an AWS Lambda function, with jsonb: takes calls with what aws_commons.create_lambda_function_arn returns; the third argument is invocation_type';
REVOKE ALL ON FUNCTION aws_lambda.invoke(aws_commons._lambda_function_arn_1, jsonb, text, text, jsonb, varchar(128)) FROM PUBLIC;

-- \gset turns a composite into text, so a name that begins with a parenthesis is a row literal. Such a call means the signature above. Its
-- positional arguments then arrive one position further right.
CREATE FUNCTION aws_lambda.invoke(
    IN function_name text,
    IN payload jsonb,
    IN region text DEFAULT NULL,
    IN invocation_type text DEFAULT 'RequestResponse',
    IN log_type text DEFAULT 'None',
    IN context jsonb DEFAULT NULL,
    IN qualifier varchar(128) DEFAULT NULL,
    OUT status_code int, OUT payload jsonb, OUT executed_version text, OUT log_result text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SUPPORT aws_lambda.invoke_support
AS '$libdir/aws_lambda_fdw', 'invoke_name_jsonb';
COMMENT ON FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, jsonb, varchar(128))
    IS 'invokes an AWS Lambda function, with jsonb: takes calls with a name or ARN; the third argument is region';
REVOKE ALL ON FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, jsonb, varchar(128)) FROM PUBLIC;

-- It has no defaults, so it takes calls with six arguments only. With a row literal they are those of the signature with the composite. With a
-- plain name they are name, payload, region, invocation_type, log_type and context.
CREATE FUNCTION aws_lambda.invoke(
    IN function_name text,
    IN payload jsonb,
    IN argument_3 text,
    IN argument_4 text,
    IN argument_5 text,
    IN argument_6 varchar(128),
    OUT status_code int, OUT payload jsonb, OUT executed_version text, OUT log_result text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SUPPORT aws_lambda.invoke_support
AS '$libdir/aws_lambda_fdw', 'invoke_either_jsonb';
COMMENT ON FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, varchar(128))
    IS 'invokes an AWS Lambda function, with jsonb: takes calls with six arguments without types; of what psql''s \gset keeps of create_lambda_function_arn, invocation_type, log_type, context and qualifier are the third to sixth, and of a name region, invocation_type, log_type and context';
REVOKE ALL ON FUNCTION aws_lambda.invoke(text, jsonb, text, text, text, varchar(128)) FROM PUBLIC;

-- The queue: invocations that are committed with the transaction that asks for them, and made afterwards.

-- A domain, because PostgreSQL prepares a check of a table anew in each statement. That took a fifth of the time of a queued row.
CREATE DOMAIN aws_lambda.queue_state AS text CHECK (VALUE IN ('waiting', 'delivered', 'failed'));
COMMENT ON DOMAIN aws_lambda.queue_state IS 'what becomes of a row of the queue: waiting, delivered or failed';
REVOKE ALL ON DOMAIN aws_lambda.queue_state FROM PUBLIC;

CREATE TABLE aws_lambda.queue (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state aws_lambda.queue_state NOT NULL DEFAULT 'waiting',
    queued_at timestamptz NOT NULL,
    queued_by regrole NOT NULL,
    foreign_table regclass NOT NULL,
    user_mapping_of regrole NOT NULL,
    function_name text NOT NULL,
    region text,
    payload text,
    invocation_type text NOT NULL,
    log_type text,
    context text,
    qualifier text,
    tenant_id text,
    durable_execution_name text,
    first_due_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    postponements integer NOT NULL DEFAULT 0,
    tried_at timestamptz,
    status_code integer,
    response text,
    executed_version text,
    log_result text,
    function_error text,
    request_id text,
    durable_execution_arn text,
    error_code text,
    error_message text
) WITH (
    -- Rows come and go. A share of the table's rows says little about how many of them are dead.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 50000
);
COMMENT ON TABLE aws_lambda.queue IS 'invocations that wait for delivery, that have failed, or that are kept for a while';
COMMENT ON COLUMN aws_lambda.queue.id IS 'what aws_lambda.enqueue returned';
COMMENT ON COLUMN aws_lambda.queue.state IS 'waiting, delivered or failed';
COMMENT ON COLUMN aws_lambda.queue.queued_at IS 'when the row was written';
COMMENT ON COLUMN aws_lambda.queue.queued_by IS 'the role of the session that queued';
COMMENT ON COLUMN aws_lambda.queue.foreign_table IS 'the foreign table whose options and server are used';
COMMENT ON COLUMN aws_lambda.queue.user_mapping_of IS 'the role whose user mapping is used';
COMMENT ON COLUMN aws_lambda.queue.function_name IS 'name, name:qualifier, partial ARN or ARN of the function';
COMMENT ON COLUMN aws_lambda.queue.region IS 'where the function is; null leaves it to options, settings and machine';
COMMENT ON COLUMN aws_lambda.queue.payload IS 'input of the function, byte for byte';
COMMENT ON COLUMN aws_lambda.queue.invocation_type IS 'Event, RequestResponse or DryRun';
COMMENT ON COLUMN aws_lambda.queue.log_type IS 'Tail returns the last 4 KB of the log, None does not';
COMMENT ON COLUMN aws_lambda.queue.context IS 'client context';
COMMENT ON COLUMN aws_lambda.queue.qualifier IS 'alias or version';
COMMENT ON COLUMN aws_lambda.queue.tenant_id IS 'tenant of a function with tenant isolation';
COMMENT ON COLUMN aws_lambda.queue.durable_execution_name IS 'name of the durable execution; equal invocations with one name are one execution';
COMMENT ON COLUMN aws_lambda.queue.first_due_at IS 'when the first attempt was due; its age counts from then';
COMMENT ON COLUMN aws_lambda.queue.due_at IS 'when the next attempt is due';
COMMENT ON COLUMN aws_lambda.queue.attempts IS 'attempts after which the function may have run, or that Lambda refused';
COMMENT ON COLUMN aws_lambda.queue.postponements IS 'attempts that reached no function, as Lambda throttled or there was no connection';
COMMENT ON COLUMN aws_lambda.queue.tried_at IS 'when the last attempt ended';
COMMENT ON COLUMN aws_lambda.queue.status_code IS 'HTTP status of the last attempt';
COMMENT ON COLUMN aws_lambda.queue.response IS 'what the function returned';
COMMENT ON COLUMN aws_lambda.queue.executed_version IS 'the version that ran';
COMMENT ON COLUMN aws_lambda.queue.log_result IS 'the log in base64';
COMMENT ON COLUMN aws_lambda.queue.function_error IS 'Handled or Unhandled if the function failed';
COMMENT ON COLUMN aws_lambda.queue.request_id IS 'AWS request id of the last attempt, as in the log in CloudWatch';
COMMENT ON COLUMN aws_lambda.queue.durable_execution_arn IS 'ARN of the durable execution';
COMMENT ON COLUMN aws_lambda.queue.error_code IS 'error code of the last attempt';
COMMENT ON COLUMN aws_lambda.queue.error_message IS 'error message of the last attempt';
REVOKE ALL ON TABLE aws_lambda.queue FROM PUBLIC;
COMMENT ON SEQUENCE aws_lambda.queue_id_seq IS 'ids of the queue';

CREATE INDEX queue_due ON aws_lambda.queue (due_at, id) WHERE state = 'waiting';
COMMENT ON INDEX aws_lambda.queue_due IS 'finds the rows that are due';
CREATE INDEX queue_delivered ON aws_lambda.queue (tried_at) WHERE state = 'delivered';
COMMENT ON INDEX aws_lambda.queue_delivered IS 'finds the rows that are no longer kept';

-- A publication FOR ALL TABLES has the queue. Its rows are delivered where they were queued, and not by a subscriber as well.
CREATE FUNCTION aws_lambda.ignore_replicated() RETURNS trigger
LANGUAGE c AS '$libdir/aws_lambda_fdw', 'ignore_replicated';
COMMENT ON FUNCTION aws_lambda.ignore_replicated() IS 'has a subscription leave a table as it is';
REVOKE ALL ON FUNCTION aws_lambda.ignore_replicated() FROM PUBLIC;

CREATE TRIGGER ignore_replicated BEFORE INSERT OR UPDATE OR DELETE ON aws_lambda.queue
    FOR EACH ROW EXECUTE FUNCTION aws_lambda.ignore_replicated();
ALTER TABLE aws_lambda.queue ENABLE REPLICA TRIGGER ignore_replicated;
COMMENT ON TRIGGER ignore_replicated ON aws_lambda.queue IS 'has a subscriber not deliver what its publisher delivers';

-- Delivered rows are deleted, so their number is kept here for a minute.
CREATE TABLE aws_lambda.queue_deliveries (
    function_name text NOT NULL,
    delivered_at timestamptz NOT NULL,
    delivered bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
COMMENT ON TABLE aws_lambda.queue_deliveries IS 'how many rows of the queue were delivered in the last minute';
COMMENT ON COLUMN aws_lambda.queue_deliveries.function_name IS 'the function, as it was queued';
COMMENT ON COLUMN aws_lambda.queue_deliveries.delivered_at IS 'when they were delivered';
COMMENT ON COLUMN aws_lambda.queue_deliveries.delivered IS 'how many rows were delivered together';
REVOKE ALL ON TABLE aws_lambda.queue_deliveries FROM PUBLIC;
-- Without, PostgreSQL refuses to delete a row that is published.
ALTER TABLE aws_lambda.queue_deliveries REPLICA IDENTITY FULL;

CREATE TRIGGER ignore_replicated BEFORE INSERT OR UPDATE OR DELETE ON aws_lambda.queue_deliveries
    FOR EACH ROW EXECUTE FUNCTION aws_lambda.ignore_replicated();
ALTER TABLE aws_lambda.queue_deliveries ENABLE REPLICA TRIGGER ignore_replicated;
COMMENT ON TRIGGER ignore_replicated ON aws_lambda.queue_deliveries IS 'has a subscriber not count what its publisher delivers';

-- Unlogged, so that it is not replicated: it says something about this server.
CREATE UNLOGGED TABLE aws_lambda.queue_worker (
    pid integer NOT NULL,
    started_at timestamptz NOT NULL
);
COMMENT ON TABLE aws_lambda.queue_worker IS 'the background worker that was started last; a commit that has queued wakes it';
COMMENT ON COLUMN aws_lambda.queue_worker.pid IS 'its process id';
COMMENT ON COLUMN aws_lambda.queue_worker.started_at IS 'when it was started';
REVOKE ALL ON TABLE aws_lambda.queue_worker FROM PUBLIC;

CREATE VIEW aws_lambda.queue_status AS
SELECT coalesce(q.function_name, d.function_name) AS function_name,
    coalesce(q.waiting, 0) AS waiting,
    coalesce(q.due, 0) AS due,
    q.oldest_age,
    coalesce(q.failed, 0) AS failed,
    q.last_error,
    coalesce(d.delivered, 0) AS delivered_per_minute
FROM (
    SELECT function_name,
        count(*) FILTER (WHERE state = 'waiting') AS waiting,
        count(*) FILTER (WHERE state = 'waiting' AND due_at <= now()) AS due,
        now() - min(first_due_at) FILTER (WHERE state = 'waiting' AND first_due_at <= now()) AS oldest_age,
        count(*) FILTER (WHERE state = 'failed') AS failed,
        (array_agg(error_message ORDER BY tried_at DESC) FILTER (WHERE error_message IS NOT NULL))[1] AS last_error
    FROM aws_lambda.queue
    GROUP BY function_name
) q
FULL JOIN (
    SELECT function_name, sum(delivered)::bigint AS delivered
    FROM aws_lambda.queue_deliveries
    WHERE delivered_at > now() - interval '1 minute'
    GROUP BY function_name
) d ON d.function_name = q.function_name;
COMMENT ON VIEW aws_lambda.queue_status IS 'the queue, a row for each function';
COMMENT ON COLUMN aws_lambda.queue_status.function_name IS 'the function, as it was queued';
COMMENT ON COLUMN aws_lambda.queue_status.waiting IS 'rows that wait for delivery';
COMMENT ON COLUMN aws_lambda.queue_status.due IS 'rows among them whose next attempt is due';
COMMENT ON COLUMN aws_lambda.queue_status.oldest_age IS 'how long the oldest row among them has been due';
COMMENT ON COLUMN aws_lambda.queue_status.failed IS 'rows that have failed and are not tried again';
COMMENT ON COLUMN aws_lambda.queue_status.last_error IS 'the error of the last attempt that failed';
COMMENT ON COLUMN aws_lambda.queue_status.delivered_per_minute IS 'rows that were delivered in the last minute';
REVOKE ALL ON TABLE aws_lambda.queue_status FROM PUBLIC;

-- These functions take the arguments of invoke. An invocation type of null means Event here.

CREATE FUNCTION aws_lambda.enqueue(
    IN function_name aws_commons._lambda_function_arn_1,
    IN payload json,
    IN invocation_type text DEFAULT NULL,
    IN log_type text DEFAULT 'None',
    IN context json DEFAULT NULL,
    IN qualifier varchar(128) DEFAULT NULL,
    IN not_before timestamptz DEFAULT NULL,
    IN durable_execution_name text DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
AS '$libdir/aws_lambda_fdw', 'enqueue_structure_json';
COMMENT ON FUNCTION aws_lambda.enqueue(aws_commons._lambda_function_arn_1, json, text, text, json, varchar(128), timestamptz, text)
    IS 'queues an invocation, with json: it is made after this transaction has committed, and never if it is rolled back; returns the id in aws_lambda.queue';
REVOKE ALL ON FUNCTION aws_lambda.enqueue(aws_commons._lambda_function_arn_1, json, text, text, json, varchar(128), timestamptz, text) FROM PUBLIC;

CREATE FUNCTION aws_lambda.enqueue(
    IN function_name text,
    IN payload json,
    IN region text DEFAULT NULL,
    IN invocation_type text DEFAULT NULL,
    IN log_type text DEFAULT 'None',
    IN context json DEFAULT NULL,
    IN qualifier varchar(128) DEFAULT NULL,
    IN not_before timestamptz DEFAULT NULL,
    IN durable_execution_name text DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
AS '$libdir/aws_lambda_fdw', 'enqueue_name_json';
COMMENT ON FUNCTION aws_lambda.enqueue(text, json, text, text, text, json, varchar(128), timestamptz, text)
    IS 'queues an invocation, with json: it is made after this transaction has committed, and never if it is rolled back; returns the id in aws_lambda.queue';
REVOKE ALL ON FUNCTION aws_lambda.enqueue(text, json, text, text, text, json, varchar(128), timestamptz, text) FROM PUBLIC;

CREATE FUNCTION aws_lambda.enqueue(
    IN function_name aws_commons._lambda_function_arn_1,
    IN payload jsonb,
    IN invocation_type text DEFAULT NULL,
    IN log_type text DEFAULT 'None',
    IN context jsonb DEFAULT NULL,
    IN qualifier varchar(128) DEFAULT NULL,
    IN not_before timestamptz DEFAULT NULL,
    IN durable_execution_name text DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
AS '$libdir/aws_lambda_fdw', 'enqueue_structure_jsonb';
COMMENT ON FUNCTION aws_lambda.enqueue(aws_commons._lambda_function_arn_1, jsonb, text, text, jsonb, varchar(128), timestamptz, text)
    IS 'queues an invocation, with jsonb: it is made after this transaction has committed, and never if it is rolled back; returns the id in aws_lambda.queue';
REVOKE ALL ON FUNCTION aws_lambda.enqueue(aws_commons._lambda_function_arn_1, jsonb, text, text, jsonb, varchar(128), timestamptz, text) FROM PUBLIC;

CREATE FUNCTION aws_lambda.enqueue(
    IN function_name text,
    IN payload jsonb,
    IN region text DEFAULT NULL,
    IN invocation_type text DEFAULT NULL,
    IN log_type text DEFAULT 'None',
    IN context jsonb DEFAULT NULL,
    IN qualifier varchar(128) DEFAULT NULL,
    IN not_before timestamptz DEFAULT NULL,
    IN durable_execution_name text DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
AS '$libdir/aws_lambda_fdw', 'enqueue_name_jsonb';
COMMENT ON FUNCTION aws_lambda.enqueue(text, jsonb, text, text, text, jsonb, varchar(128), timestamptz, text)
    IS 'queues an invocation, with jsonb: it is made after this transaction has committed, and never if it is rolled back; returns the id in aws_lambda.queue';
REVOKE ALL ON FUNCTION aws_lambda.enqueue(text, jsonb, text, text, text, jsonb, varchar(128), timestamptz, text) FROM PUBLIC;

CREATE FUNCTION aws_lambda.retry(id bigint) RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH retried AS (
        UPDATE aws_lambda.queue q
        SET state = 'waiting', first_due_at = clock_timestamp(), due_at = clock_timestamp(), attempts = 0, postponements = 0
        WHERE q.id = retry.id AND q.state = 'failed'
        RETURNING q.id
    )
    SELECT count(*) > 0 FROM retried
$$;
COMMENT ON FUNCTION aws_lambda.retry(bigint) IS 'has a failed row of the queue tried again, as if it were new; returns false if there is no such row';
REVOKE ALL ON FUNCTION aws_lambda.retry(bigint) FROM PUBLIC;

-- It commits, so it cannot be SECURITY DEFINER. It reads and writes the queue as the queue's owner.
CREATE PROCEDURE aws_lambda.deliver(
    IN max_rows bigint DEFAULT NULL,
    INOUT delivered bigint DEFAULT NULL,
    INOUT postponed bigint DEFAULT NULL,
    INOUT failed bigint DEFAULT NULL)
LANGUAGE c
AS '$libdir/aws_lambda_fdw', 'deliver';
COMMENT ON PROCEDURE aws_lambda.deliver(bigint, bigint, bigint, bigint)
    IS 'makes the invocations of the queue that are due, at most max_rows of them, and returns how many were delivered, will be tried again, or have failed';
REVOKE ALL ON PROCEDURE aws_lambda.deliver(bigint, bigint, bigint, bigint) FROM PUBLIC;

CREATE FUNCTION aws_lambda.start_worker() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS '$libdir/aws_lambda_fdw', 'start_worker';
COMMENT ON FUNCTION aws_lambda.start_worker() IS 'starts a background worker that delivers the queue of this database until the server stops';
REVOKE ALL ON FUNCTION aws_lambda.start_worker() FROM PUBLIC;
