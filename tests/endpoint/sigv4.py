"""Verifies AWS Signature Version 4 in the Authorization header, and refuses as AWS does.

botocore makes the signature that is expected. Leaves out presigned URLs, aws-chunked bodies, SigV4A, the Date header in place
of X-Amz-Date, and the exceptions S3 makes.
"""

import datetime
import functools
import hashlib
import hmac
import re
from typing import NamedTuple, Optional

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


class Key(NamedTuple):
    secret: str
    session_token: Optional[str]


KEYS = {
    "AKIDEXAMPLE": Key("wJalrXUtnFEMI+K7MDENG+bPxRfiCYEXAMPLEKEY", None),
    "ASIAEXAMPLE": Key("sessionsecret", "example-session-token"),
    "ASIAOTHER": Key("othersessionsecret", "other-session-token"),
    "AKIDOTHER": Key("othersecret", None),
}

TIMESTAMP = "%Y%m%dT%H%M%SZ"
TOLERANCE = datetime.timedelta(minutes=15)

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<credential>[^,\s]+),\s*"
    r"SignedHeaders=(?P<signed>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)


class Refused(Exception):
    """A signature AWS would answer 403 to."""

    def __init__(self, code, message):
        super().__init__(code, message)
        self.code = code
        self.message = message


class Caller(NamedTuple):
    access_key: str
    region: str
    session_token: bool


def verify(request, body, service, now=None):
    """Who signed the request. Raises Refused where the key is unknown or the signature is wrong."""
    headers = request.headers
    if "authorization" not in headers:
        raise Refused("MissingAuthenticationTokenException", "Missing Authentication Token")
    fields = AUTHORIZATION.fullmatch(headers["authorization"])
    scope = fields["credential"].split("/") if fields else []
    if len(scope) != 5 or scope[4] != "aws4_request":
        raise Refused(
            "IncompleteSignatureException",
            "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature'.",
        )
    access_key, date, region, scope_service, _ = scope

    key = KEYS.get(access_key)
    if key is None or headers.get("x-amz-security-token") != key.session_token:
        raise Refused(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        )
    timestamp = headers.get("x-amz-date", "")
    check_scope(date, region, scope_service, service, timestamp)
    check_age(timestamp, now or datetime.datetime.now(datetime.timezone.utc))

    signed = fields["signed"].split(";")
    check_signed_headers(signed, headers)
    expected = signature(request, body, signed, key.secret, timestamp, region, service)
    if not hmac.compare_digest(expected, fields["signature"]):
        raise Refused(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method. "
            "Consult the service documentation for details.",
        )
    return Caller(access_key, region, key.session_token is not None)


def check_scope(date, region, scope_service, service, timestamp):
    if scope_service != service:
        raise Refused(
            "InvalidSignatureException",
            f"Credential should be scoped to correct service: '{service}'. ",
        )
    if not re.fullmatch(r"[a-z]{2,}(-[a-z]+)+-\d", region):
        raise Refused(
            "InvalidSignatureException", "Credential should be scoped to a valid region. "
        )
    if timestamp[:8] != date:
        raise Refused(
            "InvalidSignatureException",
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date "
            f"from HTTP: '{date}' != '{timestamp[:8]}', from '{timestamp}'.",
        )


@functools.lru_cache(maxsize=64)
def parse_timestamp(timestamp):
    return datetime.datetime.strptime(timestamp, TIMESTAMP).replace(tzinfo=datetime.timezone.utc)


def check_age(timestamp, now):
    try:
        signed_at = parse_timestamp(timestamp)
    except ValueError:
        raise Refused(
            "IncompleteSignatureException",
            f"Date must be in ISO-8601 'basic format'. Got '{timestamp}'.",
        ) from None
    earliest, latest = now - TOLERANCE, now + TOLERANCE
    if signed_at < earliest:
        raise Refused(
            "InvalidSignatureException",
            f"Signature expired: {timestamp} is now earlier than "
            f"{earliest.strftime(TIMESTAMP)} ({now.strftime(TIMESTAMP)} - 15 min.)",
        )
    if signed_at > latest:
        raise Refused(
            "InvalidSignatureException",
            f"Signature not yet current: {timestamp} is still later than "
            f"{latest.strftime(TIMESTAMP)} ({now.strftime(TIMESTAMP)} + 15 min.)",
        )


def check_signed_headers(signed, headers):
    # Who changes a header on the way must not change the call.
    must_be_signed = ["host"] + [name for name in headers if name.startswith("x-amz-")]
    for name in must_be_signed:
        if name not in signed:
            raise Refused(
                "InvalidSignatureException",
                f"'{name}' must be a 'SignedHeader' in the AWS Authorization.",
            )


class Signer(SigV4Auth):
    def payload(self, request):
        # As botocore does, which first makes the whole request for that.
        return hashlib.sha256(request.data).hexdigest()


def signature(request, body, signed, secret, timestamp, region, service):
    """The signature of a request with these signed headers."""
    headers = {name: request.headers.get(name, "") for name in signed}
    if headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD") != "UNSIGNED-PAYLOAD":
        # botocore signs the hash that is claimed. A body that was changed on the way must not verify.
        headers["x-amz-content-sha256"] = hashlib.sha256(body).hexdigest()
    url = f"http://{request.headers['host']}{request.path}?{request.query}"
    to_sign = AWSRequest(request.method, url, headers, body)
    to_sign.context["timestamp"] = timestamp
    signer = Signer(Credentials("", secret), service, region)
    string_to_sign = signer.string_to_sign(to_sign, signer.canonical_request(to_sign))
    return signer.signature(string_to_sign, to_sign)
