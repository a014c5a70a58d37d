//! The small calls' messages: from what a client asks to what the engine is given, and from what came of it to what the client is told.

use bytes::Bytes;
use proto::v1::{self as wire, Reason};
use replica::{
    Command, Condition, INLINE_VALUE_MAX_BYTES, Key, Operation, Stamp, Value,
    state::{Meta, Outcome, Record},
};
use tonic::Status;

use super::failure::rejected;
use crate::convert;

/// What a write says beside its value.
pub struct Put {
    key: Key,
    condition: Condition,
    session: Option<Stamp>,
}

impl Put {
    pub fn parse(key_bytes: &[u8], condition: Option<wire::Condition>, session: Option<wire::Session>) -> Result<Put, Status> {
        let condition = convert::condition(condition).map_err(|malformed| rejected(Reason::Malformed, malformed.to_string()))?;
        Ok(Put { key: key(key_bytes)?, condition, session: convert::stamp(session) })
    }

    pub fn of(self, value: Value) -> Command {
        Command { session: self.session, operation: Operation::Put { key: self.key, value, condition: self.condition, expires: None } }
    }
}

pub fn set(request: wire::SetRequest) -> Result<Command, Status> {
    if request.value.len() > INLINE_VALUE_MAX_BYTES {
        let message = format!("a value of {} bytes is too large for Set ({INLINE_VALUE_MAX_BYTES}); use Upload", request.value.len());
        return Err(rejected(Reason::ValueSize, message));
    }
    Ok(Put::parse(&request.key, request.condition, request.session)?.of(Value::Inline(request.value.to_vec())))
}

pub fn delete(request: wire::DeleteRequest) -> Result<Command, Status> {
    let Put { key, condition, session } = Put::parse(&request.key, request.condition, request.session)?;
    Ok(Command { session, operation: Operation::Delete { key, condition } })
}

pub fn key(bytes: &[u8]) -> Result<Key, Status> {
    convert::key(bytes).map_err(|size| rejected(Reason::KeySize, size.to_string()))
}

pub fn was_set(outcome: Outcome) -> wire::SetResponse {
    let (result, meta) = written(outcome);
    wire::SetResponse { result: result.into(), meta }
}

pub fn was_deleted(outcome: Outcome) -> wire::DeleteResponse {
    let (result, meta) = written(outcome);
    wire::DeleteResponse { result: result.into(), meta }
}

pub fn found(record: Option<Record>) -> wire::GetResponse {
    let Some(record) = record else { return wire::GetResponse::default() };
    let meta = Some(convert::meta_to_wire(&record.meta()));
    let value = match record.value {
        Value::Inline(bytes) => bytes.into(),
        Value::Blob { .. } => Bytes::new(),
    };
    wire::GetResponse { meta, value }
}

pub fn written(outcome: Outcome) -> (wire::WriteResult, Option<wire::Meta>) {
    let meta = |meta: Option<Meta>| meta.as_ref().map(convert::meta_to_wire);
    match outcome {
        Outcome::Done(now) => (wire::WriteResult::Done, meta(now)),
        Outcome::ConditionFalse(now) => (wire::WriteResult::ConditionFalse, meta(now)),
        Outcome::Absent => (wire::WriteResult::Absent, None),
        // The stamp has served for another kind of write before, so it says nothing of this one.
        Outcome::Trust(_) => (wire::WriteResult::Unspecified, None),
        Outcome::Expired { .. } | Outcome::Superseded | Outcome::Housekeeping => unreachable!("answered as what they are before"),
    }
}
