//! Stories of one member with its state: what its peers, its threads and its disks do is told input by input.
//!
//! [`stage::Stage`] is the stage; `sessions` needs none, as what a retried write means is decided by the state alone.

mod collect;
mod members;
mod sessions;
mod snapshots;
mod stage;
