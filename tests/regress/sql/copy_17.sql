-- COPY (ON_ERROR), of PostgreSQL 17 and later, into a table of invocations: a row that can't be read is not sent, and the others are.
SELECT current_setting('server_version_num')::int < 170000 AS skip \gset
\if :skip
\quit
\endif
SET client_min_messages = warning;
CREATE SCHEMA copies_17;
SET search_path = copies_17, public;
CREATE FOREIGN TABLE f (payload jsonb, invocation_type text, status_code int) SERVER aws_lambda OPTIONS (function_name 'accept-10');
CREATE TABLE p (payload jsonb, invocation_type text, status_code int) PARTITION BY LIST (invocation_type);
CREATE TABLE p_here PARTITION OF p FOR VALUES IN ('here');
CREATE FOREIGN TABLE p_lambda PARTITION OF p DEFAULT SERVER aws_lambda OPTIONS (function_name 'accept-10');
RESET client_min_messages;
SELECT endpoint.reset();

COPY f (payload) FROM PROGRAM $$printf '%s\n' 1 '{"a": 1}' '{"a": ' '"b"' x$$ (ON_ERROR ignore);
SELECT * FROM endpoint.arrived();
COPY f (payload) FROM PROGRAM $$printf '%s\n' 1 '{"a": ' 2$$ (ON_ERROR ignore, LOG_VERBOSITY verbose);
SELECT * FROM endpoint.arrived();
COPY f (payload) FROM PROGRAM $$printf '%s\n' 1 '{"a": ' 2 3$$ (ON_ERROR ignore) WHERE payload <> '2';
SELECT * FROM endpoint.arrived();
COPY p FROM PROGRAM $$printf '%s|%s|\\N\n' 1 here '{"a": ' here 2 Event '{"a": ' Event 3 Event$$ (ON_ERROR ignore, DELIMITER '|');
SELECT * FROM p_here;
SELECT * FROM endpoint.arrived();
-- An error of Lambda or of the wrapper is not an error of the input.
COPY f (payload, status_code) FROM PROGRAM $$printf '%s|%s\n' 1 200$$ (ON_ERROR ignore, DELIMITER '|');
SELECT * FROM endpoint.arrived();
ALTER FOREIGN TABLE f OPTIONS (SET function_name 'error-403-AccessDeniedException');
\set VERBOSITY terse
COPY f (payload) FROM PROGRAM $$printf '%s\n' 1$$ (ON_ERROR ignore);
\set VERBOSITY default
SELECT endpoint.made();
-- Not without it
ALTER FOREIGN TABLE f OPTIONS (SET function_name 'accept-10');
COPY f (payload) FROM PROGRAM $$printf '%s\n' '{"a": ' 2$$;
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA copies_17 CASCADE;
