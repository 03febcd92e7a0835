-- The clauses that give an input column its values, and the requests for each.
SET client_min_messages = warning;
CREATE SCHEMA clauses;
SET search_path = clauses, public;
CREATE FOREIGN TABLE texts (payload text, response text, status_code int)
    SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE jsonbs (payload jsonb, response jsonb)
    SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE jsons (payload json, response json)
    SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE varchars (payload varchar(20), response varchar)
    SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE TABLE t (id int PRIMARY KEY, s text, v varchar(10), b jsonb, a text[]);
INSERT INTO t VALUES (1, 'one', 'one', '{"n": 1}', '{x,y}'), (2, 'two', 'two', '{"n": 2}', '{z}'), (3, NULL, NULL, NULL, NULL);
-- The invocations since the last call, in order, followed by a reset.
CREATE FUNCTION sent() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    payloads text;
BEGIN
    SELECT string_agg(COALESCE(payload, 'NULL'), ' ') INTO payloads FROM endpoint.invocations();
    PERFORM endpoint.reset();
    RETURN payloads;
END $$;
RESET client_min_messages;
SELECT endpoint.reset();

-- =, with the column on either side
SELECT response FROM texts WHERE payload = 'constant';
SELECT response FROM texts WHERE 'commuted' = payload;
SELECT response FROM texts WHERE payload = 'k' || 1 || upper('x');
SELECT response FROM texts WHERE payload = 'name'::name;
SELECT response FROM texts WHERE payload = 'varchar'::varchar;
SELECT response FROM texts WHERE payload = 'char'::char(4);
SELECT response FROM texts WHERE payload = (SELECT s FROM t WHERE id = 2);
SELECT response FROM texts WHERE payload = current_setting('block_size')::int / 1024 || '' AND response <> '';
SELECT response FROM varchars WHERE payload = 'constant';
SELECT response FROM jsonbs WHERE payload = '{"a": [1, 2]}';
SELECT response FROM jsonbs WHERE payload = to_jsonb('x'::text);
SELECT response FROM jsonbs WHERE payload = jsonb_build_object('k', (SELECT b FROM t WHERE id = 1));
-- json has no equality, its text has
SELECT response FROM jsons WHERE payload::text = '{"b":1,  "a":2, "a":3}';
SELECT sent();

-- IS NULL and IS NOT DISTINCT FROM
SELECT payload, response, status_code FROM texts WHERE payload IS NULL;
SELECT payload, response, status_code FROM texts WHERE payload IS NOT DISTINCT FROM NULL;
SELECT payload, response FROM texts WHERE payload IS NOT DISTINCT FROM (SELECT s FROM t WHERE id = 3);
SELECT payload, response FROM texts WHERE payload IS NOT DISTINCT FROM 'given';
SELECT payload, response FROM jsonbs WHERE payload IS NOT DISTINCT FROM '[]';
SELECT payload, response FROM jsons WHERE payload IS NULL;
SELECT sent();

-- = ANY and IN
SELECT response FROM texts WHERE payload IN ('a', 'b', 'c');
SELECT response FROM texts WHERE payload = ANY ('{d,NULL,e}');
SELECT response FROM texts WHERE payload = ANY (ARRAY['f', 'g' || 1]);
SELECT response FROM texts WHERE payload = ANY (ARRAY(SELECT s FROM t ORDER BY id));
SELECT response FROM texts WHERE payload = ANY ((SELECT a FROM t WHERE id = 1)::text[]);
SELECT response FROM texts WHERE payload = ANY (string_to_array('h,i', ','));
SELECT response FROM texts WHERE payload = ANY ('{j,k}'::name[]);
SELECT response FROM varchars WHERE payload IN ('l', 'm');
SELECT response FROM varchars WHERE payload = ANY ('{n}'::varchar[]);
SELECT response FROM jsonbs WHERE payload IN ('1', '"x"');
SELECT response FROM jsonbs WHERE payload = ANY (ARRAY(SELECT b FROM t WHERE b IS NOT NULL ORDER BY id));
SELECT response FROM jsons WHERE payload::text IN ('1', ' 2 ');
SELECT sent();

-- OR, which is what IN becomes where an element is not a constant
SELECT response FROM texts WHERE payload = 'a' OR payload = 'b' OR 'c' = payload;
SELECT response FROM texts WHERE payload IN ('d', 'e', (SELECT s FROM t WHERE id = 1), (SELECT s FROM t WHERE id = 3));
SELECT t.id, x.response FROM t JOIN texts x ON x.payload IN (t.s, 'id ' || t.id) ORDER BY t.id, x.response DESC;
SELECT t.id, x.response FROM t JOIN texts x ON x.payload IN ('first', t.s, 'last') WHERE t.id > 1 ORDER BY t.id;
SELECT response FROM jsonbs WHERE payload = '1' OR payload IN ('2', '3') OR payload = to_jsonb(4);
EXPLAIN (COSTS OFF) SELECT * FROM texts WHERE payload = 'a' OR payload IN ('b', 'c');
SELECT sent();

-- Nothing is invoked for a null, an empty list, LIMIT 0, a false condition, EXPLAIN or PREPARE.
SELECT * FROM texts WHERE payload = NULL;
SELECT * FROM texts WHERE payload = (SELECT s FROM t WHERE id = 3);
SELECT * FROM texts WHERE payload = ANY ('{}');
SELECT * FROM texts WHERE payload = ANY (NULL::text[]);
SELECT * FROM texts WHERE payload = ANY ('{NULL}');
SELECT * FROM texts WHERE payload = ANY (ARRAY(SELECT s FROM t WHERE false));
SELECT * FROM texts WHERE payload = 'x' LIMIT 0;
SELECT * FROM texts WHERE payload = 'x' AND false;
SELECT * FROM texts WHERE payload = 'x' AND (SELECT count(*) FROM t) = 0;
EXPLAIN (COSTS OFF) SELECT * FROM texts WHERE payload = 'x';
PREPARE not_run AS SELECT * FROM texts WHERE payload = 'x';
SELECT count(*) FROM t WHERE id = 99 AND EXISTS (SELECT FROM texts WHERE payload = t.s);
SELECT sent();

-- Clauses that bind nothing filter rows, each of which has been invoked for.
SELECT response FROM texts WHERE payload IN ('a', 'b', 'c') AND response > 'a' AND status_code = 200;
SELECT response FROM texts WHERE payload = 'x' AND payload <> 'y' AND payload LIKE 'x%';
SELECT response FROM texts WHERE payload = 'x' AND response = random()::text;
SELECT sent();

-- No value for the payload: an error, and no invocation.
SELECT * FROM texts;
SELECT * FROM texts WHERE payload <> 'x';
SELECT * FROM texts WHERE payload > 'x' AND response = 'y';
SELECT * FROM texts WHERE payload = random()::text;
SELECT * FROM texts WHERE payload = response;
SELECT * FROM texts WHERE payload = 'x' OR response = 'y';
SELECT * FROM texts WHERE payload = 'x' OR payload IS NULL;
SELECT * FROM texts WHERE payload IS NOT NULL;
SELECT * FROM texts WHERE lower(payload) = 'x';
SELECT * FROM jsonbs WHERE payload::text = '1';
SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo';
SELECT * FROM aws_lambda.lambda_invocations WHERE payload = '1';
SELECT * FROM aws_lambda.lambda_invocations WHERE payload = '1' AND function_name IS NULL;
SELECT sent();

-- A filter that no row could pass without a value: likewise, for the other input columns
SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '1' AND qualifier = lower(random()::text);
SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '1' AND region LIKE 'us-%';
SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '1' AND qualifier = region;
SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '1'
    AND (qualifier = '1' AND log_type = 'Tail' OR qualifier = '2' AND log_type = 'None');
SELECT sent();
-- A column that equals another one has its value, or there is no row.
SELECT function_name, qualifier, response FROM aws_lambda.lambda_invocations
    WHERE function_name = 'echo' AND payload = '1' AND qualifier = function_name;
SELECT function_name, qualifier, response FROM aws_lambda.lambda_invocations
    WHERE function_name IS NOT DISTINCT FROM NULLIF('echo', 'echo') AND payload = '1' AND qualifier = function_name;
SELECT sent();
-- but not where a row without a value can pass
SELECT response FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '1' AND (qualifier = 'x' OR qualifier IS NULL);
SELECT response FROM aws_lambda.lambda_invocations WHERE function_name = 'echo' AND payload = '2' AND region IS DISTINCT FROM 'us-east-1';
SELECT sent();

-- Every input column
SELECT function_name, region, qualifier, invocation_type, log_type, context, payload, status_code
FROM aws_lambda.lambda_invocations
WHERE function_name = 'echo' AND region = 'eu-west-1' AND qualifier = 'v1' AND invocation_type = 'RequestResponse'
  AND log_type = 'Tail' AND context = '{"custom": {"k": "v"}}' AND payload = '{"p": 1}';
SELECT * FROM endpoint.invocations();
SELECT endpoint.reset();

SET client_min_messages = warning;
DROP SCHEMA clauses CASCADE;
