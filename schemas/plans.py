"""The plan of a recovery: a file of JSON lines, of which the first is its head and every other one a step.

A person can read it, and delete steps. A step's event is the record to append, but for `data.expects` of events about
projects: the first step about a project expects the record that the head names, and every other one the record of the
step before. So nothing that happened since is overwritten, and the same file leads to the same records, however often
and from however many places it is applied.
"""

from typing import Any

from msgspec import Struct

from schemas.events import MAX_EVENT_BYTES
from schemas.fields import FreeText, Identifier, Number, ProjectName, Sha256, Size, TargetPath

MAX_STEP_BYTES = 16 * MAX_EVENT_BYTES
"""Longest line of a step. The head names every project and every residual, and may be as long as it is."""


class Residual(Struct, frozen=True, kw_only=True):
    """What the plan does not repair, and what can be done about it.

    Attributes:
        about: the project, target or subject that it is about, as the key of its aggregate (`project:six`).
        name: the file or the release; empty for the whole.
        code: why, in a word of docs/incident-response.md.
        detail: the same in a sentence.
        remedy: what can be done.
    """

    about: str
    name: str = ""
    code: Identifier
    detail: str
    remedy: str


class PlanHead(Struct, frozen=True, kw_only=True):
    """What a plan was made from, and what it expects.

    Attributes:
        plan: the format.
        incident: the name of the incident.
        ledger: the ledger's identity, the digest of record 0.
        size: the size of the log.
        root_hash: the Merkle root of these records.
        publication: the last publication; 0: there is none.
        version: the version of the frozen list.
        selection: the root over it.
        expects: the digest of the last accepted record about each project that suspects touched.
        targets: the other targets that they touched.
        lost_keys: ids of online keys that must not be in force any more.
        residuals: what the steps do not repair.
    """

    plan: int = 1
    incident: Identifier
    ledger: Sha256
    size: Size
    root_hash: Sha256
    publication: Size
    version: Number
    selection: Sha256
    expects: dict[ProjectName, Sha256] = {}
    targets: tuple[TargetPath, ...] = ()
    lost_keys: tuple[Sha256, ...] = ()
    residuals: tuple[Residual, ...] = ()


class PlanStep(Struct, frozen=True, kw_only=True):
    """One event to append: its number in the plan, why, and the event without `data.expects`."""

    step: Size
    why: FreeText
    event: dict[str, Any]
