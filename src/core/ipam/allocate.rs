//! The pass over all claims.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::range::{Family, number};
use super::space::Used;
use super::{AllocateError, Allocation, Claim, Ledger, Pool, PoolFault, PoolUse};

/// Gives each claim its address, or the reason why it has none. The order of pools and claims does not matter, and a
/// second pass over its own result changes nothing.
#[must_use]
pub fn allocate(pools: &[Pool], claims: &[Claim]) -> Ledger {
    let mut pass = Pass::new(pools);
    let mut ordered: Vec<&Claim> = claims.iter().collect();
    ordered.sort_by(|a, b| (a.created, &a.uid).cmp(&(b.created, &b.uid)));
    ordered.retain(|claim| !(claim.bound && pass.keep(claim)));
    ordered.retain(|claim| !pass.keep(claim));
    ordered.retain(|claim| !pass.grant_explicit(claim));
    for claim in ordered {
        pass.grant_automatic(claim);
    }
    pass.finish()
}

struct Entry<'a> {
    pool: &'a Pool,
    fault: Option<PoolFault>,
    used: u64,
    /// Where the next search starts in each family: addresses are only ever taken during a pass.
    cursor: [u128; 2],
}

struct Pass<'a> {
    /// In the order in which they are asked: priority, then name.
    pools: Vec<Entry<'a>>,
    used: Used,
    /// The user of each address.
    users: BTreeMap<IpAddr, &'a Claim>,
    claims: BTreeMap<String, Result<Allocation, AllocateError>>,
}

impl<'a> Pass<'a> {
    fn new(pools: &'a [Pool]) -> Self {
        let mut entries: Vec<Entry<'a>> =
            pools.iter().map(|pool| Entry { pool, fault: fault_of(pool, pools), used: 0, cursor: [0, 0] }).collect();
        entries.sort_by(|a, b| {
            (-i64::from(a.pool.priority), &a.pool.name).cmp(&(-i64::from(b.pool.priority), &b.pool.name))
        });
        Self { pools: entries, used: Used::default(), users: BTreeMap::new(), claims: BTreeMap::new() }
    }

    /// Lets a claim keep the address that it has. `false` if it has none that it can keep.
    fn keep(&mut self, claim: &'a Claim) -> bool {
        let Some(held) = claim.held else { return false };
        let despite = self.check(claim, held).err();
        let changed =
            matches!(despite, Some(AllocateError::AddressChanged { .. } | AllocateError::FamilyMismatch { .. }));
        if self.users.contains_key(&held) || (changed && !claim.bound && !claim.deleting) {
            return false;
        }
        self.take(claim, held, despite);
        true
    }

    /// Gives a claim the address that it asks for, or the reason why not. `false` if it asks for none.
    fn grant_explicit(&mut self, claim: &'a Claim) -> bool {
        let Some(address) = claim.address else { return false };
        let outcome = self.may_have(claim, address);
        self.settle(claim, outcome.map(|()| address));
        true
    }

    fn grant_automatic(&mut self, claim: &'a Claim) {
        let outcome = match &claim.pool {
            _ if claim.deleting => Err(AllocateError::Deleting),
            Some(name) => self.search_named(claim, name),
            None => self.search_any(claim),
        };
        self.settle(claim, outcome);
    }

    fn settle(&mut self, claim: &'a Claim, outcome: Result<IpAddr, AllocateError>) {
        match outcome {
            Ok(address) => self.take(claim, address, None),
            Err(error) => {
                self.claims.insert(claim.uid.clone(), Err(error));
            }
        }
    }

    /// Whether a claim may have an address that it does not have yet.
    fn may_have(&self, claim: &Claim, address: IpAddr) -> Result<(), AllocateError> {
        if claim.deleting {
            return Err(AllocateError::Deleting);
        }
        self.check(claim, address)?;
        if let Some(user) = self.users.get(&address) {
            return Err(AllocateError::InUse { address, by: user.name.clone() });
        }
        match claim.pool.as_ref().and_then(|name| self.named(name)) {
            Some(entry) => entry.usable(),
            None => Ok(()),
        }
    }

    /// Whether an address fits what a claim asks for and what the pools are for, in use or not.
    fn check(&self, claim: &Claim, address: IpAddr) -> Result<(), AllocateError> {
        if let Some(wanted) = claim.address.filter(|wanted| *wanted != address) {
            return Err(AllocateError::AddressChanged { wanted });
        }
        if let Some(family) = claim.family.filter(|family| *family != Family::of(address)) {
            return Err(AllocateError::FamilyMismatch { of: address.to_string(), family });
        }
        if let Some(name) = &claim.pool {
            let entry = self.named(name).ok_or_else(|| AllocateError::PoolMissing { pool: name.clone() })?;
            if !entry.pool.space.contains(address) {
                return Err(AllocateError::NotInPool { address, pool: name.clone() });
            }
            return entry.selects(claim);
        }
        let mut refused = None;
        for entry in self.pools.iter().filter(|entry| entry.pool.space.contains(address)) {
            match entry.selects(claim) {
                Ok(()) => return Ok(()),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        match refused {
            Some(error) => Err(error),
            None if claim.address.is_some() => Ok(()),
            None => Err(AllocateError::OutsidePools { address }),
        }
    }

    fn search_named(&mut self, claim: &Claim, name: &str) -> Result<IpAddr, AllocateError> {
        let entry = self.pools.iter_mut().find(|entry| entry.pool.name == name);
        let entry = entry.ok_or_else(|| AllocateError::PoolMissing { pool: name.to_owned() })?;
        entry.usable()?;
        entry.selects(claim)?;
        let Some(family) = entry.family_for(claim) else {
            let family = claim.family.unwrap_or(Family::V4);
            return Err(AllocateError::FamilyMismatch { of: format!("AddressPool {name}"), family });
        };
        let exhausted = || AllocateError::PoolExhausted { pools: vec![name.to_owned()] };
        entry.next_free(family, &self.used).ok_or_else(exhausted)
    }

    fn search_any(&mut self, claim: &Claim) -> Result<IpAddr, AllocateError> {
        let mut asked = Vec::new();
        for entry in &mut self.pools {
            if !entry.pool.auto_assign || entry.usable().is_err() || entry.selects(claim).is_err() {
                continue;
            }
            let Some(family) = entry.family_for(claim) else { continue };
            if let Some(address) = entry.next_free(family, &self.used) {
                return Ok(address);
            }
            asked.push(entry.pool.name.clone());
        }
        Err(if asked.is_empty() { AllocateError::NoPool } else { AllocateError::PoolExhausted { pools: asked } })
    }

    fn take(&mut self, claim: &'a Claim, address: IpAddr, despite: Option<AllocateError>) {
        self.used.insert(address);
        self.users.insert(address, claim);
        let mut pool = None;
        for entry in self.pools.iter_mut().filter(|entry| entry.pool.space.contains(address)) {
            entry.used += 1;
            let named = claim.pool.as_ref() == Some(&entry.pool.name);
            if named || (pool.is_none() && entry.fault.is_none()) {
                pool = Some(entry.pool.name.clone());
            }
        }
        self.claims.insert(claim.uid.clone(), Ok(Allocation { address, pool, despite }));
    }

    fn named(&self, name: &str) -> Option<&Entry<'a>> {
        self.pools.iter().find(|entry| entry.pool.name == name)
    }

    fn finish(self) -> Ledger {
        let pools = self.pools.into_iter().map(|entry| {
            let total = entry.pool.space.total();
            let free = total.minus(entry.used.into());
            (entry.pool.name.clone(), PoolUse { total, used: entry.used, free, fault: entry.fault })
        });
        Ledger { claims: self.claims, pools: pools.collect() }
    }
}

impl Entry<'_> {
    fn usable(&self) -> Result<(), AllocateError> {
        match &self.fault {
            None => Ok(()),
            Some(why) => Err(AllocateError::PoolUnusable { pool: self.pool.name.clone(), why: why.clone() }),
        }
    }

    /// Whether the pool is for this claim. A pool for selected Services is for no other claims.
    fn selects(&self, claim: &Claim) -> Result<(), AllocateError> {
        let namespace = self.pool.namespaces.as_ref().is_none_or(|selector| selector.matches(&claim.namespace));
        let service = self.pool.services.as_ref();
        let service =
            service.is_none_or(|selector| claim.service.as_ref().is_some_and(|labels| selector.matches(labels)));
        if namespace && service { Ok(()) } else { Err(AllocateError::NotSelected { pool: self.pool.name.clone() }) }
    }

    /// The family that the pool can give a claim: the one asked for, else IPv4 before IPv6.
    fn family_for(&self, claim: &Claim) -> Option<Family> {
        let wanted = match claim.family {
            Some(family) => &[family][..],
            None => &[Family::V4, Family::V6],
        };
        wanted.iter().copied().find(|family| self.pool.space.has(*family))
    }

    fn next_free(&mut self, family: Family, used: &Used) -> Option<IpAddr> {
        let cursor = match family {
            Family::V4 => &mut self.cursor[0],
            Family::V6 => &mut self.cursor[1],
        };
        let address = family.address(self.pool.space.next_free(family, *cursor, used)?);
        *cursor = number(address);
        Some(address)
    }
}

/// Of two pools that share addresses the older works.
fn fault_of(pool: &Pool, pools: &[Pool]) -> Option<PoolFault> {
    if pool.deleting {
        return Some(PoolFault::Deleting);
    }
    let age = |pool: &Pool| (pool.created, pool.uid.clone(), pool.name.clone());
    let older = pools.iter().filter(|other| age(other) < age(pool) && other.space.overlaps(&pool.space));
    older.min_by_key(|other| age(other)).map(|other| PoolFault::Overlaps { with: other.name.clone() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::Space;
    use super::*;

    #[test]
    fn ten_thousand_claims_get_ten_thousand_addresses_of_the_widest_pools_too() {
        for ranges in ["10.0.0.0/8", "2001:db8::/64", "::/0"] {
            let pools = [Pool {
                name: "p".to_owned(),
                space: Space::new(&[ranges.parse().unwrap()], &[], true),
                auto_assign: true,
                ..Pool::default()
            }];
            let claims: Vec<Claim> =
                (0..10_000).map(|at| Claim { uid: format!("{at:06}"), ..Claim::default() }).collect();
            let ledger = allocate(&pools, &claims);
            let addresses: BTreeSet<IpAddr> =
                ledger.claims.values().map(|result| result.clone().unwrap().address).collect();
            assert_eq!(addresses.len(), claims.len(), "{ranges}");
        }
    }
}
