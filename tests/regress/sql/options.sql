-- Options: the objects that have them, their values, and their precedence.

\getenv port ENDPOINT_PORT
\set url 'http://127.0.0.1:' :port
\a
SELECT endpoint.reset();

-- Unknown names

CREATE SERVER s FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (regoin 'us-east-1');
CREATE SERVER s FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (request_timeout '100');
CREATE SERVER s FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (zzz 'x');
CREATE SERVER s FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (function_name 'echo');
CREATE FOREIGN DATA WRAPPER w HANDLER aws_lambda.aws_lambda_fdw_handler VALIDATOR aws_lambda.aws_lambda_fdw_validator OPTIONS (region 'us-east-1');
CREATE FOREIGN DATA WRAPPER w HANDLER aws_lambda.aws_lambda_fdw_handler VALIDATOR aws_lambda.aws_lambda_fdw_validator OPTIONS (zzz 'x');
CREATE FOREIGN DATA WRAPPER w HANDLER aws_lambda.aws_lambda_fdw_handler VALIDATOR aws_lambda.aws_lambda_fdw_validator;
DROP FOREIGN DATA WRAPPER w;
CREATE SERVER s FOREIGN DATA WRAPPER aws_lambda_fdw;
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (acces_key_id 'AKIDEXAMPLE');
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (user 'me', password 'hunter2');
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (region 'us-east-1');
CREATE FOREIGN TABLE t (function_name text) SERVER s OPTIONS (function 'echo');
CREATE FOREIGN TABLE t (function_name text) SERVER s OPTIONS (endpoint_url 'http://127.0.0.1:1');
CREATE FOREIGN TABLE t (function_name text) SERVER s OPTIONS (payload '{}');
CREATE FOREIGN TABLE t (function_name text OPTIONS (column_name 'name')) SERVER s;
CREATE FOREIGN TABLE t (function_name text OPTIONS (region 'us-east-1')) SERVER s;

-- Bad values. None that is secret is shown.

SELECT o.name, o.value, e.sqlstate, e.message, e.detail, e.hint
FROM (VALUES
    (1, 'region', ''), (2, 'region', 'us-east-1.example.com'),
    (3, 'endpoint_url', ''), (4, 'endpoint_url', '127.0.0.1:80'), (5, 'endpoint_url', 'ftp://host'), (6, 'endpoint_url', 'http://user:password@host'),
    (7, 'endpoint_url', 'http://host?x=y'), (8, 'endpoint_url', E'http://host\nX: y'), (9, 'sts_endpoint_url', 'sts'),
    (10, 'connect_timeout_ms', '0'), (11, 'connect_timeout_ms', '3600001'), (12, 'connect_timeout_ms', '1s'), (13, 'request_timeout_ms', '-1'), (14, 'request_timeout_ms', ''),
    (15, 'profile', ''), (16, 'role_arn', 'lambda-role'), (17, 'external_id', 'a b'), (18, 'use_fips', 'perhaps'), (19, 'use_dualstack', ''),
    (20, 'max_concurrency', '0'), (21, 'max_concurrency', '1001'), (22, 'max_invocations', '-1'), (23, 'max_invocations', '2147483648'), (24, 'max_invocations', 'none'),
    (25, 'max_retries', '-1'), (26, 'max_retries', '101'), (27, 'max_retries', '2.5'), (28, 'retry_timeout_ms', '0'), (29, 'retry_timeout_ms', '3600001'), (30, 'retry_timeout_ms', '20s'),
    (31, 'async_capable', 'perhaps'), (32, 'deduplicate', 'true'), (33, 'on_error', 'return'), (34, 'progress_interval', '1')
) AS o (place, name, value), endpoint.error_of(format('ALTER SERVER s OPTIONS (ADD %I %L)', name, value)) AS e ORDER BY place;
SELECT o.name, o.value, e.sqlstate, e.message, e.detail, e.hint
FROM (VALUES
    (1, 'function_name', ''), (2, 'function_name', 'a b'), (3, 'function_name', repeat('f', 65)), (4, 'region', 'here'),
    (5, 'qualifier', 'a.b'), (6, 'invocation_type', 'event'), (7, 'log_type', 'tail'),
    (8, 'max_concurrency', ''), (9, 'max_invocations', '-1'), (10, 'max_retries', '101'), (11, 'retry_timeout_ms', '0'), (12, 'async_capable', ''),
    (13, 'deduplicate', 'perhaps'), (14, 'deduplicate', ''), (15, 'on_error', 'Return'), (16, 'on_error', 'ignore'), (17, 'on_error', ''), (18, 'connect_timeout_ms', '1000'), (19, 'tenant_id', 'a ')
) AS o (place, name, value), endpoint.error_of(format('CREATE FOREIGN TABLE t () SERVER s OPTIONS (%I %L)', name, value)) AS e ORDER BY place;
SELECT o.name, e.*
FROM (VALUES (1, 'access_key_id', ''), (2, 'secret_access_key', 'hunter 2'), (3, 'session_token', E'hunter2\r\nX: y'), (4, 'secret_access_key', 'hünter2')
) AS o (place, name, value), endpoint.error_of(format('CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (%I %L)', name, value)) AS e ORDER BY place;
SELECT o.name, e.*
FROM (VALUES (1, 'access_key_id'), (2, 'secret_access_key'), (3, 'session_token')) AS o (place, name),
    endpoint.error_of(format('ALTER SERVER s OPTIONS (ADD %I %L)', name, 'hunter2')) AS e ORDER BY place;
CREATE FOREIGN TABLE t (function_name text) SERVER s OPTIONS (secret_access_key 'hunter2');

-- Every option with a good value

CREATE SERVER full_server FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (
    region 'us-gov-west-1', endpoint_url 'https://vpce-1.lambda.us-gov-west-1.vpce.amazonaws.com', sts_endpoint_url 'http://127.0.0.1:1/', connect_timeout_ms '1', request_timeout_ms '3600000',
    profile 'default', role_arn 'arn:aws-us-gov:iam::123456789012:role/path/name', external_id 'xy', use_fips 'true', use_dualstack 'off',
    max_concurrency '1', max_invocations '0', max_retries '0', retry_timeout_ms '1', async_capable 'false');
CREATE USER MAPPING FOR CURRENT_USER SERVER full_server OPTIONS (access_key_id 'AKIDEXAMPLE', secret_access_key 'x', session_token 'y');
CREATE FOREIGN TABLE full_table (payload jsonb) SERVER full_server OPTIONS (
    function_name 'arn:aws:lambda:us-east-1:123456789012:function:f', region 'us-east-1', qualifier '$LATEST', tenant_id 'a b', invocation_type 'DryRun', log_type 'Tail',
    max_concurrency '1000', max_invocations '2147483647', max_retries '100', retry_timeout_ms '3600000', async_capable 'on', deduplicate 'yes', on_error 'return');
ALTER FOREIGN TABLE full_table OPTIONS (SET deduplicate '0', SET on_error 'raise');
DROP SERVER full_server CASCADE;

-- The region: call or clause, then table, then server, then setting

CREATE FOREIGN TABLE describe (function_name text, region text, payload jsonb, response jsonb) SERVER s OPTIONS (function_name 'describe');
SELECT response ->> 'region' AS region FROM describe WHERE payload = '{}';
SET aws_lambda.region = 'eu-west-1';
SELECT response ->> 'region' AS region FROM describe WHERE payload = '{}';
ALTER SERVER s OPTIONS (ADD region 'eu-west-2');
SELECT response ->> 'region' AS region FROM describe WHERE payload = '{}';
SELECT region, response ->> 'region' AS in_clause FROM describe WHERE payload = '{}' AND region = 'eu-south-1';
SELECT response ->> 'region' AS in_name FROM describe WHERE payload = '{}' AND region IS NULL;
ALTER FOREIGN TABLE describe OPTIONS (ADD region 'eu-west-3');
SELECT region, response ->> 'region' AS sent FROM describe WHERE payload = '{}';
RESET aws_lambda.region;
ALTER FOREIGN TABLE describe OPTIONS (DROP region, SET function_name 'arn:aws:lambda:sa-east-1:123456789012:function:describe');
SELECT region, response ->> 'region' AS sent FROM describe WHERE payload = '{}';
SELECT payload ->> 'region' AS region FROM aws_lambda.invoke('describe', '{}'::jsonb, 'ap-east-1');
SELECT payload ->> 'region' AS region FROM aws_lambda.invoke('describe', '{}'::jsonb);

-- A clause can't contradict an option of the table

CREATE FOREIGN TABLE fixed (function_name text, region text, payload jsonb, qualifier text, invocation_type text, log_type text, response jsonb) SERVER s
    OPTIONS (function_name 'describe', region 'us-east-2', qualifier 'v1', invocation_type 'RequestResponse', log_type 'Tail');
SELECT endpoint.reset();
SELECT function_name, region, payload, qualifier, invocation_type, log_type FROM fixed WHERE payload = '1';
SELECT count(*) FROM fixed WHERE payload = '2' AND function_name = 'describe' AND region = 'us-east-2' AND qualifier = 'v1' AND invocation_type = 'RequestResponse' AND log_type = 'Tail';
SELECT * FROM endpoint.invocations();
SELECT endpoint.reset();
SELECT count(*) FROM fixed WHERE payload = '3' AND function_name = 'echo';
SELECT count(*) FROM fixed WHERE payload = '3' AND function_name IS NULL;
SELECT count(*) FROM fixed WHERE payload = '3' AND region = 'us-east-1';
SELECT count(*) FROM fixed WHERE payload = '3' AND qualifier = 'v2';
SELECT count(*) FROM fixed WHERE payload = '3' AND invocation_type = 'Event';
SELECT count(*) FROM fixed WHERE payload = '3' AND log_type = 'None';
SELECT endpoint.count();
SELECT function_name FROM fixed WHERE payload = '4' AND function_name = ANY ('{echo,describe,count}');
SELECT endpoint.count();
SELECT count(*) FROM fixed;
SELECT endpoint.count();
DROP FOREIGN TABLE fixed;

-- A table that fixes what its function's name contradicts

CREATE FOREIGN TABLE contradicting (payload jsonb, response jsonb) SERVER s
    OPTIONS (function_name 'arn:aws:lambda:us-east-1:123456789012:function:describe:v1', qualifier 'v2');
SELECT * FROM contradicting WHERE payload = '{}';
ALTER FOREIGN TABLE contradicting OPTIONS (DROP qualifier, ADD region 'us-east-2');
SELECT * FROM contradicting WHERE payload = '{}';
DROP FOREIGN TABLE contradicting;

-- Endpoint and time-outs: server, then setting

ALTER FOREIGN TABLE describe OPTIONS (DROP function_name, ADD max_retries '0');
SET aws_lambda.endpoint_override = 'http://127.0.0.1:1';
SELECT sqlstate FROM endpoint.error_of($$SELECT * FROM describe WHERE function_name = 'echo' AND payload = '{}'$$);
ALTER SERVER s OPTIONS (ADD endpoint_url :'url');
SELECT response FROM describe WHERE function_name = 'echo' AND payload = '{}';
RESET aws_lambda.endpoint_override;
ALTER SERVER s OPTIONS (ADD request_timeout_ms '200');
SELECT * FROM endpoint.error_of($$SELECT * FROM describe WHERE function_name = 'sleep-1500' AND payload = '{}'$$);
ALTER SERVER s OPTIONS (SET request_timeout_ms '10000');
SET aws_lambda.request_timeout_ms = 1;
SELECT response FROM describe WHERE function_name = 'sleep-300' AND payload = '{}';
RESET aws_lambda.request_timeout_ms;

-- Retries: table, then server, and five if neither says. Without any, throttled is failed.

ALTER FOREIGN TABLE describe OPTIONS (DROP max_retries);
SELECT endpoint.reset();
SELECT response FROM describe WHERE function_name = 'throttle-2' AND payload = '1';
SELECT endpoint.made();
ALTER SERVER s OPTIONS (ADD max_retries '1');
SELECT sqlstate FROM endpoint.error_of($$SELECT * FROM describe WHERE function_name = 'throttle-2' AND payload = '1'$$);
SELECT endpoint.made();
ALTER FOREIGN TABLE describe OPTIONS (ADD max_retries '2');
SELECT response FROM describe WHERE function_name = 'throttle-2' AND payload = '1';
SELECT endpoint.made();
ALTER FOREIGN TABLE describe OPTIONS (SET max_retries '0');
SELECT sqlstate FROM endpoint.error_of($$SELECT * FROM describe WHERE function_name = 'throttle-2' AND payload = '1'$$);
SELECT endpoint.made();
ALTER FOREIGN TABLE describe OPTIONS (DROP max_retries, ADD retry_timeout_ms '1');
-- A pause of which the end is later than that is not made.
SELECT sqlstate FROM endpoint.error_of($$SELECT * FROM describe WHERE function_name = 'throttle' AND payload = '1'$$);
SELECT endpoint.made() BETWEEN 1 AND 2 AS once_or_twice;
ALTER FOREIGN TABLE describe OPTIONS (DROP retry_timeout_ms);
ALTER SERVER s OPTIONS (DROP max_retries);

-- Keys: the role's mapping, then PUBLIC's, then the machine's; in effect with the next statement

SELECT response ->> 'access_key' AS key FROM describe WHERE function_name = 'describe' AND payload = '{}';
CREATE USER MAPPING FOR PUBLIC SERVER s OPTIONS (access_key_id 'ASIAEXAMPLE', secret_access_key 'sessionsecret', session_token 'example-session-token');
SELECT response ->> 'access_key' AS key, response ->> 'session_token' AS session_token FROM describe WHERE function_name = 'describe' AND payload = '{}';
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (access_key_id 'AKIDOTHER', secret_access_key 'othersecret');
SELECT response ->> 'access_key' AS key, response ->> 'session_token' AS session_token FROM describe WHERE function_name = 'describe' AND payload = '{}';
PREPARE who AS SELECT response ->> 'access_key' AS key FROM describe WHERE function_name = 'describe' AND payload = '{}';
EXECUTE who;
ALTER USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (SET access_key_id 'AKIDEXAMPLE', SET secret_access_key 'wJalrXUtnFEMI+K7MDENG+bPxRfiCYEXAMPLEKEY');
EXECUTE who;
DROP USER MAPPING FOR CURRENT_USER SERVER s;
EXECUTE who;
DROP USER MAPPING FOR PUBLIC SERVER s;
EXECUTE who;
DEALLOCATE who;

-- Half of a pair of keys is refused, since it would not be a reason to use the machine's

CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (access_key_id 'AKIDOTHER');
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (secret_access_key 'othersecret');
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (session_token 'token');
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (access_key_id 'AKIDOTHER', secret_access_key 'othersecret');
ALTER USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (DROP secret_access_key);
DROP USER MAPPING FOR CURRENT_USER SERVER s;

-- A role to assume

ALTER SERVER s OPTIONS (ADD role_arn 'arn:aws:iam::123456789012:role/caller', ADD external_id 'external', ADD sts_endpoint_url :'url');
SELECT endpoint.reset();
SELECT response ->> 'access_key' AS key, response ->> 'session_token' AS session_token FROM describe WHERE function_name = 'describe' AND payload = '1';
SELECT response ->> 'access_key' AS key FROM describe WHERE function_name = 'describe' AND payload = '2';
SELECT endpoint.counter('assume_role');
ALTER SERVER s OPTIONS (DROP role_arn, DROP external_id, DROP sts_endpoint_url);
SELECT response ->> 'access_key' AS key, response ->> 'session_token' AS session_token FROM describe WHERE function_name = 'describe' AND payload = '3';

-- A role that may not be assumed, and an unreachable STS: the message has the reason, and nothing is invoked

SELECT endpoint.reset();
ALTER SERVER s OPTIONS (ADD role_arn 'arn:aws:iam::123456789012:role/denied', ADD sts_endpoint_url :'url');
SELECT sqlstate, message, detail LIKE '%AccessDenied: %sts:AssumeRole on resource: arn:aws:iam::123456789012:role/denied%' AS says_why, detail LIKE '%{%' AS dumps
FROM endpoint.error_of($$SELECT * FROM describe WHERE function_name = 'echo' AND payload = '{}'$$);
ALTER SERVER s OPTIONS (SET sts_endpoint_url 'http://127.0.0.1:1');
SELECT sqlstate, message, detail LIKE '%Connection refused%' AS says_why, detail LIKE '%{%' AS dumps
FROM endpoint.error_of($$SELECT * FROM describe WHERE function_name = 'echo' AND payload = '{}'$$);
SELECT endpoint.count();
ALTER SERVER s OPTIONS (DROP role_arn, DROP sts_endpoint_url);

-- A profile that does not exist is no reason to use other keys of the machine

ALTER SERVER s OPTIONS (ADD profile 'regress-nosuch');
SELECT sqlstate, message FROM endpoint.error_of($$SELECT * FROM describe WHERE function_name = 'echo' AND payload = '{}'$$);
SELECT endpoint.count();
ALTER SERVER s OPTIONS (DROP profile);

-- FIPS and dual-stack endpoints are AWS's own, not one at a given URL: nothing is sent, so nothing may have run

SELECT endpoint.reset();
ALTER SERVER s OPTIONS (ADD use_fips 'true');
SELECT sqlstate LIKE '08%' AS connection_failed, detail LIKE '%FIPS and custom endpoint are not supported%' AS says_why, hint LIKE '%may have run%' AS may_have_run
FROM endpoint.error_of($$SELECT * FROM describe WHERE function_name = 'echo' AND payload = '{}'$$);
ALTER SERVER s OPTIONS (DROP use_fips, ADD use_dualstack 'true');
SELECT sqlstate LIKE '08%' AS connection_failed, detail LIKE '%Dualstack and custom endpoint are not supported%' AS says_why, hint LIKE '%may have run%' AS may_have_run
FROM endpoint.error_of($$SELECT * FROM describe WHERE function_name = 'echo' AND payload = '{}'$$);
ALTER SERVER s OPTIONS (DROP use_dualstack);
SELECT endpoint.count();

-- Options of server and table are in effect with the next execution of a statement prepared before

PREPARE place AS SELECT response ->> 'region' AS region FROM describe WHERE function_name = 'describe' AND payload = '{}';
SET plan_cache_mode = force_generic_plan;
EXECUTE place;
ALTER SERVER s OPTIONS (SET region 'eu-north-1');
EXECUTE place;
ALTER FOREIGN TABLE describe OPTIONS (ADD region 'us-east-1');
EXECUTE place;
ALTER FOREIGN TABLE describe OPTIONS (DROP region);
EXECUTE place;
RESET plan_cache_mode;
DEALLOCATE place;

-- An ordinary role with its own server: no machine's keys, and no say in where the server process connects

CREATE ROLE regress_lambda_owner;
CREATE ROLE regress_lambda_user;
GRANT USAGE ON FOREIGN DATA WRAPPER aws_lambda_fdw TO regress_lambda_owner;
GRANT CREATE ON SCHEMA public TO regress_lambda_owner;
SELECT endpoint.reset();
SET ROLE regress_lambda_owner;
CREATE SERVER own FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (endpoint_url 'http://127.0.0.1:1');
CREATE SERVER own FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (sts_endpoint_url 'http://127.0.0.1:1');
CREATE SERVER own FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (profile 'default');
CREATE SERVER own FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (region 'us-east-1', request_timeout_ms '5000');
CREATE FOREIGN TABLE own (function_name text, payload jsonb, response jsonb) SERVER own;
SELECT * FROM own WHERE function_name = 'describe' AND payload = '{}';
ALTER SERVER own OPTIONS (ADD role_arn 'arn:aws:iam::123456789012:role/caller');
SELECT * FROM own WHERE function_name = 'describe' AND payload = '{}';
ALTER SERVER own OPTIONS (DROP role_arn);
CREATE USER MAPPING FOR CURRENT_USER SERVER own OPTIONS (access_key_id 'AKIDOTHER', secret_access_key 'othersecret');
SELECT response ->> 'access_key' AS key, response ->> 'region' AS region FROM own WHERE function_name = 'describe' AND payload = '{}';
GRANT SELECT ON own TO regress_lambda_user;
SET ROLE regress_lambda_user;
SELECT * FROM own WHERE function_name = 'describe' AND payload = '{}';
-- A superuser neither lends the machine's keys to such a server
RESET ROLE;
SELECT * FROM own WHERE function_name = 'describe' AND payload = '{}';
-- Through a view it is the view's owner who asks
CREATE VIEW public.through AS SELECT response ->> 'access_key' AS key FROM own WHERE function_name = 'describe' AND payload = '{}';
ALTER VIEW public.through OWNER TO regress_lambda_owner;
GRANT SELECT ON public.through TO regress_lambda_user;
SET ROLE regress_lambda_user;
SELECT * FROM public.through;
RESET ROLE;
DROP OWNED BY regress_lambda_owner, regress_lambda_user CASCADE;
DROP ROLE regress_lambda_owner, regress_lambda_user;
DROP SERVER s CASCADE;

-- A value that is longer than anything that has a meaning
\set SHOW_CONTEXT never
DO $$ BEGIN EXECUTE format('CREATE SERVER long FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (region %L)', repeat('x', 70000)); END $$;
