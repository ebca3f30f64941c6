//! Faults that can be planted, to measure how soon the simulator finds them.

/// Faults by name, with their effect. Those of the engine are in `halfping_engine::mutants` and at
/// the places that ask for them.
pub(crate) const MUTANTS: &[(&str, &str)] = &[
    ("fsync-skipped", "the disk says that it has what it has not"),
    ("disk-reorders", "a sync leaves out what was written first, until the next"),
    ("answered-early", "commits are settled before they are written"),
    ("epoch-reused", "a new store has the epoch of the old one"),
    ("recover-keeps", "what was said to have failed stays in the log"),
    ("lease-not-written", "nobody knows how far ephemeral commits went"),
    ("regions-not-written", "nobody knows what was ephemeral"),
    ("log-cut-too-far", "a checkpoint removes the batch that comes with it"),
    ("rows-not-removed", "rows of forgotten tombstones stay on disk"),
    ("tombstone-row-dropped", "tombstones do not come back"),
    ("batch-dropped", "the last batch does not come back"),
    ("client-keeps-nulls", "a client takes a removal for a null"),
    ("floor-not-raised", "engine: a tombstone is forgotten, and the floor stays"),
    ("slice-misordered", "engine: a slice begins a slot too late"),
    (
        "walk-ends-late",
        "engine: a reader of slices is taken to have what came while they were sent",
    ),
    ("walk-begins-anew", "engine: a walk ends when what it walks forgets a tombstone"),
    ("notes-not-told", "engine: a reader of slices is not told what was forgotten meanwhile"),
    (
        "notes-not-heeded",
        "engine: a walk takes slots for what they were before they were renumbered",
    ),
    ("gone-told-last", "engine: a member in the place of a forgotten one is taken for it"),
    ("mark-dropped", "engine: a reader in three is not told that there is something"),
    ("synced-too-early", "engine: a session is called synced while links are still being marked"),
    ("turn-forgotten", "engine: a session whose turn is over is not woken to go on"),
    ("work-forgotten", "engine: what a commit did not mark itself stays unmarked"),
    ("beneath-not-marked", "engine: readers beneath what is replaced are not told"),
    ("forgotten-not-told", "engine: a checkpoint does not name rows that go"),
    ("split-too-early", "engine: rows are taken to be on disk although the write failed"),
    ("abandon-keeps", "engine: commits that were given up are still seen by later ones"),
    ("revision-reused", "engine: commits in line have one revision"),
    ("replaced-as-same", "engine: an object in another's place is taken for it"),
    ("not-buried", "engine: nobody is told that what was ephemeral is gone"),
    (
        "claims-ignored",
        "engine: an ephemeral commit overtakes those in line that write in the same place",
    ),
    ("etag-too-early", "engine: a condition compares with what is not durable"),
    ("cursor-before-the-change", "engine: a condition holds with the cursor of the state before"),
    ("resume-too-new", "engine: a session's cursor promises what links with a rate have not told"),
    ("own-moves-tree", "engine: a commit to the server's own state takes a revision of the tree"),
    ("own-holds-rev", "engine: the server's own state, waiting, holds back what resumes the tree"),
    ("own-resumed", "engine: a cursor of the tree resumes the server's own state"),
    ("own-wakes-root", "engine: the server's own state is taken for a part of the tree"),
    ("clock-set-back", "engine: times stay ahead when the clock was"),
    ("lens-guards-forgotten", "engine: who comes into view is taken to have been there"),
    ("lens-leaves-forgotten", "engine: a reader is not told of what leaves its view"),
    ("lens-floor-not-raised", "engine: a leave is forgotten, and the lens's floor stays"),
    ("lens-floor-too-low", "engine: a new lens is taken to know of all that left before"),
    ("lens-not-asked-before", "engine: what a member was before a change is not looked at"),
    ("view-plain-untouched", "engine: who reads parts of a resource is not told of changes"),
    ("view-leaf-shown", "engine: a view of what has no members shows it"),
    ("view-cursor-too-new", "engine: a reader of a view is taken to know what touches it"),
    ("view-slices-keep", "engine: a reader of slices is not told of what left its view"),
    ("window-entered-forgotten", "engine: a member that comes into a window is told as a change"),
    ("window-leaves-forgotten", "engine: a reader is not told of what leaves its window"),
    ("window-bound-stale", "engine: a window goes by the bound that it had before"),
    ("ranking-old-row-kept", "engine: a member that moves stays where it was as well"),
    ("ranking-built-too-early", "engine: a ranking that is being made is taken for a whole one"),
    ("count-not-told", "engine: a reader of a number is not told that it changed"),
    ("window-tie-by-key", "engine: who is equal to the last of a window is taken to be in it"),
    ("checkpoint-marks-all", "engine: a checkpoint that failed counts as done"),
];

pub(crate) fn plant(name: &'static str) {
    #[cfg(feature = "mutants")]
    halfping_engine::mutants::plant(name);
    #[cfg(not(feature = "mutants"))]
    let _ = name;
}
