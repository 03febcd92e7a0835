"""Verifies AWS Signature Version 4 in the Authorization header, refusing as AWS does.

Leaves out presigned URLs, aws-chunked bodies, SigV4A, the Date header in place
of X-Amz-Date, and the exceptions S3 makes.
"""

import datetime
import functools
import hashlib
import hmac
import re
from typing import NamedTuple, Optional
from urllib.parse import quote, unquote


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
    """Who signed the request. Raises Refused when nobody known did, or not rightly."""
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
    canonical = canonical_request(
        request.method, request.path, request.query, headers, signed, body
    )
    expected = signature(key.secret, timestamp, region, service, canonical)
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


def check_age(timestamp, now):
    try:
        signed_at = datetime.datetime.strptime(timestamp, TIMESTAMP)
    except ValueError:
        raise Refused(
            "IncompleteSignatureException",
            f"Date must be in ISO-8601 'basic format'. Got '{timestamp}'.",
        ) from None
    signed_at = signed_at.replace(tzinfo=datetime.timezone.utc)
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
    # A header that changes the meaning of the call must not be open to tampering.
    must = ["host"] + [name for name in headers if name.startswith("x-amz-")]
    for name in must:
        if name not in signed:
            raise Refused(
                "InvalidSignatureException",
                f"'{name}' must be a 'SignedHeader' in the AWS Authorization.",
            )


def canonical_request(method, path, query, headers, signed, body):
    payload_hash = headers.get("x-amz-content-sha256")
    if payload_hash != "UNSIGNED-PAYLOAD":
        # Never the client's own claim: a body changed on the way must not verify.
        payload_hash = hashlib.sha256(body).hexdigest()
    return "\n".join(
        [
            method,
            # The path arrives encoded once; every service but S3 signs it encoded twice.
            quote(path, safe="/-_.~"),
            canonical_query(query),
            *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in signed),
            "",
            ";".join(signed),
            payload_hash,
        ]
    )


def canonical_query(query):
    pairs = []
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        pairs.append((quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~")))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def signature(secret, timestamp, region, service, canonical):
    date = timestamp[:8]
    to_sign = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            timestamp,
            f"{date}/{region}/{service}/aws4_request",
            hashlib.sha256(canonical.encode("latin-1")).hexdigest(),
        ]
    )
    return hmac_sha256(signing_key(secret, date, region, service), to_sign).hex()


@functools.lru_cache(maxsize=64)
def signing_key(secret, date, region, service):
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac_sha256(key, part)
    return key


def hmac_sha256(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
