//! Talks to a rusty-kv cluster: any node will do.
//!
//! ```no_run
//! # async fn example() -> Result<(), client::Error> {
//! use client::{Client, Options, Targets};
//! let client = Client::connect(Targets::Find, Options::default()).await?;
//! client.set(b"my_key", "Hello World", None).await?;
//! # Ok(()) }
//! ```
//!
//! Promises:
//! - An [`Error`] says what became of the request: not executed, rejected, or outcome unknown. What is known not to have been executed
//!   is sent again, to any node, until the deadline; so an election is hidden from the caller.
//! - A write takes effect at most once. It is sent again also if its answer was lost, under the same number in the same session, by which
//!   the cluster tells the attempts of one write; its answer is then what the one that took effect led to. Only if no answer comes by the
//!   deadline, or the cluster has forgotten the session meanwhile, is its outcome unknown.
//! - Every call ends by its deadline: [`Options::timeout`], or [`Options::stall`] without progress where bytes stream.
//! - A dead node (no answer, no reset) costs about a second, not the deadline.
//! - Whoever is dialled is asked first who it is. Nodes of another cluster are never used, whatever address they have taken over.
//! - Small calls go over one stream per connection, many at a time, whichever clone of a [`Client`] makes them; a node that does not know
//!   the stream gets unary calls.
//! - Memory does not grow with the size of a value or the length of a listing.
//! - A downloaded file appears under its name only with its hash verified.
//!
//! Left out: exactly-once requests about the membership (they say what is wanted, so they can be repeated).
//!
//! The `rusty-kv` command is in [`cli`]; its JSON output is described in [`json`].

mod admission;
mod backoff;
mod calls;
mod can_stop;
pub mod cli;
mod client;
mod cluster_id;
mod download;
mod error;
mod escape;
mod explain;
mod fault;
mod find;
mod goal;
mod hex;
pub mod json;
mod list;
mod login;
mod login_in_use;
mod members;
mod meta;
mod named;
mod options;
mod pool;
mod remembered;
mod sessions;
mod sink;
mod source;
mod survey;
mod tries;
mod upload;
mod view;

pub use client::{Client, Deleted, Targets, Value, Written};
pub use cluster_id::ClusterId;
pub use discovery::{Peer, parse_peers};
pub use error::{Error, Kind};
pub use find::{Seen, discover};
pub use list::{Item, Listing};
pub use login::{Login, Logins};
pub use members::{Change, Changed, Compacted, Stage};
pub use meta::{Condition, Meta};
pub use options::Options;
pub use proto::v1::Reason;
pub use sink::Sink;
pub use source::Source;
pub use survey::Survey;
pub use view::{ClusterView, Intent, LostView, MemberView, PendingView, Standing, Verdict};

/// Values up to this size travel in one message and live in the database; larger ones are streamed.
pub const INLINE_VALUE_BYTES: usize = 64 * 1024;
/// Longest key.
pub const KEY_BYTES: usize = 4096;
/// Most bytes of a value in one message of a stream.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Called as bytes move: bytes done, and the whole if it is known.
pub type Progress<'a> = &'a mut (dyn FnMut(u64, Option<u64>) + Send);
