-- A function that ran and reported an error.

SELECT endpoint.reset();
SELECT * FROM aws_lambda.invoke('handled', '{}'::json);
SELECT * FROM aws_lambda.invoke('unhandled', '{}'::jsonb);
SELECT * FROM aws_lambda.invoke('unhandled-empty', '{}'::json);
SELECT * FROM aws_lambda.invoke('unhandled-text', '{}'::json);
SELECT * FROM aws_lambda.invoke('unhandled:v1', '{}'::json);
SELECT * FROM aws_lambda.invoke('unhandled', '{}'::json, qualifier => 'v1');
SELECT * FROM aws_lambda.invoke('123456789012:function:unhandled:v1', '{}'::json);
SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'unhandled' AND payload = '{}';

-- Whatever of it is read
SELECT function_name FROM aws_lambda.lambda_invocations WHERE function_name = 'unhandled' AND payload = '{}';
SELECT count(*) FROM aws_lambda.lambda_invocations WHERE function_name = 'handled' AND payload = '{}';

-- Each ran once
SELECT function, qualifier, count(*) FROM endpoint.invocations() GROUP BY 1, 2 ORDER BY 1, 2;

-- An event has no result, so no error either
SELECT * FROM aws_lambda.invoke('unhandled', '{}'::json, invocation_type => 'Event');

-- Caught by its SQLSTATE
SELECT sqlstate, message, detail, hint FROM endpoint.error_of($$ SELECT aws_lambda.invoke('unhandled', '{}'::json) $$) \gx
DO $$
DECLARE
    shown text;
BEGIN
    PERFORM aws_lambda.invoke('unhandled', '{}'::json);
EXCEPTION
    WHEN SQLSTATE '38000' THEN
        GET STACKED DIAGNOSTICS shown = PG_EXCEPTION_DETAIL;
        RAISE NOTICE 'by code: %', shown;
END $$;
DO $$
BEGIN
    PERFORM aws_lambda.invoke('handled', '{}'::jsonb);
EXCEPTION
    WHEN external_routine_exception THEN
        RAISE NOTICE 'by name: %', SQLERRM;
END $$;

-- The transaction is rolled back, and the session still works
CREATE TABLE done (n int);
DO $$
BEGIN
    INSERT INTO done VALUES (1);
    BEGIN
        INSERT INTO done VALUES (2);
        PERFORM aws_lambda.invoke('unhandled', '{}'::json);
    EXCEPTION WHEN SQLSTATE '38000' THEN
        INSERT INTO done SELECT payload::text::int FROM aws_lambda.invoke('echo', '3'::json);
    END;
END $$;
SELECT n FROM done ORDER BY n;
BEGIN;
INSERT INTO done VALUES (4);
SELECT aws_lambda.invoke('unhandled', '{}'::json);
COMMIT;
SELECT n FROM done ORDER BY n;
DROP TABLE done;
