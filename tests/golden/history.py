"""What happens in the golden log: every type of event, every change of offline roles, every easy way to be rejected.

A story in chapters; each appends to a `Driver` and publishes. Everything in it is fixed.
"""

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from ledger.clock import to_instant
from projections.log.holds import lock_of
from projections.log.prefix import Prefix
from projections.roles.authority import Authority, Settings, Void
from projections.roles.layout import Layout
from schemas import events
from schemas.codec import encode_event, encode_record
from schemas.events import BaseEvent
from schemas.publications import Record, Seal
from tests import factory
from tests.factory import Files, Make, Team, authority_of
from tests.golden.driver import Driver, online
from tests.golden.garbage import bad_claims, bad_events, bad_roles, no_events

FIRST_SETTINGS = Settings(
    ruleset=0,
    html_pages=True,
    project_list_seconds=0,
    importing=True,
    freeable=(factory.freeable_root([factory.FREED_FILE]),),
)
PEM_KEYS = (factory.ecdsa_signer("root 4"), factory.rsa_signer())
"""Public keys with newlines in them, in root; they do not sign, because their signatures do not repeat."""


class History:
    """The story; `play` tells it."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._make = Make()
        self._team = Team(online=driver.use_keys(online(1)), settings=FIRST_SETTINGS)

    def play(self) -> None:
        """From the first record to the last publication."""
        self._beginning()
        self._everyday()
        self._withheld()
        self._rejections()
        self._settings()
        self._layouts()
        self._keys()
        self._time()
        self._theft()
        self._stolen_keys()
        self._new_time()
        self._hold()
        self._brakes()
        self._names()
        self._end()

    # --- chapters ------------------------------------------------------------------------------------------------

    def _beginning(self) -> None:
        """Before there is a root nothing counts, and claims are for nothing."""
        files = factory.ceremony(self._team)
        created = self._make.ledger_created(factory.file_digest(files["root"]))
        self._append(created, self._make.project_created("too-early"))
        self._driver.thief().claim(number=1, time=factory.instant(0))
        self._append(
            self._make.roles_signed({"root": files["root"]}),
            self._make.roles_signed(factory.ceremony(Team(root_threshold=1))),
            self._make.roles_signed(files, comment="the first"),
            self._make.roles_signed(files, comment="the same again"),
        )
        self._publish()

    def _everyday(self) -> None:
        """One event of every type, then projects with many releases."""
        rest = self._make.one_of_each("0" * 64, factory.ceremony(self._team))[2:]
        for start in range(0, len(rest), 5):
            self._append(*rest[start : start + 5])
            self._publish()
        for number in range(12):
            self._append(*self._project(number))
            if number % 3 == 2:
                self._publish()
        self._append(*(self._make.file_uploaded("many", f"1.{version}") for version in range(90)))
        self._publish()
        self._append(self._make.release_yanked("many", "1.45", "in the middle"))
        self._publish()

    def _withheld(self) -> None:
        """Bytes are withheld at once, and later; a path has two holders; another number of bins comes meanwhile."""
        make = self._make
        twin = {"filename": "with-held-1.0.tar.gz", "legacy": True}
        self._append(
            make.file_uploaded("with-held"),
            make.file_uploaded("with", "held-1.0", **twin),
            make.file_uploaded("with-held", "2.0"),
            make.target_added("tools/bad.txt", "bad"),
        )
        self._publish()
        self._append(
            make.file_removed("with-held", "with-held-1.0.tar.gz", withhold=True),
            make.release_removed("with-held", "2.0"),
            make.target_removed("tools/bad.txt", withhold=True),
        )
        self._publish()
        self._append(
            make.project_removed("with", withhold=True),
            make.release_removed("with-held", "2.0", withhold=True),
            make.release_removed("with-held", "2.0", withhold=True),
            make.target_added("tools/bad.txt", "good"),
        )
        self._publish()
        self._append(make.file_restored("with-held", "with-held-1.0.tar.gz"), make.target_removed("tools/bad.txt"))
        self._publish()

    def _project(self, number: int) -> list[BaseEvent]:
        """A few releases, and what may happen to them."""
        make, name = self._make, f"project-{number}"
        stem = name.replace("-", "_")
        wheel = f"{stem}-2.0-py3-none-any.whl"
        made: list[BaseEvent] = [
            make.file_uploaded(name, requires_python=">=3.9,<4"),
            make.file_uploaded(
                name, "2.0", filename=wheel, core_metadata_sha256=factory.digest(wheel), requires_python='>="3"&<4'
            ),
            make.file_uploaded(name, "2.0", provenance_sha256=factory.digest(name), filename=f"{name}-2.0.zip"),
            make.file_uploaded(name, "2.0.0", filename=f"{stem}-2.0.0-1-py3-none-any.whl"),
            make.having(time="2029-01-01T00:00:00.123456Z").file_uploaded(name, "3.0rc1"),
        ]
        more: list[list[BaseEvent]] = [
            [make.file_yanked(name, wheel, 'a "reason" <&>'), make.release_yanked(name, "2.0", "the release's\nown")],
            [make.release_yanked(name, "1.0"), make.file_yanked(name, f"{name}-1.0.tar.gz", "the file's own")],
            [make.file_removed(name, wheel), make.file_restored(name, wheel), make.release_removed(name, "1.0")],
            [make.project_status_changed(name, "archived", "x" * 2000)],
            [make.project_status_changed(name, "quarantined", "malware")],
            [make.release_quarantined(name, "2.0", "malware"), make.release_yanked(name, "2.0")],
            [make.project_removed(name), make.project_created(name)],
            [make.project_removed(name, "spam")],
        ]
        return made + more[number % len(more)]

    def _rejections(self) -> None:
        """Records that are no events, and events that break a rule of their subject's."""
        self._driver.append(*no_events(self._make))
        self._publish()
        for group in bad_events(self._make):
            self._driver.append(*group)
            self._publish()
        self._driver.append(*bad_roles(self._make, self._authority, self._team))
        self._publish()
        self._driver.append_publications(*bad_claims(self._prefix, self._driver, self._team))
        self._append(self._make.file_uploaded("after", "1.0"))
        self._publish()

    def _settings(self) -> None:
        """HTML pages go and come back; the list of projects is rendered once an hour."""
        self._change(settings=_but(FIRST_SETTINGS, html_pages=False, project_list_seconds=3_600))
        self._publish()
        for number in range(3):
            self._append(self._make.project_created(f"listed-later-{number}"))
            self._publish(after=timedelta(minutes=25))
        self._append(self._make.project_removed("listed-later-0"))
        self._change(settings=_but(FIRST_SETTINGS, bin_expiry_seconds=4 * 86_400))
        self._publish()

    def _layouts(self) -> None:
        """More bins, fewer bins, names that return with another meaning, another kind of delegation."""
        layouts = (Layout(5), Layout(6), Layout(5), Layout(3, succinct=False), Layout(4, "hashed"), Layout(4))
        for number, layout in enumerate(layouts):
            self._append(self._make.file_uploaded("moved", f"1.{number}"))
            self._change(layout=layout)
            self._append(self._make.file_uploaded("moved", f"2.{number}"))
            self._publish()

    def _keys(self) -> None:
        """Rotations: planned, in an emergency, with a threshold of two, and of every offline role."""
        old, new = self._team.online[0], online(2)
        for keys in ((old, new), (new,)):
            self._change(online=keys)
            self._publish()
        self._append(self._make.file_uploaded("rotated", "1.0"))
        self._publish()
        self._change(online=(online(3),))
        self._publish()
        pair = (online(4), online(5))
        self._change(online=pair, online_threshold=2)
        self._publish()
        self._change(online=pair[:1], online_threshold=1, expires="2041-01-01T00:00:00Z")
        self._change(
            root=tuple(factory.ed25519_signer(f"root {number}") for number in (2, 3, 5)),
            targets=tuple(factory.ed25519_signer(f"targets {number}") for number in (3, 4)),
            bins=tuple(factory.ed25519_signer(f"bins {number}") for number in (3, 4)),
        )
        self._publish()

    def _time(self) -> None:
        """Bins are renewed a few at a time, then those that have expired all at once; a timestamp alone."""
        self._publish(renew=True)
        for _ in range(3):
            self._publish(after=timedelta(hours=30))
        self._publish(after=timedelta(days=5))
        self._append(self._make.file_uploaded("after", "2.0"))
        self._publish(after=timedelta(hours=50))

    def _theft(self) -> None:
        """A divergent publication, what follows it, and the root that voids it with a new key."""
        self._append(self._make.file_uploaded("before-the-theft", "1.0"))
        thief = self._driver.thief()
        thief.claim(number=1_000)
        number, digest = thief.divergent(number=2_000)
        thief.claim(number=3_000)
        floor = _but(self._team.settings, floor=number + 1)
        void = Void(number=number, digest=digest)
        self._change(online=(online(6),), settings=floor, void=void)
        self._append(self._make.incident_opened("theft"), self._make.incident_noted("theft", publications=(number,)))
        self._publish()

    def _stolen_keys(self) -> None:
        """What a key that left claims, seals that were copied, a root that brings a key back, and a root too often."""
        first = self._driver.thief().drafted()
        left, now = online(2), self._team.online[0]
        claims = [
            factory.seal_claim(replace(first, number=number, size=size, time=time), signers)
            for number, size, time, signers in (
                (2**53, 2**53, "2999-12-31T23:59:59Z", (left,)),
                (first.number, first.size + 1, first.time, (left,)),
                (first.number, first.size, first.time, (left,)),
                (first.number, 2**53, first.time, (left, now)),
                (2**53, first.size, first.time, (now,)),
            )
        ]
        halting = factory.seal_claim(replace(first, size=2**53), (now,))
        beside = (Seal(keyid="0" * 64, sig="00"), *halting.signatures)
        claims.append(Record(signatures=beside, signed=halting.signed))
        self._driver.append_publications(*map(encode_record, claims))
        back = self._team.but(void=None, online=(left,))
        self._append(self._make.roles_signed(self._signed(back)))
        coming = self._team.but(void=None, online=(online(7),))
        files = self._signed(coming)
        self._append(self._make.roles_signed({**files, "targets": {}}), self._make.roles_signed(files))
        self._publish()

    def _signed(self, team: Team) -> Files:
        return factory.ceremony(team, self._authority, self._team, everything=True)

    def _new_time(self) -> None:
        """Uploads at all kinds of times, two publications from the future, and the root that starts a new time."""
        now, settings = self._driver.clock.at, self._team.settings
        for importing in (not settings.importing, settings.importing):
            self._change(settings=_but(self._team.settings, importing=importing))
            self._dated(f"{int(importing)}")
            self._publish()
        self._publish(after=timedelta(days=7_000))
        self._dated("2")
        self._publish()
        self._driver.clock.at = now
        self._change(online=(online(17),), settings=_but(self._team.settings, time_from=to_instant(now)))
        self._dated("3")
        self._publish()
        self._append(self._make.file_uploaded("after", "3.0"))
        self._publish()

    def _dated(self, version: str) -> None:
        """Uploads at all kinds of times."""
        last = to_instant(self._driver.clock.at)[:-1]
        times = ("2000-01-01T00:00:00Z", f"{last}Z", f"{last}.000000Z", f"{last}.000001Z", "2040-01-01T00:00:00.5Z")
        for number, time in enumerate(times):
            self._append(self._make.having(time=time).file_uploaded("dated", f"{version}.{number}"))

    def _hold(self) -> None:
        """The brake, an open claim that it voids, and a release."""
        hold = self._make.signing_held(reason="wait")
        self._append(self._make.file_uploaded("before-the-hold", "1.0"), hold)
        self._append(self._make.file_uploaded("after-the-hold", "1.0"))
        self._driver.thief().claim()  # it is a signer's, which died
        self._publish()
        self._append(self._make.signing_released(hold.id), self._make.signing_released(hold.id))
        self._append(self._make.signing_released("nothing"))
        self._publish()

    def _brakes(self) -> None:
        """Locked holds, one of them a thief's; publications go on while they last, and change keys and pages."""
        make, secret = self._make, "5e" * 32
        ours, second = make.signing_held(lock=lock_of(secret)), make.signing_held(reason="to be sure")
        self._append(make.file_uploaded("before-the-brakes"), ours, make.file_uploaded("behind-one-brake"))
        self._publish()
        self._append(second, make.file_uploaded("behind-two-brakes"), make.project_removed("moved"))
        self._append(make.signing_released(ours.id), make.signing_released(ours.id, secret="0a" * 32))
        self._publish()
        self._change(online=(online(27),), settings=_but(self._team.settings, html_pages=False))
        self._publish()
        self._publish(after=timedelta(hours=30))
        self._append(make.signing_released(ours.id, secret=secret))
        self._publish()
        self._append(make.signing_held(0, lock=lock_of("0a" * 32)), make.file_uploaded("behind-three-brakes"))
        self._publish()
        thieves = make.signing_held(1, lock=lock_of("0a" * 32))
        self._append(thieves, second)
        size = len(self._driver.events())
        self._change(online=(online(28),), settings=_but(self._team.settings, html_pages=True, holds_end=size))
        self._append(make.signing_released(thieves.id, secret="0a" * 32), make.signing_released(second.id))
        self._publish()

    def _names(self) -> None:
        """Names that installers confuse, spellings, preconditions, incidents, and a name that a thief took."""
        make, name = self._make, "confused"
        wheel, source = f"{name}-1.0-py3-none-any.whl", f"{name}-1.0.tar.gz"
        first = make.file_uploaded(name)
        self._append(
            first,
            make.file_uploaded(name, filename=wheel),
            make.file_uploaded(name, "1", filename=f"{name}-1.zip"),  # equivalent-filename
            make.file_uploaded(name, filename=f"{name}-1.0-py2.py3-none-any.whl"),
            make.file_uploaded(name, filename=f"{name}-1.0.0-py2.py3-none-any.whl", version="1.0.0", legacy=True),
            make.file_uploaded(name, "1.0.0", filename=f"{name}-1.0.0-01-py3-none-any.whl"),
            make.file_uploaded(name, "1.0.0", filename=f"{name}-1.0-1-py3-none-any.whl"),
            make.file_uploaded(name, "1.0_1", filename=f"{name}-1.0_1-py3-none-any.whl"),  # bad-version
            make.file_uploaded(name, filename=f"{name}-1.0 (python 2.5).exe", legacy=True, requires_python=">=2.*"),
            factory.change(make.file_yanked(name, wheel), data_expects="0" * 64),  # expects
            make.file_removed(name, source),
        )
        self._publish()
        listed = [(factory.digest(each), name, each) for each in (source, wheel, "others")]
        freed = make.file_freed(name, source, proof=factory.proof_of(listed, listed[0]))
        self._append(freed)  # not-freeable
        settings = _but(self._team.settings, freeable=(factory.freeable_root(listed),), importing=False)
        self._change(settings=settings)
        second = events.Hashes(sha256=factory.digest("second"), blake2b_256=first.data.hashes.blake2b_256)
        self._append(
            make.file_freed(name, wheel, proof=factory.proof_of(listed, listed[1])),  # not-removed
            freed,
            make.having(incident="theft").file_freed(name, source),  # already-freed
            make.file_restored(name, source),  # file-freed
            make.file_uploaded(name, requires_python=">=3"),
            make.file_uploaded(name, "1", filename=f"{name}-1.zip", hashes=first.data.hashes),
            make.file_uploaded(name, hashes=second),
            make.file_uploaded(name, filename=f"{name}-1.0.exe", legacy=True),  # foreign-filename
        )
        self._publish()
        self._append(make.file_removed(name, wheel), make.incident_opened("theft"), make.incident_selected("theft"))
        self._publish()
        self._append(
            make.file_freed(name, wheel, proof=factory.proof_of(listed, listed[1])),
            make.file_uploaded(name, filename=f"{name}-1.0.0-py3-none-any.whl", version="1.0.0"),
            make.incident_closed("theft", publication=1, plan=factory.digest("plan")),
            make.incident_selected("theft", part=1, parts=2),  # closed
            make.incident_opened("theft"),
        )
        self._publish()

    def _end(self) -> None:
        """What everything comes to."""
        self._append(self._make.incident_closed("theft"), self._make.incident_closed("theft"))
        self._append(self._make.file_uploaded("last", "1.0"))
        self._publish()

    # --- steps ---------------------------------------------------------------------------------------------------

    def _append(self, *made: BaseEvent) -> None:
        self._driver.append(*map(encode_event, made))

    def _publish(self, **options: Any) -> None:
        self._driver.publish(**options)

    @property
    def _prefix(self) -> Prefix:
        return Prefix().extend(self._driver.events())[0]

    @property
    def _authority(self) -> Authority:
        return authority_of(self._prefix)

    def _change(self, **changes: Any) -> None:
        """A ceremony; PEM keys join root's, and do not sign."""
        before, self._team = self._team, self._team.but(void=None).but(**changes)
        everything = any(role in changes for role in ("targets", "bins", "expires"))
        made = factory.drafts(
            self._team.but(root=(*self._team.root, *PEM_KEYS)), self._authority, everything=everything
        )
        files: Files = factory.sign_all(made, self._team, before)
        self._driver.use_keys(*self._team.online)
        size = len(self._driver.events())
        self._append(self._make.roles_signed(files, comment=f"changes {', '.join(sorted(changes))}"))
        assert self._authority.root.version == made["root"]["version"], f"record {size}: the ceremony was rejected"


def _but(settings: Settings, **changes: Any) -> Settings:
    return Settings(**{name: getattr(settings, name) for name in settings.__struct_fields__} | changes)
