"""Public keys and thresholds (TUF 1.0.34, sections 4.2 and 5)."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Literal

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import Signature, SSlibKey

from schemas.canonical import encode_for_signing
from schemas.fields import Sha256

SCHEMES = {"ed25519": "ed25519", "ecdsa": "ecdsa-sha2-nistp256", "rsa": "rsassa-pss-sha256"}
"""The one scheme allowed for each type of key."""


MIN_RSA_BITS = 2048


class KeysError(ValueError):
    """Keys, or roles that use them, break a rule of docs/rules.md, section 6."""


class KeyValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The public part of a key: hexadecimal for Ed25519, PEM for the others."""

    public: str


class KeyDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key as metadata has it."""

    keytype: Literal["ed25519", "ecdsa", "rsa"]
    scheme: Literal["ed25519", "ecdsa-sha2-nistp256", "rsassa-pss-sha256"]
    keyval: KeyValue

    @property
    def keyid(self) -> str:
        """SHA-256 of the canonical key (TUF 1.0.34, section 4.2)."""
        return sha256(encode_for_signing(msgspec.to_builtins(self))).hexdigest()


class RoleDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A role of root: the ids of its keys, and its threshold."""

    keyids: tuple[Sha256, ...]
    threshold: int


class RoleKeys(msgspec.Struct, frozen=True):
    """The keys of a role, sorted by key id, and its threshold."""

    keys: tuple[SSlibKey, ...]
    threshold: int

    @property
    def keyids(self) -> tuple[str, ...]:
        """The key ids, sorted."""
        return tuple(key.keyid for key in self.keys)

    def verified(self, signatures: Mapping[str, str], payload: bytes) -> int:
        """The number of valid signatures (hexadecimal, by key id) by keys of the role."""
        return sum(key.keyid in signatures and verify(key, signatures[key.keyid], payload) for key in self.keys)

    def accept(self, signatures: Mapping[str, str], payload: bytes) -> bool:
        """Whether a threshold of the role's keys signed; signatures by other keys do not count."""
        return self.verified(signatures, payload) >= self.threshold

    def accept_all(self, signatures: Mapping[str, str], payload: bytes) -> bool:
        """Whether a threshold of the role's keys signed, and no signature is invalid or by another key."""
        return len(signatures) == self.verified(signatures, payload) >= self.threshold


def verify(key: SSlibKey, signature: str, payload: bytes) -> bool:
    """Whether a signature (hexadecimal) by a key is valid."""
    try:
        key.verify_signature(Signature(key.keyid, signature), payload)
    except (UnverifiedSignatureError, VerificationError):
        return False
    return True


def read_keys(documents: Any) -> dict[str, SSlibKey]:
    """The keys of a `keys` member by their ids.

    Raises:
        KeysError: a key has no type of `SCHEMES`, cannot be read, is not listed under its id, or is listed twice.
    """
    try:
        keys = msgspec.convert(documents, dict[str, KeyDocument])
    except msgspec.ValidationError as error:
        raise KeysError(str(error)) from error
    result: dict[str, SSlibKey] = {}
    material: set[bytes] = set()
    for keyid, document in keys.items():
        if SCHEMES[document.keytype] != document.scheme or document.keyid != keyid:
            raise KeysError(f"key {keyid[:16]}… has another id or scheme than its type and value give")
        result[keyid] = SSlibKey.from_dict(keyid, msgspec.to_builtins(document))
        key = material_of(result[keyid])
        if key in material:
            # The same PEM with another line break has another id, but one signer must not count as two.
            raise KeysError(f"key {keyid[:16]}… stands there twice, written in two ways")
        material.add(key)
    return result


def read_role(role: RoleDocument, keys: Mapping[str, SSlibKey]) -> RoleKeys:
    """The keys of a role.

    Raises:
        KeysError: a key id is repeated or unknown, or the threshold is not between 1 and the number of keys.
    """
    if len(set(role.keyids)) != len(role.keyids):
        raise KeysError("a role lists a key twice")
    if unknown := [keyid for keyid in role.keyids if keyid not in keys]:
        raise KeysError(f"a role lists key {unknown[0][:16]}…, which is not among the keys")
    if not 1 <= role.threshold <= len(role.keyids):
        raise KeysError(f"a threshold of {role.threshold} for {len(role.keyids)} keys")
    return RoleKeys(tuple(keys[keyid] for keyid in sorted(role.keyids)), role.threshold)


def signatures_by_keyid(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Signatures by key id.

    Raises:
        KeysError: a key id occurs twice.
    """
    result: dict[str, str] = {}
    for keyid, signature in pairs:
        if keyid in result:
            raise KeysError(f"two signatures by key {keyid[:16]}…")
        result[keyid] = signature
    return result


def material_of(key: SSlibKey) -> bytes:
    """The public key itself, the same for every way to write it.

    Raises:
        KeysError: the key does not have the form of its type, or is too weak.
    """
    public = key.keyval["public"]
    loaded: Any
    try:
        if key.keytype == "ed25519":
            loaded = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
            fits = public == bytes.fromhex(public).hex()
        else:
            loaded = load_pem_public_key(public.encode())
            is_ecdsa = isinstance(loaded, ec.EllipticCurvePublicKey) and isinstance(loaded.curve, ec.SECP256R1)
            is_rsa = isinstance(loaded, rsa.RSAPublicKey) and loaded.key_size >= MIN_RSA_BITS
            fits = is_ecdsa if key.keytype == "ecdsa" else is_rsa
    except (ValueError, UnsupportedAlgorithm):
        fits, loaded = False, None
    if not fits:
        raise KeysError(f"key {key.keyid[:16]}… cannot be read")
    return bytes(loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
