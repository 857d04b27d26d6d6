"""Who seals, and when a signature is checked before it leaves."""

import pickle
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner, Signature, Signer, SSlibKey

from consumers.render.edition import DivergenceError
from consumers.render.sealing import SNAPSHOT, CheckingSealer, SigningSealer
from ledger.keys.keyring import Keyring, SignerError, generate_key_file
from projections.metadata.repository import pack_digest
from projections.roles.keys import RoleKeys

PAYLOAD = b'{"_type":"targets"}'


class KeyService(Signer):
    """A key that is elsewhere, and does what it is told or something else."""

    def __init__(self, signer: CryptoSigner, *, faulty: bool) -> None:
        self._signer = signer
        self._faulty = faulty

    @property
    def public_key(self) -> SSlibKey:
        return self._signer.public_key

    @classmethod
    def from_priv_key_uri(cls, *_: object) -> Signer:
        raise NotImplementedError

    def sign(self, payload: bytes) -> Signature:
        return self._signer.sign(payload + b" " if self._faulty else payload)


def keys_of(signer: Signer) -> RoleKeys:
    """A role of which this is the one key."""
    key = signer.public_key
    assert isinstance(key, SSlibKey)
    return RoleKeys((key,), 1)


@pytest.mark.parametrize("name", ["bin-0", SNAPSHOT])
def test_what_a_faulty_key_service_signed_does_not_leave(name: str) -> None:
    """Clients would be the first to find out."""
    service = KeyService(CryptoSigner.generate_ed25519(), faulty=True)
    with pytest.raises(SignerError, match=f"the signature of {name} does not verify"):
        SigningSealer(keys_of(service), [service]).seal(name, PAYLOAD)


def test_all_sealers_make_the_same_file(tmp_path: Path) -> None:
    """With a key in memory, with a key elsewhere, in another process, and from the log."""
    local = generate_key_file(tmp_path)
    online = keys_of(local)
    signing = SigningSealer(online, [local], Keyring(tmp_path))
    file = signing.seal("bin-0", PAYLOAD)
    elsewhere = SigningSealer(online, [KeyService(local, faulty=False)])
    assert elsewhere.seal("bin-0", PAYLOAD) == file
    remote = pickle.loads(pickle.dumps(signing.remote(["bin-0"])))
    assert remote.seal("bin-0", PAYLOAD) == file
    assert remote.packed == elsewhere.packed == signing.packed
    seals = {"bin-0": (pack_digest(file), signing.packed["bin-0"])}
    checking = pickle.loads(pickle.dumps(CheckingSealer(online, seals).remote(["bin-0"])))
    assert checking.seal("bin-0", PAYLOAD) == file
    with pytest.raises(DivergenceError):
        checking.seal("bin-0", PAYLOAD + b" ")
