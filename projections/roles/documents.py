"""Offline role documents: TUF metadata files as they come in `roles.signed`.

The checks here need nothing but the document: its form, and that it has exactly one byte string. The file of a document
is its canonical JSON. Its signatures cover the canonical JSON of `signed` as TUF defines it. The two kinds of canonical
JSON differ in how a newline in a PEM key is written.
"""

import re
from typing import Any

import msgspec

from projections.roles.keys import KeysError, signatures_by_keyid
from schemas import canonical
from schemas.fields import Instant, Sha256, is_calendar_time
from schemas.publications import HexSignature

SPEC_VERSION = "1.0.34"
"""The version of the TUF specification that all metadata states."""

TUF_TYPES: dict[str, str] = {"root": "root", "targets": "targets", "bins": "targets"}
"""The `_type` of each offline role."""

_TEXT = re.compile(r"[ -~\n]*")


class DocumentError(ValueError):
    """A document breaks a rule of docs/rules.md, section 6. `code` is the code of the rejection."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keyid: Sha256
    sig: HexSignature


class _Common(msgspec.Struct, frozen=True, rename={"type_": "_type"}):
    type_: str
    spec_version: str
    version: int
    expires: Instant


class SignedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A metadata file of any role: what is signed, and the signatures (TUF 1.0.34, section 4.2.1)."""

    signatures: tuple[_Signature, ...]
    signed: dict[str, Any]


class Document(msgspec.Struct, frozen=True):
    """One version of an offline role. `file` is the metadata file as served."""

    role: str
    version: int
    expires: str
    signed: dict[str, Any]
    signatures: dict[str, str]
    file: bytes

    @property
    def payload(self) -> bytes:
        """The bytes that the signatures cover."""
        return canonical.encode_for_signing(self.signed)


def read_document(role: str, value: dict[str, Any]) -> Document:
    """Read the metadata file of an offline role.

    Raises:
        DocumentError: the file is malformed.
    """
    _check_values(value)
    try:
        file = msgspec.convert(value, SignedFile)
        common = msgspec.convert(file.signed, _Common)
        signatures = signatures_by_keyid((each.keyid, each.sig) for each in file.signatures)
    except (msgspec.ValidationError, KeysError) as error:
        raise DocumentError("roles-malformed", f"{role}: {error}") from error
    if common.type_ != TUF_TYPES[role]:
        raise DocumentError("roles-malformed", f"{role}: `_type` is {common.type_!r}")
    if not re.fullmatch(r"1(\.[0-9]+){1,2}", common.spec_version):
        raise DocumentError("roles-malformed", f"{role}: `spec_version` {common.spec_version!r} is not 1.x")
    if common.version < 1 or not is_calendar_time(common.expires):
        raise DocumentError("roles-malformed", f"{role}: `version` or `expires` is out of range")
    return Document(role, common.version, common.expires, file.signed, signatures, canonical.encode(value))


def _check_values(value: Any) -> None:
    """Check that every value in a document has one canonical form, here and in clients of any language.

    Raises:
        DocumentError: a value does not.
    """
    if isinstance(value, str):
        if not _TEXT.fullmatch(value):
            raise DocumentError("roles-malformed", "text must be printable ASCII")
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_values(name)
            _check_values(member)
    elif isinstance(value, list):
        for member in value:
            _check_values(member)
    elif isinstance(value, float):
        raise DocumentError("roles-malformed", "numbers must be integers")
    elif isinstance(value, int) and not -canonical.MAX_INTEGER <= value <= canonical.MAX_INTEGER:
        raise DocumentError("roles-malformed", "integers must be within 2^53")
