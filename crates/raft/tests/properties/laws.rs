//! What must hold after every event, whatever the network and the disks did.
//!
//! From the Raft paper, figure 3:
//! - election safety: one leader a term;
//! - leader append-only, log matching: an entry's id decides its content and all that is before it;
//! - leader completeness: a new leader holds everything committed;
//! - state-machine safety: all apply the same.
//!
//! And this project's own:
//! - durable before visible: what a message tells is on its sender's disk when it leaves;
//! - what a leader commits is on the disks of a quorum at that moment, and of its own term at the end: a quorum of the newest
//!   configuration in its log, and of both halves of a joint one;
//! - the configuration in force is the newest in the log, whatever was truncated, cut or installed;
//! - a read index covers all that was committed anywhere when the read was asked.

use std::collections::BTreeMap;

use raft::{Entry, Envelope, HardState, Index, LogId, Membership, Message, NodeId, Payload, Term};

use crate::disk::Disk;

pub struct Laws {
    /// Everything that any leader ever committed.
    committed: Vec<LogId>,
    /// The configurations among it, and the one at the beginning.
    configurations: Vec<(Index, Membership)>,
    /// Each entry ever made, with the id of the one before it.
    made: BTreeMap<LogId, (LogId, Entry)>,
    /// Each term's leader and its log.
    leaders: BTreeMap<Term, (NodeId, Vec<LogId>)>,
}

impl Laws {
    pub fn new(membership: Membership) -> Laws {
        Laws { committed: Vec::new(), configurations: vec![(0, membership)], made: BTreeMap::new(), leaders: BTreeMap::new() }
    }

    /// What a state applied up to `index` stands for.
    pub fn prefix(&self, index: Index) -> Vec<Entry> {
        self.committed[..index as usize].iter().map(|id| self.made[id].1.clone()).collect()
    }

    pub fn committed_at(&self, index: Index) -> LogId {
        if index == 0 { LogId::ZERO } else { self.committed[index as usize - 1] }
    }

    /// The configuration that a state applied up to `index` knows.
    pub fn configuration_at(&self, index: Index) -> (Index, Membership) {
        self.configurations.iter().rev().find(|(at, _)| *at <= index).cloned().expect("there is one at the beginning")
    }

    pub fn configurations(&self) -> usize {
        self.configurations.len() - 1
    }

    /// Whether a state applied up to `index` knows that this member has left.
    pub fn has_left(&self, id: NodeId, index: Index) -> bool {
        let known = || self.configurations.iter().take_while(|(at, _)| *at <= index);
        known().any(|(_, membership)| membership.contains(id)) && known().last().is_some_and(|(_, membership)| !membership.contains(id))
    }

    pub fn committed(&self) -> Index {
        self.committed.len() as Index
    }

    /// An entry was put behind `before`.
    pub fn entry_made(&mut self, before: LogId, entry: &Entry) {
        let (known_before, known) = self.made.entry(entry.id).or_insert_with(|| (before, entry.clone()));
        assert!(*known_before == before && known == entry, "log matching: {:?} is made twice, differently", entry.id);
    }

    /// `node` leads `term` with this log.
    pub fn leads(&mut self, node: NodeId, term: Term, log: &[LogId], may_lead: bool) -> bool {
        let new = !self.leaders.contains_key(&term);
        assert!(!new || may_lead, "{node:?} leads without being a voter");
        let (leader, before) = self.leaders.entry(term).or_insert_with(|| (node, Vec::new()));
        assert_eq!(*leader, node, "election safety: two leaders of {term:?}");
        assert!(log.starts_with(before), "leader append-only: {node:?} removed entries in {term:?}");
        if log.len() > before.len() {
            before.extend_from_slice(&log[before.len()..]);
        }
        if new {
            assert!(log.starts_with(&self.committed), "leader completeness: {node:?} leads {term:?} without {:?}", self.committed.last());
        }
        new
    }

    /// The commit index of a leader moved to `commit` while `membership` was the newest in its log; `disks` are everybody's.
    pub fn leader_committed(&mut self, term: Term, log: &[LogId], commit: Index, membership: &Membership, disks: &BTreeMap<NodeId, &Disk>) {
        if commit <= self.committed() {
            return;
        }
        let id = log[commit as usize - 1];
        assert_eq!(id.term, term, "an entry of an earlier term is committed by counting");
        for half in [&membership.voters, &membership.outgoing].into_iter().filter(|half| !half.is_empty()) {
            let holders = half.iter().filter(|voter| disks[voter].id_at(commit) == Some(id)).count();
            assert!(holders > half.len() / 2, "{id:?} is committed, but on {holders} disks of {half:?}");
        }
        assert!(log.starts_with(&self.committed), "a committed entry is replaced");
        for id in &log[self.committed.len()..commit as usize] {
            if let Payload::Membership(membership) = &self.made[id].1.payload {
                self.configurations.push((id.index, membership.clone()));
            }
        }
        self.committed = log[..commit as usize].to_vec();
    }

    /// Anybody's commit index moved.
    pub fn commit_known(&self, node: NodeId, log: &[LogId], from: Index, to: Index) {
        assert!(to >= from, "the commit index of {node:?} went back");
        assert!(to <= self.committed(), "{node:?} thinks {to} is committed; {} are", self.committed());
        let range = from as usize..to as usize;
        assert_eq!(log[range.clone()], self.committed[range], "{node:?} holds as committed what is not");
    }

    /// `node` applies `from + 1 ..= to`.
    pub fn applied(&self, node: NodeId, disk: &Disk, from: Index, to: Index) {
        assert!(to >= from, "what {node:?} may apply went back");
        assert!(to <= self.committed(), "{node:?} applies what is not committed");
        for index in from + 1..=to {
            let committed = self.committed[index as usize - 1];
            assert_eq!(disk.id_at(index), Some(committed), "state-machine safety: {node:?} applies another entry, or one not on its disk");
        }
    }

    /// A message leaves its sender, whose log is `log` and whose disk is `disk`.
    pub fn said(&self, envelope: &Envelope, log: &[LogId], disk: &Disk) {
        let Envelope { from, to, term, message } = envelope;
        assert!(disk.hard.term >= *term, "{from:?} speaks of {term:?} before it is durable");
        let voted = |vote: NodeId| disk.hard == HardState { term: *term, vote: Some(vote) };
        match message {
            Message::Vote { .. } => assert!(voted(*from), "{from:?} asks for votes before its own is durable"),
            Message::VoteReply { granted: true } => assert!(voted(*to), "{from:?} votes for {to:?} before that is durable"),
            Message::Accepted { matched, durable, .. } => {
                let (_, leaders) = &self.leaders[term];
                let of_leader = |index: Index| if index == 0 { LogId::ZERO } else { leaders[index as usize - 1] };
                let own = if *matched == 0 { LogId::ZERO } else { log[*matched as usize - 1] };
                assert!(own == of_leader(*matched), "{from:?} claims a match at {matched} that is none");
                let kept = disk.id_at(*durable);
                assert_eq!(kept, Some(of_leader(*durable)), "{from:?} acknowledges {durable}, which its disk does not hold");
            }
            _ => {}
        }
    }

    /// A read asked when `floor` entries were committed gets this read index.
    pub fn read(&self, floor: Index, index: Index) {
        assert!(index >= floor, "a stale read: index {index}, but {floor} were committed before it was asked");
        assert!(index <= self.committed(), "a read of what is not committed");
    }
}
