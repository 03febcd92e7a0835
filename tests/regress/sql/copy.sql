-- COPY into a foreign table: each line is one invocation, as each row of an INSERT is.
SET client_min_messages = warning;
CREATE SCHEMA copies;
SET search_path = copies, public;
CREATE FOREIGN TABLE f (payload text, invocation_type text, status_code int, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE g (payload jsonb, response json) SERVER aws_lambda OPTIONS (function_name 'mock', invocation_type 'RequestResponse');
CREATE FOREIGN TABLE slow (payload text, status_code int) SERVER aws_lambda OPTIONS (function_name 'accept-20', max_concurrency '8');
CREATE TABLE t AS SELECT i AS id, i::text AS s FROM generate_series(1, 3) i;
RESET client_min_messages;
SELECT endpoint.reset();

-- Text, CSV, a condition
COPY f (payload) FROM STDIN;
1
\N
"tab\tand \\\\ backslash"
\.
\echo :ROW_COUNT
SELECT * FROM endpoint.arrived();
COPY f (invocation_type, payload) FROM STDIN (FORMAT csv, HEADER);
invocation_type,payload
RequestResponse,"{""a"": 1}"
,2
DryRun,3
\.
SELECT * FROM endpoint.arrived();
COPY f FROM STDIN (FORMAT csv) WHERE payload <> '2';
1,Event,,
2,Event,,
3,,,
\.
\echo :ROW_COUNT
SELECT * FROM endpoint.arrived();
COPY g (payload) FROM STDIN;
{"b": 1,  "a": "é"}
\.
SELECT * FROM endpoint.arrived();
COPY aws_lambda.lambda_invocations (function_name, payload, region) FROM STDIN;
echo	1	eu-west-1
describe	\N	\N
\.
SELECT * FROM endpoint.arrived();
COPY f (payload) FROM STDIN;
\.
\echo :ROW_COUNT
SELECT endpoint.made();

-- Many in flight, as many as may be, and none left behind
COPY slow (payload) FROM PROGRAM 'seq 1 200';
\echo :ROW_COUNT
SELECT endpoint.counter('most_in_flight'), endpoint.counter('aborted');
SELECT count(*), count(DISTINCT payload), min(invocation_type) FROM endpoint.arrived();
DO $$
DECLARE
    number int;
BEGIN
    EXECUTE $copy$COPY slow (payload) FROM PROGRAM 'seq 1 20'$copy$;
    GET DIAGNOSTICS number = ROW_COUNT;
    RAISE INFO '%', number;
END $$;
SELECT endpoint.made();

-- A failure ends it, also that of a line that was sent long ago and that of the last one.
\set VERBOSITY sqlstate
COPY g (payload) FROM STDIN;
1
{"as": "handled"}
\.
COPY g (payload) FROM STDIN;
{"as": "error-404-ResourceNotFoundException", "ms": 100}
{"as": "error-403-AccessDeniedException"}
\.
SELECT endpoint.made();
ALTER FOREIGN TABLE g OPTIONS (ADD on_error 'return');
COPY g (payload) FROM STDIN;
{"as": "error-403-AccessDeniedException"}
\.
SELECT endpoint.made();
ALTER FOREIGN TABLE g OPTIONS (DROP on_error);
\set VERBOSITY default
-- Lines that can't be sent; those before are.
SET aws_lambda.max_concurrency = 1;
COPY f (payload, status_code) FROM STDIN;
1	\N
2	202
3	\N
\.
\set VERBOSITY terse
COPY f (payload, invocation_type) FROM STDIN;
4	Event
5	Later
6	Event
\.
\set VERBOSITY default
SELECT * FROM endpoint.arrived();
COPY g (payload) FROM STDIN;
no json
3
\.
SELECT * FROM endpoint.arrived();
COPY f (payload, status_code) FROM STDIN;
7
\.
SELECT * FROM endpoint.arrived();
-- So many, and no more
SET aws_lambda.max_invocations = 2;
COPY f (payload) FROM STDIN;
1
2
3
4
\.
SELECT * FROM endpoint.arrived();
RESET aws_lambda.max_invocations;
RESET aws_lambda.max_concurrency;
CREATE FOREIGN TABLE once (payload text) SERVER aws_lambda OPTIONS (function_name 'echo', deduplicate 'true');
COPY once FROM STDIN;
1
2
1
\.
\echo :ROW_COUNT
SELECT endpoint.made();

-- Triggers
CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.payload = '2' THEN RETURN NULL; END IF;
    NEW.payload := NEW.payload || '0';
    RETURN NEW;
END $$;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE INFO '%', NEW;
    RETURN NULL;
END $$;
CREATE TRIGGER change BEFORE INSERT ON f FOR EACH ROW EXECUTE FUNCTION change();
CREATE TRIGGER tell AFTER INSERT ON f FOR EACH ROW EXECUTE FUNCTION tell();
COPY f (payload) FROM STDIN;
1
2
3
\.
\echo :ROW_COUNT
SELECT * FROM endpoint.arrived();
DROP TRIGGER change ON f;
DROP TRIGGER tell ON f;
CREATE VIEW instead AS SELECT s FROM t;
CREATE FUNCTION send() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO f (payload) VALUES (NEW.s);
    RETURN NEW;
END $$;
CREATE TRIGGER send INSTEAD OF INSERT ON instead FOR EACH ROW EXECUTE FUNCTION send();
COPY instead FROM STDIN;
1
2
\.
SELECT * FROM endpoint.arrived();

-- A partitioned table, whose foreign partition has its columns in another order
CREATE TABLE p (function_name text, payload text) PARTITION BY LIST (function_name);
CREATE TABLE p_here PARTITION OF p FOR VALUES IN ('here');
CREATE FOREIGN TABLE p_lambda (payload text, function_name text) SERVER aws_lambda OPTIONS (max_concurrency '2');
ALTER TABLE p ATTACH PARTITION p_lambda DEFAULT;
COPY p FROM STDIN;
here	1
accept-20	2
accept-20	3
here	4
accept-20	5
\.
\echo :ROW_COUNT
SELECT * FROM p_here;
SELECT endpoint.counter('most_in_flight');
SELECT * FROM endpoint.arrived();
\set VERBOSITY sqlstate
COPY p FROM STDIN;
here	6
handled	7
error-403-AccessDeniedException	8
\.
\set VERBOSITY default
SELECT count(*) FROM p_here;
SELECT endpoint.made();

-- Invocations are not undone.
BEGIN;
COPY f (payload) FROM STDIN;
1
\.
ROLLBACK;
SELECT * FROM endpoint.arrived();

-- Out of it: of a query only
COPY (SELECT payload, response FROM g WHERE payload IN ('1', '2', '"a\tb"')) TO STDOUT;
SELECT endpoint.made();
COPY (SELECT t.id, f.response FROM t JOIN f ON f.payload = t.s) TO STDOUT (FORMAT csv, HEADER);
SELECT endpoint.made();
COPY (SELECT response FROM f WHERE payload IN ('1', '2') UNION ALL SELECT response::text FROM g WHERE payload = '3' ORDER BY 1) TO STDOUT;
SELECT endpoint.made();
COPY (INSERT INTO f (payload) SELECT s FROM t RETURNING payload, status_code) TO STDOUT;
SELECT endpoint.made();
COPY (INSERT INTO g (payload) VALUES ('1'), ('{"as": "handled"}') RETURNING response) TO STDOUT;
SELECT endpoint.made();
COPY f TO STDOUT;
SELECT endpoint.made();

-- Who may
SET client_min_messages = warning;
CREATE ROLE regress_copies_user;
CREATE SERVER keyed FOREIGN DATA WRAPPER aws_lambda_fdw;
CREATE USER MAPPING FOR regress_copies_user SERVER keyed OPTIONS (access_key_id 'AKIDOTHER', secret_access_key 'othersecret');
CREATE FOREIGN TABLE described (payload text, response jsonb) SERVER keyed OPTIONS (function_name 'describe', invocation_type 'RequestResponse');
CREATE FUNCTION whose() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE INFO '%', NEW.response -> 'access_key';
    RETURN NULL;
END $$;
CREATE TRIGGER whose AFTER INSERT ON described FOR EACH ROW EXECUTE FUNCTION whose();
GRANT USAGE ON SCHEMA copies TO regress_copies_user;
GRANT SELECT ON described TO regress_copies_user;
RESET client_min_messages;
SET ROLE regress_copies_user;
\copy described (payload) from /dev/null
RESET ROLE;
GRANT INSERT ON described TO regress_copies_user;
SET ROLE regress_copies_user;
COPY described (payload) FROM STDIN;
1
\.
RESET ROLE;
COPY described (payload) FROM STDIN;
2
\.
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA copies CASCADE;
DROP SERVER keyed CASCADE;
DROP ROLE regress_copies_user;
