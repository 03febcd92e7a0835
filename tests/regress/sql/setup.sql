-- Runs before all other tests: creates the extensions, and functions that ask the scripted endpoint.

CREATE EXTENSION aws_lambda CASCADE;

CREATE SCHEMA endpoint;
GRANT USAGE ON SCHEMA endpoint TO PUBLIC;

-- The endpoint's port differs from run to run.
\getenv control ENDPOINT_CONTROL
\getenv port ENDPOINT_PORT
CREATE TABLE endpoint.location AS SELECT :'control'::text AS control, :'port'::int AS port;

-- The functions below fill and empty these tables.
CREATE UNLOGGED TABLE endpoint.answer (
    place int GENERATED ALWAYS AS IDENTITY,
    function text, qualifier text, invocation_type text, log_type text, client_context text, payload text
);
CREATE UNLOGGED TABLE endpoint.counters (name text, value int);

-- Sends a command to the endpoint and copies the response into a table.
CREATE FUNCTION endpoint.control(command text, answer text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE (
        SELECT format('COPY endpoint.%s FROM PROGRAM %L', answer, format('%s %s %s', control, port, command))
        FROM endpoint.location
    );
END $$;

-- Sets all counters to zero and empties the log of invocations.
CREATE FUNCTION endpoint.reset() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT endpoint.control('reset', 'counters (name)')
$$;

-- The invocations since the last reset, in their order of arrival.
CREATE FUNCTION endpoint.invocations(command text DEFAULT 'invocations') RETURNS TABLE (
    function text, qualifier text, invocation_type text, log_type text, client_context text, payload text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM endpoint.control(command,
        'answer (function, qualifier, invocation_type, log_type, client_context, payload)');
    RETURN QUERY
        WITH answer AS (DELETE FROM endpoint.answer RETURNING *)
        SELECT function, qualifier, invocation_type, log_type, client_context, payload FROM answer ORDER BY place;
END $$;

-- Sets all counters to zero, and says which functions the endpoint tells of until the next reset, see tests/endpoint/functions.py.
CREATE FUNCTION endpoint.functions_are(name text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT endpoint.control('functions-' || name, 'counters (name)')
$$;

-- The requests about functions since the last reset, in their order of arrival.
CREATE UNLOGGED TABLE endpoint.question (
    place int GENERATED ALWAYS AS IDENTITY,
    operation text, function text, qualifier text, marker text, region text, access_key text
);
CREATE FUNCTION endpoint.questions() RETURNS TABLE (operation text, function text, qualifier text, marker text, region text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM endpoint.control('questions', 'question (operation, function, qualifier, marker, region, access_key)');
    RETURN QUERY
        WITH answer AS (DELETE FROM endpoint.question RETURNING *)
        SELECT operation, function, qualifier, marker, region FROM answer ORDER BY place;
END $$;

-- One counter since the last reset: invocations, lists, configurations, refused, throttled, aborted, assume_role, connections, most_in_flight.
CREATE FUNCTION endpoint.counter(name text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    counted int;
BEGIN
    PERFORM endpoint.control('counters', 'counters');
    WITH answer AS (DELETE FROM endpoint.counters RETURNING *)
    SELECT value INTO STRICT counted FROM answer WHERE answer.name = counter.name;
    RETURN counted;
END $$;

-- How often a function was invoked since the last reset.
CREATE FUNCTION endpoint.count() RETURNS int
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT endpoint.counter('invocations')
$$;

-- Invocations and the most in flight since the last reset, followed by a reset.
CREATE FUNCTION endpoint.counted(OUT invocations int, OUT most int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM endpoint.control('counters-reset', 'counters');
    SELECT value INTO STRICT invocations FROM endpoint.counters WHERE name = 'invocations';
    SELECT value INTO STRICT most FROM endpoint.counters WHERE name = 'most_in_flight';
    DELETE FROM endpoint.counters;
END $$;

-- The invocations of them alone.
CREATE FUNCTION endpoint.made() RETURNS int LANGUAGE sql AS $$ SELECT invocations FROM endpoint.counted() $$;

-- The invocations since the last reset, ordered by payload, followed by a reset.
CREATE FUNCTION endpoint.arrived() RETURNS TABLE (function text, invocation_type text, payload text) LANGUAGE sql AS $$
    SELECT function, invocation_type, payload FROM endpoint.invocations('invocations-reset') ORDER BY payload COLLATE "C", function
$$;

-- Runs a query with one call of aws_lambda.invoke in flight and with 64. Tells how many rows and invocations there were, and what was not the same.
-- The statement is another one where `reads` is given, which reads what it has written; both are rolled back.
CREATE FUNCTION endpoint.compare(statement text, reads text DEFAULT NULL,
    OUT row_count int, OUT invocations int, OUT same_rows bool, OUT same_payloads bool, OUT at_once text)
LANGUAGE plpgsql AS $$
DECLARE
    got text[];
    sent text[];
    before text[];
    sent_before text[];
    in_flight int;
BEGIN
    FOR most IN 1..2 LOOP
        PERFORM set_config('aws_lambda.invoke_concurrency', CASE most WHEN 1 THEN '1' ELSE '64' END, true);
        BEGIN
            IF reads IS NOT NULL THEN
                EXECUTE statement;
            END IF;
            EXECUTE format('SELECT COALESCE(array_agg(x::text), ''{}'') FROM (%s) x', COALESCE(reads, statement)) INTO got;
            RAISE assert_failure;
        EXCEPTION WHEN assert_failure THEN
            NULL;
        END;
        in_flight := endpoint.counter('most_in_flight');
        SELECT array_agg(function || payload ORDER BY function, payload COLLATE "C") INTO sent FROM endpoint.arrived();
        IF most = 1 THEN
            before := got;
            sent_before := sent;
            at_once := in_flight;
        ELSE
            row_count := cardinality(got);
            invocations := cardinality(sent);
            same_rows := got IS NOT DISTINCT FROM before;
            same_payloads := sent IS NOT DISTINCT FROM sent_before;
            at_once := at_once || CASE WHEN in_flight > 1 THEN ', many' ELSE ', one' END;
        END IF;
    END LOOP;
    PERFORM set_config('aws_lambda.invoke_concurrency', '1', true);
END $$;

-- Runs a statement and returns its error, without the parts that differ from run to run. The SQLSTATE is 00000 if there is none.
CREATE TYPE endpoint.error AS (sqlstate text, message text, detail text, hint text);
CREATE FUNCTION endpoint.redact(given text) RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT NULLIF(replace(
        regexp_replace(
            regexp_replace(given, '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', 'REQUEST-ID', 'g'),
            '/tmp/aws_lambda_fdw[.][^/]+', 'DIRECTORY', 'g'),
        '127.0.0.1:' || port, '127.0.0.1:PORT'), '')
    FROM endpoint.location
$$;
CREATE FUNCTION endpoint.error_of(sql text) RETURNS endpoint.error LANGUAGE plpgsql AS $$
DECLARE
    code text;
    message text;
    detail text;
    hint text;
BEGIN
    EXECUTE sql;
    RETURN ROW('00000'::text, NULL::text, NULL::text, NULL::text);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE,
        message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN ROW(code, endpoint.redact(message), endpoint.redact(detail), endpoint.redact(hint));
END $$;

-- The output of EXPLAIN, the same on all versions.
CREATE FUNCTION endpoint.explain(statement text, options text DEFAULT '') RETURNS TABLE ("QUERY PLAN" text) LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    options := replace(options, 'ANALYZE', 'ANALYZE, TIMING OFF, SUMMARY OFF, BUFFERS OFF');
    FOR line IN EXECUTE format('EXPLAIN (%s) %s', concat_ws(', ', 'COSTS OFF', NULLIF(options, '')), statement)
    LOOP
        line := replace(line, '"*SELECT*"', 'unnamed_subquery');
        line := regexp_replace(line, 'actual rows=(\d+)\.00', 'actual rows=\1');
        line := regexp_replace(line, '(InitPlan|SubPlan) \w*?(\d+) \(returns \$\d+\)', '\1 \2');
        line := regexp_replace(line, '(InitPlan|SubPlan) [a-z]+_(\d+)', '\1 \2', 'g');
        line := regexp_replace(line, '\$\d+|\(InitPlan \d+\)\.col\d+', 'its result', 'g');
        line := regexp_replace(line, ',?\s*"Disabled": (true|false)', '', 'g');
        CONTINUE WHEN line ~ '^\s*Disabled: true$';
        RETURN QUERY SELECT line;
    END LOOP;
END $$;

-- It works.
SELECT endpoint.reset();
SELECT endpoint.count(), count(*) FROM endpoint.invocations();
SELECT endpoint.counter('connections');
SELECT * FROM endpoint.error_of('SELECT 1/0');
