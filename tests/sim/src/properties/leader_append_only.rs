//! A leader never takes anything out of its log.

use raft::{Batch, NodeId};

use super::{Property, Verdict};

pub fn leader_append_only(id: NodeId, batch: &Batch) -> Verdict {
    let takes_out = batch.truncate.is_some() || batch.install.is_some();
    Property::LeaderAppendOnly.holds(!takes_out, || format!("leader {id:?} hands out {batch:?}"))
}
