//! Membership from the command line: who is meant, what is sent to whom, and how long it is waited for.

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::fake::{Fake, Order, member, not_executed, refusal};
use common::{User, expect};
use proto::v1::change_member_request::Change;
use proto::v1::{AddMember, LearnerIntent, Member, MemberKind, Outcome, Pending, PromoteMember, Reason, RemoveMember, ReplaceMember, Role};
use serde_json::{Value, json};

const PI2: u64 = 0x2222_0000_0000_0000;
const PI3: u64 = 0x3333_0000_0000_0000;
const NEW: u64 = 0x4444_0000_0000_0000;

/// A leader called pi1 with the voters pi2 and pi3, which are nowhere, and a pending board called pi4.
fn leader() -> Fake {
    let leader = Fake::start();
    let mut identity = leader.state.identity.lock().unwrap();
    identity.name = "pi1".into();
    identity.leader_id = identity.node_id;
    identity.set_role(Role::Leader);
    let own = member(identity.node_id, "pi1", MemberKind::Voter, &leader.addr);
    identity.members = vec![own, member(PI2, "pi2", MemberKind::Voter, ""), member(PI3, "pi3", MemberKind::Voter, "")];
    identity.pending =
        vec![Pending { node_id: NEW, name: "pi4".into(), address: "10.0.0.4:50051".into(), why: "waits".into(), ..Pending::default() }];
    drop(identity);
    leader
}

/// A follower of it that answers, with the id and name of pi2.
fn follower_of(leader: &Fake) -> Fake {
    let follower = Fake::start();
    let mut theirs = leader.state.identity.lock().unwrap();
    theirs.members[1].addresses = vec![follower.addr.clone()];
    let mut own = theirs.clone();
    (own.node_id, own.name) = (PI2, "pi2".into());
    own.set_role(Role::Follower);
    *follower.state.identity.lock().unwrap() = own;
    drop(theirs);
    follower
}

fn id(fake: &Fake) -> u64 {
    fake.state.identity.lock().unwrap().node_id
}

fn changes(fake: &Fake) -> Vec<Change> {
    fake.state.changes.lock().unwrap().clone()
}

fn with_member(fake: &Fake, change: impl FnOnce(&mut Vec<Member>)) {
    change(&mut fake.state.identity.lock().unwrap().members);
}

fn object(stdout: Vec<u8>) -> Value {
    serde_json::from_slice(&stdout).unwrap()
}

fn add_pi4(as_voter: bool) -> Change {
    Change::Add(AddMember { node_id: NEW, as_voter, address: "10.0.0.4:50051".into() })
}

#[test]
fn a_pending_board_is_added_and_waited_for_until_it_votes() {
    let (user, leader) = (User::new("add"), leader());
    leader.state.looks_to_catch_up.store(3, Ordering::Relaxed);
    let (stdout, stderr) = expect(user.run(&["--addr", &leader.addr, "member", "add", "pi4"]), 0);
    assert!(stdout.is_empty() && stderr.ends_with("pi4 is a voter\n"), "{stderr}");
    assert_eq!(changes(&leader), [add_pi4(true)]);
    assert_eq!(leader.state.looks_to_catch_up.load(Ordering::Relaxed), 0);

    // The same once more, for scripts.
    let (_, stderr) = expect(user.run(&["--addr", &leader.addr, "member", "add", "4444"]), 0);
    assert_eq!(stderr, "pi4 is a voter already\n");
    assert_eq!(changes(&leader).len(), 1);
}

#[test]
fn a_change_follows_the_leader() {
    let (user, leader) = (User::new("follow"), leader());
    let follower = follower_of(&leader);
    expect(user.run(&["--addr", &follower.addr, "member", "add", "4444"]), 0);
    assert_eq!((follower.calls(), changes(&follower).len()), (vec!["change_member"], 0));
    assert_eq!((leader.calls(), changes(&leader)), (vec!["change_member"], vec![add_pi4(true)]));
}

#[test]
fn a_learner_is_added_at_once_and_promoted_later() {
    let (user, leader) = (User::new("learner"), leader());
    let run = |args: &[&str]| object(expect(user.run(&[&["--addr", &leader.addr, "-o", "json", "member"], args].concat()), 0).0);
    let id = format!("{NEW:016x}");
    let told = |change: &str, result: &str| json!({"change": change, "result": result, "node_id": id, "name": "pi4"});
    let (_, stderr) = expect(user.run(&["--addr", &leader.addr, "member", "promote", "pi4"]), 5);
    assert!(stderr.contains("pi4 is no member yet") && stderr.contains("rusty-kv member add pi4"), "{stderr}");
    assert_eq!(run(&["add", "pi4", "--learner"]), told("add", "done"));
    assert_eq!(run(&["add", "pi4", "--learner"]), told("add", "unchanged"));
    let (_, stderr) = expect(user.run(&["--addr", &leader.addr, "member", "add", "pi4", "--learner"]), 0);
    assert_eq!(stderr, "pi4 is a learner already\n");
    assert_eq!(run(&["promote", "pi4"]), told("promote", "done"));
    assert_eq!(run(&["promote", "pi4"]), told("promote", "unchanged"));
    assert_eq!(changes(&leader), [add_pi4(false), Change::Promote(PromoteMember { node_id: NEW })]);
}

#[test]
fn adding_a_learner_that_stays_promotes_it_and_one_on_its_way_is_waited_for() {
    let (user, leader) = (User::new("stays"), leader());
    with_member(&leader, |members| {
        members.push(Member { intent: LearnerIntent::Stay.into(), ..member(NEW, "pi4", MemberKind::Learner, "") });
    });
    expect(user.run(&["--addr", &leader.addr, "member", "add", "4444", "--no-wait"]), 0);
    expect(user.run(&["--addr", &leader.addr, "member", "add", "4444"]), 0);
    assert_eq!(changes(&leader), [Change::Promote(PromoteMember { node_id: NEW })]);
}

#[test]
fn who_does_not_wait_is_told_what_will_happen() {
    let (user, leader) = (User::new("nowait"), leader());
    let (stdout, _) = expect(user.run(&["--addr", &leader.addr, "-o", "json", "member", "add", "pi4", "--no-wait"]), 0);
    assert_eq!(object(stdout)["result"], "under_way");
    let (stdout, _) = expect(user.run(&["--addr", &leader.addr, "-o", "json", "member", "list"]), 0);
    let list = object(stdout);
    assert_eq!(list["members"].as_array().unwrap().len(), 4);
    let shown = list["members"].as_array().unwrap().iter().find(|member| member["name"] == "pi4").unwrap();
    assert_eq!((&shown["kind"], &shown["intent"], &shown["lag"]), (&json!("learner"), &json!("promote"), &json!(120)));
}

#[test]
fn at_the_deadline_the_change_goes_on_without_us() {
    let (user, leader) = (User::new("deadline"), leader());
    leader.state.looks_to_catch_up.store(1_000_000, Ordering::Relaxed);
    let (_, stderr) = expect(user.run(&["--addr", &leader.addr, "--timeout", "2s", "member", "add", "pi4"]), 3);
    assert!(stderr.contains("pi4 catches up (120 entries to go)") && stderr.contains("goes on by itself"), "{stderr}");
    assert_eq!(changes(&leader).len(), 1);
}

#[test]
fn a_lost_answer_is_made_up_for_by_looking() {
    let (user, leader) = (User::new("lost"), leader());
    leader.order([Order::LoseAnswer]);
    expect(user.run(&["--addr", &leader.addr, "member", "add", "pi4"]), 0);
    assert_eq!(changes(&leader).len(), 1, "nothing was sent twice");

    leader.order([Order::LoseAnswer]);
    let (_, stderr) = expect(user.run(&["--addr", &leader.addr, "member", "remove", "pi4", "--no-wait", "--yes"]), 4);
    assert!(stderr.contains("outcome is unknown") && stderr.contains("member list"), "{stderr}");
}

#[test]
fn refusals_end_as_the_node_means_them() {
    let (user, leader) = (User::new("refused"), leader());
    let add = ["--addr", &leader.addr, "--timeout", "60s", "member", "add", "pi4"];
    for (reason, hint) in [(Reason::Removed, "empty data directory"), (Reason::WouldLoseQuorum, "replace them one by one")] {
        leader.order([Order::Answer(refusal(Outcome::Rejected, reason, ""))]);
        let (_, stderr) = expect(user.run(&add), 5);
        assert!(stderr.contains(reason.as_str_name()) && stderr.contains(hint), "{stderr}");
    }
    let began = Instant::now();
    leader.order((0..1_000).map(|_| not_executed(Reason::Busy)));
    let (_, stderr) = expect(user.run(&add), 3);
    assert!(stderr.contains("REASON_BUSY") && stderr.contains("member list"), "{stderr}");
    assert!(began.elapsed() < Duration::from_secs(50), "it waited for the deadline");
}

#[test]
fn a_change_that_begins_a_moment_later_is_tried_again() {
    let (user, leader) = (User::new("again"), leader());
    leader.order([Reason::Busy, Reason::NoLeader, Reason::Busy].map(not_executed));
    expect(user.run(&["--addr", &leader.addr, "member", "add", "pi4"]), 0);
    assert_eq!((leader.calls().len(), changes(&leader).len()), (4, 1));
}

#[test]
fn who_is_meant_must_be_clear() {
    let (user, leader) = (User::new("meant"), leader());
    leader.state.identity.lock().unwrap().pending[0].name = "pi2".into();
    let (_, stderr) = expect(user.run(&["--addr", &leader.addr, "member", "add", "pi2"]), 2);
    assert!(stderr.contains("\"pi2\" may be any of pi2 (44440000, pending), pi2 (22220000, voter)"), "{stderr}");
    for (verb, code) in [
        (&["member", "add", "pi9"][..], 1),
        (&["member", "promote", "pi9"], 1),
        (&["member", "replace", "pi9", "4444"], 1),
        (&["member", "remove", "pi9", "--yes"], 1),
        (&["can-stop", "pi9"], 10),
    ] {
        let (_, stderr) = expect(user.run(&[&["--addr", &leader.addr], verb].concat()), code);
        assert!(stderr.contains("called \"pi9\"; there are: ") && stderr.contains("pi3 (33330000, voter)"), "{verb:?}: {stderr}");
    }
    assert_eq!(changes(&leader), []);
}

#[test]
fn a_wiped_board_takes_its_own_place_by_its_name() {
    let (user, leader) = (User::new("replace"), leader());
    leader.state.identity.lock().unwrap().pending[0].name = "pi2".into();
    let replace = |old: &str, new: &str, code| expect(user.run(&["--addr", &leader.addr, "member", "replace", old, new]), code).1;
    let stderr = replace("pi2", "pi2", 0);
    assert!(stderr.contains("votes in the place of pi2"), "{stderr}");
    let address = "10.0.0.4:50051".to_string();
    assert_eq!(changes(&leader), [Change::Replace(ReplaceMember { old_id: PI2, new_id: NEW, address })]);

    leader.state.identity.lock().unwrap().pending.clear();
    // Once more, for scripts, which name it in full.
    assert!(replace(&format!("{PI2:016x}"), "4444", 0).contains("is a voter, and 2222000000000000 is not already"));
    assert!(replace("2222", "4444", 1).contains("no node is called \"2222\""));
    assert!(replace("pi3", "4444", 5).contains("is a voter itself"));
    assert_eq!(changes(&leader).len(), 1);
}

#[test]
fn only_a_voter_has_a_place_to_be_taken() {
    let (user, leader) = (User::new("learners-place"), leader());
    with_member(&leader, |members| members[2] = member(PI3, "pi3", MemberKind::Learner, ""));
    for new in ["pi2", "pi4"] {
        let (_, stderr) = expect(user.run(&["--addr", &leader.addr, "member", "replace", "pi3", new]), 5);
        assert!(stderr.contains("pi3 is a learner"), "{stderr}");
    }
    assert_eq!(changes(&leader), []);
}

#[test]
fn a_board_that_was_removed_is_told_to_be_wiped_and_leaves_its_name_to_the_new_one() {
    let (user, leader) = (User::new("ghost"), leader());
    let ghost = Pending { node_id: PI3 + 1, name: "pi4".into(), removed: true, why: "was removed".into(), ..Pending::default() };
    leader.state.identity.lock().unwrap().pending.push(ghost);
    let (stdout, _) = expect(user.run(&["--addr", &leader.addr, "member", "list"]), 0);
    let text = String::from_utf8(stdout).unwrap();
    assert!(text.contains("outside: pi4 (3333000000000001) at : was removed\npending"), "{text}");
    assert_eq!(text.matches("member add").count(), 1, "{text}");
    let (_, stderr) = expect(user.run(&["--addr", &leader.addr, "member", "add", "3333000000000001"]), 5);
    assert!(stderr.contains("was removed from this cluster") && stderr.contains("wipe its board"), "{stderr}");
    expect(user.run(&["--addr", &leader.addr, "member", "add", "pi4", "--no-wait"]), 0);
    assert_eq!(changes(&leader), [add_pi4(true)]);
}

#[test]
fn a_new_node_on_a_dead_voters_board_is_offered_its_place() {
    let (user, leader) = (User::new("place"), leader());
    let list = |lines: &[&str]| {
        let (stdout, _) = expect(user.run(&["--addr", &leader.addr, "member", "list"]), 0);
        let text = String::from_utf8(stdout).unwrap();
        let typed: Vec<&str> = text.lines().filter(|line| line.contains("rusty-kv member")).map(str::trim).collect();
        assert_eq!(typed, lines, "{text}");
    };
    list(&["rusty-kv member add 44440000"]);
    with_member(&leader, |members| members[1].last_contact_ms = Some(60_000));
    list(&["rusty-kv member add 44440000", "or, if it takes the place of pi2: rusty-kv member replace 22220000 44440000"]);
    leader.state.identity.lock().unwrap().pending[0].earlier_id = PI3;
    list(&["rusty-kv member replace 33330000 44440000"]);
    // It has the old one's name.
    let mut identity = leader.state.identity.lock().unwrap();
    (identity.pending[0].earlier_id, identity.pending[0].name) = (0, "pi2".into());
    drop(identity);
    list(&["rusty-kv member replace 22220000 44440000"]);
}

#[test]
fn a_learner_that_died_before_it_was_heard_is_called_by_its_id() {
    let (user, leader) = (User::new("nameless"), leader());
    with_member(&leader, |members| {
        let learner = Member { intent: LearnerIntent::Promote.into(), last_contact_ms: None, ..member(NEW, "", MemberKind::Learner, "") };
        members.push(learner);
    });
    leader.state.looks_to_catch_up.store(1_000, Ordering::Relaxed);
    // Somebody has seen it while it was outside.
    let (stdout, _) = expect(user.run(&["--addr", &leader.addr, "status"]), 0);
    assert!(String::from_utf8(stdout).unwrap().contains("\npi4 becomes a voter"));
    leader.state.identity.lock().unwrap().pending.clear();
    for verb in ["status", "list"] {
        let args: &[&str] = if verb == "list" { &["member", "list"] } else { &["status"] };
        let (stdout, _) = expect(user.run(&[&["--addr", &leader.addr][..], args].concat()), 0);
        let text = String::from_utf8(stdout).unwrap();
        assert!(text.contains("\n44440000  44440000 ") && text.contains("\n44440000 becomes a voter"), "{text}");
    }
    let (_, stderr) = expect(user.run(&["--addr", &leader.addr, "member", "remove", "4444"]), 0);
    assert!(stderr.contains("44440000 is no member"), "{stderr}");
}

#[test]
fn a_removal_that_weakens_the_cluster_wants_to_be_meant() {
    let (user, leader) = (User::new("remove"), leader());
    let remove = |args: &[&str], code| expect(user.run(&[&["--addr", &leader.addr, "member", "remove"], args].concat()), code).1;
    let stderr = remove(&["pi3"], 2);
    assert!(stderr.contains("pi3 is one of 3 voters, and the 2 left can lose 0") && stderr.contains("--yes"), "{stderr}");
    assert_eq!(changes(&leader), []);
    assert!(remove(&["pi3", "--yes"], 0).contains("pi3 is no member"));
    assert!(remove(&["pi3"], 1).contains("no node is called \"pi3\"; there are: pi1"));
    assert!(remove(&[""], 1).contains("no node is called \"\""));
    assert!(remove(&[&format!("{PI3:016x}")], 0).contains("3333000000000000 is no member already; the members are pi1"));
    remove(&["2222", "--yes"], 0);
    let stderr = remove(&["pi1", "--yes"], 5);
    assert!(stderr.contains("pi1 is the only voter") && stderr.contains("add another voter"), "{stderr}");
    assert_eq!(changes(&leader), [PI3, PI2].map(|node_id| Change::Remove(RemoveMember { node_id })));
}

#[test]
fn a_learner_and_one_of_four_voters_are_removed_without_a_question() {
    let (user, leader) = (User::new("spare"), leader());
    with_member(&leader, |members| members.push(member(NEW, "pi4", MemberKind::Voter, "")));
    expect(user.run(&["--addr", &leader.addr, "member", "remove", "pi4"]), 0);
    with_member(&leader, |members| {
        members.push(Member { intent: LearnerIntent::Stay.into(), ..member(NEW, "pi4", MemberKind::Learner, "") });
    });
    expect(user.run(&["--addr", &leader.addr, "member", "remove", "pi4"]), 0);
    assert_eq!(changes(&leader).len(), 2);
}

#[test]
fn the_lead_is_handed_over_and_the_new_leader_is_waited_for() {
    let (user, leader) = (User::new("transfer"), leader());
    let follower = follower_of(&leader);
    *leader.state.successor.lock().unwrap() = Some(follower.state.clone());
    let (_, stderr) = expect(user.run(&["--addr", &leader.addr, "leader", "transfer", "pi1"]), 0);
    assert_eq!(stderr, "pi1 leads already\n");
    assert_eq!(leader.calls(), [""; 0]);
    let (_, stderr) = expect(user.run(&["--addr", &follower.addr, "leader", "transfer", "2222"]), 0);
    assert_eq!(stderr, "pi2 leads now\n");
    assert_eq!((follower.calls().len(), leader.calls().len()), (1, 1));
}

#[test]
fn the_lead_goes_to_the_best_fit_also_if_the_answer_is_lost() {
    for orders in [vec![], vec![Order::LoseAnswer]] {
        let (user, leader) = (User::new("best"), leader());
        let follower = follower_of(&leader);
        *leader.state.successor.lock().unwrap() = Some(follower.state.clone());
        leader.order(orders);
        let (stdout, _) = expect(user.run(&["--addr", &leader.addr, "-o", "json", "leader", "transfer"]), 0);
        assert_eq!(object(stdout), json!({"result": "done", "node_id": format!("{PI2:016x}"), "name": "pi2"}));
        assert_eq!(leader.calls(), ["transfer_leader"]);
    }
}

#[test]
fn a_lead_that_nobody_takes_over_is_told_at_the_deadline() {
    let (user, leader) = (User::new("keeps"), leader());
    let _follower = follower_of(&leader);
    let args = ["--addr", &leader.addr, "--timeout", "2s", "leader", "transfer", "pi3"];
    leader.order((0..1_000).map(|_| not_executed(Reason::NotCaughtUp)));
    let (_, stderr) = expect(user.run(&args), 3);
    assert!(stderr.contains("REASON_NOT_CAUGHT_UP") && stderr.contains("once it has caught up"), "{stderr}");
    with_member(&leader, |members| members[2] = member(PI3, "pi3", MemberKind::Learner, ""));
    let (_, stderr) = expect(user.run(&args), 5);
    assert!(stderr.contains("pi3 is a learner and cannot lead"), "{stderr}");
}

#[test]
fn a_lead_given_away_to_nobody_is_missed() {
    let (user, leader) = (User::new("nobody-leads"), leader());
    let _follower = follower_of(&leader);
    let (_, stderr) = expect(user.run(&["--addr", &leader.addr, "--timeout", "2s", "leader", "transfer", "pi3"]), 3);
    assert!(stderr.contains("no leader is elected"), "{stderr}");
}

#[test]
fn a_voter_alone_is_told_at_once_that_nobody_can_take_over() {
    let (user, leader) = (User::new("alone"), leader());
    with_member(&leader, |members| members.truncate(1));
    with_member(&leader, |members| members.push(member(PI3, "pi3", MemberKind::Learner, "")));
    let (_, stderr) = expect(user.run(&["--addr", &leader.addr, "leader", "transfer"]), 3);
    assert!(stderr.contains("there is no other voter"), "{stderr}");
    assert_eq!(leader.calls(), [""; 0], "nobody is asked for what cannot be");
}

/// A second cluster; its own node leads it.
fn another_cluster(name: &str) -> Fake {
    let other = leader();
    let mut identity = other.state.identity.lock().unwrap();
    (identity.cluster_name, identity.cluster_id) = (name.into(), vec![0xcd; 16].into());
    drop(identity);
    other
}

#[test]
fn two_clusters_behind_one_list_of_addresses_are_refused_by_every_command() {
    for name in ["attic", "home"] {
        let (user, leader, other) = (User::new(&format!("two-{name}")), leader(), another_cluster(name));
        let both = format!("{},{}", leader.addr, other.addr);
        for verb in [
            &["set", "k", "v"][..],
            &["get", "k"],
            &["list"],
            &["delete", "k"],
            &["wait", "--ready"],
            &["wait", "--healthy"],
            &["member", "list"],
            &["member", "remove", "pi3", "--yes"],
            &["leader", "transfer"],
            &["compact"],
            &["can-stop", "pi2"],
            &["cluster", "recover", "--accept-loss", "--yes", "home"],
        ] {
            let (stdout, stderr) = expect(user.run(&[&["--addr", &both][..], verb].concat()), 2);
            assert!(stdout.is_empty(), "{verb:?}");
            for part in ["2 clusters are in sight", "\"home\" (abababab)", &format!("\"{name}\" (cdcdcdcd)"), "--cluster"] {
                assert!(stderr.contains(part), "{verb:?}: {part}: {stderr}");
            }
        }
        assert_eq!((leader.calls(), other.calls()), (vec![], vec![]));
        let (stdout, _) = expect(user.run(&["--addr", &both, "status"]), 0);
        assert!(String::from_utf8(stdout).unwrap().contains("warning: 2 clusters are in sight"));

        // Whoever says which one is served, by name where that tells them apart.
        expect(user.run(&["--addr", &both, "--cluster", "cdcd", "set", "k", "v"]), 0);
        assert_eq!((leader.calls().len(), other.calls().len()), (0, 1));
        expect(user.run(&["--addr", &both, "--cluster", "home", "set", "k", "v"]), if name == "home" { 2 } else { 0 });
    }
}

#[test]
fn a_node_without_a_cluster_has_no_log_to_cut() {
    let (user, blank) = (User::new("blank"), Fake::start());
    blank.state.identity.lock().unwrap().cluster_id = Vec::new().into();
    let (_, stderr) = expect(user.run(&["--addr", &blank.addr, "--timeout", "2s", "compact"]), 3);
    assert!(stderr.contains("no cluster is formed"), "{stderr}");
    assert_eq!(blank.calls(), [""; 0]);
}

#[test]
fn every_node_that_answers_cuts_its_log() {
    let (user, leader) = (User::new("compact"), leader());
    let follower = follower_of(&leader);
    let (stdout, stderr) = expect(user.run(&["--addr", &leader.addr, "compact"]), 0);
    assert!(stdout.is_empty(), "stdout is for data");
    for part in ["pi1: freed 900 entries, the log begins behind 1000", "pi2: freed 900", "not asked, because it does not answer: pi3"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    expect(user.run(&["--addr", &leader.addr, "compact", "--node", "pi2"]), 0);
    assert_eq!((leader.calls().len(), follower.calls().len()), (1, 2));

    follower.order([not_executed(Reason::Stopping)]);
    let (stdout, stderr) = expect(user.run(&["--addr", &leader.addr, "-o", "json", "compact"]), 3);
    let lines: Vec<Value> = String::from_utf8(stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let freed: Vec<Option<u64>> = lines.iter().map(|line| line["freed_entries"].as_u64()).collect();
    assert!(lines.len() == 2 && freed.contains(&Some(900)) && freed.contains(&None), "{lines:?}");
    assert!(stderr.contains("REASON_STOPPING"), "{stderr}");
}

#[test]
fn a_node_may_be_stopped_only_while_all_others_are_well() {
    let (user, leader) = (User::new("canstop"), leader());
    let follower = follower_of(&leader);
    let (stdout, stderr) = expect(user.run(&["--addr", &leader.addr, "can-stop", "pi2"]), 10);
    assert!(stdout.is_empty() && stderr.contains("pi2 must not be stopped now:\n  pi3 does not answer"), "{stderr}");
    expect(user.run(&["--addr", &leader.addr, "can-stop", "pi3"]), 0);
    let (stdout, _) = expect(user.run(&["--addr", &leader.addr, "-o", "json", "can-stop", "nosuch"]), 10);
    let told = object(stdout);
    assert!(told["can_stop"] == false && told["why"][0].as_str().unwrap().contains("no node is called \"nosuch\""), "{told}");
    let (stdout, _) = expect(user.run(&["--addr", &follower.addr, "-o", "json", "can-stop", "pi1"]), 10);
    let told = object(stdout);
    let expected = json!({"can_stop": false, "why": ["pi3 does not answer"], "node_id": format!("{:016x}", id(&leader)), "name": "pi1"});
    assert_eq!(told, expected);
}

#[test]
fn status_tells_of_changes_suspects_alarms_and_lost_values() {
    let (user, leader) = (User::new("status"), leader());
    let follower = follower_of(&leader);
    leader.state.looks_to_catch_up.store(1_000, Ordering::Relaxed);
    {
        let mut identity = leader.state.identity.lock().unwrap();
        let learner = member(NEW, "pi4", MemberKind::Learner, "");
        identity.members.push(Member { intent: LearnerIntent::Replace.into(), replaces: PI3, lag: Some(7), ..learner });
        identity.membership_change = "pi4 takes the place of pi3".into();
        identity.alarm = "its state differs at index 1024".into();
        identity.blobs_lost =
            vec![proto::v1::LostBlob { hash: vec![0xcd; 32].into(), keys: vec![(&b"cam/1"[..]).into(), (&b"\xff"[..]).into()] }];
        follower.state.identity.lock().unwrap().suspect = "its log ends at 3".into();
    }
    let (stdout, _) = expect(user.run(&["--addr", &leader.addr, "status"]), 0);
    let text = String::from_utf8(stdout).unwrap();
    for part in [
        "pi2 is suspect: its log ends at 3",
        "pi1 raises an alarm: its state differs",
        "membership change under way: pi4 takes the place of pi3",
        "pi4 takes the place of pi3 once it has caught up; pi4 catches up (7 entries to go)",
        "no voter holds the large value cdcdcdcd, stored under cam/1, \\xff",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (stdout, _) = expect(user.run(&["--addr", &leader.addr, "-o", "json", "status"]), 0);
    let status = object(stdout);
    assert_eq!(status["blobs_lost"], json!([{"hash": "cd".repeat(32), "keys": [{"key": "cam/1"}, {"key_b64": "/w=="}]}]));
    assert_eq!(status["change"], "pi4 takes the place of pi3");
    let named = |name: &str| status["members"].as_array().unwrap().iter().find(|member| member["name"] == name).unwrap().clone();
    assert_eq!((&named("pi4")["intent"], &named("pi4")["replaces"]), (&json!("replace"), &json!(format!("{PI3:016x}"))));
    assert_eq!(
        (&named("pi2")["suspect"], &named("pi1")["alarm"]),
        (&json!("its log ends at 3"), &json!("its state differs at index 1024"))
    );
}

/// The client under its installed name, in a folder of its own.
fn installed(user: &User) -> PathBuf {
    let bin = user.home.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let program = bin.join("rusty-kv");
    std::fs::copy(env!("CARGO_BIN_EXE_client"), &program).unwrap();
    program
}

fn script(dir: PathBuf, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("rusty-kvd");
    std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A node that has lost both others.
fn survivor() -> Fake {
    let survivor = leader();
    let mut identity = survivor.state.identity.lock().unwrap();
    identity.set_role(Role::Candidate);
    (identity.leader_id, identity.last_index, identity.applied_index) = (0, 40, 42);
    drop(identity);
    survivor
}

/// A program that says of the data directory what a stopped node's directory says, and does nothing else.
fn describing(user: &User, description: &str) -> PathBuf {
    let program = installed(user);
    let text = format!("case \"$1\" in --describe-data) cat <<'END'\n{description}\nEND\n;; *) echo did: \"$@\";; esac");
    script(program.parent().unwrap().to_path_buf(), &text);
    program
}

/// The directory of pi2, of the cluster of [`survivor`], ending at `last`; it remembers pi1 at `address`.
fn own_directory(user: &User, last: u64, address: &str) -> String {
    let dir = user.home.join("my data");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("peers.toml"), format!("[00000000000000aa]\nname = \"pi1\"\naddresses = [\"{address}\"]\n")).unwrap();
    let (dir, cluster) = (dir.display(), "ab".repeat(16));
    format!(
        "data_dir = '{dir}'\nnode_name = 'pi2'\nnode_id = '{PI2:016x}'\ncluster_name = 'attic'\ncluster_id = '{cluster}'\nlast_index = {last}"
    )
}

fn recovers(program: &std::path::Path, user: &User, addr: &str, more: &[&str]) -> std::process::Output {
    let args = ["--addr", addr, "cluster", "recover", "--accept-loss", "--data-dir", "my data"];
    let mut command = Command::new(program);
    command.args(args).args(more).env_clear().env("HOME", &user.home).env("PATH", "/usr/bin:/bin").current_dir(&user.home);
    command.output().unwrap()
}

#[test]
fn the_node_of_this_machine_is_shown_as_such_and_is_not_among_the_lost() {
    let (user, survivor) = (User::new("here"), survivor());
    let program = describing(&user, &own_directory(&user, 42, "127.0.0.1:1"));
    let (stdout, stderr) = expect(recovers(&program, &user, &survivor.addr, &["--yes", "attic"]), 0);
    assert_eq!(String::from_utf8(stdout).unwrap(), "did: --recover-accept-loss attic --data-dir my data\n");
    assert!(stderr.contains("42, this machine (stopped)"), "{stderr}");
    assert!(stderr.contains("only these hold, acknowledged or not: pi3\n"), "{stderr}");
    assert!(stderr.contains("No node in reach holds more"), "{stderr}");

    let (stdout, _) = expect(recovers(&program, &user, &survivor.addr, &["--yes", "attic", "-o", "json"]), 0);
    let told: Value = serde_json::from_slice(stdout.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    let here: Vec<&Value> = told["nodes"].as_array().unwrap().iter().filter(|node| node["here"] == true).collect();
    assert!(here.len() == 1 && here[0]["name"] == "pi2" && here[0]["reaches"] == 42, "{told}");

    let (_, stderr) = expect(recovers(&program, &user, &survivor.addr, &["--yes", "home"]), 2);
    assert!(stderr.contains("that is not the cluster's name (it is called attic)"), "{stderr}");
}

#[test]
fn a_node_that_holds_less_than_another_is_recovered_only_on_demand() {
    let (user, survivor) = (User::new("behind"), survivor());
    let program = describing(&user, &own_directory(&user, 41, "127.0.0.1:1"));
    let (stdout, stderr) = expect(recovers(&program, &user, &survivor.addr, &["--yes", "attic"]), 5);
    assert!(stdout.is_empty() && stderr.contains("pi1 reaches further (42) than the node of this machine (41)"), "{stderr}");
    expect(recovers(&program, &user, &survivor.addr, &["--yes", "attic", "--even-if-behind"]), 0);
}

#[test]
fn addresses_given_by_hand_do_not_hide_a_majority_that_answers() {
    let (user, leader) = (User::new("hidden"), leader());
    // The third voter answers the leader, and nobody names it here.
    let _follower = follower_of(&leader);
    let program = describing(&user, &own_directory(&user, 42, &leader.addr));
    let stranger = another_cluster("attic");
    for addr in ["127.0.0.1:1", &stranger.addr] {
        let (_, stderr) = expect(recovers(&program, &user, addr, &["--yes", "attic"]), 5);
        assert!(stderr.contains("the cluster has a leader, pi1"), "{stderr}");
    }
}

#[test]
fn a_node_that_runs_and_a_directory_that_is_not_there_are_told_before_anything_else() {
    let user = User::new("runs");
    let program = describing(&user, "data_dir = '/d'\ntrouble = 'in_use'\nmessage = 'locked'");
    let (_, stderr) = expect(recovers(&program, &user, "127.0.0.1:1", &["--yes", "attic"]), 7);
    assert!(stderr.contains("there is no directory my data") && !stderr.contains("REACHES"), "{stderr}");
    std::fs::create_dir(user.home.join("my data")).unwrap();
    let (_, stderr) = expect(recovers(&program, &user, "127.0.0.1:1", &["--yes", "attic"]), 3);
    assert!(stderr.contains("/d is in use") && !stderr.contains("REACHES"), "{stderr}");
}

#[test]
fn a_cluster_that_has_a_leader_is_not_recovered() {
    let (user, leader) = (User::new("alive"), leader());
    let follower = follower_of(&leader);
    let args = ["--addr", &follower.addr, "cluster", "recover", "--accept-loss", "--yes", "home"];
    let (_, stderr) = expect(user.run(&args), 5);
    assert!(stderr.contains("the cluster has a leader, pi1, and 2 of 3 voters answer") && stderr.contains("member replace"), "{stderr}");
}

#[test]
fn a_recovery_shows_what_is_left_and_hands_over_to_the_node() {
    let (user, survivor) = (User::new("recover"), survivor());
    let program = installed(&user);
    std::fs::create_dir(user.home.join("my data")).unwrap();
    let run = |name: &str, path: &str| {
        let args = ["--addr", &survivor.addr, "cluster", "recover", "--accept-loss", "--yes", name, "--data-dir", "my data"];
        let mut command = Command::new(&program);
        command.args(args).env_clear().env("HOME", &user.home).env("PATH", path).current_dir(&user.home).output().unwrap()
    };
    let (_, stderr) = expect(run("hoem", ""), 2);
    assert!(stderr.contains("that is not the cluster's name (it is called home)"), "{stderr}");

    let (_, stderr) = expect(run("home", ""), 7);
    for part in [
        "pi1",
        "42",
        "does not answer",
        "only these hold, acknowledged or not: pi2, pi3 (one of them may be the node of this machine",
        "this machine (stopped)",
        "is not known here: compare it yourself",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert!(stderr.contains("type: rusty-kvd --recover-accept-loss home --data-dir 'my data'"), "{stderr}");

    let elsewhere = user.home.join("sbin");
    script(elsewhere.clone(), "echo found in PATH: \"$@\"\nexit 65");
    let (stdout, stderr) = expect(run("home", elsewhere.to_str().unwrap()), 65);
    assert_eq!(String::from_utf8(stdout).unwrap(), "found in PATH: --recover-accept-loss home --data-dir my data\n");
    assert!(stderr.contains("exit code 65"), "{stderr}");

    script(program.parent().unwrap().to_path_buf(), "echo beside: $#");
    let (stdout, _) = expect(run("home", elsewhere.to_str().unwrap()), 0);
    assert_eq!(String::from_utf8(stdout).unwrap(), "beside: 4\n");
}
