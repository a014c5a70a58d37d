//! One board: storage that remembers, and a process that comes and goes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use raft::{
    Batch, Fetch, Index, LogId, NodeId, Room, Seq, Term,
    planted::{Bug, is_planted},
};
use replica::{ApplyJob, Replica};
use storage::MemState;

use super::{
    card::{Card, Frozen, Hash},
    forming::Forming,
    log_model::LogModel,
    plan::{Settings, TICK},
};
use crate::properties::Acked;

/// Ids of one board's incarnations lie this far apart, so that an id tells its board.
const INCARNATION: u64 = 64;

#[derive(Debug)]
pub struct Board {
    pub id: NodeId,
    pub card: Card,
    pub process: Option<Process>,
    pub boots: u64,
    pub settings: Settings,
    /// Virtual time of one of this board's ticks.
    pub interval: u64,
    pub paused_until: u64,
    /// Syncs take long until then.
    pub slow_until: u64,
    /// What becomes of the next sync.
    pub next_sync: NextSync,
    pub room: Room,
    /// So often it dies soon after its start.
    pub dies_again: u64,
    /// Waits for somebody to take it in.
    pub is_newcomer: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextSync {
    Fine,
    /// Takes so long.
    Stalls(u64),
    Fails,
}

/// What a crash destroys.
#[derive(Debug)]
pub enum Process {
    Forming(Box<Forming>),
    Member(Box<Member>),
}

#[derive(Debug)]
pub struct Member {
    pub replica: Replica,
    pub state: MemState,
    pub generation: u64,
    /// The log as this process sees it: what is on the disk, and what it has handed out since.
    pub view: LogModel,
    pub handed: VecDeque<Handed>,
    pub groups: u64,
    pub under_way: usize,
    pub applying: Option<ApplyJob>,
    pub staged: Option<(u64, Option<(Index, raft::Membership)>)>,
    pub fetching: Option<Fetch>,
    pub seen: Seen,
    /// Blobs that the state refers to and this board lacks.
    pub missing: BTreeSet<Hash>,
    pub pulling: bool,
    /// The collect entry at which it said last that it has a blob.
    pub promised: BTreeMap<Hash, Index>,
    /// Only collections behind this index count: it was read since the start.
    pub collects_from: Option<Index>,
    pub collecting: Option<Index>,
    pub garbage: bool,
    pub acked: Acked,
    /// The state at the last flush, for a mistake made on purpose.
    pub flushed: Option<Frozen>,
}

/// What this process was last seen to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub term: Term,
    pub leads: bool,
    pub commit: Index,
    pub applied: Index,
}

/// A batch that is not known to be on the disk.
#[derive(Debug)]
pub struct Handed {
    pub seq: Seq,
    pub batch: Batch,
    /// The sync that writes it, once begun.
    pub group: Option<u64>,
    pub complete: bool,
}

impl Board {
    pub fn new(place: usize, settings: Settings) -> Board {
        let id = NodeId(place as u64 + 1);
        Board {
            id,
            card: Card::blank(id),
            process: None,
            boots: 0,
            settings,
            interval: TICK,
            paused_until: 0,
            slow_until: 0,
            next_sync: NextSync::Fine,
            room: Room::Enough,
            dies_again: 0,
            is_newcomer: false,
        }
    }

    pub fn member(&self) -> Option<&Member> {
        match &self.process {
            Some(Process::Member(member)) => Some(member),
            _ => None,
        }
    }

    pub fn member_mut(&mut self) -> Option<&mut Member> {
        match &mut self.process {
            Some(Process::Member(member)) => Some(member),
            _ => None,
        }
    }

    pub fn leads(&self) -> bool {
        self.member().is_some_and(|member| member.seen.leads)
    }

    /// Power off. Of the syncs under way those survive that `survives` says, up to the first that does not. True if something was lost.
    pub fn crash(&mut self, mut survives: impl FnMut() -> bool) -> bool {
        let mut lost = false;
        if let Some(Process::Member(mut member)) = self.process.take() {
            while let Some(handed) = member.handed.pop_front() {
                let written = handed.complete || handed.group.is_some() && survives();
                if !written {
                    lost = handed.group.is_some();
                    if is_planted(Bug::FoundTakenForDurable) && handed.group.is_some() {
                        let mut found = self.card.log.clone();
                        found.apply(&handed.batch);
                        self.card.found = Some(found);
                    }
                    break;
                }
                self.card.log.apply(&handed.batch);
            }
        }
        self.card.crash();
        self.next_sync = NextSync::Fine;
        lost
    }

    /// A new card: another node on the same board. Its blobs may be there still.
    pub fn start_over(&mut self, keep_blobs: bool) -> Card {
        self.process = None;
        self.id = NodeId(self.id.0 + INCARNATION);
        let mut fresh = Card::blank(self.id);
        if keep_blobs {
            fresh.blobs = self.card.blobs.clone();
        }
        self.is_newcomer = true;
        std::mem::replace(&mut self.card, fresh)
    }
}

impl Member {
    /// Batches whose sync has not begun.
    pub fn waiting(&self) -> usize {
        self.handed.iter().filter(|handed| handed.group.is_none()).count()
    }

    /// A sync ended: its batches count, and reach the disk as far as nothing before them is missing.
    pub fn complete(&mut self, group: u64, log: &mut LogModel) -> Vec<Seq> {
        let mut done = Vec::new();
        for handed in &mut self.handed {
            if handed.group == Some(group) && !handed.complete {
                handed.complete = true;
                done.push(handed.seq);
            }
        }
        while let Some(handed) = self.handed.pop_front_if(|handed| handed.complete) {
            log.apply(&handed.batch);
        }
        self.under_way -= 1;
        done
    }

    pub fn settled(&self) -> LogId {
        self.replica.settled()
    }
}

/// Which board an id belongs to.
pub fn place(id: NodeId) -> usize {
    ((id.0 - 1) % INCARNATION) as usize
}
