"""Sealers turn payloads into metadata files.

A signer signs. Every other follower takes the signatures from the log and checks them. The files are the same bytes.

Signatures by a key service are all checked at once. A key in memory was compared with its public key when it was
opened, and checking each signature would take a fifth of the time of a bin. So with keys in memory, the signer checks
only the claim, the snapshot and the timestamp of each publication; other followers check the bins.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Protocol

from securesystemslib.signer import Signer

from consumers.render.edition import DivergenceError
from ledger.keys.keyring import Keyring, SignerError, is_in_memory, sign
from projections.metadata.repository import pack_digest, pack_signatures, signed_file, unpack_signatures
from projections.roles.keys import RoleKeys
from schemas.publications import Publication

SNAPSHOT = "snapshot"

Seals = Mapping[str, tuple[str, Sequence[str]]]
"""By role name: the SHA-256 of the file and its signatures, both as a publication holds them."""


class BinSealer(Protocol):
    """Turns payloads into metadata files."""

    @property
    def packed(self) -> dict[str, tuple[str, ...]]:
        """The signatures made so far, by role name, as a publication holds them."""

    def seal(self, name: str, payload: bytes) -> bytes:
        """The file of a bin or of `snapshot`: the payload with its signatures.

        Raises:
            DivergenceError: the log has no signatures of this file, or those of other bytes.
            SignerError: a key does not sign.
        """


class Sealer(BinSealer, Protocol):
    """Turns payloads into metadata files. Called from several threads."""

    def remote(self, names: Iterable[str]) -> BinSealer | None:
        """The sealer of these bins in other processes; None if only this process can seal."""


class SigningSealer:
    """Signs with private keys. `packed` collects the signatures by role name, as a publication holds them.

    Args:
        online: the online keys in force.
        signers: the keys that sign.
        keyring: where other processes find the keys.

    Attributes:
        are_in_memory: whether all keys are, so that no signature takes long.
    """

    def __init__(self, online: RoleKeys, signers: Sequence[Signer], keyring: Keyring | None = None) -> None:
        self._online = online
        self._signers = signers
        self._keyring = keyring
        self.are_in_memory = all(map(is_in_memory, signers))
        self.packed: dict[str, tuple[str, ...]] = {}

    def seal(self, name: str, payload: bytes) -> bytes:
        """Sign a payload and return the file."""
        checks = not self.are_in_memory or name == SNAPSHOT
        signatures = self.signatures(name, payload) if checks else self._sign(payload)
        self.packed[name] = pack_signatures(self._online, signatures)
        return signed_file(payload, signatures)

    def remote(self, _names: Iterable[str]) -> "RemoteSealer | None":
        """The same for another process, which opens the keys itself."""
        if self._keyring is None:
            return None
        return RemoteSealer(self._online, *self._keyring.places)

    def signatures(self, name: str, payload: bytes) -> dict[str, str]:
        """Verified signatures (hexadecimal, by key id) of all keys of this signer.

        Raises:
            SignerError: a key does not sign, or its signature does not verify.
        """
        signatures = self._sign(payload)
        if not self._online.accept_all(signatures, payload):
            raise SignerError(f"the signature of {name} does not verify: check the key service in [signer] uris")
        return signatures

    def _sign(self, payload: bytes) -> dict[str, str]:
        return {signer.public_key.keyid: sign(signer, payload) for signer in self._signers}


class RemoteSealer:
    """Signs in another process, with keys from the same places. Can be pickled, since it holds no private key."""

    def __init__(self, online: RoleKeys, folder: Path | None, uris: Mapping[str, str]) -> None:
        self._online = online
        self._places = (folder, tuple(sorted(uris.items())))

    @cached_property
    def _sealer(self) -> SigningSealer:
        return SigningSealer(self._online, _keyring(*self._places).find(self._online.keys))

    @property
    def packed(self) -> dict[str, tuple[str, ...]]:
        """As `SigningSealer.packed`."""
        return self._sealer.packed

    def seal(self, name: str, payload: bytes) -> bytes:
        """Sign a payload, as `SigningSealer.seal`."""
        return self._sealer.seal(name, payload)


@cache
def _keyring(folder: Path | None, uris: tuple[tuple[str, str], ...]) -> Keyring:
    """The keyring of this process; it opens each key once."""
    return Keyring(folder, dict(uris))


class CheckingSealer:
    """Takes signatures from the log, and checks them and the resulting file. Can be pickled.

    Args:
        online: the online keys in force.
        seals: the seals on the log.
        are_checked: whether the signatures were checked, over the files that have these digests.
    """

    def __init__(self, online: RoleKeys, seals: Seals, *, are_checked: bool = False) -> None:
        self._online = online
        self._seals = seals
        self._are_checked = are_checked
        self.packed: dict[str, tuple[str, ...]] = {}

    def seal(self, name: str, payload: bytes) -> bytes:
        """The file as it was published."""
        seal = self._seals.get(name)
        if seal is None:
            raise DivergenceError(f"the publication had to sign {name}, but did not")
        digest, packed = seal
        signatures = unpack_signatures(self._online, packed)
        if not (self._are_checked or self._online.accept_all(signatures, payload)):
            raise DivergenceError(f"the signatures of {name} do not fit the bytes that its events make")
        file = signed_file(payload, signatures)
        if pack_digest(file) != digest:
            raise DivergenceError(f"the file of {name} has another digest than the publication says")
        return file

    def remote(self, names: Iterable[str]) -> "CheckingSealer":
        """The same, for some bins."""
        seals = {name: self._seals[name] for name in names if name in self._seals}
        return CheckingSealer(self._online, seals, are_checked=self._are_checked)


def seals_of(publication: Publication) -> dict[str, tuple[str, Sequence[str]]]:
    """The seals in a publication, by role name."""
    digest, _, packed = publication.snapshot
    return {
        **{name: (sha256, signatures) for name, sha256, signatures in publication.roles},
        SNAPSHOT: (digest, packed),
    }
