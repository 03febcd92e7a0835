-- A trigger that sends each new order to a function as an Event: Lambda queues it, and the INSERT does not wait
-- for the function to run.
--
-- Beware: a transaction can be rolled back, an event that was sent cannot. The second half of this file
-- shows it, and what helps. A trigger also makes every INSERT wait for Lambda to take the event, and fail if
-- Lambda can't be reached: here after one attempt, where there would be pauses and further ones for several seconds.
-- On a busy table, write to a queue table instead and let a worker invoke the function.

CREATE EXTENSION IF NOT EXISTS aws_lambda CASCADE;

CREATE TABLE trigger_orders (id int PRIMARY KEY, amount numeric, country text);

CREATE FUNCTION send_order() RETURNS trigger LANGUAGE plpgsql SET aws_lambda.max_retries = 0 AS $$
DECLARE
    status int;
BEGIN
    SELECT status_code INTO status
    FROM aws_lambda.invoke('score', to_jsonb(NEW), invocation_type => 'Event');
    RAISE NOTICE 'sent order %, status %', NEW.id, status;
    RETURN NULL;
END $$;

CREATE TRIGGER send_order AFTER INSERT ON trigger_orders
    FOR EACH ROW EXECUTE FUNCTION send_order();

-- 202 means that Lambda has queued the event.
INSERT INTO trigger_orders VALUES (1, 40, 'DE'), (2, 2500, 'PE');

-- The rollback takes the order back, but not the event: the function gets an order that does not exist.
BEGIN;
INSERT INTO trigger_orders VALUES (3, 99, 'JP');
ROLLBACK;
SELECT count(*) FROM trigger_orders WHERE id = 3;

-- A deferred constraint trigger runs at COMMIT, so an earlier rollback sends nothing. It narrows the gap
-- without closing it: the COMMIT itself can still fail after the event was sent.
DROP TRIGGER send_order ON trigger_orders;
CREATE CONSTRAINT TRIGGER send_order AFTER INSERT ON trigger_orders
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION send_order();

BEGIN;
INSERT INTO trigger_orders VALUES (4, 99, 'JP');
ROLLBACK;

BEGIN;
INSERT INTO trigger_orders VALUES (5, 15, 'KE');
COMMIT;

DROP TABLE trigger_orders;
DROP FUNCTION send_order();
