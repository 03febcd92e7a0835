-- max_invocations: an error before a statement makes more, and before the first if the number is known.
SET client_min_messages = warning;
CREATE SCHEMA max_invocations;
SET search_path = max_invocations, public;
CREATE FOREIGN TABLE f (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE d (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'echo', deduplicate 'true');
CREATE FOREIGN TABLE throttled (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'throttle-3');
CREATE FOREIGN TABLE returning_errors (function_name text, payload text, response text, error_code text)
    SERVER aws_lambda OPTIONS (on_error 'return');
-- Six rows with three values
CREATE TABLE t AS SELECT i AS id, 'v' || i % 3 AS s FROM generate_series(1, 6) i;
ANALYZE t;
CREATE FUNCTION asked(s text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT response FROM f WHERE payload = s);
END $$;
RESET client_min_messages;
SELECT endpoint.reset();
SET aws_lambda.max_invocations = 3;

-- A list: as many as there may be, or none
SELECT response FROM f WHERE payload IN ('a', 'b', 'c');
SELECT endpoint.made();
SELECT response FROM f WHERE payload IN ('a', 'b', 'c', 'd');
SELECT endpoint.made();
SELECT sqlstate FROM endpoint.error_of($$SELECT response FROM f WHERE payload IN ('a', 'b', 'c', 'd')$$);
SELECT sqlstate FROM endpoint.error_of($$SELECT count(*) FROM f WHERE payload = ANY (ARRAY(SELECT s || id FROM t))$$);
SELECT sqlstate FROM endpoint.error_of($$SELECT response FROM f WHERE payload IN ('a', 'b', 'c', 'd') ORDER BY 1 LIMIT 1$$);
SELECT sqlstate FROM endpoint.error_of($$SELECT count(*) FROM aws_lambda.lambda_invocations WHERE function_name IN ('echo', 'count') AND payload IN ('1', '2')$$);
SELECT sqlstate FROM endpoint.error_of($$CREATE TABLE kept AS SELECT response FROM f WHERE payload IN ('a', 'b', 'c', 'd')$$);
SELECT sqlstate FROM endpoint.error_of($$EXPLAIN ANALYZE SELECT response FROM f WHERE payload IN ('a', 'b', 'c', 'd')$$);
SELECT endpoint.made();
-- NULLs and duplicates do not count. EXPLAIN invokes nothing.
SELECT response FROM f WHERE payload = ANY ('{a,a,b,NULL,c,c}');
SELECT endpoint.made();
SELECT response FROM f WHERE payload = ANY ('{}');
SELECT sqlstate FROM endpoint.error_of($$EXPLAIN SELECT response FROM f WHERE payload IN ('a', 'b', 'c', 'd')$$);
SELECT endpoint.made();

-- A longer list of which no more are needed
SELECT response FROM f WHERE payload IN ('a', 'b', 'c', 'd', 'e') LIMIT 3;
SELECT endpoint.made();
SELECT response FROM f WHERE payload IN ('a', 'b', 'c', 'd', 'e') LIMIT 2 OFFSET 1;
SELECT endpoint.made();
SELECT response FROM f WHERE payload IN ('a', 'b', 'c', 'd', 'e') AND response <> 'a' LIMIT 2;
SELECT endpoint.made();
SELECT response FROM f WHERE payload IN ('a', 'b', 'c', 'd', 'e') LIMIT 0;
SELECT endpoint.made();
SELECT EXISTS (SELECT FROM f WHERE payload IN ('a', 'b', 'c', 'd', 'e') AND response = 'b');
SELECT endpoint.made() BETWEEN 2 AND 3 AS two_or_three;
BEGIN;
DECLARE c CURSOR FOR SELECT response FROM f WHERE payload IN ('a', 'b', 'c', 'd', 'e');
FETCH 3 FROM c;
SELECT endpoint.made();
FETCH 1 FROM c;
ROLLBACK;
SELECT endpoint.made();
SELECT sqlstate FROM endpoint.error_of($$SELECT response FROM f WHERE payload IN ('a', 'b', 'c', 'd', 'e') AND response > 'b' LIMIT 2$$);
SELECT endpoint.made();

-- A join: the error comes with the row that is too much.
SELECT id, response FROM t JOIN f ON payload = s WHERE id < 4;
SELECT endpoint.made();
SELECT id, response FROM t JOIN f ON payload = s LIMIT 3;
SELECT endpoint.made();
SELECT id, response FROM t JOIN f ON payload = s;
SELECT endpoint.made();
BEGIN;
DECLARE c CURSOR FOR SELECT id, response FROM t JOIN f ON payload = s;
FETCH 3 FROM c;
FETCH 1 FROM c;
ROLLBACK;
SELECT endpoint.made();
SELECT id, response FROM t LEFT JOIN f ON payload = s AND id < 4 ORDER BY id;
SELECT endpoint.made();

-- Rescans count what they invoke, and not what they read again.
SET enable_material = off;
SELECT count(*) FROM t LEFT JOIN f ON payload IN ('x', 'y', 'z') AND length(response) < id;
SELECT endpoint.made();
RESET enable_material;
SELECT sqlstate FROM endpoint.error_of($$SELECT count(*) FROM t, LATERAL (SELECT * FROM f WHERE payload = s OFFSET 0) l$$);
SELECT endpoint.made();
SELECT sqlstate FROM endpoint.error_of($$SELECT id, (SELECT response FROM f WHERE payload = s) FROM t$$);
SELECT endpoint.made();

-- All scans of the statement count together.
SELECT a.response, b.response FROM f a, f b WHERE a.payload = 'a' AND b.payload IN ('b', 'c');
SELECT endpoint.made();
SELECT sqlstate FROM endpoint.error_of($$SELECT * FROM f a, f b WHERE a.payload IN ('a', 'b') AND b.payload IN ('c', 'd')$$);
SELECT endpoint.made() <= 3 AS at_most_three;
SELECT sqlstate FROM endpoint.error_of($$SELECT response FROM f WHERE payload IN ('a', 'b') UNION ALL SELECT response FROM f WHERE payload IN ('c', 'd')$$);
SELECT endpoint.made() <= 3 AS at_most_three;
SELECT sqlstate FROM endpoint.error_of($$SELECT response FROM f WHERE payload IN ('a', 'b') AND response <> (SELECT min(response) FROM f WHERE payload IN ('c', 'd'))$$);
SELECT endpoint.made() <= 3 AS at_most_three;

-- So do those that functions make, which the statement calls: in a select list, in FROM, in a trigger, and where the error is caught
SELECT (aws_lambda.invoke('echo', to_json(id))).status_code FROM t WHERE id < 4;
SELECT endpoint.made();
SELECT aws_lambda.invoke('echo', to_json(id)) FROM t;
SELECT endpoint.made();
SELECT payload FROM t, aws_lambda.invoke('echo', to_json(id));
SELECT endpoint.made();
SELECT sqlstate FROM endpoint.error_of($$SELECT asked(s) FROM t$$);
SELECT endpoint.made();
SELECT sqlstate FROM endpoint.error_of($$SELECT asked(response) FROM f WHERE payload IN ('a', 'b')$$);
SELECT endpoint.made() <= 3 AS at_most_three;
CREATE FUNCTION asked_until_refused(times int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answers text := '';
BEGIN
    FOR i IN 1..times LOOP
        BEGIN
            answers := answers || asked(i::text);
        EXCEPTION WHEN configuration_limit_exceeded THEN
            answers := answers || '!';
        END;
    END LOOP;
    RETURN answers;
END $$;
SELECT asked_until_refused(5);
SELECT endpoint.made();
CREATE TABLE log (s text, answer text);
CREATE FUNCTION ask() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.answer := asked(NEW.s);
    RETURN NEW;
END $$;
CREATE TRIGGER ask BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION ask();
INSERT INTO log SELECT s FROM t WHERE id < 4;
SELECT endpoint.made();
SELECT sqlstate FROM endpoint.error_of($$INSERT INTO log SELECT s FROM t$$);
SELECT endpoint.made();

-- The next statement begins again, that of a DO too.
DO $$
BEGIN
    FOR i IN 1..5 LOOP
        PERFORM asked(i::text);
    END LOOP;
END $$;
SELECT endpoint.made();

-- One for all that are equal, with deduplicate
SELECT id, response FROM t JOIN d ON payload = s;
SELECT endpoint.made();
SELECT sqlstate FROM endpoint.error_of($$SELECT id, response FROM t JOIN d ON payload = s || id % 4$$);
SELECT endpoint.made();

-- Retries do not count: three values take six attempts.
SELECT count(*) FROM throttled WHERE payload IN ('a', 'b', 'c');
SELECT endpoint.made();
-- Those that fail do; what is no invocation does not.
SELECT sqlstate FROM endpoint.error_of($$SELECT error_code FROM t JOIN returning_errors ON payload = s AND function_name = 'unhandled'$$);
SELECT endpoint.made();
SELECT n, error_code FROM (VALUES ('a b'), ('echo'), ('c d'), ('unhandled'), ('e f'), ('count')) AS v (n) JOIN returning_errors ON payload = '1' AND function_name = n;
SELECT endpoint.made();

-- Table, then server, then setting; 0 is no limit for any of them
ALTER SERVER aws_lambda OPTIONS (ADD max_invocations '2');
SELECT sqlstate FROM endpoint.error_of($$SELECT response FROM f WHERE payload IN ('a', 'b', 'c')$$);
SELECT response FROM f WHERE payload IN ('a', 'b');
SELECT sqlstate FROM endpoint.error_of($$SELECT aws_lambda.invoke('echo', to_json(id)) FROM t$$);
-- 2 and 2
SELECT endpoint.made();
ALTER FOREIGN TABLE f OPTIONS (ADD max_invocations '4');
SELECT count(*) FROM f WHERE payload IN ('a', 'b', 'c', 'd');
SELECT sqlstate FROM endpoint.error_of($$SELECT response FROM f WHERE payload IN ('a', 'b', 'c', 'd', 'e')$$);
SELECT endpoint.made();
ALTER FOREIGN TABLE f OPTIONS (SET max_invocations '0');
SELECT count(*) FROM f WHERE payload IN ('a', 'b', 'c', 'd', 'e');
SELECT endpoint.made();
ALTER FOREIGN TABLE f OPTIONS (DROP max_invocations);
ALTER SERVER aws_lambda OPTIONS (SET max_invocations '0');
SELECT count(*) FROM f WHERE payload IN ('a', 'b', 'c', 'd', 'e');
SELECT endpoint.made();
ALTER SERVER aws_lambda OPTIONS (DROP max_invocations);
SELECT sqlstate FROM endpoint.error_of($$SELECT response FROM f WHERE payload IN ('a', 'b', 'c', 'd', 'e')$$);
SET aws_lambda.max_invocations = 0;
SELECT count(*) FROM f WHERE payload IN ('a', 'b', 'c', 'd', 'e');
SELECT endpoint.made();
RESET aws_lambda.max_invocations;
-- The limit of each table is compared with what all of the statement has made.
ALTER FOREIGN TABLE f OPTIONS (ADD max_invocations '3');
SELECT a.response, b.response FROM d a, f b WHERE a.payload IN ('a', 'b') AND b.payload = 'c';
SELECT sqlstate FROM endpoint.error_of($$SELECT * FROM d a JOIN f b ON b.payload = a.response WHERE a.payload IN ('a', 'b')$$);
-- 3, and 2 and 1
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA max_invocations CASCADE;
