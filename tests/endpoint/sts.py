"""STS: AssumeRole, its XML and its errors.

Every known key may assume every role, and gets the same session key. The end of
the role's ARN is the script: /hang, /denied and /needs-external-id. Leaves out
policies, tags, durations and every other action.
"""

import datetime
from typing import NamedTuple, Optional
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import sigv4
from wire import Answer

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
REQUEST_ID = "00000000-0000-0000-0000-000000000000"
EXTERNAL_ID = "example-external-id"
SESSION_KEY = "ASIAEXAMPLE"

# STS has its own error codes for what sigv4 refuses.
CODES = {
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "IncompleteSignatureException": "IncompleteSignature",
    "UnrecognizedClientException": "InvalidClientTokenId",
    "InvalidSignatureException": "SignatureDoesNotMatch",
}


class AssumeRole(NamedTuple):
    role_arn: str
    session_name: str
    external_id: Optional[str]


def parse(body):
    """The AssumeRole call in a form body, or None when it is another action."""
    form = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
    if form.get("Action") != "AssumeRole":
        return None
    return AssumeRole(
        form.get("RoleArn", ""), form.get("RoleSessionName", ""), form.get("ExternalId")
    )


async def answer(call, connection):
    """The answer, or None if the connection is to be closed, as of a script."""
    if call.role_arn.endswith("/hang"):
        await connection.wait_until_closed()
        return None
    needs_id = call.role_arn.endswith("/needs-external-id")
    if call.role_arn.endswith("/denied") or (needs_id and call.external_id != EXTERNAL_ID):
        return error(
            403,
            "AccessDenied",
            "User: arn:aws:iam::123456789012:user/example is not authorized to perform: "
            f"sts:AssumeRole on resource: {call.role_arn}",
        )
    return assumed(call)


def assumed(call):
    key = sigv4.KEYS[SESSION_KEY]
    expiration = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    role = call.role_arn.rpartition("/")[2]
    session = f"{role}/{call.session_name}"
    return xml(
        200,
        f"""<AssumeRoleResponse xmlns="{NAMESPACE}">
  <AssumeRoleResult>
    <AssumedRoleUser>
      <AssumedRoleId>AROAEXAMPLE:{escape(call.session_name)}</AssumedRoleId>
      <Arn>arn:aws:sts::123456789012:assumed-role/{escape(session)}</Arn>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>{SESSION_KEY}</AccessKeyId>
      <SecretAccessKey>{key.secret}</SecretAccessKey>
      <SessionToken>{key.session_token}</SessionToken>
      <Expiration>{expiration.strftime("%Y-%m-%dT%H:%M:%SZ")}</Expiration>
    </Credentials>
  </AssumeRoleResult>
  <ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata>
</AssumeRoleResponse>
""",
    )


def refused(reason):
    return error(403, CODES.get(reason.code, reason.code), reason.message)


def invalid_action():
    return error(400, "InvalidAction", "Could not find operation for version 2011-06-15")


def error(status, code, message):
    return xml(
        status,
        f"""<ErrorResponse xmlns="{NAMESPACE}">
  <Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(message)}</Message></Error>
  <RequestId>{REQUEST_ID}</RequestId>
</ErrorResponse>
""",
    )


def xml(status, body):
    return Answer(status, body.encode(), (("Content-Type", "text/xml"),))
