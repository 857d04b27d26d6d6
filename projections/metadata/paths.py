"""The paths of all served files, and the inverse: the meaning of a served path.

    metadata/timestamp.json             the newest timestamp: the only metadata that is ever replaced
    metadata/VERSION.ROLE.json          a version of any role (TUF 1.0.34, section 6.2)
    targets/FOLDER/SHA256.NAME          a target under its consistent-snapshot name, written once
    targets/FOLDER/NAME                 a page or a distribution file under its plain name, for clients without TUF
    targets/packages/….metadata         core metadata beside a distribution file (PEP 658)
    targets/packages/….provenance       attestations beside it (PEP 740)

*Target paths* are the paths that bins list: `simple/…` for pages, `packages/…` for distribution files. All other target
paths are free.
Served paths are relative to the folder that is served, with `/` between their segments.
"""

import re
from typing import Final, Literal, NamedTuple, get_args

METADATA: Final = "metadata"
TARGETS: Final = "targets"
TIMESTAMP: Final = f"{METADATA}/timestamp.json"

PAGES: Final = "simple/"
"""The beginning of the target paths of pages (PEP 503)."""

PACKAGES: Final = "packages/"
"""The beginning of the target paths of distribution files."""

JSON_PAGE: Final = "index.json"
HTML_PAGE: Final = "index.html"
JSON_LIST: Final = f"{PAGES}{JSON_PAGE}"
HTML_LIST: Final = f"{PAGES}{HTML_PAGE}"
"""Target paths of the list of all projects."""

Companion = Literal["metadata", "provenance"]

_PAGE_NAMES = (JSON_PAGE, HTML_PAGE)
# No file name is longer, and Python converts at most 4,300 digits.
_NUMBERED = re.compile(r"(0|[1-9][0-9]{0,255})\.([^/]+)\.json")
_HASHED = re.compile(r"([0-9a-f]{64})\.(.+)", re.DOTALL)


def metadata_path(role: str, version: int) -> str:
    """Where a version of a role is served (TUF 1.0.34, section 6.2)."""
    return f"{METADATA}/{version}.{role}.json"


def hashed_path(target: str, digest: str) -> str:
    """Where a target with this SHA-256 is served under consistent snapshots (TUF 1.0.34, section 6.2)."""
    folder, slash, name = target.rpartition("/")
    return f"{TARGETS}/{folder}{slash}{digest}.{name}"


def plain_path(target: str) -> str:
    """Where a page or a distribution file is served for clients without TUF."""
    return f"{TARGETS}/{target}"


def companion_path(target: str, companion: Companion) -> str:
    """Where the file beside a distribution file is served: its core metadata (PEP 658) or its provenance (PEP 740)."""
    return f"{TARGETS}/{target}.{companion}"


def package_target(blake2b_256: str, filename: str) -> str:
    """The target path of a distribution file, as on PyPI: 2, 2 and 60 digits of its BLAKE2b-256, and its name."""
    return f"{PACKAGES}{blake2b_256[:2]}/{blake2b_256[2:4]}/{blake2b_256[4:]}/{filename}"


def page_target(project: str, name: str = JSON_PAGE) -> str:
    """The target path of a project's page."""
    return f"{PAGES}{project}/{name}"


def project_of_page(target: str) -> str:
    """The project of a page; empty for the list of all projects. The inverse of `page_target`."""
    return target.removeprefix(PAGES).rpartition("/")[0]


def is_page(target: str) -> bool:
    """Whether a target is a page, or has a path that is reserved for pages."""
    return target.startswith(PAGES)


def is_json_page(target: str) -> bool:
    """Whether a target is a page in the form of PEP 691."""
    return is_page(target) and target.rpartition("/")[2] == JSON_PAGE


def is_reserved(target: str) -> bool:
    """Whether a target path is for pages and distribution files alone."""
    return target.startswith((PAGES, PACKAGES))


class MetadataPlace(NamedTuple):
    """The role and version at a path below `metadata/`. `version` is None for the newest timestamp."""

    role: str
    version: int | None

    @property
    def is_root(self) -> bool:
        """Whether the path is that of a root. Roots are never deleted."""
        return self.role == "root"


class TargetPlace(NamedTuple):
    """The target at a path below `targets/`. `sha256` is None for a plain name."""

    target: str
    sha256: str | None

    @property
    def is_page(self) -> bool:
        """Whether the target is the page of a project, or the list of all projects."""
        return is_page(self.target) and self.target.rpartition("/")[2] in _PAGE_NAMES

    @property
    def is_plain_page(self) -> bool:
        """Whether the path is the plain name of a page. That file is replaced when the page changes."""
        return self.sha256 is None and self.is_page

    @property
    def is_hashed_page(self) -> bool:
        """Whether the path is the consistent-snapshot name of a page. That file is written once."""
        return self.sha256 is not None and self.is_page


Place = MetadataPlace | TargetPlace


def read_path(path: str) -> Place | None:
    """The meaning of a served path; None if the path is not one of a ledger.

    A file with that path need not exist. A name that begins with 64 hexadecimal digits and a dot is read as a
    consistent-snapshot name, although it may be the plain name of a distribution file.
    """
    folder, _, rest = path.partition("/")
    if not rest:
        return None
    if folder == METADATA:
        if path == TIMESTAMP:
            return MetadataPlace("timestamp", None)
        numbered = _NUMBERED.fullmatch(rest)
        return None if numbered is None else MetadataPlace(numbered[2], int(numbered[1]))
    if folder != TARGETS:
        return None
    above, slash, name = rest.rpartition("/")
    hashed = _HASHED.fullmatch(name)
    if hashed is not None:
        return TargetPlace(f"{above}{slash}{hashed[2]}", hashed[1])
    return TargetPlace(rest, None)


def is_metadata(path: str) -> bool:
    """Whether a served path lies where metadata lies, be it that of a role or not."""
    return path.startswith(f"{METADATA}/")


def target_of(path: str) -> str | None:
    """The target whose bytes are served at a path, or beside whose file something is served there; None for others."""
    place = read_path(path)
    if not isinstance(place, TargetPlace):
        return None
    for companion in get_args(Companion):
        if place.sha256 is None and is_reserved(place.target) and place.target.endswith(f".{companion}"):
            return place.target.removesuffix(f".{companion}")
    return place.target


def is_plain_page(path: str) -> bool:
    """Whether a served path is the plain name of a page. That file is replaced when the page changes."""
    place = read_path(path)
    return isinstance(place, TargetPlace) and place.is_plain_page


def is_hashed_page(path: str) -> bool:
    """Whether a served path is the consistent-snapshot name of a page. That file is written once."""
    place = read_path(path)
    return isinstance(place, TargetPlace) and place.is_hashed_page
