//! The layer of the environment: `RUSTY_KV_<SECTION>_<KEY>`.

use std::ffi::OsString;

use super::fault::Source;
use super::key::{KEYS, SECTIONS};
use super::nearest;
use super::settings::Settings;

/// Takes what is set, and faults variables that were meant for a key that does not exist. Others with the prefix, such
/// as the client's `RUSTY_KV_ADDR`, are not ours.
pub fn read(vars: &[(OsString, OsString)], settings: &mut Settings) {
    let mut ours: Vec<(&str, &OsString)> = vars.iter().filter_map(|(name, value)| Some((name.to_str()?, value))).collect();
    ours.retain(|(name, _)| name.starts_with("RUSTY_KV_"));
    ours.sort();
    for (name, value) in ours {
        let source = Source::Env(name.to_owned());
        let Some(key) = KEYS.into_iter().find(|key| key.env() == name) else {
            let meant = nearest::env(name);
            let has_section = SECTIONS.iter().any(|(section, _)| name.starts_with(&format!("RUSTY_KV_{}_", section.to_uppercase())));
            if meant.is_some() || has_section {
                let advice = meant.map_or_else(
                    || "variables are RUSTY_KV_SECTION_KEY, as RUSTY_KV_NODE_PORT for node.port".to_owned(),
                    |key| format!("did you mean {}?", key.env()),
                );
                settings.fault(source, "unknown key", advice);
            }
            continue;
        };
        settings.set_text(key, value, source);
    }
}
