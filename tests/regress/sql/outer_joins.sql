-- Outer joins around invocations. PostgreSQL 16 and later keep the condition of an outer join in several forms, one for each order of
-- joins, and mark each column with the outer joins that may have made it null. Each query is planned in many ways: all of them have
-- the same rows and no error.

SET client_min_messages = warning;
CREATE SCHEMA outer_joins;
SET search_path = outer_joins, public;
CREATE FOREIGN TABLE f (payload text, response text, status_code int) SERVER aws_lambda OPTIONS (function_name 'echo');
CREATE FOREIGN TABLE fq (function_name text, qualifier text, payload text, response text) SERVER aws_lambda;
CREATE TABLE t (id int PRIMARY KEY, s text, n int);
INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 1), (3, NULL, 1), (4, 'a', 2), (5, 'c', 2), (6, 'd', 3);
CREATE TABLE u (id int PRIMARY KEY, t_id int, s text, n int);
INSERT INTO u VALUES (1, 1, 'ua', 1), (2, 1, 'ub', 1), (3, 2, NULL, 1), (4, 4, 'uc', 2), (5, 9, 'ud', 2);
CREATE TABLE w (id int PRIMARY KEY, u_id int, s text);
INSERT INTO w VALUES (1, 1, 'wa'), (2, 3, 'wb'), (3, 4, NULL), (4, 4, 'wd'), (5, 7, 'we');
CREATE TABLE pt (id int, s text, n int) PARTITION BY LIST (n);
CREATE TABLE pt1 PARTITION OF pt FOR VALUES IN (1);
CREATE TABLE pt2 PARTITION OF pt FOR VALUES IN (2, 3);
INSERT INTO pt SELECT * FROM t;
CREATE TABLE pu (id int, t_id int, s text, n int) PARTITION BY LIST (n);
CREATE TABLE pu1 PARTITION OF pu FOR VALUES IN (1);
CREATE TABLE pu2 PARTITION OF pu FOR VALUES IN (2, 3);
INSERT INTO pu SELECT * FROM u;
CREATE TABLE parts (payload text, response text) PARTITION BY LIST (payload);
CREATE FOREIGN TABLE part PARTITION OF parts DEFAULT SERVER aws_lambda OPTIONS (function_name 'echo');
ANALYZE t, u, w, pt, pu;

CREATE TABLE ways (number int GENERATED ALWAYS AS IDENTITY, settings text);
INSERT INTO ways (settings) VALUES
    (''),
    ('enable_hashjoin=off,enable_mergejoin=off'),
    ('enable_hashjoin=off,enable_mergejoin=off,enable_material=off'),
    ('enable_nestloop=off'),
    ('enable_nestloop=off,enable_mergejoin=off'),
    ('enable_nestloop=off,enable_hashjoin=off'),
    ('geqo_threshold=2'),
    ('enable_sort=off,enable_incremental_sort=off,enable_hashagg=off'),
    ('enable_partitionwise_join=on,enable_partitionwise_aggregate=on'),
    ('enable_partitionwise_join=on,enable_partitionwise_aggregate=on,enable_hashjoin=off,enable_mergejoin=off'),
    ('parallel_setup_cost=0,parallel_tuple_cost=0,min_parallel_table_scan_size=0,force_parallel_mode=on,debug_parallel_query=on'),
    ('join_collapse_limit=1,from_collapse_limit=1'),
    ('enable_seqscan=off,enable_bitmapscan=off'),
    ('plan_cache_mode=force_generic_plan');

-- Runs a statement in each way and takes it back. The rows are those of all ways, the invocations those of the first.
CREATE FUNCTION every_way(statement text, OUT row_count bigint, OUT sum text, OUT invocations int, OUT ways bigint, OUT errors text) LANGUAGE plpgsql AS $$
DECLARE
    way record;
    setting text;
    result record;
    made int;
BEGIN
    CREATE TEMP TABLE IF NOT EXISTS results (way int, row_count bigint, sum text, made int, error text);
    TRUNCATE results;
    PERFORM endpoint.reset();
    FOR way IN SELECT * FROM outer_joins.ways ORDER BY number LOOP
        result := NULL;
        BEGIN
            FOREACH setting IN ARRAY string_to_array(way.settings, ',') LOOP
                -- Not every version has every setting.
                IF current_setting(split_part(setting, '=', 1), true) IS NOT NULL THEN
                    PERFORM set_config(split_part(setting, '=', 1), split_part(setting, '=', 2), true);
                END IF;
            END LOOP;
            EXECUTE 'WITH q AS MATERIALIZED (' || statement || $q$)
                SELECT count(*) AS row_count, left(md5(coalesce(string_agg(q::text, E'\n' ORDER BY q::text), '')), 6) AS sum FROM q$q$ INTO result;
            made := endpoint.made();
            RAISE EXCEPTION USING ERRCODE = 'UX001';
        EXCEPTION
            WHEN SQLSTATE 'UX001' THEN
                INSERT INTO results VALUES (way.number, result.row_count, result.sum, made, NULL);
            WHEN OTHERS THEN
                PERFORM endpoint.reset();
                INSERT INTO results VALUES (way.number, NULL, NULL, NULL, SQLERRM);
        END;
    END LOOP;
    SELECT min(r.row_count), string_agg(DISTINCT r.sum, ' '), min(r.made) FILTER (WHERE r.way = 1), count(r.sum), string_agg(DISTINCT r.error, '; ')
        INTO row_count, sum, invocations, ways, errors FROM results r;
END $$;
RESET client_min_messages;

-- A condition of the outer side alone, of whose forms only the first is one for the scan
EXPLAIN (COSTS OFF) SELECT 1 FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload = u.s AND u.s <> 'ub';

-- Left, right and full joins in every order
SELECT * FROM every_way($$SELECT t.id, f.response FROM t LEFT JOIN f ON f.payload = t.s$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload = u.s$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response FROM t LEFT JOIN (u LEFT JOIN f ON f.payload = u.s) ON u.t_id = t.id$$);
SELECT * FROM every_way($$SELECT t.id, f.response, u.id uid FROM t LEFT JOIN f ON f.payload = t.s LEFT JOIN u ON u.s = f.response$$);
SELECT * FROM every_way($$SELECT t.id, f1.response a, f2.response b FROM t LEFT JOIN f f1 ON f1.payload = t.s LEFT JOIN f f2 ON f2.payload = f1.response$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response FROM t LEFT JOIN (u JOIN f ON f.payload = u.s) ON u.t_id = t.id$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response FROM t LEFT JOIN u ON u.t_id = t.id JOIN f ON f.payload = coalesce(u.s, t.s)$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload = coalesce(u.s, 'x')$$);
SELECT * FROM every_way($$SELECT t.id, x.z, f.response FROM t LEFT JOIN (SELECT u.t_id, coalesce(u.s, 'z') z FROM u) x ON x.t_id = t.id LEFT JOIN f ON f.payload = x.z$$);
SELECT * FROM every_way($$SELECT t.id, x.* FROM t LEFT JOIN LATERAL (SELECT u.id uid, f.response FROM u LEFT JOIN f ON f.payload = u.s || t.s WHERE u.t_id = t.id) x ON true$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload = u.s AND u.s <> 'ub'$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload = t.s AND u.s IS NULL$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response FROM t FULL JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload = u.s$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response FROM t FULL JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload = coalesce(t.s, u.s)$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response FROM f RIGHT JOIN u ON f.payload = u.s RIGHT JOIN t ON u.t_id = t.id$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, w.id wid, f.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN w ON w.u_id = u.id LEFT JOIN f ON f.payload = w.s$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, w.id wid, f.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN w ON w.u_id = u.id LEFT JOIN f ON f.payload = u.s$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, w.id wid, f.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN w ON w.u_id = u.id LEFT JOIN f ON f.payload = u.s || w.s$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload = u.s LEFT JOIN w ON w.u_id = u.id$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response, w.id wid FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload = u.s LEFT JOIN w ON w.s = f.response$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f1.response a, f2.response b FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f f1 ON f1.payload = u.s LEFT JOIN f f2 ON f2.payload = f1.response$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f1.response a, f2.response b FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f f1 ON f1.payload = u.s LEFT JOIN f f2 ON f2.payload = t.s$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f1.response a, f2.response b FROM t LEFT JOIN f f1 ON f1.payload = t.s LEFT JOIN u ON u.t_id = t.id AND f1.response = 'a' LEFT JOIN f f2 ON f2.payload = u.s$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload = u.s AND f.response <> 'ua'$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload = u.s WHERE f.response IS NULL$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, fq.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN w ON w.u_id = u.id LEFT JOIN fq ON fq.payload = u.s AND fq.function_name = 'echo' AND fq.qualifier IS NOT DISTINCT FROM w.s$$);
SELECT * FROM every_way($$SELECT t.id, fq.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN fq ON fq.payload = u.s AND fq.function_name = 'echo' AND fq.qualifier = t.s$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response FROM (t LEFT JOIN u ON u.t_id = t.id) JOIN f ON f.payload = t.s$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response FROM (t LEFT JOIN u ON u.t_id = t.id AND u.s > 'a') LEFT JOIN LATERAL (SELECT response FROM f WHERE payload = u.s) f ON true$$);
SELECT * FROM every_way($$SELECT t.id, x.response, x.us FROM t LEFT JOIN (SELECT f.response, u.s us, u.t_id FROM u LEFT JOIN f ON f.payload = u.s || '!') x ON x.t_id = t.id LEFT JOIN f f2 ON f2.payload = x.us$$);
SELECT * FROM every_way($$SELECT t.id, f2.response FROM t LEFT JOIN (SELECT f.response, u.t_id FROM u LEFT JOIN f ON f.payload = u.s) x ON x.t_id = t.id LEFT JOIN f f2 ON f2.payload = x.response$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload IN (u.s, t.s)$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload = ANY (ARRAY[u.s, t.s, 'k'])$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload IS NOT DISTINCT FROM u.s$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response, w.id FROM t LEFT JOIN (u LEFT JOIN w ON w.u_id = u.id) ON u.t_id = t.id LEFT JOIN f ON f.payload = w.s$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response, w.id FROM t LEFT JOIN (u LEFT JOIN (w LEFT JOIN f ON f.payload = w.s) ON w.u_id = u.id) ON u.t_id = t.id$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response, w.id FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN (w JOIN f ON f.payload = w.s) ON w.u_id = u.id$$);
SELECT * FROM every_way($$SELECT t.id, x.* FROM t LEFT JOIN LATERAL (SELECT u.id uid, f.response, (SELECT response FROM f WHERE payload = u.s || 's') r2 FROM u LEFT JOIN f ON f.payload = t.s || '+' || u.s WHERE u.t_id = t.id) x ON true$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid FROM t LEFT JOIN u ON u.t_id = t.id AND EXISTS (SELECT FROM f WHERE f.payload = u.s)$$);
SELECT * FROM every_way($$SELECT t.id FROM t WHERE EXISTS (SELECT FROM u LEFT JOIN f ON f.payload = u.s WHERE u.t_id = t.id AND f.response IS NULL)$$);
SELECT * FROM every_way($$SELECT t.id FROM t WHERE NOT EXISTS (SELECT FROM u LEFT JOIN f ON f.payload = u.s WHERE u.t_id = t.id)$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid FROM t LEFT JOIN u ON u.t_id = t.id WHERE EXISTS (SELECT FROM f WHERE f.payload = u.s)$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid FROM t LEFT JOIN u ON u.t_id = t.id WHERE NOT EXISTS (SELECT FROM f WHERE f.payload = u.s AND f.response = 'ua')$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, f.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload = u.s AND t.n = 1$$);
SELECT * FROM every_way($$SELECT t.id, u.id uid, w.id wid, f.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN w ON w.u_id = u.id LEFT JOIN f ON f.payload = t.s AND w.s = 'wa' AND u.n = 1$$);
SELECT * FROM every_way($$SELECT count(*) FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload = u.s$$);
SELECT * FROM every_way($$SELECT t.n, count(f.response) FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload = u.s GROUP BY t.n$$);
SELECT * FROM every_way($$SELECT t.id, f.response FROM t LEFT JOIN (SELECT DISTINCT t_id, s FROM u) u ON u.t_id = t.id LEFT JOIN f ON f.payload = u.s$$);
SELECT * FROM every_way($$SELECT t.id, f.response FROM t LEFT JOIN (SELECT t_id, max(s) s FROM u GROUP BY t_id) u ON u.t_id = t.id LEFT JOIN f ON f.payload = u.s$$);

-- Values that are made below an outer join (placeholders), and used above it
SELECT * FROM every_way($$SELECT t.id, f.response FROM t LEFT JOIN (SELECT t_id, coalesce(s, 'none') AS s FROM u) x ON x.t_id = t.id LEFT JOIN f ON f.payload = x.s AND x.s <> 'ub'$$);
SELECT * FROM every_way($$SELECT t.id, x.v, f.response FROM t LEFT JOIN (SELECT u.t_id, 'k' AS v FROM u) x ON x.t_id = t.id LEFT JOIN f ON f.payload = x.v$$);
SELECT * FROM every_way($$SELECT t.id, x.v, f.response FROM t LEFT JOIN (SELECT u.t_id, 'k' AS v FROM u) x ON x.t_id = t.id LEFT JOIN f ON f.payload = x.v || t.s$$);
SELECT * FROM every_way($$SELECT t.id, y.r FROM t LEFT JOIN (SELECT u.t_id, coalesce(f.response, 'x') AS r FROM u LEFT JOIN f ON f.payload = u.s) y ON y.t_id = t.id LEFT JOIN f g ON g.payload = y.r$$);
SELECT * FROM every_way($$SELECT t.id, y.r, g.response FROM t LEFT JOIN LATERAL (SELECT coalesce(u.s, t.s) AS r FROM u WHERE u.t_id = t.id) y ON true LEFT JOIN f g ON g.payload = y.r$$);
SELECT * FROM every_way($$SELECT t.id, l.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN LATERAL (SELECT f.response, coalesce(u.s, 'n') AS c FROM f WHERE f.payload = coalesce(u.s, 'n') OFFSET 0) l ON l.c = l.response$$);
SELECT * FROM every_way($$SELECT t.id, z.r FROM t LEFT JOIN LATERAL (SELECT g.response AS r FROM (SELECT t.s || 'p' AS p) k LEFT JOIN f g ON g.payload = k.p) z ON z.r IS NOT NULL$$);

-- Partitions, joined one by one or not, and partitions of invocations
SELECT * FROM every_way($$SELECT pt.id, pu.id AS u, f.response FROM pt LEFT JOIN pu ON pu.n = pt.n AND pu.t_id = pt.id LEFT JOIN f ON f.payload = pu.s AND pu.s <> 'ub'$$);
SELECT * FROM every_way($$SELECT pt.id, pu.id AS u, f.response FROM pt LEFT JOIN (pu JOIN f ON f.payload = pu.s) ON pu.n = pt.n AND pu.t_id = pt.id$$);
SELECT * FROM every_way($$SELECT pt.id, a.response, b.response FROM pt LEFT JOIN f a ON a.payload = pt.s LEFT JOIN f b ON b.payload = a.response$$);
SELECT * FROM every_way($$SELECT t.id, p.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN parts p ON p.payload = u.s$$);
SELECT * FROM every_way($$SELECT t.id, p.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN parts p ON p.payload = u.s AND u.s <> 'ub'$$);
SELECT * FROM every_way($$SELECT t.id, a.response, b.response FROM t LEFT JOIN parts a ON a.payload = t.s LEFT JOIN parts b ON b.payload = a.response$$);
SELECT * FROM every_way($$SELECT t.id, x.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN (SELECT payload, response FROM f UNION ALL SELECT payload, response FROM f) x ON x.payload = u.s$$);

-- Semijoins and antijoins above, beside and below
SELECT * FROM every_way($$SELECT t.id FROM t LEFT JOIN u ON u.t_id = t.id WHERE u.id < 5 AND u.s IN (SELECT response FROM f WHERE payload = u.s)$$);
SELECT * FROM every_way($$SELECT t.id, f.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload = u.s WHERE EXISTS (SELECT FROM w WHERE w.u_id = u.id)$$);
SELECT * FROM every_way($$SELECT t.id, f.response FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload = u.s WHERE NOT EXISTS (SELECT FROM w WHERE w.s = f.response)$$);
SELECT * FROM every_way($$SELECT t.id FROM t LEFT JOIN u ON u.t_id = t.id AND u.s NOT IN (SELECT response FROM f WHERE payload IN ('ua', 'uc'))$$);
SELECT * FROM every_way($$SELECT t.id, f.response FROM t LEFT JOIN (u LEFT JOIN w ON w.u_id = u.id AND w.s IN (SELECT response FROM f WHERE payload = w.s)) ON u.t_id = t.id LEFT JOIN f ON f.payload = w.s$$);

-- Other statements
SELECT * FROM every_way($$DELETE FROM t USING u LEFT JOIN f ON f.payload = u.s WHERE u.t_id = t.id AND f.response IS DISTINCT FROM 'ub' RETURNING t.id, f.response$$);
SELECT * FROM every_way($$UPDATE t SET s = b.response FROM u LEFT JOIN f a ON a.payload = u.s LEFT JOIN f b ON b.payload = a.response WHERE u.t_id = t.id AND u.id <> 2 RETURNING t.id, t.s$$);
SELECT * FROM every_way($$UPDATE pt SET s = f.response FROM u LEFT JOIN w ON w.u_id = u.id AND w.id <> 4 LEFT JOIN f ON f.payload = w.s WHERE u.t_id = pt.id AND u.id <> 2 RETURNING pt.id, pt.s$$);
SELECT * FROM every_way($$WITH RECURSIVE r AS (SELECT 1 AS n, 'a'::text AS s UNION ALL SELECT r.n + 1, coalesce(f.response, '-') || 'x' FROM r LEFT JOIN t ON t.id = r.n LEFT JOIN f ON f.payload = r.s || t.s WHERE r.n < 4) SELECT * FROM r$$);
SELECT * FROM every_way($$SELECT t.id, x.response FROM t LEFT JOIN (SELECT DISTINCT ON (u.t_id) u.t_id, f.response FROM u LEFT JOIN f ON f.payload = u.s ORDER BY u.t_id, f.response) x ON x.t_id = t.id LEFT JOIN f ON f.payload = x.response$$);
SELECT * FROM every_way($$SELECT t.n, count(f.response), max(g.response) FROM t LEFT JOIN u ON u.t_id = t.id LEFT JOIN f ON f.payload = u.s LEFT JOIN f g ON g.payload = f.response GROUP BY GROUPING SETS ((t.n), ())$$);

-- A prepared statement, planned for its values and for any
PREPARE p (text) AS SELECT t.id, a.response, b.response FROM t LEFT JOIN u ON u.t_id = t.id AND u.s <> $1 LEFT JOIN f a ON a.payload = u.s AND u.s <> $1 LEFT JOIN f b ON b.payload = a.response || $1 ORDER BY 1, 2, 3;
EXECUTE p ('ub');
SET plan_cache_mode = force_generic_plan;
EXECUTE p ('ua');
RESET plan_cache_mode;

-- Chained joins keep all rows in flight: each join is estimated at a row for each value.
CREATE TABLE many AS SELECT i AS id, 'x' || i AS s FROM generate_series(1, 30) i;
ANALYZE many;
CREATE FOREIGN TABLE slow (payload text, response text) SERVER aws_lambda OPTIONS (function_name 'sleep-100');
SELECT endpoint.reset();
SELECT count(*) FROM many, slow f, slow g WHERE f.payload = many.s AND g.payload = f.response || many.id;
SELECT * FROM endpoint.counted();
SELECT count(*) FROM many LEFT JOIN slow f ON f.payload = many.s LEFT JOIN slow g ON g.payload = f.response || many.id LEFT JOIN slow h ON h.payload = g.response;
SELECT * FROM endpoint.counted();

-- A condition that gave the outer rows their values below is not checked once more above, and an invocation in it is made once.
CREATE TABLE big AS SELECT i AS id, 'b' || i AS s FROM generate_series(1, 2000) i;
ALTER TABLE big ADD PRIMARY KEY (id);
CREATE TABLE big2 AS SELECT i AS id, 'c' || i AS s, i AS ref FROM generate_series(1, 2000) i;
CREATE INDEX ON big2 (ref);
ANALYZE big, big2;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_seqscan = off;
SELECT endpoint.reset();
SELECT t.id, f.response FROM t LEFT JOIN (big JOIN big2 ON big.id = big2.ref LEFT JOIN f ON f.payload = coalesce(big2.s, 'z') || coalesce(big.s, ''))
    ON big.id = t.id + (SELECT length(response) - 1 FROM f WHERE payload = coalesce(t.s, 'z') LIMIT 1) ORDER BY 1;
SELECT endpoint.made();

SET client_min_messages = warning;
DROP SCHEMA outer_joins CASCADE;
