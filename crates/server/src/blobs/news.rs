//! What the log says that matters to blobs, in the order of the log.

use raft::Index;
use replica::state::BlobRef;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// An entry just applied refers to it.
    Named(BlobRef),
    /// Everything up to here is applied, and what it refers to was named before. `dereferenced`: some reference went.
    Applied { through: Index, dereferenced: bool },
    /// Another state took the place of the one before: what it refers to is to be looked up in it.
    Replaced,
    /// Blobs that nothing refers to may go, once the state is flushed as far as this entry.
    Collect(Index),
}
