-- INSERT into a foreign table: each row is one invocation, an Event unless the row or the table says otherwise.
SET client_min_messages = warning;
CREATE SCHEMA inserts;
SET search_path = inserts, public;
CREATE FOREIGN TABLE f (payload text, invocation_type text, status_code int, response text, function_error text, request_id text)
    SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE g (payload text, status_code int, response text)
    SERVER aws_lambda OPTIONS (function_name 'mock', invocation_type 'RequestResponse');
CREATE FOREIGN TABLE slow (payload text, status_code int, response text)
    SERVER aws_lambda OPTIONS (function_name 'accept-50', max_concurrency '4');
CREATE FOREIGN TABLE every (
    function_name text, region text, payload jsonb, invocation_type text, log_type text, context jsonb, qualifier text,
    status_code int, response jsonb, executed_version text, log_result text, log text, function_error text, request_id text,
    error_code text, error_message text) SERVER aws_lambda;
CREATE TABLE t AS SELECT i AS id, i::text AS s FROM generate_series(1, 5) i;
ANALYZE t;
RESET client_min_messages;
SELECT endpoint.reset();

-- Each of the types, the default and a wrong one
INSERT INTO f (payload) VALUES ('1');
\echo :ROW_COUNT
INSERT INTO f (payload, invocation_type) VALUES ('2', 'RequestResponse'), ('3', 'DryRun'), ('4', 'Event'), ('5', NULL);
\echo :ROW_COUNT
SELECT * FROM endpoint.arrived();
INSERT INTO f (payload, invocation_type) VALUES ('6', 'event');
INSERT INTO f (payload, invocation_type) VALUES ('7', 'RequestResponse'), ('8', 'DryRun'), ('9', 'Event'), ('10', NULL)
    RETURNING payload, invocation_type, status_code, response, function_error, request_id ~ '^[0-9a-f-]{36}$' AS has_request_id;
SELECT * FROM endpoint.arrived();
-- The table's option takes the place of the default.
INSERT INTO g (payload) VALUES ('"x"') RETURNING *;
SELECT * FROM endpoint.arrived();

-- All inputs of a row; what is null is not given
INSERT INTO every (function_name, region, payload, invocation_type, log_type, context, qualifier)
    VALUES ('describe', 'eu-west-1', '{"b": 1, "a": 2}', 'RequestResponse', 'Tail', '{"custom": {"k": "v"}}', 'v1')
    RETURNING status_code, response - 'access_key' AS response, executed_version, log, error_code, error_message;
INSERT INTO every (function_name, payload, invocation_type) VALUES ('describe', NULL, 'RequestResponse')
    RETURNING status_code, response - 'access_key' AS response, executed_version;
INSERT INTO every (function_name, payload, invocation_type) VALUES ('arn:aws:lambda:ap-south-1:123456789012:function:describe:v2', '[]', 'RequestResponse')
    RETURNING response -> 'region' AS region, executed_version;
INSERT INTO every (function_name, payload, invocation_type, log_type) VALUES ('log', '{}', 'RequestResponse', 'Tail')
    RETURNING executed_version, log, log_result IS NOT NULL AS has_log_result;
INSERT INTO aws_lambda.lambda_invocations (function_name, payload) VALUES ('echo', '{"b": 1, "a": 2}') RETURNING status_code;
INSERT INTO aws_lambda.lambda_invocations_json (function_name, payload) VALUES ('echo', '{"b": 1,  "a": 2}') RETURNING status_code;
SELECT * FROM endpoint.arrived();
-- The options of the table, and values equal to them
CREATE FOREIGN TABLE fixed (function_name text, region text, qualifier text, invocation_type text, log_type text, payload text, response jsonb)
    SERVER aws_lambda OPTIONS (function_name 'describe', region 'us-east-2', qualifier 'v1', invocation_type 'RequestResponse', log_type 'Tail');
INSERT INTO fixed (payload) VALUES ('1') RETURNING *, response - 'access_key' AS response;
INSERT INTO fixed (function_name, region, qualifier, invocation_type, log_type, payload) VALUES ('describe', 'us-east-2', 'v1', 'RequestResponse', 'Tail', NULL)
    RETURNING response - 'access_key' AS response;
SELECT endpoint.made();

-- Values that a row can't have: nothing is invoked.
SELECT c.name, e.* FROM unnest('{status_code,response,executed_version,log_result,log,function_error,request_id,error_code,error_message}'::text[])
        WITH ORDINALITY AS c (name, place),
    LATERAL endpoint.error_of(format('INSERT INTO every (function_name, payload, %I) VALUES (''echo'', ''1'', %L)', c.name,
        CASE c.name WHEN 'status_code' THEN '200' ELSE '"x"' END)) AS e ORDER BY c.place;
SELECT c.name, e.* FROM (VALUES (1, 'function_name', 'echo'), (2, 'region', 'us-east-1'), (3, 'qualifier', 'v2'), (4, 'invocation_type', 'Event'), (5, 'log_type', 'None'))
        AS c (place, name, value),
    LATERAL endpoint.error_of(format('INSERT INTO fixed (%I, payload) VALUES (%L, NULL)', c.name, c.value)) AS e ORDER BY c.place;
INSERT INTO every (payload) VALUES ('1');
INSERT INTO every (function_name, payload) VALUES ('no function!', '1');
INSERT INTO every (function_name, qualifier, payload) VALUES ('echo:v1', 'v2', '1');
SELECT endpoint.made();
-- Rows before such a row are sent, those after it are not.
SET aws_lambda.max_concurrency = 1;
INSERT INTO every (function_name, payload, status_code) VALUES ('echo', '1', NULL), ('echo', '2', NULL), ('echo', '3', 200), ('echo', '4', NULL);
SELECT * FROM endpoint.arrived();
INSERT INTO every (function_name, payload, region) VALUES ('echo', '1', NULL), ('echo', '2', 'mars'), ('echo', '3', NULL);
SELECT * FROM endpoint.arrived();
RESET aws_lambda.max_concurrency;

-- A statement that has no payload is refused where the table has the column, by way of a view, a partitioned table and COPY too; one that
-- says NULL sends none.
INSERT INTO every (function_name) VALUES ('echo');
INSERT INTO every (function_name) VALUES ('echo'), ('describe') RETURNING status_code;
INSERT INTO f DEFAULT VALUES;
INSERT INTO f VALUES (DEFAULT);
INSERT INTO f (invocation_type) SELECT 'Event' FROM t;
COPY every (function_name) FROM stdin;
echo
\.
CREATE VIEW names AS SELECT function_name, region FROM every;
INSERT INTO names VALUES ('echo');
DROP VIEW names;
CREATE TABLE split (payload text, function_name text) PARTITION BY LIST (function_name);
CREATE FOREIGN TABLE split_echo PARTITION OF split FOR VALUES IN ('echo') SERVER aws_lambda;
INSERT INTO split (function_name) VALUES ('echo');
SELECT endpoint.made();
INSERT INTO split (function_name, payload) VALUES ('echo', NULL);
COPY every (function_name, payload) FROM stdin;
echo	\N
\.
SELECT * FROM endpoint.arrived();
-- A payload from a trigger counts. A table without the column has none.
CREATE FUNCTION give_payload() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.payload := '"given"'; RETURN NEW; END $$;
CREATE TRIGGER give BEFORE INSERT ON f FOR EACH ROW EXECUTE FUNCTION give_payload();
INSERT INTO f DEFAULT VALUES;
DROP TRIGGER give ON f;
DROP FUNCTION give_payload();
CREATE FOREIGN TABLE bare (function_name text, status_code int) SERVER aws_lambda;
INSERT INTO bare (function_name) VALUES ('echo') RETURNING status_code;
DROP FOREIGN TABLE bare;
DROP TABLE split;
SELECT * FROM endpoint.arrived();

-- No rows, no values, defaults
INSERT INTO f (payload) SELECT s FROM t WHERE id > 5;
\echo :ROW_COUNT
INSERT INTO f (payload) SELECT s FROM t WHERE id > 5 RETURNING *;
SELECT endpoint.made();
INSERT INTO f (payload) VALUES (NULL) RETURNING payload, invocation_type, status_code;
SELECT * FROM endpoint.arrived();
ALTER FOREIGN TABLE f ALTER payload SET DEFAULT '"default"', ALTER invocation_type SET DEFAULT 'RequestResponse';
INSERT INTO f DEFAULT VALUES RETURNING payload, invocation_type, status_code;
INSERT INTO f VALUES (DEFAULT, 'DryRun'), ('"given"', DEFAULT) RETURNING payload, invocation_type, status_code;
SELECT * FROM endpoint.arrived();
ALTER FOREIGN TABLE f ALTER payload DROP DEFAULT, ALTER invocation_type DROP DEFAULT;

-- Many in flight, as many as may be; none is left behind
INSERT INTO slow (payload) SELECT i::text FROM generate_series(1, 21) i;
\echo :ROW_COUNT
SELECT endpoint.counter('most_in_flight'), endpoint.counter('aborted');
SELECT count(*), count(DISTINCT payload), min(invocation_type) FROM endpoint.arrived();
-- Those that are sent last are waited for, and a failure among them is the statement's.
SET aws_lambda.max_concurrency = 4;
\set VERBOSITY sqlstate
INSERT INTO g (payload) VALUES ('1'), ('2'), ('{"as": "error-403-AccessDeniedException", "ms": 100}');
INSERT INTO g (payload) SELECT '{"ms": 50}' FROM t UNION ALL SELECT '{"as": "handled", "ms": 100}';
SELECT endpoint.made();
-- Of several failures the first row's counts; after one has come, nothing more is sent.
INSERT INTO g (payload) VALUES ('{"as": "error-404-ResourceNotFoundException", "ms": 200}'), ('{"as": "error-403-AccessDeniedException"}');
SELECT endpoint.made();
INSERT INTO g (payload) SELECT '{"as": "error-403-AccessDeniedException", "ms": 50}' FROM generate_series(1, 20);
SELECT endpoint.made();
INSERT INTO g (payload) SELECT '{"as": "error-403-AccessDeniedException", "ms": 50}' FROM generate_series(1, 20) RETURNING 1;
SELECT endpoint.made();
\set VERBOSITY default
-- Throttled rows are tried again until they are accepted.
CREATE FOREIGN TABLE limited (payload text) SERVER aws_lambda OPTIONS (function_name 'limit-2-20', max_retries '100');
INSERT INTO limited SELECT s FROM t;
SELECT endpoint.counter('invocations') - endpoint.counter('throttled') AS accepted, endpoint.counter('throttled') > 0 AS was_throttled;
SELECT count(DISTINCT payload) FROM endpoint.arrived();
RESET aws_lambda.max_concurrency;

-- RETURNING: in the order of the rows, read ahead
SELECT * FROM endpoint.explain($$INSERT INTO slow (payload) SELECT s FROM t ORDER BY id DESC RETURNING payload, status_code$$);
INSERT INTO slow (payload) SELECT s FROM t ORDER BY id DESC RETURNING payload, status_code;
SELECT endpoint.counter('most_in_flight');
SELECT * FROM endpoint.arrived();
SELECT * FROM endpoint.explain($$INSERT INTO g (payload) VALUES ('1'), ('2') RETURNING response$$);
INSERT INTO g AS x (payload) VALUES ('"a"'), ('{"ms": 60}'), (NULL), ('"d"')
    RETURNING tableoid::regclass, x, payload || '!' AS payload, response, (SELECT count(*) FROM t WHERE s < x.status_code::text) AS subquery;
SELECT * FROM endpoint.arrived();
-- Also where nothing that came back is returned
INSERT INTO f (payload) VALUES ('1') RETURNING payload;
INSERT INTO f (payload) VALUES ('2') RETURNING 1 AS one;
SELECT endpoint.made();
-- A response that its column can't hold
INSERT INTO every (function_name, payload, invocation_type) VALUES ('html', NULL, 'RequestResponse') RETURNING status_code;
INSERT INTO every (function_name, payload, invocation_type) VALUES ('html', NULL, 'RequestResponse');
SELECT endpoint.made();
-- A failure behind rows that were to be returned
SET aws_lambda.max_concurrency = 1;
INSERT INTO g (payload) VALUES ('1'), ('{"as": "handled"}'), ('3') RETURNING response;
SELECT endpoint.made();
RESET aws_lambda.max_concurrency;
-- A RETURNING that fails itself
INSERT INTO g (payload) VALUES ('1') RETURNING 1 / (status_code - 200);
SELECT endpoint.made();

-- on_error: a failure is a row where there is one, and else ends the statement.
CREATE FOREIGN TABLE returned (payload text, status_code int, response text, function_error text, error_code text, error_message text)
    SERVER aws_lambda OPTIONS (function_name 'mock', invocation_type 'RequestResponse', on_error 'return');
INSERT INTO returned (payload) VALUES ('1'), ('{"as": "handled"}'), ('{"as": "error-403-AccessDeniedException"}'), ('{"as": "raw-nul"}'), ('5')
    RETURNING payload, status_code, function_error, error_code, error_message;
INSERT INTO returned (payload) VALUES ('1'), ('{"as": "handled"}');
\set VERBOSITY sqlstate
INSERT INTO returned (payload) VALUES ('{"as": "error-403-AccessDeniedException"}');
\set VERBOSITY default
SELECT endpoint.made();
ALTER FOREIGN TABLE returned ADD region text;
INSERT INTO returned (payload, region) VALUES ('1', 'mars'), ('2', NULL) RETURNING payload, status_code, error_code, error_message;
SELECT * FROM endpoint.arrived();
INSERT INTO returned (payload, response) VALUES ('2', 'x') RETURNING 1;
INSERT INTO returned (payload, response) VALUES ('2', 'x');
SELECT endpoint.made();

-- Types of the payload, and one of more than an Event may have
CREATE DOMAIN short AS varchar(12) CHECK (VALUE <> '"refused"');
CREATE FOREIGN TABLE of_json (payload json, response json) SERVER aws_lambda OPTIONS (function_name 'echo', invocation_type 'RequestResponse');
CREATE FOREIGN TABLE of_jsonb (payload jsonb, response jsonb) SERVER aws_lambda OPTIONS (function_name 'echo', invocation_type 'RequestResponse');
CREATE FOREIGN TABLE of_varchar (payload varchar(10), response varchar(10)) SERVER aws_lambda OPTIONS (function_name 'echo', invocation_type 'RequestResponse');
CREATE FOREIGN TABLE of_domain (payload short, response short) SERVER aws_lambda OPTIONS (function_name 'echo', invocation_type 'RequestResponse');
INSERT INTO of_json (payload) VALUES ('{"b":  1, "a": "é"}') RETURNING *;
INSERT INTO of_jsonb (payload) VALUES ('{"b":  1, "a": "é"}') RETURNING *;
INSERT INTO of_varchar (payload) VALUES ('{"b":  1}') RETURNING *;
INSERT INTO of_domain (payload) VALUES ('{"b":  1}') RETURNING *;
INSERT INTO of_varchar (payload) VALUES ('"more than ten"');
INSERT INTO of_domain (payload) VALUES ('"refused"');
INSERT INTO of_jsonb (payload) VALUES ('no json');
SELECT endpoint.made();
CREATE FOREIGN TABLE strict (payload text, invocation_type text, status_code int, response text) SERVER aws_lambda OPTIONS (function_name 'strict');
CREATE TABLE wide AS SELECT i AS id, to_json(repeat(i::text, 1048576))::text AS w FROM generate_series(1, 3) i;
\set VERBOSITY sqlstate
INSERT INTO strict (payload) SELECT w FROM wide WHERE id = 1;
INSERT INTO strict (payload) SELECT w FROM wide WHERE id = 1 RETURNING status_code;
\set VERBOSITY default
INSERT INTO strict (payload, invocation_type) SELECT w, 'RequestResponse' FROM wide RETURNING status_code, length(payload), payload = response AS same;
INSERT INTO strict (payload) SELECT left(w, 1048575) || '"' FROM wide RETURNING status_code, length(payload);
SELECT endpoint.made();

-- BEFORE ROW triggers change rows and leave rows out, so no row is read before the one before it is there.
CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.payload = '2' THEN RETURN NULL; END IF;
    NEW.payload := NEW.payload || '0';
    RETURN NEW;
END $$;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE INFO '% % % %', TG_OP, TG_WHEN, TG_LEVEL, NEW;
    RETURN NULL;
END $$;
CREATE TRIGGER change BEFORE INSERT ON slow FOR EACH ROW EXECUTE FUNCTION change();
SELECT * FROM endpoint.explain($$INSERT INTO slow (payload) SELECT s FROM t RETURNING payload$$);
INSERT INTO slow (payload) SELECT s FROM t WHERE id < 4 RETURNING payload, status_code;
SELECT endpoint.counter('most_in_flight');
SELECT * FROM endpoint.arrived();
INSERT INTO slow (payload) SELECT s FROM t;
\echo :ROW_COUNT
SELECT endpoint.counter('most_in_flight');
SELECT * FROM endpoint.arrived();
DROP TRIGGER change ON slow;
-- AFTER ROW triggers see what came back, for which each row is waited for.
CREATE TRIGGER tell AFTER INSERT ON slow FOR EACH ROW EXECUTE FUNCTION tell();
INSERT INTO slow (payload) VALUES ('1'), ('2');
SELECT endpoint.counter('most_in_flight'), endpoint.made();
INSERT INTO slow (payload) VALUES ('1'), ('2') RETURNING status_code;
SELECT endpoint.counter('most_in_flight'), endpoint.made();
DROP TRIGGER tell ON slow;
CREATE TRIGGER tell AFTER INSERT ON slow FOR EACH STATEMENT EXECUTE FUNCTION tell();
INSERT INTO slow (payload) VALUES ('1'), ('2');
SELECT endpoint.counter('most_in_flight'), endpoint.made();
DROP TRIGGER tell ON slow;
-- A generated column is a value like any other.
CREATE FOREIGN TABLE generated (function_name text, payload text GENERATED ALWAYS AS ('"' || function_name || '"') STORED, status_code int, response text)
    SERVER aws_lambda OPTIONS (invocation_type 'RequestResponse');
INSERT INTO generated (function_name) VALUES ('echo');
SELECT * FROM endpoint.arrived();
INSERT INTO generated (function_name) VALUES ('echo') RETURNING *;
SELECT * FROM endpoint.arrived();
-- Dropped and added columns
ALTER FOREIGN TABLE generated DROP status_code, DROP payload, ADD payload text, ADD status_code int;
INSERT INTO generated (function_name, payload) VALUES ('echo', '"new"') RETURNING *;
SELECT * FROM endpoint.arrived();

-- Views, with and without a check
CREATE VIEW v AS SELECT payload, status_code, response FROM g;
CREATE VIEW checked AS SELECT payload, status_code, response FROM g WHERE payload <> '"refused"' WITH CHECK OPTION;
CREATE VIEW checked_response AS SELECT payload, response FROM g WHERE response = '"expected"' WITH CHECK OPTION;
INSERT INTO v (payload) VALUES ('"1"');
INSERT INTO v (payload) VALUES ('"2"'), ('"3"') RETURNING *;
SELECT endpoint.made();
INSERT INTO checked (payload) VALUES ('"1"'), ('"2"');
INSERT INTO checked (payload) VALUES ('"3"') RETURNING *;
SELECT endpoint.made();
-- Rows with invalid inputs are not sent.
INSERT INTO checked (payload) VALUES ('"refused"');
-- The response is checked too, so the function has run.
INSERT INTO checked_response (payload) VALUES ('"expected"') RETURNING *;
INSERT INTO checked_response (payload) VALUES ('"other"');
SELECT endpoint.made();
-- An INSTEAD OF trigger and a rule
CREATE VIEW instead AS SELECT s FROM t;
CREATE FUNCTION send() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO f (payload) VALUES (NEW.s);
    RETURN NEW;
END $$;
CREATE TRIGGER send INSTEAD OF INSERT ON instead FOR EACH ROW EXECUTE FUNCTION send();
INSERT INTO instead SELECT s FROM t WHERE id < 3;
SELECT * FROM endpoint.arrived();
CREATE TABLE ruled (s text);
CREATE RULE also AS ON INSERT TO ruled DO ALSO INSERT INTO f (payload) VALUES (NEW.s);
INSERT INTO ruled VALUES ('1'), ('2');
SELECT * FROM endpoint.arrived();

-- A trigger of an ordinary table sends its rows.
CREATE TABLE queue (s text);
CREATE TRIGGER send AFTER INSERT ON queue FOR EACH ROW EXECUTE FUNCTION send();
INSERT INTO queue SELECT s FROM t;
SELECT * FROM endpoint.arrived();

-- A partitioned table, whose partitions have their columns in another order
CREATE TABLE p (function_name text, gone int, payload text, status_code int, response text) PARTITION BY LIST (function_name);
ALTER TABLE p DROP gone;
CREATE TABLE p_here PARTITION OF p FOR VALUES IN ('here');
CREATE FOREIGN TABLE p_lambda (response text, status_code int, function_name text, payload text) SERVER aws_lambda;
ALTER TABLE p ATTACH PARTITION p_lambda FOR VALUES IN ('accept-50');
CREATE FOREIGN TABLE p_default PARTITION OF p DEFAULT SERVER aws_lambda;
INSERT INTO p (function_name, payload) VALUES ('here', '1'), ('accept-50', '2'), ('echo', '3'), ('accept-50', '4'), ('here', '5'), ('describe', '6');
SELECT * FROM p_here;
SELECT * FROM endpoint.arrived();
INSERT INTO p (function_name, payload) SELECT 'accept-50', s FROM t UNION ALL SELECT 'here', 'x';
SELECT endpoint.counter('most_in_flight'), endpoint.made();
-- With RETURNING one at a time
INSERT INTO p (function_name, payload) VALUES ('here', '1'), ('accept-50', '2'), ('echo', '3'), ('accept-50', '4') RETURNING tableoid::regclass, *;
SELECT endpoint.counter('most_in_flight'), endpoint.made();
-- A row that moves to a foreign partition is one that is inserted there.
DELETE FROM p_here WHERE payload <> '5';
UPDATE p SET function_name = 'echo' WHERE function_name = 'here' RETURNING tableoid::regclass, payload, status_code;
SELECT * FROM endpoint.arrived();
UPDATE p SET payload = 'x' WHERE function_name = 'echo' AND payload = '1';
SELECT endpoint.made();

-- A missing input is an error before the source invokes anything.
INSERT INTO slow (status_code) SELECT f.status_code FROM f WHERE payload IN ('1', '2');
SELECT endpoint.made();
INSERT INTO slow (response) SELECT f.response FROM f WHERE payload IN ('1', '2') ORDER BY f.response LIMIT 1 RETURNING status_code;
SELECT endpoint.made();

-- Defaults are those of the table that the statement names: what PostgreSQL does not fill in is left out.
ALTER FOREIGN TABLE p_lambda ALTER payload SET DEFAULT '"of the partition"';
INSERT INTO p (function_name) VALUES ('accept-50');
COPY p (function_name) FROM stdin;
accept-50
\.
SELECT endpoint.made();
ALTER TABLE p ALTER payload SET DEFAULT '"of the table"';
INSERT INTO p (function_name) VALUES ('accept-50') RETURNING payload;
INSERT INTO p_lambda (function_name) VALUES ('accept-50') RETURNING payload;
ALTER TABLE p ALTER payload DROP DEFAULT;
ALTER FOREIGN TABLE p_lambda ALTER payload DROP DEFAULT;
SELECT * FROM endpoint.arrived();

-- From other invocations, from its own table, from branches
INSERT INTO slow (payload) SELECT f.response || '0' FROM t JOIN f ON f.payload = t.s;
SELECT endpoint.made();
INSERT INTO slow (payload) SELECT f.response || '0' FROM t JOIN f ON f.payload = t.s RETURNING payload, status_code;
SELECT endpoint.made();
INSERT INTO f (payload) SELECT response || '1' FROM f WHERE payload IN ('1', '2');
SELECT * FROM endpoint.arrived();
WITH i AS (
    INSERT INTO f (payload) SELECT response FROM f WHERE payload IN ('1', '2') UNION ALL SELECT response FROM slow WHERE payload = '3' RETURNING payload, status_code)
SELECT * FROM i ORDER BY 1;
SELECT * FROM endpoint.arrived();

-- Data-modifying common table expressions run to their end, however much of them is read.
WITH i AS (INSERT INTO slow (payload) SELECT s FROM t) SELECT 1 AS one;
SELECT endpoint.counter('most_in_flight'), endpoint.made();
WITH i AS (INSERT INTO slow (payload) SELECT s FROM t RETURNING payload) SELECT 1 AS one;
SELECT endpoint.made();
WITH i AS (INSERT INTO slow (payload) SELECT s FROM t RETURNING payload, status_code) SELECT * FROM i LIMIT 1;
SELECT endpoint.made();
WITH i AS (INSERT INTO g (payload) SELECT s FROM t RETURNING response) SELECT t.id, i.response FROM t JOIN i ON i.response = t.s ORDER BY 1;
SELECT endpoint.made();
WITH i AS (INSERT INTO g (payload) SELECT s FROM t RETURNING response), j AS (INSERT INTO f (payload) SELECT response || '0' FROM i RETURNING payload)
    INSERT INTO slow (payload) SELECT payload || '0' FROM j RETURNING payload;
SELECT * FROM endpoint.arrived();
WITH i AS (INSERT INTO g (payload) VALUES ('{"as": "handled"}')) SELECT 1 AS one;
WITH d AS (DELETE FROM queue WHERE s IN ('1', '2') RETURNING s) INSERT INTO f (payload) SELECT s FROM d;
SELECT count(*) FROM queue;
SELECT count(*) FROM endpoint.arrived();

-- Functions, loops, prepared statements
CREATE FUNCTION sends(text) RETURNS int LANGUAGE sql AS $$ INSERT INTO f (payload) VALUES ($1) RETURNING status_code $$;
CREATE FUNCTION sends_all() RETURNS SETOF text LANGUAGE sql AS $$ INSERT INTO slow (payload) SELECT s FROM t RETURNING payload $$;
CREATE FUNCTION sends_void(text) RETURNS void LANGUAGE sql AS $$ INSERT INTO f (payload) VALUES ($1), ($1 || '0') $$;
SELECT sends(s), sends_void(s) FROM t WHERE id < 3;
SELECT * FROM endpoint.arrived();
SELECT * FROM sends_all();
SELECT endpoint.made();
DO $$
DECLARE
    one record;
    number int;
BEGIN
    FOR one IN SELECT s FROM t ORDER BY id LOOP
        INSERT INTO f (payload) VALUES (one.s);
    END LOOP;
    FOR one IN INSERT INTO slow (payload) SELECT s FROM t ORDER BY id RETURNING payload, status_code LOOP
        RAISE INFO '%', one;
        EXIT WHEN one.payload = '2';
    END LOOP;
    INSERT INTO f (payload) SELECT s FROM t;
    GET DIAGNOSTICS number = ROW_COUNT;
    EXECUTE 'INSERT INTO f (payload) VALUES ($1) RETURNING status_code' INTO one USING '6';
    RAISE INFO '% %', number, one;
END $$;
SELECT function, count(*) FROM endpoint.arrived() GROUP BY 1 ORDER BY 1;
PREPARE plain (text) AS INSERT INTO f (payload) SELECT $1 || s FROM t WHERE id < 3;
PREPARE returns (text) AS INSERT INTO g (payload) SELECT $1 || s FROM t WHERE id < 3 RETURNING response;
SET plan_cache_mode = force_generic_plan;
EXECUTE plain ('1');
EXECUTE plain ('2');
EXECUTE plain (NULL);
EXECUTE returns ('3');
EXECUTE returns ('4');
SELECT * FROM endpoint.explain($$EXECUTE returns ('5')$$);
SELECT * FROM endpoint.arrived();
RESET plan_cache_mode;
EXECUTE returns ('6');
-- A trigger that came after the plan was made
CREATE TRIGGER change BEFORE INSERT ON g FOR EACH ROW EXECUTE FUNCTION change();
EXECUTE returns ('7');
DROP TRIGGER change ON g;
EXECUTE returns ('8');
SELECT endpoint.made();
DEALLOCATE ALL;

-- A trigger of a row that sends, of a row that sends
CREATE FUNCTION nest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO g (payload) SELECT NEW.payload || id FROM t WHERE id < 3;
    RETURN NEW;
END $$;
CREATE TRIGGER nest BEFORE INSERT ON slow FOR EACH ROW EXECUTE FUNCTION nest();
INSERT INTO slow (payload) VALUES ('1'), ('2') RETURNING status_code;
SELECT * FROM endpoint.arrived();
DROP TRIGGER nest ON slow;

-- The limit of a statement: so many are sent, and no more.
SET aws_lambda.max_invocations = 3;
INSERT INTO f (payload) SELECT s FROM t;
SELECT endpoint.made();
INSERT INTO f (payload) SELECT s FROM t RETURNING status_code;
SELECT endpoint.made();
INSERT INTO f (payload) SELECT s FROM t WHERE id < 4;
INSERT INTO f (payload) SELECT s FROM t WHERE id < 4 RETURNING status_code;
SELECT endpoint.made();
WITH i AS (INSERT INTO f (payload) VALUES ('1'), ('2') RETURNING payload) INSERT INTO g (payload) SELECT payload FROM i;
SELECT endpoint.made();
-- Invocations of triggers count too, also those after the rows.
INSERT INTO queue SELECT s FROM t;
SELECT endpoint.made();
INSERT INTO queue SELECT s FROM t WHERE id < 4;
SELECT endpoint.made();
RESET aws_lambda.max_invocations;
-- Equal rows of one statement
CREATE FOREIGN TABLE once (payload text, status_code int, response text)
    SERVER aws_lambda OPTIONS (function_name 'count', invocation_type 'RequestResponse', deduplicate 'true', max_concurrency '1', max_invocations '2');
INSERT INTO once (payload) VALUES ('1'), ('2'), ('1'), ('2'), ('1') RETURNING payload, response;
SELECT endpoint.made();
INSERT INTO once (payload) VALUES ('1'), ('2'), ('1'), ('2'), ('1');
\echo :ROW_COUNT
INSERT INTO once (payload) VALUES ('1');
SELECT endpoint.made();

-- ON CONFLICT: there are no conflicts.
INSERT INTO f (payload) VALUES ('1'), ('1') ON CONFLICT DO NOTHING;
INSERT INTO f (payload) VALUES ('1') ON CONFLICT DO NOTHING RETURNING status_code;
SELECT endpoint.made();
INSERT INTO f (payload) VALUES ('1') ON CONFLICT (payload) DO NOTHING;
INSERT INTO f (payload) VALUES ('1') ON CONFLICT (payload) DO UPDATE SET payload = '2';
-- Neither are there rows to change.
UPDATE f SET payload = '2' WHERE payload = '1';
DELETE FROM f WHERE payload = '1';
TRUNCATE f;
SELECT endpoint.made();

-- EXPLAIN does not invoke, EXPLAIN (ANALYZE) does, and waits for what it counts.
SELECT * FROM endpoint.explain($$INSERT INTO slow (payload) SELECT s FROM t$$);
SELECT * FROM endpoint.explain($$INSERT INTO slow (payload) SELECT s FROM t RETURNING status_code$$);
SELECT * FROM endpoint.explain($$INSERT INTO p (function_name, payload) SELECT 'echo', s FROM t$$);
SELECT * FROM endpoint.explain($$INSERT INTO checked (payload) SELECT s FROM t$$);
SELECT * FROM endpoint.explain($$INSERT INTO slow (payload) VALUES ((SELECT max(s) FROM t)), ('1') RETURNING status_code, payload$$, 'VERBOSE');
SELECT * FROM endpoint.explain($$INSERT INTO slow (payload) SELECT s FROM t RETURNING status_code$$, 'FORMAT JSON');
EXPLAIN INSERT INTO slow (payload) SELECT s FROM t RETURNING status_code;
SELECT endpoint.made();
SELECT * FROM endpoint.explain($$INSERT INTO slow (payload) SELECT s FROM t$$, 'ANALYZE');
SELECT * FROM endpoint.explain($$INSERT INTO slow (payload) SELECT s FROM t RETURNING status_code$$, 'ANALYZE');
SELECT * FROM endpoint.explain($$INSERT INTO slow (payload) SELECT s FROM t WHERE id > 5$$, 'ANALYZE');
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) INSERT INTO g (payload) SELECT '{"as": "handled"}';
SELECT endpoint.made();

-- Invocations are not undone.
BEGIN;
INSERT INTO f (payload) SELECT s FROM t WHERE id < 3;
ROLLBACK;
BEGIN;
SAVEPOINT s;
INSERT INTO g (payload) VALUES ('{"as": "handled"}');
ROLLBACK TO s;
INSERT INTO f (payload) VALUES ('4');
COMMIT;
DO $$
BEGIN
    BEGIN
        INSERT INTO g (payload) VALUES ('5'), ('{"as": "handled", "ms": 50}');
    EXCEPTION WHEN external_routine_exception THEN
        INSERT INTO f (payload) VALUES ('6');
    END;
END $$;
SELECT payload FROM endpoint.arrived();

-- Who may: a role needs the privilege to insert, and to select what it wants returned; its own keys count, or a view's owner's.
SET client_min_messages = warning;
CREATE ROLE regress_inserts_owner;
CREATE ROLE regress_inserts_user;
CREATE SERVER keyed FOREIGN DATA WRAPPER aws_lambda_fdw;
CREATE USER MAPPING FOR regress_inserts_user SERVER keyed OPTIONS (access_key_id 'AKIDEXAMPLE', secret_access_key 'wJalrXUtnFEMI+K7MDENG+bPxRfiCYEXAMPLEKEY');
CREATE USER MAPPING FOR regress_inserts_owner SERVER keyed OPTIONS (access_key_id 'AKIDOTHER', secret_access_key 'othersecret');
CREATE FOREIGN TABLE described (payload text, response jsonb) SERVER keyed OPTIONS (function_name 'describe', invocation_type 'RequestResponse');
CREATE TABLE keyed_parent (payload text, response jsonb) PARTITION BY LIST (payload);
CREATE FOREIGN TABLE keyed_part PARTITION OF keyed_parent DEFAULT SERVER keyed OPTIONS (function_name 'describe', invocation_type 'RequestResponse');
CREATE VIEW by_owner AS SELECT * FROM described;
CREATE VIEW by_owner_checked AS SELECT * FROM described WHERE response ->> 'access_key' = 'AKIDOTHER' WITH CHECK OPTION;
CREATE VIEW by_owner_parent AS SELECT * FROM keyed_parent;
CREATE FUNCTION by_definer() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = inserts, pg_temp AS
    $$ INSERT INTO described (payload) VALUES ('1') RETURNING response ->> 'access_key' $$;
GRANT USAGE ON SCHEMA inserts TO regress_inserts_user;
GRANT CREATE, USAGE ON SCHEMA inserts TO regress_inserts_owner;
GRANT ALL ON described, keyed_parent TO regress_inserts_owner;
ALTER VIEW by_owner OWNER TO regress_inserts_owner;
ALTER VIEW by_owner_checked OWNER TO regress_inserts_owner;
ALTER VIEW by_owner_parent OWNER TO regress_inserts_owner;
ALTER FUNCTION by_definer() OWNER TO regress_inserts_owner;
GRANT SELECT, INSERT ON by_owner, by_owner_checked, by_owner_parent TO regress_inserts_user;
RESET client_min_messages;
SET ROLE regress_inserts_user;
INSERT INTO described (payload) VALUES ('1');
INSERT INTO keyed_parent (payload) VALUES ('1');
RESET ROLE;
GRANT SELECT ON described TO regress_inserts_user;
SET ROLE regress_inserts_user;
INSERT INTO described (payload) VALUES ('1');
RESET ROLE;
REVOKE SELECT ON described FROM regress_inserts_user;
GRANT INSERT (payload) ON described TO regress_inserts_user;
GRANT INSERT, SELECT ON keyed_parent TO regress_inserts_user;
SET ROLE regress_inserts_user;
SELECT endpoint.made();
INSERT INTO described (payload) VALUES ('1');
INSERT INTO described (payload) VALUES ('2') RETURNING response;
INSERT INTO described (payload, response) VALUES ('3', NULL);
SELECT endpoint.made();
INSERT INTO keyed_parent (payload) VALUES ('4') RETURNING response ->> 'access_key' AS access_key;
INSERT INTO by_owner (payload) VALUES ('5'), ('6') RETURNING response ->> 'access_key' AS access_key;
INSERT INTO by_owner_checked (payload) VALUES ('7');
INSERT INTO by_owner_parent (payload) VALUES ('8') RETURNING response ->> 'access_key' AS access_key;
SELECT by_definer();
RESET ROLE;
GRANT SELECT ON described TO regress_inserts_user;
SET ROLE regress_inserts_user;
INSERT INTO described (payload) VALUES ('9') RETURNING response ->> 'access_key' AS access_key;
SELECT endpoint.made();
RESET ROLE;
-- Of a server whose owner is no superuser, a role without keys has none.
DROP USER MAPPING FOR regress_inserts_user SERVER keyed;
GRANT USAGE ON FOREIGN DATA WRAPPER aws_lambda_fdw TO regress_inserts_owner;
ALTER SERVER keyed OWNER TO regress_inserts_owner;
SET ROLE regress_inserts_user;
INSERT INTO described (payload) VALUES ('1');
INSERT INTO by_owner (payload) VALUES ('2');
SELECT endpoint.made();
RESET ROLE;

SET client_min_messages = warning;
DROP SCHEMA inserts CASCADE;
DROP SERVER keyed CASCADE;
REVOKE ALL ON FOREIGN DATA WRAPPER aws_lambda_fdw FROM regress_inserts_owner;
DROP ROLE regress_inserts_owner, regress_inserts_user;
