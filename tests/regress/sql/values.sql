-- Several values make several invocations, equal values one, contradictory clauses none.
SET client_min_messages = warning;
CREATE SCHEMA "values";
SET search_path = "values", public;
CREATE FOREIGN TABLE texts (function_name text, qualifier text, payload text, response text) SERVER aws_lambda;
CREATE FOREIGN TABLE fixed (function_name text, payload text, response text)
    SERVER aws_lambda OPTIONS (function_name 'echo', qualifier 'v1');
CREATE FOREIGN TABLE jsonbs (payload jsonb, response text) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FUNCTION sent() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    payloads text;
BEGIN
    SELECT string_agg(concat_ws('/', function, qualifier, payload), ' ') INTO payloads FROM endpoint.invocations();
    PERFORM endpoint.reset();
    RETURN payloads;
END $$;
RESET client_min_messages;
SELECT endpoint.reset();

-- A product: the payload varies fastest, each list keeps its order.
SELECT function_name, qualifier, payload FROM texts
WHERE payload IN ('2', '1') AND function_name IN ('echo', 'describe') AND qualifier IN ('b', 'a');
SELECT sent();

-- Equal values once: as text and jsonb understand equality
SELECT payload FROM texts WHERE function_name = 'echo' AND payload IN ('x', 'X', 'x', 'y', 'X');
SELECT payload, response FROM jsonbs WHERE payload IN ('1', '1.0', '{"a":1,"b":2}', '{"b": 2, "a": 1.00}', '"1"');
SELECT sent();

-- Intersections
SELECT payload FROM texts WHERE function_name = 'echo' AND payload IN ('a', 'b', 'c') AND payload IN ('c', 'b', 'd');
SELECT payload FROM texts WHERE function_name = 'echo' AND payload = 'a' AND payload IS NOT DISTINCT FROM 'a';
SELECT response FROM jsonbs WHERE payload = '1.0' AND payload IN ('1', '2');
-- Of equal values the list's is sent, however long the list is.
SELECT response FROM jsonbs WHERE payload = '1.0' AND payload IN ('1', '2', '3', '4');
SELECT response FROM jsonbs WHERE payload IN ('1', '2', '3', '4') AND payload = '1.0';
SELECT sent();

-- Contradictions
SELECT * FROM texts WHERE function_name = 'echo' AND payload = 'a' AND payload = 'b';
SELECT * FROM texts WHERE function_name = 'echo' AND payload = 'a' AND payload IS NULL;
SELECT * FROM texts WHERE function_name = 'echo' AND function_name = 'describe' AND payload = 'a';
SELECT * FROM texts WHERE function_name = 'echo' AND payload IN ('a', 'b') AND payload IN ('c', 'd');
SELECT sent();

-- A value that an option fixes: no clause talks the table into another.
SELECT * FROM fixed WHERE payload = 'x';
SELECT * FROM fixed WHERE payload = 'x' AND function_name = 'echo';
SELECT * FROM fixed WHERE payload = 'x' AND function_name IN ('describe', 'echo');
SELECT * FROM fixed WHERE payload = 'x' AND function_name = 'describe';
SELECT * FROM fixed WHERE payload = 'x' AND function_name IS NULL;
SELECT * FROM fixed WHERE payload = 'x' AND function_name IS NOT DISTINCT FROM NULL;
SELECT sent();

-- Through a view, too
CREATE VIEW bound AS SELECT payload, response FROM texts WHERE function_name = 'echo';
SELECT * FROM bound WHERE payload = 'through a view';
CREATE VIEW open AS SELECT * FROM texts WHERE function_name = 'echo' AND qualifier = 'v1';
SELECT * FROM open WHERE payload = 'x' AND function_name = 'describe';
SELECT * FROM open WHERE payload = 'x' AND qualifier = 'v1';
SELECT sent();

-- A long list, each value twice
SELECT count(*), count(DISTINCT response), min(length(response)) FROM texts
WHERE function_name = 'echo' AND payload = ANY (ARRAY(SELECT 'value ' || i % 300 FROM generate_series(1, 600) i));
SELECT endpoint.count();
SELECT endpoint.reset();

SET client_min_messages = warning;
DROP SCHEMA "values" CASCADE;
