"""One project: the outcomes of its events, and its pages and targets.

This is the state machine of docs/rules.md, section 3. A project depends only on its own events, on the settings in root
that shape pages, and on the times of publications. Therefore projects can be folded in any order, and side by side.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import msgspec

from projections.index.chunks import Aggregate, Change, ChunkedMap
from projections.index.distributions import TakenRows, distribution_key
from projections.index.effects import Effect, FileEffect, ProjectEffect, ReleaseEffect
from projections.index.names import check_filename, release_key
from projections.index.pages import FILES_PER_CHUNK, FileCodec, FileFacts, ProjectHeader, Release, html_page, json_page
from projections.index.project_list import Listing
from projections.index.upload_times import UploadTimes, is_later
from projections.log.operations import FileAct, ProjectAct, ProjectOperation, ReleaseAct, Upload, type_of
from projections.metadata.paths import HTML_PAGE, JSON_PAGE, page_target
from projections.metadata.targets import Page, Standing, TargetChange, rendered_page, target_entry
from projections.outcomes import ACCEPTED, Outcome, no_effect, rejected
from projections.roles.authority import Terms, terms_at
from schemas import events

_header_decoder = msgspec.msgpack.Decoder(ProjectHeader)
_header_encoder = msgspec.msgpack.Encoder()

_WITHOUT_PROJECT = frozenset({type_of(events.ProjectCreated), Upload.type})
_RELEASE_REMOVED = type_of(events.ReleaseRemoved)
_AFTER_REMOVAL = frozenset({type_of(events.ProjectCreated), type_of(events.ProjectRemoved)})


class _NamesByRelease:
    """The names of some of a project's files, by release.

    The names are collected once in a batch, and then updated. So a batch about releases costs the number of files plus
    the number of events, not their product.
    """

    def __init__(self, files: ChunkedMap[FileFacts], belongs: Callable[[FileFacts], bool]) -> None:
        self._belongs = belongs
        self.names: dict[str, dict[str, None]] = {}
        for _, facts in files.items():
            self.update(facts)

    def update(self, facts: FileFacts) -> None:
        """Follow a change of a file."""
        if self._belongs(facts):
            self.names.setdefault(facts.release, {})[facts.filename] = None
        elif facts.filename in self.names.get(facts.release, ()):
            del self.names[facts.release][facts.filename]
            if not self.names[facts.release]:
                del self.names[facts.release]


class Project:
    """A project while a batch of its events is folded. Call `apply` for each event in order, then `finish`.

    `listings` are the changes that the batch makes to the list of all projects.
    """

    def __init__(
        self,
        state: Aggregate,
        name: str,
        taken: TakenRows,
        *,
        html: bool,
        terms: Sequence[Terms],
        times: UploadTimes,
        renders: bool = True,
        files_per_chunk: int = FILES_PER_CHUNK,
    ) -> None:
        self._key = state.key
        self._name = name
        self._taken = taken
        self._html = html
        self._terms = terms
        self._times = times
        self._header = _header_decoder.decode(state.header) if state.header else ProjectHeader()
        self._existed = self._header.exists
        self._had_html = html
        self.listings: list[Listing] = []
        self._renders = renders
        self._files = ChunkedMap(state.chunks, FileCodec(self._header, html=html, renders=renders), files_per_chunk)
        self._before: dict[str, Standing] = {}
        self._freed: list[TargetChange] = []
        self._touched: set[str | None] = set()
        self._offered: _NamesByRelease | None = None
        self._left: _NamesByRelease | None = None
        self._changed = False
        self._index = 0
        if times.new_time:
            self._lower_upload_times(times.new_time)

    def apply(self, index: int, digest: str, operation: ProjectOperation) -> Outcome:
        """Judge an event and, if it is accepted, apply it."""
        header = self._header
        if operation.expects and operation.expects != header.last_digest:
            return rejected(
                "expects", f"the last accepted event about {self._name} has the digest {header.last_digest}"
            )
        if header.status is None and operation.type not in _WITHOUT_PROJECT:
            return rejected("no-project", f"there is no project {self._name}")
        if header.removed and operation.type not in _AFTER_REMOVAL and not _withholds(operation):
            return rejected("project-removed", f"project {self._name} was removed")
        existed = header.exists
        self._index = index
        outcome = self._APPLY[operation.type](self, operation)
        if outcome is ACCEPTED:
            header.last_serial, header.last_digest = index, digest
            self._changed = True
        if header.exists != existed:
            self.listings.append(Listing(index, self._name, header.exists))
        return outcome

    def _lower_upload_times(self, new_time: str) -> None:
        for filename, facts in self._files.items():
            if is_later(facts.uploaded_at, new_time):
                self._files.put(filename, msgspec.structs.replace(facts, uploaded_at=new_time))
                self._changed = True

    def render_anew(self) -> None:
        """Have every entry and page rendered anew, because root's setting of HTML pages has changed."""
        if self._header.status is None:
            return  # there is no such project
        self._had_html = not self._html
        self._files.touch_all()
        self._changed = True

    def finish(self) -> tuple[Change, list[Page], list[TargetChange]]:
        """The change to store, pages (in the order of their paths), and changes of targets."""
        header = self._header
        if not self._changed:
            return Change(self._key, None), [], []
        targets = self._target_changes() if self._renders else []
        put, drop = self._files.finish()
        change = Change(self._key, _header_encoder.encode(header), put, drop)
        pages: list[Page] = []
        if not self._renders:
            return change, pages, targets
        for name, render, is_shown, was_shown in (
            (HTML_PAGE, html_page, self._html, self._had_html),
            (JSON_PAGE, json_page, True, True),
        ):
            path = page_target(self._name, name)
            if header.exists and is_shown:
                page, target = rendered_page(path, render(self._name, header, self._files.chunks))
                pages.append(page)
                targets.append(target)
            elif self._existed and was_shown:
                targets.append(TargetChange(path, None))
        return change, pages, targets

    @property
    def was_never_there(self) -> bool:
        """Whether nothing was ever accepted about the project."""
        return self._header.status is None

    def effects(self, operation: ProjectOperation, *, is_new: bool) -> tuple[Effect, ...]:
        """What an event that was just accepted changed; `is_new` says that the project `was_never_there` before."""
        header = self._header
        if isinstance(operation, ReleaseAct):
            key = release_key(operation.version)
            release, removed = header.releases[key], operation.type == _RELEASE_REMOVED
            flags = release.yanked, release.quarantined
            return (ReleaseEffect(self._name, key, *flags, removed=removed, withheld=operation.withhold),)
        effects: list[Effect] = []
        if isinstance(operation, ProjectAct) or is_new:
            withheld = isinstance(operation, ProjectAct) and operation.withhold
            status = header.status or ""
            effects.append(ProjectEffect(self._name, status, header.reason, removed=header.removed, withheld=withheld))
        if isinstance(operation, Upload | FileAct):
            facts = self._files.get(operation.filename)
            if facts is None:
                raise AssertionError("an accepted event about a file leaves its facts")
            effects.append(FileEffect(self._name, facts))
        return tuple(effects)

    def _target_changes(self) -> list[TargetChange]:
        changes = self._freed
        for filename in sorted(self._before):
            before, now = self._before[filename], self._files.get(filename)
            if now is None or before == self._header.standing(now):
                continue  # the facts of one file never change, only how the project holds it
            changes.append(_holding(now, before, self._header.standing(now)))
        return changes

    def _touch(self, facts: FileFacts) -> None:
        """Remember how the project held a file before the batch.

        To be called before anything about the file changes.
        """
        if facts.filename not in self._before:
            self._before[facts.filename] = self._header.standing(facts)

    def _set(self, facts: FileFacts, **fields: Any) -> None:
        self._touch(facts)
        self._put(msgspec.structs.replace(facts, **fields))

    def _put(self, facts: FileFacts) -> None:
        self._files.put(facts.filename, facts)
        for names in (self._offered, self._left):
            if names is not None:
                names.update(facts)

    def _offered_files(self) -> dict[str, dict[str, None]]:
        """The names of files that are not removed, by release."""
        if self._offered is None:
            self._offered = _NamesByRelease(self._files, lambda facts: not facts.removed)
        return self._offered.names

    def _left_files(self) -> dict[str, dict[str, None]]:
        """The names of files that are removed and not withheld, by release."""
        if self._left is None:
            self._left = _NamesByRelease(self._files, lambda facts: facts.removed and not facts.withheld)
        return self._left.names

    def _touch_all(self, release: str | None = None) -> None:
        """Touch all files that are not removed, or those of a release, before a flag of project or release changes."""
        if release in self._touched:
            return  # a file that was added later is touched already
        self._touched.add(release)
        offered = self._offered_files()
        for each in sorted(offered) if release is None else [release]:
            for name in offered.get(each, ()):
                facts = self._files.get(name)
                if facts is not None:
                    self._touch(facts)
                    self._files.put(name, facts)

    def _remove_all(self, release: str, *, withhold: bool) -> None:
        names = list(self._offered_files().get(release, ()))
        if withhold:
            names += self._left_files().get(release, ())
        for name in names:
            facts = self._files.get(name)
            if facts is not None:
                self._remove(facts, withhold=withhold)

    # --- the project ---------------------------------------------------------------------------------------------

    def _created(self, _act: ProjectAct) -> Outcome:
        header = self._header
        if header.exists:
            return no_effect("exists")
        if header.status != "quarantined":
            header.status, header.reason = "active", ""
        header.removed = False
        return ACCEPTED

    def _status_changed(self, act: ProjectAct) -> Outcome:
        header = self._header
        if (header.status, header.reason) == (act.status, act.reason):
            return no_effect("same")
        if "quarantined" in {header.status, act.status} and header.status != act.status:
            self._touch_all()
        header.status, header.reason = act.status, act.reason
        return ACCEPTED

    def _removed(self, act: ProjectAct) -> Outcome:
        header = self._header
        if header.removed and not act.withhold:
            return no_effect("already-removed")
        if header.removed and not header.left:
            return no_effect("already-withheld")
        self._touch_all()
        releases = {*self._offered_files(), *(self._left_files() if act.withhold else ())}
        for release in sorted(releases):
            self._remove_all(release, withhold=act.withhold)
        header.removed = True
        return ACCEPTED

    # --- files ---------------------------------------------------------------------------------------------------

    def _uploaded(self, data: Upload) -> Outcome:
        header = self._header
        there = self._files.get(data.filename)
        known = None if there is None or there.freed else there
        # A known file is judged as when it was accepted: an import can be repeated after its end.
        lenient = data.legacy and (terms_at(self._terms, self._index).importing if known is None else known.rank > 0)
        code = check_filename(self._name, data.filename, data.version, legacy=lenient)
        if code:
            return rejected(code, f"{data.filename} is no file of {self._name} {data.version}")
        key = distribution_key(self._name, data.filename)
        row = self._taken.row(key.row)
        if row.was_freed(key.tags, data.sha256):
            return rejected("file-freed", f"the bytes with SHA-256 {data.sha256} were freed, and never come back")
        facts = FileFacts(
            data.filename,
            data.version,
            release_key(data.version),
            data.length,
            data.sha256,
            data.blake2b_256,
            self._times.shown(self._index, data.uploaded_at, self._terms),
            data.requires_python,
            data.core_metadata_sha256,
            data.provenance_sha256,
            data.legacy,
            1 + self._index if lenient else 0,
        )
        if known is not None:
            return _judge_repeated(known, facts)
        if not lenient and row.is_taken(key.tags):
            return rejected("equivalent-filename", f"installers take {data.filename} for a file that is known")
        if header.status in {"archived", "quarantined"}:
            return rejected(f"project-{header.status}", f"project {self._name} is {header.status}: it takes no files")
        release = header.releases.get(facts.release)
        if release is not None and release.quarantined is not None:
            return rejected("release-quarantined", f"release {data.version} is quarantined: it takes no files")
        if header.status is None:
            header.status = "active"
        if release is None:
            release = header.releases[facts.release] = Release()
        release.add(facts.version)
        row.take(key.tags)
        self._replace(there, facts)
        return ACCEPTED

    def _replace(self, freed: FileFacts | None, facts: FileFacts) -> None:
        """Put a new file, in the place of a freed one or none."""
        before = self._before.get(facts.filename, "")
        if freed is not None and facts.filename in self._before and before != "withholds":
            self._freed.append(_holding(freed, before, "withholds"))
        self._before[facts.filename] = ""
        self._put(facts)

    def _file(self, filename: str) -> FileFacts | Outcome:
        return self._files.get(filename) or rejected("no-file", f"{self._name} has no file {filename}")

    def _remove(self, facts: FileFacts, *, withhold: bool) -> None:
        """Remove a file that is not removed, or withhold one that is."""
        if not facts.removed:
            self._header.releases[facts.release].remove(facts.version)
        self._count_left(facts, int(not withhold) - int(facts.removed))
        self._set(facts, removed=True, withheld=withhold)

    def _count_left(self, facts: FileFacts, more: int) -> None:
        self._header.releases[facts.release].left += more
        self._header.left += more

    def _file_removed(self, act: FileAct) -> Outcome:
        facts = self._file(act.filename)
        if isinstance(facts, Outcome):
            return facts
        if facts.freed:
            return rejected("file-freed", f"{facts.filename} was freed")
        if facts.removed and not act.withhold:
            return no_effect("already-removed")
        if facts.withheld:
            return no_effect("already-withheld")
        self._remove(facts, withhold=act.withhold)
        return ACCEPTED

    def _file_restored(self, act: FileAct) -> Outcome:
        facts = self._file(act.filename)
        if isinstance(facts, Outcome):
            return facts
        if facts.freed:
            return rejected("file-freed", f"{facts.filename} was freed")
        if facts.sha256 != act.sha256:
            return rejected("other-bytes", f"{facts.filename} had SHA-256 {facts.sha256}")
        if not facts.removed:
            return no_effect("not-removed")
        self._header.releases[facts.release].add(facts.version)
        self._count_left(facts, -int(not facts.withheld))
        self._set(facts, removed=False, withheld=False)
        return ACCEPTED

    def _file_freed(self, act: FileAct) -> Outcome:
        facts = self._file(act.filename)
        if isinstance(facts, Outcome):
            return facts
        if facts.sha256 != act.sha256:
            return rejected("other-bytes", f"{facts.filename} had SHA-256 {facts.sha256}")
        if facts.freed:
            return no_effect("already-freed")
        if not facts.removed:
            return rejected("not-removed", f"{facts.filename} was not removed")
        if act.root not in terms_at(self._terms, self._index).freeable:
            return rejected("not-freeable", f"root does not allow that {facts.filename} is freed")
        self._count_left(facts, -int(not facts.withheld))
        self._set(facts, withheld=True, freed=True)
        key = distribution_key(self._name, facts.filename)
        self._taken.row(key.row).free(key.tags, facts.sha256)
        return ACCEPTED

    def _file_yanked(self, act: FileAct) -> Outcome:
        facts, reason = self._file(act.filename), act.reason
        if isinstance(facts, Outcome):
            return facts
        if facts.freed:
            return rejected("file-freed", f"{facts.filename} was freed")
        if facts.removed:
            return rejected("file-removed", f"{facts.filename} was removed")
        if facts.yanked == reason:
            return no_effect("same")
        self._set(facts, yanked=reason)
        return ACCEPTED

    def _file_unyanked(self, act: FileAct) -> Outcome:
        facts = self._file(act.filename)
        if isinstance(facts, Outcome):
            return facts
        if facts.freed:
            return rejected("file-freed", f"{facts.filename} was freed")
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

    def _release_removed(self, act: ReleaseAct) -> Outcome:
        release = self._release(act.version)
        if isinstance(release, Outcome):
            return release
        if not release.spellings and not act.withhold:
            return no_effect("already-removed")
        if not release.spellings and not release.left:
            return no_effect("already-withheld")
        self._remove_all(release_key(act.version), withhold=act.withhold)
        return ACCEPTED

    def _release_yanked(self, act: ReleaseAct) -> Outcome:
        release, reason = self._release(act.version), act.reason
        if isinstance(release, Outcome):
            return release
        if release.yanked == reason:
            return no_effect("same")
        self._touch_all(release_key(act.version))
        release.yanked = reason
        return ACCEPTED

    def _release_unyanked(self, act: ReleaseAct) -> Outcome:
        release = self._release(act.version)
        if isinstance(release, Outcome):
            return release
        if release.yanked is None:
            return no_effect("not-yanked")
        self._touch_all(release_key(act.version))
        release.yanked = None
        return ACCEPTED

    def _release_quarantined(self, act: ReleaseAct) -> Outcome:
        release = self._release(act.version)
        if isinstance(release, Outcome):
            return release
        if release.quarantined is not None:
            return no_effect("same")
        self._touch_all(release_key(act.version))
        release.quarantined = act.reason
        return ACCEPTED

    def _release_quarantine_cleared(self, act: ReleaseAct) -> Outcome:
        release = self._release(act.version)
        if isinstance(release, Outcome):
            return release
        if release.quarantined is None:
            return no_effect("not-quarantined")
        self._touch_all(release_key(act.version))
        release.quarantined = None
        return ACCEPTED

    _APPLY: ClassVar[dict[str, Callable[[Any, Any], Outcome]]] = {
        type_of(events.ProjectCreated): _created,
        type_of(events.ProjectStatusChanged): _status_changed,
        type_of(events.ProjectRemoved): _removed,
        type_of(events.FileUploaded): _uploaded,
        type_of(events.FileRemoved): _file_removed,
        type_of(events.FileRestored): _file_restored,
        type_of(events.FileFreed): _file_freed,
        type_of(events.FileYanked): _file_yanked,
        type_of(events.FileUnyanked): _file_unyanked,
        type_of(events.ReleaseRemoved): _release_removed,
        type_of(events.ReleaseYanked): _release_yanked,
        type_of(events.ReleaseUnyanked): _release_unyanked,
        type_of(events.ReleaseQuarantined): _release_quarantined,
        type_of(events.ReleaseQuarantineCleared): _release_quarantine_cleared,
    }


def _withholds(operation: ProjectOperation) -> bool:
    return isinstance(operation, ProjectAct | FileAct | ReleaseAct) and operation.withhold


def _holding(facts: FileFacts, was: Standing, now: Standing) -> TargetChange:
    """The change of a file's target when the project holds it in another way."""
    entry = target_entry(facts.path, facts.length, facts.sha256)
    return TargetChange(facts.path, entry, "hold", facts.rank, was, now)


def _judge_repeated(known: FileFacts, facts: FileFacts) -> Outcome:
    """Judge an upload of a taken filename: the same facts have no effect, other facts are rejected."""
    same = msgspec.structs.replace(
        facts,
        uploaded_at=known.uploaded_at,
        rank=known.rank,
        yanked=known.yanked,
        removed=known.removed,
        withheld=known.withheld,
    )
    if same != known:
        return rejected("filename-taken", f"{known.filename} is taken, by other facts (SHA-256 {known.sha256})")
    if known.removed:
        return rejected("file-removed", f"{known.filename} was removed; `file.restored` offers it again")
    return no_effect("already-uploaded")
