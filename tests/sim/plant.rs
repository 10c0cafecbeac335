//! Faults that are planted to see whether the simulation finds them: each is a bug that a scheduler might have, put
//! into the sim's own processes around the cores, never into a program.

/// A planted bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plant {
    /// One start in fifty is lost on its way from the agent to the keeper.
    Drops,
    /// A keeper that is started again starts what runs once more.
    Doubles,
    /// A keeper that is killed forgets the results that it had.
    Forgets,
    /// An agent believes its session lease to last longer than the center does.
    LongLease,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Drops, Self::Doubles, Self::Forgets, Self::LongLease];
}
