//! L1 to L4: what a directed run must show beside safety and healing.

use crate::sim::oracle::{Property, Violation};
use crate::sim::scenario::Expect;
use crate::sim::world::{MS, World};

/// How often a VIP that must not move is looked at.
const STEP: u64 = 5 * MS;

impl World {
    /// Runs until `until` and checks what the scenario expects on the way.
    pub fn run_expecting(&mut self, begun: u64, until: u64) -> Result<(), Violation> {
        match self.scenario.expect.clone() {
            None => self.run(until),
            Some(Expect::Claimed { by }) => {
                self.run(begun + by * MS)?;
                self.all_are_reached()?;
                self.run(until)
            }
            Some(Expect::Fences { most }) => {
                self.run(until)?;
                match self.oracle.fences {
                    fences if fences > most => self.failed(Property::L6, format!("{fences} fences, {most} outages")),
                    _ => Ok(()),
                }
            }
            Some(Expect::Still(property)) => self.run_still(property, until),
        }
    }

    /// L1: each address is claimed by a node that the network reaches both ways.
    fn all_are_reached(&mut self) -> Result<(), Violation> {
        let gateway = self.nodes.len();
        for address in 0..self.scenario.vips {
            if !self.claimants(address).iter().any(|node| self.net.joined(*node, gateway)) {
                let what = format!("address {address} is claimed by {:?}", self.claimants(address));
                return self.failed(Property::L1, what);
            }
        }
        Ok(())
    }

    fn run_still(&mut self, property: Property, until: u64) -> Result<(), Violation> {
        let holders: Vec<Vec<usize>> = (0..self.scenario.vips).map(|address| self.claimants(address)).collect();
        let fences = self.oracle.fences;
        while self.now < until {
            self.run((self.now + STEP).min(until))?;
            for (address, before) in holders.iter().enumerate() {
                let now = self.claimants(address);
                if now != *before {
                    return self.failed(property, format!("address {address} goes from {before:?} to {now:?}"));
                }
            }
            if self.oracle.fences > fences {
                return self.failed(property, "somebody is fenced".to_owned());
            }
        }
        Ok(())
    }

    pub fn failed(&mut self, property: Property, what: String) -> Result<(), Violation> {
        let violation = Violation { property, at: self.now, what };
        self.note(|| format!("VIOLATION {violation}"));
        Err(violation)
    }
}
