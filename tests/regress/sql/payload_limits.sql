-- A payload over Lambda's limit is refused before anything is sent: 6 MB for RequestResponse, 1 MB for Event, or the limit of an option.
SET client_min_messages = warning;
CREATE SCHEMA payload_limits;
SET search_path = payload_limits, public;
CREATE FOREIGN TABLE f (payload text, invocation_type text, response text, status_code int, error_code text, error_message text)
    SERVER aws_lambda OPTIONS (function_name 'null');
CREATE FOREIGN TABLE j (payload jsonb, response text) SERVER aws_lambda OPTIONS (function_name 'null');
CREATE FOREIGN TABLE returned (payload text, response text, error_code text, error_message text)
    SERVER aws_lambda OPTIONS (function_name 'null', on_error 'return');
CREATE SERVER takes_more FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (max_payload_bytes '8000000');
CREATE FOREIGN TABLE more (payload text, invocation_type text, response text, status_code int)
    SERVER takes_more OPTIONS (function_name 'null');
RESET client_min_messages;
SELECT endpoint.reset();

-- At the limit and over it
SELECT response FROM f WHERE payload = repeat('x', 6291456);
SELECT response FROM f WHERE payload = repeat('x', 6291457);
\echo :LAST_ERROR_SQLSTATE
SELECT status_code FROM f WHERE payload = repeat('x', 6291457) AND invocation_type = 'DryRun';
SELECT status_code FROM f WHERE payload = repeat('x', 1048576) AND invocation_type = 'Event';
SELECT status_code FROM f WHERE payload = repeat('x', 1048577) AND invocation_type = 'Event';
SELECT endpoint.made();

-- As jsonb, whose size in memory is another: quotes count, and numbers that print longer or shorter than they are
SELECT response FROM j WHERE payload = to_jsonb(repeat('x', 6291454));
SELECT response FROM j WHERE payload = to_jsonb(repeat('x', 6291455));
SELECT response FROM j WHERE payload = (SELECT jsonb_agg(1) FROM generate_series(1, 2000000));
SELECT response FROM j WHERE payload = (SELECT jsonb_agg(1e1000) FROM generate_series(1, 7000));
\set VERBOSITY terse
SELECT response FROM j WHERE payload = to_jsonb(repeat('x', 60000000));
SELECT endpoint.made();

-- Wherever it comes from: lists, outer rows, INSERT with and without RETURNING, COPY, the functions
SELECT response FROM f WHERE payload = ANY (ARRAY['a', repeat('x', 7000000), 'b']);
SELECT count(response) FROM generate_series(1, 3) i JOIN f ON payload = repeat('x', 7000000) || i;
SELECT endpoint.reset();
INSERT INTO f (payload) VALUES (repeat('x', 1048577));
INSERT INTO f (payload, invocation_type) VALUES (repeat('x', 7000000), 'RequestResponse') RETURNING response;
COPY f (payload) FROM PROGRAM 'head -c 1048577 /dev/zero | tr "\0" x';
SELECT * FROM aws_lambda.invoke('null', to_jsonb(repeat('x', 7000000)));
SELECT * FROM aws_lambda.invoke('null', to_json(repeat('x', 7000000)));
SELECT * FROM aws_lambda.invoke('null', to_jsonb(repeat('x', 60000000)));
SELECT * FROM aws_lambda.invoke('null', to_json(repeat('x', 1048577)), invocation_type => 'Event');
SELECT endpoint.made();
\set VERBOSITY default

-- As a row, in its place. The payload is not there.
SELECT length(payload) AS length, response, error_code, error_message FROM returned
WHERE payload = ANY (ARRAY['a', repeat('x', 7000000), 'b', repeat('x', 7000000)]);
SELECT endpoint.made();

-- An option takes the place of both limits, a table's before that of its server.
SELECT response FROM more WHERE payload = repeat('x', 8000000);
SELECT status_code FROM more WHERE payload = repeat('x', 8000000) AND invocation_type = 'Event';
SELECT response FROM more WHERE payload = repeat('x', 8000001);
ALTER FOREIGN TABLE more OPTIONS (SET function_name 'strict');
SELECT endpoint.count(), e.sqlstate, e.message FROM
    endpoint.error_of($$SELECT response FROM payload_limits.more WHERE payload = to_json(repeat('x', 6291455))::text$$) AS e;
ALTER FOREIGN TABLE more OPTIONS (SET function_name 'null', ADD max_payload_bytes '10');
SELECT response FROM more WHERE payload = '0123456789';
SELECT response FROM more WHERE payload = '01234567890';
ALTER FOREIGN TABLE more OPTIONS (SET max_payload_bytes '0');
ALTER FOREIGN TABLE more OPTIONS (SET max_payload_bytes '1073741825');
SELECT endpoint.made();

-- Texts that are no names are not kept whole either.
\set VERBOSITY terse
SELECT * FROM aws_lambda.invoke(repeat('f', 100000000), '{}'::jsonb);
SELECT * FROM aws_lambda.invoke('null', '{}'::jsonb, context => jsonb_build_object('custom', repeat('x', 10000000)));
\set VERBOSITY default
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA payload_limits CASCADE;
DROP SERVER takes_more CASCADE;
