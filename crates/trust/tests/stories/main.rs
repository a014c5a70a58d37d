//! A cluster's circle of trust, seen from outside: real handshakes in memory, by everybody who may and by those who may not.

mod admission;
mod authorities;
mod handshakes;
mod names;
mod noise;
mod world;
