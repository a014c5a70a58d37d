//! Stories of one member, told message by message: what it hears, what its disk does, what it must then say.
//!
//! Each file tells of one part of the protocol. [`member::Member`] is the stage: nothing happens on it but what the story says, so
//! each story holds one interleaving still that a running cluster meets once in a million.

mod append;
mod commit;
mod disk;
mod election;
mod flow;
mod member;
mod membership;
mod reads;
mod reports;
mod room;
mod snapshots;
mod transfer;
