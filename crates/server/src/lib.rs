//! The node: sockets, threads, files, signals around a replica
