//! A cluster, its network and its disks, moved by dice.
//!
//! Clocks run at different speeds; messages are lost, doubled, delayed, overtaken, cut off one way or both; disks complete late and
//! out of order; members crash and start again with what their disks kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::AddAssign,
};

use raft::{
    Config, EntriesRead, Entry, Envelope, Index, Intent, LogId, Membership, NeedEntries, Node, NodeId, Output, Recovered, Room, Term,
};

use crate::{disk::Disk, laws::Laws, rng::Rng};

/// Beyond this the oldest messages are lost.
const WIRES_MAX: usize = 300;
/// A healed cluster elects, repairs every log and settles within so many ticks.
const HEAL_TICKS: u64 = 1_000;
/// Messages that one tick of a healed cluster may lead to: more would mean that some answer each other for ever.
const TURN_MESSAGES_MAX: usize = 10_000;

/// What happened in a life.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub elections: u64,
    pub committed: u64,
    pub truncations: u64,
    pub reads: u64,
    pub crashes: u64,
    pub lost_batches: u64,
    pub early_completions: u64,
    pub entries_read: u64,
}

pub struct World {
    pub tally: Tally,
    rng: Rng,
    temper: Temper,
    membership: Membership,
    slots: BTreeMap<NodeId, Slot>,
    wires: Vec<Envelope>,
    /// Directed: nothing passes from the first to the second.
    cut: BTreeSet<(NodeId, NodeId)>,
    laws: Laws,
    token: u64,
    boots: u64,
}

/// One member: what survives a crash, and what does not.
struct Slot {
    disk: Disk,
    life: Option<Life>,
}

struct Life {
    node: Node,
    /// The log as its batches made it.
    log: Vec<LogId>,
    term: Term,
    commit: Index,
    applied: Index,
    /// Reads under way: the number of entries committed when each was asked.
    reads: BTreeMap<u64, Index>,
    needs: Vec<NeedEntries>,
}

/// How bad the weather is: per cent, and weights of the events.
struct Temper {
    drop: u64,
    double: u64,
    overtake: u64,
    early: u64,
    weights: [u64; 10],
    config: Config,
}

impl Temper {
    fn of(rng: &mut Rng) -> Temper {
        let mut config = Config::with_defaults(NodeId(0), 0, 0);
        config.heartbeat_ticks = 2;
        (config.election_min_ticks, config.election_max_ticks) = (6, 12);
        config.backoff_max_ticks = 60;
        config.disk_stall_ticks = rng.between(10, 40);
        config.append_max_bytes = rng.pick(&[60, 200, 1_000]);
        config.inflight_max_bytes = rng.pick(&[100, 500, 3_000]);
        config.uncommitted_max_bytes = rng.pick(&[300, 2_000, 20_000]);
        config.cache_max_bytes = rng.pick(&[0, 300, 100_000]);
        let crash = rng.pick(&[0, 3, 10]);
        let disk = rng.pick(&[12, 40, 150, 400]);
        let propose = rng.pick(&[20, 60]);
        Temper {
            drop: rng.pick(&[0, 2, 15]),
            double: rng.pick(&[0, 5]),
            overtake: rng.pick(&[0, 10, 50]),
            early: rng.pick(&[0, 10, 40]),
            // deliver, tick, complete, propose, read, crash, restart, cut or heal, answer a need, room or flush
            weights: [rng.pick(&[150, 250, 500]), rng.pick(&[100, 250]), disk, propose, 25, crash, 15, rng.pick(&[0, 4, 20]), 40, 20],
            config,
        }
    }
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let temper = Temper::of(&mut rng);
        let voters = rng.pick(&[1, 2, 3, 3, 3, 4, 5, 5]);
        let learners = rng.pick(&[0, 0, 1]);
        let membership = Membership {
            voters: (1..=voters).map(NodeId).collect(),
            learners: (voters + 1..=voters + learners).map(|id| (NodeId(id), Intent::Stay)).collect(),
            ..Membership::default()
        };
        let slots = membership.members().map(|id| (id, Slot { disk: Disk::default(), life: None })).collect();
        let laws = Laws::new(membership.voters.clone());
        let (wires, cut, tally) = (Vec::new(), BTreeSet::new(), Tally::default());
        let mut world = World { tally, rng, temper, membership, slots, wires, cut, laws, token: 0, boots: 0 };
        world.start_all();
        world
    }

    /// One thing happens somewhere.
    pub fn event(&mut self) {
        let mut dice = self.rng.below(self.temper.weights.iter().sum());
        let kind = self.temper.weights.iter().position(|weight| {
            let chosen = dice < *weight;
            dice = dice.saturating_sub(*weight);
            chosen
        });
        let ids: Vec<NodeId> = self.slots.keys().copied().collect();
        let id = self.rng.pick(&ids);
        // Most of what matters happens to those who lead, or think so.
        let leading = self.someone_leading(&ids).unwrap_or(id);
        match kind.expect("the dice stay below the sum") {
            0 => self.deliver_some(),
            1 => self.input(id, Node::tick),
            2 => self.complete(id, self.temper.early),
            3 => self.propose(leading),
            4 => self.read(id),
            5 => {
                let chosen = if self.rng.percent(50) { leading } else { id };
                self.crash(chosen);
            }
            6 => self.start(id),
            7 => self.cut_or_heal(&ids, leading),
            8 => self.answer_need(id),
            _ => self.room_or_flush(id),
        }
    }

    /// Everything works from now on: the cluster must come to rest with one log, commit, and answer everybody.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.start_all();
        let ids: Vec<NodeId> = self.slots.keys().copied().collect();
        for id in &ids {
            self.input(*id, |node| node.set_room(Room::Enough));
        }
        self.turns_until("the logs agree", World::at_rest);
        let before = self.laws.committed();
        let leader = *ids.iter().find(|id| self.life(**id).node.is_leader()).expect("at rest there is one");
        self.input(leader, |node| {
            node.propose(b"healed"[..].into()).expect("nothing uncommitted is left to be bounded");
        });
        self.turns_until("a proposal is committed", |world| world.at_rest() && world.laws.committed() > before);
        let answered = self.tally.reads + ids.len() as u64;
        for id in &ids {
            self.read(*id);
        }
        self.turns_until("reads are answered", |world| world.tally.reads == answered);
        self.tally.committed = self.laws.committed();
    }

    fn at_rest(&self) -> bool {
        let committed = self.laws.committed();
        let settled = |life: &Life| life.node.commit() == committed && life.applied == committed && life.log.len() as Index == committed;
        let lives = || self.slots.values().filter_map(|slot| slot.life.as_ref());
        lives().all(|life| settled(life) && life.reads.is_empty())
            && lives().any(|life| life.node.is_settled_leader() && !life.node.is_refusing())
    }

    fn turns_until(&mut self, what: &str, reached: impl Fn(&World) -> bool) {
        let ids: Vec<NodeId> = self.slots.keys().copied().collect();
        for _ in 0..HEAL_TICKS {
            for id in &ids {
                self.input(*id, Node::tick);
            }
            let mut delivered = 0;
            loop {
                for id in &ids {
                    while self.slots[id].disk.is_writing() {
                        self.complete(*id, 0);
                    }
                    while !self.life(*id).needs.is_empty() {
                        self.answer_need(*id);
                    }
                }
                if self.wires.is_empty() {
                    break;
                }
                for envelope in std::mem::take(&mut self.wires) {
                    delivered += 1;
                    self.deliver(envelope);
                }
                assert!(delivered < TURN_MESSAGES_MAX, "messages lead to messages for ever");
            }
            if reached(self) {
                return;
            }
        }
        let status: Vec<_> = ids.iter().map(|id| self.life(*id).node.status()).collect();
        panic!("healed for {HEAL_TICKS} ticks, and still not: {what}; {status:#?}");
    }

    /// The first who thinks so, starting anywhere: also one that was deposed and does not know it yet.
    fn someone_leading(&mut self, ids: &[NodeId]) -> Option<NodeId> {
        let start = self.rng.below(ids.len() as u64) as usize;
        let leads = |id: &NodeId| self.slots[id].life.as_ref().is_some_and(|life| life.node.is_leader());
        ids.iter().cycle().skip(start).take(ids.len()).copied().find(leads)
    }

    fn life(&self, id: NodeId) -> &Life {
        self.slots[&id].life.as_ref().expect("it runs")
    }

    fn deliver_some(&mut self) {
        if self.wires.is_empty() {
            return;
        }
        let overtakes = self.rng.percent(self.temper.overtake);
        let chosen = if overtakes { self.rng.below(self.wires.len() as u64) as usize } else { 0 };
        let envelope = self.wires.remove(chosen);
        if self.rng.percent(self.temper.double) {
            self.wires.push(envelope.clone());
        }
        if !self.rng.percent(self.temper.drop) && !self.cut.contains(&(envelope.from, envelope.to)) {
            self.deliver(envelope);
        }
    }

    fn deliver(&mut self, envelope: Envelope) {
        self.input(envelope.to, |node| node.receive(envelope));
    }

    fn complete(&mut self, id: NodeId, early: u64) {
        let slot = self.slots.get_mut(&id).expect("a member");
        if slot.life.is_none() {
            return;
        }
        if let Some((seq, ahead)) = slot.disk.complete(&mut self.rng, early) {
            self.tally.early_completions += u64::from(ahead);
            self.input(id, |node| node.persisted(seq));
        }
    }

    fn propose(&mut self, id: NodeId) {
        self.token += 1;
        let bytes = self.rng.pick(&[8, 40, 300]);
        let mut command = self.token.to_be_bytes().to_vec();
        command.resize(bytes, 0);
        self.input(id, |node| {
            // Refused, as by any node that does not lead, is as good as never proposed.
            let _ = node.propose(command.into());
        });
    }

    fn read(&mut self, id: NodeId) {
        self.token += 1;
        let (token, floor) = (self.token, self.laws.committed());
        if let Some(life) = &mut self.slots.get_mut(&id).expect("a member").life {
            life.reads.insert(token, floor);
            self.input(id, |node| node.read(token));
        }
    }

    fn crash(&mut self, id: NodeId) {
        let slot = self.slots.get_mut(&id).expect("a member");
        if slot.life.take().is_some() {
            self.tally.crashes += 1;
            self.tally.lost_batches += slot.disk.crash(&mut self.rng);
        }
    }

    fn start_all(&mut self) {
        let ids: Vec<NodeId> = self.slots.keys().copied().collect();
        for id in ids {
            self.start(id);
        }
    }

    fn start(&mut self, id: NodeId) {
        let slot = self.slots.get_mut(&id).expect("a member");
        if slot.life.is_some() {
            return;
        }
        self.boots += 1;
        let config = Config { id, seed: self.rng.next(), boot: self.boots, ..self.temper.config.clone() };
        let disk = &slot.disk;
        let forgotten = self.rng.below(disk.log.len() as u64 + 1) as usize;
        let recovered = Recovered {
            hard: disk.hard,
            mark: LogId::ZERO,
            last: disk.last(),
            terms: disk.terms(),
            tail: disk.log[forgotten..].to_vec(),
            applied: disk.applied,
            memberships: vec![(0, self.membership.clone())],
        };
        let log = disk.log.iter().map(|entry| entry.id).collect();
        let (reads, needs) = (BTreeMap::new(), Vec::new());
        let node = Node::new(config, recovered);
        slot.life = Some(Life { node, log, term: disk.hard.term, commit: disk.applied, applied: disk.applied, reads, needs });
        let room = self.rng.pick(&[Room::Enough, Room::Enough, Room::Low, Room::Floor]);
        self.input(id, |node| node.set_room(room));
    }

    fn cut_or_heal(&mut self, ids: &[NodeId], leading: NodeId) {
        match self.rng.below(4) {
            0 => self.cut.clear(),
            1 => {
                self.cut.insert((self.rng.pick(ids), self.rng.pick(ids)));
            }
            // The leader is left with few or none: what it takes from now on will be replaced.
            2 => {
                let companion = self.rng.pick(ids);
                self.part(ids, BTreeSet::from([leading, companion]));
            }
            _ => {
                let side = ids.iter().copied().filter(|_| self.rng.percent(50)).collect();
                self.part(ids, side);
            }
        }
    }

    fn part(&mut self, ids: &[NodeId], side: BTreeSet<NodeId>) {
        let apart = |a: &NodeId, b: &NodeId| side.contains(a) != side.contains(b);
        self.cut = ids.iter().flat_map(|a| ids.iter().filter(move |b| apart(a, b)).map(move |b| (*a, *b))).collect();
    }

    fn answer_need(&mut self, id: NodeId) {
        let slot = self.slots.get_mut(&id).expect("a member");
        let Some(life) = &mut slot.life else { return };
        if life.needs.is_empty() {
            return;
        }
        let need = life.needs.remove(self.rng.below(life.needs.len() as u64) as usize);
        let mut bytes = 0;
        let kept = slot.disk.log.iter().skip(need.first as usize - 1).take((need.last + 1 - need.first) as usize);
        let entries: Vec<Entry> = kept
            .take_while(|entry| {
                let first = bytes == 0;
                bytes += entry.size_bytes();
                first || bytes <= need.max_bytes
            })
            .cloned()
            .collect();
        self.tally.entries_read += 1;
        self.input(id, |node| node.entries_read(EntriesRead { peer: need.peer, term: need.term, entries }));
    }

    fn room_or_flush(&mut self, id: NodeId) {
        if self.rng.percent(70) {
            // The state machine flushes up to some point, maybe all.
            let slot = self.slots.get_mut(&id).expect("a member");
            if let Some(life) = &slot.life {
                slot.disk.applied = self.rng.between(slot.disk.applied, life.applied);
            }
            return;
        }
        let room = self.rng.pick(&[Room::Enough, Room::Enough, Room::Enough, Room::Low, Room::Floor]);
        self.input(id, |node| node.set_room(room));
    }

    /// Gives a running member one input, takes what follows from it, and looks at everything.
    fn input(&mut self, id: NodeId, input: impl FnOnce(&mut Node)) {
        let slot = self.slots.get_mut(&id).expect("a member");
        let Some(life) = &mut slot.life else { return };
        input(&mut life.node);
        let out = life.node.output();
        self.write(id, &out);
        self.look(id);
        self.heed(id, out);
    }

    fn write(&mut self, id: NodeId, out: &Output) {
        let Some((seq, batch)) = &out.persist else { return };
        let slot = self.slots.get_mut(&id).expect("a member");
        let life = slot.life.as_mut().expect("it runs");
        if let Some(from) = batch.truncate {
            self.tally.truncations += u64::from(from <= life.log.len() as Index);
            life.log.truncate(from as usize - 1);
        }
        for entry in &batch.entries {
            assert_eq!(entry.id.index, life.log.len() as Index + 1, "a batch leaves a gap");
            self.laws.entry_made(life.log.last().copied().unwrap_or(LogId::ZERO), entry);
            life.log.push(entry.id);
        }
        slot.disk.start(*seq, batch.clone());
    }

    fn look(&mut self, id: NodeId) {
        let disks: BTreeMap<NodeId, &Disk> = self.slots.iter().map(|(id, slot)| (*id, &slot.disk)).collect();
        let life = self.slots[&id].life.as_ref().expect("it runs");
        let status = life.node.status();
        assert_eq!(status.last, life.log.last().copied().unwrap_or(LogId::ZERO), "its log is not what its batches made");
        assert!(status.term >= life.term, "the term of {id:?} went back");
        assert!(status.durable <= disks[&id].log.len() as Index, "{id:?} thinks durable what is not");
        if life.node.is_leader() {
            self.tally.elections += u64::from(self.laws.leads(id, status.term, &life.log));
            self.laws.leader_committed(status.term, &life.log, status.commit, &disks);
        }
        self.laws.commit_known(id, &life.log, life.commit, status.commit);
        let life = self.slots.get_mut(&id).and_then(|slot| slot.life.as_mut()).expect("it runs");
        (life.term, life.commit) = (status.term, status.commit);
    }

    fn heed(&mut self, id: NodeId, out: Output) {
        let slot = self.slots.get_mut(&id).expect("a member");
        let life = slot.life.as_mut().expect("it runs");
        for envelope in &out.send {
            self.laws.said(envelope, &life.log, &slot.disk);
        }
        self.wires.extend(out.send);
        if self.wires.len() > WIRES_MAX {
            self.wires.drain(..self.wires.len() - WIRES_MAX);
        }
        self.laws.applied(id, &slot.disk, life.applied, out.apply_through);
        life.applied = out.apply_through;
        for done in out.reads {
            let floor = life.reads.remove(&done.token).expect("each read is answered once");
            if let Ok(index) = done.result {
                self.laws.read(floor, index);
                self.tally.reads += 1;
            }
        }
        life.needs.extend(out.need_entries);
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.elections += other.elections;
        self.committed += other.committed;
        self.truncations += other.truncations;
        self.reads += other.reads;
        self.crashes += other.crashes;
        self.lost_batches += other.lost_batches;
        self.early_completions += other.early_completions;
        self.entries_read += other.entries_read;
    }
}
