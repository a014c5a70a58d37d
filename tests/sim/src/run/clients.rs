//! Clients: each asks for one thing at a time, again and again until it knows, or gives up.
//!
//! A write keeps its serial over all attempts. Once an attempt's fate is unknown the write stays open in the history unless a later answer settles
//! it.

use check::{Action, Call};
use raft::Index;
use replica::{
    AuthorityRecord, Command, Condition, Failure, Haves, Input, Key, Operation, Reply, Stamp, TokenGrant, TokenId, TokenRecord,
    TrustChange, Value,
    state::{self, Meta, Outcome},
};

use super::{
    board::Process,
    card::Hash,
    fault::Fault,
    jobs::Job,
    plan::TICK,
    world::{Event, Phase, World},
};
use crate::{
    Rng,
    properties::{Property, Tokens, Verdict},
};

const KEYS: [&[u8]; 5] = [b"a", b"ab", b"b\xff", b"\xff\xff", b"c"];
/// An attempt without an answer for so long is followed by another, elsewhere.
const PATIENCE_TICKS: u64 = 120;
const ATTEMPTS_MAX: u32 = 12;
/// A client opens a new session now and then, as one-shot commands do.
const NEW_SESSION_PERMILLE: u64 = 80;
/// Of the calls, in a run with tokens.
const TRUST_PERMILLE: u64 = 250;
/// Longest life of a token.
const TOKEN_LIFE_MAX: u64 = 2_000 * TICK;

#[derive(Debug, Default)]
pub struct Client {
    session: Option<(u64, Index)>,
    serial: u64,
    doing: Option<Doing>,
    wakes: u64,
    hint: Option<usize>,
    /// Calls answered in this phase.
    pub served: u64,
}

#[derive(Debug)]
struct Doing {
    key: usize,
    what: What,
    /// What is written.
    value: u64,
    called: u64,
    attempts: u32,
    /// An earlier attempt may have taken effect, or may yet.
    uncertain: bool,
    ticket: Option<u64>,
    haves: Option<(usize, Haves)>,
    stamp: Option<Stamp>,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Read,
    Put {
        condition: Condition,
        blob: bool,
        bytes: usize,
    },
    Delete {
        condition: Condition,
    },
    Found,
    /// For one use.
    NewToken {
        expires: Option<u64>,
    },
    RevokeToken(TokenId),
    /// Mostly of one that others want, too.
    UseToken {
        id: TokenId,
        at: u64,
    },
    TellTime(u64),
}

/// A request handed to a member.
#[derive(Debug)]
pub struct Ticket {
    pub owner: Owner,
    pub board: usize,
    pub boot: u64,
    pub answered: bool,
    /// What clients knew when it was handed over.
    pub floor: Index,
}

#[derive(Clone, Copy, Debug)]
pub enum Owner {
    Client(usize),
    Admin,
    Change,
    /// A member that reads before it collects blobs.
    Start,
}

impl Client {
    pub fn is_idle(&self) -> bool {
        self.doing.is_none()
    }
}

impl World {
    pub(super) fn wake_client(&mut self, client: usize, at: u64) {
        self.clients[client].wakes += 1;
        let wake = self.clients[client].wakes;
        self.queue.post(at, Event::Client { client, wake });
    }

    pub(super) fn client_wakes(&mut self, client: usize, wake: u64) -> Verdict {
        if self.clients[client].wakes != wake {
            return Ok(());
        }
        if self.clients[client].doing.is_none() {
            if matches!(self.phase, Phase::Silent | Phase::Over) {
                return Ok(());
            }
            self.begin_call(client);
        }
        let doing = self.clients[client].doing.as_mut().expect("just begun");
        if doing.ticket.take().is_some() {
            doing.uncertain = true;
            self.answers.timed_out += 1;
            self.clients[client].hint = None;
        }
        self.attempt(client)
    }

    fn begin_call(&mut self, client: usize) {
        let rng = &mut self.client_rng;
        let key = rng.index(self.plan.keys);
        let condition = match rng.index(5) {
            0 => Condition::Absent,
            1 => {
                let newest = self.model.at(KEYS[key], u64::MAX).map_or(0, |record| record.modified);
                Condition::Revision(newest.saturating_sub(rng.between(0, 1)))
            }
            _ => Condition::Always,
        };
        let what = match rng.index(12) {
            0..4 => What::Read,
            4 => What::Delete { condition },
            5 | 6 => What::Put { condition, blob: true, bytes: 0 },
            _ => What::Put { condition, blob: false, bytes: rng.between(8, 120) as usize },
        };
        let what = match self.plan.tokens && rng.chance(TRUST_PERMILLE) {
            true => trust_call(rng, &self.model.tokens, self.now),
            false => what,
        };
        if rng.chance(NEW_SESSION_PERMILLE) {
            self.clients[client].session = None;
        }
        self.clock += 1;
        let doing = Doing {
            key,
            what,
            value: self.clock,
            called: self.clock,
            attempts: 0,
            uncertain: false,
            ticket: None,
            haves: None,
            stamp: None,
        };
        self.clients[client].serial += 1;
        self.clients[client].doing = Some(doing);
    }

    fn attempt(&mut self, client: usize) -> Verdict {
        let doing = self.clients[client].doing.as_mut().expect("it asks for something");
        doing.attempts += 1;
        let give_up = doing.attempts > ATTEMPTS_MAX && self.phase == Phase::Safety;
        let (what, planned) = (doing.what, doing.haves.take());
        if give_up {
            return self.give_up(client);
        }
        let draw = self.client_rng.draw();
        let leaders = self.boards.iter().filter(|board| board.leads()).count();
        // Also one that does not know yet that it leads no more.
        let term = |board: &usize| self.boards[*board].member().map(|member| member.seen.term);
        let oldest = (0..self.boards.len()).filter(|board| self.boards[*board].leads()).min_by_key(term);
        let any = (0..self.boards.len()).filter(|board| self.boards[*board].leads()).nth((draw >> 20) as usize % leaders.max(1));
        let newest = (0..self.boards.len()).filter(|board| self.boards[*board].leads()).max_by_key(term);
        let leader = match (self.plan.hunts_leaders, what) {
            // What the one writes the other must not overlook.
            (true, What::Read) => oldest,
            (true, _) => newest,
            (false, _) if draw & 1 << 50 == 0 => oldest,
            (false, _) => any,
        };
        let board = match (&planned, self.clients[client].hint) {
            (Some((board, _)), _) => *board,
            (_, Some(hint)) if !matches!(what, What::Read) => hint,
            _ if draw.is_multiple_of(3) || self.plan.relapses && matches!(what, What::Read) && draw % 3 == 1 => {
                draw as usize / 4 % self.boards.len()
            }
            _ => leader.unwrap_or(draw as usize / 4 % self.boards.len()),
        };
        self.clients[client].hint = None;
        self.count(7, client as u64);
        if self.boards[board].member().is_none() || self.boards[board].paused_until > self.now {
            return self.again(client);
        }
        let Some(command) = self.command(client, board) else {
            let ticket = self.ticket(Owner::Client(client), board);
            return self.hand(client, board, ticket, Input::Read { ticket });
        };
        let mut haves = None;
        if let Some(hash) = command.needs_blob() {
            haves = match planned {
                Some((_, haves)) => Some(haves),
                None => {
                    let Some(haves) = self.upload(board, hash) else { return self.again(client) };
                    self.blobs_everywhere()?;
                    if self.client_rng.chance(400) {
                        // A slow upload: meanwhile terms and collections may pass.
                        let doing = self.clients[client].doing.as_mut().expect("it asks for something");
                        doing.haves = Some((board, haves));
                        let at = self.now + self.client_rng.between(1, 60) * TICK;
                        self.wake_client(client, at);
                        return Ok(());
                    }
                    Some(haves)
                }
            };
        }
        let ticket = self.ticket(Owner::Client(client), board);
        self.hand(client, board, ticket, Input::Write { ticket, command, haves })
    }

    fn hand(&mut self, client: usize, board: usize, ticket: u64, input: Input) -> Verdict {
        self.clients[client].doing.as_mut().expect("it asks for something").ticket = Some(ticket);
        let patience = if self.plan.hunts_leaders { PATIENCE_TICKS / 5 } else { PATIENCE_TICKS };
        let at = self.now + patience * TICK;
        self.wake_client(client, at);
        self.feed(board, input)
    }

    /// What is to be written; none for a read.
    fn command(&mut self, client: usize, board: usize) -> Option<Command> {
        let applied = self.boards[board].member().map_or(0, |member| member.seen.applied);
        let session = self.client_rng.draw();
        let one = &mut self.clients[client];
        let serial = one.serial;
        let doing = one.doing.as_mut().expect("it asks for something");
        let key = Key::new(KEYS[doing.key]).expect("a short key");
        let operation = match doing.what {
            What::Read => return None,
            What::Put { condition, blob, bytes } => {
                let mut content = doing.value.to_le_bytes().to_vec();
                content.resize(if blob { 32 } else { bytes }, 0x5a);
                let value = match blob {
                    true => Value::Blob { hash: content.try_into().expect("32 bytes"), size: 1 << 20 },
                    false => Value::Inline(content),
                };
                Operation::Put { key, value, condition, expires: None }
            }
            What::Delete { condition } => Operation::Delete { key, condition },
            What::Found => {
                let authority = AuthorityRecord { hash: [1; 32], cert: doing.value.to_le_bytes().to_vec(), key: vec![2; 9] };
                Operation::Trust(TrustChange::Found { authority, voters_wanted: 3, at: 0 })
            }
            What::NewToken { expires } => Operation::Trust(TrustChange::AddToken(TokenRecord {
                id: doing.value.to_le_bytes(),
                secret_hash: [3; 32],
                grants: TokenGrant::Node,
                expires,
                uses_left: Some(1),
            })),
            What::RevokeToken(id) => Operation::Trust(TrustChange::RevokeToken { id }),
            What::UseToken { id, at } => Operation::Trust(TrustChange::UseToken { id, at }),
            What::TellTime(at) => Operation::Trust(TrustChange::Time { at }),
        };
        let stamp = *doing.stamp.get_or_insert_with(|| {
            let (session, opened) = *one.session.get_or_insert((session, applied));
            Stamp { session, opened, serial }
        });
        Some(Command { session: Some(stamp), operation })
    }

    /// Brings a blob to the boards that a leader reaches, and gathers their word for it. None if the leader asks for no blobs.
    fn upload(&mut self, leader: usize, hash: Hash) -> Option<Haves> {
        let member = self.boards[leader].member()?;
        let mut haves = Haves { term: member.seen.term, collect: member.replica.collect_index()?, nodes: Default::default() };
        for to in 0..self.boards.len() {
            let apart = self.network.is_cut(leader, to) || self.network.is_cut(to, leader) || self.boards[to].paused_until > self.now;
            if apart || to != leader && self.client_rng.chance(200) {
                continue;
            }
            let volatile = raft::planted::is_planted(raft::planted::Bug::DirectoryNotSynced) && self.client_rng.chance(300);
            let one = &mut self.boards[to];
            let Some(Process::Member(member)) = &mut one.process else { continue };
            if !volatile {
                one.card.blobs.insert(hash);
                one.card.unlinked.remove(&hash);
                member.missing.remove(&hash);
            }
            let same_term = member.seen.term == haves.term;
            if same_term && state::collect(&member.state).is_ok_and(|applied| applied >= haves.collect) {
                // A question that comes late, or from one who leads no more, takes back nothing.
                let promised = member.promised.entry(hash).or_default();
                *promised = haves.collect.max(*promised);
                haves.nodes.insert(one.id);
            }
        }
        Some(haves)
    }

    fn blobs_everywhere(&mut self) -> Verdict {
        (0..self.boards.len()).try_for_each(|board| self.blobs_moved(board))
    }

    pub(super) fn replied(&mut self, board: usize, ticket: u64, reply: Reply) -> Verdict {
        match self.take_ticket(board, ticket, &reply)? {
            Owner::Client(client) => self.client_answered(client, board, ticket, reply),
            Owner::Change => {
                self.change_answered(&reply);
                Ok(())
            }
            Owner::Start => {
                match (&reply, self.boards[board].member_mut()) {
                    (Reply::ReadNow, Some(member)) => member.collects_from = Some(member.replica.applied()),
                    _ => {
                        let longest = if self.plan.relapses { 4 } else { 60 };
                        self.begin(board, self.boards[board].boots, Job::Inquire, TICK, longest * TICK);
                    }
                }
                Ok(())
            }
            Owner::Admin => {
                self.answers.transferred += u64::from(matches!(reply, Reply::Transferring(_)));
                if matches!(reply, Reply::Compacted(_)) {
                    self.answers.compacted += 1;
                    self.acts.note(Fault::Compact);
                }
                Ok(())
            }
        }
    }

    fn client_answered(&mut self, client: usize, board: usize, ticket: u64, reply: Reply) -> Verdict {
        if let (Reply::Written(outcome), Some(Some(stamp))) = (&reply, self.clients[client].doing.as_ref().map(|doing| doing.stamp))
            && self.clients[client].doing.as_ref().is_some_and(|doing| doing.ticket == Some(ticket))
            && !matches!(outcome, Outcome::Expired { .. } | Outcome::Superseded)
        {
            self.note(Property::ExactlyOnce);
            self.model.told(stamp.session, stamp.serial, *outcome)?;
        }
        if self.plan.has(Fault::Drop) && self.phase == Phase::Safety && self.client_rng.chance(40) {
            return Ok(());
        }
        let Some(doing) = self.clients[client].doing.as_mut().filter(|doing| doing.ticket == Some(ticket)) else { return Ok(()) };
        doing.ticket = None;
        let uncertain = doing.uncertain;
        match reply {
            Reply::ReadNow => {
                self.answers.read += 1;
                self.linearizability.told(self.boards[board].member().map_or(0, |member| member.replica.applied()));
                let found = self.read_here(board, client)?;
                self.finish(client, Some(Action::Read { found }));
            }
            Reply::Written(outcome @ (Outcome::Done(_) | Outcome::Absent)) => {
                self.answers.written += 1;
                if let Outcome::Done(Some(meta)) = outcome {
                    self.linearizability.told(meta.modified);
                }
                let seen = match doing.what {
                    What::Put { .. } => Action::Write { value: doing.value },
                    _ => Action::Delete { existed: None },
                };
                self.finish(client, Some(seen));
            }
            Reply::Written(Outcome::ConditionFalse(found)) => {
                self.answers.condition_false += 1;
                let key = doing.key;
                let found = self.value_of(key, found)?;
                self.finish(client, Some(Action::Read { found }));
            }
            Reply::Written(outcome @ Outcome::Trust(_)) => {
                self.answers.trusted += 1;
                if let What::UseToken { id, .. } = doing.what {
                    self.note(Property::ExactlyOnce);
                    self.model.tokens.told(id, outcome)?;
                }
                self.clients[client].served += 1;
                self.drop_call(client);
            }
            Reply::Written(Outcome::Expired { .. }) => {
                self.answers.expired += 1;
                self.clients[client].session = None;
                if uncertain { self.finish(client, None) } else { self.drop_call(client) }
            }
            Reply::Written(Outcome::Superseded | Outcome::Housekeeping) | Reply::Unknown => {
                self.answers.unknown += 1;
                doing.uncertain = true;
                return self.again(client);
            }
            Reply::NotExecuted(failure) => {
                match failure {
                    Failure::Overwritten => self.answers.overwritten += 1,
                    Failure::NoRoom => self.answers.no_room += 1,
                    Failure::BlobNotHeld => self.answers.blob_not_held += 1,
                    _ => self.answers.refused += 1,
                }
                if let Failure::NotLeader(Some(leader)) = failure {
                    self.clients[client].hint = Some(super::board::place(leader));
                }
                return self.again(client);
            }
            Reply::Changed(_) | Reply::Transferring(_) | Reply::Compacted(_) => {
                return Err(Property::ExactlyOnce.broken(format!("{reply:?} to a client's call")));
            }
        }
        Ok(())
    }

    /// A process that is gone answers nothing.
    pub(super) fn requests_die(&mut self, board: usize) {
        for client in 0..self.clients.len() {
            let Some(doing) = &mut self.clients[client].doing else { continue };
            let Some(ticket) = doing.ticket else { continue };
            if self.tickets[ticket as usize].board == board && !self.tickets[ticket as usize].answered {
                doing.ticket = None;
                doing.uncertain = true;
                let at = self.now + self.client_rng.between(1, 20) * TICK;
                self.wake_client(client, at);
            }
        }
    }

    fn again(&mut self, client: usize) -> Verdict {
        let at = self.now + self.client_rng.between(1, 12) * TICK;
        self.wake_client(client, at);
        Ok(())
    }

    fn give_up(&mut self, client: usize) -> Verdict {
        let doing = self.clients[client].doing.as_ref().expect("it asks for something");
        if doing.uncertain && !matches!(doing.what, What::Read) {
            self.finish(client, None)
        } else {
            self.drop_call(client)
        }
        Ok(())
    }

    /// The call ends: with what was seen, or with its outcome unknown for ever.
    fn finish(&mut self, client: usize, seen: Option<Action>) {
        let doing = self.clients[client].doing.take().expect("it asks for something");
        self.clock += 1;
        if doing.what.is_of_trust() {
            return self.rest(client);
        }
        let action = seen.unwrap_or(match doing.what {
            What::Put { .. } => Action::Write { value: doing.value },
            What::Delete { .. } => Action::Delete { existed: None },
            _ => Action::Read { found: None },
        });
        let call = Call::new(client as u64, doing.key as u64, action, doing.called);
        match seen {
            Some(seen) => {
                self.clients[client].served += 1;
                self.linearizability.done(call, seen, self.clock);
            }
            None => self.linearizability.unknown(call),
        }
        self.trace_in(doing.value << 8 | u64::from(seen.is_some()));
        self.rest(client);
    }

    /// It has had no effect, and never will; or none that belongs to the history of a key.
    fn drop_call(&mut self, client: usize) {
        self.clients[client].doing = None;
        self.rest(client);
    }

    fn rest(&mut self, client: usize) {
        let at = self.now + self.client_rng.between(100, self.plan.think_max);
        self.wake_client(client, at);
    }

    fn read_here(&mut self, board: usize, client: usize) -> Result<Option<u64>, crate::properties::Broken> {
        let key = self.clients[client].doing.as_ref().map_or(0, |doing| doing.key);
        let member = self.boards[board].member().expect("it has just answered");
        let key = Key::new(KEYS[key]).expect("a short key");
        let record = state::get(&member.state, &key).map_err(|error| Property::StateMachineSafety.broken(error.to_string()))?;
        let found = record.map(|record| number(&record.value));
        // What nobody ever wrote.
        let canary = raft::planted::is_planted(raft::planted::Bug::Canary);
        Ok(if canary { Some(u64::MAX) } else { found })
    }

    /// The value of a key as an answer describes it.
    fn value_of(&self, key: usize, meta: Option<Meta>) -> Result<Option<u64>, crate::properties::Broken> {
        let Some(meta) = meta else { return Ok(None) };
        let record = self.model.at(KEYS[key], meta.modified).filter(|record| record.modified == meta.modified);
        match record {
            Some(record) => Ok(Some(number(&record.value))),
            None => Err(Property::ExactlyOnce.broken(format!("{meta:?} was never written"))),
        }
    }
}

impl What {
    /// Its effect is judged by the model of tokens, not by the history of a key.
    fn is_of_trust(self) -> bool {
        !matches!(self, What::Read | What::Put { .. } | What::Delete { .. })
    }
}

/// Several clients want the newest token at about the same time; some are late.
fn trust_call(rng: &mut Rng, tokens: &Tokens, now: u64) -> What {
    let newest = tokens.newest();
    match (rng.index(12), newest) {
        _ if !tokens.is_founded() => What::Found,
        (0, _) => What::Found,
        (1, _) => What::TellTime(now),
        (2, Some(id)) => What::RevokeToken(id),
        // At times a clock that is behind.
        (3..9, Some(id)) => What::UseToken { id, at: now * rng.between(0, 3).min(1) },
        _ => What::NewToken { expires: rng.chance(500).then(|| tokens.time() + rng.between(1, TOKEN_LIFE_MAX)) },
    }
}

/// Which write a value comes from.
fn number(value: &Value) -> u64 {
    let bytes = match value {
        Value::Inline(bytes) => &bytes[..],
        Value::Blob { hash, .. } => &hash[..],
    };
    u64::from_le_bytes(bytes[..8].try_into().expect("every value begins with its number"))
}
