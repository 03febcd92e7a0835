-- Functions as rows, and a table for each function. Run this as a superuser, or with USAGE on the server. The credentials
-- have to be allowed lambda:ListFunctions.

CREATE EXTENSION IF NOT EXISTS aws_lambda CASCADE;

-- The functions that there are. This runs none.
SELECT function_name, memory_size, timeout, version FROM aws_lambda.functions ORDER BY function_name;

-- A table for each. With the option, an invocation that fails is a row.
DROP SCHEMA IF EXISTS lambda_tables CASCADE;
CREATE SCHEMA lambda_tables;
IMPORT FOREIGN SCHEMA lambda EXCEPT (embed) FROM SERVER aws_lambda INTO lambda_tables OPTIONS (on_error 'return');

-- The description of a function is the comment on its table.
SELECT relname AS table_name, left(obj_description(oid, 'pg_class'), 60) AS description
FROM pg_class
WHERE relnamespace = 'lambda_tables'::regnamespace
ORDER BY relname;

-- The tables are joined like any other.
SELECT c.city, g.response->'lat' AS lat, g.error_message
FROM (VALUES ('Lima'), ('Atlantis')) AS c (city)
JOIN lambda_tables.geocode g ON g.payload = jsonb_build_object('city', c.city);
