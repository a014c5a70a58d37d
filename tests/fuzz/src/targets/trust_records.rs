//! Whom the state says that the cluster trusts, as a disk or a snapshot brings it, and changes of it.

use raft::{Entry, LogId, Payload, Term};
use replica::{
    AuthorityRecord, Command, Operation, TokenGrant, TokenRecord, TrustChange,
    state::{self, AUTHORITIES_MAX, TOKENS_MAX},
};
use storage::{MemState, StateStore, Write};

use crate::script::Script;

const RECORDS_MAX: u64 = 6;
const CHANGES_MAX: u64 = 24;

/// Reading finds what is there or says that it is malformed. Changes mean the same in one batch as one by one; the tables stay within their bounds,
/// and the time never goes back.
pub fn trust_records(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let applied = LogId::new(Term(1), 5);
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = (0..script.below(RECORDS_MAX)).map(|_| record(&mut script)).collect();
    let is_full = script.byte() > 200;
    let mut changes: Vec<TrustChange> = (0..script.below(CHANGES_MAX)).map(|_| change(&mut script)).collect();
    if is_full {
        // A full table takes more entries than a short script says; the cluster is founded before.
        let filler = (0..TOKENS_MAX).map(|number| TrustChange::AddToken(token(100 + number as u8, 0)));
        changes.splice(changes.len().min(1)..changes.len().min(1), filler);
    }
    let entries: Vec<Entry> = changes.into_iter().zip(applied.index + 1..).map(|(change, index)| entry(change, index)).collect();
    let states = [MemState::new(), MemState::new()];
    for state in &states {
        let writes = pairs.iter().map(|(key, value)| Write::Put(key.clone(), value.clone())).collect();
        state.write(writes, applied).expect("memory can be written");
    }
    let [one, other] = &states;
    read(one);
    if entries.is_empty() {
        return;
    }
    let at_once = state::apply(one, &entries);
    let one_by_one = entries.iter().try_for_each(|entry| {
        let before = read(other);
        let applied = state::apply(other, std::slice::from_ref(entry)).map(drop);
        if let (Some(Some(before)), Some(Some(after))) = (before, read(other)) {
            assert!(after.time >= before.time, "time goes back");
            assert_eq!(after.shown().hash, after.shown, "the one shown is gone");
            assert!(!after.authorities.is_empty() || before.authorities.is_empty(), "the last authority is gone");
            assert!(after.authorities.len() <= before.authorities.len().max(AUTHORITIES_MAX), "too many authorities");
        }
        applied
    });
    match (at_once, one_by_one) {
        (Ok(_), Ok(())) => assert_eq!(state::position(one).ok(), state::position(other).ok(), "batches matter"),
        (Err(_), Err(_)) => return,
        (at_once, one_by_one) => panic!("{at_once:?} at once, {one_by_one:?} one by one"),
    }
    assert_eq!(read(one), read(other), "batches matter");
}

fn read(state: &dyn StateStore) -> Option<Option<state::Trust>> {
    if let Ok(tokens) = state::tokens(state) {
        assert!(tokens.len() <= TOKENS_MAX && tokens.is_sorted_by_key(|token| token.id), "tokens in disorder");
        for token in tokens {
            assert_eq!(state::token(state, token.id).ok(), Some(Some(token)), "a token that is listed cannot be found");
        }
    }
    let trust = state::trust(state).ok();
    assert!(!format!("{trust:?}").contains("170, 170, 170"), "debug output shows a private key");
    trust
}

/// Under the two names that mean something, mostly in their form.
fn record(script: &mut Script<'_>) -> (Vec<u8>, Vec<u8>) {
    let key = match script.below(4) {
        0 => b"tcluster".to_vec(),
        1 => [b"ttoken", script.piece()].concat(),
        _ => [b"ttoken", &[script.below(4) as u8; 8][..]].concat(),
    };
    let format = if script.byte() < 240 { 1 } else { script.byte() };
    let body = match script.below(3) {
        0 => script.piece().to_vec(),
        1 => {
            let authorities: Vec<AuthorityRecord> = (0..script.below(4)).map(|_| authority(script)).collect();
            // One that is not among them makes the record malformed.
            let shown = [script.below(3) as u8; 32];
            let trust = state::Trust { authorities, shown, voters_wanted: script.byte(), time: script.near(50) };
            postcard::to_stdvec(&trust).expect("it has a form")
        }
        _ => {
            let (id, kind) = (script.below(4) as u8, script.byte());
            postcard::to_stdvec(&token(id, kind)).expect("it has a form")
        }
    };
    (key, [&[format], &body[..]].concat())
}

fn entry(change: TrustChange, index: u64) -> Entry {
    let command: Command = Command { session: None, operation: Operation::Trust(change) };
    Entry { id: LogId::new(Term(1), index), payload: Payload::Command(command.encode().into()) }
}

fn change(script: &mut Script<'_>) -> TrustChange {
    let id = [script.below(4) as u8; 8];
    match script.below(13) {
        0..=1 => TrustChange::Found { authority: authority(script), voters_wanted: script.byte(), at: script.near(50) },
        2..=3 => TrustChange::AddAuthority(authority(script)),
        4 => TrustChange::DropAuthority { hash: [script.below(3) as u8; 32] },
        5 => TrustChange::WantVoters(script.byte()),
        6..=7 => TrustChange::AddToken(token(id[0], script.byte())),
        8 => TrustChange::RevokeToken { id },
        9..=10 => TrustChange::UseToken { id, at: script.near(50) },
        11 => TrustChange::ShowNewest,
        _ => TrustChange::Time { at: script.near(50) },
    }
}

fn authority(script: &mut Script<'_>) -> AuthorityRecord {
    let length = if script.byte() == 255 { 9 << 10 } else { 3 };
    AuthorityRecord { hash: [script.below(3) as u8; 32], cert: vec![1; length], key: vec![0xaa; 3] }
}

fn token(id: u8, kind: u8) -> TokenRecord {
    let grants = match kind % 4 {
        0 => TokenGrant::Node,
        1 => TokenGrant::Client { role: kind, prefix: vec![b'a'; 9 << 10] },
        _ => TokenGrant::Client { role: kind % 3, prefix: b"garden/".to_vec() },
    };
    let expires = (kind & 16 != 0).then_some(u64::from(kind));
    TokenRecord { id: [id; 8], secret_hash: [0xaa; 32], grants, expires, uses_left: (kind & 32 != 0).then_some(u32::from(kind >> 6)) }
}
