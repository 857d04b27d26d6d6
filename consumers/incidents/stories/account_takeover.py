"""An account takeover that removes the owner and deletes the account (2023): when did access begin?"""

from consumers.incidents.stories.deeds import (
    Act,
    CommandLine,
    Hand,
    Sealed,
    Story,
    begins,
    in_order,
    neighbours,
    recovery,
)

PROJECTS = ("anchor", "bowsprit", "capstan", "davit")
OWNER = Hand("user", "owner-8", "token:fleet-1")
STOLEN = Hand("user", "owner-8", "session:91af")
NEWCOMER = Hand("user", "newcomer-5", "session:0d17")
INDEX = Hand("system", "index")


def account_takeover() -> Story:
    """The story."""
    taken = ("08:47:25", "08:48:20", "08:48:55", "08:49:40")
    removed = ("08:47:35", "08:48:31", "08:49:08", "08:49:52")
    acts = in_order(
        neighbours(["2023-11-19", "2023-11-20", "2023-11-21"]),
        [
            Act("2023-11-19T09:00:00Z", tuple(deed for project in PROJECTS for deed in begins(project, OWNER))),
            Act("2023-11-20T10:00:00Z", tuple(OWNER.uploads(project, "1.4") for project in PROJECTS)),
            Act(
                "2023-11-21T22:10:44Z",
                (INDEX.notes("sign-in", OWNER.name, credential=STOLEN.credential, note="from a new country"),),
            ),
            Act("2023-11-22T08:42:33Z", (INDEX.notes("account-created", NEWCOMER.name),)),
            Act("2023-11-22T08:44:55Z", (STOLEN.notes("invitation", NEWCOMER.name, note="to all projects").bad,)),
            *(
                Act(f"2023-11-22T{time}Z", (NEWCOMER.grants("collaborator", NEWCOMER.name, project=project).bad,))
                for time, project in zip(taken, PROJECTS, strict=True)
            ),
            *(
                Act(f"2023-11-22T{time}Z", (NEWCOMER.revokes("collaborator", OWNER.name, project=project).bad,))
                for time, project in zip(removed, PROJECTS, strict=True)
            ),
            Act("2023-11-22T08:50:27Z", (STOLEN.notes("account-deleted", OWNER.name).bad,)),
        ],
    )
    return Story(
        name="account-takeover",
        title="an account takeover that removes the owner and deletes the account (an index, 2023)",
        told_at="2023-11-22T14:33:00Z",
        told=f"""\
A man writes that he owned {PROJECTS[0]} and can no longer sign in: the index says that his account {OWNER.name} does
not exist. The project now belongs to {NEWCOMER.name}, whom nobody knows. The account's rows in your database were
deleted with it, and the sessions, too.""",
        question="When did the access begin? Which projects are concerned? Was anything uploaded?",
        acts=acts,
        lines=(
            CommandLine(
                f"access {PROJECTS[0]}", "Who may act for it, and who removed whom: the log keeps what a row loses."
            ),
            CommandLine(f"access {NEWCOMER.name}", "Four projects were taken, within three minutes."),
            CommandLine(
                f"log --actor {OWNER.name}",
                "The owner's account invited the newcomer, and deleted itself, in one session.",
            ),
            CommandLine(f"find {STOLEN.credential}", "All about that session, also the sign-in on the evening before."),
            CommandLine(
                f"incident open takeover --credential {STOLEN.credential} --credential {NEWCOMER.credential} "
                '--reason "a stolen account"',
                "Freeze what both sessions did.",
            ),
            CommandLine(
                "incident report takeover", "No file came by it. What it revoked is named: a person must decide."
            ),
            CommandLine("incident plan takeover --to plan.jsonl", "It takes the rights back that the thief granted."),
            *recovery("takeover"),
            CommandLine(f"access {NEWCOMER.name}", "The log has the end of these rights."),
        ),
        answer=Sealed(
            text=f"""\
The access began on 2023-11-21T22:10:44Z at the latest, with the sign-in of {STOLEN.credential} from a new country, ten
hours before the account was deleted. Four projects: the newcomer took each one and removed its owner. Nothing was
uploaded, so no installer was reached. In 2023 this question could not be answered: the data had gone with the account.
The log keeps it. The plan revokes what the thief granted. It does not grant again what the thief revoked: that is
named in the report, and the index does it, when it knows who the owner is.""",
            clean={project: (f"{project}-1.4-py3-none-any.whl",) for project in PROJECTS},
            residuals=(("access:owner-8", "", "revoked"),) * 4,
            elsewhere=(
                f"The index restores {OWNER.name}, or a new account of the same person, and appends the grants.",
                "The index ends both sessions, and lets no single session remove an owner and delete an account.",
            ),
        ),
    )
