//! What every engine promises, told as stories and run on all of them.

use std::sync::Arc;

use raft::{Entry, Index, LogId, NodeId, Payload, Term};

use crate::{Formation, LogStore, MemHome, MemLog, MemState, StateHome, StateStore};

/// Makes a test of every story for every engine.
macro_rules! run_on_every_engine {
    ($mem:ident, $disk:path: $($story:ident)*) => {
        mod mem {
            $(#[test] fn $story() { super::$story::<crate::contract::$mem>() })*
        }
        #[cfg(feature = "rocksdb")]
        mod disk {
            $(#[test] fn $story() { super::$story::<$disk>() })*
        }
    };
}

mod home;
mod log;
mod state;

/// A place where a log lives on when its process dies.
pub(crate) trait LogDisk: Sized {
    type Log: LogStore;
    fn create() -> Self;
    fn log(&self) -> &Self::Log;
    /// Kills the process that holds the log and starts another.
    fn crash(&mut self);
    /// Runs out of luck: from some later write on, all fail.
    fn break_disk(&mut self);
    fn tamper(&self, index: Index, change: impl FnOnce(&mut Vec<u8>));
    fn lose(&self, index: Index);
}

/// A place where a state lives on when its process dies.
pub(crate) trait StateDisk: Sized {
    type State: StateStore;
    fn create() -> Self;
    fn state(&self) -> &Self::State;
    fn crash(&mut self);
    fn break_disk(&mut self);
}

/// A place where the generations of a state live on when their process dies.
pub(crate) trait HomeDisk: Sized {
    type Home: StateHome;
    fn create() -> Self;
    fn home(&self) -> &Self::Home;
    fn crash(&mut self);
}

pub(crate) fn noop(index: Index, term: u64) -> Entry {
    Entry { id: LogId::new(Term(term), index), payload: Payload::Noop }
}

pub(crate) fn command(index: Index, term: u64) -> Entry {
    let bytes = format!("{index:05}@{term:05}");
    Entry { id: LogId::new(Term(term), index), payload: Payload::Command(Arc::from(bytes.as_bytes())) }
}

pub(crate) fn large(index: Index) -> Entry {
    Entry { id: LogId::new(Term(1), index), payload: Payload::Command(Arc::from(vec![index as u8; 8 << 10])) }
}

pub(crate) fn formation() -> Formation {
    Formation { node: NodeId(1), cluster_name: "home".into(), promised: None, started: None }
}

struct MemLogDisk(MemLog);

struct MemStateDisk(MemState);

struct MemHomeDisk(MemHome);

impl HomeDisk for MemHomeDisk {
    type Home = MemHome;

    fn create() -> Self {
        MemHomeDisk(MemHome::new())
    }

    fn home(&self) -> &MemHome {
        &self.0
    }

    fn crash(&mut self) {
        self.0.crash();
    }
}

impl LogDisk for MemLogDisk {
    type Log = MemLog;

    fn create() -> Self {
        MemLogDisk(MemLog::create(&formation()))
    }

    fn log(&self) -> &MemLog {
        &self.0
    }

    fn crash(&mut self) {
        self.0.crash();
    }

    fn break_disk(&mut self) {
        self.0.break_disk();
    }

    fn tamper(&self, index: Index, change: impl FnOnce(&mut Vec<u8>)) {
        self.0.tamper(index, change);
    }

    fn lose(&self, index: Index) {
        self.0.lose(index);
    }
}

impl StateDisk for MemStateDisk {
    type State = MemState;

    fn create() -> Self {
        MemStateDisk(MemState::new())
    }

    fn state(&self) -> &MemState {
        &self.0
    }

    fn crash(&mut self) {
        self.0.crash();
    }

    fn break_disk(&mut self) {
        self.0.break_disk();
    }
}
