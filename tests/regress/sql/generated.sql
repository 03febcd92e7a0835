-- Stored generated columns of a table of invocations: an input is computed for a row that is inserted, and means nothing to a scan. What a
-- function answers can't be computed before.
SET client_min_messages = warning;
CREATE SCHEMA generated;
SET search_path = generated, public;
CREATE TABLE t (id int PRIMARY KEY, s text, g text GENERATED ALWAYS AS (s || '-' || id) STORED);
INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL);
CREATE FOREIGN TABLE f (qualifier text, payload text GENERATED ALWAYS AS ('q ' || qualifier) STORED, response text, status_code int, invocation_type text)
    SERVER aws_lambda OPTIONS (function_name 'echo');
ANALYZE t;
RESET client_min_messages;
SELECT endpoint.reset();

-- As a value of a join
SELECT t.id, f.response FROM t LEFT JOIN f ON f.payload = t.g ORDER BY t.id;
SELECT endpoint.made();
-- Inserted, with what came back and without
INSERT INTO f (qualifier) VALUES ('v1');
INSERT INTO f (qualifier, invocation_type) VALUES ('v1', 'RequestResponse'), ('v2', 'RequestResponse'), (NULL, 'RequestResponse') RETURNING qualifier, payload, response, status_code;
COPY f (qualifier) FROM PROGRAM 'echo v3';
INSERT INTO f (qualifier, payload) VALUES ('v1', 'other');
INSERT INTO f (qualifier, payload) VALUES ('v1', DEFAULT);
SELECT payload, invocation_type, count(*) FROM endpoint.arrived() GROUP BY 1, 2 ORDER BY 1, 2;
-- A scan needs a clause all the same, and is given what that says.
SELECT payload, response FROM f WHERE qualifier = 'v1';
SELECT payload, response FROM f WHERE qualifier = 'v1' AND payload = 'q v1';
SELECT payload, response FROM f WHERE qualifier = 'v1' AND payload = 'other';
SELECT payload FROM endpoint.arrived();
-- A stored column computed from the response is refused, and nothing is invoked.
CREATE FOREIGN TABLE g (payload text, response text, log text GENERATED ALWAYS AS (upper(payload)) STORED)
    SERVER aws_lambda OPTIONS (function_name 'echo');
SELECT payload FROM g WHERE payload = 'x';
EXPLAIN SELECT payload FROM g WHERE payload = 'x';
\set VERBOSITY sqlstate
INSERT INTO g (payload) VALUES ('x');
COPY g (payload) FROM PROGRAM 'echo x';
INSERT INTO g (payload) VALUES ('x') RETURNING log;
\set VERBOSITY default
ALTER FOREIGN TABLE g ALTER log DROP EXPRESSION;
SELECT payload, response, log FROM g WHERE payload = 'x';
-- So is one of another name, as any column of that.
ALTER FOREIGN TABLE g ADD shout text GENERATED ALWAYS AS (upper(response)) STORED;
SELECT * FROM g WHERE payload = 'x';
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA generated CASCADE;
