//! The place where the server's files look for it.

#[path = "../../../crates/server/src/guard/answer.rs"]
mod answer;
#[path = "../../../crates/server/src/guard/papers.rs"]
mod papers;

pub use answer::{admitted, papers};
pub use papers::{Founding, Papers};
