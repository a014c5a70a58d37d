//! What one failed attempt means.
//!
//! The question is always the same: may the node have executed the request? A status that carries an [`ErrorDetail`] comes from a
//! rusty-kv node and says so itself. Everything else is a broken connection, a stranger or a proxy, and is judged by what was sent:
//! - nothing left this machine (the connection could not be opened): not executed;
//! - the request has no effect (a read, an upload without its end): not executed;
//! - a write left: unknown, unless the code can only mean that no handler took it.

use std::error::Error as _;

use prost::Message;
use proto::v1::{ErrorDetail, Outcome, Reason};
use tonic::{Code, Status};

/// One attempt at one node that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub outcome: Outcome,
    pub reason: Reason,
    pub message: String,
    /// "host:port" of the node that leads, as far as the node asked knows.
    pub leader: Option<String>,
    /// Not executed because its session is not known (any more); a new one can be opened at this index.
    pub expired: Option<u64>,
    /// The connection is of no more use.
    pub broken: bool,
}

/// Whether the node may have started to execute what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    None,
    Possible,
}

impl Fault {
    /// The attempt failed without an answer: out of time, or the connection broke.
    pub fn silent(effect: Effect, message: impl Into<String>) -> Fault {
        let outcome = match effect {
            Effect::None => Outcome::NotExecuted,
            Effect::Possible => Outcome::Unknown,
        };
        Fault { outcome, reason: Reason::Unspecified, message: message.into(), leader: None, expired: None, broken: true }
    }

    pub fn timed_out(effect: Effect) -> Fault {
        Fault { reason: Reason::TimedOut, ..Fault::silent(effect, "no answer in time") }
    }

    /// The node answered with something that this version cannot read.
    pub fn not_understood(what: &str) -> Fault {
        Fault {
            outcome: Outcome::Rejected,
            reason: Reason::ProtocolVersion,
            message: format!("its answer has {what}"),
            leader: None,
            expired: None,
            broken: false,
        }
    }

    /// The same fault as the answer to a write: what cannot be read may have been "done".
    pub fn of_write(self) -> Fault {
        Fault { outcome: Outcome::Unknown, ..self }
    }

    /// The node says itself what became of a request.
    pub fn told(detail: ErrorDetail, effect: Effect) -> Fault {
        let outcome = match (detail.outcome(), effect) {
            (Outcome::NotExecuted, _) => Outcome::NotExecuted,
            (Outcome::Rejected, _) => Outcome::Rejected,
            (_, Effect::Possible) => Outcome::Unknown,
            (_, Effect::None) => Outcome::NotExecuted,
        };
        let expired = outcome == Outcome::NotExecuted && detail.reason() == Reason::SessionExpired;
        Fault {
            outcome,
            reason: detail.reason(),
            expired: expired.then_some(detail.session_index),
            leader: Some(detail.leader_address.clone()).filter(|leader| !leader.is_empty()),
            message: if detail.message.is_empty() { format!("{:?}", detail.reason()) } else { detail.message },
            broken: false,
        }
    }

    pub fn of(status: &Status, effect: Effect) -> Fault {
        match detail(status) {
            Some(detail) => Fault::told(detail, effect),
            None => judged(status, effect),
        }
    }
}

fn detail(status: &Status) -> Option<ErrorDetail> {
    let bytes = status.details();
    (!bytes.is_empty()).then(|| ErrorDetail::decode(bytes).ok()).flatten()
}

fn judged(status: &Status, effect: Effect) -> Fault {
    let message = innermost(status);
    let (outcome, reason) = match status.code() {
        _ if never_connected(status) => (Outcome::NotExecuted, Reason::Unspecified),
        // No rusty-kv node answers like this, and whoever does has not executed anything: there is no such method, or it is not for us.
        Code::Unimplemented => (Outcome::Rejected, Reason::ProtocolVersion),
        Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated => (Outcome::Rejected, Reason::Unspecified),
        // An answer too large to decode; to a write, the answer may have been "done".
        Code::OutOfRange if effect == Effect::None => (Outcome::Rejected, Reason::ProtocolVersion),
        _ => (Fault::silent(effect, "").outcome, Reason::Unspecified),
    };
    Fault { outcome, reason, message, leader: None, expired: None, broken: true }
}

fn never_connected(status: &Status) -> bool {
    causes(status).any(|error| error.is::<tonic::ConnectError>())
}

/// The cause at the end of the chain says most: "Connection refused", not "transport error".
pub fn innermost(status: &Status) -> String {
    match causes(status).last() {
        Some(cause) => cause.to_string(),
        None => format!("{}: {}", status.code(), status.message()),
    }
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(status.source(), |error: &&(dyn std::error::Error + 'static)| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detailed(outcome: Outcome, reason: Reason) -> Status {
        let detail =
            ErrorDetail { outcome: outcome.into(), reason: reason.into(), leader_address: "pi2:50051".into(), ..Default::default() };
        Status::with_details(Code::Unavailable, "m", detail.encode_to_vec().into())
    }

    #[test]
    fn a_node_is_believed() {
        for outcome in [Outcome::NotExecuted, Outcome::Rejected, Outcome::Unknown] {
            let fault = Fault::of(&detailed(outcome, Reason::NotLeader), Effect::Possible);
            assert_eq!((fault.outcome, fault.reason), (outcome, Reason::NotLeader));
            assert_eq!(fault.leader.as_deref(), Some("pi2:50051"));
        }
    }

    #[test]
    fn an_outcome_from_a_later_version_is_unknown_for_a_write_and_harmless_for_a_read() {
        let mut detail = ErrorDetail { message: "new".into(), ..Default::default() };
        detail.outcome = 99;
        let status = Status::with_details(Code::Unavailable, "m", detail.encode_to_vec().into());
        assert_eq!(Fault::of(&status, Effect::Possible).outcome, Outcome::Unknown);
        assert_eq!(Fault::of(&status, Effect::None).outcome, Outcome::NotExecuted);
    }

    #[test]
    fn a_read_is_never_unknown() {
        assert_eq!(Fault::of(&detailed(Outcome::Unknown, Reason::TimedOut), Effect::None).outcome, Outcome::NotExecuted);
        for code in (0..17).map(Code::from_i32) {
            assert_ne!(Fault::of(&Status::new(code, "m"), Effect::None).outcome, Outcome::Unknown, "{code:?}");
        }
    }

    #[test]
    fn without_a_word_of_the_node_a_write_is_unknown() {
        for code in [
            Code::Cancelled,
            Code::Unknown,
            Code::DeadlineExceeded,
            Code::ResourceExhausted,
            Code::OutOfRange,
            Code::Aborted,
            Code::Internal,
            Code::Unavailable,
            Code::DataLoss,
        ] {
            assert_eq!(Fault::of(&Status::new(code, "m"), Effect::Possible).outcome, Outcome::Unknown, "{code:?}");
        }
        let garbage = Status::with_details(Code::Unavailable, "m", vec![0xff; 3].into());
        assert_eq!(Fault::of(&garbage, Effect::Possible).outcome, Outcome::Unknown);
    }

    #[test]
    fn a_stranger_that_knows_no_such_method_has_executed_nothing() {
        let fault = Fault::of(&Status::unimplemented("?"), Effect::Possible);
        assert_eq!((fault.outcome, fault.reason), (Outcome::Rejected, Reason::ProtocolVersion));
    }

    #[test]
    fn a_connection_that_never_opened_carried_nothing() {
        let refused = tonic::ConnectError(Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)));
        let fault = Fault::of(&Status::from_error(Box::new(refused)), Effect::Possible);
        assert_eq!(fault.outcome, Outcome::NotExecuted);
        assert_eq!(fault.message, "connection refused");
    }
}
