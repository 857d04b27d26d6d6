"""A trusted maintainer's late file on an old release: whoever pins the version gets it."""

from consumers.incidents.stories.deeds import (
    ADMINISTRATORS,
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

PROJECT = "sundial"
OWNER = Hand("user", "owner-3", "token:sundial-1")
HELPER = Hand("user", "helper-9", "token:sundial-2")
OTHER = Hand("user", "almanac-team", "token:almanac-1")


def late_file() -> Story:
    """The story."""
    acts = in_order(
        neighbours(["2025-03-03", "2025-03-04", "2025-03-05"]),
        [
            Act(
                "2025-03-03T09:00:00Z",
                (
                    *begins(PROJECT, OWNER),
                    *(OWNER.uploads(PROJECT, "2.4", wheel=tags) for tags in ("py3-none-any", "")),
                ),
            ),
            Act(
                "2025-03-10T11:00:00Z",
                (
                    ADMINISTRATORS.grants("collaborator", HELPER.name, project=PROJECT),
                    ADMINISTRATORS.grants("credential", HELPER.name, project=PROJECT, credential=HELPER.credential),
                ),
            ),
            Act("2025-03-12T12:00:00Z", (HELPER.uploads(PROJECT, "2.5"),)),
            Act("2025-03-12T13:10:00Z", (HELPER.uploads(PROJECT, "2.5", wheel=""),)),
            Act("2025-03-20T03:12:55Z", (HELPER.uploads(PROJECT, "2.4", wheel="1-py3-none-any", says="a beacon").bad,)),
            Act("2025-03-20T15:00:00Z", (OTHER.uploads("almanac", "1.0", wheel="cp314-cp314-any"),)),
        ],
    )
    return Story(
        name="late-file",
        title="a trusted helper's late file on an old release, which everybody has pinned",
        told_at="2025-03-21T08:00:00Z",
        told=f"""\
A company writes that their builds changed over night, although they pin {PROJECT}==2.4, which is seventeen days old.
There is a newer release, 2.5. Nothing of 2.4 was replaced: all files have the bytes that they had.""",
        question="Why did the builds change? Are there more such files on this index?",
        acts=acts,
        lines=(
            CommandLine(
                f"blame {PROJECT}==2.4",
                "Three files; the third one is two weeks younger. pip prefers its build tag.",
            ),
            CommandLine("log --late-files 14", "All files that came so late to their release: two, in two projects."),
            CommandLine(f"access {HELPER.name}", "Who that is, since when, and what else they did."),
            CommandLine(
                f'incident open late --late-files 14 --project {PROJECT} --reason "a late file"',
                "Freeze that file. The other one is a wheel for a new Python: ask its team.",
            ),
            CommandLine("incident report late", "Whom it reached; what else the same hand did."),
            CommandLine("incident plan late --to plan.jsonl", "One step: that file goes, and its bytes."),
            *recovery("late"),
        ),
        answer=Sealed(
            text=f"""\
{HELPER.name}, a collaborator since 2025-03-10, added a wheel with the build tag 1 to the release of 2025-03-03. Of two
wheels of a release that fit, pip takes the one with the higher build tag: so pinned builds took it, unless they pin
hashes, too. The index cannot refuse that: another build tag is another distribution. One more late file is on the
index, a wheel of almanac for a new Python; its team confirms it. The plan removes the wheel of {PROJECT} alone. What
else {HELPER.name} made (2.5) is named by the report, and a person must look at it.""",
            reaches=(Reach("sundial-2.4-1-py3-none-any.whl", "2025-03-20T03:13:02Z", ""),),
            clean={
                PROJECT: (
                    "sundial-2.4-py3-none-any.whl",
                    "sundial-2.4.tar.gz",
                    "sundial-2.5-py3-none-any.whl",
                    "sundial-2.5.tar.gz",
                )
            },
            elsewhere=(
                f"The owner decides about {HELPER.name}; the index revokes {HELPER.credential}.",
                "Read 2.5 before you trust it.",
            ),
        ),
    )
