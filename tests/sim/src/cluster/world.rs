//! A cluster under a weather, with clients.

use std::collections::{BTreeMap, BTreeSet};

use raft::{Envelope, Membership, NodeId, Room};
use replica::{Command, Condition, Failure, Haves, Input, Key, Operation, Reply, Stamp, Ticket, Value};

use super::{Flaw, Ledger, Member, Weather};
use crate::Rng;

/// Few, so that clients meet at them.
const KEYS: [&[u8]; 4] = [b"a", b"ab", b"b\xff", b"\xff\xff"];
/// A crashed member is back after at most this.
const DOWN_MAX_TICKS: u64 = 80;

pub struct World {
    pub members: Vec<Member>,
    pub ledger: Ledger,
    pub weather: Weather,
    rng: Rng,
    now: u64,
    back_at: Vec<u64>,
    mail: BTreeMap<(u64, u64), Envelope>,
    posted: u64,
    /// `(a, b)`: nothing from `a` reaches `b`.
    cuts: BTreeSet<(usize, usize)>,
    tickets: Ticket,
}

impl World {
    pub fn new(members: usize, weather: Weather, flaw: Option<Flaw>, rng: Rng) -> World {
        let ids: Vec<NodeId> = (1..=members as u64).map(NodeId).collect();
        World {
            members: ids.iter().map(|id| Member::new(*id, &ids, flaw)).collect(),
            ledger: Ledger::new(Membership::of_voters(ids.iter().copied())),
            weather,
            rng,
            now: 0,
            back_at: vec![0; members],
            mail: BTreeMap::new(),
            posted: 0,
            cuts: BTreeSet::new(),
            tickets: 0,
        }
    }

    /// Lets time pass. Fails at the first tick after which something does not hold that must.
    pub fn run(&mut self, ticks: u64) -> Result<(), String> {
        for _ in 0..ticks {
            self.tick().map_err(|broken| format!("tick {}: {broken}", self.now))?;
        }
        Ok(())
    }

    /// From now on nothing goes wrong, every member is up and has room.
    pub fn calm_down(&mut self) {
        self.weather = Weather::CALM;
        self.cuts.clear();
        self.back_at.fill(self.now);
        self.members.iter_mut().for_each(|member| member.handle(Input::Room(Room::Enough)));
    }

    /// Clients ask for nothing more.
    pub fn fall_silent(&mut self) {
        (self.weather.write, self.weather.read) = (0, 0);
    }

    fn tick(&mut self) -> Result<(), String> {
        self.now += 1;
        while let Some(first) = self.mail.first_entry().filter(|first| first.key().0 <= self.now) {
            let envelope = first.remove();
            self.members[place(envelope.to)].handle(Input::Message(envelope));
        }
        for at in 0..self.members.len() {
            if self.members[at].replica().is_none() {
                if self.back_at[at] > self.now {
                    continue;
                }
                self.members[at].start(&mut self.rng)?;
            }
            self.ask(at)?;
            let led = self.members[at].leads();
            let seen = self.members[at].tick(self.now, &self.weather, &mut self.rng)?;
            for (entries, applied) in &seen.applied {
                self.ledger.applied(entries, applied)?;
            }
            for (ticket, reply) in &seen.replies {
                self.ledger.answered(at, &self.members[at], *ticket, reply)?;
            }
            if led && !self.members[at].leads() && self.members[at].declares_dead() {
                self.declare_dead(at)?;
            }
            seen.send.into_iter().for_each(|envelope| self.post(envelope));
            self.strike(at);
        }
        Ok(())
    }

    fn strike(&mut self, at: usize) {
        if self.rng.chance(self.weather.cut) {
            let pair = (at, self.rng.index(self.members.len()));
            if !self.cuts.remove(&pair) {
                self.cuts.insert(pair);
            }
        }
        if self.rng.chance(self.weather.room) {
            let room = [Room::Enough, Room::Low, Room::Floor][self.rng.index(3)];
            self.members[at].handle(Input::Room(room));
        }
        if self.rng.chance(self.weather.crash) {
            self.members[at].crash(self.rng.chance(500));
            self.back_at[at] = self.now + self.rng.between(1, DOWN_MAX_TICKS);
        }
    }

    fn post(&mut self, envelope: Envelope) {
        if self.cuts.contains(&(place(envelope.from), place(envelope.to))) || self.rng.chance(self.weather.lost) {
            return;
        }
        let copies = if self.rng.chance(self.weather.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let due = self.now + self.rng.between(1, self.weather.delay_max_ticks);
            self.posted += 1;
            self.mail.insert((due, self.posted), envelope.clone());
        }
    }

    /// Clients of this member ask for something, sometimes.
    fn ask(&mut self, at: usize) -> Result<(), String> {
        let Some(term) = self.members[at].replica().map(|replica| replica.node().term()) else { return Ok(()) };
        let taken_by = (at, self.members[at].boot());
        if self.rng.chance(self.weather.write) {
            let ticket = self.next_ticket();
            let command = self.command(ticket);
            let haves = command.needs_blob().map(|_| self.haves(term));
            self.ledger.asks_write(ticket, taken_by, command.clone(), haves.clone());
            self.members[at].handle(Input::Write { ticket, command, haves });
        }
        if self.rng.chance(self.weather.read) {
            let ticket = self.next_ticket();
            let key = self.key();
            self.ledger.asks_read(ticket, taken_by, key);
            match self.members[at].answers_locally() {
                true => self.ledger.answered(at, &self.members[at], ticket, &Reply::ReadNow)?,
                false => self.members[at].handle(Input::Read { ticket }),
            }
        }
        Ok(())
    }

    fn command(&mut self, ticket: Ticket) -> Command {
        let key = self.key();
        let condition = match self.rng.index(4) {
            0 => Condition::Absent,
            1 => {
                let newest = self.ledger.model.at(key.as_bytes(), u64::MAX).map_or(0, |record| record.modified);
                Condition::Revision(newest.saturating_sub(self.rng.between(0, 1)))
            }
            _ => Condition::Always,
        };
        let operation = match self.rng.index(6) {
            0 => Operation::Delete { key, condition },
            1 => {
                let blob = Value::Blob { hash: [self.rng.index(3) as u8; 32], size: 1 << 20 };
                Operation::Put { key, value: blob, condition, expires: None }
            }
            _ => {
                let value = Value::Inline(vec![ticket as u8; self.rng.index(200)]);
                Operation::Put { key, value, condition, expires: None }
            }
        };
        Command { session: Some(Stamp { session: ticket, opened: 0, serial: 1 }), operation }
    }

    /// Who claims to hold a blob: now and then too few, of another term, or strangers.
    fn haves(&mut self, term: raft::Term) -> Haves {
        let stale = self.rng.chance(200);
        let term = if stale { raft::Term(term.0.saturating_sub(1)) } else { term };
        let count = self.members.len() as u64 + 1;
        let nodes = (1..=count).map(NodeId).filter(|_| self.rng.chance(600)).collect();
        Haves { term, nodes }
    }

    fn declare_dead(&mut self, at: usize) -> Result<(), String> {
        for ticket in self.ledger.unanswered(at, &self.members[at]) {
            self.ledger.answered(at, &self.members[at], ticket, &Reply::NotExecuted(Failure::NotLeader(None)))?;
        }
        Ok(())
    }

    fn key(&mut self) -> Key {
        Key::new(KEYS[self.rng.index(KEYS.len())]).expect("a short key")
    }

    fn next_ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }
}

fn place(id: NodeId) -> usize {
    id.0 as usize - 1
}

/// Whether the checks notice a flaw in some run over the seeds `0..count`. A flaw may also end in an assert of the code under test.
pub fn is_noticed(flaw: Flaw, count: u64, ticks: u64) -> bool {
    (0..count).any(|seed| {
        let run = || {
            let mut rng = Rng::new(seed);
            let weather = Weather::any(&mut rng);
            World::new(3, weather, Some(flaw), rng).run(ticks)
        };
        std::panic::catch_unwind(run).is_err() || run().is_err()
    })
}
