//! Clusters whose nodes lose power.
//!
//! A test that only kills processes passes without a single sync, as the page cache outlives them. Here each node's data lies on a
//! [`Card`](crate::Card), and a cut takes away whatever the node has not synced. What must hold is the same after every cut:
//! - what was acknowledged is there, and what clients saw fits one order;
//! - no term or vote that a node has told of is taken back, and no term has two leaders;
//! - every node comes up again, as the node that it was.
//!
//! Whatever does not hold is returned as an error and not as a panic, because of a node with a planted fault it is what is hoped for.

mod images;
mod mains;
mod witness;

pub use images::{Image, Images};
pub use mains::{Loss, Mains};
pub use witness::Witness;
