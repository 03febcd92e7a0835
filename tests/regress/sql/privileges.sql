-- Privileges. Everything is refused until it is granted.

CREATE ROLE regress_lambda_user;
CREATE SCHEMA regress_attack AUTHORIZATION regress_lambda_user;
SELECT endpoint.reset();

-- Every object of the extensions: what only puts values together is granted to PUBLIC and nothing else, and it has a comment

CREATE VIEW objects AS
    SELECT e.extname, d.classid, d.objid, pg_describe_object(d.classid, d.objid, d.objsubid) AS object
    FROM pg_extension AS e JOIN pg_depend AS d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
    WHERE e.extname IN ('aws_commons', 'aws_lambda', 'aws_lambda_fdw')
      -- Since 17 the types that come with tables and types are members too.
      AND NOT EXISTS (SELECT FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid
          WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid AND (t.typelem <> 0 OR c.relkind <> 'c'));
SELECT extname, object FROM objects ORDER BY extname, object COLLATE "C";
SELECT o.object FROM objects AS o
WHERE COALESCE(obj_description(o.objid, o.classid::regclass::text::name), '') = ''
  AND NOT EXISTS (SELECT FROM pg_type AS t WHERE o.classid = 'pg_type'::regclass AND t.oid = o.objid AND (t.typelem <> 0 OR t.typrelid IN (SELECT objid FROM objects)))
ORDER BY o.object COLLATE "C";
SELECT extname, obj_description(oid, 'pg_extension') AS comment FROM pg_extension WHERE extname LIKE 'aws%' ORDER BY extname;
WITH owned AS (
    SELECT o.object, p.proacl AS acl, acldefault('f', p.proowner) AS otherwise FROM objects AS o JOIN pg_proc AS p ON o.classid = 'pg_proc'::regclass AND p.oid = o.objid
    UNION ALL
    SELECT o.object, c.relacl, acldefault('r', c.relowner) FROM objects AS o JOIN pg_class AS c ON o.classid = 'pg_class'::regclass AND c.oid = o.objid
    UNION ALL
    SELECT o.object, n.nspacl, acldefault('n', n.nspowner) FROM objects AS o JOIN pg_namespace AS n ON o.classid = 'pg_namespace'::regclass AND n.oid = o.objid
    UNION ALL
    SELECT o.object, s.srvacl, acldefault('S', s.srvowner) FROM objects AS o JOIN pg_foreign_server AS s ON o.classid = 'pg_foreign_server'::regclass AND s.oid = o.objid
    UNION ALL
    SELECT o.object, w.fdwacl, acldefault('F', w.fdwowner) FROM objects AS o JOIN pg_foreign_data_wrapper AS w ON o.classid = 'pg_foreign_data_wrapper'::regclass AND w.oid = o.objid
    UNION ALL
    -- An array type's rights are its element's, and nobody grants a table's row type
    SELECT pg_describe_object('pg_type'::regclass, t.oid, 0), t.typacl, acldefault('T', t.typowner)
    FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
    WHERE n.nspname IN ('aws_commons', 'aws_lambda') AND t.typelem = 0
      AND NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = t.typrelid AND c.relkind <> 'c')
)
SELECT o.object, a.privilege_type FROM owned AS o, aclexplode(COALESCE(o.acl, o.otherwise)) AS a WHERE a.grantee = 0
ORDER BY 1, 2;

-- An ordinary role without grants

SET ROLE regress_lambda_user;
SELECT * FROM aws_lambda.invoke('echo', '{}'::json);
SELECT aws_commons.create_lambda_function_arn('echo');
SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '{}';
SELECT aws_lambda.aws_lambda_fdw_validator('{}', 0);
CREATE SERVER own FOREIGN DATA WRAPPER aws_lambda_fdw;
CREATE FOREIGN TABLE regress_attack.own (payload jsonb) SERVER aws_lambda;
CREATE USER MAPPING FOR CURRENT_USER SERVER aws_lambda OPTIONS (access_key_id 'x', secret_access_key 'y');
ALTER SERVER aws_lambda OPTIONS (ADD region 'us-east-1');
RESET ROLE;

-- The schema alone

GRANT USAGE ON SCHEMA aws_lambda TO regress_lambda_user;
SET ROLE regress_lambda_user;
SELECT * FROM aws_lambda.invoke('echo', '{}'::json);
SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '{}';
RESET ROLE;
SELECT endpoint.count();

-- Both grants of RDS

GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA aws_lambda TO regress_lambda_user;
SET ROLE regress_lambda_user;
SELECT * FROM aws_lambda.invoke('echo', '{"n": 1}'::json);
SELECT * FROM aws_lambda.invoke('echo', '{"n": 2}'::jsonb, 'us-west-2');
SELECT * FROM aws_lambda.invoke('(echo,us-west-2)', '{"n": 3}'::json);
SELECT * FROM aws_lambda.invoke('(echo,us-west-2)', '{"n": 4}'::json, 'RequestResponse', 'None', NULL, 'v1');
-- The tables are another matter
SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '{}';
SELECT * FROM aws_lambda.lambda_invocations_json WHERE function_name = 'echo' AND payload = '{}';
-- The composite type is everybody's
SELECT * FROM aws_lambda.invoke(aws_commons.create_lambda_function_arn('echo'), '{"n": 5}'::json);
SELECT aws_commons.create_lambda_function_arn('echo', 'us-west-2') AS arn \gset
SELECT * FROM aws_lambda.invoke(:'arn', '{"n": 6}'::json);
CREATE TEMPORARY TABLE targets (name text, arn aws_commons._lambda_function_arn_1);
CREATE TABLE regress_attack.targets (arn aws_commons._lambda_function_arn_1, arns aws_commons._lambda_function_arn_1[]);
INSERT INTO targets VALUES ('echo', aws_commons.create_lambda_function_arn('echo', 'us-west-2'));
CREATE FUNCTION regress_attack.call(target aws_commons._lambda_function_arn_1, payload json) RETURNS json LANGUAGE plpgsql AS $$
DECLARE copy aws_commons._lambda_function_arn_1 := target;
BEGIN RETURN (SELECT i.payload FROM aws_lambda.invoke(copy, call.payload) AS i); END $$;
SELECT regress_attack.call(arn, '{"n": 7}') FROM targets;
CREATE DOMAIN regress_attack.target AS aws_commons._lambda_function_arn_1;
SELECT aws_commons.create_s3_uri('bucket', 'path/file', 'us-west-2'), aws_commons.create_aws_credentials('key', 'secret', NULL);
DROP TABLE targets;
RESET ROLE;
SELECT payload, qualifier FROM endpoint.invocations();

-- The functions run as their owner: the caller's search_path has no effect

CREATE TABLE caught (what text);
GRANT INSERT ON caught TO regress_lambda_user;
SET ROLE regress_lambda_user;
CREATE FUNCTION regress_attack.left(text, int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.caught VALUES ('left as ' || current_user); RETURN ''; END $$;
CREATE FUNCTION regress_attack.starts_with(text, text) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.caught VALUES ('starts_with as ' || current_user); RETURN false; END $$;
CREATE FUNCTION regress_attack.equal(text, text) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.caught VALUES ('= as ' || current_user); RETURN true; END $$;
CREATE FUNCTION regress_attack.equal(jsonb, jsonb) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.caught VALUES ('= as ' || current_user); RETURN true; END $$;
CREATE OPERATOR regress_attack.= (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_attack.equal);
CREATE OPERATOR regress_attack.= (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = regress_attack.equal);
CREATE DOMAIN regress_attack.text AS pg_catalog.text;
CREATE DOMAIN regress_attack.jsonb AS pg_catalog.jsonb;
SET search_path = regress_attack, pg_catalog, aws_lambda;
SELECT status_code, payload FROM aws_lambda.invoke('echo', '1'::pg_catalog.json, 'us-west-2', 'RequestResponse', 'None', NULL::pg_catalog.json, 'v1');
SELECT status_code, payload FROM aws_lambda.invoke('echo', '2'::pg_catalog.jsonb, 'us-west-2', 'RequestResponse', 'None', NULL::pg_catalog.jsonb, 'v1');
SELECT status_code, payload FROM aws_lambda.invoke('(echo,us-west-2)', '3'::pg_catalog.json, 'RequestResponse', 'None', NULL, 'v1');
SELECT status_code, payload FROM aws_lambda.invoke(aws_commons.create_lambda_function_arn('echo'), '4'::pg_catalog.jsonb);
-- Nor a temporary object
CREATE TEMPORARY TABLE lambda_invocations (function_name pg_catalog.text);
CREATE TEMPORARY TABLE lambda_invocations_json (function_name pg_catalog.text);
SELECT status_code, payload FROM aws_lambda.invoke('echo', '5'::pg_catalog.json);
SELECT status_code, payload FROM aws_lambda.invoke('echo', '6'::pg_catalog.jsonb);
RESET search_path;
RESET ROLE;
SELECT * FROM caught;
DROP TABLE caught;

-- A trusted role may be given the tables, or the server for tables of its own

GRANT SELECT ON aws_lambda.lambda_invocations TO regress_lambda_user;
GRANT USAGE ON FOREIGN SERVER aws_lambda TO regress_lambda_user;
SET ROLE regress_lambda_user;
SELECT status_code, response FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '7';
CREATE FOREIGN TABLE regress_attack.own (payload pg_catalog.jsonb, response pg_catalog.jsonb) SERVER aws_lambda OPTIONS (function_name 'echo');
SELECT response FROM regress_attack.own WHERE payload = '8';
RESET ROLE;

-- No role may update or delete rows

SELECT endpoint.reset();
UPDATE aws_lambda.lambda_invocations SET payload = '1' WHERE function_name = 'echo' AND payload = '{}';
DELETE FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '{}';
TRUNCATE aws_lambda.lambda_invocations;
SELECT response FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '"locked"' FOR UPDATE;
SELECT function, payload FROM endpoint.invocations();

-- A foreign table can't have rules or policies, but a view over it can restrict callers to one function

CREATE VIEW echo AS SELECT payload, response FROM aws_lambda.lambda_invocations WHERE function_name = 'echo';
GRANT SELECT ON echo TO regress_lambda_user;
REVOKE ALL ON aws_lambda.lambda_invocations FROM regress_lambda_user;
SET ROLE regress_lambda_user;
SELECT response FROM echo WHERE payload = '9';
SELECT response FROM echo;
RESET ROLE;
DROP VIEW echo, objects;
DROP OWNED BY regress_lambda_user CASCADE;
DROP ROLE regress_lambda_user;
