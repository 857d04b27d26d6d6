"""The log lost its end: somebody went back to a backup. An auditor has a copy, or nobody has."""

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
from schemas import canonical

OWNER = Hand("user", "owner-5", "token:quill-1")
OTHER = Hand("user", "stranger-1", "token:quill-9")


def rewritten_topic() -> Story:
    """The story."""
    acts = in_order(
        neighbours(["2026-02-02", "2026-02-03", "2026-02-04"]),
        [
            Act("2026-02-02T09:00:00Z", (*begins("quill", OWNER), OWNER.uploads("quill", "1.0"))),
            Tampering("2026-02-03T23:00:00Z", "copy", "log", "backup"),
            Act("2026-02-04T10:00:00Z", (OWNER.uploads("quill", "1.1"),)),
            Act("2026-02-04T11:00:00Z", (OWNER.yanks_release("quill", "1.0", "insecure"),)),
            Tampering("2026-02-04T11:30:00Z", "copy", "log", "auditor"),
            Tampering("2026-02-04T12:00:00Z", "copy", "backup", "log"),
            Tampering("2026-02-04T12:10:00Z", "append", "log", deeds=(OTHER.uploads("quill", "1.1", says="other"),)),
        ],
    )
    return Story(
        name="rewritten-topic",
        title="an administrator goes back to yesterday's log, and other events take the place of lost ones",
        told_at="2026-02-04T12:30:00Z",
        told="""\
An administrator of the log's store "repaired" it at 12:00. Since then the signer refuses to start. quill's owner says
that 1.1, from this morning, is gone from the index's own database, and that somebody else's 1.1 was accepted at 12:10.
An auditor far away has followed your log: the folder `auditor` has that copy, which ends at 11:30.""",
        question="What did the log lose, what came in its place, and who can prove it? What is the truth from now on?",
        acts=acts,
        lines=(
            CommandLine("publish", "The log is not the one that this signer has read. Nothing is signed.", 2),
            CommandLine(
                "verify --served public",
                "Read with care: what the log has lost is called FORGED. Only a state or a copy tells the two apart, "
                "and the signer has just said that its log is shorter than it was.",
                1,
            ),
            CommandLine(
                "verify --log sqlite:log --served public --since public/metadata/timestamp.json",
                "What clients have been shown is the proof: the log is shorter than it says, or another one.",
                1,
            ),
            CommandLine(
                "verify --log sqlite:auditor --served public",
                "The auditor's copy explains every byte that is served: it is the one that was published.",
            ),
            CommandLine("log quill --log sqlite:log", "What stands there now: an upload of 1.1 by a stranger."),
            CommandLine(
                "mv log rewritten; cp -r auditor log",
                "Restore the longest true copy; keep the other one.",
                is_shell=True,
            ),
            CommandLine("publish", "The signer goes on: nothing is new, and no version goes back."),
            CommandLine("log quill", "What had been lost: an upload of 1.1 by the owner, and a yank."),
            CommandLine("verify --served public", "The log and what is served are the same again."),
        ),
        answer=Sealed(
            text="""\
Lost are the events of the morning: quill 1.1 and the yank of 1.0. In their place stands an upload of another 1.1 by
somebody else. Whoever rewrites the log must also rewrite what everybody has: each snapshot that was ever served holds
the Merkle root of the log. So the signer stops, an auditor's copy proves which log is the true one, and no client was
shown the other one. The copy is the truth from now on, as it explains all that was published. Without any copy it
would be the backup: that is the story `backup-restored`.""",
            clean={"quill": ("quill-1.0-py3-none-any.whl", "quill-1.1-py3-none-any.whl")},
            elsewhere=(
                "The administrator's rights to delete and to alter go. On Kafka, nobody needs them.",
                "The index repairs its own database, and asks who the stranger is.",
                "Keep the rewritten log: it is evidence.",
            ),
        ),
    )


def backup_restored() -> Story:
    """The story of the same loss, without any other copy."""
    lost = (OWNER.uploads("quill", "1.1"), OWNER.yanks_release("quill", "1.0", "insecure"))
    times = ("2026-02-04T10:00:00Z", "2026-02-04T11:00:00Z")
    acts = in_order(
        neighbours(["2026-02-02", "2026-02-03", "2026-02-04"]),
        [
            Act("2026-02-02T09:00:00Z", (*begins("quill", OWNER), OWNER.uploads("quill", "1.0"))),
            Tampering("2026-02-04T09:00:00Z", "copy", "log", "backup"),
            *(Act(time, (deed,)) for time, deed in zip(times, lost, strict=True)),
            Tampering("2026-02-04T12:00:00Z", "copy", "backup", "log"),
        ],
    )
    before = sum(len(act.deeds) for act in acts if isinstance(act, Act) and act.at < times[0])
    known = [
        canonical.encode(deed.event(f"backup-restored-{number}", time))
        for number, (deed, time) in enumerate(zip(lost, times, strict=True), before + 1)
    ]
    return Story(
        name="backup-restored",
        title="the log's disk is lost, this morning's backup is restored, and there is no other copy",
        told_at="2026-02-04T12:30:00Z",
        told="""\
The disk with both logs is lost. The backup of 09:00 was restored. Clients have seen what was published since then, up
to publication 10. Nobody has a newer copy of the logs. The index knows what it appended since 09:00: an upload of quill
1.1, and a yank.""",
        question="How do you go on, so that no client sees a version go back, and nothing that is known is lost?",
        acts=acts,
        lines=(
            CommandLine("publish", "The signer remembers more than the log has. Nothing is signed.", 2),
            CommandLine(
                "rm -r state",
                "There is no copy. So what the log has now is the truth, and states are made anew from it.",
                is_shell=True,
            ),
            CommandLine("append lost.ndjson", "What the index knows is appended again, as it was."),
            CommandLine(
                "ceremony --replace-online",
                "Lost claims may be somewhere: a new key ends them. What is served is ahead, so the command stops.",
                2,
            ),
            CommandLine(
                "resume --above 10 --forged", "You know that 10 was yours. The log does not, and calls it forged."
            ),
            CommandLine("ceremony --replace-online", "It goes on, above everything that clients have seen."),
            CommandLine(
                "rebuild --to whole --all-versions --files public", "All that the log has, from the log alone."
            ),
            CommandLine(
                "mv public lost; mv whole public",
                "What only the lost log could explain is no longer served.",
                is_shell=True,
            ),
            CommandLine("verify --served public", "The log and what is served are the same again."),
        ),
        answer=Sealed(
            text="""\
The end of the log is lost, and the log is the truth: so what is served from after 09:00 has no reason any more. What
the index knows is appended again, with the same bytes. The next publication gets a number above all that clients have
seen, under a new key, with every bin signed anew. Clients that saw publication 10 go on to it. Whoever kept the lost
records cannot use them against you: the key that signed them is no longer online. Lost for good is what nobody knows;
here that is nothing. Had anybody followed the logs, the story would end after one copy.""",
            clean={"quill": ("quill-1.0-py3-none-any.whl", "quill-1.1-py3-none-any.whl")},
            elsewhere=(
                "Root holders sign the new root: offline keys are not on the disk that was lost.",
                "Let `tuf-ledger copy-log --follow` copy both logs to another machine from now on.",
            ),
        ),
        written={"lost.ndjson": "".join(f"{each.decode()}\n" for each in known)},
    )
