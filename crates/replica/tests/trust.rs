//! Whom the cluster trusts, over the engine in memory: what each change does, what it leaves alone, and that nothing else gets at it.

use std::sync::Arc;

use raft::{Entry, LogId, Payload, Term};
use replica::{
    AuthorityRecord, Command, Condition, KEY_MAX_BYTES, Key, Operation, Stamp, TokenGrant, TokenId, TokenRecord, Trust, TrustChange,
    TrustOutcome::{self, Changed, TokenExpired, TokenUnknown, TokenUsedUp, TooMany, Unchanged},
    Value,
    state::{self, AUTHORITIES_MAX, AUTHORITY_MAX_BYTES, Outcome, Rules, TOKENS_MAX},
};
use storage::{MemHome, MemState, Pair, Scan, StateHome, StateStore, Write};

/// When the clusters of these stories are founded.
const START: u64 = 1_000;

fn authority(name: u8) -> AuthorityRecord {
    AuthorityRecord { hash: [name; 32], cert: vec![name, 1, 2], key: vec![0xa7; 5] }
}

fn found(name: u8, voters_wanted: u8, at: u64) -> TrustChange {
    TrustChange::Found { authority: authority(name), voters_wanted, at }
}

fn id(name: u8) -> TokenId {
    [name; 8]
}

/// Without an end and for any number of uses.
fn token(name: u8) -> TokenRecord {
    TokenRecord { id: id(name), secret_hash: [0xb3; 32], grants: TokenGrant::Node, expires: None, uses_left: None }
}

fn once(name: u8) -> TokenRecord {
    TokenRecord { uses_left: Some(1), ..token(name) }
}

fn until(name: u8, end: u64) -> TokenRecord {
    TokenRecord { expires: Some(end), ..token(name) }
}

fn use_at(name: u8, at: u64) -> TrustChange {
    TrustChange::UseToken { id: id(name), at }
}

fn revoke(name: u8) -> TrustChange {
    TrustChange::RevokeToken { id: id(name) }
}

fn drop_authority(name: u8) -> TrustChange {
    TrustChange::DropAuthority { hash: [name; 32] }
}

fn bare(change: TrustChange) -> Command {
    Command { session: None, operation: Operation::Trust(change) }
}

fn put(key: &[u8], value: &[u8]) -> Command {
    let (key, value) = (Key::new(key).unwrap(), Value::Inline(value.to_vec()));
    Command { session: None, operation: Operation::Put { key, value, condition: Condition::Always, expires: None } }
}

fn delete(key: &[u8]) -> Command {
    Command { session: None, operation: Operation::Delete { key: Key::new(key).unwrap(), condition: Condition::Always } }
}

/// Numbers the commands onwards from what is applied.
fn entries(store: &dyn StateStore, commands: &[Command]) -> Vec<Entry> {
    let next = store.applied().unwrap().index + 1;
    let entry =
        |(index, command): (u64, &Command)| Entry { id: LogId::new(Term(1), index), payload: Payload::Command(command.encode().into()) };
    (next..).zip(commands).map(entry).collect()
}

fn run(store: &dyn StateStore, command: &Command) -> Outcome {
    let applied = state::apply(store, &entries(store, std::slice::from_ref(command))).unwrap();
    applied.outcomes[0].1.expect("a command has an outcome")
}

fn change(store: &dyn StateStore, change: TrustChange) -> TrustOutcome {
    match run(store, &bare(change)) {
        Outcome::Trust(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

fn founded() -> MemState {
    let store = MemState::new();
    assert_eq!(change(&store, found(1, 3, START)), Changed);
    store
}

fn trust(store: &dyn StateStore) -> Trust {
    state::trust(store).unwrap().expect("the cluster is founded")
}

/// Names of the authorities, newest first.
fn signers(store: &dyn StateStore) -> Vec<u8> {
    trust(store).authorities.iter().map(|authority| authority.hash[0]).collect()
}

/// Name of the authority that the nodes show.
fn shown(store: &dyn StateStore) -> u8 {
    trust(store).shown().hash[0]
}

fn uses_left(store: &dyn StateStore, name: u8) -> Option<u32> {
    state::token(store, id(name)).unwrap().expect("it is in the table").uses_left
}

fn pairs(store: &dyn StateStore) -> Vec<Pair> {
    store.scan(&Scan { start: Vec::new(), end: None, max_items: usize::MAX, max_bytes: usize::MAX }).unwrap()
}

/// The state but for the record that every entry moves.
fn all_but_the_tally(store: &dyn StateStore) -> Vec<Pair> {
    pairs(store).into_iter().filter(|(key, _)| key != b"mtally").collect()
}

#[test]
fn to_found_a_cluster_again_changes_nothing() {
    let store = founded();
    let before = all_but_the_tally(&store);
    assert_eq!(change(&store, found(1, 3, START)), Unchanged);
    assert_eq!(change(&store, found(2, 7, START + 9)), Unchanged, "by whomever, with whatever");
    assert_eq!(all_but_the_tally(&store), before);
    assert_eq!(trust(&store), Trust { authorities: vec![authority(1)], shown: [1; 32], voters_wanted: 3, time: START });
}

#[test]
fn before_a_cluster_is_founded_there_is_nothing_to_change() {
    let store = MemState::new();
    let early = [TrustChange::AddAuthority(authority(1)), drop_authority(1), TrustChange::WantVoters(5), TrustChange::Time { at: 7 }];
    for early in early.into_iter().chain([TrustChange::AddToken(token(1))]) {
        assert_eq!(change(&store, early.clone()), Unchanged, "{early:?}");
    }
    assert_eq!(change(&store, revoke(1)), TokenUnknown);
    assert_eq!(change(&store, use_at(1, 0)), TokenUnknown);
    assert_eq!(all_but_the_tally(&store), []);
    assert_eq!((state::trust(&store).unwrap(), state::tokens(&store).unwrap()), (None, vec![]));
}

#[test]
fn a_token_is_granted_as_often_as_it_says_and_then_no_more() {
    let store = founded();
    assert_eq!(change(&store, TrustChange::AddToken(TokenRecord { uses_left: Some(2), ..token(1) })), Changed);
    assert_eq!(change(&store, use_at(1, START)), Changed);
    assert_eq!(uses_left(&store, 1), Some(1));
    assert_eq!(change(&store, use_at(1, START)), Changed);
    for _ in 0..3 {
        assert_eq!(change(&store, use_at(1, START)), TokenUsedUp);
    }
    assert_eq!(uses_left(&store, 1), Some(0));
    change(&store, TrustChange::AddToken(token(2)));
    for _ in 0..50 {
        assert_eq!(change(&store, use_at(2, START)), Changed, "uses of this one are not counted");
    }
    assert_eq!(uses_left(&store, 2), None);
}

#[test]
fn of_several_callers_with_the_last_use_of_a_token_one_gets_it_however_they_are_batched() {
    for batch in 1..=5 {
        let store = founded();
        change(&store, TrustChange::AddToken(once(1)));
        let all: Vec<Command> = (0..5).map(|_| bare(use_at(1, START))).collect();
        let mut granted = 0;
        for some in all.chunks(batch) {
            let applied = state::apply(&store, &entries(&store, some)).unwrap();
            granted += applied.outcomes.iter().filter(|(_, outcome)| *outcome == Some(Outcome::Trust(Changed))).count();
        }
        assert_eq!(granted, 1, "in batches of {batch}");
    }
}

#[test]
fn a_retried_use_is_answered_from_memory_and_takes_no_second_one() {
    let store = founded();
    change(&store, TrustChange::AddToken(TokenRecord { uses_left: Some(2), ..token(1) }));
    let stamped = |serial| Command { session: Some(Stamp { session: 7, opened: 0, serial }), ..bare(use_at(1, START)) };
    for _ in 0..4 {
        assert_eq!(run(&store, &stamped(1)), Outcome::Trust(Changed));
        assert_eq!(uses_left(&store, 1), Some(1));
    }
    assert_eq!(run(&store, &stamped(2)), Outcome::Trust(Changed));
    assert_eq!(run(&store, &stamped(3)), Outcome::Trust(TokenUsedUp));
    assert_eq!(run(&store, &stamped(3)), Outcome::Trust(TokenUsedUp));
}

#[test]
fn a_token_ends_by_the_later_of_cluster_time_and_the_time_of_its_use() {
    let store = founded();
    change(&store, TrustChange::AddToken(until(1, START + 10)));
    assert_eq!(change(&store, use_at(1, START + 9)), Changed);
    assert_eq!(change(&store, use_at(1, START + 10)), TokenExpired, "its end is the first moment without it");
    assert_eq!(change(&store, use_at(1, 0)), Changed, "a board that boots in 1970 lets in as at cluster time");
    change(&store, TrustChange::Time { at: START + 10 });
    assert_eq!(change(&store, use_at(1, 0)), TokenExpired, "and does not bring back what has ended");
    assert_eq!(change(&store, use_at(1, START + 9)), TokenExpired);
}

#[test]
fn a_revoked_token_is_unknown_and_stays_so() {
    let store = founded();
    change(&store, TrustChange::AddToken(token(1)));
    change(&store, TrustChange::AddToken(token(2)));
    assert_eq!(change(&store, revoke(1)), Changed);
    assert_eq!(change(&store, revoke(1)), TokenUnknown);
    assert_eq!(change(&store, use_at(1, START)), TokenUnknown);
    assert_eq!(state::token(&store, id(1)).unwrap(), None);
    assert_eq!(state::tokens(&store).unwrap(), [token(2)], "the other is left alone");
}

#[test]
fn an_id_in_the_table_is_never_overwritten() {
    let store = founded();
    change(&store, TrustChange::AddToken(once(1)));
    change(&store, use_at(1, START));
    assert_eq!(change(&store, TrustChange::AddToken(once(1))), Unchanged, "a late retry brings no use back");
    assert_eq!(change(&store, TrustChange::AddToken(TokenRecord { grants: TokenGrant::Node, ..token(1) })), Unchanged);
    assert_eq!(change(&store, use_at(1, START)), TokenUsedUp);
}

#[test]
fn cluster_time_never_goes_back_and_is_not_moved_by_who_lets_somebody_in() {
    let store = founded();
    change(&store, TrustChange::AddToken(token(1)));
    for (at, outcome, time) in [(START + 5, Changed, START + 5), (START + 5, Unchanged, START + 5), (0, Unchanged, START + 5)] {
        assert_eq!(change(&store, TrustChange::Time { at }), outcome);
        assert_eq!(trust(&store).time, time);
    }
    change(&store, use_at(1, u64::MAX));
    change(&store, found(2, 1, u64::MAX));
    assert_eq!(trust(&store).time, START + 5);
    change(&store, TrustChange::Time { at: u64::MAX });
    assert_eq!(trust(&store).time, u64::MAX);
}

#[test]
fn a_full_table_takes_a_token_only_in_the_place_of_one_that_grants_nothing() {
    let store = founded();
    let of = |name: usize| name as u8;
    for name in 0..TOKENS_MAX {
        assert_eq!(change(&store, TrustChange::AddToken(token(of(name)))), Changed);
    }
    let full = all_but_the_tally(&store);
    assert_eq!(change(&store, TrustChange::AddToken(token(200))), TooMany);
    assert_eq!(all_but_the_tally(&store), full, "nobody who still counts on a token loses it");
    assert_eq!(change(&store, TrustChange::AddToken(token(0))), Unchanged, "who is there already needs no place");

    change(&store, revoke(9));
    assert_eq!(change(&store, TrustChange::AddToken(once(200))), Changed);
    assert_eq!(change(&store, TrustChange::AddToken(token(201))), TooMany);
    change(&store, use_at(200, START));
    assert_eq!(change(&store, TrustChange::AddToken(until(201, START + 1))), Changed, "in the place of the one used up");
    assert_eq!(change(&store, use_at(200, START)), TokenUnknown);

    assert_eq!(change(&store, TrustChange::AddToken(token(202))), TooMany);
    change(&store, TrustChange::Time { at: START + 1 });
    assert_eq!(change(&store, TrustChange::AddToken(token(202))), Changed, "in the place of the one that has ended");
    assert_eq!(state::tokens(&store).unwrap().len(), TOKENS_MAX);
    assert_eq!(change(&store, use_at(0, START)), Changed, "all others are there as before");
}

#[test]
fn a_rotation_adds_the_new_authority_shows_it_and_drops_the_old_one_in_this_order_alone() {
    let store = founded();
    assert_eq!(change(&store, drop_authority(1)), Unchanged, "never the last");
    assert_eq!(change(&store, TrustChange::ShowNewest), Unchanged, "it is shown already");
    assert_eq!(change(&store, TrustChange::AddAuthority(authority(2))), Changed);
    assert_eq!((signers(&store), shown(&store)), (vec![2, 1], 1));
    assert_eq!(change(&store, TrustChange::AddAuthority(authority(2))), Unchanged);
    assert_eq!(change(&store, TrustChange::AddAuthority(authority(1))), Unchanged, "the old one does not become the newest");
    assert_eq!(change(&store, TrustChange::AddAuthority(authority(3))), TooMany);
    assert_eq!(change(&store, drop_authority(3)), Unchanged);
    assert_eq!(change(&store, drop_authority(1)), Unchanged, "the nodes still show it");
    assert_eq!(signers(&store), [2, 1]);
    assert_eq!(signers(&store).len(), AUTHORITIES_MAX);
    assert_eq!(change(&store, TrustChange::ShowNewest), Changed);
    assert_eq!((signers(&store), shown(&store)), (vec![2, 1], 2), "both stay trusted");
    assert_eq!(change(&store, TrustChange::ShowNewest), Unchanged);
    assert_eq!(change(&store, drop_authority(2)), Unchanged);
    assert_eq!(change(&store, drop_authority(1)), Changed);
    assert_eq!(trust(&store).authorities, [authority(2)]);
    change(&store, TrustChange::AddAuthority(authority(3)));
    assert_eq!(change(&store, drop_authority(3)), Changed, "a rotation may be taken back until it is shown");
    assert_eq!((signers(&store), shown(&store)), (vec![2], 2));
}

#[test]
fn tokens_end_with_the_authority_that_they_name() {
    let store = founded();
    change(&store, TrustChange::AddToken(token(1)));
    change(&store, TrustChange::AddAuthority(authority(2)));
    change(&store, TrustChange::AddToken(token(2)));
    assert_eq!(change(&store, use_at(1, START)), Changed, "the old one is still shown");
    change(&store, TrustChange::ShowNewest);
    assert_eq!(state::tokens(&store).unwrap(), []);
    assert_eq!(change(&store, use_at(2, START)), TokenUnknown);
    change(&store, TrustChange::AddToken(token(3)));
    change(&store, TrustChange::ShowNewest);
    change(&store, drop_authority(1));
    assert_eq!(state::tokens(&store).unwrap(), [token(3)], "those made since name the new one");
}

#[test]
fn how_many_voters_are_wanted_is_the_last_word_on_it() {
    let store = founded();
    assert_eq!(change(&store, TrustChange::WantVoters(3)), Unchanged);
    assert_eq!(change(&store, TrustChange::WantVoters(5)), Changed);
    assert_eq!(trust(&store).voters_wanted, 5);
}

#[test]
fn a_record_larger_than_its_bound_is_not_taken() {
    let of = |name: u8, cert: usize, key: usize| AuthorityRecord { hash: [name; 32], cert: vec![1; cert], key: vec![2; key] };
    let first = |authority| TrustChange::Found { authority, voters_wanted: 1, at: 0 };
    let store = MemState::new();
    assert_eq!(change(&store, first(of(1, AUTHORITY_MAX_BYTES, 1))), TooMany);
    assert_eq!(state::trust(&store).unwrap(), None);
    assert_eq!(change(&store, first(of(1, AUTHORITY_MAX_BYTES - 1, 1))), Changed);
    assert_eq!(change(&store, TrustChange::AddAuthority(of(2, 1, AUTHORITY_MAX_BYTES))), TooMany);
    assert_eq!(change(&store, TrustChange::AddAuthority(of(2, 0, AUTHORITY_MAX_BYTES))), Changed);

    let client = |prefix: usize| TokenRecord { grants: TokenGrant::Client { role: 1, prefix: vec![b'p'; prefix] }, ..token(1) };
    assert_eq!(change(&store, TrustChange::AddToken(client(KEY_MAX_BYTES + 1))), TooMany);
    assert_eq!(state::tokens(&store).unwrap(), []);
    assert_eq!(change(&store, TrustChange::AddToken(client(KEY_MAX_BYTES))), Changed);
    assert_eq!(state::token(&store, id(1)).unwrap(), Some(client(KEY_MAX_BYTES)));
}

/// A cluster with two authorities and tokens of all kinds.
fn lived_in() -> MemState {
    let store = founded();
    for one in [
        TrustChange::AddAuthority(authority(2)),
        TrustChange::WantVoters(5),
        TrustChange::AddToken(TokenRecord { expires: Some(START + 50), uses_left: Some(4), ..token(1) }),
        TrustChange::AddToken(TokenRecord { grants: TokenGrant::Client { role: 2, prefix: b"cam/".to_vec() }, ..token(0xff) }),
        use_at(1, START + 2),
        TrustChange::Time { at: START + 3 },
    ] {
        assert_eq!(change(&store, one), Changed);
    }
    store
}

#[test]
fn no_key_that_a_client_can_name_shows_or_touches_any_of_it() {
    let store = lived_in();
    let of_trust = |store: &MemState| -> Vec<Pair> { pairs(store).into_iter().filter(|(key, _)| key[0] == b't').collect() };
    let before = of_trust(&store);
    assert_eq!(before.len(), 3);
    let names: Vec<Vec<u8>> = before.iter().map(|(key, _)| key.clone()).chain([b"t".to_vec(), b"token".to_vec(), vec![0xff]]).collect();
    for name in &names {
        let name = Key::new(name.as_slice()).unwrap();
        assert_eq!(state::get(&store, &name).unwrap(), None);
        assert_eq!(run(&store, &delete(name.as_bytes())), Outcome::Absent);
    }
    for prefix in [&b""[..], b"t", b"tcluster", b"ttoken", b"k", b"\xff"] {
        assert_eq!(state::list(&store, prefix, b"", usize::MAX, usize::MAX).unwrap(), []);
    }
    for name in &names {
        run(&store, &put(name, b"a client's"));
    }
    let listed = |prefix: &[u8], after: &[u8]| -> Vec<Vec<u8>> {
        state::list(&store, prefix, after, usize::MAX, usize::MAX).unwrap().into_iter().map(|(key, _)| key).collect()
    };
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(listed(b"", b""), sorted);
    assert_eq!(listed(b"t", b""), sorted[..5]);
    assert_eq!(listed(b"", b"ttoken\xff"), sorted[4..]);
    for name in &names {
        assert_eq!(run(&store, &delete(name)), Outcome::Done(None));
    }
    assert_eq!(state::blobs(&store, None, usize::MAX).unwrap(), []);
    assert_eq!(of_trust(&store), before);
}

#[test]
fn sessions_that_are_forgotten_take_nothing_of_it_along() {
    let store = lived_in();
    let before = (state::trust(&store).unwrap(), state::tokens(&store).unwrap());
    let rules = Rules { sessions_max: 4, ..Rules::default() };
    for session in [1, 2, 3, 4, 5, 6, u64::MAX - 1, u64::MAX] {
        let opened = store.applied().unwrap().index;
        let command = Command { session: Some(Stamp { session, opened, serial: 1 }), ..put(b"a", b"x") };
        let applied = state::apply_by(&rules, &store, &entries(&store, &[command])).unwrap();
        assert!(matches!(applied.outcomes[0].1, Some(Outcome::Done(_))));
    }
    assert_eq!((state::trust(&store).unwrap(), state::tokens(&store).unwrap()), before);
}

#[test]
fn a_snapshot_carries_all_of_it_and_the_new_state_goes_on_from_there() {
    let home = MemHome::new();
    let old = home.open(0).unwrap();
    let lived = lived_in();
    old.write(pairs(&lived).into_iter().map(|(key, value)| Write::Put(key, value)).collect(), lived.applied().unwrap()).unwrap();
    let frozen = home.checkpoint(0).unwrap();
    change(&*old, use_at(1, START));

    let staged = home.stage(1).unwrap();
    let mut start = Vec::new();
    loop {
        let page = frozen.scan(&Scan { start, end: None, max_items: 2, max_bytes: usize::MAX }).unwrap();
        let Some((last, _)) = page.last() else { break };
        start = [&last[..], &[0]].concat();
        staged.write(page.into_iter().map(|(key, value)| Write::Put(key, value)).collect(), frozen.applied().unwrap()).unwrap();
    }
    staged.flush().unwrap();
    drop((old, frozen, staged));
    home.crash();

    let new = home.open(1).unwrap();
    assert_eq!(pairs(&*new), pairs(&lived), "as it was when it was frozen");
    assert_eq!(trust(&*new), Trust { authorities: vec![authority(2), authority(1)], shown: [1; 32], voters_wanted: 5, time: START + 3 });
    assert_eq!(change(&*new, use_at(1, START)), Changed);
    assert_eq!(change(&lived, use_at(1, START)), Changed);
    assert_eq!(state::state_hash(&*new).unwrap(), state::state_hash(&lived).unwrap());
}

/// Every kind of change, over few names, so that they meet; with puts between them.
fn many(count: u64) -> Vec<Command> {
    let mut seed = 5u64;
    let mut draw = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let one = |i: u64| {
        // A tenth of the names go beyond the table.
        let name = if draw(10) == 0 { draw(256) as u8 } else { draw(70) as u8 };
        let at = START + i / 2;
        let change = match draw(16) {
            0 if i > 20 => found(draw(4) as u8, 3, at),
            1 => TrustChange::AddAuthority(authority(draw(4) as u8)),
            2 if draw(12) == 0 => TrustChange::ShowNewest,
            2 => drop_authority(draw(4) as u8),
            3 => TrustChange::WantVoters(draw(4) as u8),
            4 => TrustChange::Time { at: at - draw(9) },
            5 if draw(2) == 0 => revoke(name),
            6 => return put(b"ttoken", &i.to_le_bytes()),
            7..=10 => use_at(name, at - draw(9)),
            _ => {
                let expires = (draw(2) == 0).then(|| at + draw(90));
                let uses_left = (draw(2) == 0).then(|| draw(3) as u32);
                TrustChange::AddToken(TokenRecord { expires, uses_left, ..token(name) })
            }
        };
        let stamp = Stamp { session: draw(5), opened: 0, serial: i / 3 };
        Command { session: (draw(2) == 0).then_some(stamp), ..bare(change) }
    };
    (0..count).map(one).collect()
}

#[test]
fn the_same_entries_make_the_same_pairs_and_hash_however_batched_and_wherever_a_crash_falls() {
    let one_by_one = MemState::new();
    let log = entries(&one_by_one, &many(1_500));
    let outcomes: Vec<_> = log.iter().flat_map(|entry| state::apply(&one_by_one, std::slice::from_ref(entry)).unwrap().outcomes).collect();
    for outcome in [Changed, Unchanged, TokenUnknown, TokenExpired, TokenUsedUp, TooMany] {
        let told = outcomes.iter().filter(|(_, told)| *told == Some(Outcome::Trust(outcome))).count();
        assert!(told > 5, "{outcome:?} {told} times: it proves little");
    }
    for batch in [2, 13, 1_500] {
        let store = MemState::new();
        let mut crashes = 0;
        while (store.applied().unwrap().index as usize) < log.len() {
            let at = store.applied().unwrap().index as usize;
            let end = log.len().min(at + batch);
            assert_eq!(state::apply(&store, &log[at..end]).unwrap().outcomes, outcomes[at..end]);
            if crashes < 8 && at > crashes * 150 {
                crashes += 1;
                if crashes % 2 == 0 {
                    store.flush().unwrap();
                }
                store.crash();
            }
        }
        assert_eq!(state::state_hash(&store).unwrap(), state::state_hash(&one_by_one).unwrap());
        assert_eq!(pairs(&store), pairs(&one_by_one));
    }
}

#[test]
fn debug_output_shows_neither_private_keys_nor_what_proves_a_secret() {
    let changes = [found(1, 3, 0), TrustChange::AddAuthority(authority(1)), TrustChange::AddToken(token(1))];
    let mut shown: Vec<String> = changes.iter().map(|change| format!("{:?} {:#?}", bare(change.clone()), change)).collect();
    let store = lived_in();
    shown.push(format!("{:?} {:?}", state::trust(&store).unwrap(), state::tokens(&store).unwrap()));
    for shown in shown {
        assert!(!shown.contains("167") && !shown.contains("179") && !shown.to_lowercase().contains("a7"), "{shown}");
        assert!(shown.contains("..") && shown.contains('1'), "it still says what it is about: {shown}");
    }
}

#[test]
fn damaged_records_are_errors_and_nothing_is_applied() {
    for (key, error) in [(&b"tcluster"[..], "malformed trust"), (b"ttoken\x01\x01\x01\x01\x01\x01\x01\x01", "malformed token")] {
        for record in [&b""[..], &[9], &[1], &[1, 0xff, 0xff, 0xff, 0xff, 0xff]] {
            let store = lived_in();
            let applied = store.applied().unwrap();
            store.write(vec![Write::Put(key.to_vec(), record.to_vec())], applied).unwrap();
            let found = state::trust(&store).and_then(|_| state::token(&store, id(1))).unwrap_err().to_string();
            assert!(found.contains(error), "{found}");
            assert!(state::apply(&store, &entries(&store, &[bare(use_at(1, START))])).is_err());
            assert_eq!(store.applied().unwrap(), applied);
        }
    }
    let store = MemState::new();
    let beyond = Payload::Command(Arc::from([1, 0, 3, 9]));
    let unknown = [Entry { id: LogId::new(Term(1), 1), payload: beyond }];
    assert!(state::apply(&store, &unknown).unwrap_err().to_string().contains("newer"), "a change that this version does not know");
}

#[test]
fn a_table_that_no_change_could_have_made_is_an_error() {
    let store = founded();
    change(&store, TrustChange::AddToken(once(1)));
    let of = |name: u8| [b"ttoken", &id(name)[..]].concat();
    let (_, record) = pairs(&store).into_iter().find(|(key, _)| *key == of(1)).unwrap();
    // Under another's key a token would be listed, and not found; its uses would be counted elsewhere.
    store.write(vec![Write::Put(of(2), record)], store.applied().unwrap()).unwrap();
    assert!(state::tokens(&store).unwrap_err().to_string().contains("malformed token"));
    assert!(state::token(&store, id(2)).is_err() && state::token(&store, id(1)).is_ok());
    assert!(state::apply(&store, &entries(&store, &[bare(use_at(1, START))])).is_err());

    let (one, crowded) = (founded(), founded());
    for name in 0..=TOKENS_MAX as u8 {
        // One of them comes from a table of its own.
        let place = if name == 0 { &one } else { &crowded };
        assert_eq!(change(place, TrustChange::AddToken(token(name))), Changed);
    }
    assert_eq!(state::tokens(&crowded).unwrap().len(), TOKENS_MAX);
    let (key, record) = pairs(&one).into_iter().find(|(key, _)| *key == of(0)).unwrap();
    crowded.write(vec![Write::Put(key, record)], crowded.applied().unwrap()).unwrap();
    assert!(state::tokens(&crowded).unwrap_err().to_string().contains("table of tokens"));
}
