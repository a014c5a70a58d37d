//! The command line without a cluster: grammar, settings, exit codes.

mod common;

use std::net::TcpListener;

use common::{User, expect};

/// Nobody listens there.
fn nowhere() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn help_and_version_go_to_stdout_under_the_installed_name() {
    let user = User::new("help");
    for args in [&["--help"][..], &["help"], &["set", "--help"], &["-h"]] {
        let (stdout, stderr) = expect(user.run(args), 0);
        let text = String::from_utf8(stdout).unwrap();
        assert!(text.contains("Usage: rusty-kv ") && stderr.is_empty(), "{text}");
    }
    let (stdout, _) = expect(user.run(&["--version"]), 0);
    assert_eq!(String::from_utf8(stdout).unwrap(), format!("rusty-kv {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_the_grammar_does_not_know_is_a_usage_error() {
    let user = User::new("grammar");
    for args in [
        &[][..],
        &["bogus"],
        &["set"],
        &["set", "k"],
        &["set", "k", "v", "w"],
        &["set", "k", "v", "--file", "f"],
        &["set", "k", "v", "--if-absent", "--if-revision", "3"],
        &["set", "k", "v", "--if-revision", "x"],
        &["get"],
        &["get", "k", "--nonsense"],
        &["upload", "k"],
        &["download", "k"],
        &["delete"],
        &["delete", "k", "--prefix", "p"],
        &["delete", "k", "--all"],
        &["list", "--limit", "many"],
        &["list", "--long", "-0"],
        &["wait"],
        &["wait", "--ready", "--healthy"],
        &["member"],
        &["member", "add"],
        &["member", "add", "pi4", "--wait", "--no-wait"],
        &["member", "replace", "pi2"],
        &["member", "list", "pi2"],
        &["leader"],
        &["leader", "transfer", "pi2", "pi3"],
        &["compact", "pi2"],
        &["can-stop"],
        &["cluster"],
        &["cluster", "recover"],
        &["cluster", "recover", "--yes", "home"],
        &["get", "k", "--timeout", "0"],
        &["get", "k", "--timeout", "soon"],
        &["get", "k", "-o", "xml"],
    ] {
        let (stdout, stderr) = expect(user.run(args), 2);
        assert!(stdout.is_empty() && !stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn names_of_later_versions_are_reserved() {
    let user = User::new("reserved");
    for (args, name) in [(&["doctor"][..], "`doctor`"), (&["powertest", "run"], "`powertest run`")] {
        let (_, stderr) = expect(user.run(args), 2);
        assert!(stderr.contains(&format!("{name} is not available yet in this version")), "{stderr}");
    }
}

#[test]
fn what_may_take_too_much_wants_to_be_meant() {
    let user = User::new("delete");
    let nowhere = nowhere();
    for (args, hint) in [
        (&["delete", "--prefix", "", "--yes"][..], "--all"),
        (&["delete", "--prefix", "a"], "--yes"),
        (&["delete", "a", "b", "--if-revision", "3"], "one key"),
        (&["delete", "--prefix", "a", "--yes", "--if-absent"], "one key"),
        (&["cluster", "recover", "--accept-loss"], "--yes"),
    ] {
        let args: Vec<&str> = args.iter().copied().chain(["--addr", &nowhere]).collect();
        let (_, stderr) = expect(user.run(&args), 2);
        assert!(stderr.contains(hint), "{stderr}");
    }
}

#[test]
fn bad_addresses_are_named_wherever_they_come_from() {
    let user = User::new("addresses");
    let (_, stderr) = expect(user.run(&["get", "k", "--addr", "pi1,pi 2"]), 2);
    assert!(stderr.contains("`pi 2`"), "{stderr}");
    let (_, stderr) = expect(user.command(&["get", "k"]).env("RUSTY_KV_ADDR", "ftp://x").output().unwrap(), 2);
    assert!(stderr.contains("ftp://x"), "{stderr}");
}

#[test]
fn an_address_in_the_environment_is_not_shown_as_an_argument_that_is_missing() {
    let user = User::new("usage-env");
    for verb in [&["cluster", "recover"][..], &["member", "add"], &["member", "replace", "a"], &["member", "remove"], &["can-stop"]] {
        let (_, stderr) = expect(user.command(verb).env("RUSTY_KV_ADDR", "pi1").output().unwrap(), 2);
        assert!(stderr.contains("Usage: rusty-kv") && !stderr.contains("--addr"), "{verb:?}: {stderr}");
    }
}

#[test]
fn nobody_there_is_not_executed_and_says_what_was_tried() {
    let user = User::new("nobody");
    let nowhere = nowhere();
    for verb in [
        &["get", "k"][..],
        &["set", "k", "v"],
        &["delete", "k"],
        &["list"],
        &["status"],
        &["wait", "--ready"],
        &["wait", "--healthy"],
        &["member", "list"],
        &["member", "add", "pi4"],
        &["member", "remove", "pi4", "--yes"],
        &["leader", "transfer"],
        &["compact"],
    ] {
        let args: Vec<&str> = verb.iter().copied().chain(["--addr", &nowhere, "--timeout", "600ms"]).collect();
        let (stdout, stderr) = expect(user.run(&args), 3);
        assert!(stdout.is_empty() && (stderr.contains(&nowhere) || stderr.contains("not healthy")), "{verb:?}: {stderr}");
    }
    let (_, stderr) = expect(user.run(&["get", "k", "--addr", &nowhere, "--timeout", "600ms"]), 3);
    assert!(stderr.contains("Connection refused") && stderr.contains("--addr"), "{stderr}");
    expect(user.run(&["status", "--check", "--addr", &nowhere]), 11);
    expect(user.run(&["can-stop", "pi2", "--addr", &nowhere]), 10);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let user = User::new("precedence");
    let (flag, variable, file) = (nowhere(), nowhere(), nowhere());
    let dir = user.home.join(".config/rusty-kv");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("client.toml"), format!("addr = '{file}'\ntimeout = '300ms'\n")).unwrap();

    let (_, stderr) = expect(user.run(&["get", "k"]), 3);
    assert!(stderr.contains(&file), "{stderr}");
    let (_, stderr) = expect(user.command(&["get", "k"]).env("RUSTY_KV_ADDR", &variable).output().unwrap(), 3);
    assert!(stderr.contains(&variable) && !stderr.contains(&file), "{stderr}");
    let (_, stderr) = expect(user.command(&["get", "k", "--addr", &flag]).env("RUSTY_KV_ADDR", &variable).output().unwrap(), 3);
    assert!(stderr.contains(&flag) && !stderr.contains(&variable), "{stderr}");

    std::fs::write(dir.join("client.toml"), "adress = 'x'\n").unwrap();
    let (_, stderr) = expect(user.run(&["get", "k"]), 2);
    assert!(stderr.contains("client.toml") && stderr.contains("adress"), "{stderr}");
}

#[test]
fn what_no_node_would_take_needs_no_node() {
    let user = User::new("local");
    let nowhere = nowhere();
    let long = "k".repeat(4097);
    for key in ["", &long] {
        for verb in [&["set", key, "v"][..], &["get", key], &["delete", key]] {
            let args: Vec<&str> = verb.iter().copied().chain(["--addr", &nowhere]).collect();
            let (_, stderr) = expect(user.run(&args), 5);
            assert!(stderr.contains("1 to 4096 bytes"), "{stderr}");
        }
    }
    for verb in [&["upload", "k", "missing.png"][..], &["set", "k", "--file", "missing.png"]] {
        let args: Vec<&str> = verb.iter().copied().chain(["--addr", &nowhere]).collect();
        let (_, stderr) = expect(user.run(&args), 7);
        assert!(stderr.contains("missing.png"), "{stderr}");
    }
    let (_, stderr) = expect(user.run(&["download", "k", "no/such/dir/file", "--addr", &nowhere]), 7);
    assert!(stderr.contains("no/such/dir/file"), "{stderr}");
}

#[test]
fn errors_are_json_for_those_who_ask_for_json() {
    let user = User::new("json");
    let (_, stderr) = expect(user.run(&["get", "", "-o", "json", "--addr", &nowhere()]), 5);
    let error: serde_json::Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!(error["error"]["kind"], "rejected");
    assert_eq!(error["error"]["reason"], "REASON_KEY_SIZE");
}
