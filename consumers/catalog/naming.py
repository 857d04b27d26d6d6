"""What a text names: an event, a publication, a version of a role, a served path or target path, or a key."""

import re
from collections.abc import Sequence

from consumers.catalog.asking import Asked
from consumers.catalog.event_answers import EventAnswer, answers
from consumers.catalog.keys import KeyAnswer, answer_key, find_key
from consumers.catalog.showing import (
    PublicationAnswer,
    RoleAnswer,
    TargetAnswer,
    find_targets,
    load_publication,
    load_role,
)
from ledger.catalog import event_rows, publication_rows
from ledger.catalog.database import Connection
from projections.metadata.paths import MetadataPlace, read_path, target_of
from schemas.errors import NegativeAnswerError

Thing = EventAnswer | PublicationAnswer | RoleAnswer | Sequence[TargetAnswer] | KeyAnswer

_NUMBER = re.compile("[0-9]{1,18}")
_PUBLICATION = re.compile("(?:#|publication:)([0-9]{1,18})")
_ROLE = re.compile("([a-z][a-z0-9]*(?:-[0-9a-f]+)?)@([0-9]{1,18})")
_KEYID = re.compile("[0-9a-f]{4,64}")
_EVENT = "event:"


def find_thing(connection: Connection, asked: Asked, text: str) -> Thing:
    """What a text names. A number is the index of an event, `#N` a publication, and `event:TEXT` always an event.

    Raises:
        NegativeAnswerError: nothing has that name, or several keys begin with it.
        CatalogDamagedError: a version of a role is not what was published.
    """
    if publication := _PUBLICATION.fullmatch(text):
        return _publication(connection, asked, int(publication[1]))
    if _NUMBER.fullmatch(text) or text.startswith(_EVENT):
        return _event(connection, asked, text.removeprefix(_EVENT))
    if role := _ROLE.fullmatch(text):
        return _role(connection, asked, role[1], int(role[2]))
    events = event_rows.events_with_id(connection, text)
    if events:
        return answers(connection, asked, events)[0]
    if "/" in text and (found := _path(connection, asked, text)) is not None:
        return found
    if _KEYID.fullmatch(text) and (keys := find_key(connection, text)):
        if len(keys) > 1:
            names = ", ".join(each.keyid for each in keys[:3])
            raise NegativeAnswerError(f"{len(keys)} keys begin with {text}: {names}{' …' * (len(keys) > 3)}")
        return answer_key(connection, keys[0])
    targets = find_targets(connection, asked, text)
    if targets:
        return targets
    raise NegativeAnswerError(f"there is no event, publication, version of a role, target or key {text}")


def _publication(connection: Connection, asked: Asked, number: int) -> PublicationAnswer:
    found = load_publication(connection, asked, number)
    if found is None:
        raise NegativeAnswerError(f"there is no publication {number}: the last one is {asked.number}")
    return found


def _event(connection: Connection, asked: Asked, text: str) -> EventAnswer:
    if _NUMBER.fullmatch(text):
        row = event_rows.load_event(connection, int(text))
        if row is None:
            raise NegativeAnswerError(f"there is no event {text}: the log has {asked.size}, from 0 on")
        return answers(connection, asked, [row])[0]
    rows = event_rows.events_with_id(connection, text)
    if not rows:
        raise NegativeAnswerError(f"there is no event with the id {text}")
    return answers(connection, asked, rows)[0]


def _role(connection: Connection, asked: Asked, role: str, version: int) -> RoleAnswer:
    found = load_role(connection, asked, role, version)
    if found is not None:
        return found
    before = publication_rows.version_before(connection, role, version)
    hint = "" if before is None else f"; the version before it is {role}@{before}"
    raise NegativeAnswerError(f"there is no version {version} of a role {role}{hint}")


def _path(connection: Connection, asked: Asked, path: str) -> RoleAnswer | Sequence[TargetAnswer] | None:
    """What is served at a path, or the target with that path."""
    place = read_path(path)
    if isinstance(place, MetadataPlace):
        version = asked.number if place.version is None else place.version
        return _role(connection, asked, place.role, version)
    target = target_of(path) or path
    digest = None if place is None else place.sha256
    return find_targets(connection, asked, target, digest) or find_targets(connection, asked, path) or None
