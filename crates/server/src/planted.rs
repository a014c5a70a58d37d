//! Faults that a control build can be told to have, so that the tests that look for them can be seen to find them.
//!
//! In no other build is there such a variable, nor the faults. One control build serves all of them.

use std::env;
use std::sync::OnceLock;

/// Names at most one fault; unset or empty, a control build is as honest as any other.
const VARIABLE: &str = "RUSTY_KV_PLANTED";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The name of a blob is not synced before the node says that it has it.
    NoDirectorySync,
    /// A node that does not lead serves reads from what it has applied, and asks nobody.
    LocalReads,
}

static CHOSEN: OnceLock<Planted> = OnceLock::new();

impl Planted {
    const ALL: &[(&str, Planted)] = &[("no-directory-sync", Planted::NoDirectorySync), ("local-reads", Planted::LocalReads)];

    /// What the environment asks for.
    pub fn chosen() -> Result<Option<Planted>, String> {
        log::warn!("this is a control build for tests: it can be told to lose data, and must not serve anybody");
        let name = env::var(VARIABLE).unwrap_or_default();
        if name.is_empty() {
            return Ok(None);
        }
        let known = Planted::ALL.iter().find(|(known, _)| *known == name);
        let (name, planted) = known.ok_or_else(|| format!("{VARIABLE}={name} names no fault"))?;
        log::warn!(fault = *name; "a fault is planted");
        Ok(Some(*CHOSEN.get_or_init(|| *planted)))
    }

    /// Whether this process was told to have it.
    pub fn is_chosen(self) -> bool {
        CHOSEN.get() == Some(&self)
    }
}
