//! What anybody on the LAN may announce, and lists of addresses.

use std::collections::BTreeMap;

use discovery::{Record, TXT_LIMIT_BYTES, parse_peers};

use crate::script::Script;

/// A record that is accepted is short, printable and the same after another round.
pub fn discovery_record(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes) {
        match parse_peers(text) {
            Ok(peers) => assert!(!peers.is_empty(), "a list of nobody"),
            Err(error) => assert!(!error.to_string().is_empty(), "a refusal without a word"),
        }
    }
    let mut script = Script::new(bytes);
    let mut strings = BTreeMap::new();
    while !script.is_over() {
        let key = char::from(script.byte()).to_string();
        strings.insert(key, script.piece());
    }
    match Record::parse(|key| strings.get(key).copied()) {
        Ok(record) => {
            let told = record.to_txt();
            let length: usize = told.iter().map(|(key, value)| 1 + key.len() + 1 + value.len()).sum();
            assert!(length < TXT_LIMIT_BYTES, "a record of {length} bytes");
            assert!(told.iter().all(|(_, value)| value.chars().all(|c| c.is_ascii_graphic())), "it cannot be printed");
            let again = Record::parse(|key| told.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_bytes()));
            assert_eq!(again, Ok(record), "a record is another one after a round");
        }
        Err(error) => assert!(!error.to_string().is_empty(), "a refusal without a word"),
    }
}
