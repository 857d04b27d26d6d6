"""Deletion and re-creation of a project, a filename taken before its owner, and a storm of yanks."""

import json

from consumers.incidents.stories.deeds import (
    Act,
    CommandLine,
    Hand,
    Reach,
    Sealed,
    Story,
    begins,
    in_order,
    neighbours,
    recovery,
)

KEEPER = Hand("user", "keeper-4", "token:keeper-1")
MAKER = Hand("user", "maker-7", "token:lanterns-ci")
THIEF = Hand("user", "keeper-4", "session:bb10")
VERSIONS = tuple(f"{number}.0" for number in range(1, 7))


def name_taken() -> Story:
    """The story."""
    stolen = THIEF.uploads("lanterns", "2.0", says="a beacon")
    acts = in_order(
        neighbours(["2025-10-05", "2025-10-06", "2025-10-07"]),
        [
            Act(
                "2025-10-05T09:00:00Z",
                (
                    *begins("tidewater", KEEPER),
                    *begins("lanterns", MAKER, KEEPER),
                    *begins("meridian", KEEPER),
                    *(KEEPER.uploads("tidewater", version) for version in ("1.0", "1.1")),
                    MAKER.uploads("lanterns", "1.9"),
                    *(KEEPER.uploads("meridian", version) for version in VERSIONS),
                    KEEPER.yanks_release("meridian", "2.0", "breaks on leap days"),
                ),
            ),
            Act("2025-10-08T02:10:12Z", (THIEF.removes_project("tidewater").bad,)),
            Act(
                "2025-10-08T02:12:40Z",
                (THIEF.creates("tidewater").bad, THIEF.uploads("tidewater", "2.0", says="a beacon").bad),
            ),
            Act("2025-10-08T02:20:03Z", (stolen.bad,)),
            Act(
                "2025-10-08T02:25:30Z",
                tuple(THIEF.yanks_release("meridian", version, "use tidewater").bad for version in VERSIONS),
            ),
            Act("2025-10-08T06:00:00Z", (MAKER.uploads("lanterns", "2.0").refused,)),
        ],
    )
    taken = {"project": "lanterns", "file": stolen.data["filename"], "sha256": stolen.data["hashes"]["sha256"]}
    return Story(
        name="name-taken",
        title="a project deleted and made again, a filename taken before its owner, a storm of yanks",
        told_at="2025-10-08T06:30:00Z",
        told=f"""\
{MAKER.name} writes: "My announced upload of lanterns 2.0 is refused, the index says that the file exists, with other
bytes." Others write that pip finds no version of meridian any more, and that tidewater has only a version 2.0.
{KEEPER.name}, who may act for all three, sleeps.""",
        question="What was done to the three projects, and can all of it be undone?",
        acts=acts,
        lines=(
            CommandLine(
                "log --since 2025-10-08 --until 2025-10-08T06:30:00Z", "What happened that night, and what was refused."
            ),
            CommandLine("log lanterns --rejected", "The maker's upload, and why."),
            CommandLine(
                f"incident open night --credential {THIEF.credential} --reason 'a stolen session'",
                "One session did all of it.",
            ),
            CommandLine(
                "incident replay night", "Flips first: the thief took the name, so the maker's upload was rejected."
            ),
            CommandLine(
                "incident plan night --to plan.jsonl",
                "It restores, in order, with the old reasons. One residual stays.",
            ),
            *recovery("night"),
            CommandLine(
                "ceremony --freeable taken.ndjson",
                "Root holders sign a list of names that may be freed. Online keys cannot.",
            ),
            CommandLine(
                f"free {taken['file']} --list taken.ndjson --reason 'taken by a thief'",
                "The name is free again; the thief's bytes can never come back under it.",
            ),
            CommandLine("publish", "Now the maker uploads 2.0 again."),
            CommandLine("ceremony --no-freeable", "When all is done."),
        ),
        answer=Sealed(
            text=f"""\
One session, {THIEF.credential}, did ten things in a quarter of an hour. It deleted tidewater and made it again with a
bad 2.0; it uploaded lanterns 2.0 before its maker; it yanked all releases of meridian. The plan restores tidewater's
files and removes 2.0, removes the thief's lanterns 2.0, and unyanks meridian, but for 2.0, which its keeper had yanked
before: that yank gets its own reason back. One residual: the name {taken["file"]} belongs to the thief's bytes, also
when they are removed, so the maker's upload cannot be repeated. Root holders free the name by a list that they sign;
then the maker uploads again.""",
            reaches=(
                Reach("tidewater-2.0-py3-none-any.whl", "2025-10-08T02:12:47Z", ""),
                Reach("lanterns-2.0-py3-none-any.whl", "2025-10-08T02:20:10Z", ""),
            ),
            clean={
                "tidewater": ("tidewater-1.0-py3-none-any.whl", "tidewater-1.1-py3-none-any.whl"),
                "lanterns": ("lanterns-1.9-py3-none-any.whl",),
                "meridian": tuple(f"meridian-{version}-py3-none-any.whl" for version in VERSIONS),
            },
            residuals=(("project:lanterns", "lanterns-2.0-py3-none-any.whl", "filename-taken"),),
            elsewhere=(
                f"The index ends {THIEF.credential}.",
                "Root holders come together to sign the list. Until then the maker can publish 2.0.1.",
            ),
        ),
        written={"taken.ndjson": json.dumps(taken) + "\n"},
    )
