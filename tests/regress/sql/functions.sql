-- A foreign table whose rows are functions: all of them, or those that clauses and joins name.

SELECT endpoint.reset();
SET aws_lambda.region = 'us-west-2';
SET datestyle = 'ISO';

-- All

SELECT function_name, region, qualifier, function_arn, description, runtime, handler FROM aws_lambda.functions;
SELECT function_name, qualifier FROM aws_lambda.functions WHERE qualifier IS NULL;
SELECT function_name, version, package_type, architecture, memory_size, timeout, code_size, last_modified AT TIME ZONE 'UTC' AS last_modified
FROM aws_lambda.functions;
SELECT * FROM endpoint.questions();
SELECT endpoint.count();

-- The state, which Lambda leaves out of a list

SELECT endpoint.reset();
SELECT function_name, state FROM aws_lambda.functions;
SELECT function_name FROM aws_lambda.functions WHERE state = 'Active' LIMIT 1;
SELECT operation, function FROM endpoint.questions() ORDER BY 1, 2;

-- One

SELECT endpoint.reset();
SELECT function_name, qualifier, version, state FROM aws_lambda.functions WHERE function_name = 'alpha';
SELECT function_name, qualifier, version, state FROM aws_lambda.functions WHERE function_name = 'alpha' AND qualifier = 'prod';
SELECT function_name, region, function_arn FROM aws_lambda.functions WHERE function_name = 'alpha' AND region = 'eu-west-1';
SELECT * FROM endpoint.questions();

-- None: no such function or version, or no name of a function at all

SELECT endpoint.reset();
SELECT count(*) FROM aws_lambda.functions WHERE function_name = 'omega';
SELECT count(*) FROM aws_lambda.functions WHERE function_name = 'alpha' AND qualifier = 'other';
SELECT count(*) FROM aws_lambda.functions WHERE function_name IN ('a b', '', '..', 'arn:aws:lambda:us-west-2:123456789012:function:alpha', 'alpha:prod', repeat('x', 65));
SELECT count(*) FROM aws_lambda.functions WHERE function_name = NULL;
SELECT count(*) FROM aws_lambda.functions WHERE function_name = ANY ('{}');
SELECT count(*) FROM aws_lambda.functions WHERE function_name = 'alpha' AND function_name = 'beta';
SELECT * FROM endpoint.questions();

-- Some

SELECT endpoint.reset();
SELECT function_name, version FROM aws_lambda.functions WHERE function_name IN ('beta', 'omega', 'alpha', 'beta');
SELECT function_name, version FROM aws_lambda.functions WHERE function_name = 'alpha' OR function_name = 'Gamma-1_x';
SELECT function_name, region FROM aws_lambda.functions WHERE function_name = 'alpha' AND region IN ('eu-west-1', 'us-east-1');
SELECT * FROM endpoint.questions() ORDER BY function, region;

-- Other conditions filter the list

SELECT endpoint.reset();
SELECT function_name FROM aws_lambda.functions WHERE function_name LIKE '%a' AND memory_size < 1000 ORDER BY function_name DESC;
SELECT function_name FROM aws_lambda.functions WHERE function_name <> 'alpha';
SELECT function_name FROM aws_lambda.functions WHERE lower(function_name) = 'gamma-1_x';
SELECT function_name FROM aws_lambda.functions WHERE function_name IS NULL;
SELECT function_name FROM aws_lambda.functions WHERE runtime IS NULL;
SELECT function_name, region FROM aws_lambda.functions WHERE region IN ('eu-west-1', 'us-east-1') AND description = 'the first';
SELECT operation, function, region, count(*) FROM endpoint.questions() GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- Pages, as far as rows are asked for

SELECT endpoint.functions_are('many-120');
SELECT count(*), min(function_name), max(function_name) FROM aws_lambda.functions;
SELECT operation, marker FROM endpoint.questions();
SELECT endpoint.functions_are('many-120');
SELECT function_name FROM aws_lambda.functions LIMIT 2;
SELECT operation, marker FROM endpoint.questions();
SELECT endpoint.functions_are('many-120');
SELECT function_name FROM aws_lambda.functions OFFSET 50 LIMIT 1;
SELECT operation, marker FROM endpoint.questions();
SELECT endpoint.functions_are('many-120');
BEGIN;
DECLARE c CURSOR FOR SELECT function_name FROM aws_lambda.functions;
FETCH 2 FROM c;
SELECT operation, marker FROM endpoint.questions();
MOVE 48 FROM c;
SELECT operation, marker FROM endpoint.questions();
FETCH 1 FROM c;
SELECT operation, marker FROM endpoint.questions();
COMMIT;
SELECT endpoint.functions_are('empty-pages');
SELECT function_name FROM aws_lambda.functions;
SELECT endpoint.functions_are('none');
SELECT function_name FROM aws_lambda.functions;

-- Joins

SELECT endpoint.reset();
CREATE TABLE names (name text, note text);
INSERT INTO names VALUES ('beta', 'two'), ('omega', 'none'), ('alpha', 'one'), (NULL, 'null'), ('beta', 'again');
SELECT n.note, f.function_name, f.state FROM names n JOIN aws_lambda.functions f ON f.function_name = n.name ORDER BY n.note;
SELECT n.note, f.function_name, f.state FROM names n LEFT JOIN aws_lambda.functions f ON f.function_name = n.name ORDER BY n.note;
SELECT n.note, f.version FROM names n, LATERAL (SELECT * FROM aws_lambda.functions f WHERE f.function_name = n.name AND f.qualifier = 'prod') f;
SELECT operation, function, qualifier, count(*) FROM endpoint.questions() GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
-- Few names are asked for by themselves, and more of them are looked up in the list
ANALYZE names;
SELECT endpoint.reset();
SELECT n.note, f.function_name FROM names n JOIN aws_lambda.functions f ON f.function_name = n.name WHERE n.note IN ('one', 'none');
SELECT function FROM endpoint.questions() ORDER BY 1;
-- Which side of the filter comes first differs between versions.
SELECT * FROM endpoint.explain($$SELECT n.note, f.function_name FROM names n JOIN aws_lambda.functions f ON f.function_name = n.name WHERE n.note IN ('one', 'none')$$) WHERE "QUERY PLAN" !~ 'Filter: .*function_name';
SELECT endpoint.reset();
SELECT n.note, f.function_name FROM names n JOIN aws_lambda.functions f ON f.function_name = n.name ORDER BY 1;
SELECT operation FROM endpoint.questions() GROUP BY 1;
-- What is not there has no name, so all are listed.
SELECT endpoint.reset();
SELECT f.function_name FROM aws_lambda.functions f WHERE NOT EXISTS (SELECT FROM names n WHERE n.name = f.function_name);
SELECT n.name, f.function_name FROM names n FULL JOIN aws_lambda.functions f ON f.function_name = n.name ORDER BY 1, 2;
SELECT n.name, f.function_name FROM aws_lambda.functions f LEFT JOIN names n ON f.function_name = n.name ORDER BY 2, 1;
SELECT f.function_name, f.function_name IN (SELECT name FROM names WHERE name IS NOT NULL) AS is_known FROM aws_lambda.functions f;
SELECT operation, count(*) FROM endpoint.questions() GROUP BY 1;
SELECT f.function_name FROM aws_lambda.functions f WHERE f.function_name IN (SELECT name FROM names);
SELECT f.function_name FROM aws_lambda.functions f WHERE EXISTS (SELECT FROM names n WHERE n.name = f.function_name AND n.note <> 'again');
-- Functions that are invoked, each once
SELECT endpoint.reset();
CREATE FOREIGN TABLE invocations (function_name text, payload jsonb, response jsonb, error_code text, error_message text)
    SERVER aws_lambda OPTIONS (on_error 'return');
SELECT f.function_name, l.error_code FROM aws_lambda.functions f JOIN invocations l ON l.function_name = f.function_name AND l.payload = '1';
SELECT endpoint.count();

-- A rescan gives the same rows, and invokes no function twice

SELECT endpoint.reset();
SET enable_material = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SELECT n.note, f.function_name FROM names n CROSS JOIN aws_lambda.functions f WHERE n.note < 'o' AND f.memory_size > 1 ORDER BY 1, 2;
SELECT operation, count(*) FROM endpoint.questions() GROUP BY 1;
SELECT n.note, (SELECT count(*) FROM aws_lambda.functions f WHERE f.timeout < length(n.note) * 10) FROM names n ORDER BY 1;
SELECT operation, count(*) FROM endpoint.questions() GROUP BY 1;
RESET enable_material;
RESET enable_hashjoin;
RESET enable_mergejoin;

-- EXPLAIN asks nothing. EXPLAIN ANALYZE counts requests.

SELECT endpoint.reset();
SELECT * FROM endpoint.explain('SELECT function_name FROM aws_lambda.functions WHERE memory_size > 1');
SELECT * FROM endpoint.explain('SELECT function_name FROM aws_lambda.functions WHERE function_name IN (''alpha'', ''beta'')');
SELECT * FROM endpoint.explain('SELECT * FROM names n JOIN aws_lambda.functions f ON f.function_name = n.name', 'VERBOSE') WHERE "QUERY PLAN" !~ 'Filter: .*function_name';
SELECT endpoint.counter('lists') + endpoint.counter('configurations') AS asked;
SELECT regexp_replace("QUERY PLAN", '(Received|Flight): \d+', '\1: N', 'g') FROM endpoint.explain('SELECT function_name FROM aws_lambda.functions', 'ANALYZE');
SELECT regexp_replace("QUERY PLAN", '(Received|Flight): \d+', '\1: N', 'g')
FROM endpoint.explain('SELECT function_name FROM aws_lambda.functions WHERE function_name IN (''alpha'', ''omega'')', 'ANALYZE');

-- They are no invocations

SET aws_lambda.max_invocations = 1;
SELECT count(*) FROM aws_lambda.functions WHERE function_name IN ('alpha', 'beta', 'Gamma-1_x');
SELECT count(*) FROM aws_lambda.functions f JOIN invocations l ON l.function_name = 'echo' AND l.payload = '1';
RESET aws_lambda.max_invocations;

-- Tables of one's own

CREATE FOREIGN TABLE elsewhere (function_name varchar, state text, code_size bigint) SERVER aws_lambda OPTIONS (object 'functions', region 'eu-west-1');
SELECT endpoint.reset();
SELECT * FROM elsewhere;
SELECT * FROM elsewhere WHERE function_name = 'alpha';
SELECT operation, region FROM endpoint.questions();
CREATE FOREIGN TABLE unknown_column (function_name text, payload jsonb) SERVER aws_lambda OPTIONS (object 'functions');
SELECT * FROM unknown_column;
CREATE FOREIGN TABLE wrong_type (function_name text, memory_size text) SERVER aws_lambda OPTIONS (object 'functions');
SELECT * FROM wrong_type;

-- Options that are about invocations, and other mistakes

SELECT e.* FROM unnest(ARRAY[
    'object ''nothing''', 'object ''functions'', function_name ''f''', 'object ''functions'', on_error ''return''', 'object ''functions'', max_invocations ''1''',
    'object ''functions'', payload ''1'''
]) AS options, LATERAL endpoint.error_of(format('CREATE FOREIGN TABLE t () SERVER aws_lambda OPTIONS (%s)', options)) AS e;
ALTER FOREIGN TABLE elsewhere OPTIONS (ADD on_error 'return');
SELECT * FROM aws_lambda.functions WHERE qualifier = 'prod';
SELECT * FROM aws_lambda.functions WHERE region <> 'us-east-1';
SELECT * FROM aws_lambda.functions WHERE region = 'nowhere';
SELECT * FROM aws_lambda.functions WHERE function_name = 'alpha' AND qualifier = 'a b';
INSERT INTO aws_lambda.functions (function_name) VALUES ('f');
INSERT INTO aws_lambda.functions (function_name) VALUES ('f') RETURNING *;
UPDATE aws_lambda.functions SET memory_size = 1;
DELETE FROM aws_lambda.functions;
COPY aws_lambda.functions (function_name) FROM stdin;
\.
SELECT is_insertable_into FROM information_schema.tables WHERE table_schema = 'aws_lambda' AND table_name = 'functions';

-- What is not Lambda's, and what Lambda refuses

CREATE FUNCTION error_with(functions text, clause text DEFAULT 'true') RETURNS endpoint.error LANGUAGE plpgsql AS $$
BEGIN
    PERFORM endpoint.functions_are(functions);
    RETURN endpoint.error_of('SELECT * FROM aws_lambda.functions WHERE ' || clause);
END $$;
SET aws_lambda.max_retries = 0;
SELECT f, e.sqlstate, e.message, left(e.detail, 170) AS detail, e.hint FROM unnest(ARRAY[
    'body-empty', 'body-null', 'body-html', 'body-invalid-utf8', 'body-type', 'body-overflow', 'body-date', 'body-deep', 'body-marker', 'body-huge',
    'circle-1', 'circle-7', 'error-403-AccessDeniedException', 'wrong-body-404', 'error-500-ServiceException'
]) AS f, LATERAL error_with(f) AS e;
SELECT f, e.sqlstate, e.message, left(e.detail, 170) AS detail, e.hint FROM unnest(ARRAY[
    'body-empty', 'body-html', 'body-invalid-utf8', 'body-type', 'body-huge', 'error-403-AccessDeniedException', 'error-404-ResourceNotFoundException',
    'wrong-body-404', 'error-429-TooManyRequestsException'
]) AS f, LATERAL error_with(f, 'function_name = ''f''') AS e;
RESET aws_lambda.max_retries;
-- Names of any kind are texts.
SELECT endpoint.functions_are('name-quote');
SELECT function_name FROM aws_lambda.functions;
SELECT endpoint.functions_are('name-zero');
SELECT function_name FROM aws_lambda.functions;
SELECT endpoint.functions_are('descriptions');
SELECT function_name, left(description, 40) AS description FROM aws_lambda.functions WHERE function_name NOT IN ('letters', 'lines');

-- A server's batches are of invocations.

CREATE SERVER batches FOREIGN DATA WRAPPER aws_lambda_fdw OPTIONS (batch_rows '100');
CREATE FOREIGN TABLE unbatched (function_name text, timeout int) SERVER batches OPTIONS (object 'functions');
EXPLAIN (COSTS OFF) SELECT timeout FROM (VALUES ('a'), ('b')) v(x) LEFT JOIN unbatched ON function_name = x;
DROP SERVER batches CASCADE;

-- Who may

CREATE ROLE asker;
SET ROLE asker;
SELECT * FROM aws_lambda.functions;
RESET ROLE;
DROP ROLE asker;

DROP FUNCTION error_with;
DROP FOREIGN TABLE invocations, elsewhere, unknown_column, wrong_type;
DROP TABLE names;
