//! What every data call does: find the cluster, reach the engine, wait no longer than a bound.

use std::{sync::Arc, time::Duration};

use proto::v1::Reason;
use replica::{Command, Failure, Haves, Reply, state::Outcome};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Status;

use super::failure::{not_executed, refused, unknown};
use crate::{
    engine::Request,
    node::{Member, Node},
};

/// A write whose entry is not applied by then has an unknown outcome.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A read waits this long for a leader to confirm it: longer than an election.
pub const READ_TIMEOUT: Duration = Duration::from_secs(5);
pub const READ_RETRY_PAUSE: Duration = Duration::from_millis(10);

/// The cluster this node belongs to, if it serves.
pub fn member(node: &Node) -> Result<&Member, Status> {
    if node.is_stopping() {
        return Err(not_executed(Reason::Stopping, "this node is shutting down; ask another"));
    }
    node.member().ok_or_else(|| not_executed(Reason::Unformed, format!("this node belongs to no cluster yet: {}", node.waits_for())))
}

/// Returns once the command is applied here, as the leader that took it.
pub async fn write(node: &Arc<Node>, command: Command, haves: Option<Haves>) -> Result<Outcome, Status> {
    let engine = &member(node)?.engine;
    let answer = engine.request(|reply| Request::Write { command, haves, reply }).map_err(|_| refused(node, Failure::Overloaded))?;
    match timeout_at(Instant::now() + WRITE_TIMEOUT, answer).await {
        Ok(Ok(Reply::Written(Outcome::Expired { index }))) => Err(expired(index)),
        Ok(Ok(Reply::Written(outcome))) => Ok(outcome),
        Ok(Ok(Reply::Unknown)) => Err(fate_unknown()),
        Ok(Ok(Reply::NotExecuted(failure))) => Err(refused(node, failure)),
        Ok(Ok(_)) => unreachable!("a write is not answered as anything else"),
        Ok(Err(_)) => {
            Err(unknown(Reason::Stopping, "the node stopped while the write was under way; read the key to see what became of it"))
        }
        Err(_) => Err(unconfirmed_write()),
    }
}

/// The session of a write is not known (any more): it was not executed now, whatever became of earlier attempts.
pub fn expired(index: u64) -> Status {
    not_executed(
        Reason::SessionExpired,
        format!("the session of this write is not known any more; a new one can be opened at index {index}"),
    )
}

/// A later write of the session came first, or a snapshot took the place of what would tell.
pub fn fate_unknown() -> Status {
    unknown(Reason::LeaderChanged, "what became of the write is not known here any more; read the key")
}

/// The deadline of a write passed.
pub fn unconfirmed_write() -> Status {
    unknown(Reason::TimedOut, "the write was not confirmed in time: fewer than a quorum of nodes answer the leader; read the key later")
}

/// The deadline of a read passed.
pub fn unconfirmed_read() -> Status {
    not_executed(Reason::TimedOut, "no leader confirmed the read in time: fewer than a quorum of nodes answer each other")
}

/// Returns once everything acknowledged before the call is applied here.
pub async fn read_barrier(node: &Arc<Node>) -> Result<(), Status> {
    let deadline = Instant::now() + READ_TIMEOUT;
    let engine = &member(node)?.engine;
    loop {
        let answer = engine.request(|reply| Request::Read { reply }).map_err(|_| refused(node, Failure::Overloaded))?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(Reply::ReadNow)) => return Ok(()),
            Ok(Ok(Reply::NotExecuted(failure))) if Instant::now() >= deadline => return Err(refused(node, failure)),
            Ok(Ok(Reply::NotExecuted(_))) => sleep(READ_RETRY_PAUSE).await,
            Ok(Ok(_)) => unreachable!("a read is not answered as anything else"),
            Ok(Err(_)) => return Err(not_executed(Reason::Stopping, "this node is shutting down; ask another")),
            Err(_) => return Err(unconfirmed_read()),
        }
    }
}
