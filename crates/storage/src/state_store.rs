//! The state machine's bytes: ordered, atomic, rebuilt from the log when lost.

use raft::LogId;

use crate::Error;

/// Ordered map from bytes to bytes with atomic, unsynced batches.
///
/// Invariants every engine keeps:
/// - a batch is visible as a whole or not at all, also after a crash;
/// - after a crash the state is that of an earlier batch: the flushed one or a later one;
/// - `applied` is written with each batch and can never disagree with the data beside it.
pub trait StateStore: Send + Sync + 'static {
    /// The log position the visible state stands for.
    fn applied(&self) -> Result<LogId, Error>;

    /// The log position that would survive a power cut right now.
    fn applied_durable(&self) -> Result<LogId, Error>;

    /// Shows `look` the key's value where it lies, if there is one.
    fn show(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<(), Error>;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let mut found = None;
        self.show(key, &mut |value| found = Some(value.to_vec()))?;
        Ok(found)
    }

    /// Keys in `start..end` (`end` absent: to the last key) in byte order until a limit of `scan` is reached.
    /// One consistent view of the state.
    fn scan(&self, scan: &Scan) -> Result<Vec<Pair>, Error>;

    /// Applies all writes and moves `applied`, as one atomic batch.
    fn write(&self, writes: Vec<Write>, applied: LogId) -> Result<(), Error>;

    /// Makes everything written so far durable.
    fn flush(&self) -> Result<(), Error>;

    /// Fails once the engine has failed in the background. Cheap; polled each second.
    fn check(&self) -> Result<(), Error>;
}

impl dyn StateStore + '_ {
    /// What `look` makes of the key's value, without a copy of it.
    pub fn peek<T>(&self, key: &[u8], look: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, Error> {
        let (mut look, mut seen) = (Some(look), None);
        self.show(key, &mut |value| seen = look.take().map(|look| look(value)))?;
        Ok(seen)
    }
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// One change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
}

/// A bounded range read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// First key, included.
    pub start: Vec<u8>,
    /// First key no longer included.
    pub end: Option<Vec<u8>>,
    pub max_items: usize,
    /// Stop once keys and values together exceed this; the item that crosses it is included.
    pub max_bytes: usize,
}
