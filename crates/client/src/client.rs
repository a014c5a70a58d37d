//! A handle on one cluster: connect, and the calls that move at most 64 KiB.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use discovery::Peer;
use proto::v1::call_request::Call;
use proto::v1::call_response::Answer;
use proto::v1::{self, Reason, WriteResult};

use crate::error::{Error, Kind};
use crate::explain;
use crate::fault::{Effect, Fault};
use crate::find;
use crate::list::Listing;
use crate::meta::{Condition, Meta};
use crate::options::Options;
use crate::pool::Pool;
use crate::remembered::Memory;
use crate::survey::Survey;
use crate::tries::Tries;
use crate::{INLINE_VALUE_BYTES, KEY_BYTES};

/// A handle on one cluster. Clones share its connections.
#[derive(Clone)]
pub struct Client {
    pub(crate) pool: Arc<Pool>,
    pub(crate) options: Options,
}

/// Where the nodes are.
#[derive(Clone, Debug)]
pub enum Targets {
    /// At these addresses; any one that answers is enough, the others are learned from it.
    Given(Vec<Peer>),
    /// Found by mDNS and among remembered addresses.
    Find,
}

/// What became of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Done; the key as it is now.
    Done(Meta),
    /// The condition did not hold; the key as it is, None if there is no such key.
    ConditionFalse(Option<Meta>),
}

/// What became of a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    Done,
    /// There was no such key.
    Absent,
    ConditionFalse(Option<Meta>),
}

/// A key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Inline(Meta, Bytes),
    /// Kept as a blob: [`Client::download`] fetches it.
    Large(Meta),
}

impl Written {
    /// The index of a write that it tells of, 0 if of none.
    pub(crate) fn revision(&self) -> u64 {
        match self {
            Written::Done(meta) | Written::ConditionFalse(Some(meta)) => meta.modify_revision,
            Written::ConditionFalse(None) => 0,
        }
    }
}

impl Client {
    /// Finds the cluster. With given addresses nothing is sent before the first call.
    pub async fn connect(targets: Targets, options: Options) -> Result<Client, Error> {
        let memory = Memory::of_user();
        let keep = memory.clone().filter(|_| options.remember);
        let pool = match targets {
            Targets::Given(peers) => Pool::new(peers, options.cluster.clone(), None, keep, options.connections),
            Targets::Find => {
                let found = find::find(options.cluster.as_deref(), memory.as_ref(), options.login.as_ref(), options.timeout).await?;
                Pool::new(found.peers, options.cluster.clone(), found.cluster, keep, options.connections)
            }
        };
        let pool = pool.with_login(options.login.clone());
        Ok(Client { pool: Arc::new(pool), options })
    }

    /// Asks given addresses who they are, so that [`Client::several`] can tell. Ends within `time`, soon after the first answer.
    pub(crate) async fn meet(&self, time: Duration) {
        self.pool.meet(time).await;
    }

    /// The error if nodes of more than one of the clusters that may be meant have answered so far: writing to the wrong one is worse than
    /// asking.
    pub(crate) fn several(&self) -> Option<Error> {
        let met = self.pool.met();
        (met.len() > 1).then(|| find::several(&met))
    }

    /// Stores a value of at most 64 KiB; [`Client::put`] takes any size.
    pub async fn set(&self, key: &[u8], value: impl Into<Bytes>, condition: Option<Condition>) -> Result<Written, Error> {
        check_key(key)?;
        let value = value.into();
        if value.len() > INLINE_VALUE_BYTES {
            return Err(rejected(Reason::ValueSize, format!("{} bytes are too many for set; upload them", value.len())));
        }
        let request =
            v1::SetRequest { key: Bytes::copy_from_slice(key), value, condition: Condition::to_wire(condition), ..Default::default() };
        self.write(|session| Call::Set(v1::SetRequest { session, ..request.clone() }), was_set).await
    }

    /// Reads a key; None if there is no such key.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Value>, Error> {
        self.get_within(key, self.options.timeout).await
    }

    pub(crate) async fn get_within(&self, key: &[u8], time: Duration) -> Result<Option<Value>, Error> {
        check_key(key)?;
        let request = v1::GetRequest { key: Bytes::copy_from_slice(key) };
        let mut tries = Tries::new(&self.pool, time);
        loop {
            let node = tries.next().await?;
            let answer = node.call(Call::Get(request.clone()), Effect::None, tries.attempt_bound()).await;
            match answer.and_then(value) {
                Ok(value) => return Ok(value),
                Err(fault) => tries.failed(&node, fault).await?,
            }
        }
    }

    /// Removes a key.
    pub async fn delete(&self, key: &[u8], condition: Option<Condition>) -> Result<Deleted, Error> {
        check_key(key)?;
        let request =
            v1::DeleteRequest { key: Bytes::copy_from_slice(key), condition: Condition::to_wire(condition), ..Default::default() };
        self.write(|session| Call::Delete(v1::DeleteRequest { session, ..request.clone() }), deleted).await
    }

    /// Lists keys that begin with `prefix`, from behind `after` on (empty: from the first), at most `limit`. Nothing is sent yet.
    pub fn list(&self, prefix: &[u8], after: &[u8], limit: Option<u64>) -> Listing {
        Listing::new(self.clone(), prefix, after, limit)
    }

    /// Asks every member for its own view; needs no quorum. Ends within `time`.
    pub async fn survey(&self, time: Duration) -> Survey {
        Survey::take(&self.pool, time).await
    }

    /// Sends a write until there is an answer, each time under the same number.
    async fn write<T>(&self, call: impl Fn(Option<v1::Session>) -> Call, read: impl Fn(Answer) -> Result<T, Fault>) -> Result<T, Error> {
        let mut tries = Tries::of_write(&self.pool, self.options.timeout);
        let mut opened = None;
        loop {
            let node = tries.next().await?;
            let session = match opened.take() {
                Some(session) => session,
                None => self.pool.sessions.take()?,
            };
            let answer = node.call(call(Some(session.stamp())), Effect::Possible, tries.attempt_bound()).await;
            match answer.and_then(|answer| Ok((revision(&answer), read(answer)?))) {
                Ok((revision, done)) => {
                    self.pool.sessions.give_back(session, revision);
                    return Ok(self.led(&node.peer, done));
                }
                Err(fault) => {
                    let expired = fault.expired;
                    tries.failed(&node, fault).await?;
                    opened = Some(match expired {
                        Some(index) => self.pool.sessions.replace(&session, index)?,
                        None => session,
                    });
                }
            }
        }
    }

    pub(crate) fn tries(&self) -> Tries {
        Tries::new(&self.pool, self.options.timeout)
    }

    /// `peer` did a write, so it leads.
    pub(crate) fn led<T>(&self, peer: &Peer, done: T) -> T {
        self.pool.prefer(peer);
        done
    }
}

/// Reads the answer to a write. What cannot be read may mean "done", so it is unknown.
pub(crate) fn written(result: WriteResult, meta: Option<v1::Meta>) -> Result<Written, Fault> {
    let meta = meta.map(Meta::from_wire).transpose().map_err(Fault::of_write)?;
    match (result, meta) {
        (WriteResult::Done, Some(meta)) => Ok(Written::Done(meta)),
        (WriteResult::ConditionFalse, meta) => Ok(Written::ConditionFalse(meta)),
        _ => Err(Fault::not_understood("no result of the write").of_write()),
    }
}

/// The index of a write that the answer tells of, 0 if it tells of none.
fn revision(answer: &Answer) -> u64 {
    let meta = match answer {
        Answer::Set(response) => response.meta.as_ref(),
        Answer::Delete(response) => response.meta.as_ref(),
        Answer::Get(_) | Answer::Error(_) => None,
    };
    meta.map_or(0, |meta| meta.modify_revision)
}

fn was_set(answer: Answer) -> Result<Written, Fault> {
    match answer {
        Answer::Set(response) => written(response.result(), response.meta),
        _ => Err(Fault::not_understood("another kind than the call").of_write()),
    }
}

fn deleted(answer: Answer) -> Result<Deleted, Fault> {
    let Answer::Delete(response) = answer else {
        return Err(Fault::not_understood("another kind than the call").of_write());
    };
    match response.result() {
        WriteResult::Done => Ok(Deleted::Done),
        WriteResult::Absent => Ok(Deleted::Absent),
        WriteResult::ConditionFalse => {
            let meta = response.meta.map(Meta::from_wire).transpose().map_err(Fault::of_write)?;
            Ok(Deleted::ConditionFalse(meta))
        }
        WriteResult::Unspecified => Err(Fault::not_understood("no result of the delete").of_write()),
    }
}

fn value(answer: Answer) -> Result<Option<Value>, Fault> {
    let Answer::Get(response) = answer else {
        return Err(Fault::not_understood("another kind than the call"));
    };
    let Some(meta) = response.meta.map(Meta::from_wire).transpose()? else { return Ok(None) };
    if meta.hash.is_some() {
        return Ok(Some(Value::Large(meta)));
    }
    if meta.size != response.value.len() as u64 {
        return Err(Fault::not_understood("a value of another size than it says"));
    }
    // Answers that came together share their memory: who keeps one value must not keep them all.
    Ok(Some(Value::Inline(meta, Bytes::copy_from_slice(&response.value))))
}

/// A key no node would take is refused here, without a cluster.
pub(crate) fn check_key(key: &[u8]) -> Result<(), Error> {
    match key.len() {
        1..=KEY_BYTES => Ok(()),
        0 => Err(rejected(Reason::KeySize, "the key is empty".into())),
        len => Err(rejected(Reason::KeySize, format!("the key has {len} bytes"))),
    }
}

fn rejected(reason: Reason, message: String) -> Error {
    Error::new(Kind::Rejected, message, explain::next_step(Kind::Rejected, reason)).because(reason)
}
