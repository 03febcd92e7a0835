-- IMPORT FOREIGN SCHEMA: a foreign table for each function.

SELECT endpoint.reset();
CREATE SCHEMA app;
CREATE VIEW imported AS
    SELECT foreign_table_name AS name, options.option_value AS function,
        obj_description(format('app.%I', foreign_table_name)::regclass, 'pg_class') AS comment
    FROM information_schema.foreign_tables
    JOIN information_schema.foreign_table_options AS options USING (foreign_table_schema, foreign_table_name)
    WHERE foreign_table_schema = 'app' AND option_name = 'function_name'
    ORDER BY 1;
CREATE PROCEDURE drop_imported() LANGUAGE plpgsql AS $$
BEGIN
    DROP SCHEMA IF EXISTS app CASCADE;
    CREATE SCHEMA app;
END $$;

-- All functions. The first import of a session makes comments too.

IMPORT FOREIGN SCHEMA lambda FROM SERVER aws_lambda INTO app;
SELECT * FROM imported;
\d app.alpha
SELECT * FROM endpoint.questions();
SELECT endpoint.count();

-- The tables invoke

SELECT endpoint.reset();
CREATE FOREIGN TABLE app.other (function_name text, payload jsonb, response jsonb) SERVER aws_lambda;
SELECT response FROM app.other WHERE function_name = 'echo' AND payload = '1';
ALTER FOREIGN TABLE app.alpha OPTIONS (SET function_name 'echo');
SELECT response, status_code, error_code FROM app.alpha WHERE payload = '{"a": 1}';

-- LIMIT TO and EXCEPT, with names as PostgreSQL has them. A name that is no function's is a warning.

SET client_min_messages = warning;
CALL drop_imported();
IMPORT FOREIGN SCHEMA lambda LIMIT TO (alpha, "Gamma-1_x") FROM SERVER aws_lambda INTO app;
SELECT * FROM imported;
CALL drop_imported();
IMPORT FOREIGN SCHEMA lambda LIMIT TO (Alpha, Gamma, "no-function") FROM SERVER aws_lambda INTO app;
SELECT * FROM imported;
CALL drop_imported();
IMPORT FOREIGN SCHEMA lambda EXCEPT ("Gamma-1_x", nothing) FROM SERVER aws_lambda INTO app;
SELECT * FROM imported;

-- Options, which each table gets

CALL drop_imported();
IMPORT FOREIGN SCHEMA lambda LIMIT TO (alpha, beta) FROM SERVER aws_lambda INTO app OPTIONS (qualifier 'prod', on_error 'return');
SELECT foreign_table_name, option_name, option_value FROM information_schema.foreign_table_options
WHERE foreign_table_schema = 'app' ORDER BY 1, 2;

-- Names with more than 63 bytes are cut, as PostgreSQL does. Two functions never have one table.

RESET client_min_messages;
SELECT endpoint.functions_are('long');
SET client_min_messages = warning;
CALL drop_imported();
RESET client_min_messages;
IMPORT FOREIGN SCHEMA lambda FROM SERVER aws_lambda INTO app;
SELECT length(name), length(function) FROM imported ORDER BY 2;
SELECT endpoint.functions_are('long-and-equal');
SET client_min_messages = warning;
CALL drop_imported();
IMPORT FOREIGN SCHEMA lambda FROM SERVER aws_lambda INTO app;
IMPORT FOREIGN SCHEMA lambda EXCEPT (xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx) FROM SERVER aws_lambda INTO app;
SELECT * FROM imported;

-- A table that is there is an error, and nothing is left

CALL drop_imported();
SELECT endpoint.functions_are('few');
CREATE TABLE app.beta ();
IMPORT FOREIGN SCHEMA lambda FROM SERVER aws_lambda INTO app;
SELECT * FROM imported;

-- Pages

CALL drop_imported();
SELECT endpoint.functions_are('many-120');
IMPORT FOREIGN SCHEMA lambda FROM SERVER aws_lambda INTO app;
SELECT count(*), min(name), max(name) FROM imported;
SELECT operation, marker FROM endpoint.questions();
CALL drop_imported();
SELECT endpoint.functions_are('moving');
IMPORT FOREIGN SCHEMA lambda FROM SERVER aws_lambda INTO app;
SELECT * FROM imported;
CALL drop_imported();
SELECT endpoint.functions_are('empty-pages');
IMPORT FOREIGN SCHEMA lambda FROM SERVER aws_lambda INTO app;
SELECT * FROM imported;
CALL drop_imported();
SELECT endpoint.functions_are('none');
IMPORT FOREIGN SCHEMA lambda FROM SERVER aws_lambda INTO app;
SELECT * FROM imported;

-- Descriptions are comments, whatever is in them

CREATE TABLE app.kept ();
SELECT endpoint.functions_are('descriptions');
IMPORT FOREIGN SCHEMA lambda FROM SERVER aws_lambda INTO app;
SELECT name, left(comment, 40) AS comment, length(comment) FROM imported WHERE name <> 'letters';
SELECT comment IN ('Größe 数 🙂', 'Gr' || chr(246) || chr(223) || 'e ? ?') AS kept FROM imported WHERE name = 'letters';

-- A description is not left for a later import

CALL drop_imported();
SELECT endpoint.functions_are('few');
CREATE TABLE app.alpha ();
IMPORT FOREIGN SCHEMA lambda FROM SERVER aws_lambda INTO app;
DROP TABLE app.alpha;
CREATE FOREIGN TABLE app.alpha (payload jsonb) SERVER aws_lambda OPTIONS (function_name 'alpha');
SELECT * FROM imported;

-- In a function, which rolls back and imports again

CALL drop_imported();
DO $$
BEGIN
    BEGIN
        IMPORT FOREIGN SCHEMA lambda FROM SERVER aws_lambda INTO app;
        RAISE EXCEPTION 'no';
    EXCEPTION WHEN raise_exception THEN
        NULL;
    END;
    IMPORT FOREIGN SCHEMA lambda LIMIT TO (alpha) FROM SERVER aws_lambda INTO app;
END $$;
SELECT * FROM imported;
CALL drop_imported();

-- Other statements of the session are run as before. What an event trigger sees of the import is the tables.

CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$
BEGIN
    CREATE TABLE app.made ();
    COMMIT;
    EXECUTE 'CREATE FOREIGN TABLE app.foreign_made (payload jsonb) SERVER aws_lambda';
    ROLLBACK;
END $$;
CALL commits();
SELECT to_regclass('app.made'), to_regclass('app.foreign_made');
VACUUM app.made;
CREATE TABLE app.made ();
CREATE FUNCTION tell() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
    command record;
BEGIN
    FOR command IN SELECT * FROM pg_event_trigger_ddl_commands() ORDER BY object_identity COLLATE "C" LOOP
        RAISE WARNING '% %: %', command.command_tag, command.object_identity, obj_description(command.objid, 'pg_class');
    END LOOP;
END $$;
CREATE EVENT TRIGGER tell ON ddl_command_end WHEN tag IN ('IMPORT FOREIGN SCHEMA', 'CREATE FOREIGN TABLE') EXECUTE FUNCTION tell();
IMPORT FOREIGN SCHEMA lambda LIMIT TO (alpha, beta) FROM SERVER aws_lambda INTO app;
DROP EVENT TRIGGER tell;
DROP FUNCTION tell;
DROP PROCEDURE commits;
CALL drop_imported();

-- Mistakes

CREATE FUNCTION mistake(schema text, rest text) RETURNS endpoint.error LANGUAGE sql AS $$
    SELECT endpoint.error_of(format('IMPORT FOREIGN SCHEMA %s FROM SERVER aws_lambda INTO app %s', schema, rest))
$$;
SELECT e.* FROM (VALUES ('public', ''), ('"Lambda"', ''),
    ('lambda', 'OPTIONS (qualifer ''prod'')'),
    ('lambda', 'OPTIONS (function_name ''f'')'),
    ('lambda', 'OPTIONS (zzz ''f'')'),
    ('lambda', 'OPTIONS (on_error ''ignore'')'),
    ('lambda', 'OPTIONS (qualifier ''a'', qualifier ''b'')'),
    ('lambda', 'OPTIONS (qualifier ''a b'')')) AS v (schema, rest),
    LATERAL mistake(v.schema, v.rest) AS e;
SELECT * FROM endpoint.error_of($$CREATE FOREIGN TABLE app.t (payload jsonb) SERVER aws_lambda OPTIONS (qualifer 'prod')$$);

-- What is not Lambda's. Nothing is made.

CREATE TABLE app.kept ();
CREATE FUNCTION error_with(functions text) RETURNS endpoint.error LANGUAGE plpgsql AS $$
BEGIN
    PERFORM endpoint.functions_are(functions);
    RETURN endpoint.error_of('IMPORT FOREIGN SCHEMA lambda FROM SERVER aws_lambda INTO app');
END $$;
SELECT f, e.sqlstate, e.message, left(e.detail, 200) AS detail, e.hint FROM unnest(ARRAY[
    'name-quote', 'name-literal', 'name-zero', 'name-nothing', 'name-dots', 'name-slash', 'name-arn', 'name-long', 'name-letters',
    'body-empty', 'body-null', 'body-html', 'body-invalid-utf8', 'body-surrogate', 'body-type', 'body-overflow', 'body-deep',
    'body-marker', 'body-huge', 'circle-1', 'circle-7', 'error-403-AccessDeniedException', 'error-404-ResourceNotFoundException',
    'wrong-body-404'
]) AS f, LATERAL error_with(f) AS e;
SELECT * FROM imported;
SELECT 'app.kept'::regclass;

-- A list runs nothing, so it is asked for again also after a failure that an invocation may have survived

CREATE FUNCTION imported_with(functions text, OUT tables int, OUT lists int) LANGUAGE plpgsql AS $$
BEGIN
    SET LOCAL client_min_messages = warning;
    CALL drop_imported();
    PERFORM endpoint.functions_are(functions);
    IMPORT FOREIGN SCHEMA lambda FROM SERVER aws_lambda INTO app;
    tables := (SELECT count(*) FROM imported);
    lists := endpoint.counter('lists');
END $$;
SELECT * FROM imported_with('first-1-reset');
SELECT * FROM imported_with('first-2-throttle');
SELECT * FROM imported_with('first-1-fail');
SET aws_lambda.request_timeout_ms = 1000;
SELECT * FROM imported_with('first-1-hang');
SET aws_lambda.max_retries = 0;
SELECT f, e.* FROM unnest(ARRAY['first-1-reset', 'first-1-throttle', 'first-1-fail', 'hang']) AS f, LATERAL error_with(f) AS e;
RESET aws_lambda.max_retries;
RESET aws_lambda.request_timeout_ms;

-- The limit of invocations is no limit here

SET aws_lambda.max_invocations = 1;
SELECT * FROM imported_with('many-120');
RESET aws_lambda.max_invocations;

-- In the region, and with the time-outs, of the server

CREATE SERVER elsewhere FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (region 'eu-west-1', request_timeout_ms '300', max_retries '0');
CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (access_key_id 'AKIDOTHER', secret_access_key 'othersecret');
CREATE SCHEMA elsewhere;
SELECT endpoint.reset();
IMPORT FOREIGN SCHEMA lambda FROM SERVER elsewhere INTO elsewhere;
SELECT foreign_server_name, count(*) FROM information_schema.foreign_tables WHERE foreign_table_schema = 'elsewhere' GROUP BY 1;
SELECT operation, region FROM endpoint.questions();
SELECT endpoint.functions_are('hang');
SELECT message, detail FROM endpoint.error_of('IMPORT FOREIGN SCHEMA lambda FROM SERVER elsewhere INTO elsewhere');

-- Who may

CREATE ROLE importer;
SET ROLE importer;
IMPORT FOREIGN SCHEMA lambda FROM SERVER elsewhere INTO elsewhere;
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER elsewhere TO importer;
SET ROLE importer;
IMPORT FOREIGN SCHEMA lambda FROM SERVER elsewhere INTO elsewhere;
RESET ROLE;
CREATE SCHEMA of_importer AUTHORIZATION importer;
SELECT endpoint.reset();
SET ROLE importer;
IMPORT FOREIGN SCHEMA lambda LIMIT TO (alpha) FROM SERVER elsewhere INTO of_importer;
RESET ROLE;
SELECT relowner::regrole, obj_description(oid, 'pg_class') FROM pg_class WHERE oid = 'of_importer.alpha'::regclass;
SET client_min_messages = warning;
DROP SCHEMA of_importer CASCADE;
DROP SCHEMA elsewhere CASCADE;
DROP SERVER elsewhere CASCADE;
DROP ROLE importer;

SET client_min_messages = warning;
DROP SCHEMA app CASCADE;
DROP VIEW imported;
DROP PROCEDURE drop_imported;
DROP FUNCTION mistake, error_with, imported_with;
