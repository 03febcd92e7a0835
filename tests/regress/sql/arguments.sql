-- Arguments of the functions: null means the default, and everything else is sent byte for byte.

-- Null for each argument but the name

SELECT endpoint.reset();
SELECT status_code, payload FROM aws_lambda.invoke('echo', NULL::json);
SELECT status_code, payload FROM aws_lambda.invoke('echo', NULL::jsonb);
SELECT status_code, payload FROM aws_lambda.invoke('echo', '1'::json, NULL);
SELECT status_code, payload FROM aws_lambda.invoke('echo', '2'::json, NULL, NULL);
SELECT status_code, payload FROM aws_lambda.invoke('echo', '3'::json, NULL, NULL, NULL);
SELECT status_code, payload FROM aws_lambda.invoke('echo', '4'::json, NULL, NULL, NULL, NULL);
SELECT status_code, payload FROM aws_lambda.invoke('echo', '5'::json, NULL, NULL, NULL, NULL, NULL);
SELECT status_code, payload FROM aws_lambda.invoke('echo', '6'::jsonb, NULL, NULL, NULL, NULL, NULL);
SELECT status_code, payload FROM aws_lambda.invoke(aws_commons.create_lambda_function_arn('echo'), '7'::json, NULL, NULL, NULL, NULL);
SELECT status_code, payload FROM aws_lambda.invoke(aws_commons.create_lambda_function_arn('echo', NULL), '8'::jsonb, NULL, NULL, NULL, NULL);
SELECT status_code, payload FROM aws_lambda.invoke('(echo,)', '9'::json, NULL, NULL, NULL, NULL);
SELECT * FROM endpoint.invocations();

-- Null for the name

SELECT endpoint.reset();
SELECT * FROM aws_lambda.invoke(NULL::text, '{}'::json);
SELECT * FROM aws_lambda.invoke(NULL::aws_commons._lambda_function_arn_1, '{}'::jsonb);
SELECT * FROM aws_lambda.invoke(aws_commons.create_lambda_function_arn(NULL, 'us-west-2'), '{}'::jsonb);
SELECT * FROM aws_lambda.invoke('(,us-west-2)', '{}'::json);
SELECT endpoint.count();

-- json arrives as it was written

CREATE TABLE payloads (place int, note text, payload text);
INSERT INTO payloads VALUES
    (1, 'integer of 25 digits', '{"n": 1234567890123456789012345}'),
    (2, 'fraction of 20 digits', '1.0000000000000000001'),
    (3, 'exponents', '[1e400, 1E-7, -0.0]'),
    (4, 'escapes', '"\u2603 \ud83d\ude00 \" \\ \/ \t"'),
    (5, 'escaped zero', '"\u0000"'),
    (6, 'not ASCII', '"☃ 😀 é"'),
    (7, 'white space', E' {\t"a" :\n  1 } '),
    (8, 'order of keys', '{"b": 1, "aa": 2, "a": 3}'),
    (9, 'key given twice', '{"a": 1, "a": 2}'),
    (10, 'empty key and string', '{"": ""}'),
    (11, 'empty object', '{}'),
    (12, 'null', 'null'),
    (13, 'string', '"text"'),
    (14, 'true', 'true'),
    (15, 'characters of SQL and HTTP', '"%s'' ; -- \r\n\r\nGET / ${x} {}"');
SELECT endpoint.reset();
SELECT p.note, r.payload::text = p.payload AS came_back
FROM payloads AS p CROSS JOIN LATERAL aws_lambda.invoke('echo', p.payload::json) AS r ORDER BY p.place;
SELECT p.note, i.payload = p.payload AS arrived, i.payload
FROM payloads AS p JOIN (SELECT row_number() OVER () AS place, payload FROM endpoint.invocations()) AS i USING (place)
ORDER BY p.place;

-- jsonb arrives as PostgreSQL prints it

SELECT endpoint.reset();
SELECT p.note, r.payload = p.payload::jsonb AS came_back
FROM (SELECT * FROM payloads WHERE place <> 5) AS p CROSS JOIN LATERAL aws_lambda.invoke('echo', p.payload::jsonb) AS r ORDER BY p.place;
SELECT p.note, i.payload = p.payload::jsonb::text AS arrived, left(i.payload, 50) AS payload
FROM (SELECT row_number() OVER (ORDER BY place) AS place, note, payload FROM payloads WHERE place <> 5) AS p
JOIN (SELECT row_number() OVER () AS place, payload FROM endpoint.invocations()) AS i USING (place)
ORDER BY p.place;
DROP TABLE payloads;

-- Large

SET aws_lambda.request_timeout_ms = 30000;
CREATE TABLE large AS SELECT format('{"x": "%s"}', repeat('0123456789abcdef☃', 300000)) AS payload;
SELECT octet_length(payload) FROM large;
SELECT endpoint.reset();
SELECT octet_length(r.payload::text), r.payload::text = l.payload AS json FROM large AS l, aws_lambda.invoke('echo', l.payload::json) AS r;
SELECT octet_length(r.payload::text), r.payload::text = l.payload AS jsonb FROM large AS l, aws_lambda.invoke('echo', l.payload::jsonb) AS r;
SELECT octet_length(i.payload), i.payload = l.payload AS arrived FROM large AS l, endpoint.invocations() AS i;
DROP TABLE large;
RESET aws_lambda.request_timeout_ms;

-- Client context: as it was written, and not too long. 2,685 bytes are 3,580 in base64.

SELECT endpoint.reset();
SELECT status_code FROM aws_lambda.invoke('echo', '1'::json, context => E'{"custom": {"☃": "é\\u2603"},\n "env": {"n": 1234567890123456789012345}}');
SELECT status_code FROM aws_lambda.invoke('echo', '2'::jsonb, context => E'{"custom": {"☃": "é\\u2603"},\n "env": {"n": 1234567890123456789012345}}');
SELECT status_code FROM aws_lambda.invoke('echo', '3'::json, context => 'null');
SELECT status_code FROM aws_lambda.invoke('echo', '4'::json, context => format('{"custom": "%s"}', repeat('x', 2685 - 14))::json);
SELECT status_code FROM aws_lambda.invoke('echo', '5'::jsonb, context => format('{"custom": "%s"}', repeat('x', 2685 - 14))::jsonb);
SELECT status_code FROM aws_lambda.invoke('echo', '6'::json, context => format('{"custom": "%s"}', repeat('x', 2686 - 14))::json);
SELECT status_code FROM aws_lambda.invoke('echo', '7'::json, 'us-west-2', 'RequestResponse', 'None', format('{"custom": "%s"}', repeat('☃', 1000))::json);
SELECT left(client_context, 80) AS client_context, octet_length(client_context), payload FROM endpoint.invocations();

-- A context that is not JSON never gets that far

SELECT endpoint.reset();
SELECT * FROM aws_lambda.invoke('echo', '{}'::json, context => '{');
SELECT * FROM aws_lambda.invoke('echo', '{}'::json, 'us-west-2', 'RequestResponse', 'None', '{');
SELECT endpoint.count();

-- A function's arguments have no length of their own, so it is Lambda's limit that holds

SELECT * FROM aws_lambda.invoke('echo', '1'::json, qualifier => repeat('q', 129));
SELECT endpoint.count();

-- One call for each row, in the order of the rows, and none for no row

SELECT endpoint.reset();
SELECT r.payload FROM generate_series(1, 5) AS i CROSS JOIN LATERAL aws_lambda.invoke('echo', to_jsonb(i)) AS r;
SELECT r.payload FROM generate_series(1, 0) AS i CROSS JOIN LATERAL aws_lambda.invoke('echo', to_jsonb(i)) AS r;
SELECT (aws_lambda.invoke('echo', to_json(i))).payload FROM generate_series(6, 7) AS i;
SELECT payload FROM endpoint.invocations();

-- Again and again in one session: prepared, and in a function

SELECT endpoint.reset();
PREPARE call(json) AS SELECT payload FROM aws_lambda.invoke('echo', $1);
SET plan_cache_mode = force_generic_plan;
EXECUTE call('1');
EXECUTE call('2');
EXECUTE call(NULL);
RESET plan_cache_mode;
EXECUTE call('3');
DEALLOCATE call;
CREATE FUNCTION call(n int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    total int := 0;
    answer jsonb;
BEGIN
    FOR i IN 1..n LOOP
        SELECT payload INTO answer FROM aws_lambda.invoke('count', to_jsonb(i));
        total := total + answer::int;
    END LOOP;
    RETURN total;
END $$;
SELECT call(20);
SELECT endpoint.count();
DROP FUNCTION call;

-- The same as a SELECT with a clause for each argument, also where options of the extension's table say more

CREATE FUNCTION by_select(name text, payload json, region text DEFAULT NULL, invocation_type text DEFAULT 'RequestResponse', qualifier text DEFAULT NULL)
RETURNS TABLE (status_code int, response json, executed_version text) LANGUAGE sql VOLATILE AS $$
    SELECT l.status_code, l.response, l.executed_version FROM aws_lambda.lambda_invocations_json AS l
    WHERE l.function_name IS NOT DISTINCT FROM $1 AND l.payload IS NOT DISTINCT FROM $2::text
      AND l.region IS NOT DISTINCT FROM $3 AND l.invocation_type IS NOT DISTINCT FROM $4
      AND l.log_type IS NOT DISTINCT FROM 'None' AND l.context IS NULL AND l.qualifier IS NOT DISTINCT FROM $5
$$;
CREATE FUNCTION both_ways(options text)
RETURNS TABLE (call text, by_call text, calls int, by_select text, selects int) LANGUAGE plpgsql AS $$
DECLARE
    arguments text;
BEGIN
    EXECUTE format('ALTER FOREIGN TABLE aws_lambda.lambda_invocations_json OPTIONS (ADD %s)', options);
    FOREACH arguments IN ARRAY ARRAY[
        $a$'echo'::text, '[1]'::json$a$, $a$'echo'::text, '[1]'::json, qualifier => 'v1'$a$,
        $a$'echo'::text, '[1]'::json, invocation_type => 'DryRun'$a$, $a$'echo'::text, '[1]'::json, region => 'eu-west-1'$a$,
        $a$'(echo,eu-west-1)'::text, '[1]'::json$a$, $a$'(echo,)'::text, '[1]'::json, qualifier => 'v1'$a$,
        $a$'raise'::text, '[1]'::json, qualifier => 'v1'$a$, $a$'raise'::text, '[1]'::json$a$
    ] LOOP
        call := arguments;
        PERFORM endpoint.reset();
        by_call := way.said FROM endpoint.said(format('SELECT row(status_code, payload, executed_version)::text FROM aws_lambda.invoke(%s)', arguments)) AS way(said);
        calls := endpoint.count();
        PERFORM endpoint.reset();
        by_select := way.said FROM endpoint.said(format('SELECT row(status_code, response, executed_version)::text FROM by_select(%s)', arguments)) AS way(said);
        selects := endpoint.count();
        RETURN NEXT;
    END LOOP;
    EXECUTE format('ALTER FOREIGN TABLE aws_lambda.lambda_invocations_json OPTIONS (DROP %s)', split_part(options, ' ', 1));
END $$;
-- The result of a query with one row, or the primary message and detail of its error.
CREATE FUNCTION endpoint.said(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
    detail text;
BEGIN
    EXECUTE query INTO answer;
    RETURN coalesce(answer, '(,,)');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    -- A table's own words of a failure are others.
    RETURN regexp_replace(concat_ws(': ', regexp_replace(SQLERRM, '^could not invoke .*', 'invoke API failed'), detail), 'request id [0-9a-f-]+', 'request id');
END $$;
SELECT o.option, w.call, left(w.by_call, 20) AS by_call, w.calls
FROM (VALUES (1, 'max_retries ''0'''), (2, 'qualifier ''v1'''), (3, 'invocation_type ''DryRun'''), (4, 'region ''eu-west-1'''), (5, 'on_error ''return''')) AS o (place, option),
    both_ways(o.option) AS w
    -- A call has no column for a failure, which ends it whatever on_error says.
WHERE w.calls > 0
ORDER BY o.place, w.call;
SELECT o.option, count(*), count(*) FILTER (WHERE (w.by_call, w.calls) = (w.by_select, w.selects)) AS same
FROM (VALUES (1, 'max_retries ''0'''), (2, 'qualifier ''v1'''), (3, 'invocation_type ''DryRun'''), (4, 'region ''eu-west-1''')) AS o (place, option),
    both_ways(o.option) AS w
GROUP BY o.place, o.option ORDER BY o.place;
DROP FUNCTION both_ways, by_select, endpoint.said;
