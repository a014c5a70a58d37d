//! The membership as applied entries left it.
//!
//! The configuration in force is the newest in the log; this one is what a snapshot carries, and what a start falls back on when the
//! log is cut behind it. An id that a final configuration left out is removed for ever: ids are never reused.

use std::collections::{BTreeMap, BTreeSet};

use raft::{Index, Intent, Membership, NodeId};
use serde::{Deserialize, Serialize};
use storage::{StateStore, Write};

use crate::{Error, Malformed};

const MEMBERSHIP_KEY: &[u8] = b"mmembership";
const REMOVED: u8 = b'x';
const FORMAT: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Record {
    index: u64,
    voters: BTreeSet<u64>,
    outgoing: BTreeSet<u64>,
    learners: BTreeMap<u64, IntentRecord>,
}

#[derive(Serialize, Deserialize)]
enum IntentRecord {
    Stay,
    Promote,
    Replace(u64),
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
    let plain = |ids: &BTreeSet<NodeId>| ids.iter().map(|id| id.0).collect();
    let intent = |intent: &Intent| match intent {
        Intent::Stay => IntentRecord::Stay,
        Intent::Promote => IntentRecord::Promote,
        Intent::Replace(old) => IntentRecord::Replace(old.0),
    };
    let record = Record {
        index,
        voters: plain(&membership.voters),
        outgoing: plain(&membership.outgoing),
        learners: membership.learners.iter().map(|(id, wish)| (id.0, intent(wish))).collect(),
    };
    postcard::to_extend(&record, vec![FORMAT]).expect("a membership always has a form")
}

fn decode(bytes: &[u8]) -> Result<(Index, Membership), Malformed> {
    let body = bytes.strip_prefix(&[FORMAT]).ok_or(Malformed("membership of an unknown format"))?;
    let record: Record = postcard::from_bytes(body).map_err(|_| Malformed("membership"))?;
    let ids = |plain: BTreeSet<u64>| plain.into_iter().map(NodeId).collect();
    let intent = |wish| match wish {
        IntentRecord::Stay => Intent::Stay,
        IntentRecord::Promote => Intent::Promote,
        IntentRecord::Replace(old) => Intent::Replace(NodeId(old)),
    };
    let learners = record.learners.into_iter().map(|(id, wish)| (NodeId(id), intent(wish))).collect();
    Ok((record.index, Membership { voters: ids(record.voters), outgoing: ids(record.outgoing), learners }))
}

fn removed_key(id: NodeId) -> Vec<u8> {
    [&[REMOVED], &id.0.to_be_bytes()[..]].concat()
}
