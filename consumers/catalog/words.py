"""What an event says, in words for people. Texts of a log come from anybody: whoever prints them escapes them."""

from collections.abc import Callable, Mapping
from typing import Any

from projections.log.operations import type_of
from schemas import events

Describe = Callable[[Any, str], str]


def describe(event: events.BaseEvent) -> str:
    """What an event did or tried, without who and when: `uploaded alpha-1.2.tar.gz to alpha 1.2`."""
    return _DESCRIBE[type_of(type(event))](event.data, event.subject)  # type: ignore[attr-defined]  # all have data


def describe_upload(filename: str, project: str, version: str) -> str:
    """The same for an upload, of which the catalog keeps no record."""
    return f"uploaded {filename} to {project} {version}"


def describe_access(act: str, values: Mapping[str, str | None]) -> str:
    """What was granted, revoked or noted, given the kind, account, role, credential and project."""
    kind, account, role = values["kind"], values["account"], values["role"]
    credential, project = values["credential"], values["project"]
    what = f"{kind}" + (f" as {role}" if role else "") + (f" {credential}" if credential else "")
    return f"{act} {what}" + (f" to {account}" if account else "") + (f" for {project}" if project else "")


def _because(text: str, reason: str | None) -> str:
    return f"{text}: {reason}" if reason else text


def _file(verb: str) -> Describe:
    return lambda data, subject: _because(f"{verb} {data.filename} of {subject}", data.reason)


def _release(verb: str) -> Describe:
    return lambda data, subject: _because(f"{verb} {subject} {data.version}", data.reason)


def _removed(data: Any, what: str) -> str:
    return _because(f"removed {what}" + (", and withheld its bytes" if data.withhold else ""), data.reason)


def _held(data: Any, _: str) -> str:
    size = "everything from here on" if data.size is None else f"everything from event {data.size} on"
    return _because(f"held {size}", data.reason)


def _access(act: str) -> Describe:
    def said(data: Any, _: str) -> str:
        values = {name: getattr(data, name) for name in ("kind", "account", "role", "credential", "project")}
        return _because(describe_access(act, values), data.note)

    return said


_KINDS: dict[type[events.BaseEvent], Describe] = {
    events.LedgerCreated: lambda data, _: f"created the ledger {data.origin}",
    events.RolesSigned: lambda data, _: _because(f"signed {', '.join(sorted(data.roles))}", data.comment),
    events.ProjectCreated: lambda _, subject: f"created {subject}",
    events.ProjectStatusChanged: lambda data, subject: _because(f"marked {subject} {data.status}", data.reason),
    events.ProjectRemoved: _removed,
    events.FileUploaded: lambda data, subject: describe_upload(data.filename, subject, data.version),
    events.FileRemoved: lambda data, subject: _removed(data, f"{data.filename} of {subject}"),
    events.FileRestored: _file("restored"),
    events.FileFreed: _file("freed the name of"),
    events.FileYanked: _file("yanked"),
    events.FileUnyanked: _file("took back the yank of"),
    events.ReleaseRemoved: lambda data, subject: _removed(data, f"{subject} {data.version}"),
    events.ReleaseYanked: _release("yanked"),
    events.ReleaseUnyanked: _release("took back the yank of"),
    events.ReleaseQuarantined: _release("quarantined"),
    events.ReleaseQuarantineCleared: _release("ended the quarantine of"),
    events.TargetAdded: lambda data, subject: f"added the target {subject} ({data.length:,} bytes)",
    events.TargetRemoved: lambda data, subject: _removed(data, f"the target {subject}"),
    events.AccessGranted: _access("granted"),
    events.AccessRevoked: _access("revoked"),
    events.AccessNoted: _access("noted"),
    events.IncidentOpened: lambda data, subject: f"opened the incident {subject}: {data.title}",
    events.IncidentNoted: lambda data, subject: f"noted on the incident {subject}: {data.note}",
    events.IncidentSelected: lambda data, subject: f"selected events for the incident {subject} ({data.version})",
    events.IncidentClosed: lambda data, subject: _because(f"closed the incident {subject}", data.reason),
    events.OpeningErased: lambda data, subject: f"erased openings of {subject}: {', '.join(data.fields)}",
    events.SigningHeld: _held,
    events.SigningReleased: lambda data, _: _because(f"released the hold {data.hold}", data.reason),
}
_DESCRIBE = {type_of(kind): describe for kind, describe in _KINDS.items()}
