//! From our errors to gRPC statuses. Each carries an `ErrorDetail`: what became of the request, why, and who leads.

use prost::Message as _;
use proto::v1::{ErrorDetail, Outcome, Reason};
use replica::Failure;
use tonic::{Code, Status};

use crate::{blobs::UploadError, node::Node};

/// Nothing happened and nothing will.
pub fn not_executed(reason: Reason, message: impl Into<String>) -> Status {
    let code = match reason {
        Reason::Overloaded | Reason::NoRoom => Code::ResourceExhausted,
        _ => Code::Unavailable,
    };
    with_detail(code, about(Outcome::NotExecuted, reason, message.into()))
}

/// The request itself is wrong.
pub fn rejected(reason: Reason, message: impl Into<String>) -> Status {
    with_detail(Code::InvalidArgument, about(Outcome::Rejected, reason, message.into()))
}

/// The caller has not proven what it takes.
pub fn forbidden(message: impl Into<String>) -> Status {
    with_detail(Code::PermissionDenied, about(Outcome::Rejected, Reason::Permission, message.into()))
}

/// The token lets nobody in (any more).
pub fn not_admitted(message: impl Into<String>) -> Status {
    with_detail(Code::Unauthenticated, about(Outcome::Rejected, Reason::NotAdmitted, message.into()))
}

/// The write may or may not take effect.
pub fn unknown(reason: Reason, message: impl Into<String>) -> Status {
    with_detail(Code::Unknown, about(Outcome::Unknown, reason, message.into()))
}

/// The session of a write is not known (any more): it was not executed now, whatever became of earlier attempts.
pub fn session_expired(index: raft::Index) -> Status {
    let message = format!("the session of this write is not known any more; a new one can be opened at index {index}");
    with_detail(Code::Unavailable, ErrorDetail { session_index: index, ..about(Outcome::NotExecuted, Reason::SessionExpired, message) })
}

/// A request that the cluster did not take.
pub fn refused(node: &Node, failure: Failure) -> Status {
    match failure {
        Failure::NotLeader(leader) => not_leader(node, leader),
        Failure::Overloaded => not_executed(Reason::Overloaded, "too many writes wait for their commit; try again"),
        Failure::NoRoom => not_executed(
            Reason::NoRoom,
            "the leader or a quorum of nodes is short of disk space (`rusty-kv status` shows which); delete data or free space there",
        ),
        Failure::Overwritten => not_executed(Reason::LeaderChanged, "the leader changed and the write was dropped; try again"),
        Failure::Busy => not_executed(Reason::Busy, "another change of the membership is under way, or the leader is new; try again"),
        Failure::Invalid(why) => rejected(Reason::Malformed, why),
        Failure::BlobNotHeld => not_executed(Reason::LeaderChanged, "the leader changed during the upload; try again"),
    }
}

pub fn not_leader(node: &Node, leader: Option<raft::NodeId>) -> Status {
    let Some(leader) = leader else {
        return not_executed(Reason::NoLeader, "no leader is known: an election is running, or fewer than a quorum of nodes are up");
    };
    let address = if leader == node.id {
        Some(format!("127.0.0.1:{}", node.config.port))
    } else {
        node.book.addresses_of(leader).first().map(ToString::to_string)
    };
    let message = format!("node {leader} leads");
    with_detail(
        Code::Unavailable,
        ErrorDetail {
            leader_id: leader.0,
            leader_address: address.unwrap_or_default(),
            ..about(Outcome::NotExecuted, Reason::NotLeader, message)
        },
    )
}

/// An upload that ended before its manifest was proposed.
pub fn upload_failed(node: &Node, error: UploadError) -> Status {
    match &error {
        UploadError::HashMismatch { .. } => rejected(Reason::HashMismatch, error.to_string()),
        UploadError::NoQuorum => not_executed(Reason::TimedOut, error.to_string()),
        UploadError::Deposed => not_leader(node, node.member().and_then(|member| member.engine.status().leader)),
        UploadError::Disk(disk) => not_executed(Reason::NoRoom, format!("this node could not store the value: {disk}")),
    }
}

/// Reading the local state failed.
pub fn unreadable(error: &replica::Error) -> Status {
    log::error!(error:%; "the state cannot be read");
    not_executed(Reason::BlobMissing, format!("this node cannot read its state: {error}"))
}

/// Whether a peer said that it does not have a blob, and not just that it could not answer.
pub fn is_blob_missing(status: &Status) -> bool {
    ErrorDetail::decode(status.details()).is_ok_and(|detail| detail.reason() == Reason::BlobMissing)
}

/// What one of the statuses above says, for where there is one status for many requests.
pub fn detail(status: &Status) -> ErrorDetail {
    ErrorDetail::decode(status.details()).expect("each status of ours has its detail")
}

fn about(outcome: Outcome, reason: Reason, message: String) -> ErrorDetail {
    ErrorDetail { outcome: outcome.into(), reason: reason.into(), message, ..Default::default() }
}

fn with_detail(code: Code, detail: ErrorDetail) -> Status {
    let bytes = detail.encode_to_vec().into();
    Status::with_details(code, detail.message, bytes)
}
