//! Boards on a LAN that this machine makes for itself: three networks on a bridge, and one for the client's computer. A file for each story.

mod addresses;
mod attacker_floods;
mod attacker_names;
mod attacker_papers;
mod avahi;
mod changes;
mod formation;
mod partitions;
mod slow_cards;
