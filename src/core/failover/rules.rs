//! The protocol's rules, each with a switch, so that the simulator can show what each is for.

use serde::{Deserialize, Serialize};

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A rule of the protocol. In production all are in force.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Rule {
            $($(#[$doc])* $name,)*
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

rules! {
    /// A fenced right is closed by the reports of its watchers, not by the taker's own silence.
    ClosureByWatchers,
    /// A right rests on the API only after that has been registered.
    RegisterApi,
    /// The gate shrinks to what both registrations allow before a registration changes.
    ShrinkFirst,
    /// A taker waits for every right in `after`, not only for the last.
    AllAncestors,
    /// A registration whose outcome is unknown is settled by its sequence number.
    SettleBySequence,
    /// What may be claimed is looked at again whenever anything changes.
    LevelTriggered,
    /// The quorum is half of the watchers rounded up; off: more than half.
    SmallQuorum,
    /// A planned restart keeps its right, and is waited for.
    Grace,
    /// A move is agreed in the view before the holder lets go.
    MoveInView,
    /// A victim does not succeed itself.
    NoSelfSuccession,
    /// A fence applies only to the list that it was made from.
    FenceTestsRev,
    /// A fence applies only while the fencer itself is up.
    FencerIsUp,
    /// RELEASED is sent after the gate has shut.
    ReleasedAfterShut,
    /// A watcher acknowledges only after it has read the view, past any cache, since it started.
    ReadBeforeAnswering,
    /// A watcher never acknowledges a right that it knows to be fenced.
    FenceIsPermanent,
    /// Waiting times are scaled by (1 + ρ)/(1 − ρ); off: by 1 + 2ρ.
    ExactFactor,
    /// A deleted address is free only when every right to it is closed.
    DeletionWaits,
    /// A restarted watcher never vouches for more than its uptime.
    UptimeBound,
    /// A suspicion is shared by so many watchers that the others are no quorum.
    Corroboration,
    /// A node without evidence of its own does not fence.
    OwnQuorum,
    /// A watcher counts as silence what the holder says of the age of its evidence.
    DeafHolder,
    /// Evidence counts from the moment that the request was sent.
    EvidenceFromSending,
    /// Who has slept, or gets no acknowledgements itself, doubts itself first.
    SelfDoubt,
    /// A right in api mode is closed only when its last extension has run out.
    ApiInClosure,
    /// A right in a planned restart is suspected, and closed, only when its grace has run out.
    GraceInClosure,
    /// A gate that may shut late is waited for so much longer.
    LatenessInClosure,
    /// Only who is alone in the very version of the view holds without a deadline.
    SoloAlone,
    /// Another boot takes another epoch.
    BootTakesEpoch,
    /// A process that finds its gate shut on purpose takes another epoch: the one before may have said that its right is
    /// over.
    ShutTakesEpoch,
    /// A suspicion that is refuted is dropped.
    Refutation,
    /// While the API is down the quorum still holds.
    HoldThroughOutage,
    /// Where too few watchers answer, a right is over after the longest time that evidence can last.
    Fallback,
    /// Where too few watchers are left to corroborate, the survivors fence after a longer silence.
    MassFailure,
    /// An isolated node says that its gate has shut, and means it.
    ShutIsSaid,
    /// A node that is about to lose its quorum turns to the API.
    ApiMode,
    /// It does so only if somebody was heard since its acknowledgements stopped: it is not cut off.
    HeardSince,
    /// One of two nodes that has a gateway turns to the API only if that answers: it is not mute.
    GatewayOfTwo,
    /// A fenced node that nobody could acknowledge says in the view that its gate has shut.
    Resignation,
    /// Who has no right takes a new one only when it hears enough of those that would acknowledge it.
    QuorumToReturn,
    /// An address with a hard gate is let go before its next holder takes packets for it.
    BreakBeforeMake,
    /// A view that is older than one seen is not believed.
    RefuseOldView,
}

/// Which rules are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules(u64);

impl Rules {
    /// All rules, as in production.
    #[must_use]
    pub const fn all() -> Self {
        Self(u64::MAX)
    }

    /// All rules but one: for the simulator only (tests/architecture.rs), which must then find a failing run.
    #[must_use]
    pub const fn without(rule: Rule) -> Self {
        Self(!(1 << rule as u64))
    }

    pub(super) const fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u64) != 0
    }
}
