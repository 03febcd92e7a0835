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

-- An extension that others require can't be dropped

DROP EXTENSION aws_commons;
DROP FOREIGN DATA WRAPPER aws_lambda_fdw;
DROP SERVER aws_lambda;

-- All gone

DROP EXTENSION aws_commons CASCADE;
CREATE VIEW remains AS
    SELECT 'extension' AS kind, extname::text AS name FROM pg_extension WHERE extname LIKE 'aws%'
    UNION ALL SELECT 'schema', nspname FROM pg_namespace WHERE nspname LIKE 'aws%'
    UNION ALL SELECT 'function', proname FROM pg_proc WHERE proname LIKE 'aws%' OR proname = 'invoke'
    UNION ALL SELECT 'wrapper', fdwname FROM pg_foreign_data_wrapper
    UNION ALL SELECT 'server', srvname FROM pg_foreign_server
    UNION ALL SELECT 'type', typname FROM pg_type WHERE typname LIKE '%lambda%'
    UNION ALL SELECT 'table', relname FROM pg_class WHERE relname LIKE '%lambda%';
SELECT * FROM remains;

-- As dumps and migrations for RDS have it: no third extension, schemas that do not matter, versions, either order

CREATE EXTENSION aws_lambda;
CREATE EXTENSION IF NOT EXISTS aws_commons WITH SCHEMA public;
COMMENT ON EXTENSION aws_commons IS 'Common data types across AWS services';
CREATE EXTENSION IF NOT EXISTS aws_lambda WITH SCHEMA public;
COMMENT ON EXTENSION aws_lambda IS 'AWS Lambda integration';
SELECT status_code, payload FROM aws_lambda.invoke('echo', '{}'::jsonb);
SELECT extname, extversion, obj_description(oid, 'pg_extension') AS description FROM pg_extension WHERE extname LIKE 'aws%' ORDER BY extname;
DROP EXTENSION aws_commons CASCADE;
CREATE EXTENSION aws_lambda WITH SCHEMA public CASCADE;
CREATE EXTENSION IF NOT EXISTS aws_commons;
DROP EXTENSION aws_lambda, aws_commons;
CREATE EXTENSION aws_commons VERSION '1.2';
ALTER EXTENSION aws_commons UPDATE TO '1.2';
CREATE EXTENSION aws_lambda VERSION '1.0';
ALTER EXTENSION aws_lambda UPDATE;

-- Further contents of a dump of RDS: a column of the type, and grants with the whole list of arguments

CREATE ROLE regress_lambda_user;
CREATE TABLE public.targets (id integer NOT NULL, arn aws_commons._lambda_function_arn_1);
COPY public.targets (id, arn) FROM stdin;
1	(echo,us-west-2)
\.
GRANT USAGE ON SCHEMA aws_lambda TO regress_lambda_user;
GRANT ALL ON FUNCTION aws_commons.create_lambda_function_arn(function_name text, region text) TO regress_lambda_user;
GRANT ALL ON FUNCTION aws_commons.create_s3_uri(bucket text, file_path text, region text) TO regress_lambda_user;
GRANT ALL ON FUNCTION aws_commons.create_aws_credentials(access_key text, secret_key text, session_token text) TO regress_lambda_user;
GRANT ALL ON FUNCTION aws_lambda.invoke(function_name text, payload json, region text, invocation_type text, log_type text, context json, qualifier character varying, OUT status_code integer, OUT payload json, OUT executed_version text, OUT log_result text) TO regress_lambda_user;
GRANT ALL ON FUNCTION aws_lambda.invoke(function_name aws_commons._lambda_function_arn_1, payload json, invocation_type text, log_type text, context json, qualifier character varying, OUT status_code integer, OUT payload json, OUT executed_version text, OUT log_result text) TO regress_lambda_user;
GRANT ALL ON FUNCTION aws_lambda.invoke(function_name text, payload jsonb, region text, invocation_type text, log_type text, context jsonb, qualifier character varying, OUT status_code integer, OUT payload jsonb, OUT executed_version text, OUT log_result text) TO regress_lambda_user;
GRANT ALL ON FUNCTION aws_lambda.invoke(function_name aws_commons._lambda_function_arn_1, payload jsonb, invocation_type text, log_type text, context jsonb, qualifier character varying, OUT status_code integer, OUT payload jsonb, OUT executed_version text, OUT log_result text) TO regress_lambda_user;
GRANT SELECT ON targets TO regress_lambda_user;
SET ROLE regress_lambda_user;
SELECT i.* FROM targets, aws_lambda.invoke(arn, '{"n": 1}'::json) AS i;
RESET ROLE;
DROP TABLE targets;
DROP OWNED BY regress_lambda_user;
DROP ROLE regress_lambda_user;

-- The wrapper's extension is created later: it takes over the wrapper, which then stays without the functions

CREATE SCHEMA own;
CREATE SERVER mine FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (region 'eu-west-1');
CREATE FOREIGN TABLE mine (payload jsonb, response jsonb) SERVER mine OPTIONS (function_name 'describe');
DROP EXTENSION aws_lambda;
CREATE VIEW members AS
    SELECT e.extname, pg_describe_object(d.classid, d.objid, 0) AS object FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
    WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass AND (d.classid = 'pg_foreign_data_wrapper'::regclass OR pg_describe_object(d.classid, d.objid, 0) LIKE '%aws_lambda_fdw_%');
SELECT * FROM members ORDER BY object;
CREATE EXTENSION aws_lambda_fdw SCHEMA own;
SELECT * FROM members ORDER BY object;
SELECT response ->> 'region' AS region FROM mine WHERE payload = '{}';
SELECT status_code, payload FROM aws_lambda.invoke('echo', '{}'::jsonb);
DROP EXTENSION aws_lambda_fdw;
DROP EXTENSION aws_lambda;
SELECT response ->> 'region' AS region FROM mine WHERE payload = '{}';

-- And made first, or alone

CREATE EXTENSION aws_lambda;
SELECT * FROM members ORDER BY object;
SELECT status_code, payload FROM aws_lambda.invoke('echo', '{}'::jsonb);
DROP FOREIGN TABLE mine;
DROP SERVER mine;
DROP EXTENSION aws_lambda_fdw;
DROP EXTENSION aws_commons, aws_lambda_fdw CASCADE;
SELECT * FROM remains;
CREATE EXTENSION aws_lambda_fdw;
CREATE SERVER mine FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (region 'eu-west-1');
CREATE FOREIGN TABLE mine (payload jsonb, response jsonb) SERVER mine OPTIONS (function_name 'describe');
SELECT response ->> 'region' AS region FROM mine WHERE payload = '{}';
DROP EXTENSION aws_lambda_fdw CASCADE;
DROP SCHEMA own;
SELECT * FROM remains;

-- Its objects are the same either way

CREATE EXTENSION aws_lambda_fdw;
CREATE VIEW made AS SELECT regexp_replace(pg_get_functiondef(p.oid), 'FUNCTION \w+\.', '') AS function, obj_description(p.oid) AS comment, p.proacl AS rights
    FROM pg_proc AS p WHERE p.proname LIKE 'aws\_lambda\_fdw\_%';
CREATE TABLE alone AS SELECT * FROM made;
DROP EXTENSION aws_lambda_fdw;
CREATE EXTENSION aws_lambda CASCADE;
SELECT count(*), count(*) FILTER (WHERE made = alone) AS same FROM made FULL JOIN alone USING (function);
DROP VIEW made;
DROP TABLE alone;
DROP EXTENSION aws_commons CASCADE;
SELECT * FROM remains;

-- A role's operators in the schema of the extensions do not run as the superuser who creates them: operators that pg_catalog lacks

CREATE SCHEMA anybody;
DO $$
DECLARE
    pair record;
BEGIN
    FOR pair IN SELECT a.t AS l, b.t AS r
        FROM unnest('{oid,regclass,regnamespace,regtype,name,text,"\"char\"",bool,oidvector}'::text[]) AS a (t), unnest('{oid,regclass,regnamespace,regtype,name,text,"\"char\"",bool,oidvector}'::text[]) AS b (t)
        WHERE to_regoperator(format('pg_catalog.=(%s,%s)', a.t, b.t)) IS NULL
    LOOP
        EXECUTE format('CREATE FUNCTION anybody.equal(%s, %s) RETURNS bool LANGUAGE plpgsql AS ''BEGIN RAISE ''''run by the superuser''''; END''', pair.l, pair.r);
        EXECUTE format('CREATE OPERATOR anybody.= (leftarg = %s, rightarg = %s, function = anybody.equal, restrict = eqsel, join = eqjoinsel)', pair.l, pair.r);
    END LOOP;
END $$;
-- The planner may run them too, for its estimates.
ANALYZE pg_catalog.pg_depend;
CREATE EXTENSION aws_commons SCHEMA anybody;
CREATE EXTENSION aws_lambda SCHEMA anybody;
CREATE EXTENSION aws_lambda_fdw SCHEMA anybody;
DROP EXTENSION aws_commons, aws_lambda_fdw CASCADE;
SET client_min_messages = warning;
DROP SCHEMA anybody CASCADE;
RESET client_min_messages;
SELECT * FROM remains;

-- Names that are taken

CREATE SCHEMA aws_lambda;
\set SHOW_CONTEXT never
CREATE EXTENSION aws_lambda CASCADE;
\set SHOW_CONTEXT errors
DROP SCHEMA aws_lambda;
-- A schema of no extension may have objects of its owner
\set SHOW_CONTEXT never
CREATE SCHEMA aws_commons;
CREATE EXTENSION aws_commons;
\set SHOW_CONTEXT errors
DROP SCHEMA aws_commons;
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
