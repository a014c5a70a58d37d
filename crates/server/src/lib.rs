//! The node: sockets, threads, files, signals around a replica

pub mod args;
pub mod config;
pub mod logging;
pub mod run;
