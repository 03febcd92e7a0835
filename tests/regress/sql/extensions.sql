-- Creating and dropping the extensions, and carrying them to another database.

\set extensions_database :DBNAME
CREATE DATABASE regress_lambda_first TEMPLATE template0;
CREATE DATABASE regress_lambda_second TEMPLATE template0;
\c regress_lambda_first

-- As documented

CREATE EXTENSION IF NOT EXISTS aws_lambda CASCADE;
CREATE EXTENSION IF NOT EXISTS aws_lambda CASCADE;
SELECT e.extname, e.extversion, n.nspname, e.extrelocatable, (SELECT array_agg(r.extname ORDER BY r.extname) FROM pg_depend AS d JOIN pg_extension AS r ON r.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass WHERE d.objid = e.oid AND d.classid = 'pg_extension'::regclass) AS requires
FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname LIKE 'aws%' ORDER BY e.extname;
SELECT status_code, payload FROM aws_lambda.invoke('echo', '{}'::json);

-- What the others need cannot be dropped from under them

DROP EXTENSION aws_commons;
DROP EXTENSION aws_lambda_fdw;
DROP SERVER aws_lambda;

-- All gone

DROP EXTENSION aws_lambda, aws_lambda_fdw, aws_commons;
CREATE VIEW remains AS
    SELECT 'extension' AS kind, extname::text AS name FROM pg_extension WHERE extname LIKE 'aws%'
    UNION ALL SELECT 'schema', nspname FROM pg_namespace WHERE nspname LIKE 'aws%'
    UNION ALL SELECT 'function', proname FROM pg_proc WHERE proname LIKE 'aws%' OR proname = 'invoke'
    UNION ALL SELECT 'wrapper', fdwname FROM pg_foreign_data_wrapper
    UNION ALL SELECT 'server', srvname FROM pg_foreign_server
    UNION ALL SELECT 'type', typname FROM pg_type WHERE typname LIKE '%lambda%'
    UNION ALL SELECT 'table', relname FROM pg_class WHERE relname LIKE '%lambda%';
SELECT * FROM remains;

-- And again, one by one, the wrapper in a schema of its own

CREATE SCHEMA own;
CREATE EXTENSION aws_lambda;
CREATE EXTENSION aws_commons;
CREATE EXTENSION aws_lambda_fdw SCHEMA own;
CREATE EXTENSION aws_lambda;
SELECT fdwhandler::regproc, fdwvalidator::regproc FROM pg_foreign_data_wrapper;
SELECT status_code, payload FROM aws_lambda.invoke('echo', '{}'::jsonb);
DROP EXTENSION aws_lambda_fdw CASCADE;
DROP EXTENSION aws_commons;
DROP SCHEMA own;
SELECT * FROM remains;

-- Names that are taken

CREATE SCHEMA aws_lambda;
\set SHOW_CONTEXT never
CREATE EXTENSION aws_lambda CASCADE;
\set SHOW_CONTEXT errors
DROP SCHEMA aws_lambda;
SELECT * FROM remains;

-- Dumped and restored: extensions, a server, a table and a mapping of one's own, and what was granted

CREATE EXTENSION aws_lambda CASCADE;
CREATE ROLE regress_lambda_user;
GRANT USAGE ON SCHEMA aws_lambda TO regress_lambda_user;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA aws_lambda TO regress_lambda_user;
CREATE SERVER own FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (region 'eu-west-1', request_timeout_ms '5000');
CREATE USER MAPPING FOR PUBLIC SERVER own OPTIONS (access_key_id 'AKIDOTHER', secret_access_key 'othersecret');
CREATE FOREIGN TABLE own (payload jsonb, response jsonb) SERVER own OPTIONS (function_name 'describe');
CREATE VIEW through AS SELECT i, r.payload FROM generate_series(1, 2) AS i, aws_lambda.invoke('echo', to_jsonb(i)) AS r;
SELECT response ->> 'region' AS region, response ->> 'access_key' AS key FROM own WHERE payload = '{}';
\! pg_dump -d regress_lambda_first | psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -d regress_lambda_second
\c regress_lambda_second
SELECT response ->> 'region' AS region, response ->> 'access_key' AS key FROM own WHERE payload = '{}';
SELECT * FROM through;
SELECT status_code, payload FROM aws_lambda.invoke('echo', '{}'::json);
SET ROLE regress_lambda_user;
SELECT status_code, payload FROM aws_lambda.invoke('echo', '{}'::json);
SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '{}';
RESET ROLE;

-- The same objects, with the same rights

\set described 'SELECT pg_describe_object(d.classid, d.objid, 0), COALESCE((SELECT proacl FROM pg_proc WHERE oid = d.objid), (SELECT relacl FROM pg_class WHERE oid = d.objid), (SELECT nspacl FROM pg_namespace WHERE oid = d.objid), (SELECT typacl FROM pg_type WHERE oid = d.objid)) FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid WHERE d.deptype = ''e'' AND e.extname LIKE ''aws%'' ORDER BY 1'
SELECT count(*), md5(string_agg(o::text, ',')) AS second FROM (:described) AS o \gset second_
\c regress_lambda_first
SELECT count(*), md5(string_agg(o::text, ',')) AS first FROM (:described) AS o \gset first_
SELECT :first_count = :second_count AS count, :'first_first' = :'second_second' AS same;

\c :extensions_database
DROP DATABASE regress_lambda_first;
DROP DATABASE regress_lambda_second;
DROP ROLE regress_lambda_user;
