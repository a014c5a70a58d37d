//! Commands as the log keeps them: what went in comes out, and whatever else is found there is an error, never a panic.

use replica::{
    AuthorityRecord, Command, Condition, KEY_MAX_BYTES, Key, KeySize, Operation, Stamp, TokenGrant, TokenRecord, TrustChange, TrustOutcome,
    Value,
    state::{Meta, Outcome},
};

fn some_commands() -> Vec<Command> {
    let short = Key::new(*b"k").unwrap();
    let long = Key::new(vec![0xff; KEY_MAX_BYTES]).unwrap();
    let operations = [
        Operation::Put { key: short.clone(), value: Value::Inline(Vec::new()), condition: Condition::Always, expires: None },
        Operation::Put {
            key: long.clone(),
            value: Value::Blob { hash: [7; 32], size: u64::MAX },
            condition: Condition::Revision(u64::MAX),
            expires: Some(9),
        },
        Operation::Delete { key: short, condition: Condition::Absent },
        Operation::Delete { key: long, condition: Condition::Revision(0) },
    ];
    let operations: Vec<Operation> = operations.into_iter().chain(changes_of_trust().into_iter().map(Operation::Trust)).collect();
    let stamps = [None, Some(Stamp { session: u64::MAX, opened: 3, serial: 1 })];
    operations.iter().flat_map(|operation| stamps.map(|session| Command { session, operation: operation.clone() })).collect()
}

fn changes_of_trust() -> Vec<TrustChange> {
    let authority = AuthorityRecord { hash: [7; 32], cert: vec![1; 300], key: vec![2; 130] };
    let client = TokenGrant::Client { role: 2, prefix: b"cam/".to_vec() };
    let token = TokenRecord { id: [3; 8], secret_hash: [4; 32], grants: client, expires: Some(u64::MAX), uses_left: Some(1) };
    vec![
        TrustChange::Found { authority: authority.clone(), voters_wanted: 3, at: 1 << 40 },
        TrustChange::AddAuthority(authority),
        TrustChange::DropAuthority { hash: [7; 32] },
        TrustChange::WantVoters(u8::MAX),
        TrustChange::AddToken(TokenRecord { grants: TokenGrant::Node, expires: None, uses_left: None, ..token.clone() }),
        TrustChange::AddToken(token),
        TrustChange::RevokeToken { id: [3; 8] },
        TrustChange::UseToken { id: [3; 8], at: 9 },
        TrustChange::Time { at: u64::MAX },
        TrustChange::ShowNewest,
    ]
}

/// What is in logs and session tables already must go on to mean the same.
#[test]
fn commands_and_outcomes_of_the_first_version_have_the_bytes_they_always_had() {
    let stamp = Some(Stamp { session: 300, opened: 3, serial: 1 });
    let key = Key::new(*b"key").unwrap();
    let put = Operation::Put { key: key.clone(), value: Value::Inline(b"v".to_vec()), condition: Condition::Revision(9), expires: None };
    let fixed: [(Command, &[u8]); 3] = [
        (Command { session: stamp, operation: put }, &[1, 1, 0xac, 2, 3, 1, 0, 3, b'k', b'e', b'y', 0, 1, b'v', 2, 9, 0]),
        (Command { session: None, operation: Operation::Delete { key, condition: Condition::Always } }, &[1, 0, 1, 3, b'k', b'e', b'y', 0]),
        (Command { session: None, operation: Operation::Collect }, &[1, 0, 2]),
    ];
    for (command, bytes) in fixed {
        assert_eq!(command.encode(), bytes);
        assert_eq!(Command::decode(bytes).unwrap().owned(), command);
    }
    let meta = Meta { created: 1, modified: 2, size: 300, blob: None };
    let fixed: [(Outcome, &[u8]); 7] = [
        (Outcome::Done(Some(meta)), &[0, 1, 1, 2, 0xac, 2, 0]),
        (Outcome::ConditionFalse(None), &[1, 0]),
        (Outcome::Absent, &[2]),
        (Outcome::Expired { index: 5 }, &[3, 5]),
        (Outcome::Superseded, &[4]),
        (Outcome::Housekeeping, &[5]),
        (Outcome::Trust(TrustOutcome::TokenUsedUp), &[6, 4]),
    ];
    for (outcome, bytes) in fixed {
        assert_eq!(postcard::to_stdvec(&outcome).unwrap(), bytes);
        assert_eq!(postcard::from_bytes::<Outcome>(bytes).unwrap(), outcome);
    }
}

#[test]
fn a_cluster_short_of_room_still_decides_whom_it_trusts() {
    for change in changes_of_trust() {
        let command: Command = Command { session: None, operation: Operation::Trust(change) };
        assert!(!command.needs_room() && command.needs_blob().is_none());
    }
}

#[test]
fn a_command_comes_back_as_it_went_in() {
    for command in some_commands() {
        assert_eq!(Command::decode(&command.encode()).unwrap().owned(), command);
    }
}

#[test]
fn a_command_cut_short_or_with_something_behind_it_is_malformed() {
    for command in some_commands() {
        let bytes = command.encode();
        for end in 0..bytes.len() {
            assert!(Command::decode(&bytes[..end]).is_err(), "{end} of {} bytes", bytes.len());
        }
        assert!(Command::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
}

#[test]
fn a_command_of_a_later_format_is_refused_not_guessed() {
    let mut bytes = some_commands()[0].encode();
    bytes[0] += 1;
    assert!(Command::decode(&bytes).unwrap_err().to_string().contains("unknown format"));
}

#[test]
fn damaged_bytes_are_malformed_or_a_command_but_no_panic() {
    let mut seed = 1u64;
    let mut draw = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    let commands: Vec<Vec<u8>> = some_commands().iter().map(Command::encode).collect();
    for round in 0..50_000 {
        let mut bytes = match round % 2 {
            0 => (0..draw() % 80).map(|_| draw() as u8).collect(),
            _ => commands[draw() % commands.len()].clone(),
        };
        if !bytes.is_empty() {
            let at = draw() % bytes.len().min(60);
            bytes[at] = draw() as u8;
            bytes[0] = 1;
        }
        if let Ok(command) = Command::decode(&bytes) {
            assert_eq!(Command::decode(&command.encode()).unwrap(), command);
        }
    }
}

#[test]
fn a_key_has_one_to_4096_bytes_also_when_it_comes_from_a_log() {
    assert_eq!(Key::new(Vec::new()).unwrap_err(), KeySize { bytes: 0 });
    assert_eq!(Key::new(vec![0; KEY_MAX_BYTES + 1]).unwrap_err(), KeySize { bytes: 4097 });
    // Format 1, no session, a delete, the key, no condition.
    let delete = |key_len: &[u8], key: &[u8]| [&[1, 0, 1][..], key_len, key, &[0]].concat();
    assert!(Command::decode(&delete(&[1], b"k")).is_ok());
    assert!(Command::decode(&delete(&[0x80, 0x20], &[5; 4096])).is_ok());
    assert!(Command::decode(&delete(&[0], b"")).is_err());
    assert!(Command::decode(&delete(&[0x81, 0x20], &[5; 4097])).is_err());
}
