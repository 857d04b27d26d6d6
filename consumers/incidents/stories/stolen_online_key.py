"""A stolen online key: metadata signed outside the log, with versions pushed far ahead, and dated ahead."""

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

OWNER = Hand("user", "owner-2", "token:beacon-1")
AHEAD = 9000


def stolen_online_key() -> Story:
    """The story."""
    acts = in_order(
        neighbours(["2026-06-01", "2026-06-02", "2026-06-03"]),
        [
            Act("2026-06-01T09:00:00Z", (*begins("beacon", OWNER), OWNER.uploads("beacon", "1.0"))),
            Act("2026-06-03T17:00:00Z", (OWNER.uploads("beacon", "1.1"),)),
            Tampering("2026-06-04T01:30:00Z", "forge", "public", f"{AHEAD}"),
        ],
    )
    return Story(
        name="stolen-online-key",
        title="a stolen online key: metadata signed outside the log, far ahead in versions and time",
        told_at="2026-06-04T02:00:00Z",
        told=f"""\
The monitor of a mirror says that your index serves a timestamp of version {AHEAD} since 01:30, which expires in two
years. You publish about four times a day, and are far from that number. The signer stopped at the same time: what is
served is not on its log.""",
        question="Is that yours? Who signed it? How do clients that have seen it get the next honest publication?",
        acts=acts,
        lines=(
            CommandLine(
                "compare public", "Each metadata file by role and version: three are forged, and by which key.", 1
            ),
            CommandLine(
                "verify --served public", "The log itself is as it should be; the same files are not its own.", 1
            ),
            CommandLine(
                "find beacon-9.9-py3-none-any.whl",
                "What the forged bin lists (public/metadata/9000.bin-0.json), and no event ever added.",
                1,
            ),
            CommandLine("publish", "A signer never goes on above a forgery.", 2),
            CommandLine(
                "ceremony --replace-online",
                "Root holders replace the key first. The command puts the root on the log and stops at the forgery.",
                2,
            ),
            CommandLine(
                "mkdir evidence; cp public/metadata/timestamp.json evidence; mv public/metadata/9000.* evidence",
                "Keep the forged files, where nobody serves them.",
                is_shell=True,
            ),
            CommandLine(
                f"resume --above {AHEAD} --forged",
                "Caches may hold what is forged: the next publication is above it, and signs every bin anew.",
            ),
            CommandLine("ceremony --replace-online", "The same command goes on from where it stopped."),
            CommandLine(
                "compare evidence", "What was found stays named: forged, by a key that was online until now.", 1
            ),
            CommandLine("verify --served public", "Nothing differs any more."),
        ),
        answer=Sealed(
            text=f"""\
It is not yours: the log has every signature that the online key may make, and these three it does not have. Somebody
has that key. No event was forged, and no project touched. With this key alone, a thief can keep clients from newer
things, and list files that no event added: the forged bin lists beacon-9.9, which was never uploaded. A root without
the key ends that: no client that gets it believes the old key any more, whatever expiry stands there. The next
publication has a number above {AHEAD}, so caches and clients that saw the forgery go on. A client that is kept from
the new root can be lied to until the last offline roles with the old key expire: `incident report` and `show KEYID`
say when.""",
            elsewhere=(
                "Root holders sign the new root with keys that are not on this machine. A rehearsal has them in keys.",
                "Find out how the key was stolen, and who can write into what is served.",
                "Purge the forged files from caches, and look in request logs for those who fetched them.",
            ),
        ),
    )
