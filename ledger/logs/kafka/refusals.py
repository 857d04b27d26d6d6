"""Refusals of a cluster, in words that say what to do. Trying again does not help.

Refusals come in two ways. A missing right or a bad record is an error of a request (`refuse`). A failure before any
request (TLS, user, password) is only logged by aiokafka's clients: they try the next server and end with "unable to
bootstrap", as if no broker ran. So after a failed start, each server is asked once by a single connection, which gives
the cause (`explain_outage`).
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka.conn import AIOKafkaConnection, collect_hosts, create_conn
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    IllegalSaslStateError,
    InvalidTimestampError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.admin import SaslHandShakeRequest
from aiokafka.protocol.metadata import MetadataRequest

from ledger.logs import LogSettingsError

Security = Mapping[str, Any]
"""Options of aiokafka's clients for authentication and encryption: `clients.SECURITY_OPTIONS`."""

SEE_RIGHTS = 'docs/operators.md, "Rights on Kafka", lists the rights of each command and consumer'

_UNAUTHORIZED = (ClusterAuthorizationFailedError, TopicAuthorizationFailedError)
_NO_CERTIFICATE = ("BAD_CERTIFICATE", "CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE")
"""TLS alerts of a broker that got no client certificate: by Java, by OpenSSL, and by older versions."""

_ANOTHER_HOSTS = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""

_TLS_ALERT = b"\x15\x03"
"""The beginning of a TLS alert, where a client without TLS expects the length of an answer."""


def principal(security: Security) -> str:
    """The principal of this client for the brokers, as far as it is known, without secrets."""
    protocol = security.get("security_protocol", "PLAINTEXT")
    if protocol.startswith("SASL"):
        user = security.get("sasl_plain_username")
        return f"User:{user}" if user else "this principal"
    return "the subject of ssl_certfile" if protocol == "SSL" else "User:ANONYMOUS"


def refuse(error: Exception, name: str, security: Security, right: str) -> None:
    """Raise a settings error if the cluster has refused a request and will refuse it again.

    Args:
        error: aiokafka's error.
        name: the topic and the address of its brokers.
        security: the options of the client.
        right: the right that the request needs: the cluster names neither topic nor right.

    Raises:
        LogSettingsError: the error is a refusal.
    """
    if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
        raise LogSettingsError(f"{name} refuses a record as too large: raise max.message.bytes of the topic") from error
    if isinstance(error, InvalidTimestampError):
        raise LogSettingsError(
            f"{name} refuses a record for its time: the clocks of this machine and of the broker are far apart. Set "
            "both, or let the broker stamp records itself (message.timestamp.type=LogAppendTime of the topic)"
        ) from error
    if isinstance(error, _UNAUTHORIZED):
        raise LogSettingsError(
            f"{principal(security)} lacks the right {right} on {name}: grant it. {SEE_RIGHTS}"
        ) from error


def describe(error: BaseException) -> str:
    """A short description of an error of aiokafka."""
    return str(error) if isinstance(error, KafkaError) else f"{type(error).__name__}: {error}".removesuffix(": ")


async def explain_outage(servers: str, security: Security, within_seconds: float) -> str:
    """Ask each server why no client can start, and return the reasons of the outage in words.

    Raises:
        LogSettingsError: a server answers, but refuses access.
    """
    reasons = []
    for host, port, _ in collect_hosts(servers, randomize=False):
        server = _Server(host, port, security, round(within_seconds * 1000))
        try:
            await server.ask(MetadataRequest([]))
        except (KafkaError, OSError) as error:
            cause = error.__cause__ if isinstance(error, KafkaConnectionError) and error.__cause__ else error
            await _refuse_us(cause, server)
            reasons.append(f"{server.name}: {describe(cause)}")
    return "; ".join(reasons)


@dataclass(frozen=True)
class _Server:
    """One broker, asked by single connections."""

    host: str
    port: int
    security: Security = field(repr=False)
    request_timeout_milliseconds: int

    @property
    def name(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def protocol(self) -> str:
        protocol: str = self.security.get("security_protocol", "PLAINTEXT")
        return protocol

    async def ask(self, request: Any, **changed: Any) -> Any:
        """Connect, authenticate, and send one request."""
        connection: AIOKafkaConnection = await create_conn(
            self.host,
            self.port,
            request_timeout_ms=self.request_timeout_milliseconds,
            **{**self.security, **changed},
        )
        try:
            return await connection.send(request)
        finally:
            connection.close()

    async def mechanisms(self) -> list[str]:
        """The SASL mechanisms of this port; an empty list if it has none or does not list them."""
        unnamed = "SSL" if self.protocol.endswith("SSL") else "PLAINTEXT"
        try:
            answer = await self.ask(SaslHandShakeRequest("none"), security_protocol=unnamed)
        except (KafkaError, OSError):
            return []
        return sorted(answer.enabled_mechanisms)


async def _refuse_us(cause: BaseException, server: _Server) -> None:
    """Raise a settings error if a server has refused access.

    Raises:
        LogSettingsError: the cause is a refusal, not an outage.
    """
    name = f"Kafka at {server.name}"
    user = server.security.get("sasl_plain_username") or ""
    problem = None
    match cause:
        case SaslAuthenticationFailed():
            problem = (
                f"{name} refuses the user {user!r} or the password: check [kafka] sasl_username and sasl_password "
                "(TUF_LEDGER_KAFKA_SASL_PASSWORD)"
            )
        case UnsupportedSaslMechanismError():
            offered = ", ".join(await server.mechanisms()) or "others"
            mechanism = server.security.get("sasl_mechanism")
            problem = f"{name} has no SASL mechanism {mechanism}: set [kafka] sasl_mechanism to one it has ({offered})"
        case IllegalSaslStateError():
            problem = f"{name} accepts no user and password: set [kafka] security_protocol to the protocol of this port"
        case ssl.SSLError():
            problem = _tls_problem(cause, name)
        case asyncio.IncompleteReadError() if (cause.expected or 0).to_bytes(8, "big")[4:6] == _TLS_ALERT:
            problem = f"{name} requires TLS: set [kafka] security_protocol to SSL or SASL_SSL"
        case asyncio.IncompleteReadError() if "SASL" not in server.protocol and await server.mechanisms():
            wanted = "SASL_SSL" if server.protocol == "SSL" else "SASL_PLAINTEXT"
            problem = (
                f"{name} requires a user and a password: set [kafka] security_protocol to {wanted}, and set "
                "sasl_username and sasl_password"
            )
    if problem:
        raise LogSettingsError(problem) from cause


def _tls_problem(error: ssl.SSLError, name: str) -> str | None:
    """The problem with a certificate; None if the handshake failed for another, perhaps temporary, reason."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _ANOTHER_HOSTS:
            return (
                f"the certificate of {name} is not for this host ({error.verify_message}): in [ledger] log, name the "
                "host as its certificate does"
            )
        return (
            f"the certificate of {name} is not trusted ({error.verify_message}): set [kafka] ssl_cafile to the "
            "certificate of the authority that signed it"
        )
    reason = error.reason or ""
    if any(alert in reason for alert in _NO_CERTIFICATE):
        return (
            f"{name} requires a client certificate: set [kafka] ssl_certfile and ssl_keyfile to a certificate that is "
            "signed by an authority the brokers trust"
        )
    if "ALERT" in reason and "INTERNAL_ERROR" not in reason:
        return (
            f"{name} does not accept the certificate in [kafka] ssl_certfile, or this client's TLS "
            f"({reason.replace('_', ' ').lower()}): the brokers must trust the certificate's authority, and the "
            "certificate must not have expired"
        )
    return None
