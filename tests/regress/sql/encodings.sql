-- Text in the database's encoding: text that can't be converted is an error, and messages and EXPLAIN are converted.
-- This file, options.sql and hostile.sql run in databases of several encodings, and print the same bytes.

SET client_min_messages = warning;
CREATE SCHEMA encodings;
SET search_path = encodings, public;
-- Bytes as text and as UTF-8, or null if they are invalid.
CREATE FUNCTION text_of(bytes bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN convert_from(bytes, getdatabaseencoding());
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;
CREATE FUNCTION utf8_of(bytes bytea) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN convert(bytes, getdatabaseencoding(), 'UTF8');
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;
-- How a message shows them. What the encoding takes for text, and UTF-8 does not, is shown by its bytes. In LATIN1 \x81 is a control character.
CREATE TABLE bytes AS SELECT b.*, o.odd, CASE WHEN o.odd THEN regexp_replace(encode(bytes, 'hex'), '(..)', '\\x\1', 'g') ELSE text_of(bytes) END AS shown
    FROM unnest('{"\\xff","\\xf0","\\xe0","\\xc3","\\xc3a9","\\xe2ac","\\xe2a2ac","\\xf0afb0","\\xf0afb0a0","\\xfff0","\\x81"}'::bytea[]) AS b (bytes),
        LATERAL (SELECT utf8_of(bytes) IS NULL) AS o (odd)
    WHERE text_of(bytes) IS NOT NULL AND utf8_of(bytes) IS DISTINCT FROM '\xc281';
CREATE ROLE regress_lambda_encodings;
GRANT USAGE, CREATE ON SCHEMA encodings TO regress_lambda_encodings;
GRANT SELECT ON ALL TABLES IN SCHEMA encodings TO regress_lambda_encodings;
GRANT USAGE ON FOREIGN SERVER aws_lambda TO regress_lambda_encodings;
GRANT USAGE ON FOREIGN DATA WRAPPER aws_lambda_fdw TO regress_lambda_encodings;
CREATE USER MAPPING FOR PUBLIC SERVER aws_lambda OPTIONS (access_key_id 'AKIDEXAMPLE', secret_access_key 'wJalrXUtnFEMI+K7MDENG+bPxRfiCYEXAMPLEKEY');
SET client_min_messages = notice;
\a
SELECT endpoint.reset();

-- A role that may make foreign tables and servers, after some invocations have left keys in the backend's memory

SET ROLE regress_lambda_encodings;
CREATE FOREIGN TABLE t (function_name text, qualifier text, payload text, response text, error_message text) SERVER aws_lambda;
SELECT count(*) FROM t WHERE function_name = 'echo' AND payload = ANY ('{1,2,3,4}');
SELECT a.what, count(*) > 0 AS some, bool_and(e.sqlstate = CASE WHEN odd THEN '22021' ELSE '22023' END) AS code,
    bool_and(e.message = CASE WHEN odd THEN format('invalid byte sequence in option "%s"', option) ELSE format('invalid value for option "%s": "%s"', option, value) END) AS message
FROM (VALUES (1, 'table', 'function_name', 'CREATE FOREIGN TABLE z (payload text) SERVER aws_lambda OPTIONS (%I %L)'),
    (2, 'table', 'region', 'CREATE FOREIGN TABLE z (payload text) SERVER aws_lambda OPTIONS (%I %L)'),
    (3, 'ALTER TABLE', 'qualifier', 'ALTER FOREIGN TABLE t OPTIONS (ADD %I %L)'),
    (4, 'server', 'region', 'CREATE SERVER z FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (%I %L)'),
    (5, 'server', 'max_retries', 'CREATE SERVER z FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (%I %L)')) AS a (place, what, option, statement),
    bytes, generate_series(0, 70) AS n, LATERAL (SELECT repeat('x', n) || text_of(bytes)) AS v (value), endpoint.error_of(format(statement, option, value)) AS e
GROUP BY place, what, option ORDER BY place;
SELECT a.what, count(*) > 0 AS some, bool_and(e.sqlstate = 'HV00D') AS code, bool_and(starts_with(e.message, format('invalid option "%s" for a ', repeat('x', n) || shown))) AS message
FROM (VALUES (1, 'table', 'CREATE FOREIGN TABLE z (payload text) SERVER aws_lambda OPTIONS (%I %L)'),
    (2, 'column', 'CREATE FOREIGN TABLE z (payload text OPTIONS (%I %L)) SERVER aws_lambda'),
    (3, 'server', 'CREATE SERVER z FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (%I %L)'),
    (4, 'user mapping', 'CREATE USER MAPPING FOR CURRENT_USER SERVER aws_lambda OPTIONS (%I %L)')) AS a (place, what, statement),
    bytes, generate_series(0, 50) AS n, LATERAL (SELECT repeat('x', n) || text_of(bytes)) AS v (name),
    endpoint.error_of(format(statement, name, 'secret' || name)) AS e
GROUP BY place, what ORDER BY place;

-- Requests are in UTF-8. Text that can't be converted is an error, and nothing is invoked

SELECT endpoint.reset();
SELECT a.what, bool_and(e.sqlstate = ANY (CASE WHEN odd AND a.what <> 'aws_lambda.region' THEN '{22021,22P05}'::text[] ELSE '{22023}' END)) AS code
FROM (VALUES (1, 'function_name', 'SELECT FROM t WHERE function_name = %L AND payload = ''1'''),
    (2, 'qualifier', 'SELECT FROM t WHERE function_name = ''echo'' AND qualifier = %L AND payload = ''1'''),
    (3, 'payload', 'SELECT FROM t WHERE function_name = ''no name'' AND payload = %L'),
    (4, 'INSERT', 'INSERT INTO t (function_name, payload) VALUES (%L, ''1'')'),
    (5, 'aws_lambda.region', 'DO $do$ BEGIN PERFORM set_config(''aws_lambda.region'', %L, true); PERFORM FROM t WHERE function_name = ''echo'' AND payload = ''1''; END $do$')
    ) AS a (place, what, statement),
    bytes, endpoint.error_of(format(statement, text_of(bytes))) AS e
GROUP BY place, what ORDER BY place;
SELECT endpoint.count();

-- Names and values in messages and in EXPLAIN

RESET ROLE;
CREATE ROLE "regress_lambda_é";
CREATE SERVER "sérver" FOREIGN DATA WRAPPER aws_lambda_fdw;
ALTER SERVER "sérver" OWNER TO regress_lambda_encodings;
GRANT USAGE, CREATE ON SCHEMA encodings TO "regress_lambda_é";
GRANT USAGE ON FOREIGN SERVER "sérver" TO "regress_lambda_é";
SET ROLE "regress_lambda_é";
CREATE FOREIGN TABLE "tablé" (function_name text, qualifier text, payload text, context text, response text) SERVER "sérver";
CREATE FOREIGN TABLE wrong ("colümn" text) SERVER "sérver";
CREATE TYPE "typé" AS ENUM ('a');
CREATE FOREIGN TABLE typed (payload "typé") SERVER "sérver";
SELECT * FROM "tablé" WHERE function_name = 'echo' AND payload = '"é"';
SELECT * FROM "tablé" WHERE payload = '"é"';
SELECT * FROM wrong;
SELECT * FROM typed;
EXPLAIN (VERBOSE, COSTS OFF) SELECT response FROM "tablé" "aliàs" WHERE function_name = 'echo' AND payload = '"é"' AND response > 'ß' AND qualifier IN ('ä', 'ö');
SELECT * FROM endpoint.explain($$SELECT response FROM "tablé" WHERE function_name = 'echo' AND payload = '"é"'$$, 'VERBOSE, FORMAT JSON');
RESET ROLE;
SELECT response FROM t WHERE function_name = 'echo' AND payload = '"é"';
SELECT response FROM t WHERE function_name = 'é' AND payload = '"é"';
INSERT INTO t (function_name, payload, response) VALUES ('echo', '1', 'é');
SET aws_lambda.region = 'é';
CREATE FUNCTION explained(bytes bytea) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE FOREIGN TABLE %I (payload text) SERVER aws_lambda OPTIONS (function_name ''echo'')', text_of(bytes));
    RETURN EXISTS (SELECT FROM endpoint.explain(format('SELECT FROM %I WHERE payload = %L', text_of(bytes), text_of(bytes)), 'VERBOSE')
        WHERE "QUERY PLAN" = format('  Bound: payload = %L::text', text_of(bytes)));
END $$;
SELECT bool_and(explained(bytes)) AS explained FROM bytes;
SELECT bool_and(e.message = format('no value for column "payload" of foreign table "%s"', shown)) AS message FROM bytes, endpoint.error_of(format('SELECT FROM %I', text_of(bytes))) AS e;

-- Characters of which LATIN1 has the second, and WIN1252 the first two. Others are question marks there.

CREATE FUNCTION printed() RETURNS text LANGUAGE sql AS $$
    SELECT CASE getdatabaseencoding() WHEN 'LATIN1' THEN text_of('\x3fe93f') WHEN 'WIN1252' THEN text_of('\x80e93f') ELSE text_of('\xe282acc3a9f09f9880') END
$$;
SELECT e.message, e.detail LIKE '%details: "' || printed() || '"%' AS says_it FROM endpoint.error_of(
    $$SELECT * FROM t WHERE function_name = 'verbatim' AND payload = '"HTTP/1.1 200 OK\r\nX-Amz-Function-Error: Unhandled\r\nContent-Length: 9\r\n\r\n\u00e2\u0082\u00ac\u00c3\u00a9\u00f0\u009f\u0098\u0080"'$$) AS e;
ALTER FOREIGN TABLE t OPTIONS (ADD on_error 'return');
SELECT error_message = printed() AS says_it FROM t WHERE function_name = 'verbatim'
    AND payload = '"HTTP/1.1 200 OK\r\nX-Amz-Function-Error: Unhandled\r\nContent-Length: 28\r\n\r\n{\"errorMessage\":\"\u00e2\u0082\u00ac\u00c3\u00a9\u00f0\u009f\u0098\u0080\"}"';

-- What is queued is text in the database's encoding, is delivered in UTF-8, and so is the response

SET aws_lambda.queue_keep = '1h';
SELECT aws_lambda.enqueue('echo', '{"é":  "ß"}'::json, invocation_type => 'RequestResponse') IS NOT NULL AS queued;
CALL aws_lambda.deliver();
SELECT state, payload, response FROM aws_lambda.queue;
DELETE FROM aws_lambda.queue;

SET client_min_messages = warning;
DROP SCHEMA encodings CASCADE;
DROP SERVER "sérver" CASCADE;
DROP USER MAPPING FOR PUBLIC SERVER aws_lambda;
DROP OWNED BY regress_lambda_encodings, "regress_lambda_é";
DROP ROLE regress_lambda_encodings, "regress_lambda_é";
