"""One project: which of its events count, and the pages and targets that follow.

The state machine of docs/rules.md, section 3. A project depends on nothing but its own events (and the settings in
root that shape pages), so projects fold in any order, and side by side.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from projections.bins import TargetChange, page_target, target_entry
from projections.chunks import Aggregate, Change, ChunkedMap
from projections.names import check_filename, release_key
from projections.outcomes import ACCEPTED, Outcome, no_effect, rejected
from projections.pages import FileCodec, FileFacts, ProjectHeader, Release, html_page, json_page
from projections.project_list import Listing
from projections.text import clean
from schemas import events

_header_decoder = msgspec.msgpack.Decoder(ProjectHeader)
_header_encoder = msgspec.msgpack.Encoder()

JSON_PAGE = "simple/{}/index.json"
HTML_PAGE = "simple/{}/index.html"


class Project:
    """A project while a batch of its events is folded. Call `apply` for each event in order, then `finish`.

    `listings` is what the batch does to the list of all projects.
    """

    def __init__(self, state: Aggregate, name: str, *, html: bool) -> None:
        self._key = state.key
        self._name = name
        self._html = html
        self._header = _header_decoder.decode(state.header) if state.header else ProjectHeader()
        self.listings: list[Listing] = []
        self._files = ChunkedMap(state.chunks, FileCodec(self._header, html=html))
        self._before: dict[str, FileFacts | None] = {}
        self._changed = False
        self._index = 0

    def apply(self, index: int, event: events.BaseEvent) -> Outcome:
        """Judge an event and, if it is accepted, apply it."""
        header = self._header
        if header.status is None and not isinstance(event, events.ProjectCreated | events.FileUploaded):
            return rejected("no-project", f"there is no project {self._name}")
        if header.removed and not isinstance(event, events.ProjectCreated | events.ProjectRemoved):
            return rejected("project-removed", f"project {self._name} was removed")
        existed = header.exists
        self._index = index
        outcome = self._APPLY[type(event)](self, event)
        if outcome is ACCEPTED:
            header.last_serial = index
            self._changed = True
        if header.exists != existed:
            self.listings.append(Listing(index, self._name, header.exists))
        return outcome

    def render_anew(self) -> None:
        """Render every entry and page: settings in root that shape them have changed."""
        self._files.touch_all()
        self._changed = True

    def finish(self) -> tuple[Change, list[tuple[str, bytes]], list[TargetChange]]:
        """What to store, pages by target path (in the order of their paths), and changes of targets."""
        header = self._header
        if not self._changed:
            return Change(self._key, None), [], []
        targets = [change for name in sorted(self._before) for change in self._target_changes(name)]
        put, drop = self._files.finish()
        change = Change(self._key, _header_encoder.encode(header), put, drop)
        pages = []
        if header.exists:
            if self._html:
                pages.append((HTML_PAGE.format(self._name), html_page(self._name, header, self._files.chunks)))
            pages.append((JSON_PAGE.format(self._name), json_page(self._name, header, self._files.chunks)))
        shown = dict(pages)
        for pattern in (HTML_PAGE, JSON_PAGE):
            path = pattern.format(self._name)
            targets.append(page_target(path, shown.get(path)))
        return change, pages, targets

    def _target_changes(self, filename: str) -> list[TargetChange]:
        before, now = self._before[filename], self._files.get(filename)
        if now is None or (before is not None) == self._header.lists(now):
            return []  # the facts behind a target never change, so it can only come or go
        entry = target_entry(now.path, now.length, now.sha256)
        return [TargetChange(now.path, entry, "hold" if before is None else "release", now.rank)]

    def _touch(self, facts: FileFacts) -> None:
        """Remember whether the page showed a file before the batch. To be called before anything about it changes."""
        if facts.filename not in self._before:
            self._before[facts.filename] = facts if self._header.lists(facts) else None

    def _set(self, facts: FileFacts, **fields: Any) -> None:
        self._touch(facts)
        self._files.put(facts.filename, msgspec.structs.replace(facts, **fields))

    def _touch_all(self, release: str | None = None) -> list[FileFacts]:
        """Touch all files, or those of a release, because a flag above them is about to change; return them."""
        touched = []
        for _, facts in self._files.items():
            if release is None or facts.release == release:
                self._touch(facts)
                self._files.put(facts.filename, facts)
                touched.append(facts)
        return touched

    # --- the project ---------------------------------------------------------------------------------------------

    def _created(self, _event: events.ProjectCreated) -> Outcome:
        header = self._header
        if header.exists:
            return no_effect("exists")
        if header.status != "quarantined":
            header.status, header.reason = "active", ""
        header.removed = False
        return ACCEPTED

    def _status_changed(self, event: events.ProjectStatusChanged) -> Outcome:
        header, reason = self._header, clean(event.data.reason)
        if (header.status, header.reason) == (event.data.status, reason):
            return no_effect("same")
        if "quarantined" in {header.status, event.data.status} and header.status != event.data.status:
            self._touch_all()
        header.status, header.reason = event.data.status, reason
        return ACCEPTED

    def _removed(self, _event: events.ProjectRemoved) -> Outcome:
        header = self._header
        if header.removed:
            return no_effect("already-removed")
        for facts in self._touch_all():
            self._remove(facts)
        header.removed = True
        return ACCEPTED

    # --- files ---------------------------------------------------------------------------------------------------

    def _uploaded(self, event: events.FileUploaded) -> Outcome:
        data, header = event.data, self._header
        code = check_filename(self._name, data.filename, data.version, legacy=data.legacy)
        if code:
            return rejected(code, f"{data.filename} is no file of {self._name} {data.version}")
        facts = FileFacts(
            data.filename,
            data.version,
            release_key(data.version),
            data.length,
            data.hashes.sha256,
            data.hashes.blake2b_256,
            event.time,
            data.requires_python,
            data.core_metadata_sha256,
            data.provenance_sha256,
            1 + self._index if data.legacy else 0,
        )
        known = self._files.get(data.filename)
        if known is not None:
            return _judge_repeated(known, facts)
        if header.status in {"archived", "quarantined"}:
            return rejected(f"project-{header.status}", f"project {self._name} is {header.status}: it takes no files")
        release = header.releases.get(facts.release)
        if release is not None and release.quarantined is not None:
            return rejected("release-quarantined", f"release {data.version} is quarantined: it takes no files")
        if header.status is None:
            header.status = "active"
        if release is None:
            release = header.releases[facts.release] = Release(data.version)
        release.files += 1
        self._before.setdefault(data.filename, None)
        self._files.put(data.filename, facts)
        return ACCEPTED

    def _file(self, filename: str) -> FileFacts | Outcome:
        return self._files.get(filename) or rejected("no-file", f"{self._name} has no file {filename}")

    def _remove(self, facts: FileFacts) -> None:
        if not facts.removed:
            self._set(facts, removed=True)
            self._header.releases[facts.release].files -= 1

    def _file_removed(self, event: events.FileRemoved) -> Outcome:
        facts = self._file(event.data.filename)
        if isinstance(facts, Outcome):
            return facts
        if facts.removed:
            return no_effect("already-removed")
        self._remove(facts)
        return ACCEPTED

    def _file_restored(self, event: events.FileRestored) -> Outcome:
        facts = self._file(event.data.filename)
        if isinstance(facts, Outcome):
            return facts
        if facts.sha256 != event.data.sha256:
            return rejected("other-bytes", f"{facts.filename} had SHA-256 {facts.sha256}")
        if not facts.removed:
            return no_effect("not-removed")
        self._set(facts, removed=False)
        self._header.releases[facts.release].files += 1
        return ACCEPTED

    def _file_yanked(self, event: events.FileYanked) -> Outcome:
        facts, reason = self._file(event.data.filename), clean(event.data.reason)
        if isinstance(facts, Outcome):
            return facts
        if facts.removed:
            return rejected("file-removed", f"{facts.filename} was removed")
        if facts.yanked == reason:
            return no_effect("same")
        self._set(facts, yanked=reason)
        return ACCEPTED

    def _file_unyanked(self, event: events.FileUnyanked) -> Outcome:
        facts = self._file(event.data.filename)
        if isinstance(facts, Outcome):
            return facts
        if facts.removed:
            return rejected("file-removed", f"{facts.filename} was removed")
        if facts.yanked is None:
            return no_effect("not-yanked")
        self._set(facts, yanked=None)
        return ACCEPTED

    # --- releases ------------------------------------------------------------------------------------------------

    def _release(self, version: str) -> Release | Outcome:
        return self._header.releases.get(release_key(version)) or rejected(
            "no-release", f"{self._name} has no release {version}"
        )

    def _release_removed(self, event: events.ReleaseRemoved) -> Outcome:
        release = self._release(event.data.version)
        if isinstance(release, Outcome):
            return release
        if release.files == 0:
            return no_effect("already-removed")
        for facts in self._touch_all(release_key(event.data.version)):
            self._remove(facts)
        return ACCEPTED

    def _release_yanked(self, event: events.ReleaseYanked) -> Outcome:
        release, reason = self._release(event.data.version), clean(event.data.reason)
        if isinstance(release, Outcome):
            return release
        if release.yanked == reason:
            return no_effect("same")
        self._touch_all(release_key(event.data.version))
        release.yanked = reason
        return ACCEPTED

    def _release_unyanked(self, event: events.ReleaseUnyanked) -> Outcome:
        release = self._release(event.data.version)
        if isinstance(release, Outcome):
            return release
        if release.yanked is None:
            return no_effect("not-yanked")
        self._touch_all(release_key(event.data.version))
        release.yanked = None
        return ACCEPTED

    def _release_quarantined(self, event: events.ReleaseQuarantined) -> Outcome:
        release = self._release(event.data.version)
        if isinstance(release, Outcome):
            return release
        if release.quarantined is not None:
            return no_effect("same")
        self._touch_all(release_key(event.data.version))
        release.quarantined = clean(event.data.reason)
        return ACCEPTED

    def _release_quarantine_cleared(self, event: events.ReleaseQuarantineCleared) -> Outcome:
        release = self._release(event.data.version)
        if isinstance(release, Outcome):
            return release
        if release.quarantined is None:
            return no_effect("not-quarantined")
        self._touch_all(release_key(event.data.version))
        release.quarantined = None
        return ACCEPTED

    _APPLY: ClassVar[dict[type[events.BaseEvent], Callable[[Any, Any], Outcome]]] = {
        events.ProjectCreated: _created,
        events.ProjectStatusChanged: _status_changed,
        events.ProjectRemoved: _removed,
        events.FileUploaded: _uploaded,
        events.FileRemoved: _file_removed,
        events.FileRestored: _file_restored,
        events.FileYanked: _file_yanked,
        events.FileUnyanked: _file_unyanked,
        events.ReleaseRemoved: _release_removed,
        events.ReleaseYanked: _release_yanked,
        events.ReleaseUnyanked: _release_unyanked,
        events.ReleaseQuarantined: _release_quarantined,
        events.ReleaseQuarantineCleared: _release_quarantine_cleared,
    }


def _judge_repeated(known: FileFacts, facts: FileFacts) -> Outcome:
    """An upload of a filename that is taken: the same facts change nothing, others are refused."""
    rank = known.rank if (facts.rank == 0) == (known.rank == 0) else facts.rank
    same = msgspec.structs.replace(
        facts, uploaded_at=known.uploaded_at, rank=rank, yanked=known.yanked, removed=known.removed
    )
    if same != known:
        return rejected("filename-taken", f"{known.filename} is taken, by other facts (SHA-256 {known.sha256})")
    if known.removed:
        return rejected("file-removed", f"{known.filename} was removed; `file.restored` offers it again")
    return no_effect("already-uploaded")
