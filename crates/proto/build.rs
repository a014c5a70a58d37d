//! Compiles the wire definitions and keeps a descriptor set for gRPC reflection.

use std::{env, path::PathBuf};

const FILES: [&str; 5] = ["error", "kv", "raft", "trust", "admin"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let files: Vec<PathBuf> = FILES.iter().map(|name| root.join(format!("rustykv/v1/{name}.proto"))).collect();
    println!("cargo:rerun-if-changed={}", root.display());
    tonic_prost_build::configure()
        .bytes(".rustykv.v1")
        .file_descriptor_set_path(out.join("rustykv.bin"))
        .compile_protos(&files, &[root])?;
    Ok(())
}
