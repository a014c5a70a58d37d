//! What makes a retried write take effect once.
//!
//! A session is a random id and the applied index that some node told its client when it was opened; its writes are numbered, one
//! is under way at a time. The state remembers each session's last number and answer. Opening costs nothing: a session comes into
//! being with its first write.
//!
//! Invariants:
//! - the same number again is answered from memory, a smaller one's fate is not known here any more, a larger one is executed;
//! - an unknown session is executed only if it cannot have been forgotten: it was opened at or behind the floor, which is at least the
//!   last index of every session ever evicted, and before this very entry;
//! - the table is bounded: the least recently used (by log index) go, a tenth at a time, because finding them means reading all.

use std::collections::BTreeMap;

use raft::{
    Index,
    planted::{Bug, is_planted},
};
use serde::{Deserialize, Serialize};
use storage::{Scan, StateStore, Write};

use super::{Outcome, Rules, Run};
use crate::{Error, Malformed, Stamp};

pub(super) const SESSIONS: u8 = b's';
const RECORD_FORMAT: u8 = 1;
/// Room for a record whose write was not of a blob.
const RECORD_BYTES: usize = 64;
/// Of a full table, forgotten at once.
const EVICTED_SHARE: usize = 10;
const PAGE_ITEMS: usize = 1_024;

/// A session as remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    opened: Index,
    serial: u64,
    /// Index of its last write.
    last: Index,
    outcome: Outcome,
}

/// What a stamp means at this entry.
pub(super) enum Verdict {
    Execute { opens: bool },
    Answer(Outcome),
}

impl Run<'_> {
    /// Whether a stamped write is to be executed at `index`.
    pub(super) fn judge(&self, stamp: &Stamp, index: Index) -> Result<Verdict, Error> {
        let expired = Verdict::Answer(Outcome::Expired { index });
        Ok(match self.session(stamp.session)? {
            Some(known) if known.opened != stamp.opened => expired,
            Some(known) if stamp.serial == known.serial && !is_planted(Bug::RetryAppliedTwice) => Verdict::Answer(known.outcome),
            Some(known) if stamp.serial < known.serial => Verdict::Answer(Outcome::Superseded),
            Some(_) => Verdict::Execute { opens: false },
            None if self.tally.floor <= stamp.opened && stamp.opened < index => Verdict::Execute { opens: true },
            None => expired,
        })
    }

    /// Remembers what a stamped write led to; `opens` if the session was not known before it.
    pub(super) fn remember(&mut self, stamp: &Stamp, opens: bool, index: Index, outcome: Outcome, rules: &Rules) -> Result<(), Error> {
        if opens {
            if self.tally.sessions >= rules.sessions_max as u64 {
                self.evict(rules)?;
            }
            self.tally.sessions += 1;
        }
        let session = Session { opened: stamp.opened, serial: stamp.serial, last: index, outcome };
        self.sessions.insert(stamp.session, Some(session));
        self.writes.push(Write::Put(key_of(stamp.session), session.encode()));
        Ok(())
    }

    fn session(&self, id: u64) -> Result<Option<Session>, Error> {
        match self.sessions.get(&id) {
            Some(known) => Ok(*known),
            None => Ok(self.store.peek(&key_of(id), Session::decode)?.transpose()?),
        }
    }

    fn evict(&mut self, rules: &Rules) -> Result<(), Error> {
        let mut all = read_all(self.store)?;
        for (id, session) in &self.sessions {
            match session {
                Some(session) => drop(all.insert(*id, *session)),
                None => drop(all.remove(id)),
            }
        }
        let mut by_age: Vec<(Index, u64)> = all.into_iter().map(|(id, session)| (session.last, id)).collect();
        by_age.sort_unstable();
        by_age.truncate((rules.sessions_max / EVICTED_SHARE).max(1));
        for (last, id) in by_age {
            if !is_planted(Bug::SessionFloorForgotten) {
                self.tally.floor = self.tally.floor.max(last);
            }
            self.tally.sessions -= 1;
            self.sessions.insert(id, None);
            self.writes.push(Write::Delete(key_of(id)));
        }
        Ok(())
    }
}

impl Session {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RECORD_BYTES);
        bytes.push(RECORD_FORMAT);
        postcard::to_extend(self, bytes).expect("a session always has a form")
    }

    fn decode(bytes: &[u8]) -> Result<Session, Malformed> {
        match bytes.split_first() {
            Some((&RECORD_FORMAT, body)) => postcard::from_bytes(body).map_err(|_| Malformed("session")),
            _ => Err(Malformed("session of an unknown format")),
        }
    }
}

fn read_all(store: &dyn StateStore) -> Result<BTreeMap<u64, Session>, Error> {
    let mut found = BTreeMap::new();
    let mut start = vec![SESSIONS];
    loop {
        let page = store.scan(&Scan { start, end: Some(vec![SESSIONS + 1]), max_items: PAGE_ITEMS, max_bytes: usize::MAX })?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        start = [&last[..], &[0]].concat();
        for (key, record) in &page {
            let id = key[1..].try_into().map_err(|_| Malformed("session id"))?;
            found.insert(u64::from_be_bytes(id), Session::decode(record)?);
        }
    }
}

fn key_of(id: u64) -> Vec<u8> {
    [&[SESSIONS], &id.to_be_bytes()[..]].concat()
}
