-- The columns of a foreign table: any of the known ones, in any order, of suitable types.

SELECT endpoint.reset();

-- Any subset, any order

CREATE FOREIGN TABLE few (response json, payload jsonb) SERVER aws_lambda OPTIONS (function_name 'echo');
SELECT * FROM few WHERE payload = '{"a": 1}';
CREATE FOREIGN TABLE backwards (
    request_id text, function_error text, log text, log_result text, executed_version text, response jsonb, status_code int,
    qualifier text, context jsonb, log_type text, invocation_type text, payload jsonb, region text, function_name text
) SERVER aws_lambda;
SELECT function_name, region, payload, invocation_type, log_type, context, qualifier, status_code, response, executed_version, log, function_error, request_id IS NOT NULL AS request_id
FROM backwards
WHERE function_name = 'log' AND region = 'us-west-2' AND payload = '{}' AND invocation_type = 'RequestResponse' AND log_type = 'Tail'
  AND context = '{"custom": {}}' AND qualifier = 'v1' \gx
SELECT b IS NULL AS nothing, (b).function_name, (b).response FROM backwards AS b WHERE function_name = 'echo' AND payload = '[]';
SELECT tableoid::regclass, payload FROM backwards WHERE function_name = 'echo' AND payload = '1';

-- No column for the payload: nothing is given to the function

CREATE FOREIGN TABLE no_payload (function_name text, response jsonb) SERVER aws_lambda;
SELECT function_name, response ->> 'payload' AS payload FROM no_payload WHERE function_name = 'describe';

-- No column for the response: it is not read

CREATE FOREIGN TABLE no_response (function_name text, payload jsonb, status_code int) SERVER aws_lambda;
SELECT * FROM no_response WHERE function_name = ANY ('{echo,html,raw-nul}') AND payload = '{}';

-- Neither, and no column at all: every scan is one invocation of the table's function

CREATE FOREIGN TABLE nothing () SERVER aws_lambda OPTIONS (function_name 'echo');
SELECT endpoint.reset();
SELECT FROM nothing;
SELECT count(*) FROM nothing;
SELECT endpoint.count();

-- No column for the function's name, and no option

CREATE FOREIGN TABLE nameless (payload jsonb, response jsonb) SERVER aws_lambda;
SELECT * FROM nameless WHERE payload = '{}';

-- A column that needs a value

SELECT * FROM backwards;
SELECT * FROM backwards WHERE payload = '{}';
SELECT * FROM backwards WHERE function_name = 'echo';

-- Unknown columns

CREATE FOREIGN TABLE wrong (function_name text, body jsonb, payload jsonb) SERVER aws_lambda;
SELECT * FROM wrong WHERE function_name = 'echo' AND payload = '{}';
SELECT payload FROM wrong WHERE function_name = 'echo' AND payload = '{}';
EXPLAIN SELECT payload FROM wrong WHERE function_name = 'echo' AND payload = '{}';
ALTER FOREIGN TABLE wrong RENAME body TO "Response";
SELECT * FROM wrong WHERE function_name = 'echo' AND payload = '{}';
ALTER FOREIGN TABLE wrong RENAME "Response" TO response;
SELECT * FROM wrong WHERE function_name = 'echo' AND payload = '{}';

-- Dropped and added columns

ALTER FOREIGN TABLE wrong DROP function_name, ADD status_code int, OPTIONS (ADD function_name 'echo');
SELECT * FROM wrong WHERE payload = '[2]';
ALTER FOREIGN TABLE wrong ADD function_name text;
SELECT * FROM wrong WHERE payload = '[3]';
SELECT * FROM wrong WHERE payload = '[4]' AND function_name = 'echo';
DROP FOREIGN TABLE wrong;

-- Types that a column can't have

SELECT c.definition, e.sqlstate, e.message, e.hint
FROM (VALUES (1, 'payload bytea'), (2, 'response xml'), (3, 'context int'), (4, 'function_name jsonb'), (5, 'function_name name'), (6, 'region char(9)'),
    (7, 'status_code text'), (8, 'status_code bigint'), (9, 'log bytea'), (10, 'request_id uuid'), (11, 'response jsonb[]'), (12, 'log_type int')) AS c (place, definition),
LATERAL (SELECT endpoint.error_of(format('CREATE FOREIGN TABLE typed (%s) SERVER aws_lambda OPTIONS (function_name ''echo''); SELECT * FROM typed', c.definition)) AS e) AS l,
LATERAL (SELECT (l.e).*) AS e
ORDER BY c.place \gx

-- Types that it can

CREATE DOMAIN name_of_function AS varchar(20);
CREATE FOREIGN TABLE varied (function_name name_of_function, region varchar, payload json, context varchar(100), invocation_type varchar(20), status_code int4, response varchar, executed_version varchar(3), log varchar(10)) SERVER aws_lambda;
SELECT function_name, invocation_type, status_code, response::jsonb ->> 'payload' AS payload, response::jsonb ->> 'client_context' AS context
FROM varied WHERE function_name = 'describe' AND payload::text = '{"a" : 1}' AND context = '{"custom" : {}}' AND invocation_type = 'RequestResponse';
SELECT executed_version FROM varied WHERE function_name = 'describe' AND payload::text = '{"a" : 1}';

-- NOT NULL and CHECK are not enforced, DEFAULT and generated columns mean nothing to a scan; statistics aren't gathered

ALTER FOREIGN TABLE few ALTER response SET NOT NULL, ALTER payload SET DEFAULT '{}';
SELECT * FROM few WHERE payload = '[5]';
ANALYZE few;
SELECT ctid IS NOT NULL AS told FROM few WHERE payload = '[6]';

-- A partition and a child

CREATE TABLE parent (payload jsonb, response json) PARTITION BY LIST (payload);
ALTER TABLE parent ATTACH PARTITION few DEFAULT;
SELECT tableoid::regclass, * FROM parent WHERE payload = '[7]';
ALTER TABLE parent DETACH PARTITION few;
DROP TABLE parent;

DROP FOREIGN TABLE few, backwards, no_payload, no_response, nothing, nameless, varied;
DROP DOMAIN name_of_function;
