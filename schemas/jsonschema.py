"""JSON Schemas (draft 2020-12) of all record types and of proofs, generated from the types.

They are for programs in other languages. They describe the form; docs/rules.md says what a record does, docs/proofs.md
how a proof is checked.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from schemas.codec import EVENT_TYPES
from schemas.proof_files import Proof
from schemas.publications import Record


def generate() -> dict[str, dict[str, Any]]:
    """The schemas by file name: one for each type of event, one for the records of `publications`, one for proofs."""
    documents = {
        f"{kind}.schema.json": _document(kind, event_class) for kind, event_class in sorted(EVENT_TYPES.items())
    }
    documents["publications.schema.json"] = _document("publications", Record)
    documents["proof.schema.json"] = _document("proof", Proof)
    return documents


def write_all(folder: Path) -> list[Path]:
    """Write the schemas into a folder and return their paths."""
    folder.mkdir(exist_ok=True)
    paths = []
    for name, document in generate().items():
        path = folder / name
        path.write_text(render(document), encoding="utf-8")
        paths.append(path)
    return paths


def render(document: dict[str, Any]) -> str:
    """A schema as it stands in its file."""
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _document(name: str, root: Any) -> dict[str, Any]:
    (schema,), components = msgspec.json.schema_components([root], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"tuf-ledger/{name}",
        "title": name,
        **schema,
        "$defs": components,
    }
