-- Values are compared in the collation of the clause. Servers without ICU have no nondeterministic collations.
SELECT count(*) = 0 AS without_icu FROM pg_collation WHERE collname LIKE '%-x-icu' \gset
\if :without_icu
\quit
\endif

SET client_min_messages = warning;
CREATE SCHEMA collations;
SET search_path = collations, public;
CREATE FOREIGN TABLE texts (function_name text, payload text, response text) SERVER aws_lambda;
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

CREATE COLLATION insensitive (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
SELECT payload FROM texts WHERE function_name = 'echo' AND payload COLLATE insensitive IN ('a', 'A', 'b');
SELECT payload FROM texts WHERE function_name = 'echo' AND payload COLLATE insensitive = 'A' AND payload = 'a';
SELECT payload FROM texts WHERE function_name = 'echo' AND payload = 'a' AND payload COLLATE insensitive = 'A';
SELECT sent();

SET client_min_messages = warning;
DROP SCHEMA collations CASCADE;
