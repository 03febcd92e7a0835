-- Failed invocations: SQLSTATE, message, DETAIL and HINT of each cause, and the number of requests.

\a
ALTER SERVER aws_lambda OPTIONS (ADD max_retries '2', ADD retry_timeout_ms '3000');
CREATE FUNCTION failure(function_name text, sent OUT int, sqlstate OUT text, message OUT text, detail OUT text, hint OUT text)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM endpoint.reset();
    SELECT e.* INTO sqlstate, message, detail, hint
    FROM endpoint.error_of(format('SELECT * FROM aws_lambda.invoke(%L, %L::json)', function_name, '{}')) AS e;
    -- Whether the system says reset, closed or broken pipe is a matter of luck.
    detail := regexp_replace(detail, '(Connection lost''\.) .*(reset|closed|pipe|end of file).*', '\1 (how it broke)');
    sent := endpoint.counter('invocations') + endpoint.counter('refused') + endpoint.counter('aborted');
END $$;

-- The errors of the Invoke API

SELECT f.* FROM (VALUES
    (1, 'error-400-InvalidParameterValueException'),
    (2, 'error-400-InvalidRequestContentException'),
    (3, 'error-400-RecursiveInvocationException'),
    (4, 'error-400-SnapStartException'),
    (5, 'error-403-AccessDeniedException'),
    (6, 'error-403-EFSMountFailureException'),
    (7, 'error-404-ResourceNotFoundException'),
    (8, 'error-408-EFSMountConnectivityException'),
    (9, 'error-408-EFSMountTimeoutException'),
    (10, 'error-408-SnapStartTimeoutException'),
    (11, 'error-409-ResourceConflictException'),
    (12, 'error-409-SnapStartNotReadyException'),
    (13, 'error-410-EFSIOException'),
    (14, 'error-413-RequestTooLargeException'),
    (15, 'error-413-SerializedRequestEntityTooLargeException'),
    (16, 'error-415-UnsupportedMediaTypeException'),
    (17, 'error-429-TooManyRequestsException'),
    (18, 'error-500-ServiceException'),
    (19, 'error-502-EC2AccessDeniedException'),
    (20, 'error-502-EC2ThrottledException'),
    (21, 'error-502-EC2UnexpectedException'),
    (22, 'error-502-ENILimitReachedException'),
    (23, 'error-502-InvalidRuntimeException'),
    (24, 'error-502-InvalidSecurityGroupIDException'),
    (25, 'error-502-InvalidSubnetIDException'),
    (26, 'error-502-InvalidZipFileException'),
    (27, 'error-502-KMSAccessDeniedException'),
    (28, 'error-502-KMSDisabledException'),
    (29, 'error-502-KMSInvalidStateException'),
    (30, 'error-502-KMSNotFoundException'),
    (31, 'error-502-ResourceNotReadyException'),
    (32, 'error-502-SubnetIPAddressLimitReachedException'),
    (33, 'error-400-ModeNotSupportedException'),
    (34, 'error-402-ServiceQuotaExceededException'),
    (35, 'error-403-CodeArtifactUserDeletedException'),
    (36, 'error-403-CodeArtifactUserFailedException'),
    (37, 'error-403-CodeArtifactUserPendingException'),
    (38, 'error-403-S3FilesMountFailureException'),
    (39, 'error-408-S3FilesMountConnectivityException'),
    (40, 'error-408-S3FilesMountTimeoutException'),
    (41, 'error-409-DurableExecutionAlreadyStartedException'),
    (42, 'error-409-NoPublishedVersionException'),
    (43, 'error-502-ENINotReadyException'),
    (44, 'error-502-SnapStartRegenerationFailureException')
) AS n (place, name), failure(n.name) AS f ORDER BY place;

-- Errors that are not in Lambda's model

SELECT f.* FROM (VALUES
    (1, 'nosuchfunction'),
    (2, 'error-403-ExpiredTokenException'),
    (3, 'error-403-UnrecognizedClientException'),
    (4, 'error-403-InvalidSignatureException'),
    (5, 'error-400-ThrottlingException'),
    (6, 'error-500-InternalFailure'),
    (7, 'error-503-ServiceUnavailable')
) AS n (place, name), failure(n.name) AS f ORDER BY place;

-- Throttled once and then no more

SELECT endpoint.reset();
SELECT * FROM aws_lambda.invoke('throttle-1', '1'::json);
SELECT * FROM aws_lambda.invoke('throttle-2', '2'::json);
SELECT endpoint.count();
SELECT * FROM failure('throttle');

-- Not Lambda's answer: a proxy's, or none

SELECT f.* FROM (VALUES (1, 'plain-403'), (2, 'plain-404'), (3, 'plain-429'), (4, 'plain-502'), (5, 'plain-503'), (6, 'plain-504')) AS n (place, name), failure(n.name) AS f ORDER BY place;
SELECT f.* FROM (VALUES (1, 'plain-200'), (2, 'plain-302')) AS n (place, name), failure(n.name) AS f ORDER BY place;

-- A connection that breaks; the answer to none of these is a second request

SELECT f.* FROM (VALUES (1, 'reset-before'), (2, 'reset-after'), (3, 'close-after'), (4, 'cut-body'), (5, 'garbage'), (6, 'huge-headers')) AS n (place, name), failure(n.name) AS f ORDER BY place;

-- Time-outs

SET aws_lambda.request_timeout_ms = 300;
SELECT f.* FROM (VALUES (1, 'hang'), (2, 'sleep-2000'), (3, 'slow-headers-2000'), (4, 'slow-body-2000'), (5, 'stall-body')) AS n (place, name), failure(n.name) AS f ORDER BY place;
RESET aws_lambda.request_timeout_ms;

-- Too large

SET aws_lambda.request_timeout_ms = 30000;
SELECT endpoint.reset();
SELECT endpoint.count(), e.* FROM endpoint.error_of($$SELECT * FROM aws_lambda.invoke('strict', to_json(repeat('x', 6291455)))$$) AS e;
SELECT endpoint.count(), e.* FROM endpoint.error_of($$SELECT * FROM aws_lambda.invoke('strict', to_json(repeat('x', 1048575)), invocation_type => 'Event')$$) AS e;
SELECT status_code, octet_length(payload::text) FROM aws_lambda.invoke('strict', to_json(repeat('x', 6291454)));
SELECT status_code FROM aws_lambda.invoke('strict', to_json(repeat('x', 1048574)), invocation_type => 'Event');
SELECT endpoint.count();

RESET aws_lambda.request_timeout_ms;

-- Not JSON, which a text column lets through

CREATE FOREIGN TABLE texts (function_name text, payload text, response text) SERVER aws_lambda;
SELECT * FROM endpoint.error_of($$SELECT * FROM texts WHERE function_name = 'strict' AND payload = 'not JSON'$$);
DROP FOREIGN TABLE texts;

-- Keys that AWS does not know, or not this way

CREATE SERVER keys FOREIGN DATA WRAPPER aws_lambda_fdw;
CREATE FOREIGN TABLE keys (function_name text, payload jsonb, response jsonb) SERVER keys;
CREATE USER MAPPING FOR CURRENT_USER SERVER keys OPTIONS (access_key_id 'AKIDNOBODY', secret_access_key 'nobodyknows');
SELECT endpoint.reset();
SELECT * FROM endpoint.error_of($$SELECT * FROM keys WHERE function_name = 'echo' AND payload = '{}'$$);
ALTER USER MAPPING FOR CURRENT_USER SERVER keys OPTIONS (SET access_key_id 'AKIDOTHER', SET secret_access_key 'wrongsecret');
SELECT * FROM endpoint.error_of($$SELECT * FROM keys WHERE function_name = 'echo' AND payload = '{}'$$);
ALTER USER MAPPING FOR CURRENT_USER SERVER keys OPTIONS (SET access_key_id 'ASIAEXAMPLE', SET secret_access_key 'sessionsecret');
SELECT * FROM endpoint.error_of($$SELECT * FROM keys WHERE function_name = 'echo' AND payload = '{}'$$);
ALTER USER MAPPING FOR CURRENT_USER SERVER keys OPTIONS (ADD session_token 'stale');
SELECT * FROM endpoint.error_of($$SELECT * FROM keys WHERE function_name = 'echo' AND payload = '{}'$$);
ALTER USER MAPPING FOR CURRENT_USER SERVER keys OPTIONS (SET session_token 'example-session-token');
SELECT response FROM keys WHERE function_name = 'echo' AND payload = '{}';
SELECT endpoint.counter('refused'), endpoint.counter('invocations');
DROP SERVER keys CASCADE;

-- Nobody there

SET aws_lambda.endpoint_override = 'http://127.0.0.1:1';
SELECT * FROM failure('echo');
SET aws_lambda.endpoint_override = 'http://nosuchhost.invalid';
SELECT sent, sqlstate, message, regexp_replace(detail, ' [Ff]ailed to lookup.*| dns error.*', ' (the resolver''s words)') AS detail, hint FROM failure('echo');
RESET aws_lambda.endpoint_override;

-- The session still works

SELECT * FROM aws_lambda.invoke('echo', '"here"'::json);
DROP FUNCTION failure;
ALTER SERVER aws_lambda OPTIONS (DROP max_retries, DROP retry_timeout_ms);
