"""What suspects brought, as records of the OSV schema for malicious packages, one for each project.

https://ossf.github.io/osv-schema/, version 1.6.7. The ids are those that the database of malicious packages gives to
what it has not numbered yet: `MAL-0000-` and a name.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from consumers.incidents.exposure import Exposure
from consumers.incidents.reporting import IncidentReport

SCHEMA_VERSION = "1.6.7"
ECOSYSTEM = "PyPI"


def osv_records(report: IncidentReport) -> Iterator[dict[str, Any]]:
    """A record for each project to which suspects brought files, by name. Only their versions are affected."""
    by_project: dict[str, list[Exposure]] = {}
    for each in report.exposures:
        if each.project is not None:
            by_project.setdefault(each.project, []).append(each)
    for project, exposures in sorted(by_project.items()):
        yield _record(report, project, exposures)


def _record(report: IncidentReport, project: str, exposures: list[Exposure]) -> dict[str, Any]:
    versions = sorted({each.version for each in exposures if each.version is not None})
    moments = [window.first for each in exposures for window in each.windows if window.first is not None]
    newest = report.head.publication
    modified = newest.effective_time if newest is not None else min(_times(report), default="1970-01-01T00:00:00Z")
    record: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "id": f"MAL-0000-{report.head.incident}-{project}",
        "modified": modified,
        "summary": f"Malicious code in {project} ({ECOSYSTEM})",
        "details": _details(report, exposures),
        "affected": [
            {
                "package": {"ecosystem": ECOSYSTEM, "name": project, "purl": f"pkg:pypi/{project}"},
                "ranges": [
                    {"type": "ECOSYSTEM", "events": [{"introduced": version}, {"last_affected": version}]}
                    for version in versions
                ],
                "versions": versions,
                "database_specific": {"files": [_file(each) for each in exposures]},
            }
        ],
        "database_specific": {
            "origin": report.head.origin,
            "ledger": report.head.ledger,
            "size": report.head.size,
            "selection": report.head.selection,
        },
    }
    if moments:
        record["published"] = min(each.effective_time for each in moments)
    return record


def _details(report: IncidentReport, exposures: Iterable[Exposure]) -> str:
    listed = list(exposures)
    offered = [each for each in listed if any(window.first is not None for window in each.windows)]
    title = f"{report.head.title}. " if report.head.title else ""
    return (
        f"{title}{len(listed)} files of this project came by suspect events; {len(offered)} of them were offered. "
        "Files of the same versions with other SHA-256 are not affected: `database_specific` has those that are."
    )


def _file(each: Exposure) -> dict[str, Any]:
    first = [window.first.effective_time for window in each.windows if window.first is not None]
    gone = [window.gone.effective_time for window in each.windows if window.gone is not None]
    facts: dict[str, Any] = {"filename": each.filename, "version": each.version, "sha256": each.sha256}
    if first:
        facts["offered_from"] = min(first)
        if not each.is_offered:
            facts["offered_until"] = max(gone)
    return facts


def _times(report: IncidentReport) -> list[str]:
    return [each.time for each in report.suspects if each.time is not None]
