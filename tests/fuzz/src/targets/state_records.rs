//! The state's records, as a disk or a snapshot brings them, and entries applied on top of them.

use raft::{Entry, LogId, Membership, NodeId, Payload, Term};
use replica::{
    Command, Condition, Key, Operation, Stamp, Value,
    state::{self, Rules},
};
use storage::{MemState, StateStore, Write};

use crate::script::Script;

const ENTRIES_MAX: u64 = 12;
const PAGE_ITEMS: usize = 4;
/// Small, so that few entries come to what takes thousands.
const RULES: Rules = Rules { hash_period: 4, sessions_max: 3 };

/// Reading finds what is there or says that it is malformed; applying is the same function on two equal states.
pub fn state_records(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let applied = LogId::new(Term(script.near(3)), script.near(8));
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = (0..script.below(16)).map(|_| (key(&mut script), script.piece().to_vec())).collect();
    let entries = entries(applied, &mut script);
    let states = [MemState::new(), MemState::new()];
    for state in &states {
        let writes = pairs.iter().map(|(key, value)| Write::Put(key.clone(), value.clone())).collect();
        state.write(writes, applied).expect("memory can be written");
        read(state, &pairs);
    }
    if entries.is_empty() {
        return;
    }
    let [one, other] = &states;
    let at_once = state::apply_by(&RULES, one, &entries);
    let one_by_one = entries.iter().try_for_each(|entry| state::apply_by(&RULES, other, std::slice::from_ref(entry)).map(drop));
    match (at_once, one_by_one) {
        (Ok(_), Ok(())) => assert_eq!(state::position(one).ok(), state::position(other).ok(), "batches matter"),
        (Err(_), Err(_)) => {}
        (at_once, one_by_one) => panic!("{at_once:?} at once, {one_by_one:?} one by one"),
    }
    read(one, &pairs);
}

/// Mostly under the prefixes that mean something.
fn key(script: &mut Script<'_>) -> Vec<u8> {
    let prefix: &[u8] = match script.below(10) {
        0..=1 => b"k",
        2 => b"r",
        3..=4 => b"s",
        5 => b"x",
        6 => return b"mmembership".to_vec(),
        7..=8 => return b"mtally".to_vec(),
        _ => b"",
    };
    let rest = match script.below(4) {
        0 => &[0, 0, 0, 0, 0, 0, 0, 1],
        _ => script.piece(),
    };
    [prefix, rest].concat()
}

fn read(state: &dyn StateStore, pairs: &[(Vec<u8>, Vec<u8>)]) {
    // Errors are answers here: what counts is that they come back.
    let _ = (state::position(state), state::membership(state), state::collect(state), state::state_hash(state));
    let _ = (state::list(state, b"", b"", PAGE_ITEMS, usize::MAX), state::is_removed(state, NodeId(1)));
    if let Ok(blobs) = state::blobs(state, None, PAGE_ITEMS) {
        assert!(blobs.is_sorted() && blobs.len() <= PAGE_ITEMS, "blobs in disorder");
        for blob in blobs {
            assert!(state::refers_to(state, &blob.hash).expect("memory can be read"), "a blob that nothing refers to");
            let _ = (state::keys_of_blob(state, &blob.hash, PAGE_ITEMS), state::blobs(state, Some(blob.hash), PAGE_ITEMS));
        }
    }
    for (key, _) in pairs {
        let Some((_, name)) = key.split_first() else { continue };
        let _ = state::list(state, &name[..name.len() / 2], name, PAGE_ITEMS, usize::MAX);
        if let Ok(key) = Key::new(name) {
            let _ = state::get(state, &key);
        }
    }
}

fn entries(applied: LogId, script: &mut Script<'_>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for _ in 0..script.below(ENTRIES_MAX) {
        let before = entries.last().map_or(applied, |entry: &Entry| entry.id);
        // No log reaches its last possible index.
        let Some(index) = before.index.checked_add(1) else { break };
        let payload = match script.below(8) {
            0 => Payload::Noop,
            1 => Payload::Membership(Membership::of_voters((0..script.below(4)).map(|_| NodeId(script.below(5))))),
            2 => Payload::Command(script.piece().into()),
            _ => Payload::Command(command(index, script).encode().into()),
        };
        entries.push(Entry { id: LogId { index, ..before }, payload });
    }
    entries
}

fn command(index: u64, script: &mut Script<'_>) -> Command {
    let key = Key::new([b'a' + script.below(3) as u8]).expect("a byte is a key");
    let condition = match script.below(4) {
        0 => Condition::Absent,
        1 => Condition::Revision(script.near(index)),
        _ => Condition::Always,
    };
    let operation = match script.below(8) {
        0 => Operation::Collect,
        1..=2 => Operation::Delete { key, condition },
        3..=4 => {
            let value = Value::Blob { hash: [script.below(3) as u8; 32], size: script.near(1 << 20) };
            Operation::Put { key, value, condition, expires: None }
        }
        _ => Operation::Put { key, value: Value::Inline(vec![script.byte()]), condition, expires: None },
    };
    let session = script.flag().then(|| Stamp { session: script.below(6), opened: script.near(index), serial: script.below(4) });
    Command { session, operation }
}
