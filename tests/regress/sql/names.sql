-- Names of functions, regions and qualifiers: all forms that Lambda accepts. Others are errors, and nothing is sent.

SELECT endpoint.reset();

-- Every form, and where it was sent

SELECT n.name, r.response ->> 'function' AS function, r.response ->> 'qualifier' AS qualifier,
    r.response ->> 'region' AS region, r.executed_version
FROM (VALUES
    (1, 'describe'),
    (2, 'describe:v1'),
    (3, 'describe:$LATEST'),
    (4, 'describe:$LATEST.PUBLISHED'),
    (5, 'describe:17'),
    (6, 'function:describe'),
    (7, 'function:describe:v1'),
    (8, '123456789012:describe'),
    (9, '123456789012:function:describe'),
    (10, '123456789012:function:describe:v1'),
    (11, 'us-east-1:123456789012:function:describe'),
    (12, 'arn:aws:lambda:us-east-1:123456789012:function:describe'),
    (13, 'arn:aws:lambda:us-east-1:123456789012:function:describe:v1'),
    (14, 'arn:aws:lambda:us-east-1:123456789012:function:describe:$LATEST'),
    (15, 'arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:describe'),
    (16, 'arn:aws-cn:lambda:cn-north-1:123456789012:function:describe'),
    (17, 'arn:aws-iso-b:lambda:us-isob-east-1:123456789012:function:describe'),
    (18, 'arn:aws-eusc:lambda:eusc-de-east-1:123456789012:function:describe')
) AS n (place, name)
JOIN aws_lambda.lambda_invocations AS r ON r.function_name = n.name AND r.payload = '{}'
ORDER BY n.place;
SELECT endpoint.count();

-- A region or qualifier beside the name, the same as in it

SELECT payload ->> 'region' AS region, payload ->> 'qualifier' AS qualifier
FROM aws_lambda.invoke('arn:aws:lambda:us-east-1:123456789012:function:describe:v1', '{}'::jsonb, 'us-east-1', qualifier => 'v1');
SELECT payload ->> 'region' AS region, payload ->> 'qualifier' AS qualifier
FROM aws_lambda.invoke('describe', '{}'::jsonb, 'eu-central-1', qualifier => '$LATEST');

-- The longest names

SELECT endpoint.reset();
SELECT place, e.sqlstate
FROM (VALUES
    (1, repeat('f', 64), NULL),
    (2, repeat('f', 64) || ':' || repeat('q', 128), NULL),
    (3, '123456789012:function:' || repeat('f', 234), NULL),
    (4, 'describe', repeat('q', 128))
) AS n (place, name, qualifier),
    endpoint.error_of(format('SELECT * FROM aws_lambda.invoke(%L, %L::json, qualifier => %L)', name, '{}', qualifier)) AS e
ORDER BY place;
SELECT endpoint.count();

\a
-- One character more, and all that is no name: nothing is sent

SELECT endpoint.reset();
SELECT left(name, 40) AS name, e.*
FROM (VALUES
    (1, repeat('f', 65)),
    (2, '123456789012:function:' || repeat('f', 235)),
    (3, ''),
    (4, ' describe'),
    (5, 'describe '),
    (6, E'describe\n'),
    (7, 'des cribe'),
    (8, 'describe:'),
    (9, ':describe'),
    (10, 'describe:v1:v2'),
    (11, 'describe:$latest'),
    (12, 'describe/../echo'),
    (13, 'describe?Qualifier=v1'),
    (14, 'describe#'),
    (15, '%64escribe'),
    (16, 'décrire'),
    (17, '12345678901:function:describe'),
    (18, 'arn:aws:s3:::bucket'),
    (19, 'arn:aws:lambda:us-east-1.example.com:123456789012:function:describe'),
    (20, 'https://127.0.0.1/describe')
) AS n (place, name), endpoint.error_of(format('SELECT * FROM aws_lambda.invoke(%L, %L::json)', name, '{}')) AS e
ORDER BY place;

-- Invalid qualifiers

SELECT left(qualifier, 40) AS qualifier, e.*
FROM (VALUES (1, ''), (2, ' '), (3, 'a b'), (4, 'a:b'), (5, 'a.b'), (6, 'é'), (7, 'v1&x=y'), (8, '$LATEST.X')) AS q (place, qualifier),
    endpoint.error_of(format('SELECT * FROM aws_lambda.invoke(%L, %L::json, qualifier => %L)', 'describe', '{}', qualifier)) AS e
ORDER BY place;
SELECT * FROM endpoint.error_of(format(
    'SELECT * FROM aws_lambda.lambda_invocations WHERE function_name = %L AND payload = %L AND qualifier = %L', 'describe', '{}', repeat('q', 129)));

-- Invalid regions

SELECT region, e.*
FROM (VALUES (1, ''), (2, ' '), (3, 'us-west'), (4, 'US-WEST-2'), (5, 'us-west-22'), (6, 'us-west-2.example.com'),
    (7, 'us-west-2/'), (8, 'x@us-west-2'), (9, E'us-west-2\n'), (10, 'localhost'), (11, 'RequestResponse')) AS r (place, region),
    endpoint.error_of(format('SELECT * FROM aws_lambda.invoke(%L, %L::json, %L)', 'describe', '{}', region)) AS e
ORDER BY place;
SELECT * FROM endpoint.error_of($$SELECT * FROM aws_lambda.invoke(aws_commons.create_lambda_function_arn('describe', 'nowhere'), '{}'::json)$$);

-- A region or qualifier beside the name, another one than in it

SELECT * FROM aws_lambda.invoke('arn:aws:lambda:us-east-1:123456789012:function:describe', '{}'::json, 'eu-west-1');
SELECT * FROM aws_lambda.invoke('us-east-1:123456789012:function:describe', '{}'::json, 'eu-west-1');
SELECT * FROM aws_lambda.invoke(aws_commons.create_lambda_function_arn('arn:aws:lambda:us-east-1:123456789012:function:describe', 'eu-west-1'), '{}'::jsonb);
SELECT * FROM aws_lambda.invoke('describe:v1', '{}'::json, qualifier => 'v2');
SELECT * FROM aws_lambda.invoke('arn:aws:lambda:us-east-1:123456789012:function:describe:v1', '{}'::jsonb, qualifier => '$LATEST');

-- The types of invocation and log, where case matters

SELECT type, e.*
FROM (VALUES (1, 'requestresponse'), (2, 'EVENT'), (3, 'Dryrun'), (4, ' Event'), (5, ''), (6, 'Tail')) AS t (place, type),
    endpoint.error_of(format('SELECT * FROM aws_lambda.invoke(%L, %L::json, invocation_type => %L)', 'describe', '{}', type)) AS e
ORDER BY place;
SELECT type, e.*
FROM (VALUES (1, 'tail'), (2, 'NONE'), (3, ''), (4, 'Event')) AS t (place, type),
    endpoint.error_of(format('SELECT * FROM aws_lambda.invoke(%L, %L::json, log_type => %L)', 'describe', '{}', type)) AS e
ORDER BY place;

-- Nothing of all this was sent.

SELECT endpoint.count(), endpoint.counter('connections');
