//! Which board this is, whatever its disk holds: what survives a wiped card.
//!
//! A keyed hash of the processor's serial number where there is one (Raspberry Pis), else of the machine's id, so that no serial number
//! travels. It is a hint: it never identifies a node, it only says which dead member a blank board probably was.

use std::{fs, path::Path};

use crate::config::Config;

const CONTEXT: &str = "rusty-kv 2026-11 board hint";
const SERIAL: &str = "/sys/firmware/devicetree/base/serial-number";
const MACHINE_ID: &str = "/etc/machine-id";

/// Never 0, which stands for none on the wire.
pub fn hint(config: &Config) -> Option<u64> {
    let name = match &config.board {
        Some(name) => name.clone().into_bytes(),
        None => [SERIAL, MACHINE_ID].iter().find_map(|path| read(Path::new(path)))?,
    };
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(config.cluster_name.as_str().as_bytes()).update(&[0]).update(&name);
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    Some(u64::from_be_bytes(first).max(1))
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let text: Vec<u8> = fs::read(path).ok()?.into_iter().filter(|byte| byte.is_ascii_graphic()).collect();
    (!text.is_empty()).then_some(text)
}
