//! What a node says of itself: the TXT record of its announcement.
//!
//! Invariants:
//! - A record is less than 200 bytes, so an announcement with a few addresses fits one Ethernet frame.
//! - Keys are one letter: `v` protocol version, `c` cluster name, `i` cluster id, `n` node id, `h` node name, `s` state, `b` board hint.
//!   An absent key equals an empty value. Keys that are not known are ignored, so that later versions may add some.
//! - Parsing judges form only. A record of another protocol version or cluster is a good record: its reader decides what it means.

use std::fmt;
use std::str::FromStr;

use crate::name::{BadName, ClusterName, NodeName};

/// The version of the protocol between nodes that this build speaks.
pub const PROTOCOL_VERSION: u16 = 1;
/// An encoded record is shorter than this.
pub const TXT_LIMIT_BYTES: usize = 200;

/// One node's own words, unproven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub protocol_version: u16,
    pub cluster_name: ClusterName,
    /// None until formed.
    pub cluster_id: Option<[u8; 16]>,
    pub node_id: u64,
    pub node_name: NodeName,
    pub state: State,
    /// Keyed hash of the board's serial number; reserved.
    pub board_hint: Option<u64>,
}

/// How far a node has come in forming a cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// No state, no promise.
    Blank,
    /// Promised to one set of nodes, not started.
    Promised,
    /// Member of a cluster, now or once.
    Formed,
}

/// Why a TXT record is not one of ours.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    #[error("`{0}` is not text")]
    NotText(&'static str),
    #[error("`{key}` is not {expected}")]
    Field { key: &'static str, expected: &'static str },
    #[error("`{key}`: {why}")]
    Name { key: &'static str, why: BadName },
}

impl Record {
    /// Reads a record; `value` yields the bytes of a key, None if the key is absent or has no value.
    pub fn parse<'a>(value: impl Fn(&str) -> Option<&'a [u8]>) -> Result<Record, Malformed> {
        let text = |key: &'static str| str::from_utf8(value(key).unwrap_or_default()).map_err(|_| Malformed::NotText(key));
        Ok(Record {
            protocol_version: text("v")?.parse().map_err(|_| Malformed::Field { key: "v", expected: "a version number" })?,
            cluster_name: name("c", text("c")?)?,
            cluster_id: optional("i", text("i")?, "32 hex digits", 32)?.map(u128::to_be_bytes),
            node_id: hex(text("n")?, 16).ok_or(Malformed::Field { key: "n", expected: NODE_ID_FORM })? as u64,
            node_name: name("h", text("h")?)?,
            state: text("s")?.parse()?,
            board_hint: optional("b", text("b")?, "16 hex digits", 16)?.map(|hint| hint as u64),
        })
    }

    /// The record's keys and values, in the order sent.
    pub fn to_txt(&self) -> [(&'static str, String); 7] {
        [
            ("v", self.protocol_version.to_string()),
            ("c", self.cluster_name.to_string()),
            ("i", self.cluster_id.map_or_else(String::new, |id| format!("{:032x}", u128::from_be_bytes(id)))),
            ("n", format!("{:016x}", self.node_id)),
            ("h", self.node_name.to_string()),
            ("s", self.state.to_string()),
            ("b", self.board_hint.map_or_else(String::new, |hint| format!("{hint:016x}"))),
        ]
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Blank => "blank",
            State::Promised => "promised",
            State::Formed => "formed",
        })
    }
}

impl FromStr for State {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<State, Malformed> {
        match text {
            "blank" => Ok(State::Blank),
            "promised" => Ok(State::Promised),
            "formed" => Ok(State::Formed),
            _ => Err(Malformed::Field { key: "s", expected: "blank, promised or formed" }),
        }
    }
}

const NODE_ID_FORM: &str = "16 hex digits";

/// Exactly `digits` lower-case hex digits: one number has one spelling, so equal records are equal bytes.
pub(crate) fn hex(text: &str, digits: usize) -> Option<u128> {
    let form = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    form.then(|| u128::from_str_radix(text, 16).expect("hex digits of at most 128 bits"))
}

fn optional(key: &'static str, text: &str, expected: &'static str, digits: usize) -> Result<Option<u128>, Malformed> {
    if text.is_empty() {
        return Ok(None);
    }
    hex(text, digits).map(Some).ok_or(Malformed::Field { key, expected })
}

fn name<N: FromStr<Err = BadName>>(key: &'static str, text: &str) -> Result<N, Malformed> {
    text.parse().map_err(|why| Malformed::Name { key, why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    type Txt = BTreeMap<String, Vec<u8>>;

    fn longest() -> Record {
        Record {
            protocol_version: u16::MAX,
            cluster_name: "c".repeat(crate::CLUSTER_NAME_BYTES).parse().unwrap(),
            cluster_id: Some([0xff; 16]),
            node_id: u64::MAX,
            node_name: "h".repeat(crate::NODE_NAME_BYTES).parse().unwrap(),
            state: State::Promised,
            board_hint: Some(u64::MAX),
        }
    }

    fn blank() -> Record {
        Record {
            protocol_version: 1,
            cluster_name: "garden".parse().unwrap(),
            cluster_id: None,
            node_id: 0xa1,
            node_name: "pi2".parse().unwrap(),
            state: State::Blank,
            board_hint: None,
        }
    }

    fn txt(record: &Record) -> Txt {
        record.to_txt().into_iter().map(|(key, value)| (key.to_string(), value.into_bytes())).collect()
    }

    fn parse(txt: &Txt) -> Result<Record, Malformed> {
        Record::parse(|key| txt.get(key).map(Vec::as_slice))
    }

    #[test]
    fn a_record_survives_the_wire() {
        for record in [longest(), blank()] {
            assert_eq!(parse(&txt(&record)), Ok(record));
        }
    }

    #[test]
    fn the_longest_record_is_short() {
        // RFC 6763, section 6.1: each string is one length byte and `key=value`.
        let bytes: usize = longest().to_txt().iter().map(|(key, value)| 1 + key.len() + 1 + value.len()).sum();
        assert!(bytes < TXT_LIMIT_BYTES, "{bytes} bytes");
    }

    #[test]
    fn empty_and_absent_are_the_same_and_unknown_keys_are_ignored() {
        let mut sparse = txt(&blank());
        sparse.remove("i");
        sparse.remove("b");
        sparse.insert("zz".to_string(), vec![0xff, 0]);
        assert_eq!(parse(&sparse), Ok(blank()));
    }

    #[test]
    fn each_wrong_field_is_named() {
        let wrong: [(&str, &[u8]); 14] = [
            ("v", b""),
            ("v", b"-1"),
            ("v", b"65536"),
            ("c", b""),
            ("c", b"two words"),
            ("i", b"abc"),
            ("i", b"+0000000000000000000000000000001"),
            ("n", b""),
            ("n", b"00000000000000A1"),
            ("n", b"a1"),
            ("h", b"\x1b[2J"),
            ("s", b"Formed"),
            ("b", b"12345678123456789"),
            ("h", b"\xff\xfe"),
        ];
        for (key, value) in wrong {
            let mut bad = txt(&blank());
            bad.insert(key.to_string(), value.to_vec());
            let why = parse(&bad).expect_err(key).to_string();
            assert!(why.contains(&format!("`{key}`")), "{key}={value:?}: {why}");
        }
    }

    /// A stranger sends whatever he likes. Mutations of a good record reach further into the parser than pure noise.
    #[test]
    fn noise_is_refused_or_reads_as_what_it_says() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % below as u64) as usize
        };
        let mut accepted = 0;
        for round in 0..100_000 {
            let mut noise = txt(&if round % 2 == 0 { blank() } else { longest() });
            for _ in 0..=random(3) {
                let key = ["v", "c", "i", "n", "h", "s", "b", "q"][random(8)].to_string();
                let value = noise.entry(key).or_default();
                match random(4) {
                    0 => *value = (0..random(70)).map(|_| random(256) as u8).collect(),
                    1 if !value.is_empty() => {
                        let at = random(value.len());
                        value[at] = random(256) as u8;
                    }
                    2 => value.push(random(128) as u8),
                    _ => value.truncate(random(value.len() + 1)),
                }
            }
            if let Ok(record) = parse(&noise) {
                accepted += 1;
                assert_eq!(parse(&txt(&record)), Ok(record.clone()));
                assert!(
                    record.to_txt().iter().all(|(key, value)| noise.get(*key).is_none_or(|sent| *key == "v" || sent == value.as_bytes()))
                );
            }
        }
        assert!((1_000..99_000).contains(&accepted), "the noise must reach both outcomes: {accepted} accepted");
    }
}
