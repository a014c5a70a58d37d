//! What one board's storage remembers: exactly what a power cut leaves.

use std::collections::{BTreeMap, BTreeSet};

use raft::{HardState, Index, LogId, NodeId};
use replica::state::{self, Position};
use storage::{AnchorRecord, Formation, LogImage, MemState, Pair, Scan, StateStore, Write};

use super::log_model::LogModel;

pub type Hash = [u8; 32];

#[derive(Debug)]
pub struct Card {
    pub formation: Formation,
    pub log: LogModel,
    pub anchor: AnchorRecord,
    states: BTreeMap<u64, MemState>,
    frozen: BTreeMap<u64, Frozen>,
    /// Whole blobs, synced, with durable names.
    pub blobs: BTreeSet<Hash>,
    /// Blobs once here and unlinked since.
    pub unlinked: BTreeSet<Hash>,
    /// The generation of the state that allowed it.
    pub unlinked_in: u64,
    /// Entries from here on cannot be read back any more.
    pub rotten: Option<Index>,
    /// Up to this applied index no blob was ever missing.
    pub whole: Index,
    /// What a killed process left in the page cache, and a careless start takes for durable.
    pub found: Option<LogModel>,
    /// The data that a flush left out.
    pub left_out: Option<(u64, Frozen)>,
    /// The log as it was before this disk forgot a part of it.
    pub before: Option<LogModel>,
}

/// A state that nobody writes any more.
#[derive(Clone, Debug)]
pub struct Frozen {
    pub applied: LogId,
    pairs: Vec<Pair>,
}

impl Card {
    pub fn blank(node: NodeId) -> Card {
        let formation = Formation { node, cluster_name: "home".into(), promised: None, started: None };
        Card {
            formation,
            log: LogModel::default(),
            anchor: AnchorRecord::blank(node),
            states: BTreeMap::new(),
            frozen: BTreeMap::new(),
            blobs: BTreeSet::new(),
            unlinked: BTreeSet::new(),
            unlinked_in: 0,
            rotten: None,
            whole: 0,
            found: None,
            left_out: None,
            before: None,
        }
    }

    pub fn state(&mut self, generation: u64) -> MemState {
        self.states.entry(generation).or_default().clone()
    }

    /// A frozen copy of a state, in place of an earlier one.
    pub fn freeze(&mut self, generation: u64) -> LogId {
        let frozen = Frozen::of(&self.state(generation));
        let applied = frozen.applied;
        self.frozen.insert(generation, frozen);
        applied
    }

    pub fn frozen(&self, generation: u64) -> Option<&Frozen> {
        self.frozen.get(&generation)
    }

    /// Nobody needs the frozen copy any more.
    pub fn release(&mut self, generation: u64) {
        self.frozen.remove(&generation);
    }

    /// A fetched state, durable, in place of whatever was of that generation.
    pub fn stage(&mut self, generation: u64, frozen: &Frozen) -> Position {
        let state = MemState::new();
        let writes = frozen.pairs.iter().cloned().map(|(key, value)| Write::Put(key, value)).collect();
        state.write(writes, frozen.applied).and_then(|()| state.flush()).expect("memory can be written");
        let position = state::position(&state).expect("a state that another member wrote");
        self.states.insert(generation, state);
        position
    }

    pub fn keep_only(&mut self, generation: u64) {
        self.states.retain(|found, _| *found == generation);
        self.frozen.retain(|found, _| *found == generation);
    }

    /// Power off: what was not flushed is gone.
    pub fn crash(&mut self) {
        if let Some((generation, frozen)) = self.left_out.take() {
            self.states.values().for_each(MemState::crash);
            let applied = self.state(generation).applied().expect("memory can be read");
            self.stage(generation, &Frozen { applied, ..frozen });
        }
        self.states.values().for_each(MemState::crash);
        self.frozen.clear();
    }

    /// As a start finds the log. What cannot be read ends it.
    pub fn load(&mut self, tail_bytes_max: usize) -> LogImage {
        // What was cut off meanwhile is not missed.
        let rotten = self.rotten.take();
        if rotten.is_some_and(|rotten| rotten <= self.log.mark.index) {
            self.before = None;
        } else if let Some(rotten) = rotten {
            self.before = Some(self.log.clone());
            self.log.lose_behind(rotten - 1);
        }
        self.log.image(&self.formation, tail_bytes_max)
    }

    /// Forgets the log behind `index`, as if it had never been synced.
    pub fn forget_behind(&mut self, index: Index) {
        self.before.get_or_insert_with(|| self.log.clone());
        self.log.lose_behind(index);
    }

    /// From now on the entry at `index` cannot be read any more.
    pub fn rot(&mut self, index: Index) {
        self.before.get_or_insert_with(|| self.log.clone());
        self.rotten = Some(index);
    }

    pub fn write_anchor(&mut self, hard: HardState, reached: LogId) {
        let cluster_id = self.formation.started.as_ref().map(|started| started.cluster_id);
        self.anchor = AnchorRecord { cluster_id, node: self.formation.node, hard, reached };
    }

    /// Whether this disk has, or once had, the entry: what counts for a commit that was counted before it forgot.
    pub fn had(&self, id: LogId) -> bool {
        self.log.covers(id) || self.before.as_ref().is_some_and(|before| before.covers(id))
    }
}

impl Frozen {
    pub fn of(state: &MemState) -> Frozen {
        let all = Scan { start: Vec::new(), end: None, max_items: usize::MAX, max_bytes: usize::MAX };
        let pairs = state.scan(&all).expect("memory can be read");
        Frozen { applied: state.applied().expect("memory can be read"), pairs }
    }
}
