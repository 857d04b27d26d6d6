"""Private keys, found by securesystemslib URI or in a folder.

    SignerError   a key cannot be used, or does not sign

`file2:PATH` is a PEM file (PKCS#8); `awskms:`, `gcpkms:`, `azurekms:`, `hsm:`, `hv:` and the other schemes are those of
securesystemslib. A key in a folder is found by its key id, so a running service finds a key that was added meanwhile.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.exceptions import KeyMismatchError, UnsupportedLibraryError
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Signer, SSlibKey

from ledger.disk.files import writing
from schemas.errors import LedgerError, TemporaryError


class SignerError(LedgerError):
    """A key cannot be used, or does not sign. A running service retries, so it finds a key that is added."""

    is_retried = True


class KeyServiceError(SignerError, TemporaryError):
    """A key service does not answer, or did not sign."""


class MissingKeyError(SignerError):
    """This machine holds too few of the online keys in force."""


class Keyring:
    """Finds signers for public keys: by URI if one is configured, otherwise as `KEYID.pem` in a folder."""

    def __init__(self, folder: Path | None, uris: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._uris = dict(uris or {})
        self._signers: dict[str, Signer] = {}

    @property
    def folder(self) -> str:
        """The place of key files, in words."""
        return "[signer] uris" if self._folder is None else str(self._folder)

    @property
    def places(self) -> tuple[Path | None, Mapping[str, str]]:
        """The folder and the URIs, for another process to find the same signers."""
        return self._folder, self._uris

    def find(self, keys: Iterable[SSlibKey]) -> list[Signer]:
        """The signers of those keys that this machine holds, in the order of the keys.

        Raises:
            SignerError: a key cannot be loaded.
        """
        return [signer for signer in (self._find(key) for key in keys) if signer is not None]

    def _find(self, key: SSlibKey) -> Signer | None:
        if key.keyid in self._signers:
            return self._signers[key.keyid]
        uri = self._uris.get(key.keyid)
        path = None if self._folder is None else self._folder / f"{key.keyid}.pem"
        try:
            if uri is not None:
                signer = Signer.from_priv_key_uri(uri, key)
            elif path is not None and path.exists():
                # Not by a URI: a # or ? in the path would cut it off.
                signer = CryptoSigner(load_pem_private_key(path.read_bytes(), None), key)
            else:
                return None
        except Exception as error:  # whatever a client library of a key service raises
            why = _explain_file(path, error) if uri is None else _explain(uri, error)
            kind = KeyServiceError if uri is not None and _is_known(uri, error) else SignerError
            raise kind(f"key {key.keyid[:16]}… cannot be used: {why}") from error
        self._signers[key.keyid] = signer
        return signer


def _explain_file(path: Path | None, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{path}: {error.strerror}"
    if isinstance(error, KeyMismatchError):
        return f"{path} is another key than its name says"
    return f"{path} is not a private key in PEM format without a password"


def _is_known(uri: str, error: Exception) -> bool:
    """Whether the scheme of a URI is known and its library is installed."""
    return uri.partition(":")[0] in SIGNER_FOR_URI_SCHEME and not isinstance(error, UnsupportedLibraryError)


def _explain(uri: str, error: Exception) -> str:
    """Why the key of a URI cannot be used. URI and service messages are not repeated: they may hold a secret."""
    scheme = uri.partition(":")[0]
    if scheme not in SIGNER_FOR_URI_SCHEME:
        return f"its URI in [signer] uris must begin with one of {', '.join(sorted(SIGNER_FOR_URI_SCHEME))}"
    return f"{scheme}: {error if isinstance(error, UnsupportedLibraryError) else type(error).__name__}"


def generate_key_file(folder: Path) -> CryptoSigner:
    """Make an Ed25519 key and store it as `KEYID.pem` with mode 0600 in a folder of mode 0700.

    Raises:
        StorageError: the file cannot be written; nothing is left behind.
    """
    signer = CryptoSigner.generate_ed25519()
    path = folder / f"{signer.public_key.keyid}.pem"
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(signer.private_bytes)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            path.unlink(missing_ok=True)  # half a key would make the folder unreadable
            raise
    return signer


def load_key_files(folder: Path) -> list[CryptoSigner]:
    """The signers of all key files of a folder, sorted by key id; none if the folder is missing.

    Raises:
        SignerError: a file cannot be read.
    """
    signers = []
    for path in sorted(folder.glob("*.pem")):
        try:
            private = load_pem_private_key(path.read_bytes(), None)
            signers.append(CryptoSigner(private))  # other types of keys raise ValueError
        except (OSError, ValueError, TypeError) as error:
            raise SignerError(_explain_file(path, error)) from error
    return signers


def is_in_memory(signer: Signer) -> bool:
    """Whether the private key is in this process. Such a key was compared with its public key when it was opened."""
    return type(signer) is CryptoSigner


def sign(signer: Signer, payload: bytes) -> str:
    """A signature in hexadecimal.

    Raises:
        KeyServiceError: the key does not sign.
    """
    try:
        return signer.sign(payload).signature
    except Exception as error:  # whatever a client library of a key service raises
        keyid = signer.public_key.keyid
        raise KeyServiceError(f"key {keyid[:16]}… did not sign: {type(error).__name__}: {error}") from error
