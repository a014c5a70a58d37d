//! What can go wrong, by name.

/// A class of faults. A run has some of them switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Drop,
    Delay,
    Duplicate,
    Reorder,
    OneWay,
    Partition,
    Crash,
    /// Of what was not synced at a crash only a part is there.
    LostWrites,
    SlowSync,
    StalledSync,
    FailingSync,
    /// Several syncs are under way at a time and end in any order.
    OutOfOrder,
    /// A minority of the disks forgets a part of what it had synced.
    LostTail,
    /// On a minority of the disks a bit of the log flips.
    BitFlip,
    DiskFull,
    Wipe,
    ClockSkew,
    Pause,
    Membership,
    /// A member comes back with other settings.
    Reconfigure,
    /// Logs are cut, so that who lags needs a snapshot.
    Compact,
    Transfer,
    /// The cluster forms itself from blank boards.
    Formation,
}

pub const ALL: [Fault; 23] = [
    Fault::Drop,
    Fault::Delay,
    Fault::Duplicate,
    Fault::Reorder,
    Fault::OneWay,
    Fault::Partition,
    Fault::Crash,
    Fault::LostWrites,
    Fault::SlowSync,
    Fault::StalledSync,
    Fault::FailingSync,
    Fault::OutOfOrder,
    Fault::LostTail,
    Fault::BitFlip,
    Fault::DiskFull,
    Fault::Wipe,
    Fault::ClockSkew,
    Fault::Pause,
    Fault::Membership,
    Fault::Reconfigure,
    Fault::Compact,
    Fault::Transfer,
    Fault::Formation,
];

/// A set of classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults(u32);

/// How often each class really acted in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acts([u32; ALL.len()]);

impl Fault {
    pub fn name(self) -> String {
        format!("{self:?}")
    }
}

impl Faults {
    pub const NONE: Faults = Faults(0);

    pub fn all() -> Faults {
        ALL.iter().fold(Faults::NONE, |set, fault| set.with(*fault))
    }

    pub fn has(self, fault: Fault) -> bool {
        self.0 & 1 << fault as u32 != 0
    }

    pub fn with(self, fault: Fault) -> Faults {
        Faults(self.0 | 1 << fault as u32)
    }

    pub fn without(self, fault: Fault) -> Faults {
        Faults(self.0 & !(1 << fault as u32))
    }

    pub fn iter(self) -> impl Iterator<Item = Fault> {
        ALL.into_iter().filter(move |fault| self.has(*fault))
    }

    /// As a number, for the line that replays a run.
    pub fn bits(self) -> u32 {
        self.0
    }

    pub fn of_bits(bits: u32) -> Faults {
        Faults(bits & Faults::all().0)
    }
}

impl Acts {
    pub fn note(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    pub fn of(&self, fault: Fault) -> u32 {
        self.0[fault as usize]
    }
}
