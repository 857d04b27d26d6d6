"""One root key lost; and a threshold of them."""

from consumers.incidents.stories.deeds import (
    Act,
    CommandLine,
    Hand,
    Sealed,
    Story,
    Tampering,
    begins,
    in_order,
    neighbours,
)

OWNER = Hand("user", "owner-6", "token:lintel-1")
_RETIRE = "for key in stolen/*.pem; do rm keys/root/${key#stolen/}; done"
_ADD = "mv spare/*.pem keys/root"


def root_key_lost() -> Story:
    """The story of one key."""
    return Story(
        name="root-key-lost",
        title="one of three root keys is stolen: nothing happened, and it must be replaced",
        told_at="2025-09-19T09:30:00Z",
        told="""\
A root holder's laptop is gone since 2025-09-17, and with it one of three root keys; two are needed to sign. The folder
`stolen` has the copy that the thief has. The holder has made a new key, in `spare`. In this rehearsal all root keys lie
in `keys/root`; in truth each is with another person.""",
        question="Who held root in these days? Was anything altered? How is the key replaced?",
        acts=_acts(Tampering("2025-09-17T20:00:00Z", "steal", "keys/root", "1"), spares=1),
        lines=(
            CommandLine("verify --served public", "Nothing is served that is not on the log."),
            CommandLine("compare public", "No root or other role was signed outside of it."),
            CommandLine("log --type roles.signed.v1", "All ceremonies: the first one alone."),
            CommandLine(
                'incident open laptop --empty --reason "a root key stolen, nothing signed with it"',
                "No event is suspect. Record that you looked.",
            ),
            CommandLine(
                "incident report laptop",
                "Its table says what the loss of each kind of key means, also of one root key.",
            ),
            CommandLine(f"{_RETIRE}; {_ADD}", "The holder's new key takes the place of the lost one.", is_shell=True),
            CommandLine("ceremony --renew", "Root 2, signed by the two old keys that are left, and the new one."),
            CommandLine("diff root@1 root@2", "What changed: one key out, one key in.", 0),
            CommandLine(
                "verify --served public", "Clients go from root 1 to root 2 by two signatures of root 1's keys."
            ),
            CommandLine('incident close laptop --reason "the key was replaced"', "The end of it."),
        ),
        answer=Sealed(
            text="""\
Three people held root, two are needed, and since 2025-09-17 the thief is a fourth with one key: not enough to sign a
root that any client takes. Nothing was altered: every root that was ever in force is an event on the log, and nothing
else is served. The two other holders and the new key sign root 2, which does not list the lost key. After that it is
worth nothing, unless a second one is lost and a client is kept at root 1, until root 1 expires.""",
            clean={"lintel": ("lintel-1.0-py3-none-any.whl", "lintel-1.1-py3-none-any.whl")},
            elsewhere=(
                "The holders meet, or sign one after the other, with keys that are offline.",
                "Ask of each holder where the key is, and count again: that is what the incident of 2025 was about.",
            ),
        ),
    )


def threshold_lost() -> Story:
    """The story of a threshold of keys."""
    return Story(
        name="threshold-lost",
        title="two of three root keys are stolen: a thief can sign a root, and whoever got it must be told",
        told_at="2025-09-19T09:30:00Z",
        told="""\
Two root holders were robbed on 2025-09-17, and two keys are enough to sign. The folder `stolen` has copies of both.
Today a mirror sends you what somebody offered it: the folder `offered`. It has a root of version 2, which you never
signed. The holders have their keys still (they were copied), and made two new ones, in `spare`.""",
        question="Is that root genuine? Whom can you still save, and how? Whom not?",
        acts=_acts(
            Tampering("2025-09-17T20:00:00Z", "steal", "keys/root", "2"),
            Tampering("2025-09-18T20:00:00Z", "copy", "public", "offered"),
            Tampering("2025-09-18T20:01:00Z", "forge-root", "offered"),
            spares=2,
        ),
        lines=(
            CommandLine(
                "compare offered", "A root that a threshold of your keys signed, and that is not on the log.", 1
            ),
            CommandLine("verify --served public", "What you serve is not concerned yet."),
            CommandLine(
                _ADD,
                "First add the new keys, then take the stolen ones out: each root needs two old signatures.",
                is_shell=True,
            ),
            CommandLine("ceremony --renew", "Root 2, yours: whoever gets it before the thief's is safe from that one."),
            CommandLine(_RETIRE, "Now the stolen keys go.", is_shell=True),
            CommandLine("ceremony --renew", "Root 3, without them: from here on, they are worth nothing."),
            CommandLine("compare offered", "The thief's root stays named, as evidence.", 1),
            CommandLine("verify --served public", "What you serve is on the log."),
        ),
        answer=Sealed(
            text="""\
The root is genuine for every client that is shown it: two keys signed it. But it is not on the log, so it is forged.
Clients take the first root 2 that they see. Those that see yours go on to root 3, and can never be given to the thief.
Those that saw the thief's cannot come back by themselves: in TUF nothing stands above a threshold of root. They must be
given root 3, or the first root of a new ledger, by hand, over a channel that the thief does not have. The log proves to
everybody which roots were signed in the open, and that the packages did not change.""",
            clean={"lintel": ("lintel-1.0-py3-none-any.whl", "lintel-1.1-py3-none-any.whl")},
            elsewhere=(
                "Publish the new root's SHA-256 in many places, and say what happened: clients must be told by people.",
                "If too few keys are left to sign, begin a new ledger, and hand out its first root. The old log stays.",
                "Who mirrors you must drop the thief's root.",
            ),
        ),
    )


def _acts(*tampering: Tampering, spares: int) -> tuple[Act | Tampering, ...]:
    return in_order(
        neighbours(["2025-09-15", "2025-09-16"]),
        [
            Act("2025-09-15T09:00:00Z", (*begins("lintel", OWNER), OWNER.uploads("lintel", "1.0"))),
            Act("2025-09-18T10:00:00Z", (OWNER.uploads("lintel", "1.1"),)),
            *tampering,
            Tampering("2025-09-19T08:00:00Z", "spare", "spare", f"{spares}"),
        ],
    )
