//! Random edits, the same for the same seed.

use audiocloud_chain::document::{BRANCHES_MAX, Chain, Item};
use audiocloud_chain::edit::{Edit, Place};

/// Xorshift; the seed is fixed, so that a failure can be repeated.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    pub(crate) fn number(&mut self, limit: u32) -> u32 {
        u32::try_from(self.below(u64::from(limit.max(1)))).unwrap()
    }
}

/// Edits a chain of ours and of toys.
pub(crate) struct Author {
    pub(crate) random: Random,
}

impl Author {
    fn kind(&mut self) -> String {
        let kinds = audiocloud_effects::KINDS;
        let toys = ["clap:gain", "clap:late:99", "clap:probe", "clap:bad", "clap:nobody"];
        let which = usize::try_from(self.random.below(20)).unwrap();
        match kinds.get(which) {
            Some(kind) => kind.id.to_owned(),
            None => toys[which % toys.len()].to_owned(),
        }
    }

    fn place(&mut self, chain: &Chain) -> Place {
        let index = self.random.number(6);
        let mut parallels = Vec::new();
        chain.each(&mut |item| {
            if let Item::Parallel(parallel) = item {
                parallels.push((parallel.id, parallel.branches.len()));
            }
        });
        match parallels.get(usize::try_from(self.random.below(4)).unwrap()) {
            Some((id, branches)) => {
                let branch = self.random.number(u32::try_from(*branches).unwrap());
                Place::within(*id, u16::try_from(branch).unwrap(), index)
            }
            None => Place::at(index),
        }
    }

    fn id(&mut self, chain: &Chain) -> u32 {
        let mut ids = Vec::new();
        chain.each(&mut |item| ids.push(item.id()));
        let which = usize::try_from(self.random.below(1 + ids.len() as u64)).unwrap();
        ids.get(which).copied().unwrap_or(7)
    }

    /// What may well not suit the chain.
    pub(crate) fn edit(&mut self, chain: &Chain) -> Edit {
        let id = self.id(chain);
        let many = chain.effects().len() > 10;
        match self.random.below(10) {
            _ if many => Edit::Remove(id),
            0..3 => Edit::Add { at: self.place(chain), kind: self.kind() },
            3 => {
                let branches = 1 + self.random.number(u32::try_from(BRANCHES_MAX).unwrap());
                Edit::AddParallel { at: self.place(chain), branches: u16::try_from(branches).unwrap() }
            }
            4 => Edit::AddBranch(id),
            5 => Edit::RemoveBranch(id, 0),
            6 => Edit::Remove(id),
            7 => Edit::Move { id, to: self.place(chain) },
            8 => Edit::Bypass(id, self.random.below(2) == 0),
            _ => {
                let parameter = self.random.number(12);
                Edit::Set { effect: id, parameter, value: self.random.number(2_000) as f32 - 500.0 }
            }
        }
    }
}
