//! One run of a cell: a fault, its healing, and what was seen of both.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;
use crate::figures::{Part, millis, part, taken};
use crate::lab::{Lab, SOON};
use crate::observer::{Observer, round};
use crate::support::capture::now;
use crate::support::{wait_for, wait_until};
use crate::table::{Cell, Contender, Expected, Fault};

/// How long is observed before a fault and after its healing.
const CALM: Duration = Duration::from_millis(500);

/// Whoever spoke as a VIP within this time claims it.
const FRESH: Duration = Duration::from_millis(300);

/// What one run showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) fault: Part,
    pub(crate) healing: Part,
    /// Whether VIP 0 had another node when the fault was over.
    pub(crate) moved: bool,
    /// How often the view was written from the fault until the first VIP was answered by another node, or, if none was,
    /// until the fault was over.
    pub(crate) writes: usize,
    /// How many of these writes changed who holds a VIP, or whom it waits for.
    pub(crate) reassigned: usize,
    /// From the first VIP that another node answered for to the last.
    pub(crate) spread: Duration,
}

struct Watch {
    observer: Observer,
    client: Client,
    vips: usize,
}

impl Watch {
    fn start(lab: &Lab) -> Self {
        let vips: Vec<IpAddr> = lab.observed().into_iter().map(|index| lab.vip(index)).collect();
        let observer = Observer::start(&lab.observer, lab.shape.nodes, &vips);
        let client = Client::start(&lab.client, lab.vip(0));
        let watch = Self { observer, client, vips: vips.len() };
        watch.wait_served();
        wait_until(SOON, "one claimant of each VIP", || watch.claimed());
        std::thread::sleep(CALM);
        watch
    }

    /// Waits until the client is answered again and again.
    fn wait_served(&self) {
        let since = now();
        wait_until(SOON, "answers to the client", || self.client.answers(since) > 20);
    }

    /// The nodes that claimed a VIP within [`FRESH`].
    fn claimants(&self, vip: usize) -> Vec<usize> {
        let since = now().saturating_sub(FRESH);
        let last = self.observer.last(vip);
        last.iter().zip(0..).filter(|(at, _)| at.is_some_and(|at| at > since)).map(|(_, node)| node).collect()
    }

    fn claimed(&self) -> bool {
        (0..self.vips).all(|vip| self.claimants(vip).len() == 1)
    }
}

/// Runs a cell once in a lab that is settled, and leaves it settled.
pub(crate) fn run(lab: &mut Lab, cell: Cell) -> Run {
    lab.settle();
    let watch = Watch::start(lab);
    let victim = wait_for(SOON, "a holder", || lab.holder());
    let from = now();
    let trouble = lab.break_it(cell.fault, victim);
    let broken = now();
    wait_until(SOON.max(cell.lasts * 2), &format!("what is expected of {}", cell.name()), || {
        let moved = matches!(cell.expected(), Expected::Moves(_)) && lab.shape.contender == Contender::Vipkeeper;
        now() > broken + cell.lasts && (!moved || watch.claimants(0).iter().any(|node| *node != victim))
    });
    let moved = watch.claimants(0).iter().any(|node| *node != victim);
    // A long calm after a healing would hide how long it took from the totals.
    let healed = now();
    lab.heal_it(cell.fault, victim, trouble);
    wait_until(SOON, &format!("one claimant after {}", cell.name()), || lab.is_settled() && watch.claimed());
    watch.wait_served();
    std::thread::sleep(CALM);
    let until = now();
    let Watch { observer, client, vips } = watch;
    let (log, pings) = (observer.end(), client.end());
    let step = round(vips, lab.shape.nodes);
    let taken = taken(&log, victim, from, FRESH).filter(|_| moved);
    let over = taken.map_or(healed, |taken| taken.0);
    let before = lab.journal().map(|journal| journal.between(from, over)).unwrap_or_default();
    Run {
        fault: part(&log, &pings, (from, healed), step, true),
        healing: part(&log, &pings, (healed, until), step, false),
        moved,
        writes: before.len().saturating_sub(1),
        reassigned: before.windows(2).filter(|pair| pair[0].view.assign != pair[1].view.assign).count(),
        spread: taken.map_or(Duration::ZERO, |taken| taken.1.saturating_sub(taken.0)),
    }
}

impl Run {
    pub(crate) fn json(self) -> Value {
        json!({
            "fault": self.fault.json(), "healing": self.healing.json(), "moved": self.moved,
            "writes": self.writes, "reassigned": self.reassigned, "spread": millis(self.spread),
        })
    }

    /// What of it is not as it must be.
    pub(crate) fn judge(self, cell: Cell) -> Result<(), String> {
        if cell.shape.contender != Contender::Vipkeeper {
            return Ok(());
        }
        let two = self.fault.two.max(self.healing.two);
        let allowed = cell.overlap();
        if two > allowed {
            return Err(format!("two nodes claimed a VIP for {two:?}, allowed is {allowed:?}"));
        }
        let wait = self.fault.gap;
        let bounded = |bound: Duration| {
            if wait > bound { Err(format!("the client waited {wait:?}, for {bound:?} at most")) } else { Ok(()) }
        };
        match cell.expected() {
            Expected::Moves(_) if !self.moved => Err("no other node took over".into()),
            Expected::Stays(_) if self.moved => Err("it moved".into()),
            Expected::Moves(bound) | Expected::Stays(bound) | Expected::Either(bound) => bounded(bound),
            Expected::Goes => Ok(()),
        }?;
        // After a deletion nobody answers until the VIPs are there again.
        let healing = if cell.fault == Fault::DeletedDuring { Duration::MAX } else { Duration::from_secs(5) };
        if self.healing.gap > healing {
            return Err(format!("after the healing the client waited {:?}", self.healing.gap));
        }
        Ok(())
    }
}
