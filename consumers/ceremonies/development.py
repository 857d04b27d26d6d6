"""The development ceremony: offline roles signed with keys in the ledger's folder.

It makes a ledger usable on one machine in one command. Real offline keys are on other machines and in other hands; a
real ceremony appends the same `roles.signed` event. A README in the folder warns that its keys are not for production.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from securesystemslib.signer import CryptoSigner, SSlibKey

from ledger.clock import to_instant
from ledger.disk.files import writing
from ledger.keys.keyring import SignerError, generate_key_file, load_key_files, sign
from projections.roles.authority import Authority, Settings, Void
from projections.roles.drafts import Plan, Signers, draft
from projections.roles.layout import Layout
from schemas import canonical
from schemas.events import LedgerCreated, LedgerCreatedData, RolesSigned, RolesSignedData

OFFLINE_EXPIRY = timedelta(days=365)

# Number of keys and threshold of each offline role, as PEP 458 has them: root (t, n) with t > 1, the others (2, 2).
OFFLINE_KEYS = {"root": (3, 2), "targets": (2, 2), "bins": (2, 2)}

NOTICE = """\
DEVELOPMENT KEYS

The keys in `root`, `targets` and `bins` were made by `tuf-ledger init` and lie on this machine without a
password. Whoever reads them can replace every key and publish anything. They are for trying things out. A
ledger that people rely on needs a ceremony with keys that are kept offline, by several people.

`online` has the keys that sign bins, snapshot and timestamp. A production service names a key service instead
(`[signer.uris]` in ledger.toml).
"""


class DevelopmentKeys:
    """The folder of keys: one folder for each offline role, and `online`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def online(self) -> Path:
        """The folder of online keys."""
        return self.folder / "online"

    def create(self) -> None:
        """Make new keys for all roles."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, mode=0o700)
            (self.folder / "README").write_text(NOTICE, encoding="utf-8")
        for role, (count, _) in OFFLINE_KEYS.items():
            for _ in range(count):
                generate_key_file(self.folder / role)
        self.create_online()

    def create_online(self) -> SSlibKey:
        """Make a new online key."""
        return generate_key_file(self.online).public_key

    def find_online(self, keyid: str) -> SSlibKey | None:
        """The public part of an online key in the folder, or None."""
        return next((key for key in self.online_keys() if key.keyid == keyid), None)

    def retire_online(self, end: Authority) -> dict[str, Path]:
        """Move online keys that were replaced out of the signer's reach; return where they are now, by key id.

        The keys are kept: their signatures may have to be explained.

        Args:
            end: the offline roles in force at the end of the log.
        """
        retired = self.folder / "retired"
        moved = {}
        for keyid in sorted(end.online_ever.keys() - set(end.online.keyids)):
            path = self.online / f"{keyid}.pem"
            if path.exists():
                with writing(retired):
                    retired.mkdir(exist_ok=True, mode=0o700)
                    moved[keyid] = path.rename(retired / path.name)
        return moved

    def offline(self, role: str) -> list[CryptoSigner]:
        """The signers of an offline role.

        Raises:
            SignerError: the folder has no keys of that role.
        """
        signers = load_key_files(self.folder / role)
        if not signers:
            raise SignerError(
                f"there are no keys in {self.folder / role}. This command signs with the development keys that "
                "`tuf-ledger init` made. If the offline keys are elsewhere, sign there, and append the documents with "
                "`tuf-ledger ceremony --append`"
            )
        return signers

    def online_keys(self) -> tuple[SSlibKey, ...]:
        """The public parts of the online keys in the folder."""
        return tuple(signer.public_key for signer in load_key_files(self.online))


def make_plan(
    keys: DevelopmentKeys,
    online: Sequence[SSlibKey],
    layout: Layout,
    settings: Settings,
    *,
    now: datetime,
    void: Void | None = None,
) -> Plan:
    """A plan with the offline keys of the folder, online keys of threshold 1, and an expiry in a year."""
    roles = {
        role: Signers(tuple(signer.public_key for signer in keys.offline(role)), threshold)
        for role, (_, threshold) in OFFLINE_KEYS.items()
    }
    return Plan(
        root=roles["root"],
        targets=roles["targets"],
        bins=roles["bins"],
        online=Signers(tuple(online), 1),
        layout=layout,
        settings=settings,
        expires=to_instant(now + OFFLINE_EXPIRY),
        void=void,
    )


def sign_plan(
    keys: DevelopmentKeys, plan: Plan, current: Authority | None, *, renew: bool = False
) -> dict[str, dict[str, Any]]:
    """The signed documents of a ceremony by role."""
    documents = {}
    for role, signed in draft(plan, current, renew=renew).items():
        payload = canonical.encode_for_signing(signed)
        signatures = [{"keyid": signer.public_key.keyid, "sig": sign(signer, payload)} for signer in keys.offline(role)]
        documents[role] = {"signatures": signatures, "signed": signed}
    return documents


def roles_signed(
    documents: Mapping[str, dict[str, Any]], now: datetime, comment: str, actor: str = "development-ceremony"
) -> RolesSigned:
    """Make the event of a ceremony. Its id is random: nobody must know the bytes of it beforehand."""
    return RolesSigned(
        specversion="1.0",
        id=str(uuid4()),
        source="/tuf-ledger/ceremony",
        subject="roles",
        time=to_instant(now),
        actorkind="administrator",
        actorid=actor,
        data=RolesSignedData(roles=msgspec.convert(documents, dict[Any, dict[str, Any]]), comment=comment),
    )


def ledger_created(origin: str, documents: Mapping[str, dict[str, Any]], now: datetime) -> LedgerCreated:
    """Make record 0 of a ledger with this first root."""
    return LedgerCreated(
        specversion="1.0",
        id=str(uuid4()),
        source="/tuf-ledger/init",
        subject=origin,
        time=to_instant(now),
        actorkind="administrator",
        actorid="development-ceremony",
        data=LedgerCreatedData(
            origin=origin,
            epoch=str(uuid4()),
            root_sha256=sha256(canonical.encode(documents["root"])).hexdigest(),
        ),
    )
