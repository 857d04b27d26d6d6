"""The version that a filename means. A page does not say which of its versions a file belongs to."""

import re
from collections.abc import Mapping, Sequence

from projections.index.names import canonical_version, normalise, split_filename

_ENDING = re.compile(r"\.(?:whl|egg|exe|msi|rpm|deb|dmg|zip|tgz|tar(?:\.(?:gz|bz2|xz|Z))?)$")
# What built distributions of older forms have behind their version: a Python version and a platform, or the release
# and the machine of an RPM.
_BEHIND = re.compile(
    r"(?:-py[0-9][0-9.]*(?:-[\w.-]+)?"
    r"|[.-](?:win32|win-\w+|linux-\w+|macosx-[\w.-]+)(?:-py[0-9.]+)?"
    r"|-[0-9]+\.(?:noarch|src|i[3-6]86|x86_64))$"
)


class Versions:
    """The versions of a project's page, to find those of its files.

    Args:
        project: the normalised name.
        listed: the versions that the page lists.
    """

    def __init__(self, project: str, listed: Sequence[str]) -> None:
        self._project = project
        self._listed = sorted(listed, key=len, reverse=True)
        self._spellings: Mapping[str, str] = {
            canonical: each for each in reversed(self._listed) if (canonical := canonical_version(each))
        }

    def of(self, filename: str) -> str:
        """The version of a file, spelled as the page does if that is clear; empty if there is none to be seen.

        A wheel or source distribution that is named by the rules says its version. In any other name, it is the longest
        version of the page that follows the project's name; or else what stands there.
        """
        parts = split_filename(filename)
        if parts is not None and parts[0] == self._project and (canonical := canonical_version(parts[1])):
            return self._spellings.get(canonical, parts[1])
        rest = _BEHIND.sub("", _ENDING.sub("", self._after_project(filename)))
        for each in self._listed:
            if _follows(rest, each):
                return each
        return rest.partition("-")[0] if filename.endswith(".whl") else re.sub(r"[^A-Za-z0-9._+!-]", "-", rest)

    def _after_project(self, filename: str) -> str:
        """What follows the project's name and one separator."""
        wanted = re.escape(self._project).replace(r"\-", "[-_. ]+")
        found = re.match(rf"{wanted}[-_. ]", filename, re.IGNORECASE)
        return filename[found.end() :] if found else filename.partition("-")[2]


def _follows(text: str, version: str) -> bool:
    """Whether a text begins with a version, and the version ends there."""
    start, left = text[: len(version)], text[len(version) :]
    same = normalise(start) == normalise(version) and len(start) == len(version)
    return same and not left[:1].isalnum()
