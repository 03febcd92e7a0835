-- A trigger that queues each new order for a function. The event commits with the order, and is sent afterwards: a rollback sends nothing,
-- and the INSERT waits for no network.
--
-- Here the session delivers the events itself. Elsewhere a background worker does: aws_lambda.start_worker() starts one.

CREATE EXTENSION IF NOT EXISTS aws_lambda CASCADE;

CREATE TABLE trigger_orders (id int PRIMARY KEY, amount numeric, country text);

CREATE FUNCTION queue_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM aws_lambda.enqueue('score', to_jsonb(NEW));
    RETURN NULL;
END $$;

CREATE TRIGGER queue_order AFTER INSERT ON trigger_orders
    FOR EACH ROW EXECUTE FUNCTION queue_order();

INSERT INTO trigger_orders VALUES (1, 40, 'DE'), (2, 2500, 'PE');

-- The rollback takes the order back, and its event with it.
BEGIN;
INSERT INTO trigger_orders VALUES (3, 99, 'JP');
ROLLBACK;

SELECT state, function_name, payload FROM aws_lambda.queue ORDER BY id;

-- Two events are sent, and their rows are gone.
CALL aws_lambda.deliver();
SELECT count(*) FROM aws_lambda.queue;

-- Code that calls invoke needs no change: with this setting its events are queued too.
SET aws_lambda.events = 'queue';
SELECT status_code FROM aws_lambda.invoke('score', '{"amount": 7}'::jsonb, invocation_type => 'Event');
RESET aws_lambda.events;
SELECT count(*) FROM aws_lambda.queue;
CALL aws_lambda.deliver();

DROP TABLE trigger_orders;
DROP FUNCTION queue_order();
