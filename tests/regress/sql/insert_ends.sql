-- INSERT and COPY wait until all rows are accepted, before statement triggers and while their node runs, which is the time that EXPLAIN,
-- auto_explain and pg_stat_statements count.
SET client_min_messages = warning;
CREATE SCHEMA insert_ends;
SET search_path = insert_ends, public;
CREATE FOREIGN TABLE slow (payload text, status_code int) SERVER aws_lambda OPTIONS (function_name 'accept-150', max_concurrency '8');
CREATE FOREIGN TABLE fails (payload text) SERVER aws_lambda OPTIONS (function_name 'error-403-AccessDeniedException');
CREATE TABLE parts (payload text) PARTITION BY LIST (payload);
CREATE FOREIGN TABLE odd PARTITION OF parts FOR VALUES IN ('1', '3') SERVER aws_lambda OPTIONS (function_name 'accept-150');
CREATE FOREIGN TABLE even PARTITION OF parts FOR VALUES IN ('2', '4') SERVER aws_lambda OPTIONS (function_name 'accept-150');
CREATE TABLE t AS SELECT i::text AS s FROM generate_series(1, 4) i;
ANALYZE t;
RESET client_min_messages;
SELECT endpoint.reset();

-- Whether the node of an INSERT takes as long as its last row.
CREATE FUNCTION takes(statement text) RETURNS TABLE (node bool, execution bool) LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON) ' || statement INTO plan;
    RETURN QUERY SELECT (plan #>> '{0,Plan,Actual Total Time}')::float > 100, (plan #>> '{0,Execution Time}')::float > 100;
END $$;
SELECT * FROM takes('INSERT INTO slow (payload) VALUES (1)');
SELECT * FROM takes('INSERT INTO slow (payload) SELECT s FROM t');
SELECT * FROM takes('INSERT INTO parts SELECT s FROM t');
SELECT * FROM takes('WITH sent AS (INSERT INTO slow (payload) SELECT s FROM t RETURNING status_code) SELECT count(*) FROM sent');
SELECT endpoint.made();

-- Triggers of the statement find all rows accepted.
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE '% %: % sent, and accepted: %', TG_WHEN, TG_TABLE_NAME, endpoint.count(),
        clock_timestamp() - statement_timestamp() > interval '140 ms';
    RETURN NULL;
END $$;
CREATE TRIGGER one AFTER INSERT ON slow FOR EACH STATEMENT EXECUTE FUNCTION tell();
CREATE TRIGGER two AFTER INSERT OR UPDATE ON slow FOR EACH STATEMENT EXECUTE FUNCTION tell();
CREATE TRIGGER tell AFTER INSERT ON parts FOR EACH STATEMENT EXECUTE FUNCTION tell();
INSERT INTO slow (payload) SELECT s FROM t;
SELECT endpoint.made();
INSERT INTO parts SELECT s FROM t;
SELECT endpoint.made();
WITH sent AS (INSERT INTO slow (payload) SELECT s FROM t), others AS (INSERT INTO parts SELECT s FROM t) SELECT 1 AS one;
SELECT endpoint.made();
DO $$ BEGIN INSERT INTO slow (payload) SELECT s FROM t; RAISE NOTICE 'after it: %', endpoint.count(); END $$;
SELECT endpoint.made();
COPY slow (payload) FROM STDIN;
1
2
3
\.
SELECT endpoint.counter('most_in_flight'), endpoint.made();
COPY parts FROM STDIN;
1
2
3
\.
SELECT endpoint.counter('most_in_flight'), endpoint.made();
-- A rule's statements are each over before the next begins.
CREATE TABLE log (s text);
CREATE RULE send AS ON INSERT TO log DO ALSO INSERT INTO slow (payload) VALUES (new.s);
INSERT INTO log VALUES ('1'), ('2');
SELECT endpoint.made();

-- Of a statement that fails they hear nothing, and the error is raised in it.
CREATE TRIGGER tell AFTER INSERT ON fails FOR EACH STATEMENT EXECUTE FUNCTION tell();
\set VERBOSITY terse
INSERT INTO fails SELECT s FROM t;
COPY fails FROM STDIN;
1
\.
\set VERBOSITY default
DO $$
BEGIN
    INSERT INTO fails SELECT s FROM t LIMIT 1;
    RAISE NOTICE 'not reached';
EXCEPTION WHEN OTHERS THEN
    RAISE NOTICE '% %', SQLSTATE, SQLERRM;
END $$;
SELECT count(*) > 0 FROM endpoint.invocations();
SELECT endpoint.reset();
