//! What lets a write be sent more than once and take effect once.
//!
//! A session is a random id, an applied index told by some node when it was opened, and a number for each of its writes. The cluster
//! remembers a session's last number and what came of it, so the same number again is answered, not executed. Opening asks nobody: a
//! session comes into being with its first write.
//!
//! Invariants:
//! - a session carries one write at a time: it is taken out for it, and comes back only when what became of that write is known. A
//!   write given up in doubt, or by its caller, takes its session with it;
//! - a write keeps its number over all attempts, the next one has a larger;
//! - the index a session was opened at never changes;
//! - sessions are of one cluster, as the [`Pool`](crate::pool::Pool) that owns them is;
//! - the one used last is taken first, so few writers need few sessions. At most [`IDLE_MAX`] lie idle, and those unused for longest are
//!   forgotten, as the cluster does.

use std::collections::VecDeque;
use std::sync::Mutex;

use proto::v1;

use crate::error::{Error, Kind};

/// Sessions kept for later writes: as many as the calls of four full streams, and less than half of what a cluster remembers.
const IDLE_MAX: usize = 4_096;

/// The right to one write at a time.
#[derive(Debug, PartialEq, Eq)]
pub struct Session {
    id: u64,
    opened: u64,
    /// Of the write under way, or of the last one.
    serial: u64,
    /// The newest index known when its last write was settled.
    used: u64,
}

/// Those of one cluster that carry no write.
#[derive(Default)]
pub struct Sessions {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The largest index that a node is known to have applied.
    told: u64,
    /// In the order of their last use.
    idle: VecDeque<Session>,
}

impl Session {
    /// What each attempt at the write carries.
    pub fn stamp(&self) -> v1::Session {
        v1::Session { id: self.id, opened: self.opened, serial: self.serial }
    }
}

impl Sessions {
    /// A node of the cluster has applied this index.
    pub fn told(&self, index: u64) {
        let mut state = self.state.lock().unwrap();
        state.told = state.told.max(index);
    }

    /// For one write.
    pub fn take(&self) -> Result<Session, Error> {
        let opened = {
            let mut state = self.state.lock().unwrap();
            if let Some(session) = state.idle.pop_back() {
                return Ok(Session { serial: session.serial + 1, ..session });
            }
            state.told
        };
        let id = getrandom::u64().map_err(|error| {
            Error::new(Kind::NotExecuted, format!("the system gives no random number to mark the write with: {error}"), "try again")
        })?;
        Ok(Session { id, opened, serial: 1, used: 0 })
    }

    /// What became of the write is known; `told` is an index applied by then, 0 if none was named.
    pub fn give_back(&self, session: Session, told: u64) {
        let mut state = self.state.lock().unwrap();
        state.told = state.told.max(told);
        let used = state.told;
        state.idle.push_back(Session { used, ..session });
        if state.idle.len() > IDLE_MAX {
            state.idle.pop_front();
        }
    }

    /// The cluster has forgotten the session, and names an index for a new one. What was used before it is forgotten as well.
    pub fn replace(&self, expired: &Session, index: u64) -> Result<Session, Error> {
        {
            let mut state = self.state.lock().unwrap();
            state.told = state.told.max(index);
            state.idle.retain(|idle| idle.used > expired.used);
        }
        self.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_used_last_is_taken_first_with_the_next_number() {
        let sessions = Sessions::default();
        sessions.told(7);
        let (a, b) = (sessions.take().unwrap(), sessions.take().unwrap());
        assert_ne!(a.id, b.id);
        assert_eq!((a.opened, a.serial, b.opened, b.serial), (7, 1, 7, 1));
        let (first, second) = (a.id, b.id);
        sessions.give_back(a, 8);
        sessions.give_back(b, 9);
        let again = sessions.take().unwrap();
        assert_eq!((again.id, again.opened, again.serial), (second, 7, 2));
        let other = sessions.take().unwrap();
        assert_eq!((other.id, other.opened, other.serial), (first, 7, 2));
        assert_eq!(sessions.take().unwrap().opened, 9, "a new one is opened at the newest index told");
    }

    #[test]
    fn an_older_index_told_later_changes_nothing() {
        let sessions = Sessions::default();
        sessions.told(9);
        sessions.told(3);
        assert_eq!(sessions.take().unwrap().opened, 9);
    }

    #[test]
    fn of_too_many_idle_sessions_those_unused_for_longest_are_forgotten() {
        let sessions = Sessions::default();
        let taken: Vec<Session> = (0..=IDLE_MAX).map(|_| sessions.take().unwrap()).collect();
        let oldest = taken[0].id;
        for session in taken {
            sessions.give_back(session, 0);
        }
        let idle: Vec<u64> = (0..IDLE_MAX).map(|_| sessions.take().unwrap()).map(|session| session.id).collect();
        assert!(!idle.contains(&oldest));
        assert_eq!(sessions.take().unwrap().serial, 1, "no more than the bound were kept");
    }

    #[test]
    fn with_an_expired_session_those_used_before_it_are_forgotten_and_no_others() {
        let sessions = Sessions::default();
        let [before, expiring, behind] = [(); 3].map(|()| sessions.take().unwrap());
        let survivor = behind.id;
        sessions.give_back(before, 10);
        sessions.give_back(expiring, 11);
        let expiring = sessions.take().unwrap();
        sessions.give_back(behind, 12);
        let new = sessions.replace(&expiring, 50).unwrap();
        assert_eq!((new.id, new.serial), (survivor, 2));
        let new = sessions.replace(&new, 50).unwrap();
        assert_eq!((new.opened, new.serial), (50, 1));
    }
}
