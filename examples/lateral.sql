-- Enriching rows: each order is given to the function score, and what it returns becomes columns.

CREATE EXTENSION IF NOT EXISTS aws_lambda CASCADE;

CREATE TABLE lateral_orders (id int PRIMARY KEY, amount numeric, country text, card_country text);
INSERT INTO lateral_orders VALUES
    (1, 40, 'DE', 'DE'),
    (2, 2500, 'PE', 'PE'),
    (3, 1800, 'JP', 'US'),
    (4, NULL, 'KE', 'KE');

-- A join: the whole row is the payload.
SELECT o.id, l.response->>'risk' AS risk, l.response->'reasons' AS reasons
FROM lateral_orders o
JOIN aws_lambda.lambda_invocations l ON l.function_name = 'score' AND l.payload = to_jsonb(o)
ORDER BY o.id;

-- The same with LATERAL, where the part in parentheses can do more than a join: here it makes columns with types.
SELECT o.id, s.risk, s.reasons
FROM lateral_orders o
CROSS JOIN LATERAL (
    SELECT (l.response->>'risk')::numeric AS risk, l.response->'reasons' AS reasons
    FROM aws_lambda.lambda_invocations l
    WHERE l.function_name = 'score' AND l.payload = to_jsonb(o)
) s
WHERE o.amount > 1000
ORDER BY s.risk DESC;

-- Which rows to invoke for can be said in ON: nothing is invoked for order 4, which LEFT JOIN keeps.
SELECT o.id, o.amount, l.response->>'risk' AS risk
FROM lateral_orders o
LEFT JOIN aws_lambda.lambda_invocations l
  ON l.function_name = 'score' AND l.payload = to_jsonb(o) AND o.amount IS NOT NULL
ORDER BY o.id;

-- Aggregation makes one payload of many rows: one invocation for each country.
SELECT o.country, l.response->>'risk' AS risk
FROM (SELECT country, sum(amount) AS amount FROM lateral_orders GROUP BY country) o
JOIN aws_lambda.lambda_invocations l ON l.function_name = 'score' AND l.payload = to_jsonb(o)
ORDER BY o.country;

-- Invoke once and keep what came back, rather than invoke again with each query.
CREATE TEMPORARY TABLE scores AS
SELECT o.id, (l.response->>'risk')::numeric AS risk
FROM lateral_orders o
JOIN aws_lambda.lambda_invocations l ON l.function_name = 'score' AND l.payload = to_jsonb(o);

SELECT count(*), max(risk) FROM scores;

DROP TABLE scores, lateral_orders;
