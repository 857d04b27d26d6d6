"""What events did: the outcome of each, and the effect of an accepted one, at the level of the event itself.

The yank of a release with 40,000 files is one effect, about the release. What a file then shows follows from the
effects about its project, its release and itself, in the order of the log:

- A project that is `removed` has no page; with it, all its files were removed.
- A release that is `removed` by an effect had all its files removed at that moment. Later ones are not.
- A file is listed if it is not removed, its project exists and is not quarantined, and its release is not quarantined.
  It is yanked by its own yank, or else by that of its release.
- Where `withheld` stands beside `removed`, the bytes of these files, and of those removed before, are withheld.
"""

import msgspec

from projections.index.pages import FileFacts
from projections.outcomes import Outcome


class ProjectEffect(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """The state of a project after an event about it as a whole, or after its first upload.

    `withheld` says that its removed files are withheld since.
    """

    project: str
    status: str
    reason: str
    removed: bool = False
    withheld: bool = False


class ReleaseEffect(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The flags of a release after an event about it (None: not set), and whether the event removed or withheld all its
    files. `release` is the version in the one form of all spellings.
    """

    project: str
    release: str
    yanked: str | None
    quarantined: str | None
    removed: bool = False
    withheld: bool = False


class FileEffect(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A file of a project after an event about it."""

    project: str
    facts: FileFacts


class TargetEffect(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A target that is neither a page nor a distribution file, after an event about it."""

    path: str
    length: int
    sha256: str
    removed: bool
    withheld: bool


class IncidentEffect(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """An incident after an event about it: `open` or `closed`."""

    incident: str
    state: str


class RoleVersion(msgspec.Struct, frozen=True, array_like=True):
    """One version of a role: its file's SHA-256, and its signatures by key id, in hexadecimal."""

    role: str
    version: int
    sha256: str
    signatures: dict[str, str]


class RolesEffect(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The versions of offline roles that a ceremony brought into force."""

    versions: tuple[RoleVersion, ...]


Effect = ProjectEffect | ReleaseEffect | FileEffect | TargetEffect | IncidentEffect | RolesEffect


class Told(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record of the events log, what became of it, and what it changed.

    `key` is that of the aggregate that judged it, empty if it was the prefix. An accepted event may have no effect that
    is told: a hold, a fact about access. An upload to a project that was never there has two.
    """

    index: int
    digest: str
    key: str
    type: str
    outcome: Outcome
    effects: tuple[Effect, ...] = ()
