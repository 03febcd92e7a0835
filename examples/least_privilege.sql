-- A role that can invoke one function and no other. Run this as a superuser.
--
-- Four things keep the role to the function: the table fixes it and its region, the role may read that table only, it
-- has no USAGE on the server (so it can't make another table there, nor see the keys), and the IAM user
-- behind the keys is allowed that function only (examples/iam-policy.json).
--
-- Options of aws_lambda.lambda_invocations would bind aws_lambda.invoke of jsonb, and not that of json, which follows
-- aws_lambda.lambda_invocations_json. A table of its own, without EXECUTE on the functions, has no such gap.

CREATE EXTENSION IF NOT EXISTS aws_lambda CASCADE;

CREATE ROLE greeter;

CREATE SERVER greeter_lambda FOREIGN DATA WRAPPER aws_lambda_fdw;

-- These are AWS's own example keys. With real ones, see to it that this statement is not logged (log_statement).
CREATE USER MAPPING FOR greeter SERVER greeter_lambda
    OPTIONS (access_key_id 'AKIDEXAMPLE', secret_access_key 'wJalrXUtnFEMI+K7MDENG+bPxRfiCYEXAMPLEKEY');

-- A table need not have all columns. Without function_name it invokes the function of its options only. Without the
-- option region the role could choose one, with aws_lambda.region.
CREATE FOREIGN TABLE greeter_hello (payload jsonb, response jsonb)
    SERVER greeter_lambda OPTIONS (function_name 'hello', region 'us-east-1');
GRANT SELECT ON greeter_hello TO greeter;

SET ROLE greeter;

SELECT response->>'greeting' AS greeting FROM greeter_hello WHERE payload = '{"name": "Ada"}';

-- This changes nothing.
SET aws_lambda.region = 'eu-west-1';
SELECT response->>'greeting' AS greeting FROM greeter_hello WHERE payload = '{"name": "Ada"}';

-- The role sees its mapping, but not the options in it.
SELECT srvname, usename, umoptions FROM pg_user_mappings;

-- Each of the rest is refused.
\set ON_ERROR_STOP off
SELECT * FROM aws_lambda.invoke('geocode', '{"city": "Lima"}'::jsonb);
SELECT response FROM aws_lambda.lambda_invocations WHERE function_name = 'geocode' AND payload = '{}';
SELECT response FROM greeter_hello WHERE function_name = 'geocode' AND payload = '{}';
CREATE FOREIGN TABLE pg_temp.geocode (payload jsonb, response jsonb)
    SERVER greeter_lambda OPTIONS (function_name 'geocode');
\set ON_ERROR_STOP on

RESET ROLE;
RESET aws_lambda.region;

DROP FOREIGN TABLE greeter_hello;
DROP SERVER greeter_lambda CASCADE;
DROP ROLE greeter;
