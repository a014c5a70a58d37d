//! The membership as applied entries left it.
//!
//! The configuration in force is the newest in the log; this one is what a snapshot carries, and what a start falls back on when the
//! log is cut behind it. An id that a final configuration left out is removed for ever: ids are never reused.

use raft::{Index, Membership, NodeId};
use serde::{Deserialize, Serialize};
use storage::{MembershipRecord, StateStore, Write};

use crate::{Error, Malformed};

const MEMBERSHIP_KEY: &[u8] = b"mmembership";
const REMOVED: u8 = b'x';
const FORMAT: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Record {
    index: Index,
    membership: MembershipRecord,
}

/// The newest configuration entry applied and its index; none if there never was one.
pub fn membership(store: &dyn StateStore) -> Result<Option<(Index, Membership)>, Error> {
    Ok(store.peek(MEMBERSHIP_KEY, decode)?.transpose()?)
}

/// Whether a change that is applied has taken this id out of the cluster.
pub fn is_removed(store: &dyn StateStore, id: NodeId) -> Result<bool, Error> {
    Ok(store.get(&removed_key(id))?.is_some())
}

/// What applying a configuration writes, given the one before.
pub(super) fn writes(before: Option<&Membership>, index: Index, membership: &Membership) -> Vec<Write> {
    let mut writes = vec![Write::Put(MEMBERSHIP_KEY.to_vec(), encode(index, membership))];
    // Until the final configuration the change may still be undone by nobody, but who leaves is still counted.
    let gone = before.into_iter().flat_map(Membership::members).filter(|id| !membership.contains(*id));
    writes.extend(gone.map(|id| Write::Put(removed_key(id), index.to_be_bytes().to_vec())));
    writes
}

fn encode(index: Index, membership: &Membership) -> Vec<u8> {
    let record = Record { index, membership: membership.into() };
    postcard::to_extend(&record, vec![FORMAT]).expect("a membership always has a form")
}

fn decode(bytes: &[u8]) -> Result<(Index, Membership), Malformed> {
    let body = bytes.strip_prefix(&[FORMAT]).ok_or(Malformed("membership of an unknown format"))?;
    let record: Record = postcard::from_bytes(body).map_err(|_| Malformed("membership"))?;
    Ok((record.index, record.membership.into()))
}

fn removed_key(id: NodeId) -> Vec<u8> {
    [&[REMOVED], &id.0.to_be_bytes()[..]].concat()
}
