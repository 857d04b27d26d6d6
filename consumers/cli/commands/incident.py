"""`tuf-ledger incident`: find out what a compromise did, and undo it."""

from typing import ClassVar

import click

from consumers.cli.groups import Groups, LazyGroup


class Incident(LazyGroup):
    """The commands of an incident, in the order of a response."""

    groups: ClassVar[Groups] = {
        "Scope": {
            "open": "incident_open:open_",
            "amend": "incident_amend:amend",
            "list": "incident_list:list_",
            "show": "incident_show:show",
            "note": "incident_note:note",
        },
        "Look": {
            "report": "incident_report:report",
            "window": "incident_window:window",
            "replay": "incident_replay:replay_incident",
        },
        "Recover": {
            "plan": "incident_plan:plan",
            "recover": "incident_recover:recover",
            "close": "incident_close:close",
        },
        "Practise": {"rehearse": "incident_rehearse:rehearse"},
    }


@click.group(cls=Incident)
def incident() -> None:
    """Respond to a compromise: freeze what is suspect, see whom it reached, and lead back to the clean state.

    Nothing is deleted from the log. Every answer is computed from it, and can be repeated.
    """
