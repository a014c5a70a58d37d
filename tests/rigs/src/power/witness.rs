//! What nodes have told of themselves, held against what they tell later.
//!
//! A node logs its term and vote, and how far its log reaches, after they are synced and before anybody hears of them; that it drops entries,
//! before it does; and what it finds on its disk when it starts. The file that this goes to does not lie on its card, so it survives every cut.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use proto::v1::{Role, StatusResponse};

use crate::node::Node;

/// What a node's environment needs for it to tell.
pub const LOG_FILTER: (&str, &str) = ("RUST_LOG", "info,server::engine::persist=debug");
/// A sync of at least this much counts as large.
const LARGE_SYNC_BYTES: u64 = 1 << 20;

#[derive(Debug, Default)]
pub struct Witness {
    nodes: Vec<Told>,
    /// By term.
    leaders: BTreeMap<u64, u64>,
    /// Terms and votes that nodes told of after a sync.
    pub hard_states: u64,
    pub large_syncs: u64,
    pub largest_sync_bytes: u64,
}

#[derive(Debug)]
struct Told {
    name: String,
    log: PathBuf,
    offset: u64,
    hard: Option<HardState>,
    /// The end of what it has synced of its log.
    last: u64,
    /// Its node id, told to others from the moment it listens.
    id: Option<String>,
    /// How often it opened its log and said what it found.
    openings: u64,
}

/// What one line told.
enum Heard {
    Sync { bytes: u64 },
    HardState,
    Other,
}

#[derive(Clone, Debug, PartialEq)]
struct HardState {
    term: u64,
    vote: Option<String>,
}

impl Witness {
    pub fn new(nodes: &[Node]) -> Witness {
        let told = |node: &Node| Told {
            name: node.name.clone(),
            log: node.log_path().into(),
            offset: 0,
            hard: None,
            last: 0,
            id: None,
            openings: 0,
        };
        Witness { nodes: nodes.iter().map(told).collect(), ..Witness::default() }
    }

    /// Reads what the nodes have logged since the last time.
    pub fn hear_logs(&mut self) -> Result<(), String> {
        for node in &mut self.nodes {
            for line in node.new_lines() {
                match node.hear(&line)? {
                    Heard::Sync { bytes } => {
                        self.large_syncs += u64::from(bytes >= LARGE_SYNC_BYTES);
                        self.largest_sync_bytes = self.largest_sync_bytes.max(bytes);
                    }
                    Heard::HardState => self.hard_states += 1,
                    Heard::Other => {}
                }
            }
        }
        Ok(())
    }

    /// Whoever leads has the votes of a quorum.
    pub fn hear(&mut self, status: &StatusResponse) -> Result<(), String> {
        if status.role() != Role::Leader {
            return Ok(());
        }
        let first = *self.leaders.entry(status.term).or_insert(status.node_id);
        match first == status.node_id {
            true => Ok(()),
            false => Err(format!("term {} has two leaders: {first:016x} and {:016x}", status.term, status.node_id)),
        }
    }

    /// The term that this node had on its disk when it was last heard.
    pub fn term_of(&self, index: usize) -> u64 {
        self.nodes[index].hard.as_ref().map_or(0, |hard| hard.term)
    }

    /// The node's board was wiped: whatever it tells from now on, it tells as another node.
    pub fn forget(&mut self, index: usize) {
        let told = &mut self.nodes[index];
        (told.hard, told.last, told.id) = (None, 0, None);
    }

    pub fn openings_of(&self, index: usize) -> u64 {
        self.nodes[index].openings
    }

    pub fn terms_with_leader(&self) -> usize {
        self.leaders.len()
    }
}

impl Told {
    fn new_lines(&mut self) -> Vec<String> {
        let mut bytes = Vec::new();
        let read = File::open(&self.log).and_then(|mut log| {
            log.seek(SeekFrom::Start(self.offset))?;
            log.read_to_end(&mut bytes)
        });
        // A line still being written is for the next time.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if read.is_ok() {
            self.offset += whole as u64;
        }
        String::from_utf8_lossy(&bytes[..whole]).lines().map(String::from).collect()
    }

    fn hear(&mut self, line: &str) -> Result<Heard, String> {
        if line.contains("persist: synced ") {
            self.last = number(line, "last=")?;
            return Ok(Heard::Sync { bytes: number(line, "bytes=")? });
        }
        if line.contains("term and vote are on the disk") {
            self.must_not_go_back(line)?;
            return Ok(Heard::HardState);
        }
        if line.contains("the leader has replaced entries") {
            self.last = self.last.min(number(line, "from=")?.saturating_sub(1));
        } else if line.contains("found on the disk") {
            self.must_not_go_back(line)?;
            self.must_not_be_shorter(line)?;
            self.openings += 1;
        } else if line.contains("run: listening ") {
            self.must_stay(line)?;
        }
        Ok(Heard::Other)
    }

    /// What is found counts as synced from then on, and the node may acknowledge it: the next start must find it again.
    fn must_not_be_shorter(&mut self, line: &str) -> Result<(), String> {
        let before = std::mem::replace(&mut self.last, number(line, "last=")?);
        match self.last >= before {
            true => Ok(()),
            false => Err(format!("{} had synced its log up to {before}, and finds it ending at {}", self.name, self.last)),
        }
    }

    fn must_stay(&mut self, line: &str) -> Result<(), String> {
        let now = word(line, "node=").ok_or_else(|| format!("no node id in: {line}"))?;
        match self.id.replace(now.to_owned()) {
            Some(before) if before != now => Err(format!("{} was node {before}, then {now}", self.name)),
            _ => Ok(()),
        }
    }

    fn must_not_go_back(&mut self, line: &str) -> Result<(), String> {
        let vote = word(line, "vote=").ok_or_else(|| format!("no vote in: {line}"))?;
        let now = HardState { term: number(line, "term=")?, vote: (vote != "nobody").then(|| vote.to_owned()) };
        if let Some(before) = self.hard.replace(now.clone()) {
            let kept = now.term > before.term || now.term == before.term && (before.vote.is_none() || before.vote == now.vote);
            if !kept {
                return Err(format!("{} had {before:?} on its disk, then {now:?}", self.name));
            }
        }
        Ok(())
    }
}

fn number(line: &str, name: &str) -> Result<u64, String> {
    word(line, name).and_then(|word| word.parse().ok()).ok_or_else(|| format!("no {name} in: {line}"))
}

fn word<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(' ').find_map(|word| word.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(lines: &[&str]) -> Result<Told, String> {
        let mut told = Told { name: "node1".into(), log: PathBuf::new(), offset: 0, hard: None, last: 0, id: None, openings: 0 };
        for line in lines {
            told.hear(&format!("2026-11-23T15:10:25.397Z INFO  server::{line}"))?;
        }
        Ok(told)
    }

    #[test]
    fn terms_rise_and_a_vote_is_given_once_in_each() {
        let told = hear(&[
            "run: listening listen=127.0.0.1:1 node=0a name=x",
            "membership: found on the disk term=0 vote=nobody last=0",
            "engine::persist: term and vote are on the disk term=1 vote=nobody",
            "engine::persist: term and vote are on the disk term=1 vote=0a",
            "run: listening listen=127.0.0.1:1 node=0a name=x",
            "membership: found on the disk term=1 vote=0a last=7",
            "engine::persist: term and vote are on the disk term=3 vote=0b",
            "membership: found on the disk term=4 vote=nobody last=7",
        ]);
        assert_eq!(told.unwrap().openings, 3);
    }

    #[test]
    fn what_a_node_takes_back_is_noticed() {
        let on_disk = "engine::persist: term and vote are on the disk term=3 vote=0b";
        for after in [
            "membership: found on the disk term=2 vote=0b last=7",
            "membership: found on the disk term=3 vote=nobody last=7",
            "membership: found on the disk term=3 vote=0c last=7",
            "engine::persist: term and vote are on the disk term=3 vote=0c",
        ] {
            assert!(hear(&[on_disk, after]).is_err(), "{after}");
        }
        let listening = |id: &str| format!("run: listening listen=127.0.0.1:1 node={id} name=x");
        assert!(hear(&[&listening("0a"), &listening("0b")]).is_err());
    }

    #[test]
    fn a_log_that_comes_back_shorter_is_noticed_unless_the_leader_has_cut_it() {
        let synced = "engine::persist: synced batches=1 bytes=100 last=9";
        let found = |last| format!("membership: found on the disk term=1 vote=nobody last={last}");
        assert!(hear(&[synced, &found(9), &found(10), &found(10)]).is_ok());
        assert!(hear(&[synced, &found(8)]).is_err());
        assert!(hear(&[&found(10), &found(9)]).is_err(), "it may have acknowledged what it found");
        let cut = "engine::persist: the leader has replaced entries that were not committed from=7";
        assert!(hear(&[synced, cut, &found(6)]).is_ok());
        assert!(hear(&[synced, cut, &found(5)]).is_err());
        assert!(hear(&[synced, cut, "engine::persist: synced batches=1 bytes=100 last=8", &found(7)]).is_err());
    }

    #[test]
    fn a_line_that_does_not_say_what_it_should_is_a_fault_of_the_rig() {
        assert!(hear(&["membership: found on the disk last=7"]).is_err());
        assert!(hear(&["engine::persist: synced batches=1 bytes=7"]).is_err());
    }

    #[test]
    fn two_leaders_of_a_term_are_noticed() {
        let led_by = |node_id, term| StatusResponse { node_id, term, role: Role::Leader.into(), ..StatusResponse::default() };
        let mut witness = Witness::default();
        witness.hear(&led_by(1, 5)).unwrap();
        witness.hear(&led_by(2, 6)).unwrap();
        witness.hear(&led_by(1, 5)).unwrap();
        assert!(witness.hear(&led_by(2, 5)).is_err());
    }
}
