//! A cluster, its network and its disks, moved by dice.
//!
//! Clocks run at different speeds; messages are lost, doubled, delayed, overtaken, cut off one way or both; disks complete late and
//! out of order; members crash and start again with what their disks kept. Members are added, promoted, replaced and removed; logs are
//! cut where the flushed state stands, and snapshots take the place of what is gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::AddAssign,
};

use raft::{
    Change, Config, EntriesRead, Entry, Envelope, Fetch, Index, Intent, LogId, Membership, NeedEntries, Node, NodeId, Output, Payload,
    Recovered, Room, Seq, Snapshot, Term,
};

use crate::{disk::Disk, laws::Laws, rng::Rng};

/// Beyond this the oldest messages are lost.
const WIRES_MAX: usize = 300;
/// A healed cluster elects, repairs every log and settles within so many ticks.
const HEAL_TICKS: u64 = 1_000;
/// Messages that one tick of a healed cluster may lead to: more would mean that some answer each other for ever.
const TURN_MESSAGES_MAX: usize = 10_000;

/// Members that join a life at most.
const NEWCOMERS_MAX: u64 = 4;

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
    pub configurations: u64,
    pub installs: u64,
    pub cuts: u64,
    pub transfers: u64,
}

pub struct World {
    pub tally: Tally,
    rng: Rng,
    temper: Temper,
    newcomers: u64,
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
    /// The configurations in its log behind the one that its state began with.
    configurations: Vec<(Index, Membership)>,
    whole: Index,
    /// A frozen copy of the state, for others to fetch.
    checkpoint: Option<LogId>,
    wants_checkpoint: bool,
    fetch: Option<Fetch>,
    staged: Option<Snapshot>,
    /// A snapshot on its way to the disk: the batch that names it, and its position.
    installing: Option<(Seq, LogId)>,
}

/// How bad the weather is: per cent, and weights of the events.
struct Temper {
    drop: u64,
    double: u64,
    overtake: u64,
    early: u64,
    weights: [u64; 15],
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
            weights: [
                rng.pick(&[150, 250, 500]), // deliver
                rng.pick(&[100, 250]),      // tick
                disk,                       // complete
                propose,
                25, // read
                crash,
                15,                       // restart
                rng.pick(&[0, 4, 20]),    // cut the network or heal it
                40,                       // answer a need
                20,                       // room or flush
                rng.pick(&[0, 5, 20]),    // change the membership
                rng.pick(&[0, 0, 3]),     // hand over
                rng.pick(&[0, 0, 5, 20]), // cut the log
                rng.pick(&[10, 40]),      // carry a snapshot on
                20,                       // whole
            ],
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
        let laws = Laws::new(membership);
        let (wires, cut, tally) = (Vec::new(), BTreeSet::new(), Tally::default());
        let mut world = World { tally, rng, temper, newcomers: 0, slots, wires, cut, laws, token: 0, boots: 0 };
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
            9 => self.room_or_flush(id),
            10 => self.change(leading),
            11 => self.transfer(leading),
            12 => {
                let chosen = if self.rng.percent(50) { leading } else { id };
                self.cut_log(chosen);
            }
            13 => self.carry_snapshot(id),
            _ => self.tell_whole(id),
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
        let leader = self.leader_at_rest().expect("at rest there is one");
        self.input(leader, |node| {
            node.propose(b"healed"[..].into()).expect("nothing uncommitted is left to be bounded");
        });
        self.turns_until("a proposal is committed", |world| world.at_rest() && world.laws.committed() > before);
        let leader = self.leader_at_rest().expect("at rest there is one");
        let members: Vec<NodeId> = self.life(leader).node.membership().members().collect();
        let answered = self.tally.reads + members.len() as u64;
        for id in members {
            self.read(id);
        }
        self.turns_until("reads are answered", |world| world.tally.reads == answered);
        self.tally.committed = self.laws.committed();
        self.tally.configurations = self.laws.configurations() as u64;
    }

    fn at_rest(&self) -> bool {
        let committed = self.laws.committed();
        let settled = |life: &Life| life.node.commit() == committed && life.applied == committed && life.log.len() as Index == committed;
        // Whoever has left need not have heard of it.
        self.leader_at_rest().is_some_and(|leader| {
            let mut members = self.life(leader).node.membership().members();
            members.all(|id| settled(self.life(id)) && self.life(id).reads.is_empty())
        })
    }

    /// Who leads and takes everything, and has no change under way.
    fn leader_at_rest(&self) -> Option<NodeId> {
        let ready = |node: &Node| {
            let waits = node.membership().learners.values().any(|intent| *intent == Intent::Promote);
            node.is_settled_leader() && !node.is_refusing() && !node.is_changing() && !waits && node.membership().is_voter(node.id())
        };
        self.slots.iter().find(|(_, slot)| slot.life.as_ref().is_some_and(|life| ready(&life.node))).map(|(id, _)| *id)
    }

    fn turns_until(&mut self, what: &str, reached: impl Fn(&World) -> bool) {
        let ids: Vec<NodeId> = self.slots.keys().copied().collect();
        for _ in 0..HEAL_TICKS {
            for id in &ids {
                self.input(*id, Node::tick);
                self.carry_snapshot(*id);
                let whole = self.life(*id).applied;
                self.input(*id, |node| node.set_whole(whole));
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
        let knows = self.slots[&envelope.to].life.as_ref().map_or(0, |life| life.applied);
        if self.laws.has_left(envelope.from, knows) {
            return;
        }
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
        let forgotten = self.rng.below(disk.behind_mark().len() as u64 + 1) as usize;
        // The state knows the configurations that it has applied; the log tells of those behind.
        let mut memberships = vec![self.laws.configuration_at(disk.applied)];
        memberships.extend(disk.log[disk.applied as usize..].iter().filter_map(configuration));
        let recovered = Recovered {
            hard: disk.hard,
            mark: disk.mark,
            last: disk.last(),
            terms: disk.terms(),
            tail: disk.behind_mark()[forgotten..].to_vec(),
            applied: disk.applied,
            memberships: memberships.clone(),
        };
        slot.life = Some(Life {
            node: Node::new(config, recovered),
            log: disk.log.iter().map(|entry| entry.id).collect(),
            term: disk.hard.term,
            commit: disk.applied,
            applied: disk.applied,
            reads: BTreeMap::new(),
            needs: Vec::new(),
            configurations: memberships,
            whole: 0,
            checkpoint: None,
            wants_checkpoint: false,
            fetch: None,
            staged: None,
            installing: None,
        });
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
        // What was cut meanwhile is not found.
        let found = if need.first <= slot.disk.mark.index { 0 } else { usize::MAX };
        let kept = slot.disk.log.iter().skip(need.first as usize - 1).take((need.last + 1 - need.first) as usize).take(found);
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
            if let Some(life) = slot.life.as_ref().filter(|life| life.installing.is_none()) {
                slot.disk.applied = self.rng.between(slot.disk.applied, life.applied);
            }
            return;
        }
        let room = self.rng.pick(&[Room::Enough, Room::Enough, Room::Enough, Room::Low, Room::Floor]);
        self.input(id, |node| node.set_room(room));
    }

    /// Somebody asks the leader for a change, often one that makes sense.
    fn change(&mut self, id: NodeId) {
        let Some(life) = &self.slots[&id].life else { return };
        let membership = life.node.membership().clone();
        let voters: Vec<NodeId> = membership.voters.iter().copied().collect();
        let learners: Vec<NodeId> = membership.learners.keys().copied().collect();
        let newcomer = NodeId(100 + self.newcomers);
        let (voter, learner) = (self.rng.pick(&voters), if learners.is_empty() { newcomer } else { self.rng.pick(&learners) });
        let change = match self.rng.below(8) {
            0..3 if self.newcomers < NEWCOMERS_MAX => {
                Change::AddLearner(newcomer, self.rng.pick(&[Intent::Stay, Intent::Promote, Intent::Replace(voter)]))
            }
            0..4 => Change::Promote(learner),
            4 => Change::Replace { old: voter, new: learner },
            5 => Change::Remove(learner),
            // The leader itself as often as all others.
            6 => Change::Remove(id),
            _ => Change::Remove(voter),
        };
        if let Change::AddLearner(..) = change {
            self.newcomers += 1;
            self.slots.insert(newcomer, Slot { disk: Disk::default(), life: None });
            self.start(newcomer);
        }
        self.input(id, |node| {
            let _ = node.change(change);
        });
    }

    fn transfer(&mut self, id: NodeId) {
        let ids: Vec<NodeId> = self.slots.keys().copied().collect();
        let to = if self.rng.percent(50) { None } else { Some(self.rng.pick(&ids)) };
        let mut begun = false;
        self.input(id, |node| begun = node.transfer(to).is_ok_and(|to| to != node.id()));
        self.tally.transfers += u64::from(begun);
    }

    /// Cuts the log somewhere up to where the flushed state stands.
    fn cut_log(&mut self, id: NodeId) {
        let Slot { disk, life: Some(life) } = &self.slots[&id] else { return };
        let (from, to) = (life.node.mark().index, disk.applied.min(life.applied));
        let in_use = life.node.offer_in_use().map_or(Index::MAX, |offer| offer.index);
        if life.installing.is_some() || to <= from || in_use <= from {
            return;
        }
        let index = if self.rng.percent(70) { to } else { self.rng.between(from + 1, to) };
        let mark = self.laws.committed_at(index.min(in_use));
        self.tally.cuts += 1;
        self.input(id, |node| node.compact(mark));
    }

    /// A checkpoint is made, fetched, or put in the place of the log: whatever comes next.
    fn carry_snapshot(&mut self, id: NodeId) {
        let Some(life) = &self.slots[&id].life else { return };
        let busy = life.installing.is_some();
        if life.wants_checkpoint && !busy {
            let mark = self.laws.committed_at(life.applied);
            let life = self.slots.get_mut(&id).and_then(|slot| slot.life.as_mut()).expect("it runs");
            (life.wants_checkpoint, life.checkpoint) = (false, Some(mark));
            return self.input(id, |node| node.snapshot_ready(mark));
        }
        if let Some(snapshot) = life.staged.clone().filter(|_| !busy) {
            let mark = snapshot.mark;
            let life = self.slots.get_mut(&id).and_then(|slot| slot.life.as_mut()).expect("it runs");
            life.staged = None;
            let mut installed = false;
            self.input(id, |node| installed = node.install(snapshot));
            let life = self.slots[&id].life.as_ref().expect("it runs");
            assert_eq!(life.installing.is_some_and(|(_, of)| of == mark), installed, "an installation and its batch go together");
            self.tally.installs += u64::from(installed);
            return;
        }
        let Some(fetch) = life.fetch else { return };
        let found = self.slots[&fetch.from].life.as_ref().and_then(|other| other.checkpoint).filter(|mark| *mark == fetch.mark);
        let snapshot = found.map(|mark| {
            let membership = Some(self.laws.configuration_at(mark.index)).filter(|(index, _)| *index > 0);
            Snapshot { mark, generation: 1, membership }
        });
        let life = self.slots.get_mut(&id).and_then(|slot| slot.life.as_mut()).expect("it runs");
        (life.fetch, life.staged) = (None, snapshot.or(life.staged.take()));
    }

    fn tell_whole(&mut self, id: NodeId) {
        let slot = self.slots.get_mut(&id).expect("a member");
        let Some(life) = &mut slot.life else { return };
        let whole = if self.rng.percent(50) { life.applied } else { self.rng.between(life.whole.min(life.applied), life.applied) };
        life.whole = life.whole.max(whole);
        let whole = life.whole;
        self.input(id, |node| node.set_whole(whole));
    }

    /// Gives a running member one input, takes what follows from it, and looks at everything.
    fn input(&mut self, id: NodeId, input: impl FnOnce(&mut Node)) {
        let slot = self.slots.get_mut(&id).expect("a member");
        let Some(life) = &mut slot.life else { return };
        input(&mut life.node);
        let out = life.node.output();
        // What is committed now was counted before this output's entries were made.
        let (_, counted) = life.configurations.last().cloned().expect("there is always one");
        self.write(id, &out);
        self.look(id, &counted);
        self.heed(id, out);
    }

    fn write(&mut self, id: NodeId, out: &Output) {
        let Some((seq, batch)) = &out.persist else { return };
        let slot = self.slots.get_mut(&id).expect("a member");
        let life = slot.life.as_mut().expect("it runs");
        let mut prefix = Vec::new();
        if let Some(install) = batch.install {
            let mark = install.mark;
            assert_eq!(self.laws.committed_at(mark.index), mark, "a snapshot of what is not committed");
            prefix = self.laws.prefix(mark.index);
            if life.log.get(mark.index as usize - 1) != Some(&mark) {
                life.log = prefix.iter().map(|entry| entry.id).collect();
            }
            let last = life.log.len() as Index;
            life.configurations.retain(|(index, _)| *index > mark.index && *index <= last);
            life.configurations.insert(0, self.laws.configuration_at(mark.index));
            life.installing = Some((*seq, mark));
        }
        if let Some(from) = batch.truncate {
            self.tally.truncations += u64::from(from <= life.log.len() as Index);
            life.log.truncate(from as usize - 1);
            life.configurations.retain(|(index, _)| *index < from);
        }
        for entry in &batch.entries {
            assert_eq!(entry.id.index, life.log.len() as Index + 1, "a batch leaves a gap");
            self.laws.entry_made(life.log.last().copied().unwrap_or(LogId::ZERO), entry);
            life.log.push(entry.id);
            life.configurations.extend(configuration(entry));
        }
        slot.disk.start(*seq, batch.clone(), prefix);
    }

    fn look(&mut self, id: NodeId, counted: &Membership) {
        let disks: BTreeMap<NodeId, &Disk> = self.slots.iter().map(|(id, slot)| (*id, &slot.disk)).collect();
        let life = self.slots[&id].life.as_ref().expect("it runs");
        let status = life.node.status();
        assert_eq!(status.last, life.log.last().copied().unwrap_or(LogId::ZERO), "its log is not what its batches made");
        assert!(status.term >= life.term, "the term of {id:?} went back");
        assert!(status.durable <= disks[&id].log.len() as Index, "{id:?} thinks durable what is not");
        if life.node.is_leader() {
            // A voter that is to leave may still lead, as long as it does not know that to be committed.
            let known = life.configurations.iter().rposition(|(index, _)| *index <= life.commit).unwrap_or(0);
            let may_lead = life.configurations[known..].iter().any(|(_, membership)| membership.is_voter(id));
            self.tally.elections += u64::from(self.laws.leads(id, status.term, &life.log, may_lead));
            self.laws.leader_committed(status.term, &life.log, status.commit, counted, &disks);
        }
        let newest = life.configurations.last().map(|(_, membership)| membership);
        assert_eq!(Some(life.node.membership()), newest, "{id:?} has another configuration in force than its log holds");
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
        assert_eq!(out.forgot, None, "an honest disk is taken for one that forgot");
        life.wants_checkpoint = out.need_snapshot;
        life.fetch = out.fetch.or(life.fetch);
        if let Some((seq, mark)) = life.installing
            && seq <= life.node.completed()
        {
            (life.installing, life.applied) = (None, mark.index);
        }
        // The log belongs to the new state already, the state is still the old one.
        if life.installing.is_none() {
            self.laws.applied(id, &slot.disk, life.applied, out.apply_through);
            life.applied = out.apply_through;
        }
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

fn configuration(entry: &Entry) -> Option<(Index, Membership)> {
    match &entry.payload {
        Payload::Membership(membership) => Some((entry.id.index, membership.clone())),
        _ => None,
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
        self.configurations += other.configurations;
        self.installs += other.installs;
        self.cuts += other.cuts;
        self.transfers += other.transfers;
    }
}
