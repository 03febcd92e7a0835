-- Each object of the extensions and each column of the tables has a comment.

SELECT pg_describe_object(d.classid, d.objid, 0) AS without_comment
FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
WHERE d.deptype = 'e' AND e.extname LIKE 'aws%' AND obj_description(d.objid, d.classid::regclass::text) IS NULL
    -- Types that come with a table or a type, and its array.
    AND NOT (d.classid = 'pg_type'::regclass AND EXISTS (
        SELECT FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid
        WHERE t.oid = d.objid AND (t.typelem <> 0 OR c.relkind <> 'c')))
ORDER BY 1;
SELECT attrelid::regclass, attname AS without_comment FROM pg_attribute
WHERE attrelid IN ('aws_lambda.lambda_invocations'::regclass, 'aws_lambda.lambda_invocations_json'::regclass)
    AND attnum > 0 AND NOT attisdropped AND coalesce(col_description(attrelid, attnum), '') !~ '^(in|in, required|out): .'
ORDER BY 1, attnum;
SELECT attname AS without_comment FROM pg_attribute
WHERE attrelid = 'aws_lambda.functions'::regclass AND attnum > 0 AND NOT attisdropped AND col_description(attrelid, attnum) IS NULL
ORDER BY attnum;
SELECT count(*) = count(DISTINCT obj_description(oid, 'pg_proc')) AS tells_overloads_apart
FROM pg_proc WHERE pronamespace = 'aws_lambda'::regnamespace AND proname = 'invoke';
