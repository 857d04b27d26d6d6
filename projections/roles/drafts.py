"""Drafts of offline roles: the unsigned documents that a ceremony is to sign.

A plan states everything that is to be in force. `draft` makes the documents that differ from those in force, with the
versions that they must have. Signing is not done in this module.
"""

from typing import Any

import msgspec
from securesystemslib.signer import SSlibKey

from projections.roles.authority import BIN_PATTERNS, Authority, Settings, Void, hash_prefixes
from projections.roles.documents import SPEC_VERSION
from projections.roles.layout import Layout


class Signers(msgspec.Struct, frozen=True):
    """The keys of a role, and its threshold."""

    keys: tuple[SSlibKey, ...]
    threshold: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The roles and settings that a ceremony is to put in force. `expires` is the expiry of the three offline roles."""

    root: Signers
    targets: Signers
    bins: Signers
    online: Signers
    layout: Layout
    settings: Settings
    expires: str
    void: Void | None = None


def draft(plan: Plan, current: Authority | None, *, renew: bool = False) -> dict[str, dict[str, Any]]:
    """The `signed` parts that a ceremony must sign, by role.

    Root is always among them. `targets` and `bins` are left out if neither the document nor its signers change, because
    their keys may be gone (PEP 458 recommends discarding them after signing). With `renew`, they are always among them.
    """
    versions = {} if current is None else {document.role: document.version for document in current.documents}
    bodies = {"root": _root(plan), "targets": _targets(plan), "bins": _bins(plan)}
    drafts = {}
    for role, body in bodies.items():
        before = None if current is None else next(each for each in current.documents if each.role == role)
        same = before is not None and all(before.signed.get(name) == body[name] for name in body)
        if same and role != "root" and not renew and _signers_are_same(role, plan, current):
            continue
        drafts[role] = {
            **body,
            "spec_version": SPEC_VERSION,
            "version": versions.get(role, 0) + 1,
            "expires": plan.expires,
        }
    return drafts


def _signers_are_same(role: str, plan: Plan, current: Authority | None) -> bool:
    """Whether the keys that must sign `targets` or `bins` are those in force."""
    if current is None:
        return False
    if role == "targets":
        return bool(current.root.signed["roles"]["targets"] == _role(plan.targets))
    delegated = current.targets.signed["delegations"]["roles"][0]
    return {name: delegated[name] for name in ("keyids", "threshold")} == _role(plan.bins)


def _root(plan: Plan) -> dict[str, Any]:
    roles = {"root": plan.root, "targets": plan.targets, "snapshot": plan.online, "timestamp": plan.online}
    body = {
        "_type": "root",
        "consistent_snapshot": True,
        "keys": _keys(*roles.values()),
        "roles": {name: _role(signers) for name, signers in roles.items()},
        "x-ledger": msgspec.json.decode(msgspec.json.encode(plan.settings)),
    }
    return body if plan.void is None else {**body, "x-void": msgspec.to_builtins(plan.void)}


def _targets(plan: Plan) -> dict[str, Any]:
    role = {"name": "bins", "terminating": True, "paths": list(BIN_PATTERNS), **_role(plan.bins)}
    return {"_type": "targets", "targets": {}, "delegations": {"keys": _keys(plan.bins), "roles": [role]}}


def _bins(plan: Plan) -> dict[str, Any]:
    layout, online = plan.layout, _role(plan.online)
    delegations: dict[str, Any] = {"keys": _keys(plan.online)}
    if layout.succinct:
        delegations["succinct_roles"] = {"bit_length": layout.bits, "name_prefix": layout.prefix, **online}
    else:
        delegations["roles"] = [
            {
                "name": layout.name(index),
                "terminating": True,
                "path_hash_prefixes": list(hash_prefixes(layout, index)),
                **online,
            }
            for index in range(layout.count)
        ]
    return {"_type": "targets", "targets": {}, "delegations": delegations}


def _role(signers: Signers) -> dict[str, Any]:
    return {"keyids": sorted(key.keyid for key in signers.keys), "threshold": signers.threshold}


def _keys(*signers: Signers) -> dict[str, Any]:
    return {key.keyid: key.to_dict() for each in signers for key in each.keys}
