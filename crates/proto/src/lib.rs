//! Generated wire types; nothing is written by hand here. The definitions are in the top-level `proto/`.

#![allow(clippy::all)]

/// Version 1 of the wire protocol.
pub mod v1 {
    tonic::include_proto!("rustykv.v1");

    /// Encoded descriptors of every service, for gRPC reflection.
    pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("rustykv");
}
