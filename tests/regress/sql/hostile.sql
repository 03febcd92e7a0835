-- Injection of headers, paths and hosts is an error before anything is sent, and messages have no control characters.

SET client_min_messages = warning;
CREATE SCHEMA hostile;
SET search_path = hostile, public;
CREATE FOREIGN TABLE f (function_name text, region text, qualifier text, invocation_type text, log_type text, context text, payload text,
    status_code int, response text) SERVER aws_lambda;
CREATE TABLE texts (what text, value text);
INSERT INTO texts VALUES
    ('line feed', E'f\nX-Amz-Invocation-Type: Event'), ('carriage return', E'f\r\nHost: evil'), ('tab', E'f\tg'), ('escape', E'f\x1b[2J'),
    ('bell', E'f\x07'), ('delete', E'f\x7f'), ('space', 'f g'), ('space before', ' f'), ('space behind', 'f '), ('empty', ''),
    ('dot', '.'), ('dots', '..'), ('way up', '../f'), ('way down', 'f/../g'), ('slash', 'f/g'), ('backslash', 'f\g'),
    ('percent', 'f%'), ('escaped dots', '%2e%2e'), ('escaped zero', 'f%00'), ('escaped line feed', 'f%0d%0a'), ('question', 'f?Qualifier=g'),
    ('fragment', 'f#g'), ('at', 'user@evil'), ('colon', ':f'), ('colons', 'f:g:h:i'), ('quote', 'f''g'), ('double quote', 'f"g'), ('semicolon', 'f;g'),
    ('comma', 'f,g'), ('host', 'us-east-1.evil.example'), ('port', 'us-east-1:80'), ('letter of elsewhere', 'fü'), ('right to left', convert_from('\x66e280ae67', getdatabaseencoding())),
    ('full width', convert_from('\xefbd86', getdatabaseencoding())), ('long', repeat('f', 1048576)), ('long and wide', repeat('é', 524288)), ('parenthesis', '('), ('dollar', '$(reboot)');
CREATE FUNCTION outcome(statement text, OUT code text, OUT plain boolean) LANGUAGE plpgsql AS $$
DECLARE message text; detail text; hint text;
BEGIN
    EXECUTE statement;
    -- Nothing stays of what works.
    RAISE EXCEPTION SQLSTATE 'FINE0';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    plain := octet_length(message || detail || hint) < 2000 AND message || detail || hint !~ '[\x01-\x1f\x7f]';
END $$;
SET client_min_messages = notice;
\a
SELECT endpoint.reset();

-- Each text in each input, in each way to give one. A context may be anything, and a payload too.

CREATE TABLE ways (place int, way text, statement text);
INSERT INTO ways VALUES
    (1, 'clause', 'SELECT * FROM f WHERE payload = ''1'' AND %2$s %1$I = %3$L'),
    (2, 'list', 'SELECT * FROM f WHERE payload = ''1'' AND %2$s %1$I = ANY (ARRAY[%3$L])'),
    (3, 'join', 'SELECT * FROM (VALUES (%3$L)) v (x) JOIN f ON payload = ''1'' AND %2$s %1$I = x'),
    (4, 'INSERT', 'INSERT INTO f (payload, %4$s %1$I) VALUES (''1'', %5$s %3$L)'),
    (5, 'INSERT RETURNING', 'INSERT INTO f (payload, %4$s %1$I) VALUES (''1'', %5$s %3$L) RETURNING status_code');
SELECT way, c AS column, count(*) AS texts, count(*) FILTER (WHERE o.code = '22023') AS "22023", bool_and(o.plain) AS plain,
    string_agg(t.what, ', ') FILTER (WHERE o.code <> '22023') AS others
FROM ways, unnest('{function_name,region,qualifier,invocation_type,log_type}'::text[]) WITH ORDINALITY AS columns (c, number), texts AS t,
    outcome(format(statement, c, CASE WHEN c <> 'function_name' THEN 'function_name = ''echo'' AND' END, t.value,
        CASE WHEN c <> 'function_name' THEN 'function_name,' END, CASE WHEN c <> 'function_name' THEN '''echo'',' END)) AS o
-- These are a name with dots, and one with a qualifier.
WHERE NOT (c = 'function_name' AND what IN ('host', 'port'))
GROUP BY ways.place, way, number, c ORDER BY ways.place, number;
SELECT a.argument, count(*) AS texts, count(*) FILTER (WHERE o.code = '22023') AS "22023", bool_and(o.plain) AS plain,
    string_agg(t.what, ', ') FILTER (WHERE o.code <> '22023') AS others
FROM texts AS t, (VALUES (1, 'function_name', '%1$L, ''1''::json'), (2, 'region', '''f'', ''1''::json, %1$L'), (3, 'qualifier', '''f'', ''1''::json, qualifier => %1$L'),
    (4, 'function_name of a row', 'aws_commons.create_lambda_function_arn(%1$L), ''1''::jsonb'), (5, 'region of a row', 'aws_commons.create_lambda_function_arn(''f'', %1$L), ''1''::jsonb'),
    (6, 'invocation_type', '''f'', ''1''::jsonb, invocation_type => %1$L'), (7, 'log_type', '''f'', ''1''::jsonb, log_type => %1$L')) AS a (place, argument, list),
    outcome(format('SELECT * FROM aws_lambda.invoke(' || a.list || ')', t.value)) AS o
WHERE NOT (a.argument LIKE 'function_name%' AND what IN ('host', 'port'))
GROUP BY a.place, a.argument ORDER BY a.place;

-- Options, when they are given

SELECT a.option, a.object, count(*) AS texts, count(*) FILTER (WHERE o.code = '22023') AS "22023", bool_and(o.plain) AS plain,
    string_agg(t.what, ', ') FILTER (WHERE o.code <> '22023') AS others
FROM texts AS t, (VALUES
    (1, 'function_name', 'FOREIGN TABLE'), (2, 'qualifier', 'FOREIGN TABLE'), (3, 'region', 'FOREIGN TABLE'), (4, 'invocation_type', 'FOREIGN TABLE'),
    (5, 'log_type', 'FOREIGN TABLE'), (6, 'on_error', 'FOREIGN TABLE'), (7, 'max_invocations', 'FOREIGN TABLE'), (8, 'region', 'SERVER'),
    (9, 'endpoint_url', 'SERVER'), (10, 'sts_endpoint_url', 'SERVER'), (11, 'role_arn', 'SERVER'), (12, 'external_id', 'SERVER'), (13, 'request_timeout_ms', 'SERVER'),
    (14, 'use_fips', 'SERVER'), (15, 'access_key_id', 'USER MAPPING'), (16, 'secret_access_key', 'USER MAPPING'), (17, 'session_token', 'USER MAPPING')
    ) AS a (place, option, object),
    outcome(CASE a.object
        WHEN 'FOREIGN TABLE' THEN format('CREATE FOREIGN TABLE t (payload text) SERVER aws_lambda OPTIONS (%I %L)', a.option, t.value)
        WHEN 'SERVER' THEN format('CREATE SERVER s FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (%s %I %L)', CASE a.option WHEN 'external_id' THEN 'role_arn ''arn:aws:iam::123456789012:role/r'',' END, a.option, t.value)
        ELSE format('CREATE USER MAPPING FOR PUBLIC SERVER aws_lambda OPTIONS (access_key_id ''a'', %I %L)', a.option, t.value) END) AS o
WHERE NOT (a.option = 'access_key_id')
GROUP BY a.place, a.option, a.object ORDER BY a.place;

-- URLs

SELECT u.url, o.code, o.plain FROM (VALUES
    (1, E'http://127.0.0.1:1\r\nHost: evil'), (2, E'http://127.0.0.1:1/\n'), (3, 'http://127.0.0.1:1/%0d%0aX: y'), (4, 'http://user:password@127.0.0.1:1'), (5, 'http://127.0.0.1:1?x=1'),
    (6, 'http://127.0.0.1:1#x'), (7, 'http://127.0.0.1:99999'), (8, 'http://[::1'), (9, 'file:///etc/passwd'), (10, 'gopher://127.0.0.1:1'), (11, 'http:///f'), (12, 'http://'), (13, '//127.0.0.1:1'), (14, 'http://127.0.0.1:1\@evil'),
    (15, 'http://127.0.0.1 :1'), (16, convert_from('\x687474703a2f2f3132372e302e302e313a31e2808b', getdatabaseencoding())), (17, 'http://fü.example')) AS u (place, url),
    outcome(format('CREATE SERVER s FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (endpoint_url %L)', u.url)) AS o ORDER BY place;

-- Settings, when they are set, by a message of PostgreSQL's that has them as they are

SELECT a.setting, count(*) AS texts, count(*) FILTER (WHERE o.code = '22023') AS "22023",
    string_agg(t.what, ', ') FILTER (WHERE o.code <> '22023') AS others
FROM texts AS t, (VALUES (1, 'aws_lambda.region'), (2, 'aws_lambda.endpoint_override')) AS a (place, setting),
    outcome(format($$DO $do$ BEGIN PERFORM set_config(%1$L, %2$L, true); END $do$ $$, a.setting, t.value)) AS o
WHERE t.what <> 'empty'
GROUP BY a.place, a.setting ORDER BY a.place;

-- All of that sent nothing, and connected to nothing.

SELECT endpoint.count(), endpoint.counter('connections') AS connections, endpoint.counter('refused') AS refused;

-- A payload is whatever it is, and arrives so; and a client context does no harm in its header.

CREATE TABLE payloads AS SELECT what, value FROM texts WHERE value <> '' AND length(value) < 1000;
INSERT INTO payloads SELECT 'long', repeat(E'x\r\n"\\%00é', 100000);
SELECT count(*), count(*) FILTER (WHERE response = value) AS same FROM payloads LEFT JOIN f ON function_name = 'echo' AND payload = value;
SELECT count(*), count(*) FILTER (WHERE response = to_json(value)::text) AS same FROM payloads LEFT JOIN f ON function_name = 'echo' AND payload = to_json(value)::text;
SELECT endpoint.reset();
SELECT status_code FROM f WHERE function_name = 'echo' AND payload = '1' AND context = E'{"custom": {"a": "x\r\nX-Evil: 1"}}';
SELECT function, client_context FROM endpoint.invocations();

SET client_min_messages = warning;
DROP SCHEMA hostile CASCADE;
