//! The way of large values: in from a client to this disk and the peers' at once, out to clients and peers, and what is missing
//! fetched in the background.
//!
//! Every file operation runs on a blocking thread; between it and the network lie a few chunks, so memory stays flat
//! whatever the size of a value.

mod keeper;
mod missing;
mod news;
mod push;
mod serve;
mod sink;
mod upload;

pub use keeper::{Keeper, fetch, is_held};
pub use news::News;
pub use push::Push;
pub use serve::serve;
pub use sink::{Sink, SinkError};
pub use upload::{Upload, UploadError};

/// Largest chunk on the wire and in a queue.
pub const CHUNK_BYTES: usize = 256 << 10;
/// Chunks between two sides of one transfer.
const CHUNKS_QUEUED: usize = 4;
